"""Where a neighbour search runs: in this process or by Ray tasks, on a CPU or a GPU."""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import numpy as np

from jobs.common.console import progress
from jobs.common.session import joins_cluster
from jobs.neighbours.block_pairs import nearest_by_tasks, stream_edges_by_tasks
from reid.config import Config
from reid.errors import InputError
from reid.neighbors import Refine, Search, cell_search, local_search, nearest_backend
from reid.neighbors.edge_arrays import Edges, Wanted

WATCHED_ROWS = 50_000  # whose pairs are compared in some seconds


def search_of(config: Config) -> Search:
    """How this job compares pairs; by Ray tasks it needs a Ray session (`wants_tasks`).

    Raises:
        InputError: a GPU is wanted and this machine has none, or cells and tasks are wanted.
    """
    backend = search_backend(config)
    if config.cluster.search == "cells":
        if wants_tasks(config):
            raise InputError(
                "cluster.search=cells compares in one process; add cluster.distributed=false, or leave it out"
            )
        return cell_search(
            config.cluster.recall,
            backend=backend,
            device=search_device(config.cluster.device),
            memory_bytes=memory_bytes(config),
            seed=config.seed,
        )
    if not wants_tasks(config):
        return local_search(
            backend=backend,
            device=search_device(config.cluster.device),
            memory_bytes=memory_bytes(config),
            watch=_watch,
        )
    on_gpu = tasks_on_gpu(config)

    def edges(
        vectors: np.ndarray,
        radius: float,
        *,
        refine: Refine | None = None,
        wanted: Wanted | None = None,
    ) -> Iterable[Edges]:
        del wanted  # tasks do not know what others found; `refine` does the same for each
        return stream_edges_by_tasks(
            vectors,
            radius,
            backend=backend,
            on_gpu=on_gpu,
            refine=None if refine is None else partial(_refine_alone, refine),
        )

    nearest = partial(nearest_by_tasks, backend=nearest_backend(backend), on_gpu=on_gpu)
    return Search(edges, nearest)


def _watch(rows: int) -> AbstractContextManager[Callable[[int], object] | None]:
    """A bar, where comparing all pairs takes long enough for one."""
    if rows < WATCHED_ROWS:
        return nullcontext()
    return progress("search", rows * (rows - 1) // 2, "pairs")


def _refine_alone(
    refine: Refine, a: np.ndarray, b: np.ndarray, a_start: int, b_start: int, edges: Edges
) -> Edges:
    """A refinement that needs nothing but the edges."""
    del a, b, a_start, b_start
    return refine(edges)


def wants_tasks(config: Config) -> bool:
    """True if the neighbour search shall run as Ray tasks, and so needs a Ray session."""
    if config.cluster.distributed == "auto":
        return joins_cluster(config.address)
    return config.cluster.distributed


def tasks_on_gpu(config: Config) -> bool:
    """True if tasks of the neighbour search take a GPU each."""
    import ray

    # The driver often sits on a head without a GPU: what counts is what the cluster has.
    wanted = config.cluster.device
    return wanted.startswith("cuda") or (
        wanted == "auto" and ray.cluster_resources().get("GPU", 0) > 0
    )


def search_device(wanted: str) -> str:
    """The device of a neighbour search in this process.

    Raises:
        InputError: a GPU is wanted and this machine has none.
    """
    import torch

    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            f"cluster.device={wanted}: this machine has no CUDA device; use cpu or auto"
        )
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"


def search_backend(config: Config) -> str:
    """What finds neighbours; cuML clusters, and finds none for us."""
    return "auto" if config.cluster.backend == "cuml" else config.cluster.backend


def memory_bytes(config: Config) -> int:
    """Budget of a search in this process."""
    return int(config.cluster.memory_gb * 2**30)
