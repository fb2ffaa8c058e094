"""Edges, must-links and cannot-links → individuals: Kruskal that asks before it joins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.cluster.dbscan import label_components
from reid.errors import InputError
from reid.identify.constraints import Constraints, conflicted, must_links

BY_DISTANCE = 0
# How far to look for components that a cannot-link does not touch; changes no result.
SHARES = (0.25, 0.5, 0.75, 0.9)
LINKS_AT_ONCE = 100_000
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Partition:
    """Rows parted into individuals, and the links that did it.

    Attributes:
        component: (n,) int64, numbered by their smallest row; every row has one.
        joins: (k, 2) int64, n − k components: the links that joined two components, first to last.
        distances: (k,) float32, 0 for must-links.
        kinds: (k,) int8: 0 a distance, or `MATCH`, `LABEL`, `ENCOUNTER` of reid.identify.constraints.
    """

    component: NDArray[np.int64]
    joins: NDArray[np.int64]
    distances: NDArray[np.float32]
    kinds: NDArray[np.int8]


def partition(
    n: int,
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
    known_distance: float,
    constraints: Constraints,
    *,
    joined: NDArray[np.int64] | None = None,
) -> Partition:
    """Individuals: must-links first, then edges in rising order unless a cannot-link forbids it.

    A pure function of rows, edges and constraints: edges are taken in the order of (distance, row,
    row), and rows are numbered by their ids, so the order in which any of it arrived cannot matter.
    Without cannot-links these are the connected components of the graph at `known_distance`: DBSCAN
    with min_samples 2, single rows being individuals too.

    Edges are taken one by one only from where a component first holds two rows that must be kept
    apart; the rest takes SciPy's time.

    Args:
        n: rows.
        edges: (m, 2) pairs of rows.
        distances: (m,) float32.
        known_distance: edges up to here join.
        constraints: of the n rows.
        joined: (n,) for each row the first of those with which it is one for certain, so that nothing
            between them need be looked at; then `joins` has none of theirs. None: each is alone.

    Returns:
        Partition in which every must-link and every cannot-link holds.

    Raises:
        InputError: the constraints contradict each other; `find_contradictions` says how.

    Source:
        Kruskal 1956 with a refusal; single-linkage under instance-level constraints as in Davidson
        & Ravi 2005.
    """
    must, must_kinds = must_links(constraints)
    if conflicted(components(n, must), constraints).any():
        raise InputError("must-links and cannot-links contradict each other")
    near = np.flatnonzero(distances <= np.float32(known_distance))
    pairs = np.sort(edges[near].astype(np.int64), axis=1)
    rank = pairs[:, 0] * n + pairs[:, 1]
    if (rank[1:] >= rank[:-1]).all():  # as it comes from a catalogue
        order = np.argsort(distances[near], kind="stable")
    else:
        order = np.lexsort((rank, distances[near]))
    # From here on a link's place in the list is its rank.
    links = np.concatenate([must, pairs[order]])
    kinds = np.concatenate([must_kinds, np.full(len(near), BY_DISTANCE, np.int8)])
    lengths = np.concatenate([np.zeros(len(must), np.float32), distances[near][order]])
    first = np.arange(n) if joined is None else joined
    ends = first[links]
    if joined is not None:
        outside = ends[:, 0] != ends[:, 1]
        links, ends, kinds, lengths = (
            links[outside],
            ends[outside],
            kinds[outside],
            lengths[outside],
        )
    count = int((kinds != BY_DISTANCE).sum())
    safe = _safe(n, ends, count, first, constraints)
    held = np.flatnonzero(np.arange(len(links)) >= safe[links[:, 0]])
    free = np.setdiff1d(np.arange(len(links)), held, assume_unique=True)
    chosen = free[minimum_links(n, ends[free])]
    if len(held):
        start = components(n, ends[chosen])[first]
        rest = _kruskal(start, links[held], constraints)
        chosen = np.sort(np.concatenate([chosen, held[rest]]))
    component = components(n, ends[chosen])
    if joined is not None:
        component = np.unique(component[first], return_inverse=True)[1]
    return Partition(component, links[chosen], lengths[chosen], kinds[chosen])


def _safe(
    n: int,
    links: NDArray[np.int64],
    must: int,
    first: NDArray[np.int64],
    constraints: Constraints,
) -> NDArray[np.int64]:
    """(n,) how many of `links` (between first rows) can be joined around each row before any could be refused.

    As long as the component of a row holds no two rows that must be kept apart, no link inside it
    was refused, so it need not be built link by link.
    """
    safe = np.full(n, len(links))
    whole = components(n, links)[first]
    bad = conflicted(whole, constraints)[whole]
    if not bad.any():
        return safe
    safe[bad] = must
    for share in SHARES:
        count = must + round(share * (len(links) - must))
        component = components(n, links[:count])[first]
        safe[~conflicted(component, constraints)[component]] = count
    return safe


def minimum_links(n: int, links: NDArray[np.int64]) -> NDArray[np.int64]:
    """Which of `links` (m, 2), best first, form the spanning forest: (k,) rising places."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import minimum_spanning_tree

    if not len(links):
        return np.empty(0, np.int64)
    # Sparse matrices add up entries of one cell; the first of repeated links is the best.
    low, high = np.minimum(links[:, 0], links[:, 1]), np.maximum(links[:, 0], links[:, 1])
    _, once = np.unique(low * n + high, return_index=True)
    ranks = once.astype(np.float64) + 1  # distinct weights: the forest is the only one
    tree = minimum_spanning_tree(csr_array((ranks, (low[once], high[once])), shape=(n, n)))
    return np.sort(tree.data.astype(np.int64) - 1)


