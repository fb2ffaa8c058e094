"""The embedding store: Parquet parts in one folder a recipe.

    STORE/<recipe folder>/recipe.json                what made these numbers
    STORE/<recipe folder>/part-<digest>.parquet      schema.embeddings, unit rows; or schema.patch_tokens,
                                                     in a folder of their own
    STORE/<recipe folder>/work-<run>/…               one run's own: the rows still to do, its
                                                     failures (schema.FAILURES); gone when it ends

A part is named by the annotations in its shard, so that a worker that repeats one replaces it, and so
does another run with the same to do. Runs with different work may overlap, and workers may outlive a
killed run: then an annotation lies in two parts, with the same numbers but for rounding. Everything
here takes the first, in the order of the parts' names; who reads the parts with other tools has to take
one too (DuckDB: `select distinct on (annotation_id) * … order by filename`).
"""

import hashlib
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import schema, store
from reid.errors import DamagedError

_FIX = "restore the file, or remove it and run `reid embed` again, which embeds what is missing"
VALUES = {"embedding": pa.float32(), "tokens": pa.float16()}  # columns that hold a row of numbers
READ_AT_ONCE = 16  # parts, where only a few columns are read: on object storage each costs a wait


def part_digest(annotation_ids: Iterable[str]) -> str:
    """Name of a part: 16 hex digits over the annotations that belong to it."""
    digest = hashlib.blake2b(digest_size=8)
    for annotation in annotation_ids:
        digest.update(annotation.encode() + b"\n")
    return digest.hexdigest()


def part_path(folder: str, digest: str) -> str:
    """Where the part of this name lies in a recipe's folder."""
    return store.join(folder, f"part-{digest}.parquet")


def write_part(path: str, table: pa.Table) -> None:
    """Write a part (schema.embeddings or schema.patch_tokens), with a note of the recipe in whose folder it lies."""
    store.write_table(path, table, about=_about(path))


def read_part(path: str) -> pa.Table | None:
    """A part as it was written; None where another run has just taken it out.

    Raises:
        DamagedError: it was damaged, or lies in another recipe's folder.
    """
    return _read(path)


def _about(path: str) -> dict[str, str]:
    return {"recipe": path.rpartition("/")[0].rpartition("/")[2]}


def parts(folder: str, kind: str = "part") -> list[str]:
    """The part files in a recipe's folder, or with kind `failed` the failures in a run's."""
    return [path for path in store.list_files(folder) if _is_part(path, kind)]


def part_states(folder: str) -> dict[str, tuple[int, int]]:
    """File name of each part in a recipe's folder → its size in bytes and time of change (ns), by name."""
    states = {path: state for path, state in store.list_states(folder).items() if _is_part(path)}
    return {path.rpartition("/")[2]: states[path] for path in sorted(states)}


def _is_part(path: str, kind: str = "part") -> bool:
    return path.rpartition("/")[2].startswith(f"{kind}-") and path.endswith(".parquet")


def stored_ids(folder: str, *, but: Container[str] = ()) -> pa.ChunkedArray:
    """Ids of the annotations that have an embedding in this folder.

    Args:
        folder: a recipe's folder.
        but: parts that need not be read, as their ids are known.
    """
    paths = [path for path in parts(folder) if path not in but]
    chunks = [
        chunk
        for _, table in read_ahead(paths, ["annotation_id"])
        for chunk in table["annotation_id"].chunks
    ]
    return pa.chunked_array(chunks, pa.string())


