"""The radius graph on many workers: a task for each block pair of the upper triangle.

The embeddings enter the object store once, block by block; tasks return edges, never distances of
all pairs. Results are handed on in the order of the rows, so a consumer that reduces them (a
spanning forest, a file) needs no more memory than it keeps. A worker that dies costs its block pair
again and changes nothing.
"""

import itertools
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import ray

from reid import neighbors, store
from reid.errors import InputError, ReidError
from reid.neighbors.graph import MAX_ROWS, Edges, check_radius, sort_edges

Reduce = Callable[[np.ndarray, np.ndarray], Edges]

# Result pairs that may wait for an earlier one that is late, for each that is being computed.
WAITING_PER_TASK = 4
CPU_BLOCK_ROWS = 8192
GPU_BLOCK_ROWS = 32768


def _block_edges(
    a: np.ndarray,
    b: np.ndarray,
    radius: float,
    a_start: int,
    b_start: int,
    backend: str,
    device: str,
    reduce: Reduce | None,
) -> Edges:
    edges = neighbors.edges_of_block(
        a, b, radius, a_start=a_start, b_start=b_start, backend=backend, device=device
    )
    return reduce(*edges) if reduce else edges


def stream_distributed_edges(
    embeddings: np.ndarray | Sequence[Any],
    radius: float,
    *,
    block_rows: int | None = None,
    backend: str = "auto",
    max_in_flight: int | None = None,
    num_cpus_per_task: float = 1,
    num_gpus_per_task: float = 0,
    max_retries: int = 3,
    reduce: Reduce | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Edges]:
    """The radius graph in parts, computed by Ray tasks; Ray must be initialised.

    Args:
        embeddings: (n, d) float32 unit rows, or references to such blocks in the order of the rows
            (made by `ray.put` or by tasks), for embeddings that never were in one place.
        radius: largest cosine distance kept, 0 < radius < 2.
        block_rows: rows of a block; by default 8,192, with GPUs 32,768. Not for references.
        backend: see `reid.neighbors.choose_backend`.
        max_in_flight: block pairs that are computed at the same time; by default twice what the
            cluster has room for. With what waits for its turn it bounds the edges held at once.
        num_cpus_per_task: CPUs, and threads, of a task.
        num_gpus_per_task: GPUs of a task; more than 0 moves the work there.
        max_retries: how often a block pair is tried again when its worker or node dies.
        reduce: (edges, distances) → (edges, distances), run where the edges of a block pair are
            found, for example to their spanning forest, so that less travels.
        progress: called with (block pairs done, all block pairs).

    Yields:
        (edges (m, 2) int32, distances (m,) float32): sorted, each with all edges whose smaller
        index lies in one block; concatenated, the graph.

    Raises:
        InputError: rows that are not unit, a radius out of range, bad arguments.
    """
    check_radius(radius)
    blocks = _blocks(embeddings, block_rows or _default_block_rows(num_gpus_per_task))
    starts = [0, *itertools.accumulate(_sizes(blocks))]
    if max_in_flight is not None and max_in_flight < 1:
        raise InputError(f"max_in_flight: {max_in_flight}, needs at least 1")
    device = "cuda" if num_gpus_per_task else "cpu"
    task = ray.remote(_block_edges).options(
        num_cpus=num_cpus_per_task, num_gpus=num_gpus_per_task, max_retries=max_retries
    )
    pairs = list(itertools.combinations_with_replacement(range(len(blocks)), 2))
    waiting = iter(pairs)
    running: dict[Any, tuple[int, int]] = {}
    done: dict[tuple[int, int], Edges] = {}
    finished = 0
    for first in range(len(blocks)):
        strip = [(first, second) for second in range(first, len(blocks))]
        while any(pair not in done for pair in strip):
            # Asked anew each time: a cluster that starts from nothing grows with what waits.
            most = max_in_flight or 2 * tasks_at_once(num_cpus_per_task, num_gpus_per_task)
            # Ahead of this strip only so much is computed as may lie around until its turn comes.
            ahead = sum(pair[0] > first for pair in (*running.values(), *done))
            room = min(most - len(running), WAITING_PER_TASK * most - ahead)
            for a, b in itertools.islice(waiting, max(room, 0)):
                arguments = (blocks[a], blocks[b], radius, starts[a], starts[b])
                running[task.remote(*arguments, backend, device, reduce)] = (a, b)
            ready, _ = ray.wait(list(running), num_returns=1)
            for reference in ready:
                edges, distances = block_result(reference)
                # Copied: an array that came from the object store keeps its place there.
                done[running.pop(reference)] = (edges.copy(), distances.copy())
                finished += 1
            if progress:
                progress(finished, len(pairs))
        yield sort_edges([done.pop(pair) for pair in strip])


