"""Play a forest's merges through in order, and note how clusters of labelled rows change."""

from collections import defaultdict
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from reid.cluster import Forest
from reid.tune.scores import ClusterChanges

LEAVE, MERGE, REACH = 0, 1, 2  # the order inside one threshold


def replay(forest: Forest, codes: NDArray[np.int64]) -> tuple[ClusterChanges, NDArray[np.float32]]:
    """Every change of the clusters of labelled rows on the way from threshold 0 up.

    Args:
        forest: merges in rising order, with its border rows.
        codes: (n,) int64, label of each row, -1 for unlabelled.

    Returns:
        The changes, and (c,) float32: the threshold at which each happens.
    """
    clusters = _Clusters(codes.tolist())
    marks: list[tuple[float, int]] = []
    if len(forest.borders):
        for weight, events in groupby(_events(forest, codes), key=lambda event: event[0]):
            clusters.step([event[1:] for event in events])
            marks.append((weight, len(clusters.sign)))
        weights, counts = np.array(marks, dtype=np.float64).T
        change_weights = np.repeat(weights, np.diff(counts.astype(np.int64), prepend=0))
    else:
        happened = []
        for k, (a, b) in enumerate(forest.merges.tolist()):
            if clusters.merge(clusters.find(a), clusters.find(b)):
                happened.append(k)
        change_weights = forest.weights[happened]
    return clusters.changes(), change_weights.astype(np.float32)


def _events(forest: Forest, codes: NDArray[np.int64]) -> list[tuple[float, int, int, int]]:
    """(threshold, kind, row, row) in the order in which they happen."""
    scored = codes[forest.borders[:, 0]] >= 0  # where an unlabelled border row goes is not scored
    borders, reached = forest.borders[scored], forest.border_weights[scored]
    leaving = np.unique(borders[:, 0])
    leaving = leaving[np.isfinite(forest.core[leaving])]
    parts = [
        (forest.core[leaving], LEAVE, np.stack([leaving, leaving], axis=1)),
        (forest.weights, MERGE, forest.merges),
        (reached, REACH, borders),
    ]
    weights = np.concatenate([weight for weight, _, _ in parts])
    kinds = np.concatenate([np.full(len(weight), kind) for weight, kind, _ in parts])
    pairs = np.concatenate([pair for _, _, pair in parts])
    order = np.lexsort((kinds, weights))
    return list(
        zip(
            weights[order].tolist(),
            kinds[order].tolist(),
            pairs[order, 0].tolist(),
            pairs[order, 1].tolist(),
            strict=True,
        )
    )