def drop_changed(folder: str, annotations: pa.Table) -> tuple[int, dict[str, pa.ChunkedArray]]:
    """Take out the embeddings of annotations whose id now stands for another picture or box.

    Args:
        folder: a recipe's folder.
        annotations: columns annotation_id and source_key, what the ids stand for now.

    Returns:
        Rows taken out, and the ids that stay, by part. A part is rewritten in one step, so a kill
        leaves it whole.
    """
    ids = annotations["annotation_id"].combine_chunks()
    keys = annotations["source_key"].combine_chunks()

    def is_changed(stored: pa.Table) -> pa.Array:
        where = pc.index_in(stored["annotation_id"].combine_chunks(), value_set=ids)
        changed = pc.not_equal(stored["source_key"].combine_chunks(), keys.take(where))
        return pc.fill_null(changed, False)

    dropped = 0
    stay: dict[str, pa.ChunkedArray] = {}
    for path, stored in read_ahead(parts(folder), ["annotation_id", "source_key"]):
        if pc.any(is_changed(stored)).as_py():
            whole = _read(path)
            if whole is None:
                continue
            stored = whole.filter(pc.invert(is_changed(whole)))
            dropped += len(whole) - len(stored)
            if not len(stored):
                store.remove(path)
                continue
            write_part(path, stored)
        stay[path] = stored["annotation_id"]
    return dropped, stay


def _read(path: str, columns: Sequence[str] | None = None) -> pa.Table | None:
    """A part, or None where another run has just taken it out."""
    try:
        return store.read_table(path, columns, about=_about(path))
    except FileNotFoundError:
        return None


def read_ahead(paths: Sequence[str], columns: Sequence[str]) -> Iterator[tuple[str, pa.Table]]:
    """Small columns of many parts, read beside each other and held until their turn comes."""
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        tables = pool.map(lambda path: _read(path, columns), paths)
        for path, table in zip(paths, tables, strict=True):
            if table is not None:
                yield path, table


def check_accounted(
    annotation_ids: pa.Array | pa.ChunkedArray,
    found: np.ndarray,
    failed_ids: pa.Array | pa.ChunkedArray,
    folder: str,
) -> None:
    """Refuse to go on with fewer rows than there should be: stored + failed = annotations.

    Args:
        annotation_ids: (n,) what was to be embedded.
        found: `Embeddings.found` of these ids.
        failed_ids: those that could not be embedded, and others.
        folder: for the message.

    Raises:
        DamagedError: annotations have neither an embedding nor a failure.
    """
    lacks = np.ones(len(annotation_ids), np.bool_)
    lacks[found] = False
    missing = pa.array(annotation_ids.filter(pa.array(lacks)).to_pylist(), pa.string())
    failed = pa.array(failed_ids.to_pylist(), pa.string())
    missing = missing.filter(pc.invert(pc.is_in(missing, value_set=failed)))
    if len(missing):
        raise DamagedError(
            f"{folder}: {len(missing):,} of {len(annotation_ids):,} annotations have neither an "
            f"embedding here nor a row in the failures (for example {missing[0]}): files are gone, "
            "or the embedding stage was stopped. Run `reid embed` (or `reid run`) again: it embeds "
            "what is missing"
        )


def read_times(folder: str) -> pa.Table:
    """When the images in a recipe's folder were taken: annotation_id, timestamp, utc_offset_minutes.

    Parts that were written before times were kept say nothing of theirs.
    """
    names = ["annotation_id", "timestamp", "utc_offset_minutes"]
    wanted = pa.schema([schema.ANNOTATIONS.field(name) for name in names])
    found = [wanted.empty_table()]
    for path in parts(folder):
        try:
            if set(names) <= set(store.read_schema(path).names):
                found.append(store.read_table(path, names).cast(wanted))
        except FileNotFoundError:  # another run has just taken it out
            continue
    return pa.concat_tables(found)


