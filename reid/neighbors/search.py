"""How the pairs of one species are compared, as two functions that whoever needs neighbours is given.

In this process they are `stream_edges` and `knn`; `jobs.neighbours` has the same two by Ray tasks, so
that on a cluster nothing compares all pairs in the driver.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
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
class Recall:
    """What a search by cells found of the pairs of a sample, which was compared with all rows.

    Attributes:
        rows: of the sample; none of them had a part in choosing `visits`.
        pairs, found: within the radius, of a row of the sample and any other; found by cells.
        spread: standard error of found / pairs, as rows of the sample differ.
        visits: cells that a row visits, its own included.
        cells: of all.
        compared: share of all pairs that were compared, the sample's not counted.
        wanted: the share that was asked for.
    """

    rows: int
    pairs: int
    found: int
    spread: float
    visits: int
    cells: int
    compared: float
    wanted: float

    @property
    def share(self) -> float:
        """found / pairs; NaN without pairs."""
        return self.found / self.pairs if self.pairs else math.nan

    def sentence(self) -> str:
        """What a user should know."""
        how = f"{self.visits} of {self.cells:,} cells a row, {self.compared:.2%} of all pairs compared"
        if not self.pairs:
            return f"pairs were looked for within cells ({how}); a sample of {self.rows:,} has none to check"
        short = "" if self.share >= self.wanted else f", fewer than the {self.wanted:.1%} asked for"
        return (
            f"pairs were looked for within cells ({how}): of {self.pairs:,} pairs within reach of {self.rows:,} "
            f"images {self.share:.2%} ± {1.96 * self.spread:.2%} were found{short}; cluster.search=exact finds all"
        )


@dataclass(frozen=True)
class Search:
    """Both take (n, d) float32 rows that were found to be unit (`check_unit_rows`) before.

    Attributes:
        edges: all pairs within a radius.
        nearest: the k nearest rows.
        measured: where not all pairs are compared, how much each search for edges found; else empty.
    """

    edges: FindEdges
    nearest: FindNearest
    measured: Sequence[Recall] = ()


Watch = Callable[[int], AbstractContextManager[Callable[[int], object] | None]]


def local_search(
    *,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
    watch: Watch | None = None,
) -> Search:
    """Search in this process; arguments as in `radius_graph`.

    `watch` is given the number of rows of a search for edges, and gives a context whose value is called with the
    pairs that were compared, now and then.
    """

    def edges(
        vectors: np.ndarray,
        radius: float,
        *,
        refine: Refine | None = None,
        wanted: Wanted | None = None,
    ) -> Iterable[Edges]:
        del refine  # nothing travels, so nothing is saved by it
        with nullcontext() if watch is None else watch(len(vectors)) as compared:
            yield from stream_edges(
                vectors,
                radius,
                backend=backend,
                device=device,
                memory_bytes=memory_bytes,
                checked=True,
                wanted=wanted,
                compared=compared,
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
