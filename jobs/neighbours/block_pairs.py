"""All pairs by Ray tasks: a task for each pair of blocks of rows, so many at once as there is room for.

The rows enter the object store once, block by block; tasks return edges or nearest rows, never the
distances of all pairs. A worker or node that dies costs its block pair again and changes nothing.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import numpy as np

from reid import neighbors
from reid.errors import InputError, ReidError, StorageError
from reid.neighbors.edge_arrays import Edges, sort_edges
from reid.neighbors.graph import MAX_ROWS, check_radius
from reid.neighbors.knn import merge_nearest

Item = TypeVar("Item")
# (block a, block b, first row of a, first row of b, their edges) → those that are needed.
RefinePair = Callable[[np.ndarray, np.ndarray, int, int, Edges], Edges]

# Block pairs that may wait for an earlier one that is late, for each that is being computed.
WAITING_PER_TASK = 4
CPU_BLOCK_ROWS = 8192
GPU_BLOCK_ROWS = 32768
MAX_RETRIES = 3  # of a block pair whose worker or node dies


def stream_edges_by_tasks(
    vectors: np.ndarray,
    radius: float,
    *,
    new_from: int = 0,
    backend: str = "auto",
    on_gpu: bool = False,
    block_rows: int | None = None,
    refine: RefinePair | None = None,
    progress: Callable[[], None] | None = None,
) -> Iterator[Edges]:
    """`reid.neighbors.stream_edges` by Ray tasks; Ray must be initialised.

    Args:
        vectors: (n, d) float32, unit rows (seen by the caller).
        radius: largest cosine distance kept, 0 < radius < 2.
        new_from: only pairs with a row from here on; see `stream_edges`.
        backend: see `reid.neighbors.choose_backend`.
        on_gpu: each task takes a GPU.
        block_rows: rows of a block; by default 8,192, on GPUs 32,768.
        refine: run where the edges of a block pair are found, so that less travels.
        progress: called after each block pair.

    Yields:
        (edges (m, 2) int32, distances (m,) float32): sorted, each with all edges whose smaller index
        lies in one block; concatenated, the graph.

    Raises:
        InputError: a radius out of range, too many rows.
        StorageError: a worker died again and again.
    """
    import ray

    check_radius(radius)
    if len(vectors) > MAX_ROWS:
        raise InputError(f"embeddings: {len(vectors)} rows, at most {MAX_ROWS}; split them")
    cuts, strips = neighbors.block_strips(len(vectors), _rows(on_gpu, block_rows), new_from)
    blocks = [ray.put(vectors[cut]) for cut in cuts]
    # One copy for all tasks: it may hold a value for each row.
    refined = ray.put(refine)
    device = "cuda" if on_gpu else "cpu"
    basis = ray.put(
        neighbors.choose_basis(vectors, radius, new_from=new_from, backend=backend, device=device)
    )
    task = ray.remote(_block_edges).options(**_resources(on_gpu))

    def submit(pair: tuple[int, int]) -> Any:
        a, b = pair
        return task.remote(
            blocks[a], blocks[b], radius, cuts[a].start, cuts[b].start, backend, device, basis, refined
        )  # fmt: skip

    pairs = [(k, other) for k, others in strips for other in others]
    done: dict[tuple[int, int], Edges] = {}
    first = 0  # the strip that is handed on next

    def room(running: int, started: int) -> int:
        # Ahead of this strip only so much is computed as may lie around until its turn comes.
        most = 2 * tasks_at_once(on_gpu)
        begun = sum(len(others) for _, others in strips[: first + 1])
        return min(most - running, WAITING_PER_TASK * most + begun - started)

    for pair, (edges, distances) in _completed(submit, pairs, room):
        # Copied: an array that came from the object store keeps its place there.
        done[pair] = edges.copy(), distances.copy()
        if progress:
            progress()
        while first < len(strips) and all((strips[first][0], b) in done for b in strips[first][1]):
            k, others = strips[first]
            first += 1
            yield sort_edges([done.pop((k, b)) for b in others])


def nearest_by_tasks(
    vectors: np.ndarray,
    k: int,
    *,
    queries: np.ndarray | None = None,
    rows: np.ndarray | None = None,
    backend: str = "auto",
    on_gpu: bool = False,
    block_rows: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`reid.neighbors.knn` by Ray tasks: the same rows and distances; Ray must be initialised.

    Args:
        vectors: (n, d) float32, unit rows (seen by the caller).
        k, queries, rows: see `knn`.
        backend, on_gpu, block_rows: as in `stream_edges_by_tasks`.

    Raises:
        InputError: k < 1.
        StorageError: a worker died again and again.
    """
    import ray

    if k < 1:
        raise InputError(f"k: {k}, needs at least 1")
    own = None
    if queries is None:
        own = np.arange(len(vectors)) if rows is None else np.asarray(rows, np.int64)
    query_rows = vectors[own] if queries is None else queries
    size = _rows(on_gpu, block_rows)
    starts = range(0, len(vectors), size)
    gallery = [ray.put(vectors[at : at + size]) for at in starts]
    cuts = [slice(at, at + size) for at in range(0, len(query_rows), size)]
    question = [ray.put((query_rows[cut], None if own is None else own[cut])) for cut in cuts]
    task = ray.remote(_block_nearest).options(**_resources(on_gpu))
    device = "cuda" if on_gpu else "cpu"
    indices = np.full((len(query_rows), k), -1, np.int32)
    lengths = np.full((len(query_rows), k), np.nan, np.float32)

    def submit(pair: tuple[int, int]) -> Any:
        q, g = pair
        return task.remote(gallery[g], question[q], starts[g], k, backend, device)

    def room(running: int, started: int) -> int:  # noqa: ARG001
        return 2 * tasks_at_once(on_gpu) - running

    pairs = itertools.product(range(len(cuts)), range(len(gallery)))
    for (q, _), found in _completed(submit, pairs, room):
        part = cuts[q]
        indices[part], lengths[part] = merge_nearest((indices[part], lengths[part]), found)
    return indices, lengths


