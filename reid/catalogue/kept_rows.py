"""Rows of a large catalogue as they lie in memory, each by a number that it keeps: a night reads few of them.

    <folder>/rows-<hex>.rows     record batches of schema.CATALOGUE, the first file's in the order of their numbers
    <folder>/rows-<hex>.rows     of a later night: rows that came, or say something else since, and their numbers

To read all rows from C/annotations costs a night a second for each million that it has nothing to do with. Here
they are mapped into memory, and come as they are looked at: whoever looks for an id goes through the column of
ids, and takes the few rows that it was about. A night adds a file with the rows that it has written; when these
have become many, all are written anew. What lies there follows from C/annotations, and is made anew where it is gone.
"""

import mmap
import os
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import schema, store
from reid.parquet import damaged

BATCH_ROWS = 2**16
# Later rows are read in each night, and looked through by each search: of so many files, or of this share of the
# first one's rows, one is made.
MOST_FILES, MOST_LATER = 16, 1 / 50
NUMBER = pa.field("number", pa.uint32(), nullable=False)
_LATER = pa.schema([*schema.CATALOGUE, NUMBER])

Numbers = NDArray[np.int64]
# What a file is called, and of each of its batches length and checksum.
Noted = Sequence[Any]


@dataclass(frozen=True)
class KeptRows:
    """The rows of one species of a catalogue, by number.

    Attributes:
        folder: where they lie.
        first: schema.CATALOGUE, the rows 0 … k − 1, as they were when they were written.
        later: schema.CATALOGUE, rows that came or changed since, each once.
        numbers: (m,) int64, of the later ones, rising.
        files: what they lie in, for `read_rows`.
    """

    folder: str
    first: pa.Table
    later: pa.Table
    numbers: Numbers
    files: tuple[Noted, ...]

    def __len__(self) -> int:
        """How many rows there are."""
        return max(len(self.first), int(self.numbers[-1]) + 1 if len(self.numbers) else 0)

    def take(self, numbers: Numbers) -> pa.Table:
        """schema.CATALOGUE, the rows of these numbers, in their order."""
        order = np.argsort(numbers, kind="stable")
        numbers = numbers[order]
        place, newer = self._among_later(numbers)
        parts, old = [schema.CATALOGUE.empty_table()], numbers[~newer]
        start = 0
        # Batch by batch: Arrow would put all of a column together first.
        for batch in self.first.to_batches():
            low, high = np.searchsorted(old, (start, start + len(batch)))
            if low < high:
                some = batch.take(pa.array(old[low:high] - start))
                parts.append(pa.Table.from_batches([some]))
            start += len(batch)
        parts.append(self.later.take(pa.array(place[newer])))
        back = np.empty(len(order), np.int64)
        back[np.concatenate([order[~newer], order[newer]])] = np.arange(len(order))
        return pa.concat_tables(parts).combine_chunks().take(pa.array(back))

    def column(self, name: str) -> pa.ChunkedArray:
        """One column of all rows, in the order of their numbers."""
        known, now = self.first[name], self.later[name]
        changed = int(np.searchsorted(self.numbers, len(known)))
        if changed and name != "annotation_id":  # by which a row is known for ever
            mask = np.zeros(len(known), np.bool_)
            mask[self.numbers[:changed]] = True
            said = now[:changed].combine_chunks()
            known = pc.replace_with_mask(known.combine_chunks(), pa.array(mask), said)
            known = pa.chunked_array([known])
        return pa.chunked_array([*known.chunks, *now[changed:].chunks], known.type)

    def distinct(self, name: str) -> pa.Array:
        """The values that a column has, and has had since the first rows were written, each once."""
        both = [*self.first[name].chunks, *self.later[name].chunks]
        return pc.unique(pa.chunked_array(both, self.first[name].type))

    def find(self, name: str, values: pa.Array | pa.ChunkedArray) -> Numbers:
        """The numbers, rising, of rows that have one of these values (no nulls) in a column."""
        if not len(values):
            return np.empty(0, np.int64)
        known, now = (places_of(rows[name], values) for rows in (self.first, self.later))
        _, newer = self._among_later(known)
        found: Numbers = np.sort(np.concatenate([known[~newer], self.numbers[now]]))
        return found

    def ids_among(self, ids: pa.Array) -> pa.ChunkedArray:
        """Which of some ids rows have."""
        return self.take(self.find("annotation_id", ids))["annotation_id"]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """All rows as they are, in the order of their numbers."""
        start = 0
        for batch in self.first.to_batches():
            low, high = np.searchsorted(self.numbers, (start, start + len(batch)))
            if low < high:
                order = np.arange(len(batch))
                order[self.numbers[low:high] - start] = len(batch) + np.arange(high - low)
                both = pa.concat_tables([pa.Table.from_batches([batch]), self.later[low:high]])
                batch = both.combine_chunks().take(pa.array(order)).combine_chunks().to_batches()[0]
            yield batch
            start += len(batch)
        yield from self.later[int(np.searchsorted(self.numbers, start)) :].to_batches()

    def _among_later(self, numbers: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
        """Where each would be among the later ones, and whether it is there."""
        place = np.searchsorted(self.numbers, numbers)
        there = np.append(self.numbers, -1)[place] == numbers
        return place, there


def write_rows(folder: str, rows: pa.Table) -> tuple[Noted, ...]:
    """Write all rows (schema.CATALOGUE) in the order of their numbers; `KeptRows.files`."""
    return (_write(folder, lambda: _cut(rows)),)


def add_rows(kept: KeptRows, numbers: Numbers, rows: pa.Table) -> tuple[Noted, ...]:
    """Write rows (schema.CATALOGUE) that came, or take the place of those with their numbers; `KeptRows.files`."""
    if not len(rows):
        return kept.files
    order = np.argsort(numbers)
    numbered = _numbered(rows.take(pa.array(order)), numbers[order])
    few = len(kept.later) + len(rows) <= MOST_LATER * len(kept.first)
    if few and len(kept.files) < MOST_FILES:
        return (*kept.files, _write(kept.folder, lambda: _cut(numbered)))
    later = [_numbered(kept.later, kept.numbers), numbered]
    grown = _with_later(kept.folder, kept.first, later, ())
    return (_write(kept.folder, grown.batches),)


def read_rows(folder: str, files: Sequence[Noted]) -> KeptRows:
    """The rows that files hold. On a local disk they come into memory as they are looked at.

    Raises:
        DamagedError: they were damaged.
        FileNotFoundError: they are gone.
        StorageError: storage cannot be read.
    """
    first = _read(folder, files[0], schema.CATALOGUE)
    later = [_read(folder, one, _LATER) for one in files[1:]]
    return _with_later(folder, first, later, tuple(files))


def places_of(column: pa.ChunkedArray, values: pa.Array | pa.ChunkedArray) -> Numbers:
    """Where one of some values stands in a column, rising."""
    found: Numbers = np.flatnonzero(
        pc.is_in(column, value_set=values).to_numpy(zero_copy_only=False)
    )
    return found


def names_of_files(files: Iterable[Noted]) -> set[str]:
    """What the files of some rows are called."""
    return {name for name, _ in files}


def write_batches(
    folder: str, name: str, batches: Callable[[], Iterable[pa.RecordBatch]]
) -> list[tuple[int, int, int]]:
    """Write record batches into a file; of each its length, its checksum, and how long it is once it is unpacked.

    Away from here, where they cannot be mapped into memory, they are packed.
    """
    away = store.is_remote(folder)
    noted: list[tuple[int, int, int]] = []

    def parts() -> Iterator[pa.Buffer]:
        noted.clear()
        for batch in batches():
            plain = batch.serialize()
            part = pa.compress(plain, "zstd") if away else plain
            noted.append((part.size, zlib.crc32(part), plain.size))
            yield part

    file = store.join(folder, name)
    if away:
        store.write_bytes(file, b"".join(parts()))
    else:
        store.write_parts(file, parts)
    return noted


def read_batches(
    folder: str, name: str, noted: Iterable[Sequence[int]], kind: pa.Schema
) -> pa.Table:
    """What `write_batches` has written; mapped into memory, on a local disk.

    Raises:
        DamagedError: it was damaged.
        FileNotFoundError: it is gone.
        StorageError: storage cannot be read.
    """
    file = store.join(folder, name)
    whole, seen = store.guarded(file, "read", lambda: _opened(file))
    noted = [*noted]
    ends = [0, *accumulate(length for length, _, _ in noted)]
    batches = []
    for start, (length, check, plain) in zip(ends, noted, strict=False):
        if ends[-1] != len(whole) or zlib.crc32(part := whole.slice(start, length)) != check:
            raise damaged(file, "not what was kept; remove the folder, which is made anew")
        seen(start, length)
        if store.is_remote(file):
            part = pa.decompress(part, plain, "zstd")
        batches.append(pa.ipc.read_record_batch(part, kind))
    return pa.Table.from_batches(batches, kind)


def _opened(file: str) -> tuple[pa.Buffer, Callable[[int, int], None]]:
    """What a file holds, and what to do with a part of it that was looked at and is not wanted yet."""
    if store.is_remote(file):
        return pa.py_buffer(store.read_bytes(file)), lambda *_: None
    with Path(store.absolute(file)).open("rb") as stream:
        if not os.fstat(stream.fileno()).st_size:  # what cannot be mapped
            return pa.py_buffer(b""), lambda *_: None
        held = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)

    def forget(start: int, length: int) -> None:
        # It stays in the system's cache, and counts as this process's memory once it is looked at again.
        first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
        if hasattr(held, "madvise") and start + length > first:
            held.madvise(mmap.MADV_DONTNEED, first, start + length - first)

    return pa.py_buffer(held), forget