def distributed_radius_graph(
    embeddings: np.ndarray | Sequence[Any],
    radius: float,
    *,
    spill_bytes: int | None = None,
    spill_dir: str | None = None,
    **options: Any,
) -> neighbors.Graph:
    """`reid.neighbors.radius_graph` by Ray tasks: the same graph, on CPUs to the last bit.

    Args:
        embeddings: as in `stream_distributed_edges`.
        radius: largest cosine distance kept, 0 < radius < 2.
        spill_bytes: edges (12 bytes each) that may wait in memory. Past it they wait in Parquet
            files and come back one file at a time, so that the peak is one copy of the graph
            instead of two.
        spill_dir: folder or URI for these files, which are removed at the end.
        options: the other arguments of `stream_distributed_edges`.

    Returns:
        Graph; with `reduce`, of the edges that it leaves.

    Raises:
        InputError: as `stream_distributed_edges`; a budget without a folder.
    """
    if spill_bytes is not None and spill_dir is None:
        raise InputError(f"spill_bytes: {spill_bytes} needs a spill_dir to write to")
    block_rows = options.pop("block_rows", None)
    gpus = options.get("num_gpus_per_task", 0)
    blocks = _blocks(embeddings, block_rows or _default_block_rows(gpus))
    held: list[Edges] = []
    files: list[str] = []
    total = 0
    try:
        for part in stream_distributed_edges(blocks, radius, **options):
            held.append(part)
            total += len(part[0])
            if spill_bytes is None or sum(_bytes(part) for part in held) <= spill_bytes:
                continue
            files.append(store.join(spill_dir or "", f"edges-{uuid.uuid4().hex}.parquet"))
            _spill(files[-1], held)
            held = []
        return _assembled(sum(_sizes(blocks)), total, files, held)
    finally:
        for file in files:
            store.remove(file)


def block_result(reference: Any) -> Edges:
    """What a task found; an error that is meant for the user comes without the worker's traceback."""
    try:
        result: Edges = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ReidError):  # its message is for the user, the traceback is not
            raise error.cause from error
        raise
    return result


def _default_block_rows(num_gpus_per_task: float) -> int:
    return GPU_BLOCK_ROWS if num_gpus_per_task else CPU_BLOCK_ROWS


def _blocks(embeddings: np.ndarray | Sequence[Any], block_rows: int) -> list[Any]:
    """References to blocks of rows; an array is checked and put into the object store."""
    if not isinstance(embeddings, np.ndarray):
        return list(embeddings)
    if block_rows < 1:
        raise InputError(f"block_rows: {block_rows}, needs at least 1")
    neighbors.check_unit_rows(embeddings)
    cuts = range(0, len(embeddings), block_rows)
    return [ray.put(embeddings[start : start + block_rows]) for start in cuts]


def _rows(block: np.ndarray) -> int:
    return len(block)


def _sizes(blocks: list[Any]) -> list[int]:
    """Rows of each block, asked where the block is."""
    rows = ray.remote(_rows).options(num_cpus=0)
    sizes: list[int] = ray.get([rows.remote(block) for block in blocks])
    if sum(sizes) > MAX_ROWS:
        raise InputError(f"embeddings: {sum(sizes)} rows, at most {MAX_ROWS}; split them")
    return sizes


def tasks_at_once(num_cpus_per_task: float, num_gpus_per_task: float) -> int:
    """Tasks that the cluster has room for."""
    resources = ray.cluster_resources()
    room = [
        resources.get(name, 0) / each
        for name, each in (("CPU", num_cpus_per_task), ("GPU", num_gpus_per_task))
        if each
    ]
    return max(1, int(min(room, default=1)))


def _bytes(part: Edges) -> int:
    return part[0].nbytes + part[1].nbytes


def _spill(path: str, parts: list[Edges]) -> None:
    edges = np.concatenate([edges for edges, _ in parts])
    columns = {
        "i": edges[:, 0],
        "j": edges[:, 1],
        "distance": np.concatenate([distances for _, distances in parts]),
    }
    store.write_table(path, pa.table(columns))


def _unspill(path: str) -> Edges:
    table = store.read_table(path)
    edges = np.stack([table["i"].to_numpy(), table["j"].to_numpy()], axis=1)
    return edges, table["distance"].to_numpy()


def _emptied(parts: list[Edges]) -> Iterator[Edges]:
    while parts:
        yield parts.pop(0)


def _assembled(n: int, total: int, files: list[str], held: list[Edges]) -> neighbors.Graph:
    """The graph of spilled and held parts, each of which is let go as soon as it is copied."""
    edges, distances = np.empty((total, 2), np.int32), np.empty(total, np.float32)
    at = 0
    for part_edges, part_distances in itertools.chain(map(_unspill, files), _emptied(held)):
        here = slice(at, at + len(part_edges))
        edges[here], distances[here] = part_edges, part_distances
        at = here.stop
    return neighbors.Graph(n, edges, distances)