def components(n: int, links: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) components of links (m, 2), numbered by their smallest row."""
    pairs = links.astype(np.int32)
    return label_components(np.ones(n, np.bool_), pairs, pairs[:0])


def _kruskal(
    start: NDArray[np.int64], links: NDArray[np.int64], constraints: Constraints
) -> list[int]:
    """Places of the links that join, each asked whether a cannot-link forbids it.

    Args:
        start: (n,) components that are joined already.
        links: (m, 2) rows, best first.
        constraints: of the n rows.
    """
    ends = start[links]
    pieces = np.unique(ends)
    animals = _ConstrainedUnionFind(start, pieces, constraints)
    parent = {piece: piece for piece in pieces.tolist()}
    joined: list[int] = []
    refused: set[Pair] = set()

    def find(piece: int) -> int:
        while parent[piece] != piece:
            parent[piece] = piece = parent[parent[piece]]
        return piece

    for begin in range(0, len(links), LINKS_AT_ONCE):
        # What lies inside a component by now need not be looked at one by one.
        roots = np.fromiter(map(find, pieces.tolist()), np.int64, len(pieces))
        now = roots[np.searchsorted(pieces, ends[begin : begin + LINKS_AT_ONCE])]
        apart = np.flatnonzero(now[:, 0] != now[:, 1])
        places = (apart + begin).tolist()
        for place, left, right in zip(places, *now[apart].T.tolist(), strict=True):
            a, b = find(left), find(right)
            pair = (a, b) if a < b else (b, a)
            if a == b or pair in refused:
                continue
            if animals.differ(a, b):
                refused.add(pair)  # components only grow: once refused, for ever
                continue
            keep, gone = animals.join(a, b)
            parent[gone] = keep
            joined.append(place)
    return joined


class _ConstrainedUnionFind:
    """What each component carries: its label, its images, and the rows it must not meet."""

    def __init__(
        self, component: NDArray[np.int64], pieces: NDArray[np.int64], constraints: Constraints
    ) -> None:
        self.label = dict.fromkeys(pieces.tolist(), -1)
        self.tokens: dict[int, set[int]] = {piece: set() for piece in pieces.tolist()}
        rows = np.flatnonzero(np.isin(component, pieces))
        for piece, label, image in zip(
            component[rows].tolist(),
            constraints.labels[rows].tolist(),
            constraints.images[rows].tolist(),
            strict=True,
        ):
            self.label[piece] = max(self.label[piece], label)
            if image >= 0:
                self.tokens[piece].add(image)
        # A pair that was told apart is one token, held by both: a shared image by another name.
        for pair, ends in enumerate(component[constraints.nomatch.reshape(-1, 2)].tolist()):
            for piece in ends:
                if piece in self.tokens:
                    self.tokens[piece].add(-1 - pair)

    def differ(self, a: int, b: int) -> bool:
        """True if the components of roots a and b must not become one."""
        first, second = self.label[a], self.label[b]
        if first >= 0 and second >= 0 and first != second:
            return True
        return not self.tokens[a].isdisjoint(self.tokens[b])

    def join(self, a: int, b: int) -> Pair:
        """Roots that stay and go: what is carried moves from the lighter to the heavier."""
        (_, gone), (_, keep) = sorted((len(self.tokens[root]), root) for root in (a, b))
        self.tokens[keep] |= self.tokens.pop(gone)
        self.label[keep] = max(self.label[keep], self.label.pop(gone))
        return keep, gone
