"""Matmul and threshold in one CUDA kernel: only the hits are written, never the scores.

Writing a tile of scores out and reading it back costs as much as computing it. Here a program keeps
its tile in registers, looks at its largest score, and only where that reaches the threshold appends
what passes to one list, taking places with an atomic counter.

Not chosen by `auto`: it is checked in Triton's interpreter and compiled for sm_90 (255 registers; 24 bytes
of stack for bfloat16, 176 for whole numbers), but it has never run on a GPU, so neither its result nor its speed has been seen there.
"""

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from reid.errors import InputError
from reid.neighbors.screen import ScreenedRows

MOST_PLACES = 2**31 - 1  # that a 32-bit place can number


@triton.jit  # type: ignore[untyped-decorator]
def _fused_kernel(  # type: ignore[no-untyped-def]
    a_rows_of, b_rows_of, a_scale_ptr, b_scale_ptr, i_ptr, j_ptr, place_ptr, count_ptr,
    a_rows, b_rows, capacity, threshold,
    D: tl.constexpr, DIAGONAL: tl.constexpr, SCALED: tl.constexpr,
    BLOCK_A: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_D: tl.constexpr, FLATTEN: tl.constexpr,
):  # fmt: skip
    # Programs that run at the same time share their rows of b, and all of a, in the L2 cache.
    KIND: tl.constexpr = tl.int32 if SCALED else tl.float32
    tiles_a = tl.cdiv(a_rows, BLOCK_A)
    tiles = tiles_a * tl.cdiv(b_rows, BLOCK_B)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=FLATTEN):
        row = (tile % tiles_a) * BLOCK_A
        column = (tile // tiles_a) * BLOCK_B
        # Rows past the end are read as zeros.
        total = tl.zeros((BLOCK_A, BLOCK_B), dtype=KIND)
        for depth in range(0, D, BLOCK_D):
            a = a_rows_of.load([row, depth])
            b = b_rows_of.load([column, depth])
            total = tl.dot(a, b.T, total, out_dtype=KIND)
        # One half after the other: what a hit needs beside the scores does not fit for both.
        halves = total.reshape(BLOCK_A, 2, BLOCK_B // 2).permute(0, 2, 1)
        left, right = halves.split()
        _append_hits(
            left, row, column, a_scale_ptr, b_scale_ptr, i_ptr, j_ptr, place_ptr, count_ptr,
            a_rows, b_rows, capacity, threshold, DIAGONAL, SCALED, BLOCK_A, BLOCK_B // 2,
        )  # fmt: skip
        _append_hits(
            right, row, column + BLOCK_B // 2, a_scale_ptr, b_scale_ptr, i_ptr, j_ptr, place_ptr,
            count_ptr, a_rows, b_rows, capacity, threshold, DIAGONAL, SCALED, BLOCK_A, BLOCK_B // 2,
        )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _append_hits(  # type: ignore[no-untyped-def]
    total, row, column, a_scale_ptr, b_scale_ptr, i_ptr, j_ptr, place_ptr, count_ptr,
    a_rows, b_rows, capacity, threshold,
    DIAGONAL: tl.constexpr, SCALED: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    i = row + tl.arange(0, HEIGHT)
    j = column + tl.arange(0, WIDTH)
    largest = tl.max(tl.max(total, axis=1), axis=0)
    if SCALED:
        a_scale = tl.load(a_scale_ptr + i, mask=i < a_rows, other=0.0)
        b_scale = tl.load(b_scale_ptr + j, mask=j < b_rows, other=0.0)
        # No score of the tile is larger than its largest sum at its largest scales. Of negative
        # scores that is not so, and then nothing is sorted out here.
        bound = largest.to(tl.float32) * tl.max(a_scale, axis=0) * tl.max(b_scale, axis=0)
        some = (bound * 1.000001 >= threshold) | (threshold <= 0)
    else:
        some = largest >= threshold
    if some:
        if SCALED:  # noqa: SIM108
            score = total.to(tl.float32) * a_scale[:, None] * b_scale[None, :]
        else:
            score = total
        hit = (score >= threshold) & (i < a_rows)[:, None] & (j < b_rows)[None, :]
        if DIAGONAL:
            hit = hit & (i[:, None] < j[None, :])
        # Counted in 64 bits once a tile; places are of 32 bits, as the registers are full.
        tl.atomic_add(count_ptr, tl.sum(tl.sum(hit.to(tl.int32), axis=1), axis=0).to(tl.int64))
        none = tl.zeros((HEIGHT, WIDTH), tl.int32)
        place = tl.atomic_add(place_ptr + none, 1, mask=hit, sem="relaxed")
        # Past the capacity hits are counted and not stored; the caller runs again with more room.
        kept = hit & (place >= 0) & (place < capacity)
        tl.store(i_ptr + place, i[:, None] + none, mask=kept)
        tl.store(j_ptr + place, j[None, :] + none, mask=kept)


@dataclass(frozen=True, slots=True)
class Shape:
    """How the kernel is cut; changes no result.

    Attributes:
        blocks: rows of a, rows of b and bytes of a row that one program holds at a time.
        warps, stages: of a program, and loads that are under way.
        programs: at once; each takes one tile after the other. None: one a multiprocessor.
        flatten: whether the loads of the next tile begin during the hits of this one.
    """

    blocks: tuple[int, int, int] = (128, 256, 128)
    warps: int = 8
    stages: int = 3
    programs: int | None = None
    flatten: bool = False


class FusedSearch:
    """The kernel, and the room that its hits are written to, kept from one call to the next."""

    def __init__(self, *, capacity: int = 2**22, shape: Shape | None = None) -> None:
        """Nothing is allocated yet.

        Args:
            capacity: hits to make room for at first; grown where there are more.
            shape: how the kernel is cut.
        """
        self.capacity, self.shape = capacity, shape or Shape()
        self.compiled: Any = None  # the kernel that ran last: registers, spills
        self._room: torch.Tensor | None = None

    def start(
        self, a: ScreenedRows, b: ScreenedRows, threshold: float, *, diagonal: bool
    ) -> torch.Tensor:
        """Launch, and do not wait.

        Args:
            a: rows that `screen.lowered` made for `triton` or `int8`; few of them, so that they stay in the cache.
            b: rows of the same kind on the same device, any number.
            threshold: lowest score that counts.
            diagonal: a are the first rows of b: only pairs with i < j.

        Returns:
            (2,) int64 on the device: places taken, and hits; for `finish`.
        """
        device = a.low.device
        counts = torch.zeros(2, dtype=torch.int64, device=device)
        if self._room is None or self._room.shape[1] < self.capacity or self._room.device != device:
            self._room = torch.empty(2, self.capacity, dtype=torch.int32, device=device)
        height, width, depth = self.shape.blocks
        depth //= a.low.element_size()
        tiles = math.ceil(len(a.low) / height) * math.ceil(len(b.low) / width)
        on_gpu = device.type == "cuda"
        with torch.cuda.device(device) if on_gpu else nullcontext():
            if tiles:
                self.compiled = _fused_kernel[(min(tiles, self.shape.programs or _programs(device)),)](
                    TensorDescriptor.from_tensor(a.low, [height, depth]),
                    TensorDescriptor.from_tensor(b.low, [width, depth]),
                    a.scales, b.scales, self._room[0], self._room[1],
                    counts.view(torch.int32), counts[1:],
                    len(a.low), len(b.low), self.capacity, threshold,
                    D=a.low.shape[1], DIAGONAL=diagonal, SCALED=a.scales is not None,
                    BLOCK_A=height, BLOCK_B=width, BLOCK_D=depth, FLATTEN=self.shape.flatten,
                    num_warps=self.shape.warps, num_stages=self.shape.stages,
                )  # fmt: skip
        return counts

    def finish(
        self,
        counts: torch.Tensor,
        a: ScreenedRows,
        b: ScreenedRows,
        threshold: float,
        *,
        diagonal: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Wait for `start` with the same arguments.

        Returns:
            Local indices i and j, int32, of all pairs whose score reaches the threshold, in no order,
            valid until the next `start`.

        Raises:
            InputError: more hits than a list can number.
        """
        needed = int(counts[1])
        if needed > self.capacity:
            if needed > MOST_PLACES:
                raise InputError(
                    f"radius: {needed} pairs of {len(a.low)} rows with {len(b.low)} are within reach, "
                    f"at most {MOST_PLACES} can be listed; use a smaller radius"
                )
            self.capacity = min(MOST_PLACES, needed + needed // 4)  # the next strip may have more
            self._room = None
            return self.finish(
                self.start(a, b, threshold, diagonal=diagonal), a, b, threshold, diagonal=diagonal
            )
        assert self._room is not None
        return self._room[0, :needed], self._room[1, :needed]


def _programs(device: torch.device) -> int:
    if device.type != "cuda":  # Triton's interpreter, one after the other
        return 4
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count
