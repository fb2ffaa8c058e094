"""What is compared: single images, or all views of one side in one encounter as one."""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid.errors import InputError
from reid.identify.constraints import Constraints, conflicted
from reid.identify.word_numbers import numbered

ENCOUNTERS = ("off", "best", "mean")
SHORTEST_MEAN = 1e-3


@dataclass(frozen=True, slots=True)
class Nodes:
    """What the neighbour graph is drawn between.

    Attributes:
        ids: k strings, rising: an annotation's own id, or a digest of its members' ids, so that
            an encounter that has grown is another node.
        node: (n,) int64, the node of each row.
        first: (k,) int64, the first row of each node: it stands for the node in row-to-row links.
        encounter: (n,) int64, rows that are one animal because one encounter holds them; −1 = none.
        broken: ids of encounters that are not taken as one animal, because two of their boxes are in
            one image, or have different identities, or a reviewer said `nomatch`.
    """

    ids: pa.StringArray
    node: NDArray[np.int64]
    first: NDArray[np.int64]
    encounter: NDArray[np.int64]
    broken: list[str]


def make_nodes(
    ids: Sequence[str] | pa.StringArray,
    encounters: Sequence[str | None] | pa.StringArray,
    viewpoints: Sequence[str | None] | pa.StringArray,
    *,
    mode: str,
    images: NDArray[np.int64],
    labels: NDArray[np.int64],
    nomatch: NDArray[np.int64],
) -> Nodes:
    """Nodes of the graph and the rows that encounters join.

    Args:
        ids: n annotation ids, rising.
        encounters: n encounter ids, None for none.
        viewpoints: n viewpoints, None for unknown; only images of one viewpoint are pooled.
        mode: `off`: ignore encounters. `best`: an encounter is one animal, its images are
            compared one by one, so that its best pair decides. `mean`: an encounter is one animal,
            and the mean of its images of one viewpoint is compared.
        images: (n,) which rows share an image; −1 = none.
        labels: (n,) known identity, −1 = none.
        nomatch: (c, 2) pairs of rows that a reviewer told apart.

    Raises:
        InputError: an unknown mode.
    """
    if mode not in ENCOUNTERS:
        raise InputError(
            f"identify.encounters: unknown {mode!r}; known modes: {', '.join(ENCOUNTERS)}"
        )
    n = len(ids)
    names = pa.array(ids, pa.string())
    alone = np.full(n, -1, np.int64)
    if mode == "off" or n == 0:
        return Nodes(names, np.arange(n), np.arange(n), alone, [])
    encounter, known = numbered(pa.array(encounters, pa.string()))
    # People and boxes know better than a clock: such an encounter shows more than one animal.
    own = np.where(encounter < 0, len(known) + np.arange(n), encounter)
    clash = conflicted(own, Constraints(labels, alone, images, nomatch[:0], nomatch))
    broken = known.take(pa.array(np.flatnonzero(clash))).to_pylist()
    encounter = np.where(clash[own], -1, encounter)
    if mode == "best":
        return Nodes(names, np.arange(n), np.arange(n), encounter, broken)
    view = numbered(pa.array(viewpoints, pa.string()))[0] + 1
    group = np.where(encounter < 0, -1 - np.arange(n), encounter * (view.max() + 1) + view)
    order = np.argsort(group, kind="stable")
    cuts = np.flatnonzero(np.diff(group[order])) + 1
    members = np.split(order, cuts)
    keys = np.asarray([_key(names.take(pa.array(rows)).to_pylist()) for rows in members], object)
    rank = np.argsort(keys)
    node = np.empty(n, np.int64)
    for place, k in enumerate(rank.tolist()):
        node[members[k]] = place
    first = np.asarray([members[k][0] for k in rank.tolist()], np.int64)
    return Nodes(pa.array(keys[rank], pa.string()), node, first, encounter, broken)


def pool(vectors: NDArray[np.float32], nodes: Nodes) -> NDArray[np.float32]:
    """(k, d) float32 unit vectors of the nodes from (n, d) of the rows: normalised means.

    A node of one row keeps that row's vector to the bit.

    Raises:
        InputError: views of one encounter that cancel each other out.
    """
    pooled = vectors[nodes.first]
    sizes = np.bincount(nodes.node, minlength=len(nodes.ids))
    order = np.argsort(nodes.node, kind="stable")
    start = np.cumsum(sizes) - sizes
    for k in np.flatnonzero(sizes > 1).tolist():
        rows = order[start[k] : start[k] + sizes[k]]
        mean = vectors[rows].astype(np.float64).mean(axis=0)
        length = np.linalg.norm(mean)
        if length < SHORTEST_MEAN:
            raise InputError(
                f"the {sizes[k]} images that are pooled as {nodes.ids[int(k)]} point in opposite "
                "directions, their mean shows nothing; check their encounter_id, or use "
                "identify.encounters=best"
            )
        pooled[k] = mean / length
    return pooled


def _key(members: list[str]) -> str:
    if len(members) == 1:
        return members[0]
    return "encounter-" + blake2b("\n".join(members).encode(), digest_size=16).hexdigest()
