"""New rows against all rows of their species: by Ray tasks on a cluster, else in this process."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray

from jobs.common.console import progress
from jobs.neighbours.block_pairs import CPU_BLOCK_ROWS, GPU_BLOCK_ROWS, block_result, tasks_at_once
from jobs.neighbours.placement import search_device, tasks_on_gpu, wants_tasks
from reid.config import Config
from reid.errors import StorageError
from reid.identify import block_edges, extend_edges
from reid.neighbors import check_unit_rows

Edges = tuple[NDArray[np.int32], NDArray[np.float32]]
Advance = Callable[[int], None]

EDGES_AT_ONCE = 2_000_000  # handed on together, 24 MB


def new_edges(
    config: Config,
    name: str,
    known: NDArray[np.float32],
    new: NDArray[np.float32],
    radius: float,
    *,
    known_sides: NDArray[np.int8] | None = None,
    new_sides: NDArray[np.int8] | None = None,
) -> Iterator[Edges]:
    """The edges that new rows bring: as `reid.identify.extend_edges`, wherever the job computes.

    Args:
        config: `cluster` says with what the search is done, and whether by Ray tasks.
        name: of the species, for the progress bar.
        known, new, radius, known_sides, new_sides: see `extend_edges`.

    Yields:
        Parts of at most about EDGES_AT_ONCE edges more than a block pair has.
    """
    check_unit_rows(known, "known embeddings")
    check_unit_rows(new, "new embeddings")
    distributed = wants_tasks(config)
    on_gpu = distributed and tasks_on_gpu(config)
    rows = GPU_BLOCK_ROWS if on_gpu else CPU_BLOCK_ROWS
    before, own = -(-len(known) // rows), -(-len(new) // rows)
    with progress(f"search {name}", own * before + own * (own + 1) // 2, "blocks") as advance:
        if distributed:
            found = _by_tasks(config, known, new, radius, known_sides, new_sides, rows, on_gpu)
        else:
            found = extend_edges(
                known,
                new,
                radius,
                known_sides=known_sides,
                new_sides=new_sides,
                backend=_backend(config),
                device=search_device(config.cluster.device),
                memory_bytes=int(config.cluster.memory_gb * 2**30),
                block_rows=rows,
            )
        yield from _gathered(found, lambda: advance(1))


def _gathered(parts: Iterator[Edges], advance: Callable[[], None]) -> Iterator[Edges]:
    held: list[Edges] = []
    for part in parts:
        advance()
        held.append(part)
        if sum(len(edges) for edges, _ in held) >= EDGES_AT_ONCE:
            yield _joined(held)
            held = []
    if held:
        yield _joined(held)


def _joined(parts: list[Edges]) -> Edges:
    return np.concatenate([edges for edges, _ in parts]), np.concatenate([far for _, far in parts])


def _backend(config: Config) -> str:
    return "auto" if config.cluster.backend == "cuml" else config.cluster.backend


def _by_tasks(
    config: Config,
    known: NDArray[np.float32],
    new: NDArray[np.float32],
    radius: float,
    known_sides: NDArray[np.int8] | None,
    new_sides: NDArray[np.int8] | None,
    rows: int,
    on_gpu: bool,
) -> Iterator[Edges]:
    """A task a block pair, so many at once as there is room for; one that dies is done again."""
    task = ray.remote(_pair).options(num_cpus=1, num_gpus=1 if on_gpu else 0, max_retries=3)
    options = {"backend": _backend(config), "device": "cuda" if on_gpu else "cpu"}
    running: list[Any] = []
    try:
        old = _blocks(known, known_sides, 0, rows)
        own = _blocks(new, new_sides, len(known), rows)
        pairs = ((a, b) for k, b in enumerate(own) for a in (*old, *own[: k + 1]))
        while True:
            most = 2 * tasks_at_once(1, 1 if on_gpu else 0)  # anew: the cluster may grow
            for (a, a_start), (b, b_start) in itertools.islice(pairs, max(0, most - len(running))):
                running.append(task.remote(a, b, radius, a_start, b_start, options))
            if not running:
                return
            (done,), running = ray.wait(running, num_returns=1)
            edges, distances = block_result(done)
            # Copied: an array that came from the object store keeps its place there.
            yield edges.copy(), distances.copy()
    except ray.exceptions.RayError as error:
        raise StorageError(f"the search stopped: {error}; run the same command again") from error


def _blocks(
    vectors: NDArray[np.float32], sides: NDArray[np.int8] | None, start: int, rows: int
) -> list[tuple[Any, int]]:
    """References to blocks in the object store, with the number of their first row."""
    return [
        (ray.put((vectors[at : at + rows], None if sides is None else sides[at : at + rows])), start + at)
        for at in range(0, len(vectors), rows)
    ]  # fmt: skip


def _pair(
    a: tuple[NDArray[np.float32], NDArray[np.int8] | None],
    b: tuple[NDArray[np.float32], NDArray[np.int8] | None],
    radius: float,
    a_start: int,
    b_start: int,
    options: dict[str, Any],
) -> Edges:
    return block_edges(
        a[0], b[0], radius, a_start=a_start, b_start=b_start, a_sides=a[1], b_sides=b[1], **options
    )