def tasks_at_once(on_gpu: bool) -> int:
    """Tasks that the cluster has room for. Asked anew each time: it may grow with what waits."""
    import ray

    resources = ray.cluster_resources()
    return max(1, int(resources.get("GPU" if on_gpu else "CPU", 0)))


def _completed(
    submit: Callable[[Item], Any], items: Iterable[Item], room: Callable[[int, int], int]
) -> Iterator[tuple[Item, Any]]:
    """Items with what their tasks returned, in the order in which they end.

    Args:
        submit: starts a task.
        items: one a task.
        room: (tasks that run, tasks begun so far) → how many more may begin.
    """
    import ray

    waiting = iter(items)
    running: dict[Any, Item] = {}
    started = 0
    while True:
        for item in itertools.islice(waiting, max(0, room(len(running), started))):
            running[submit(item)] = item
            started += 1
        if not running:
            return
        (ready,), _ = ray.wait(list(running), num_returns=1)
        yield running.pop(ready), _result(ready)


def _result(reference: Any) -> Any:
    """What a task found; an error that is meant for the user comes without the worker's traceback."""
    import ray

    try:
        return ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ReidError):
            raise error.cause from error
        raise
    except ray.exceptions.RayError as error:
        raise StorageError(
            f"the neighbour search stopped: {error}; run the same command again"
        ) from error


def _block_edges(
    a: np.ndarray,
    b: np.ndarray,
    radius: float,
    a_start: int,
    b_start: int,
    backend: str,
    device: str,
    basis: np.ndarray | None,
    refine: RefinePair | None,
) -> Edges:
    edges = neighbors.edges_of_block(
        a, b, radius,
        a_start=a_start, b_start=b_start, backend=backend, basis=basis, device=device,
    )  # fmt: skip
    return refine(a, b, a_start, b_start, edges) if refine else edges


def _block_nearest(
    gallery: np.ndarray,
    question: tuple[np.ndarray, np.ndarray | None],
    start: int,
    k: int,
    backend: str,
    device: str,
) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest of a block of the gallery, numbered in the whole; a row never finds itself."""
    query_rows, own = question
    # A row may be its own nearest here, so one more is asked for.
    more = k + (own is not None)
    indices, lengths = neighbors.knn(
        gallery, more, queries=query_rows, backend=backend, device=device, checked=True
    )
    indices = np.where(indices < 0, -1, indices + np.int32(start)).astype(np.int32)
    if own is not None:
        itself = indices == own[:, None]
        indices[itself], lengths[itself] = -1, np.nan
    none = (np.full((len(query_rows), 0), -1, np.int32), np.empty((len(query_rows), 0), np.float32))
    return merge_nearest(none, (indices, lengths), k)


def _rows(on_gpu: bool, block_rows: int | None) -> int:
    return block_rows or (GPU_BLOCK_ROWS if on_gpu else CPU_BLOCK_ROWS)


def _resources(on_gpu: bool) -> dict[str, Any]:
    return {"num_cpus": 1, "num_gpus": 1 if on_gpu else 0, "max_retries": MAX_RETRIES}
