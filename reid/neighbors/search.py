"""How the pairs of one species are compared, as two functions that whoever needs neighbours is given.

In this process they are `stream_edges` and `knn`; `jobs.neighbours` has the same two by Ray tasks, so
that on a cluster nothing compares all pairs in the driver.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from reid.neighbors.edge_arrays import Edges, Refine, Wanted
from reid.neighbors.graph import stream_edges
from reid.neighbors.knn import knn, nearest_of_rows

GALLERY_ROWS = 2048  # compared with a few rows at once


class FindEdges(Protocol):
    """`stream_edges`, but for where it runs."""

    def __call__(
        self,
        vectors: np.ndarray,
        radius: float,
        /,
        *,
        refine: Refine | None = None,
        wanted: Wanted | None = None,
    ) -> Iterable[Edges]:
        """Every pair of rows within `radius` once, in parts, but for those that need not come."""


class FindNearest(Protocol):
    """`knn`, but for where it runs."""

    def __call__(
        self,
        vectors: np.ndarray,
        k: int,
        /,
        *,
        queries: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Indices and distances (q, k) of the nearest rows; see `knn`."""


@dataclass(frozen=True)
class Search:
    """Both take (n, d) float32 rows that were found to be unit (`check_unit_rows`) before.

    Attributes:
        edges: all pairs within a radius.
        nearest: the k nearest rows.
    """

    edges: FindEdges
    nearest: FindNearest


def local_search(
    *, backend: str = "auto", device: str = "cpu", memory_bytes: int | None = None
) -> Search:
    """Search in this process; arguments as in `radius_graph`."""

    def edges(
        vectors: np.ndarray,
        radius: float,
        *,
        refine: Refine | None = None,
        wanted: Wanted | None = None,
    ) -> Iterable[Edges]:
        del refine  # nothing travels, so nothing is saved by it
        return stream_edges(
            vectors,
            radius,
            backend=backend,
            device=device,
            memory_bytes=memory_bytes,
            checked=True,
            wanted=wanted,
        )

    def nearest(
        vectors: np.ndarray,
        k: int,
        *,
        queries: np.ndarray | None = None,
        rows: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        found = partial(
            knn, backend=nearest_backend(backend), device=device, memory_bytes=memory_bytes
        )
        if rows is not None and len(vectors) > GALLERY_ROWS:  # a few rows need no copy of all
            return nearest_of_rows(found, vectors, k, rows, GALLERY_ROWS)
        return found(vectors, k, queries=queries, rows=rows, checked=True)

    return Search(edges, nearest)


def nearest_backend(backend: str) -> str:
    """What finds the nearest rows where `backend` finds a radius graph: some do that alone."""
    return {"triton": "torch", "int8": "torch", "prefix": "auto"}.get(backend, backend)
