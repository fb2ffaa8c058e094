"""The spanning forest of pairs that come in parts, and which pairs can still change it.

DBSCAN joins two rows at their mutual reachability: the largest of their distance and of the distances
from which each is a core point. These are known when all pairs have been seen, but they only fall
while pairs come, and few pairs wait for them: one that is no nearer than what makes both its rows core
points weighs its distance, whatever comes later, and of the others each row has fewer than
`min_samples`. So pairs that close a circle of shorter ones can go at once, and memory is that of the
rows, however many pairs there are.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from reid.cluster.dbscan import check_min_samples, connected
from reid.cluster.forest import Forest, forest_places, minimum_forest
from reid.neighbors import Graph
from reid.neighbors.edge_arrays import Edges, join_edges

# Edges a row that wait to be reduced to a forest, which costs several times their memory.
EDGES_A_ROW = 2
# Distances at which it is noted who is connected, as many merges of the forest between each two.
LEVELS = 16
NOBODY = np.uint64(2**64 - 1)
OTHER = np.uint64(2**32 - 1)

Floats = NDArray[np.float32]
Indices = NDArray[np.signedinteger]
Keys = NDArray[np.uint64]


class RunningForest:
    """What the pairs of n rows that were seen so far say: O(n) memory, whatever their number.

    Attributes:
        near: (max(1, min_samples − 1), n) uint64, of each row the nearest others, the nearest first: the
            bits of the distance, then the row that is there, the lower of two; NOBODY where there is none.
    """

    def __init__(
        self, n: int, min_samples: int = 2, weights: NDArray[np.int64] | None = None
    ) -> None:
        """A forest without edges.

        Args:
            n: rows.
            min_samples, weights: as in `dbscan`.

        Raises:
            InputError: `min_samples` below 1.
        """
        check_min_samples(min_samples)
        self.n, self.min_samples, self.weights = n, min_samples, weights
        self.near = np.full((max(1, min(min_samples, n) - 1), n), NOBODY)
        self._kept = self._merges = join_edges([])
        self._waiting: list[Edges] = []
        self._count = 0
        self._levels = np.empty(0, np.float32)
        self._component = np.empty((0, n), np.int32)

    def add(self, part: Edges) -> None:
        """Take note of (edges, distances); each pair of rows comes once."""
        edges, distances = part[0], part[1] + np.float32(0)  # -0.0 becomes 0.0
        if len(self._levels):
            matters = self.matters(edges[:, 0], edges[:, 1], distances)
            edges, distances = edges[matters], distances[matters]
        lower_near(self.near, (edges, distances))
        self._waiting.append((edges, distances))
        self._count += len(edges)
        if self._count >= EDGES_A_ROW * self.n:
            self._reduce()
            self._note_levels()

    def matters(self, i: Indices, j: Indices, least: Floats) -> NDArray[np.bool_]:
        """Which pairs can change the forest or who is near.

        A pair does not where both rows have enough others nearer and are connected by shorter edges.

        Args:
            i, j: (m,) rows.
            least: (m,) float32, no more than the distance of each pair.
        """
        if not len(self._levels):
            return np.ones(len(i), np.bool_)
        last = self.near[-1]
        nearer = (least > distance_of(last[i])) & (least > distance_of(last[j]))
        level = np.searchsorted(self._levels, least) - 1  # the highest that is below
        joined = self._component[level, i] == self._component[level, j]
        settled: NDArray[np.bool_] = nearer & joined & (level >= 0)
        return ~settled

    def needed(self, part: Edges) -> NDArray[np.bool_]:
        """Which edges of the only part that was added change the forest or who is near."""
        edges, distances = part
        merges, _ = self._reduced()
        keys = edges[:, 0].astype(np.int64) << 32 | edges[:, 1]
        found: NDArray[np.bool_] = np.isin(keys, merges[:, 0].astype(np.int64) << 32 | merges[:, 1])
        for row, key in ends_of(edges, distances):
            found |= key <= self.near[-1][row]
        return found

    def links(self) -> Graph:
        """A graph with few edges that connects the same rows as all pairs, at any distance."""
        self._reduced()
        return Graph(self.n, *minimum_forest(self.n, *self._kept))

    def forest(self) -> Forest:
        """DBSCAN at every threshold of all pairs seen: see `spanning_forest`."""
        merges, weights = self._reduced()
        core = self._core()
        return Forest(self.n, merges, weights, core, *self._borders(core))

    def _core(self) -> Floats:
        """The distance from which each row is a core point, as far as was seen; inf for never."""
        core = np.full(self.n, np.inf, np.float32)
        if self.weights is None:
            if self.min_samples == 1:
                core[:] = 0
            elif self.min_samples - 2 < len(self.near):
                key = self.near[self.min_samples - 2]
                there = key != NOBODY
                core[there] = distance_of(key[there])
            return core
        core[self.weights >= self.min_samples] = 0  # its own duplicates suffice
        images = self.weights.copy()
        for key in self.near:
            there = np.flatnonzero((key != NOBODY) & (images < self.min_samples))
            images[there] += self.weights[key[there] & OTHER]
            enough = there[images[there] >= self.min_samples]
            core[enough] = distance_of(key[enough])
        return core

    def _borders(self, core: Floats) -> Edges:
        """Pairs (row, core row) at the thresholds where the first is a border point of the second."""
        found = [join_edges([])]
        if (
            self.min_samples > 2
        ):  # up to 2 the nearest neighbour decides, and no edge is shorter than that
            for key in self.near:
                row = np.flatnonzero(key != NOBODY)
                other = (key[row] & OTHER).astype(np.int64)
                reached = np.maximum(distance_of(key[row]), core[other])
                border = reached < core[row]
                pairs = np.stack([row[border], other[border]], axis=1).astype(np.int32)
                found.append((pairs, reached[border]))
        borders, weights = join_edges(found)
        order = np.lexsort((borders[:, 1], borders[:, 0]))
        return borders[order], weights[order]

    def _reduced(self) -> Edges:
        if self._waiting:
            self._reduce()
        return self._merges

    def _reduce(self) -> None:
        edges, distances = join_edges([self._kept, *self._waiting])
        self._waiting, self._count = [], 0
        if self.min_samples <= 2:
            self._kept = self._merges = minimum_forest(self.n, edges, distances)
            return
        core = self._core()
        reached = np.maximum(distances, np.maximum(core[edges[:, 0]], core[edges[:, 1]]))
        places = forest_places(self.n, edges, reached)
        self._merges = edges[places], reached[places]
        kept = reached > distances  # may become lighter yet
        kept[places] = True
        self._kept = edges[kept], distances[kept]

    def _note_levels(self) -> None:
        edges, weights = self._merges
        made = np.linspace(0, len(edges), LEVELS + 1).astype(int)
        self._levels = weights[made[1:] - 1] if len(edges) else weights
        self._component = np.empty((len(self._levels), self.n), np.int32)
        component, count = np.arange(self.n, dtype=np.int32), self.n
        for level in range(len(self._levels)):
            ends = component[edges[made[level] : made[level + 1]]]
            count, joined = connected(count, ends)
            component = self._component[level] = joined[component]


def distance_of(key: Keys) -> Floats:
    """The distances of `RunningForest.near`; that of nobody is NaN, and nothing is above it."""
    return (key >> np.uint64(32)).astype(np.uint32).view(np.float32)


def ends_of(edges: NDArray[np.int32], distances: Floats) -> list[tuple[NDArray[np.int32], Keys]]:
    """Each end of each edge, and (distance, other row) in one integer, ordered as the two are."""
    bits = distances.view(np.uint32).astype(np.uint64) << np.uint64(32)
    return [
        (edges[:, 0], bits | edges[:, 1].astype(np.uint64)),
        (edges[:, 1], bits | edges[:, 0].astype(np.uint64)),
    ]


def lower_near(near: Keys, part: Edges) -> None:
    """Let what a part holds take its place among each row's nearest (k, n), the nearest first."""
    row, key = (np.concatenate(two) for two in zip(*ends_of(*part), strict=True))
    for place in near:
        nearer = key < near[-1][row]
        row, key = row[nearer], key[nearer]
        if not len(row):
            return
        before = place[row]
        np.minimum.at(place, row, key)
        # What did not win goes on to the next place, and so does what stood here before.
        won = key == place[row]
        moved = won & (before != NOBODY)
        row = np.concatenate([row[~won], row[moved]])
        key = np.concatenate([key[~won], before[moved]])


