"""The rows that a night has to read: new ones bring edges, and these reach few of the known.

`touched_rows` asks which individuals can change, of all rows and edges. Here the same is asked from the new rows
on, individual by individual, so that nothing is read of all others. Their neighbours come with them, whole
individuals, as what is near decides how sure one can be.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.identify.constrained_partition import components
from reid.identify.unaided import Unaided

# Of places of known rows, rising: links as (place, other place, distance).
LinksOf = Callable[
    [NDArray[np.int64]], tuple[NDArray[np.integer], NDArray[np.integer], NDArray[np.float32]]
]


@dataclass(frozen=True, slots=True)
class Nearby:
    """What is to be looked at, beside the new rows.

    Attributes:
        known: (k,) int64, places of known rows, rising: whole individuals.
        edges: (m, 2) int32, among known rows by their place and new ones, numbered on behind all known.
        distances: (m,) float32.
    """

    known: NDArray[np.int64]
    edges: NDArray[np.int32]
    distances: NDArray[np.float32]


def near_rows(
    told: NDArray[np.int64],
    before: NDArray[np.integer],
    unsure: NDArray[np.bool_],
    links_of: LinksOf,
    fresh: tuple[NDArray[np.integer], NDArray[np.float32]],
    known_distance: float,
) -> Nearby:
    """Known rows that new ones can give another individual, what is near these, and the edges between.

    Args:
        told: known rows of which new ones say something, of `rows_told`.
        before: (n,) individual of each known row.
        unsure: (n,) known rows that are unsure.
        links_of: reads the links of known rows.
        fresh: edges that the new rows bring, numbered as in `Nearby`.
        known_distance: edges up to here join.
    """
    n = len(before)
    count = int(before.max(initial=-1)) + 1
    pairs, far = fresh
    near = np.float32(known_distance)
    met = np.concatenate([told, pairs[far <= near].ravel()])
    named = np.zeros(n, np.bool_)  # at either end of what was read
    named[pairs[pairs < n]] = True
    is_touched = np.zeros(count, np.bool_)
    parts = []
    wanted = _flags(before[met[met < n]], count)
    while wanted.any():
        is_touched |= wanted
        found = links_of(np.flatnonzero(wanted[before]))
        parts.append(found)
        named[found[1]] = True
        wanted = _flags(before[found[1][found[2] <= near]], count) & ~is_touched
    touched = is_touched[before]
    border = np.flatnonzero(named & unsure & ~touched)
    asked = unsure & ~touched & _flags(before[border], count)[before]
    parts.append(links_of(np.flatnonzero(asked)))
    named[parts[-1][1]] = True
    beside = _flags(before[np.flatnonzero(named)], count)[before]
    read = touched | asked
    # Of two that were read each names the other.
    once = [(row < other) | ~read[other] for row, other, _ in parts]
    edges = [
        np.stack([row[own], other[own]], axis=1).astype(np.int32)
        for own, (row, other, _) in zip(once, parts, strict=True)
    ]
    distances = [between[own] for own, (_, _, between) in zip(once, parts, strict=True)]
    return Nearby(
        np.flatnonzero(touched | beside | asked),
        np.concatenate([*edges, pairs.astype(np.int32)]),
        np.concatenate([*distances, far]),
    )


def grown(
    cluster: NDArray[np.int32],
    image: NDArray[np.int32],
    near: NDArray[np.int64],
    beside: NDArray[np.bool_],
    new: int,
    some: Unaided,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """`Unaided.cluster` and `image` of all rows, known and then new, from those of before and of some rows.

    Args:
        cluster, image: (n,) of the known rows.
        near: (k,) int64, numbers of the rows in `some`, known ones by their place and new ones behind all.
        beside: (k,) bool, those of an image that has a new row; all of these are there.
        new: how many new rows there are; all are in `some`.
        some: of the rows that were looked at.
    """
    most = int(cluster.max(initial=-1)) + 1
    node = np.concatenate([cluster, most + np.arange(new, dtype=np.int32)])
    used = np.flatnonzero(some.cluster >= 0)
    used = used[np.argsort(some.cluster[used], kind="stable")]
    same = np.flatnonzero(some.cluster[used[1:]] == some.cluster[used[:-1]])
    chain = np.stack([node[near[used[same]]], node[near[used[same + 1]]]], axis=1)
    # Few clusters are met: these are joined, all others stay what they are.
    met, place = np.unique(chain, return_inverse=True)
    joined = components(len(met), place.reshape(-1, 2))
    first = np.full(len(met), most + new, np.int32)
    np.minimum.at(first, joined, met.astype(np.int32))
    becomes = np.arange(most + new, dtype=np.int32)
    becomes[met] = first[joined]
    clusters = np.where(node >= 0, becomes[node], np.int32(-1))
    images = np.concatenate([image, np.full(new, -1, np.int32)])
    now = np.where(some.image >= 0, int(image.max(initial=-1)) + 1 + some.image, -1)
    images[near[beside]] = now[beside]
    return clusters, images


def rows_told(
    find: Callable[[str, pa.ChunkedArray], NDArray[np.int64]],
    take: Callable[[NDArray[np.int64]], pa.Table],
    new: pa.Table,
    judged: NDArray[np.int64],
    encounters: str,
) -> NDArray[np.int64]:
    """Known rows that new or judged ones say something of: by image, then encounter, then label.

    Args:
        find: the known rows, rising, that have one of some values in a column.
        take: these rows, with that column.
        new: columns image_path, encounter_id, identity.
        judged: known rows that people have judged just now; they are among those that come back.
        encounters: `off` or `best`, see `make_nodes`.
    """
    reached = judged
    names = ("image_path", "encounter_id", "identity")
    for name in (one for one in names if one != "encounter_id" or encounters != "off"):
        said = [take(reached)[name], new[name]]
        words = pa.chunked_array([chunk for one in said for chunk in one.chunks], pa.string())
        reached = np.union1d(reached, find(name, pc.unique(words.drop_null())))
    return reached


def _flags(numbers: NDArray[np.integer], count: int) -> NDArray[np.bool_]:
    flags = np.zeros(count, np.bool_)
    flags[numbers] = True
    return flags
