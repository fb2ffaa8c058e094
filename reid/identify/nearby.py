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
    [NDArray[np.int64]], tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]
]


@dataclass(frozen=True, slots=True)
class Nearby:
    """What is to be looked at, beside the new rows.

    Attributes:
        known: (k,) int64, places of known rows, rising: whole individuals.
        edges: (m, 2) int64, among known rows by their place and new ones, numbered on behind all known.
        distances: (m,) float32.
    """

    known: NDArray[np.int64]
    edges: NDArray[np.int64]
    distances: NDArray[np.float32]


def near_rows(
    told: NDArray[np.int64],
    before: NDArray[np.integer],
    unsure: NDArray[np.bool_],
    links_of: LinksOf,
    fresh: tuple[NDArray[np.int64], NDArray[np.float32]],
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
    met = np.concatenate([told, pairs[far <= np.float32(known_distance)].ravel()])
    is_touched = np.zeros(count, np.bool_)
    parts = []
    wanted = np.unique(before[met[met < n]])
    while len(wanted):
        is_touched[wanted] = True
        found = links_of(np.flatnonzero(_flags(wanted, count)[before]))
        parts.append(found)
        wanted = np.unique(before[found[1][found[2] <= np.float32(known_distance)]])
        wanted = wanted[~is_touched[wanted]]
    touched = is_touched[before]
    ends = np.concatenate([pairs[pairs < n], *(other for _, other, _ in parts)]).astype(np.int64)
    border = ends[~touched[ends] & unsure[ends]]
    asked = unsure & ~touched & _flags(before[border], count)[before]
    parts.append(links_of(np.flatnonzero(asked)))
    ends = np.concatenate([ends, parts[-1][1]])
    rows = np.flatnonzero(touched | _flags(before[ends], count)[before] | asked)
    read = touched | asked
    row, other, between = (np.concatenate(column) for column in zip(*parts, strict=True))
    once = (row < other) | ~read[other]  # of two that were read each names the other
    edges = np.concatenate([np.stack([row, other], axis=1)[once], pairs]).astype(np.int64)
    return Nearby(rows, edges, np.concatenate([between[once], far]))


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