def read_failures(work: str) -> pa.Table:
    """All failures recorded in a run's work folder."""
    return pa.concat_tables(
        [schema.FAILURES.empty_table(), *store.iter_tables(parts(work, "failed"))]
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


@dataclass(frozen=True)
class PartRows:
    """What one part holds of the annotations that were asked for.

    Attributes:
        places: (k,) int64, indices into the ids that were asked for.
        vectors: (k, d) float32, unit rows; or the numbers that were asked for.
        table: k rows, the columns that were asked for.
    """

    places: np.ndarray
    vectors: np.ndarray
    table: pa.Table


def read_vectors_of(path: str) -> np.ndarray | None:
    """All vectors of a part: (k, d) float32, unit rows; None where another run has just taken it out.

    Raises:
        DamagedError: it was damaged, or belongs to another recipe.
    """
    table = _read(path, ["embedding"])
    return None if table is None else _numbers(path, table, "embedding")


def _numbers(path: str, table: pa.Table, values: str) -> np.ndarray:
    column = table[values].combine_chunks()
    if (
        not pa.types.is_fixed_size_list(column.type)
        or column.type.value_type != VALUES[values]
        or column.null_count
    ):
        raise DamagedError(f"{path}: `{values}` is {column.type}, or has nulls; {_FIX}")
    return np.asarray(column.flatten().to_numpy().reshape(len(table), column.type.list_size))


def iter_embeddings(
    folder: str,
    annotation_ids: Sequence[str] | pa.Array,
    columns: Sequence[str] = (),
    *,
    values: str = "embedding",
) -> Iterator[PartRows]:
    """Read the embeddings of some annotations part by part, each annotation once; those without are left out.

    Args:
        folder: a recipe's folder.
        annotation_ids: unique ids.
        columns: others of schema.embeddings.
        values: `embedding`, or `tokens` (float16) in a folder of patch tokens.

    Raises:
        DamagedError: a part was damaged, or belongs to another recipe.
    """
    wanted = pa.array(annotation_ids, pa.string())
    # Another run, or a worker that outlived its own, may have written a row again: the first is kept.
    seen = np.zeros(len(wanted), np.bool_)
    found = [
        (path, part["annotation_id"]) for path, part in read_ahead(parts(folder), ["annotation_id"])
    ]
    everywhere = _places(
        pa.chunked_array([c for _, ids in found for c in ids.chunks], pa.string()), wanted
    )
    cuts = np.cumsum([len(ids) for _, ids in found], dtype=np.int64)[:-1]
    width: int | None = None
    for (path, ids), where in zip(found, np.split(everywhere, cuts), strict=False):
        if not (where >= 0).any():
            continue
        table = _read(path, ["annotation_id", values, *columns])
        if table is None:
            continue
        if not table["annotation_id"].equals(ids):  # written anew meanwhile
            where = _places(table["annotation_id"], wanted)
        new = np.flatnonzero(where >= 0)
        new = new[~seen[where[new]]]
        new = np.sort(new[np.unique(where[new], return_index=True)[1]])
        vectors = _numbers(path, table, values)
        if width not in (None, vectors.shape[1]):
            raise DamagedError(
                f"{path}: embeddings of {vectors.shape[1]} values, beside others of "
                f"{width}: parts of two recipes. {_FIX}"
            )
        width = vectors.shape[1]
        if not len(new):
            continue
        rows = where[new].astype(np.int64)
        seen[rows] = True
        whole = len(new) == len(table)
        yield PartRows(
            rows,
            vectors if whole else vectors[new],
            table.select(columns) if whole else table.select(columns).take(pa.array(new)),
        )


def read_embeddings(folder: str, annotation_ids: Sequence[str] | pa.Array) -> Embeddings:
    """Read the embeddings of some annotations; those that have none are left out.

    Args:
        folder: a recipe's folder.
        annotation_ids: unique ids.

    Returns:
        Rows in the order of `annotation_ids`. Memory: one copy of the result and one part.

    Raises:
        DamagedError: a part was damaged, or belongs to another recipe.
    """
    n = len(annotation_ids)
    vectors: np.ndarray | None = None
    seen = np.zeros(n, np.bool_)
    texts = {name: np.full(n, None, object) for name in ("content_hash", "source_key")}
    for part in iter_embeddings(folder, annotation_ids, list(texts)):
        if vectors is None:
            # Filled part by part: they exist once, beside one part.
            vectors = np.empty((n, part.vectors.shape[1]), np.float32)
        vectors[part.places] = part.vectors
        for name, values in texts.items():
            values[part.places] = part.table[name].to_pylist()
        seen[part.places] = True
    found = np.flatnonzero(seen)
    if vectors is None:
        vectors = np.zeros((0, 0), np.float32)
    elif len(found) < n:
        vectors = vectors[found]
    return Embeddings(vectors, found, texts["content_hash"][found], texts["source_key"][found])


def _places(ids: pa.ChunkedArray, wanted: pa.Array) -> np.ndarray:
    return np.asarray(pc.fill_null(pc.index_in(ids, value_set=wanted), -1))
