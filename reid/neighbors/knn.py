"""The k nearest rows, exactly: screened in low precision, decided on float32 distances."""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from reid import optional
from reid.errors import InputError
from reid.neighbors.hits import as_keys, keys_as_scores, sort_keys, threshold_keys, true_positions
from reid.neighbors.measure import best_pairs, distances_cpu
from reid.neighbors.screen import budget_bytes, choose_backend, prepare, score_error, scores
from reid.neighbors.unit_rows import check_unit_rows

if TYPE_CHECKING:
    import torch

FAISS_GPU_MAX_K = 2048
HALF_UNIT = 2.0**-8  # half a unit in the last place of bfloat16, of a number between 1 and 2
FLOAT_ERROR = 2.0**-22  # of the float32 operations of `lower_limit`

Scores = TypeVar("Scores", "torch.Tensor", np.ndarray)


def knn(
    embeddings: np.ndarray,
    k: int,
    *,
    queries: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
    checked: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest rows of `embeddings` for each query, nearest first.

    Args:
        embeddings: (n, d) float32, unit rows: the gallery.
        k: neighbours per query, at least 1.
        queries: (q, d) float32, unit rows; without it every row of `embeddings` asks for its
            nearest *other* rows.
        rows: (q,) int, instead of `queries`: only these rows of `embeddings` ask, each for its
            nearest other rows.
        backend: `auto`, `torch`, `numpy`, `faiss` or `faiss-gpu`.
        device: "cpu", or a torch device such as "cuda".
        memory_bytes: budget for scores and candidates; by default 512 MiB, on a GPU half of what
            is free.
        checked: the caller has seen that the rows are unit.

    Returns:
        indices (q, k) int32 and distances (q, k) float32. Ties go to the lower index. Where there
        are fewer than k rows to find, the rest is −1 and NaN.

    Raises:
        InputError: rows that are not unit, dimensions that differ, k < 1, an unknown backend.
    """
    if k < 1:
        raise InputError(f"k: {k}, needs at least 1")
    if not checked:
        check_unit_rows(embeddings)
    own = None
    if queries is None:
        own = np.arange(len(embeddings)) if rows is None else np.asarray(rows, np.int64)
        queries = embeddings if rows is None else embeddings[own]
    else:
        if not checked:
            check_unit_rows(queries, "queries")
        if queries.shape[1] != embeddings.shape[1]:
            raise InputError(
                f"queries have {queries.shape[1]} dimensions, embeddings {embeddings.shape[1]}; "
                "both must come from the same model"
            )
    n, d = embeddings.shape
    indices = np.full((len(queries), k), -1, np.int32)
    lengths = np.full((len(queries), k), np.nan, np.float32)
    found = min(k, n - (own is not None))  # not itself
    if found < 1 or len(queries) == 0:
        return indices, lengths
    backend = choose_backend(max(n, len(queries)), d, device, backend)
    if backend in ("triton", "int8", "prefix"):
        raise InputError(f"backend: {backend} builds radius graphs only; for k nearest use torch")
    search = _faiss_search if backend.startswith("faiss") else _screened_search
    search(
        embeddings, queries, own, backend, device, budget_bytes(device, memory_bytes),
        indices[:, :found], lengths[:, :found],
    )  # fmt: skip
    return indices, lengths


def nearest(
    embeddings: np.ndarray, *, backend: str = "auto", device: str = "cpu"
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other row of each row: index (n,) int32 and distance (n,) float32.

    A row that is alone has −1 and NaN. Raises InputError as `knn`.
    """
    indices, lengths = knn(embeddings, 1, backend=backend, device=device)
    return indices[:, 0], lengths[:, 0]


def nearest_of_rows(
    search: Callable[..., tuple[np.ndarray, np.ndarray]],
    embeddings: np.ndarray,
    k: int,
    rows: np.ndarray,
    block_rows: int,
) -> tuple[np.ndarray, np.ndarray]:
    """`knn(embeddings, k, rows=rows)`, block by block of the gallery: memory of a block, not of all.

    Args:
        search: `knn`, with its other options.
        embeddings: (n, d) float32, unit rows (seen by the caller).
        k: neighbours, at least 1.
        rows: (q,) int, the rows that ask.
        block_rows: of the gallery.
    """
    queries = embeddings[rows]
    found = (np.full((len(rows), k), -1, np.int32), np.full((len(rows), k), np.nan, np.float32))
    for start in range(0, len(embeddings), block_rows):
        block = embeddings[start : start + block_rows]
        # A row may be its own nearest, so one more is asked for.
        indices, lengths = search(block, k + 1, queries=queries, checked=True)
        indices[indices >= 0] += start
        itself = indices == np.asarray(rows)[:, None]
        indices[itself], lengths[itself] = -1, np.nan
        found = merge_nearest(found, (indices, lengths), k)
    return found


def merge_nearest(
    first: tuple[np.ndarray, np.ndarray],
    second: tuple[np.ndarray, np.ndarray],
    k: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """The nearest of two lists a row, ties by index; −1 and NaN come last."""
    indices = np.concatenate([first[0], second[0]], axis=1)
    lengths = np.concatenate([first[1], second[1]], axis=1)
    k = first[0].shape[1] if k is None else k
    keys = np.where(indices < 0, np.inf, lengths)
    order = np.lexsort((indices, keys), axis=1)[:, :k]
    return np.take_along_axis(indices, order, 1), np.take_along_axis(lengths, order, 1)


def _screened_search(
    gallery: np.ndarray,
    queries: np.ndarray,
    own: np.ndarray | None,
    backend: str,
    device: str,
    budget: int,
    indices: np.ndarray,
    lengths: np.ndarray,
) -> None:
    (n, d), k = gallery.shape, indices.shape[1]
    for start, stop in itertools.pairwise(_gallery_cuts(n, d, k, budget)):
        found = _nearest_in_part(
            gallery[start:stop],
            start,
            queries,
            own,
            backend,
            device,
            budget // 2,
            min(k, stop - start),
        )
        if stop - start == n:
            indices[:], lengths[:] = found
        else:
            indices[:], lengths[:] = merge_nearest((indices, lengths), found, k)


def _gallery_cuts(n: int, d: int, k: int, budget: int) -> list[int]:
    """Where a gallery is cut, so that a part, its low-precision rows and columns take half the budget.

    Each part has more than k rows: then it has k for a row that is not to find itself, too.
    """
    parts = max(1, min(-(-8 * n * d // (budget // 2)), n // (k + 1)))
    return [number * n // parts for number in range(parts + 1)]


def _nearest_in_part(
    part: np.ndarray,
    first: int,
    queries: np.ndarray,
    own: np.ndarray | None,
    backend: str,
    device: str,
    budget: int,
    k: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest among the rows `first` … of the gallery, numbered in the whole."""
    import torch

    n = len(part)
    indices = np.empty((len(queries), k), np.int32)
    lengths = np.empty((len(queries), k), np.float32)
    rows_here = prepare(part, backend, device)
    columns = rows_here.low.T.contiguous()
    block = min(len(queries), max(16, min(1024, budget // (16 * n))))
    buffer = torch.empty(block * n, dtype=rows_here.low.dtype, device=rows_here.low.device)
    for start in range(0, len(queries), block):
        some = slice(start, min(start + block, len(queries)))
        rows = prepare(queries[some], backend, device)
        screened = scores(rows, columns, buffer[: len(rows.low) * n].view(-1, n))
        error = score_error(rows, rows_here)
        # A row finds itself too, and asks for one more in its place.
        row, column = _candidates(screened, k + (own is not None), error)
        itself = None if own is None else own[some] - first
        indices[some], lengths[some] = best_pairs(rows, rows_here, row, column, k, itself)
    indices += np.int32(first)
    return indices, lengths


def _candidates(
    screened: "torch.Tensor", k: int, error: float
) -> "tuple[torch.Tensor, torch.Tensor]":
    """(row, column) of every cell that can be among the k best of its row; `screened` is used up.

    With the columns dealt into groups, the k-th largest of the group maxima is reached by k
    different cells: a lower bound of the k-th best score. A true neighbour can be screened lower
    than that by the error of its own score and that of the cell it beats; and where scores are
    stored in bfloat16, by the rounding of both, which `lower_limit` allows for.
    """
    groups = max(k, min(screened.shape[1], 8 * k))  # 8 a neighbour: the bound is nearly tight
    on_cpu = screened.device.type == "cpu"
    return (candidates_cpu if on_cpu else candidates_torch)(screened, k, groups, error)


def candidates_torch(
    screened: "torch.Tensor", k: int, groups: int, error: float
) -> "tuple[torch.Tensor, torch.Tensor]":
    """`_candidates` in torch operations."""
    import torch

    dealt = screened[:, : screened.shape[1] // groups * groups].reshape(len(screened), -1, groups)
    kth = dealt.amax(1).topk(k, dim=1).values[:, -1:]
    limit = lower_limit(kth.float(), error, screened.dtype == torch.bfloat16)
    row, column = (screened >= limit).nonzero(as_tuple=True)
    return row, column


def candidates_cpu(
    screened: "torch.Tensor", k: int, groups: int, error: float
) -> "tuple[torch.Tensor, torch.Tensor]":
    """`_candidates` by integer comparisons of NumPy, several times faster on a CPU."""
    import torch

    keys = as_keys(screened)
    limits = _key_limits(keys, k, groups, error)
    if keys.dtype == np.int16 and limits.min() <= 0:
        limits = _key_limits(sort_keys(keys), k, groups, error)
    rows, columns = np.divmod(true_positions(keys >= limits), screened.shape[1])
    return torch.from_numpy(rows), torch.from_numpy(columns)


def _key_limits(keys: np.ndarray, k: int, groups: int, error: float) -> np.ndarray:
    dealt = keys[:, : keys.shape[1] // groups * groups].reshape(len(keys), -1, groups)
    kth = np.partition(dealt.max(axis=1), groups - k, axis=1)[:, groups - k, None]
    limits: np.ndarray = lower_limit(keys_as_scores(kth), error, keys.dtype == np.int16)
    return threshold_keys(limits, keys.dtype)


def lower_limit(kth: Scores, error: float, rounded: bool) -> Scores:
    """A score that no true neighbour's stored score is below.

    Stored scores r(p) are rounded to nearest: |r(p) − p| ≤ |p| · 2⁻⁸. The k cells that reach `kth`
    have p ≥ kth − |kth| · 2⁻⁸, so the k-th best true score is at least that less `error`, a true
    neighbour's p at least l = kth − |kth| · 2⁻⁸ − 2 · error, and its stored score, as p − |p| · 2⁻⁸
    grows with p, at least l − |l| · 2⁻⁸. Without both steps, scores that tie in bfloat16 were lost.

    Args:
        kth: float32, a score that k cells of the row reach.
        error: of a score before it was rounded.
        rounded: whether the scores are stored in bfloat16.
    """
    limit: Scores
    if not rounded:
        limit = kth - 2 * error
        return limit
    low = kth - abs(kth) * HALF_UNIT - (2 * error + FLOAT_ERROR)
    limit = low - abs(low) * HALF_UNIT - FLOAT_ERROR
    return limit


def _faiss_search(
    gallery: np.ndarray,
    queries: np.ndarray,
    own: np.ndarray | None,
    backend: str,
    device: str,
    budget: int,
    indices: np.ndarray,
    lengths: np.ndarray,
) -> None:
    """Brute force by faiss: exact but for ties in the last bit of its float32 scores."""
    import torch

    faiss = optional.faiss()
    k = indices.shape[1] + (own is not None)
    index = faiss.IndexFlatIP(gallery.shape[1])
    if backend == "faiss-gpu":
        if k > FAISS_GPU_MAX_K:
            raise InputError(f"k: {k}, faiss-gpu finds at most {FAISS_GPU_MAX_K}; use torch")
        # A GPU call without a GPU aborts the process, so ask before.
        if faiss.get_num_gpus() == 0:
            raise InputError("backend: faiss-gpu sees no GPU; install the gpu extra, or use torch")
        resources = faiss.StandardGpuResources()
        index = faiss.index_cpu_to_gpu(resources, torch.device(device).index or 0, index)
    index.add(gallery)
    block = max(16, min(4096, budget // (32 * k)))
    for start in range(0, len(queries), block):
        part = slice(start, min(start + block, len(queries)))
        found = index.search(queries[part], k)[1]
        if own is not None:
            # Among many identical rows a row may miss itself; then the last found is one too many.
            self = own[part, None]
            missed = ~(found == self).any(axis=1)
            found[missed, -1] = self[missed, 0]
            found = found[found != self].reshape(-1, k - 1)
        found = np.sort(found, axis=1)
        row = np.repeat(np.arange(len(found)), found.shape[1])
        distance = distances_cpu(queries[part], row, gallery, found.ravel())
        length = distance.reshape(found.shape)
        order = np.argsort(length, axis=1, kind="stable")
        indices[part] = np.take_along_axis(found, order, axis=1)
        lengths[part] = np.take_along_axis(length, order, axis=1)
