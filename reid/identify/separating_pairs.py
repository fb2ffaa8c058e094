"""Pairs of rows that say why: what joined them, or what keeps two components apart."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from reid.identify.constraints import Constraints


@dataclass(frozen=True, slots=True)
class Link:
    """Two rows and what lies between them.

    Attributes:
        a, b: rows, a < b.
        distance: cosine distance, or None where it was not what decided or is beyond the graph.
        kind: `distance`, `match`, `label` or `encounter` for what joined, `nomatch`, `label` or
            `image` for what parted, `threshold` where nothing but distance parts them.
    """

    a: int
    b: int
    distance: float | None
    kind: str


def separating_pairs(
    wanted: set[tuple[int, int]],
    component: NDArray[np.int64],
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
    constraints: Constraints,
) -> dict[tuple[int, int], Link]:
    """What parts two components (x < y): a cannot-link if there is one, else their closest pair."""
    span = len(component)
    keys = np.asarray([x * span + y for x, y in sorted(wanted)])
    found: dict[tuple[int, int], Link] = {}

    def offer(pairs: NDArray[np.integer], kind: str) -> None:
        ends = np.sort(component[pairs], axis=1)
        here = np.flatnonzero(np.isin(ends[:, 0] * span + ends[:, 1], keys))
        for place in here.tolist():
            x, y = ends[place].tolist()
            if (x, y) not in found:
                a, b = sorted(pairs[place].tolist())
                found[x, y] = Link(a, b, edge_distance(edges, distances, a, b), kind)

    offer(np.unique(np.sort(constraints.nomatch.reshape(-1, 2), axis=1), axis=0), "nomatch")
    concerned = np.isin(component, list({side for pair in wanted for side in pair}))
    offer(_unlike(constraints.labels, component, np.flatnonzero(concerned), wanted), "label")
    offer(_together(constraints.images, np.flatnonzero(concerned)), "image")
    order = np.argsort(distances, kind="stable")
    offer(edges[order], "threshold")
    return found


def _unlike(
    labels: NDArray[np.int64],
    component: NDArray[np.int64],
    rows: NDArray[np.int64],
    wanted: set[tuple[int, int]],
) -> NDArray[np.int64]:
    """A labelled row of each of two components with different labels."""
    labelled = rows[labels[rows] >= 0][::-1]
    first = dict(zip(component[labelled].tolist(), labelled.tolist(), strict=True))
    pairs = [
        (first[x], first[y])
        for x, y in sorted(wanted)
        if x in first and y in first and labels[first[x]] != labels[first[y]]
    ]
    return np.asarray(pairs, np.int64).reshape(-1, 2)


def _together(images: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of `rows` in one image."""
    rows = rows[images[rows] >= 0]
    rows = rows[np.argsort(images[rows], kind="stable")]
    cuts = np.flatnonzero(images[rows[1:]] != images[rows[:-1]]) + 1
    pairs = [
        pair
        for group in np.split(rows, cuts)
        if len(group) > 1
        for pair in combinations(group.tolist(), 2)
    ]
    return np.asarray(pairs, np.int64).reshape(-1, 2)


def edge_distance(
    edges: NDArray[np.integer], distances: NDArray[np.float32], a: int, b: int
) -> float | None:
    """Distance of the pair a < b, None where it is not among `edges` (m, 2), which are sorted."""
    start, stop = np.searchsorted(edges[:, 0], [a, a + 1])
    at = start + np.searchsorted(edges[start:stop, 1], b)
    return float(distances[at]) if at < stop and edges[at, 1] == b else None
