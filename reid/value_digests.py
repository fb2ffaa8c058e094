"""Digests of what a table holds, column by column: what was written is what is read, or it shows.

They are made of the values, not of the bytes of a file, so that chunks, slices and encodings do not
matter, and so that a reader of some columns can check these alone. A digest finds damage and
mix-ups; it is no signature against somebody who means harm.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

CODED_AT_ONCE = 2**18
RANKED = "ranked-"
DIGEST_BYTES = 8  # a column's; two tables in 10^9 would agree by chance once in 10^10 times


def table_digests(table: pa.Table) -> dict[str, str]:
    """Column name → 16 hex digits of the column's values, in their order.

    Columns of kinds that no table of ours has (maps, unions, …) are left out. A column of strings with a
    dictionary has another digest than without: of its strings, each once and sorted, and of numbers.
    """
    return {
        name: digest
        for name, column in zip(table.column_names, table.columns, strict=True)
        if (digest := _column_digest(column)) is not None
    }


def text_digest(text: bytes | str) -> str:
    """16 hex digits of a text."""
    raw = text.encode() if isinstance(text, str) else text
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES).hexdigest()


def value_digest(value: Any) -> str:
    """16 hex digits of a JSON value; the order of keys does not matter."""
    return text_digest(json.dumps(value, sort_keys=True, ensure_ascii=False))


def whole_digest(table: pa.Table) -> str:
    """16 hex digits of a table: of its rows' number, column names and values."""
    return value_digest([len(table), sorted(table_digests(table).items())])


def differing(expected: Mapping[str, str], table: pa.Table) -> list[str]:
    """Columns of a table whose values are not those that `expected` has a digest of."""
    wrong = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        ranked = expected.get(name, "").startswith(RANKED)
        if ranked and not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        digest = _column_digest(column, by_value=not ranked)
        if digest is not None and expected.get(name, digest) != digest:
            wrong.append(name)
    return wrong


def _column_digest(column: pa.ChunkedArray, *, by_value: bool = False) -> str | None:
    """A digest; of strings with a dictionary, unless `by_value`, of the numbers that stand for them."""
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    digest.update(len(column).to_bytes(8, "little"))
    coded = pa.types.is_dictionary(column.type) and pa.types.is_string(column.type.value_type)
    if coded and len(column) and not column.null_count:
        if not by_value:
            return RANKED + _ranked_digest(column)
        _add_coded_text(digest, column)
        return digest.hexdigest()
    # One array, so that where the chunks end does not matter.
    whole = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    try:
        _add(digest, whole)
    except NotImplementedError:
        return None
    return digest.hexdigest()


def _add(digest: Any, array: pa.Array) -> None:
    """Feed an array's values to a digest, whatever lies in memory below its nulls."""
    kind = array.type
    if isinstance(array, pa.ExtensionArray):
        _add(digest, array.storage)
        return
    if pa.types.is_dictionary(kind):
        _add(digest, array.cast(kind.value_type))
        return
    if len(array) and array.null_count == len(array):
        digest.update(b"all null")
        return
    if array.null_count:
        digest.update(np.packbits(array.is_null().to_numpy(zero_copy_only=False)).tobytes())
    if pa.types.is_string(kind) or pa.types.is_binary(kind):
        _add_text(digest, array, np.int32)
    elif pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        _add_text(digest, array, np.int64)
    elif (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    ):
        lengths = pc.fill_null(pc.list_value_length(array), 0).cast(pa.int64())
        digest.update(lengths.to_numpy(zero_copy_only=False).tobytes())
        _add(digest, array.flatten())  # without what lies below nulls
    elif pa.types.is_temporal(kind):
        _add(digest, array.view(pa.int64() if kind.bit_width == 64 else pa.int32()))
    elif pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_floating(kind):
        filled = array.fill_null(False if pa.types.is_boolean(kind) else 0)
        digest.update(np.ascontiguousarray(filled.to_numpy(zero_copy_only=False)).data)
    else:
        raise NotImplementedError(str(kind))


def _add_text(digest: Any, array: pa.Array, offset: type[np.int32] | type[np.int64]) -> None:
    filled = array.fill_null("" if "string" in str(array.type) else b"")
    _, ends, data = filled.buffers()
    if not len(filled) or ends is None:
        return
    places = np.frombuffer(ends, offset)[filled.offset : filled.offset + len(filled) + 1]
    digest.update(np.diff(places).astype(np.int64).tobytes())
    if data is not None:
        digest.update(memoryview(data)[int(places[0]) : int(places[-1])])


def _ranked_digest(column: pa.ChunkedArray) -> str:
    """Of the strings that occur, sorted, and of the place of each row's among them."""
    column = column.unify_dictionaries()
    words = column.chunk(0).dictionary
    chunks = [chunk.indices.to_numpy() for chunk in column.chunks]
    used = np.zeros(len(words), np.bool_)
    for indices in chunks:
        used[indices] = True
    places = np.flatnonzero(used)
    order = pc.sort_indices(words.take(pa.array(places))).to_numpy()
    rank = np.empty(len(words), np.int32)
    rank[places[order]] = np.arange(len(places), dtype=np.int32)
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    digest.update(len(column).to_bytes(8, "little"))
    _add(digest, words.take(pa.array(places[order])))
    for indices in chunks:
        digest.update(rank[indices].data)
    return digest.hexdigest()


def _add_coded_text(digest: Any, column: pa.ChunkedArray) -> None:
    """As of the strings themselves, which are never in memory all at once."""
    for chunk in column.chunks:
        lengths = pc.binary_length(chunk.dictionary).to_numpy()
        digest.update(lengths[chunk.indices.to_numpy()].astype(np.int64).tobytes())
    for chunk in column.chunks:
        for start in range(0, len(chunk), CODED_AT_ONCE):
            text = chunk.dictionary.take(chunk.indices.slice(start, CODED_AT_ONCE))
            _, ends, data = text.buffers()
            if data is not None:
                places = np.frombuffer(ends, np.int32)[text.offset : text.offset + len(text) + 1]
                digest.update(memoryview(data)[int(places[0]) : int(places[-1])])