def _write(folder: str, batches: Callable[[], Iterable[pa.RecordBatch]]) -> Noted:
    name = f"rows-{uuid.uuid4().hex[:12]}.rows"
    return name, write_batches(folder, name, batches)


def _read(folder: str, noted: Noted, kind: pa.Schema) -> pa.Table:
    name, batches = noted
    return read_batches(folder, name, batches, kind)


def _cut(rows: pa.Table) -> Iterator[pa.RecordBatch]:
    for start in range(0, len(rows), BATCH_ROWS):
        yield from rows.slice(start, BATCH_ROWS).combine_chunks().to_batches()


def _numbered(rows: pa.Table, numbers: Numbers) -> pa.Table:
    return rows.append_column(NUMBER, pa.array(numbers.astype(np.uint32)))


def _with_later(
    folder: str, first: pa.Table, later: Sequence[pa.Table], files: tuple[Noted, ...]
) -> KeptRows:
    rows = pa.concat_tables([_LATER.empty_table(), *later])
    numbers = rows[NUMBER.name].to_numpy().astype(np.int64)
    # Of what was written more than once the latest holds.
    numbers, place = np.unique(numbers[::-1], return_index=True)
    rows = rows.drop_columns([NUMBER.name]).take(pa.array(len(rows) - 1 - place))
    return KeptRows(folder, first, rows, numbers, files)
