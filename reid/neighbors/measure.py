"""Exact distances of the pairs that passed the screen, and what is kept of them.

Everything here is there twice: for a CPU in NumPy and plain threads, for a device in torch. Small
torch operations on a CPU each wait for all OpenMP threads, which takes a time slice of several
milliseconds, 50 times the work, as soon as another process wants a core.
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np

from reid.neighbors.screen import ScreenedRows

if TYPE_CHECKING:
    import torch

# Local indices i and j, and the distances, all (m,).
Pairs = tuple[np.ndarray, np.ndarray, np.ndarray]


def near_pairs_cpu(
    a: ScreenedRows,
    b: ScreenedRows,
    i: "torch.Tensor",
    j: "torch.Tensor",
    radius: float,
    diagonal: bool,
) -> Pairs:
    """Of the pairs (a[i], b[j]) those within `radius`; on the `diagonal` only i < j. In NumPy."""
    left, right = i.numpy(), j.numpy()
    if diagonal:
        upper = np.flatnonzero(left < right)
        left, right = left[upper], right[upper]
    distance = distances_cpu(a.exact.numpy(), left, b.exact.numpy(), right)
    near = np.flatnonzero(distance <= np.float32(radius))
    return left[near], right[near], distance[near]


def near_pairs_torch(
    a: ScreenedRows,
    b: ScreenedRows,
    i: "torch.Tensor",
    j: "torch.Tensor",
    radius: float,
    diagonal: bool,
) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
    """`near_pairs_cpu` in torch; all stays on the device."""
    if diagonal:
        upper = i < j
        i, j = i[upper], j[upper]
    distance = distances_torch(a.exact, i, b.exact, j)
    near = distance <= radius
    return i[near], j[near], distance[near]


def best_pairs(
    queries: ScreenedRows,
    gallery: ScreenedRows,
    row: "torch.Tensor",
    column: "torch.Tensor",
    k: int,
    own: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of each query among its candidates.

    Args:
        queries: q rows.
        gallery: all rows.
        row: candidate pairs, local query index, ascending.
        column: their index in the gallery, ascending within a row.
        k: at most as many as each row has candidates.
        own: (q,) where the queries are in the gallery, to leave a row out of its own neighbours.

    Returns:
        indices (q, k) and distances (q, k), nearest first, ties by index.
    """
    on_cpu = queries.exact.device.type == "cpu"
    return (best_pairs_cpu if on_cpu else best_pairs_torch)(queries, gallery, row, column, k, own)


def best_pairs_cpu(
    queries: ScreenedRows,
    gallery: ScreenedRows,
    row: "torch.Tensor",
    column: "torch.Tensor",
    k: int,
    own: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """`best_pairs` in NumPy."""
    i, j = row.numpy(), column.numpy()
    if own is not None:
        other = np.flatnonzero(j != own[i])
        i, j = i[other], j[other]
    distance = distances_cpu(queries.exact.numpy(), i, gallery.exact.numpy(), j)
    # The bits of non-negative floats order like the floats: one sort by row, then distance.
    order = np.argsort(i << 32 | distance.view(np.int32), kind="stable")
    first = np.searchsorted(i, np.arange(len(queries.low)))
    best = order[first[:, None] + np.arange(k)]
    return j[best], distance[best]


def best_pairs_torch(
    queries: ScreenedRows,
    gallery: ScreenedRows,
    row: "torch.Tensor",
    column: "torch.Tensor",
    k: int,
    own: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """`best_pairs` in torch."""
    import torch

    if own is not None:
        other = column != torch.from_numpy(own).to(row.device)[row]
        row, column = row[other], column[other]
    distance = distances_torch(queries.exact, row, gallery.exact, column)
    order = torch.argsort(row << 32 | distance.view(torch.int32), stable=True)
    each = torch.arange(len(queries.low), device=row.device)
    first = torch.searchsorted(row, each)
    best = order[first[:, None] + torch.arange(k, device=row.device)]
    return column[best].cpu().numpy(), distance[best].cpu().numpy()


def distances_cpu(a: np.ndarray, i: np.ndarray, b: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Cosine distances (m,) float32 of rows a[i] and b[j], as ‖a − b‖²/2.

    For unit rows that is 1 − cos, without its cancellation: identical rows are at exactly 0, and
    the last bits do not depend on which row comes first or on how the work was cut into blocks.
    """
    import torch

    result = np.empty(len(i), np.float32)
    # The gathered rows of a chunk stay in the cache of a core.
    chunk = max(1, 2**17 // a.shape[1])
    threads = min(torch.get_num_threads(), -(-len(i) // (8 * chunk)))

    def measure(first: int, last: int) -> None:
        left = np.empty((min(chunk, last - first), a.shape[1]), np.float32)
        right = np.empty_like(left)
        for start in range(first, last, chunk):
            part = slice(start, min(start + chunk, last))
            rows = part.stop - start
            # mode="clip" skips a copy that the bounds check would make; the indices are in range.
            np.take(a, i[part], axis=0, out=left[:rows], mode="clip")
            np.take(b, j[part], axis=0, out=right[:rows], mode="clip")
            left[:rows] -= right[:rows]
            np.einsum("ij,ij->i", left[:rows], left[:rows], out=result[part])

    if threads <= 1:
        measure(0, len(i))
    else:
        cuts = np.linspace(0, len(i), threads + 1).astype(int).tolist()
        list(_threads(threads).map(measure, cuts[:-1], cuts[1:]))
    result *= 0.5
    return np.minimum(result, 2, out=result)


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Kept: to start threads for each tile took as long as a sixth of the whole search."""
    return ThreadPoolExecutor(count)


def distances_torch(
    a: "torch.Tensor", i: "torch.Tensor", b: "torch.Tensor", j: "torch.Tensor"
) -> "torch.Tensor":
    """`distances_cpu` in torch operations, few and large, as a GPU wants them."""
    import torch

    result = torch.empty(len(i), dtype=torch.float32, device=a.device)
    chunk = max(1, 2**27 // a.shape[1])
    for start in range(0, len(i), chunk):
        part = slice(start, start + chunk)
        difference = a.index_select(0, i[part]).sub_(b.index_select(0, j[part]))
        result[part] = torch.linalg.vector_norm(difference, dim=1)
    return result.square_().mul_(0.5).clamp_(max=2)
