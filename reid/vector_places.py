"""Where the vectors of rows lie in an embedding store, so that they are read without a look at everybody's ids.

Which part holds an annotation is written nowhere but in the parts. Who has found it once may remember it: the
places hold as long as the parts are the files that they were, by size and time of change, which is asked before
the first vector is read and after the last. A part that another tool writes again as long as before, and gives the
time of before, is not told from it; this program changes a part by taking rows out, and it is shorter then.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import embeddings, store
from reid.errors import StorageError

_KEYS = ["annotation_id", "source_key"]

# File name of a part → its size in bytes, its time of change in ns, and its rows.
Parts = Mapping[str, tuple[int, int, int]]


@dataclass(frozen=True)
class VectorPlaces:
    """Where the vectors of n rows lie.

    Attributes:
        parts: all parts that there were, those without any of the rows too.
        part: (n,) int32, of each row the number of its part, in the order of `parts`.
        row: (n,) int32, its row there.
    """

    parts: Parts
    part: NDArray[np.int32]
    row: NDArray[np.int32]

    def take(self, order: NDArray[np.intp]) -> "VectorPlaces":
        """Of some of the rows."""
        return VectorPlaces(self.parts, self.part[order], self.row[order])


def find_places(
    folder: str, rows: pa.Table, before: VectorPlaces | None = None
) -> VectorPlaces | None:
    """The places of rows, behind those that are known; None: some lie nowhere, or are of other pictures.

    Args:
        folder: a recipe's folder.
        rows: columns annotation_id and source_key.
        before: of other rows; where the parts are no longer those, nothing is known of them: None.
    """
    if before is None:
        before = VectorPlaces({}, np.empty(0, np.int32), np.empty(0, np.int32))
    now = embeddings.part_states(folder)
    if _are_others(before.parts, now):
        return None
    # What lies in a part of which all rows are known is known.
    taken = np.bincount(before.part, minlength=len(before.parts)).tolist()
    full = {
        name
        for (name, (_, _, count)), known in zip(before.parts.items(), taken, strict=True)
        if count == known
    }
    paths = [store.join(folder, name) for name in now if name not in full]
    held = {path.rpartition("/")[2]: table for path, table in embeddings.read_ahead(paths, _KEYS)}
    parts = {**before.parts, **{name: (*now[name], len(table)) for name, table in held.items()}}
    if not len(rows):
        return VectorPlaces(parts, before.part, before.row)
    numbers = {name: number for number, name in enumerate(parts)}
    found = _found(rows, {numbers[name]: table for name, table in held.items()})
    if found is None:
        return None
    part, row = found
    return VectorPlaces(
        parts, np.concatenate([before.part, part]), np.concatenate([before.row, row])
    )


def iter_placed(
    folder: str, places: VectorPlaces
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """The vectors, part by part: numbers of rows (k,), and (k, d) float32, unit rows.

    Raises:
        DamagedError: a part was damaged.
        StorageError: the parts are no longer those that they were.
    """
    _check_states(folder, places)
    keys = places.part.astype(np.uint64) << np.uint64(32) | places.row.astype(np.uint64)
    order = np.argsort(keys)
    names = [*places.parts]
    cuts = np.searchsorted(places.part[order], np.arange(len(names) + 1))
    for number in np.flatnonzero(np.diff(cuts)).tolist():
        mine = order[cuts[number] : cuts[number + 1]]
        found = embeddings.read_vectors_of(store.join(folder, names[number]))
        rows = places.row[mine]
        if found is None or int(rows[-1]) >= len(found):
            raise _changed(folder)
        yield mine, found if len(rows) == len(found) else found[rows]
    _check_states(folder, places)


def _check_states(folder: str, places: VectorPlaces) -> None:
    if _are_others(places.parts, embeddings.part_states(folder)):
        raise _changed(folder)


def _are_others(parts: Parts, now: Mapping[str, tuple[int, int]]) -> bool:
    return any(now.get(name) != state[:2] for name, state in parts.items())


def _changed(folder: str) -> StorageError:
    return StorageError(
        f"{folder}: another run has changed embeddings while they were read; run the same command again"
    )


def _found(
    rows: pa.Table, held: Mapping[int, pa.Table]
) -> tuple[NDArray[np.int32], NDArray[np.int32]] | None:
    """Number of the part, of those held, and row there; of what lies in several the first one's."""
    if not held:
        return None
    stored = pa.concat_tables([table.select(_KEYS) for table in held.values()])
    wanted, keys = (rows[name].combine_chunks() for name in _KEYS)
    where = pc.fill_null(pc.index_in(stored["annotation_id"], value_set=wanted), -1).to_numpy()
    at = np.flatnonzero(where >= 0)[::-1]  # so that the first one stays
    first = np.full(len(rows), -1, np.int64)
    first[where[at]] = at
    if first.min() < 0:
        return None
    theirs = stored["source_key"].combine_chunks().take(pa.array(first))
    same = pc.coalesce(pc.equal(keys, theirs), pc.and_(pc.is_null(keys), pc.is_null(theirs)))
    if not pc.all(same).as_py():
        return None
    starts = np.cumsum([0, *(len(table) for table in held.values())])
    part = np.searchsorted(starts, first, side="right") - 1
    numbers = np.array([*held], np.int32)
    return numbers[part], (first - starts[part]).astype(np.int32)
