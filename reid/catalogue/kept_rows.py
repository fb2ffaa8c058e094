"""The rows of a large catalogue as they lie in memory, so that a night reads them without any work.

    C/kept/<key>.rows     record batches of schema.CATALOGUE, as stored, all species, by rising annotation_id
    C/kept/<key>.json     how long each batch is, and its checksum

C/annotations is what counts; to read it costs a night a second for each million rows that it has nothing to do
with. What is kept follows from it, the key from the sums that were sealed, so whoever finds nothing of that key
reads C/annotations, and the folder may be removed. A night writes the rows as they are after its commit, batch
by batch, where its seal says that these are the ones. Of C/annotations itself a reader of kept rows notices a
file that is gone or has another length; any other damage there shows to all who read it.
"""

import time
import zlib
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reid import schema, store
from reid.catalogue.delta_tables import check_files
from reid.catalogue.seals import Seal, sealed_after
from reid.parquet import damaged
from reid.row_order import by_id
from reid.row_sums import are_sums
from reid.value_digests import value_digest

# Below this many rows they are read in a tenth of a second.
FEWEST_ROWS = 50_000
BATCH_ROWS = 2**16
ABANDONED_NS = 24 * 3600 * 10**9


def read_kept(path: str, annotations: str, table: Any, seal: Seal | None) -> pa.Table | None:
    """All rows of a version of a catalogue, as stored, sorted by annotation_id; None: nobody has kept them.

    They lie in a file, and come into memory as they are looked at.

    Args:
        path: of the catalogue.
        annotations: path of C/annotations.
        table: its DeltaTable.
        seal: of the version; None: it has none.

    Raises:
        DamagedError: they were damaged, or files of C/annotations are gone.
        StorageError: storage cannot be read.
    """
    key = None if store.is_remote(path) else _key(seal)
    if key is None:
        return None
    file = _file(path, key)
    try:
        noted = store.read_sealed(f"{file}.json")["batches"]
        held = store.guarded(file, "read", lambda: pa.memory_map(store.absolute(f"{file}.rows")))
    except FileNotFoundError:
        return None
    whole = held.read_buffer(held.size())
    check_files(annotations, table)
    ends = [0, *accumulate(length for length, _ in noted)]
    batches = []
    for start, (length, check) in zip(ends, noted, strict=False):
        if ends[-1] != len(whole) or zlib.crc32(part := whole.slice(start, length)) != check:
            raise damaged(f"{file}.rows", "not the rows that were kept; remove it, it is made anew")
        batches.append(pa.ipc.read_record_batch(part, schema.CATALOGUE))
    return pa.Table.from_batches(batches, schema.CATALOGUE)


def keep_rows(
    path: str,
    before: Seal | None,
    seal: Seal | None,
    rows: pa.Table,
    less: pa.Table,
    more: pa.Table,
) -> None:
    """Keep the rows of a version that was just committed, and remove those of versions before.

    Args:
        path: of the catalogue.
        before: seal of the version that the commit was built on.
        seal: of the version.
        rows: schema.CATALOGUE, all rows of the version before, as stored, sorted by annotation_id.
        less: those of them that the commit has replaced.
        more: what it has put there.
    """
    key = None if store.is_remote(path) else _key(seal)
    if key is None or seal is None or len(rows) + len(more) - len(less) < FEWEST_ROWS:
        return
    if before is None and len(rows):
        return
    expected = dict(before.species if before else {})
    for name in pc.unique(more["species"]).to_pylist():
        after = sealed_after(expected, name, less, more)
        if after is None:
            return
        expected[name] = after
    if expected != _plain(seal):
        return  # somebody else has read, and found other rows
    file = _file(path, key)
    noted: list[tuple[int, int]] = []

    def parts() -> Iterator[pa.Buffer]:
        noted.clear()
        for batch in _batches(rows, more.select(schema.CATALOGUE.names).cast(schema.CATALOGUE)):
            part = batch.serialize()
            noted.append((part.size, zlib.crc32(part)))
            yield part

    store.write_parts(f"{file}.rows", parts)
    store.write_sealed(f"{file}.json", {"batches": noted})
    long_ago = time.time_ns() - ABANDONED_NS
    for other, (_, changed) in store.list_states(_folder(path)).items():
        name = other.rpartition("/")[2]
        # What another night writes just now begins with a dot, as does what a kill left.
        if name.rpartition(".")[0] != key and (name[0] != "." or changed < long_ago):
            store.remove(other)


def _batches(rows: pa.Table, more: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows once others have taken the place of those with their ids, or come between them."""
    more = by_id(more)[0]
    ids = rows["annotation_id"]
    new_ids = more["annotation_id"].combine_chunks()
    gone = pc.is_in(ids, value_set=new_ids).to_numpy(zero_copy_only=False)
    texts = new_ids.to_pylist()
    starts = [*range(0, len(rows), BATCH_ROWS)]
    # Strings of Arrow are sorted by their bytes.
    encoded = [one.encode() for one in texts]
    cuts = [bisect_left(encoded, ids[start].as_py().encode()) for start in starts[1:]]
    for start, first, last in zip(starts or [0], [0, *cuts], [*cuts, len(more)], strict=True):
        part = rows.slice(start, BATCH_ROWS)
        if first < last:
            left = part.filter(pa.array(~gone[start : start + BATCH_ROWS]))
            part = by_id(pa.concat_tables([left, more.slice(first, last - first)]))[0]
        yield from part.combine_chunks().to_batches()


def _key(seal: Seal | None) -> str | None:
    """By which rows are known; None: by nothing."""
    if seal is None or not all(are_sums(columns) for _, columns in seal.species.values()):
        return None
    if any({*columns} != {*schema.CATALOGUE.names} for _, columns in seal.species.values()):
        return None
    return value_digest([str(schema.CATALOGUE), sorted(_plain(seal).items())])


def _plain(seal: Seal) -> dict[str, tuple[int, Mapping[str, str]]]:
    return {name: (rows, dict(columns)) for name, (rows, columns) in seal.species.items()}


def _folder(path: str) -> str:
    return store.join(path, "kept")


def _file(path: str, key: str) -> str:
    return store.join(_folder(path), key)
