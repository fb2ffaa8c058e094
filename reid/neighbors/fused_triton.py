"""Matmul and threshold in one CUDA kernel: only the hits are written, never the scores.

Writing a tile of scores out and reading it back costs as much as computing it. Here a program keeps
its tile in registers, looks at its largest score, and only where that reaches the threshold appends
what passes to one list, taking places with an atomic counter.

What `auto` is on a GPU. On an H100 its edges were those of the CPU, and all pairs of a million rows of 512
took it 1.5 times the bare product, rows from the host to edges there 1.8 times; tile after tile by torch is
4.2 times (docs/benchmarks/gpu.json). The list is what the rest goes into: 7 µs of a tile without hits are
12 µs with one in each. `marked_triton.py` lists nothing.
"""

import math
from collections.abc import Callable
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
    a_rows_of, b_rows_of, i_ptr, j_ptr, place_ptr, count_ptr, a_rows, b_rows, capacity, threshold,
    D: tl.constexpr, DIAGONAL: tl.constexpr,
    BLOCK_A: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_D: tl.constexpr,
):  # fmt: skip
    # Programs that run at the same time share their rows of b, and all of a, in the L2 cache.
    tiles_a = tl.cdiv(a_rows, BLOCK_A)
    tiles = tiles_a * tl.cdiv(b_rows, BLOCK_B)
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0)):
        row = (tile % tiles_a) * BLOCK_A
        column = (tile // tiles_a) * BLOCK_B
        # Rows past the end are read as zeros.
        total = tl.zeros((BLOCK_A, BLOCK_B), dtype=tl.float32)
        for depth in range(0, D, BLOCK_D):
            a = a_rows_of.load([row, depth])
            b = b_rows_of.load([column, depth])
            total = tl.dot(a, b.T, total)
        # One half after the other: what a hit needs beside the scores does not fit for both.
        halves = total.reshape(BLOCK_A, 2, BLOCK_B // 2).permute(0, 2, 1)
        left, right = halves.split()
        _append_hits(
            left, row, column, i_ptr, j_ptr, place_ptr, count_ptr,
            a_rows, b_rows, capacity, threshold, DIAGONAL, BLOCK_A, BLOCK_B // 2,
        )  # fmt: skip
        _append_hits(
            right, row, column + BLOCK_B // 2, i_ptr, j_ptr, place_ptr, count_ptr,
            a_rows, b_rows, capacity, threshold, DIAGONAL, BLOCK_A, BLOCK_B // 2,
        )  # fmt: skip


@triton.jit  # type: ignore[untyped-decorator]
def _append_hits(  # type: ignore[no-untyped-def]
    score, row, column, i_ptr, j_ptr, place_ptr, count_ptr, a_rows, b_rows, capacity, threshold,
    DIAGONAL: tl.constexpr, HEIGHT: tl.constexpr, WIDTH: tl.constexpr,
):  # fmt: skip
    i = row + tl.arange(0, HEIGHT)
    j = column + tl.arange(0, WIDTH)
    if tl.max(tl.max(score, axis=1), axis=0) >= threshold:
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
    """

    blocks: tuple[int, int, int] = (128, 256, 128)
    warps: int = 8
    stages: int = 3


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

    def begin(
        self, a: ScreenedRows, b: ScreenedRows, threshold: float, diagonal: bool
    ) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        """Launch, and do not wait.

        Args:
            a: rows that `screen.lowered` made for `triton`; few of them, so that they stay in the cache.
            b: rows of the same kind on the same device, any number.
            threshold: lowest score that counts.
            diagonal: a are the first rows of b: only pairs with i < j.

        Returns:
            A function that waits: local indices i and j, (m,) int32, of all pairs whose score reaches the
            threshold, in no order, valid until the next `begin`.

        Raises:
            InputError: by that function: more pairs than a list can number.
        """
        counts = self._launch(a, b, threshold, diagonal)
        return lambda: self._listed(counts, a, b, threshold, diagonal)

    def _launch(
        self, a: ScreenedRows, b: ScreenedRows, threshold: float, diagonal: bool
    ) -> torch.Tensor:
        """(2,) int64 on the device: places taken, and hits."""
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
                self.compiled = _fused_kernel[(min(tiles, multiprocessors(device)),)](
                    TensorDescriptor.from_tensor(a.low, [height, depth]),
                    TensorDescriptor.from_tensor(b.low, [width, depth]),
                    self._room[0], self._room[1],
                    counts.view(torch.int32), counts[1:],
                    len(a.low), len(b.low), self.capacity, threshold,
                    D=a.low.shape[1], DIAGONAL=diagonal, BLOCK_A=height, BLOCK_B=width, BLOCK_D=depth,
                    num_warps=self.shape.warps, num_stages=self.shape.stages,
                )  # fmt: skip
        return counts

    def _listed(
        self,
        counts: torch.Tensor,
        a: ScreenedRows,
        b: ScreenedRows,
        threshold: float,
        diagonal: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        needed = int(counts[1])
        if needed > self.capacity:
            if needed > MOST_PLACES:
                raise InputError(
                    f"radius: {needed} pairs of {len(a.low)} rows with {len(b.low)} are within reach, "
                    f"at most {MOST_PLACES} can be listed; use a smaller radius"
                )
            self.capacity = min(MOST_PLACES, needed + needed // 4)  # the next strip may have more
            self._room = None
            counts = self._launch(a, b, threshold, diagonal)
            return self._listed(counts, a, b, threshold, diagonal)
        assert self._room is not None
        return self._room[0, :needed], self._room[1, :needed]


def multiprocessors(device: torch.device) -> int:
    """How many programs run at once; on the CPU, in Triton's interpreter, a few, one after the other."""
    if device.type != "cuda":
        return 4
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count