def streamed_forest(
    parts: Iterable[Edges],
    n: int,
    min_samples: int = 2,
    *,
    weights: NDArray[np.int64] | None = None,
) -> Forest:
    """`spanning_forest` of a graph that is never held as a whole.

    Args:
        parts: (edges, distances), each pair of rows in one part only.
        n: rows.
        min_samples, weights: as in `dbscan`.

    Raises:
        InputError: `min_samples` below 1.
    """
    running = RunningForest(n, min_samples, weights)
    for part in parts:
        running.add(part)
    return running.forest()


def spanning_forest(
    graph: Graph, min_samples: int = 2, *, weights: NDArray[np.int64] | None = None
) -> Forest:
    """The minimum spanning forest of mutual reachability: DBSCAN at every threshold in one pass.

    Two rows become connected in DBSCAN when both are core points and within eps of each other,
    that is at max(core of one, core of the other, their distance). Kruskal's forest over that
    weight has the same components as the graph at every threshold.

    Args:
        graph: every pair within the largest threshold of interest.
        min_samples: as in `dbscan`, at least 1.
        weights: as in `dbscan`.

    Returns:
        Forest whose `labels_at(forest, eps)` equals `dbscan(graph, eps, min_samples)` for every
        eps up to the radius of the graph.

    Raises:
        InputError: `min_samples` below 1.

    Source:
        Campello, Moulavi & Sander 2013 (mutual reachability); border rows as in `dbscan`.
    """
    return streamed_forest([(graph.edges, graph.distances)], graph.n, min_samples, weights=weights)
