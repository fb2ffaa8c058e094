"""Clusters as a method found them → individuals as people decided: every match and every nomatch holds."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid.identify.constrained_partition import components, partition
from reid.identify.constraints import Constraints
from reid.identify.contradictions import find_contradictions
from reid.identify.species_nodes import read_species
from reid.identify.wording import contradiction_error

NOBODY = -1
_FARTHEST = 2.0  # cosine distance


def decided_clusters(
    rows: pa.Table, labels: NDArray[np.int64], vectors: NDArray[np.float32], decisions: pa.Table
) -> NDArray[np.int64]:
    """The clusters of one species with what people decided of its pictures.

    Clusters that a match joins become one. Where one then holds two pictures that were told apart, its rows are
    joined anew, matches first and then from the nearest pair to the farthest, wherever no nomatch forbids it: so
    each row stays with whom it is nearest to. All other clusters stay as they are, with their numbers; a number goes
    with most of its rows. Unusable pictures are nobody's, unless a match says whose.

    Args:
        rows: `reid.schema.ANNOTATIONS` of the species.
        labels: (n,) cluster of each row, −1 = nobody's.
        vectors: (n, d) float32, unit rows.
        decisions: `reid.schema.DECISIONS`; those about other pictures are left out.

    Returns:
        (n,) int64.

    Raises:
        ContradictionError: the decisions cannot all hold, with their chains.

    Differs:
        from a run without decisions: where a nomatch parts a cluster, its parts come about by single linkage,
        whatever method found the cluster.
    """
    read = read_species(rows, decisions, encounters="off")
    n = len(labels)
    nothing = np.full(n, NOBODY)
    read = replace(
        read,
        constraints=Constraints(
            nothing, nothing, nothing, read.constraints.match, read.constraints.nomatch
        ),
    )
    if not (len(read.constraints.match) or len(read.constraints.nomatch) or read.unusable.any()):
        return labels
    contradictions = find_contradictions(read.constraints)
    if contradictions:
        raise contradiction_error(contradictions, read)
    was = labels[read.order].astype(np.int64)
    was[read.unusable] = NOBODY
    links, lengths = _links(was, vectors[read.order], read.constraints)
    component = partition(n, links, lengths, _FARTHEST, read.constraints).component
    found = np.empty(n, np.int64)
    found[read.order] = _numbered(was, component)
    return found


def _links(
    was: NDArray[np.int64], vectors: NDArray[np.float32], constraints: Constraints
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """What holds clusters together: a chain, or all pairs where a nomatch will part them."""
    order = np.argsort(was, kind="stable")
    order = order[was[order] >= 0]
    ends = np.flatnonzero(np.diff(was[order])) + 1
    clusters = np.split(order, ends) if len(order) else []
    chains = [np.stack([rows[:-1], rows[1:]], axis=1) for rows in clusters]
    joined = np.concatenate([np.empty((0, 2), np.int64), *chains])
    whole = components(len(was), np.concatenate([joined, constraints.match.reshape(-1, 2)]))
    a, b = whole[constraints.nomatch.reshape(-1, 2)].T
    parted = np.unique(a[a == b])
    links, lengths = [np.empty((0, 2), np.int64)], [np.empty(0, np.float32)]
    for rows, chain in zip(clusters, chains, strict=True):
        if not np.isin(whole[rows[0]], parted):
            links.append(chain)
            lengths.append(np.zeros(len(chain), np.float32))
            continue
        one, two = np.triu_indices(len(rows), 1)
        near = 1 - vectors[rows] @ vectors[rows].T
        links.append(np.stack([rows[one], rows[two]], axis=1))
        lengths.append(np.clip(near[one, two], 0, _FARTHEST).astype(np.float32))
    return np.concatenate(links).astype(np.int64), np.concatenate(lengths)


def _numbered(was: NDArray[np.int64], component: NDArray[np.int64]) -> NDArray[np.int64]:
    """Numbers of components: that of the cluster that most of the rows were of, each given once."""
    sizes = np.bincount(component)
    now = np.full(len(sizes), NOBODY)
    held = np.flatnonzero(was >= 0)
    pairs, counts = np.unique(
        np.stack([was[held], component[held]], axis=1), axis=0, return_counts=True
    )
    taken: set[int] = set()
    for place in np.lexsort((pairs[:, 1], pairs[:, 0], -counts)).tolist():
        number, one = pairs[place].tolist()
        if now[one] == NOBODY and number not in taken:
            now[one] = number
            taken.add(number)
    following = int(was.max(initial=-1)) + 1
    for one in np.flatnonzero((now == NOBODY) & (sizes > 1)).tolist():
        now[one] = following
        following += 1
    return now[component]
