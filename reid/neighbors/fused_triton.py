"""Matmul and threshold in one CUDA kernel: only the hits are written, never the scores.

Writing a tile of scores out and reading it back costs as much as computing it. Here a program keeps
its tile in registers, compares it there, and appends what passes to one list, taking places with an
atomic counter. Hits are rare, so the counter is not contended.

Not chosen by `auto`: it is checked in Triton's interpreter and compiled for sm_90, but it has never
run on a GPU, so neither its result nor its speed has been seen there.
"""

from collections.abc import Iterator

import torch
import triton
import triton.language as tl

from reid.errors import InputError
from reid.neighbors.screen import ScreenedRows


@triton.jit  # type: ignore[untyped-decorator]
def _fused_kernel(  # type: ignore[no-untyped-def]
    a_ptr, b_ptr, hits_ptr, count_ptr,
    a_rows, b_rows, capacity, threshold,
    D: tl.constexpr, DIAGONAL: tl.constexpr,
    BLOCK_A: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_D: tl.constexpr, GROUP: tl.constexpr,
):  # fmt: skip
    # Programs walk the tiles in groups of GROUP tile rows, so that those that run at the same time
    # share rows of a and b in the L2 cache.
    tiles_a = tl.cdiv(a_rows, BLOCK_A)
    tiles_b = tl.cdiv(b_rows, BLOCK_B)
    program = tl.program_id(0)
    group = program // (GROUP * tiles_b)
    first = group * GROUP
    height = min(tiles_a - first, GROUP)
    tile_a = first + (program % (GROUP * tiles_b)) % height
    tile_b = (program % (GROUP * tiles_b)) // height
    # On the diagonal a tile whose pairs all have i ≥ j holds nothing that is wanted.
    if DIAGONAL and tile_a * BLOCK_A >= (tile_b + 1) * BLOCK_B:
        return
    i = tile_a * BLOCK_A + tl.arange(0, BLOCK_A)
    j = tile_b * BLOCK_B + tl.arange(0, BLOCK_B)
    depth = tl.arange(0, BLOCK_D)
    # Rows past the end read row 0 again and are masked out of the hits.
    a_at = a_ptr + tl.where(i < a_rows, i, 0).to(tl.int64)[:, None] * D + depth[None, :]
    b_at = b_ptr + tl.where(j < b_rows, j, 0).to(tl.int64)[None, :] * D + depth[:, None]
    score = tl.zeros((BLOCK_A, BLOCK_B), dtype=tl.float32)
    for done in range(0, D, BLOCK_D):
        if D % BLOCK_D == 0:
            a = tl.load(a_at + done)
            b = tl.load(b_at + done)
        else:
            inside = depth < D - done
            a = tl.load(a_at + done, mask=inside[None, :], other=0.0)
            b = tl.load(b_at + done, mask=inside[:, None], other=0.0)
        score = tl.dot(a, b, score)
    hit = (score >= threshold) & (i < a_rows)[:, None] & (j < b_rows)[None, :]
    if DIAGONAL:
        hit = hit & (i[:, None] < j[None, :])
    if tl.max(hit.to(tl.int32)) > 0:
        # One 8-byte store a hit, and 4-byte places: the registers are full of scores.
        pair = i.to(tl.int64)[:, None] * 4294967296 + j[None, :]
        counter = count_ptr + tl.zeros((BLOCK_A, BLOCK_B), tl.int32)
        place = tl.atomic_add(counter, 1, mask=hit, sem="relaxed")
        # Past the capacity hits are counted and not stored; the caller runs again with more room.
        tl.store(hits_ptr + place, pair, mask=hit & (place < capacity))


def fused_pairs(
    a: ScreenedRows,
    b: ScreenedRows,
    threshold: float,
    diagonal: bool,
    tile: int,
    *,
    capacity: int = 2**22,
    blocks: tuple[int, int, int] = (128, 256, 64),
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Local indices (i in a, j in b) of pairs whose score reaches `threshold`, in no order.

    Args:
        a: rows on a CUDA device.
        b: rows on the same device.
        threshold: lowest float32 sum of bfloat16 products that counts.
        diagonal: a is b; return only i < j.
        tile: ignored: no scores are kept.
        capacity: hits to make room for at first; grown and run again when there are more.
        blocks: rows of a, rows of b and dimensions that one program holds at a time.

    Raises:
        InputError: blocks with so many pairs that the hits could outgrow a 32-bit counter.
    """
    del tile
    if len(a.low) * len(b.low) >= 2**31:
        raise InputError(
            f"block_rows: {len(a.low)} × {len(b.low)} pairs in one block, triton counts to 2^31; "
            "use blocks of at most 46340 rows"
        )
    if not len(a.low) or not len(b.low):
        return
    block_a, block_b, block_d = blocks
    grid = (triton.cdiv(len(a.low), block_a) * triton.cdiv(len(b.low), block_b),)
    while True:
        count = torch.zeros(1, dtype=torch.int32, device=a.low.device)
        found = torch.empty(capacity, dtype=torch.int64, device=a.low.device)
        _fused_kernel[grid](
            a.low, b.low, found, count, len(a.low), len(b.low), capacity, threshold,
            D=a.low.shape[1], DIAGONAL=diagonal,
            BLOCK_A=block_a, BLOCK_B=block_b, BLOCK_D=block_d, GROUP=8,
            num_warps=8, num_stages=3,
        )  # fmt: skip
        needed = int(count)
        if needed <= capacity:
            break
        capacity = needed
    found = found[:needed]
    yield found >> 32, found & 0xFFFFFFFF
