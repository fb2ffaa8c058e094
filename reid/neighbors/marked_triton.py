"""Matmul and threshold in one CUDA kernel that writes one bit a pair, and looks the set ones up afterwards.

`fused_triton.py` lists its hits within the kernel, which costs more than the product where there are
many. Here a program writes whether each score reaches the threshold, 64 GB for all pairs of a million rows
where scores in bfloat16 are 1,000 GB, and the words that are not zero are looked up. Nothing in the kernel
depends on what is found, so that the loads of the next tile go on meanwhile.

Chosen by name only, as `int8`: it is checked in Triton's interpreter and compiled for sm_90 (158 registers, no
stack), and has not run on a GPU so far.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from reid.errors import InputError
from reid.neighbors.fused_triton import multiprocessors
from reid.neighbors.screen import ScreenedRows

MOST_PAIRS = 2**31 - 1  # of one strip
MARKS_BYTES = 2**30  # of the bits that are kept at once
EXPANDED_WORDS = 2**18  # of 64 bits, at once

# How the bits of a row lie: a word of 32 is of one row and one thread. In an accumulator of the tensor
# cores a thread has two columns of each eight, so a word has two columns of each eight of 128.
GROUP = 128  # columns of four words


@triton.jit  # type: ignore[untyped-decorator]
def _mark_hits(  # type: ignore[no-untyped-def]
    a_rows_of, b_rows_of, marks_ptr, a_rows, b_rows, words, threshold,
    D: tl.constexpr, WHOLE: tl.constexpr, BLOCK_A: tl.constexpr, BLOCK_B: tl.constexpr,
    BLOCK_D: tl.constexpr, FLATTEN: tl.constexpr,
):  # fmt: skip
    # Programs that run at the same time share their rows of b, and all of a, in the L2 cache.
    KIND: tl.constexpr = tl.int32 if WHOLE else tl.float32
    GROUPS: tl.constexpr = BLOCK_B // 128
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
        hit = (total >= threshold).to(tl.int32).reshape(BLOCK_A, GROUPS, 16, 4, 2)
        bit = 1 << (2 * tl.arange(0, 16)[:, None] + tl.arange(0, 2)[None, :])
        word = tl.xor_sum(tl.xor_sum(hit * bit[None, None, :, None, :], axis=4), axis=2)
        i = (row + tl.arange(0, BLOCK_A)).to(tl.int64)
        group = column // 128 + tl.arange(0, GROUPS)
        place = i[:, None, None] * words + (
            4 * group[None, :, None] + tl.arange(0, 4)[None, None, :]
        )
        tl.store(marks_ptr + place, word)


@dataclass(frozen=True, slots=True)
class MarkedShape:
    """How the kernel is cut; changes no result.

    Attributes:
        blocks: rows of a, rows of b (a multiple of 128) and bytes of a row that a program holds at a time.
        warps, stages: of a program, and loads that are under way.
        programs: of a multiprocessor at once; each takes one tile after the other.
        flatten: whether the loads of the next tile begin during the comparison of this one.
    """

    blocks: tuple[int, int, int] = (128, 256, 128)
    warps: int = 8
    stages: int = 3
    programs: int = 1
    flatten: bool = True


class MarkedSearch:
    """The kernel, and the room that its marks are written to, kept from one call to the next."""

    def __init__(self, *, shape: MarkedShape | None = None, marks_bytes: int = MARKS_BYTES) -> None:
        """Nothing is allocated yet.

        Args:
            shape: how the kernel is cut.
            marks_bytes: bytes of marks at once; more rows of b are taken one part after the other.
        """
        self.shape, self.marks_bytes = shape or MarkedShape(), marks_bytes
        self.compiled: Any = None  # the kernel that ran last: registers, spills
        self._room: torch.Tensor | None = None

    def begin(
        self, a: ScreenedRows, b: ScreenedRows, threshold: float, diagonal: bool
    ) -> Callable[[], tuple[torch.Tensor, torch.Tensor]]:
        """Launch, and do not wait.

        Args:
            a: rows that `screen.lowered` made for `triton` or `int8`; few of them, so that they stay in the cache.
            b: rows of the same kind on the same device, any number.
            threshold: lowest score that counts.
            diagonal: a are the first rows of b: only pairs with i < j.

        Returns:
            A function that waits, to be called before another `begin`: local indices i and j, (m,) int64,
            of all pairs whose score reaches the threshold, in no order.

        Raises:
            InputError: by that function: more pairs than a list can number.
        """
        parts = self.marks(a, b, threshold)
        first = next(parts, None)

        def find() -> tuple[torch.Tensor, torch.Tensor]:
            none = torch.empty(0, dtype=torch.int64, device=a.low.device)
            found, count = [(none, none)], 0
            for start, marks in itertools.chain([first] if first else [], parts):
                for i, j in _marked(marks):
                    j = j + start
                    # Rows past the end score zero, which may reach the threshold.
                    kept = (i < len(a.low)) & (j < len(b.low))
                    if diagonal:
                        kept &= i < j
                    found.append((i[kept], j[kept]))
                    count += len(found[-1][0])
                    if count > MOST_PAIRS:
                        raise InputError(
                            f"radius: more than {MOST_PAIRS} pairs of {len(a.low)} rows with "
                            f"{len(b.low)} are within reach; use a smaller radius"
                        )
            i, j = (torch.cat(part) for part in zip(*found, strict=True))
            return i, j

        return find

    def marks(
        self, a: ScreenedRows, b: ScreenedRows, threshold: float
    ) -> Iterator[tuple[int, torch.Tensor]]:
        """What `begin` looks up: the first row of a part of b, and its marks as `_mark` gives them."""
        height, width, _ = self.shape.blocks
        rows = -(-len(a.low) // height) * height
        step = max(1, 8 * self.marks_bytes // max(1, rows) // width) * width
        # Sums of whole numbers are whole.
        reached = math.floor(threshold / a.step**2) if a.step else threshold
        for start in range(0, len(b.low) if rows else 0, step):
            yield start, self._mark(a.low, b.low[start : start + step], reached)

    def _mark(self, a: torch.Tensor, b: torch.Tensor, threshold: float) -> torch.Tensor:
        """(rows of a, words) int32, both rounded up to whole tiles; valid until it is called again."""
        height, width, depth = self.shape.blocks
        depth //= a.element_size()
        tall, wide = -(-len(a) // height), -(-len(b) // width)
        rows, words = tall * height, wide * width // 32
        if self._room is None or self._room.numel() < rows * words or self._room.device != a.device:
            self._room = torch.empty(rows * words, dtype=torch.int32, device=a.device)
        marks = self._room[: rows * words].view(rows, words)
        on_gpu = a.device.type == "cuda"
        with torch.cuda.device(a.device) if on_gpu else nullcontext():
            self.compiled = _mark_hits[(min(tall * wide, self.shape.programs * multiprocessors(a.device)),)](
                TensorDescriptor.from_tensor(a, [height, depth]),
                TensorDescriptor.from_tensor(b, [width, depth]),
                marks, len(a), len(b), words, threshold,
                D=a.shape[1], WHOLE=a.dtype == torch.int8, BLOCK_A=height, BLOCK_B=width, BLOCK_D=depth,
                FLATTEN=self.shape.flatten, num_warps=self.shape.warps, num_stages=self.shape.stages,
            )  # fmt: skip
        return marks


def _marked(marks: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Rows and columns, int64, of the bits that are set; so many at once as memory bears."""
    a_row = marks.shape[1] // 2  # words of 64
    words = marks.view(torch.int64).view(-1)
    bits = torch.arange(64, device=marks.device)
    for some in torch.split(torch.nonzero(words).squeeze(1), EXPANDED_WORDS):
        which, bit = torch.nonzero((words[some, None] >> bits) & 1, as_tuple=True)
        word = some[which]
        i = torch.div(word, a_row, rounding_mode="floor")
        quarter = 2 * (word - i * a_row) + (bit >> 5)  # which word of 32 of the row
        bit = bit & 31
        yield i, (quarter >> 2) * GROUP + (bit >> 1) * 8 + (quarter & 3) * 2 + (bit & 1)
