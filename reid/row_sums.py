"""Digests of tables that grow: of each column a sum over its rows, whatever their order.

`reid.value_digests` tells whether a column is what was written, in that order, and has to see all of it. Here each
row adds a 64-bit number to each column, which follows from its annotation_id and its value there, so that who
changes a few rows of many takes away what these were and adds what they are now. Two values of one row that
changed places show, as do two rows that exchanged a value. It finds damage and mix-ups, as the digests do; it is no
signature.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

ROWS_AT_ONCE = 2**15  # whose numbers stay in a processor's cache
SUM = "sum-"
_KEY = "annotation_id"
_NULL = np.uint64(0x6A09E667F3BCC909)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_LOW_BYTES = np.array([(1 << 8 * count) - 1 for count in range(9)], np.uint64)
_ALL = 2**64

Hashes = NDArray[np.uint64]


def row_sums(table: pa.Table) -> dict[str, str]:
    """Column name → `sum-` and 16 hex digits: the sum over all rows, in any order, of what each is there.

    Columns of kinds that no table of ours has (maps, unions, …) are left out.

    Args:
        table: any columns, and annotation_id.
    """
    totals: dict[str, int] = {}
    # One chunk of each column at once, so that where chunks end does not matter.
    for batch in table.to_batches(max_chunksize=ROWS_AT_ONCE):
        key = _hashes(batch.column(_KEY))
        assert key is not None
        key *= _ODD
        nowhere: int | None = None  # of columns that hold nothing here, which many do
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            if len(column) and column.null_count == len(column):
                if nowhere is None:
                    nowhere = _sum(key, np.full(len(key), _NULL))
                found = nowhere
            else:
                values = _hashes(column)
                if values is None:
                    continue
                found = _sum(key, values)
            totals[name] = (totals.get(name, 0) + found) % _ALL
    if not len(table):
        totals = dict.fromkeys(table.column_names, 0)
    return {name: _written(total) for name, total in totals.items()}


def sums_after(
    before: Mapping[str, str], less: Mapping[str, str], more: Mapping[str, str]
) -> dict[str, str]:
    """The sums once rows with the sums `less` were replaced by rows with the sums `more`.

    A column that `before` lacks is left out.
    """
    return {
        name: _written(_number(total) - _number(less[name]) + _number(more[name]))
        for name, total in before.items()
        if name in less and name in more
    }


def are_sums(digests: Mapping[str, str]) -> bool:
    """Are these (column name → digest) of `row_sums`?"""
    return bool(digests) and all(digest.startswith(SUM) for digest in digests.values())


def other_sums(expected: Mapping[str, str], table: pa.Table) -> list[str]:
    """Columns of a table whose sums are not those that `expected` has."""
    found = row_sums(table)
    return [name for name, total in found.items() if expected.get(name, total) != total]


def _written(total: int) -> str:
    return f"{SUM}{total % _ALL:016x}"


def _number(total: str) -> int:
    return int(total.removeprefix(SUM), 16)


def _sum(key: Hashes, values: Hashes) -> int:
    return int(np.add.reduce(_mixed(key + values)))


def _mixed(numbers: Hashes) -> Hashes:
    """Each bit of the result hangs on all bits; in place (the end of splitmix64)."""
    numbers ^= numbers >> np.uint64(30)
    numbers *= _FIRST
    numbers ^= numbers >> np.uint64(27)
    numbers *= _SECOND
    numbers ^= numbers >> np.uint64(31)
    return numbers


def _hashes(array: pa.Array) -> Hashes | None:
    """(n,) numbers that follow from the values alone; None: of a kind that is not known here."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        return _hashes(array.storage)
    if pa.types.is_dictionary(kind):
        return _hashes(array.cast(kind.value_type))
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        found = _of_bytes(array, np.int32)
    elif pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        found = _of_bytes(array, np.int64)
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        inner = _hashes(array.flatten())  # without what lies below nulls
        if inner is None:
            return None
        counts = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
        lengths = counts.to_numpy(zero_copy_only=False)
        starts = np.cumsum(lengths) - lengths
        found = _of_sequences(lengths, lengths, lambda rows, k: inner[starts[rows] + k])
    else:
        words = _words(array)
        if words is None:
            return None
        found = _mixed(words + _ODD)
    if array.null_count:
        found[array.is_null().to_numpy(zero_copy_only=False)] = _NULL
    return found


def _words(array: pa.Array) -> Hashes | None:
    """Values of a fixed width as the numbers that their bits are."""
    kind = array.type
    if pa.types.is_temporal(kind):
        array = array.view(pa.int64() if kind.bit_width == 64 else pa.int32())
    elif not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return None
    filled = array.fill_null(False if pa.types.is_boolean(kind) else 0)
    values = np.ascontiguousarray(filled.to_numpy(zero_copy_only=False))
    return values.view(f"u{values.dtype.itemsize}").astype(np.uint64)


def _of_bytes(array: pa.Array, offset: type[np.int32] | type[np.int64]) -> Hashes:
    filled = array.fill_null("" if "string" in str(array.type) else b"")
    _, ends, data = filled.buffers()
    if not len(filled) or ends is None:
        return np.empty(0, np.uint64)
    places = np.frombuffer(ends, offset)[filled.offset : filled.offset + len(filled) + 1]
    first, last = int(places[0]), int(places[-1])
    text = np.zeros(last - first + 8, np.uint8)  # the last word ends behind the text
    if data is not None:
        text[:-8] = np.frombuffer(data, np.uint8)[first:last]
    starts = places[:-1].astype(np.int64) - first
    lengths = np.diff(places).astype(np.int64)
    every = np.lib.stride_tricks.sliding_window_view(text, 8)

    def word(rows: Any, k: int) -> Hashes:
        found: Hashes = every[starts[rows] + 8 * k].view("<u8")[:, 0]
        found &= _LOW_BYTES[np.minimum(lengths[rows] - 8 * k, 8)]
        return found

    return _of_sequences(lengths, -(-lengths // 8), word)


def _of_sequences(
    lengths: NDArray[np.int64], words: NDArray[np.int64], word: Callable[[Any, int], Hashes]
) -> Hashes:
    """Of rows of several words: `word` gives the k-th of some rows, all of which have one."""
    found = lengths.astype(np.uint64) * _ODD
    for k in range(int(words.max(initial=0))):
        longer = words > k
        rows: Any = slice(None) if longer.all() else np.flatnonzero(longer)
        own = found[rows] ^ word(rows, k)
        own *= _FIRST
        own ^= own >> np.uint64(32)
        found[rows] = own
    return _mixed(found)