class _Clusters:
    """Disjoint sets of rows with their label counts, and the record of every change to them.

    A border row is a set of its own that has lent its one label to its host's set; as in
    `dbscan`, the host is the neighbouring cluster with the smallest core row.
    """

    def __init__(self, codes: list[int]) -> None:
        n = len(codes)
        self.codes = codes
        self.parent = list(range(n))
        self.first_core = list(range(n))  # of a root: the smallest core row of its set
        self.counts: dict[int, dict[int, int]] = {}  # of a root, once it is no plain singleton
        self.hosts: dict[int, list[int]] = defaultdict(list)  # border row -> core rows in reach
        self.guests: dict[int, list[int]] = defaultdict(list)  # root -> border rows in reach
        self.host: dict[int, int] = {}  # border row -> the core row through which it belongs
        self.sign: list[int] = []
        self.size_a: list[int] = []
        self.size_b: list[int] = []
        self.shared: list[tuple[int, int, int]] = []
        self.sizes: dict[int, int] = {}  # of a root in `counts`: labelled rows

    def find(self, row: int) -> int:
        parent = self.parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def step(self, events: list[tuple[int, int, int]]) -> None:
        """All events of one threshold, then the border rows whose choice they may change."""
        unsettled: set[int] = set()
        for kind, a, b in events:
            if kind == LEAVE:
                self._leave(a)
                self.hosts.pop(a, None)
            elif kind == REACH:
                self.hosts[a].append(b)
                self.guests[self.find(b)].append(a)
                unsettled.add(a)
            else:
                unsettled.update(self._join(self.find(a), self.find(b)))
        for row in unsettled:
            if row in self.hosts:
                self._settle(row)

    def _join(self, a: int, b: int) -> list[int]:
        """Merge two sets; returns the border rows beside the one whose smallest core row fell."""
        first_a, first_b = self.first_core[a], self.first_core[b]
        guests_a, guests_b = self.guests.pop(a, []), self.guests.pop(b, [])
        moved = list(guests_b if first_a < first_b else guests_a)
        self.merge(a, b)
        root = self.find(a)
        self.first_core[root] = min(first_a, first_b)
        more, fewer = (
            (guests_a, guests_b) if len(guests_a) > len(guests_b) else (guests_b, guests_a)
        )
        more += fewer
        if more:
            self.guests[root] = more
        return moved

    def merge(self, a: int, b: int) -> bool:
        """Merge the sets of two roots; returns whether labelled rows came together."""
        counts_a, counts_b = self._labels_of(a), self._labels_of(b)
        if len(counts_a) < len(counts_b):
            a, b, counts_a, counts_b = b, a, counts_b, counts_a
        together = bool(counts_b)
        if together:
            self._record(1, counts_a, counts_b, self.sizes[a], self.sizes[b])
            for label, count in counts_b.items():
                counts_a[label] = counts_a.get(label, 0) + count
            self.sizes[a] += self.sizes[b]
        self.parent[b] = a
        del self.counts[b], self.sizes[b]
        return together

    def _labels_of(self, root: int) -> dict[int, int]:
        counts = self.counts.get(root)
        if counts is None:
            code = self.codes[root]
            counts = self.counts[root] = {code: 1} if code >= 0 else {}
            self.sizes[root] = len(counts)
        return counts

    def _record(
        self, sign: int, counts_a: dict[int, int], counts_b: dict[int, int], a: int, b: int
    ) -> None:
        change = len(self.sign)
        self.sign.append(sign)
        self.size_a.append(a)
        self.size_b.append(b)
        for label, count in counts_b.items():
            if label in counts_a:
                self.shared.append((change, counts_a[label], count))

    def _settle(self, row: int) -> None:
        """Move a border row to the neighbouring cluster with the smallest core row."""
        host = min(self.hosts[row], key=lambda core: self.first_core[self.find(core)])
        if row in self.host and self.find(self.host[row]) == self.find(host):
            return
        self._leave(row)
        root = self.find(host)
        counts, own = self._labels_of(root), self._labels_of(row)
        if counts:
            self._record(1, counts, own, self.sizes[root], 1)
        code = self.codes[row]
        counts[code] = counts.get(code, 0) + 1
        self.sizes[root] += 1
        self.counts[row], self.sizes[row] = {}, 0
        self.host[row] = host

    def _leave(self, row: int) -> None:
        """Take a border row out of its host's cluster: a singleton again."""
        if row not in self.host:
            return
        root = self.find(self.host.pop(row))
        code = self.codes[row]
        counts = self.counts[root]
        counts[code] -= 1
        if not counts[code]:
            del counts[code]
        self.sizes[root] -= 1
        if counts:
            self._record(-1, counts, {code: 1}, self.sizes[root], 1)
        self.counts[row], self.sizes[row] = {code: 1}, 1

    def changes(self) -> ClusterChanges:
        shared = np.array(self.shared, dtype=np.int64).reshape(-1, 3)
        return ClusterChanges(
            sign=np.array(self.sign, dtype=np.int64),
            size_a=np.array(self.size_a, dtype=np.int64),
            size_b=np.array(self.size_b, dtype=np.int64),
            shared_change=shared[:, 0],
            shared_a=shared[:, 1],
            shared_b=shared[:, 2],
        )
