"""The spanning forest of pairs that come in parts, and which pairs can still change it."""

import numpy as np
from numpy.typing import NDArray

from reid.cluster.forest import Forest, minimum_forest
from reid.neighbors.edge_arrays import Edges, join_edges

# Edges a row that wait to be reduced to a forest, which costs several times their memory.
EDGES_A_ROW = 4
# Distances at which it is noted who is connected, as many merges of the forest between each two.
LEVELS = 16
NOBODY = np.uint64(2**64 - 1)

Floats = NDArray[np.float32]
Indices = NDArray[np.signedinteger]


class RunningForest:
    """What the pairs of n rows that were seen so far say: O(n) memory, whatever their number.

    Attributes:
        nearest: (n,) uint64, of each row the bits of its least distance, then the row that is there,
            the lowest of several; NOBODY where there is none.
    """

    def __init__(self, n: int) -> None:
        """A forest without edges."""
        self.n = n
        self.nearest = np.full(n, NOBODY, np.uint64)
        self._forest = join_edges([])
        self._waiting: list[Edges] = []
        self._count = 0
        self._levels = np.empty(0, np.float32)
        self._component = np.empty((0, n), np.int32)

    def add(self, part: Edges) -> None:
        """Take note of (edges, distances); each pair of rows comes once."""
        lower_nearest(self.nearest, part)
        self._waiting.append(part)
        self._count += len(part[0])
        if self._count >= EDGES_A_ROW * self.n:
            self._reduce()
            self._note_levels()

    def matters(self, i: Indices, j: Indices, least: Floats) -> NDArray[np.bool_]:
        """Which pairs can change the forest or somebody's nearest.

        A pair does not where both rows have somebody nearer and are connected by shorter edges.

        Args:
            i, j: (m,) rows.
            least: (m,) float32, no more than the distance of each pair.
        """
        if not len(self._levels):
            return np.ones(len(i), np.bool_)
        nearer = (least > _distance(self.nearest[i])) & (least > _distance(self.nearest[j]))
        level = np.searchsorted(self._levels, least) - 1  # the highest that is below
        joined = self._component[level, i] == self._component[level, j]
        settled: NDArray[np.bool_] = nearer & joined & (level >= 0)
        return ~settled

    def edges(self) -> Edges:
        """The spanning forest, lightest first: it connects the same rows as all pairs, at any distance."""
        self._reduce()
        return self._forest

    def forest(self, min_samples: int, weights: NDArray[np.int64] | None = None) -> Forest:
        """`spanning_forest` of all pairs seen, where it depends on no more than this.

        Args:
            min_samples: 1 or 2; an edge's weight is then its distance.
            weights: as in `dbscan`.
        """
        edges, distances = self.edges()
        core = np.zeros(self.n, np.float32)
        if min_samples == 2:  # a row is core from its nearest neighbour on
            core = _distance(self.nearest)
            core[self.nearest == NOBODY] = np.inf
            if weights is not None:
                core[weights >= min_samples] = 0  # its own duplicates suffice
        return Forest(self.n, edges, distances, core, *join_edges([]))

    def _reduce(self) -> None:
        if self._waiting:
            self._forest = minimum_forest(self.n, *join_edges([self._forest, *self._waiting]))
            self._waiting, self._count = [], 0

    def _note_levels(self) -> None:
        from scipy.sparse import csr_array
        from scipy.sparse.csgraph import connected_components

        edges, distances = self._forest
        made = np.linspace(0, len(edges), LEVELS + 1)[1:].astype(int)
        self._levels = distances[made - 1]
        self._component = np.empty((len(made), self.n), np.int32)
        for level, count in enumerate(made):
            ones = np.ones(count, np.int8)
            ends = edges[:count, 0], edges[:count, 1]
            joined = csr_array((ones, ends), shape=(self.n, self.n))
            self._component[level] = connected_components(joined, directed=False)[1]


def _distance(nearest: NDArray[np.uint64]) -> Floats:
    """The distances of `RunningForest.nearest`; that of nobody is NaN, and nothing is above it."""
    return (nearest >> np.uint64(32)).astype(np.uint32).view(np.float32)


def lower_nearest(nearest: NDArray[np.uint64], part: Edges) -> None:
    """Lower each row's (distance, other row), one integer, by what a part holds."""
    edges, distances = part
    # The bits of floats that are not negative order like the floats; ties fall to the lower row.
    bits = distances.view(np.uint32).astype(np.uint64) << np.uint64(32)
    for row, other in ((0, 1), (1, 0)):
        np.minimum.at(nearest, edges[:, row], bits | edges[:, other].astype(np.uint64))
