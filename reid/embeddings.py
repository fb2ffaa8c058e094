"""The embedding store: Parquet parts in one folder a recipe.

    STORE/<recipe folder>/recipe.json                what made these numbers
    STORE/<recipe folder>/part-<digest>.parquet      schema.embeddings, unit rows
    STORE/<recipe folder>/failed-<digest>.parquet    schema.FAILURES of the latest run
    STORE/<recipe folder>/work-<run>/…               the rows still to do; gone when a run ends

A part is named by the annotations in it, so that a worker that repeats one replaces it.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import schema, store


def part_digest(annotation_ids: Iterable[str]) -> str:
    """Name of a part: 16 hex digits over the annotations that belong to it."""
    digest = hashlib.blake2b(digest_size=8)
    for annotation in annotation_ids:
        digest.update(annotation.encode() + b"\n")
    return digest.hexdigest()


def parts(folder: str, kind: str = "part") -> list[str]:
    """The part files in a recipe's folder; `kind` is `part` or `failed`."""
    return [
        path
        for path in store.list_files(folder)
        if path.rpartition("/")[2].startswith(f"{kind}-") and path.endswith(".parquet")
    ]


def stored_ids(folder: str) -> pa.ChunkedArray:
    """Ids of the annotations that have an embedding in this folder."""
    chunks = [
        chunk
        for table in store.iter_tables(parts(folder), ["annotation_id"])
        for chunk in table["annotation_id"].chunks
    ]
    return pa.chunked_array(chunks, pa.string())


def drop_changed(folder: str, annotations: pa.Table) -> int:
    """Take out the embeddings of annotations whose id now stands for another picture or box.

    Args:
        folder: a recipe's folder.
        annotations: columns annotation_id and source_key, what the ids stand for now.

    Returns:
        Rows taken out. A part is rewritten in one step, so a kill leaves it whole.
    """
    dropped = 0
    ids = annotations["annotation_id"].combine_chunks()
    keys = annotations["source_key"].combine_chunks()
    for path in parts(folder):
        stored = store.read_table(path, ["annotation_id", "source_key"])
        where = pc.index_in(stored["annotation_id"], value_set=ids)
        now = keys.take(where.combine_chunks())
        changed = pc.fill_null(pc.not_equal(stored["source_key"].combine_chunks(), now), False)
        count = pc.sum(changed).as_py() or 0
        if count == len(stored):
            store.remove(path)
        elif count:
            store.write_table(path, store.read_table(path).filter(pc.invert(changed)))
        dropped += count
    return dropped


def read_failures(folder: str) -> pa.Table:
    """All failures recorded by the latest run in this folder."""
    return pa.concat_tables(
        [schema.FAILURES.empty_table(), *store.iter_tables(parts(folder, "failed"))]
    )


@dataclass(frozen=True)
class Embeddings:
    """Embeddings aligned with the annotations that were asked for.

    Attributes:
        vectors: (n, d) float32, unit rows; for row i, of the annotation `found[i]`.
        found: (n,) int64, indices into the ids that were asked for, ascending.
        content_hashes: (n,) of str: equal for exact duplicates.
        source_keys: (n,) of str or None: what the annotation was when it was embedded.
    """

    vectors: np.ndarray
    found: np.ndarray
    content_hashes: np.ndarray
    source_keys: np.ndarray


def read_embeddings(folder: str, annotation_ids: Sequence[str] | pa.Array) -> Embeddings:
    """Read the embeddings of some annotations; those that have none are left out.

    Args:
        folder: a recipe's folder.
        annotation_ids: unique ids.

    Returns:
        Rows in the order of `annotation_ids`. Memory: one copy of the result and one part.
    """
    wanted = pa.array(annotation_ids, pa.string())
    positions: list[np.ndarray] = []
    vectors: list[np.ndarray] = []
    hashes: list[np.ndarray] = []
    keys: list[np.ndarray] = []
    columns = ["annotation_id", "embedding", "content_hash", "source_key"]
    for table in store.iter_tables(parts(folder), columns):
        where = pc.index_in(table["annotation_id"], value_set=wanted)
        table = table.filter(pc.is_valid(where))
        if not len(table):
            continue
        column = table["embedding"].combine_chunks()
        positions.append(where.drop_null().to_numpy())
        vectors.append(column.flatten().to_numpy().reshape(len(table), column.type.list_size))
        hashes.append(np.asarray(table["content_hash"].to_pylist(), dtype=object))
        keys.append(np.asarray(table["source_key"].to_pylist(), dtype=object))
    if not positions:
        none = np.zeros(0, object)
        return Embeddings(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), none, none)
    # A worker that outlived its killed driver may have written a row again: keep the first.
    found, first = np.unique(np.concatenate(positions), return_index=True)
    rows = np.concatenate(vectors)
    del vectors
    # A large store is mostly in order already; gathering would hold it twice.
    in_order = len(first) == len(rows) and bool((np.diff(first) > 0).all())
    return Embeddings(
        vectors=rows if in_order else rows[first],
        found=found.astype(np.int64),
        content_hashes=np.concatenate(hashes)[first],
        source_keys=np.concatenate(keys)[first],
    )
