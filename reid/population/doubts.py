"""What identification alone does to an estimate: the same sightings, with every doubt joined."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def joined_to_nearest(
    identities: Sequence[str], unsure: NDArray[np.bool_], nearest: NDArray[np.int64]
) -> list[str]:
    """The identities if every unsure one were its nearest.

    An identity whose rows are all unsure is joined with that of the row which is nearest to it. It
    is one end of a range: the other leaves unsure rows out.

    Args:
        identities: (n,) of each row.
        unsure: (n,) bool.
        nearest: (n,) int64, the row whose link decided; −1 where there is none, or it is not here.

    Returns:
        (n,) identities. A joined one is called as the settled identity that it was joined with, or,
        among unsure ones alone, as the first in order.

    Raises:
        InputError: the three are not equally long, or a nearest row is out of range.
    """
    from scipy.sparse import csr_array

    n = len(identities)
    unsure, nearest = np.asarray(unsure, np.bool_), np.asarray(nearest, np.int64)
    if len(unsure) != n or len(nearest) != n:
        raise InputError(
            f"{n} identities, {len(unsure)} unsure and {len(nearest)} nearest: one of each a row"
        )
    if n and (nearest.max() >= n or nearest.min() < -1):
        raise InputError(f"nearest: rows go from 0 to {n - 1}, and −1 is none")
    names, code = np.unique(np.asarray(identities, dtype=object), return_inverse=True)
    settled = np.zeros(len(names), np.bool_)
    settled[code[~unsure]] = True
    # A nearest row of an identity that has sure rows was looked at, and is not in doubt.
    rows = np.flatnonzero(unsure & ~settled[code] & (nearest >= 0))
    ends = (code[rows], code[nearest[rows]])
    graph = csr_array((np.ones(len(rows), np.int8), ends), shape=(len(names), len(names)))
    # Two settled identities stay two, however many doubts lie between them: each doubt joins one.
    return [str(name) for name in names[_owners(graph, settled)][code]]


def _owners(graph: "csr_array", settled: NDArray[np.bool_]) -> NDArray[np.int64]:
    """For each identity the one whose name it gets: itself where settled, else the end of its links."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    n = len(settled)
    owner = np.arange(n)
    target = np.full(n, -1, np.int64)
    source, end = graph.nonzero()
    apart = source != end
    # The first link in order decides where an identity's rows have several.
    for a, b in sorted(zip(source[apart].tolist(), end[apart].tolist(), strict=True), reverse=True):
        target[a] = b
    doubtful = np.flatnonzero(~settled & (target >= 0))
    links = csr_array((np.ones(len(doubtful), np.int8), (doubtful, target[doubtful])), shape=(n, n))
    # Each doubtful one has one link out and settled ones have none: a component holds at most one
    # settled identity.
    _, component = connected_components(links, directed=False)
    first = np.full(component.max(initial=-1) + 1, n, np.int64)
    np.minimum.at(first, component, owner)
    anchors = np.flatnonzero(settled)
    first[component[anchors]] = anchors
    owner = first[component]
    return owner.astype(np.int64)
