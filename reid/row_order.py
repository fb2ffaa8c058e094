"""Rows in the order of their ids, and a few of them found among many."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

KEY_BYTES = 8


def by_id(rows: pa.Table) -> tuple[pa.Table, NDArray[np.int64]]:
    """The rows by rising annotation_id, and where each was."""
    ids = rows["annotation_id"].combine_chunks()
    if _rises(ids):
        return rows, np.arange(len(ids))
    order = _by_first_bytes(ids)
    if order is None or not _rises(ids.take(pa.array(order))):
        order = pc.sort_indices(ids).to_numpy().astype(np.int64)
    return rows.take(pa.array(order)), order


def places_among(few: pa.Array | pa.ChunkedArray, many: pa.ChunkedArray) -> pa.Array:
    """Where each of some ids is among many others, each there once; null: nowhere.

    `index_in` builds an index of the many; this goes through them once, and builds one of the few.
    """
    here = np.flatnonzero(pc.is_in(many, value_set=few).to_numpy(zero_copy_only=False))
    found = pc.index_in(few, value_set=many.take(pa.array(here)))
    places = pa.array(here).take(found)
    return places.combine_chunks() if isinstance(places, pa.ChunkedArray) else places


def rows_after(before: pa.Table, changed: pa.Table) -> pa.Table:
    """The rows once others, of the same columns, came or took the place of those with their ids, by rising id."""
    replaced = pc.is_in(before["annotation_id"], value_set=changed["annotation_id"])
    return by_id(pa.concat_tables([before.filter(pc.invert(replaced)), changed]))[0]


def _rises(ids: pa.StringArray) -> bool:
    return len(ids) < 2 or bool(pc.all(pc.less(ids[:-1], ids[1:])).as_py())


def _by_first_bytes(ids: pa.StringArray) -> NDArray[np.int64] | None:
    """An order by the first bytes of each id, which as numbers are sorted ten times as fast; None: too short."""
    _, ends, data = ids.buffers()
    if ids.null_count or data is None:
        return None
    starts = np.frombuffer(ends, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    if np.diff(starts).min() < KEY_BYTES:
        return None
    every = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, np.uint8), KEY_BYTES)
    keys = np.ascontiguousarray(every[starts[:-1]]).view(">u8")[:, 0].astype(np.uint64)
    return np.argsort(keys).astype(np.int64)
