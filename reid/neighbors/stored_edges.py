"""Edges that are wanted more than once: in memory while they are few, else on disk, near ones first."""

import tempfile
import weakref
from collections.abc import Iterator
from typing import IO

import numpy as np

from reid.errors import StorageError
from reid.neighbors.edge_arrays import Edges, Graph, join_edges, renumbered

HELD_EDGES = 16_000_000  # 192 MB; more go to disk
READ_EDGES = 1_000_000  # handed on together
RUNS = 64  # files, each of a range of distances
_EDGE = np.dtype([("edge", np.int32, 2), ("distance", np.float32)])


class StoredEdges:
    """Edges between n rows, in memory or in files without a name, which go when this object goes.

    The files lie where Python's `tempfile` puts them (TMPDIR), 12 bytes an edge. Each holds a range of
    distances, so that what reads them from near to far has soon connected most rows, and the many far
    edges inside a component can be dropped at a glance.

    Attributes:
        n: rows.
    """

    def __init__(self, n: int) -> None:
        """No edges."""
        self.n = n
        self._held: list[Edges] = []
        self._count = 0
        self._ends = np.empty(0, np.float32)  # the largest distances of all runs but the last
        self._runs: list[IO[bytes]] = []

    def add(self, part: Edges) -> None:
        """Take (edges, distances); each pair of rows comes once.

        Raises:
            StorageError: no room on disk.
        """
        self._held.append(part)
        self._count += len(part[0])
        if self._count > HELD_EDGES:
            self._store()

    def parts(self) -> Iterator[Edges]:
        """All edges, at most READ_EDGES at once; those of each run behind all nearer runs, as they came,
        and in rising order where several parts are in memory.

        Raises:
            StorageError: no room on disk.
        """
        if not self._runs:
            if len(self._held) != 1:
                edges, distances = join_edges(self._held)
                order = np.argsort(distances, kind="stable")
                self._held = [(edges[order], distances[order])]
            edges, distances = self._held[0]
            for start in range(0, len(edges), READ_EDGES):
                yield edges[start : start + READ_EDGES], distances[start : start + READ_EDGES]
            return
        self._store()
        for run in self._runs:
            run.seek(0)
            while len(stored := np.frombuffer(run.read(READ_EDGES * _EDGE.itemsize), _EDGE)):
                yield stored["edge"], stored["distance"]

    def _store(self) -> None:
        edges, distances = join_edges(self._held)
        self._held, self._count = [], 0
        if not self._runs:
            shares = np.linspace(0, 1, RUNS + 1)[1:-1]
            self._ends = np.quantile(distances, shares, method="nearest")
            self._runs = [tempfile.TemporaryFile() for _ in range(RUNS)]  # noqa: SIM115
            weakref.finalize(self, _close, self._runs)
        run_of = np.searchsorted(self._ends, distances).astype(np.int8)
        order = np.argsort(run_of, kind="stable")
        stored = np.empty(len(order), _EDGE)
        stored["edge"], stored["distance"] = edges[order], distances[order]
        stops = np.cumsum(np.bincount(run_of, minlength=RUNS))
        try:
            for run, own in zip(self._runs, np.split(stored, stops[:-1]), strict=True):
                run.seek(0, 2)
                run.write(own.tobytes())
                run.flush()
        except OSError as error:
            raise StorageError(
                f"{tempfile.gettempdir()}: no room for edges between labelled images ({error}); "
                "set TMPDIR to a folder on a larger disk"
            ) from error


def _close(runs: list[IO[bytes]]) -> None:
    for run in runs:
        run.close()


def edges_among(graph: Graph | StoredEdges, rows: np.ndarray) -> Iterator[Edges]:
    """The edges between some rows, numbered in their order (`rows` rises), in parts."""
    number = np.full(graph.n, -1, np.int32)
    number[rows] = np.arange(len(rows), dtype=np.int32)
    parts = graph.parts() if isinstance(graph, StoredEdges) else [(graph.edges, graph.distances)]
    for part in parts:
        yield renumbered(part, number)
