"""Past exact: rows are compared only where their cells meet, and what that misses is measured.

All pairs of 10⁸ rows are more than any machine compares. Here k-means cuts the space into cells, as an
inverted file index does (IVF; Sivic and Zisserman 2003, Jégou et al. 2011), a row visits the few cells whose
centres are nearest to it, and within a cell every visitor is compared with every member, exactly, by
the same kernel as everywhere. A pair is missed where neither row visits the other's cell. How often that is,
is measured: some rows are compared with all others, a part of them to choose how many cells a row
visits, the rest to say what was found. It is never used unasked, and never without that figure.

Differs from an index for queries: both rows of a pair may visit, so that half the visits find as much.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from reid import optional
from reid.errors import InputError
from reid.neighbors.edge_arrays import Edges, Refine, Wanted, sort_edges
from reid.neighbors.graph import check_radius, edges_of_block
from reid.neighbors.knn import knn, merge_nearest
from reid.neighbors.screen import choose_graph_backend
from reid.neighbors.search import Recall, Search, local_search, nearest_backend

LEAST_ROWS = 50_000  # with fewer, all pairs are soon compared
CELLS_PER_ROOT = 2  # cells, as a multiple of √n: half as many find less, twice as many cost more
MOST_VISITS = 32
# Least and most rows of the samples; between them one row in 50, and one in 200.
SAMPLE_ROWS, CHOOSING_ROWS = (1000, 10_000), (200, 2000)
TRAINING_ROWS_A_CELL, ROUNDS = 64, 10
ROWS_AT_ONCE = 65_536
EDGES_AT_ONCE = 2**18

Rows = NDArray[np.float32]
Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class Cells:
    """Rows by cell.

    Attributes:
        visits: (n, v) uint16, or int32 where there are more cells: those that a row visits, nearest centre
            first; the first is its own.
        count: cells.
    """

    visits: NDArray[np.integer]
    count: int

    @cached_property
    def members(self) -> list[Numbers]:
        """The rows of each cell, ascending."""
        return _grouped(self.visits[:, 0], np.arange(len(self.visits)), self.count)

    def visitors(self, most: int) -> list[Numbers]:
        """The rows that visit each cell and are not its own, ascending; of `most` visits a row."""
        others = self.visits[:, 1:most]
        rows = np.repeat(np.arange(len(others)), others.shape[1])
        return _grouped(others.ravel(), rows, self.count)

    def rank(self, i: Numbers, j: Numbers) -> Numbers:
        """(m,): with how many visits a row a pair is found; one more than all of them: with none."""
        found = np.full(len(i), self.visits.shape[1] + 1)
        for a, b in ((i, j), (j, i)):
            same = self.visits[a] == self.visits[b, :1]
            found = np.minimum(found, np.where(same.any(1), same.argmax(1) + 1, found))
        return found


def find_cells(
    vectors: Rows, *, visits: int | None = None, count: int | None = None, seed: int = 0
) -> Cells:
    """Cut the space by k-means on a sample, and give every row its nearest cells.

    Args:
        vectors: (n, d) float32, unit rows.
        visits: cells a row; None: MOST_VISITS.
        count: cells; None: 2 √n.
        seed: of k-means.
    """
    faiss = optional.faiss()
    n, d = vectors.shape
    count = count or max(1, round(CELLS_PER_ROOT * math.sqrt(n)))
    rng = np.random.default_rng(seed)
    some = np.sort(rng.choice(n, min(n, TRAINING_ROWS_A_CELL * count), replace=False))
    training = faiss.Kmeans(
        d, count, niter=ROUNDS, spherical=True, seed=seed, min_points_per_centroid=1,
        max_points_per_centroid=TRAINING_ROWS_A_CELL,
    )  # fmt: skip
    training.train(np.ascontiguousarray(vectors[some]))
    index = faiss.IndexFlatIP(d)
    index.add(training.centroids)
    kind = np.uint16 if count <= 2**16 else np.int32  # at 10⁸ rows the largest array beside them
    found = np.empty((n, min(visits or MOST_VISITS, count)), kind)
    for at in range(0, n, ROWS_AT_ONCE):
        part = np.ascontiguousarray(vectors[at : at + ROWS_AT_ONCE])
        found[at : at + ROWS_AT_ONCE] = index.search(part, found.shape[1])[1]
    return Cells(found, count)


def edges_in_cells(
    vectors: Rows,
    radius: float,
    cells: Cells,
    visits: int,
    *,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
) -> Iterator[Edges]:
    """The pairs within `radius` of which one row visits the other's cell, each once.

    Args:
        vectors: (n, d) float32, unit rows (seen by the caller).
        radius: largest cosine distance kept, 0 < radius < 2.
        cells: of these rows.
        visits: cells a row, its own included; at most those that `cells` knows.
        backend, device, memory_bytes: as in `radius_graph`.

    Yields:
        (edges (m, 2) int32, distances (m,) float32), sorted within a part; parts come by cell.
    """
    check_radius(radius)
    # Of all rows, not of a cell: so that every block is compared alike.
    backend = choose_graph_backend(len(vectors), vectors.shape[1], device, backend)
    others = cells.visitors(visits)
    parts: list[Edges] = []
    for own, visitors in zip(cells.members, others, strict=True):
        rows = vectors[own]
        for their, start in ((own, 0), (visitors, len(own))):
            if not len(own) or not len(their):
                continue
            edges, distances = edges_of_block(
                rows, rows if start == 0 else vectors[their], radius, a_start=0, b_start=start,
                backend=backend, device=device, memory_bytes=memory_bytes,
            )  # fmt: skip
            member, other = own[edges[:, 0]], their[edges[:, 1] - start]
            if start:
                # A pair that visits each other's cells is found in both, and kept in one.
                both = (cells.visits[member, 1:visits] == cells.visits[other, :1]).any(1)
                kept = ~both | (other < member)
                member, other, distances = member[kept], other[kept], distances[kept]
            pairs = np.stack([np.minimum(member, other), np.maximum(member, other)], 1)
            parts.append((pairs.astype(np.int32), distances))
        if sum(len(part[1]) for part in parts) >= EDGES_AT_ONCE:
            yield sort_edges(parts)
            parts = []
    yield sort_edges(parts)


def nearest_in_cells(
    vectors: Rows,
    k: int,
    cells: Cells,
    visits: int,
    *,
    rows: Numbers | None = None,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
) -> tuple[NDArray[np.int32], Rows]:
    """The k nearest rows among those of the cells that a row visits; results as `knn` has them.

    Args:
        vectors, cells, visits, backend, device, memory_bytes: as in `edges_in_cells`.
        k: neighbours a row.
        rows: (q,) rows that ask; None: all.
    """
    asking = np.arange(len(vectors)) if rows is None else np.asarray(rows, np.int64)
    indices = np.full((len(asking), k), -1, np.int32)
    lengths = np.full((len(asking), k), np.nan, np.float32)
    visited = cells.visits[asking, :visits]
    places = np.repeat(np.arange(len(asking)), visited.shape[1])
    for own, who in zip(cells.members, _grouped(visited.ravel(), places, cells.count), strict=True):
        if not len(own) or not len(who):
            continue
        found, distances = knn(
            vectors[own], k + 1, queries=vectors[asking[who]], backend=nearest_backend(backend),
            device=device, memory_bytes=memory_bytes, checked=True,
        )  # fmt: skip
        found = np.where(found < 0, -1, own[found]).astype(np.int32)
        itself = found == asking[who, None]
        found[itself], distances[itself] = -1, np.nan
        indices[who], lengths[who] = merge_nearest((indices[who], lengths[who]), (found, distances))
    return indices, lengths


def sampled_pairs(
    vectors: Rows, radius: float, sample: Numbers, *, backend: str = "auto", device: str = "cpu"
) -> tuple[Numbers, Numbers]:
    """All pairs within `radius` of a row of the sample and any other, exactly: places in the sample, rows."""
    sampled = vectors[sample]
    backend = choose_graph_backend(len(vectors), vectors.shape[1], device, backend)
    places, others = [], []
    for at in range(0, len(vectors), ROWS_AT_ONCE):
        edges, _ = edges_of_block(
            sampled, vectors[at : at + ROWS_AT_ONCE], radius, a_start=0, b_start=len(sample),
            backend=backend, device=device,
        )  # fmt: skip
        place, other = edges[:, 0].astype(np.int64), edges[:, 1].astype(np.int64) - len(sample) + at
        kept = sample[place] != other
        places.append(place[kept])
        others.append(other[kept])
    return np.concatenate(places), np.concatenate(others)


@dataclass
class CellSearch:
    """A `Search` by cells, made by `cell_search`.

    Attributes:
        wanted: share of the pairs within reach that is to be found.
        measured: what each search for edges found, in their order.
    """

    wanted: float
    backend: str
    device: str
    memory_bytes: int | None
    seed: int
    least_rows: int
    measured: list[Recall] = field(default_factory=list)
    # The rows that were cut last, and the visits that were chosen for them.
    _last: tuple[Rows, Cells, int] | None = None

    def edges(
        self,
        vectors: Rows,
        radius: float,
        *,
        refine: Refine | None = None,
        wanted: Wanted | None = None,
    ) -> Iterable[Edges]:
        """As `FindEdges`."""
        if len(vectors) < self.least_rows:
            return self._exact().edges(vectors, radius, refine=refine, wanted=wanted)
        cells, visits = self._choose(vectors, radius)
        return edges_in_cells(
            vectors, radius, cells, visits, backend=self.backend, device=self.device,
            memory_bytes=self.memory_bytes,
        )  # fmt: skip

    def nearest(
        self,
        vectors: Rows,
        k: int,
        *,
        queries: Rows | None = None,
        rows: Numbers | None = None,
    ) -> tuple[NDArray[np.int32], Rows]:
        """As `FindNearest`; exact for queries that are no rows, and before any edges were looked for."""
        if queries is not None or self._last is None or self._last[0] is not vectors:
            return self._exact().nearest(vectors, k, queries=queries, rows=rows)
        return nearest_in_cells(
            vectors, k, self._last[1], self._last[2], rows=rows, backend=self.backend,
            device=self.device, memory_bytes=self.memory_bytes,
        )  # fmt: skip

    def _exact(self) -> Search:
        return local_search(
            backend=self.backend, device=self.device, memory_bytes=self.memory_bytes
        )

    def _choose(self, vectors: Rows, radius: float) -> tuple[Cells, int]:
        """The least number of visits that finds enough of one sample, and what it finds of another one."""
        check_radius(radius)
        n = len(vectors)
        if self._last is not None and self._last[0] is vectors:
            cells = self._last[1]
        else:
            cells = find_cells(vectors, seed=self.seed)
        rng = np.random.default_rng([self.seed, 1])
        first = min(max(n // 200, CHOOSING_ROWS[0]), CHOOSING_ROWS[1], n // 2)
        size = min(n, first + min(max(n // 50, SAMPLE_ROWS[0]), SAMPLE_ROWS[1]))
        sample = rng.choice(n, size, replace=False)
        place, other = sampled_pairs(
            vectors, radius, sample, backend=self.backend, device=self.device
        )
        rank = cells.rank(sample[place], other)
        most = cells.visits.shape[1]
        choosing = place < first
        # What is chosen on one sample finds less of another by chance: half of what may be missed is kept.
        aim = (1 + self.wanted) / 2 * choosing.sum()
        reached = (
            v for v in range(1, most) if choosing.any() and (rank[choosing] <= v).sum() >= aim
        )
        visits = next(reached, most)
        found = rank[~choosing] <= visits
        self.measured.append(
            _recall(cells, visits, place[~choosing] - first, found, size - first, self.wanted)
        )
        self._last = vectors, cells, visits
        return cells, visits


def _recall(
    cells: Cells, visits: int, place: Numbers, found: NDArray[np.bool_], rows: int, wanted: float
) -> Recall:
    """What was found of the pairs of `rows` rows: (m,) which of them a pair is of, and whether it was."""
    share = found.mean() if len(found) else math.nan
    # A ratio of sums over rows: the pairs of one row are missed together.
    off = np.bincount(place, weights=found - share, minlength=rows)
    spread = math.sqrt(float((off**2).sum())) / len(found) if len(found) else math.nan
    n = len(cells.visits)
    sizes = np.array([len(own) for own in cells.members], float)
    guests = np.bincount(cells.visits[:, 1:visits].ravel(), minlength=cells.count)
    compared = float((sizes * (sizes - 1) / 2 + sizes * guests).sum()) / (n * (n - 1) / 2)
    return Recall(rows, len(found), int(found.sum()), spread, visits, cells.count, compared, wanted)


def cell_search(
    wanted: float,
    *,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
    seed: int = 0,
    least_rows: int | None = None,
) -> Search:
    """Search within cells, in this process.

    Args:
        wanted: share of the pairs within reach that is to be found, 0 < wanted < 1.
        backend, device, memory_bytes: as in `radius_graph`.
        seed: of cells and sample.
        least_rows: with fewer, all pairs are compared; None: LEAST_ROWS.

    Raises:
        InputError: `wanted` is no such share.
    """
    if not 0 < wanted < 1:
        raise InputError(f"recall: {wanted}, needs a share between 0 and 1 (exclusive)")
    least = LEAST_ROWS if least_rows is None else least_rows
    search = CellSearch(wanted, backend, device, memory_bytes, seed, least)
    return Search(search.edges, search.nearest, search.measured)


def _grouped(group: NDArray[np.integer], rows: Numbers, count: int) -> list[Numbers]:
    """The rows of each group, in their order."""
    order = np.argsort(group, kind="stable")
    return np.split(rows[order], np.searchsorted(group[order], np.arange(1, count)))
