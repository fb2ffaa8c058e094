"""Incremental neighbour search, new rows × all: by Ray tasks on a cluster, else in this process."""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from jobs.common.console import progress
from jobs.neighbours.block_pairs import (
    CPU_BLOCK_ROWS,
    GPU_BLOCK_ROWS,
    stream_edges_by_tasks,
)
from jobs.neighbours.placement import (
    memory_bytes,
    search_backend,
    search_device,
    tasks_on_gpu,
    wants_tasks,
)
from reid.config import Config
from reid.identify import extend_edges, same_bits, search_radius
from reid.neighbors import block_strips, check_unit_rows
from reid.neighbors.edge_arrays import Edges, join_edges

EDGES_AT_ONCE = 2_000_000  # handed on together, 24 MB


def new_edges(
    config: Config,
    name: str,
    vectors: NDArray[np.float32],
    new_from: int,
    radius: float,
    *,
    shown: NDArray[np.int8] | None = None,
) -> Iterator[Edges]:
    """The edges that new rows bring: as `reid.identify.extend_edges`, wherever the job computes.

    Args:
        config: `cluster` says with what the search is done, and whether by Ray tasks.
        name: of the species, for the progress bar.
        vectors, new_from, radius, shown: see `extend_edges`.

    Yields:
        Parts of at most about EDGES_AT_ONCE edges more than a strip of blocks has.
    """
    check_unit_rows(vectors)
    distributed = wants_tasks(config)
    on_gpu = distributed and tasks_on_gpu(config)
    rows = GPU_BLOCK_ROWS if on_gpu else CPU_BLOCK_ROWS
    _, strips = block_strips(len(vectors), rows, new_from)
    pairs = sum(len(others) for _, others in strips)
    with progress(f"search {name}", pairs if distributed else len(strips), "blocks") as advance:
        if distributed:
            found = stream_edges_by_tasks(
                vectors,
                search_radius(radius),
                new_from=new_from,
                backend=search_backend(config),
                on_gpu=on_gpu,
                block_rows=rows,
                refine=partial(same_bits, radius=radius, shown=shown),
                progress=lambda: advance(1),
            )
            yield from _gathered(found, lambda: None)
        else:
            found = extend_edges(
                vectors,
                new_from,
                radius,
                shown=shown,
                backend=search_backend(config),
                device=search_device(config.cluster.device),
                memory_bytes=memory_bytes(config),
                block_rows=rows,
            )
            yield from _gathered(found, lambda: advance(1))


def _gathered(parts: Iterator[Edges], advance: Callable[[], None]) -> Iterator[Edges]:
    held: list[Edges] = []
    for part in parts:
        advance()
        held.append(part)
        if sum(len(edges) for edges, _ in held) >= EDGES_AT_ONCE:
            yield join_edges(held)
            held = []
    if held:
        yield join_edges(held)
