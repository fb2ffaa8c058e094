"""Embeddings ready to be clustered, one group a species: from an output folder, or anybody's file."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.common import outputs
from reid import embeddings, schema, store
from reid.errors import InputError
from reid.manifest import known_identity


@dataclass(frozen=True)
class Group:
    """The embedded annotations of one species, in the order of the annotations table."""

    species: str
    rows: pa.Table  # schema.ANNOTATIONS
    vectors: np.ndarray  # (n, d) float32, unit rows
    content_hashes: np.ndarray | None  # (n,) str; None where the files are not known
    folder: str  # where the embeddings come from

    @property
    def identities(self) -> np.ndarray:
        """(n,) known identities, None where unknown."""
        return np.asarray(self.rows["identity"].to_pylist(), dtype=object)


def read_groups(out: str) -> list[Group]:
    """The species of an output folder, with their embeddings.

    Raises:
        InputError: nothing was embedded here, or nothing could be.
    """
    annotations = outputs.read_stage(out, outputs.ANNOTATIONS, "embed")
    folders = outputs.read_summary(out).get("embed", {}).get("folders", {})
    groups = []
    for species, folder in sorted(folders.items()):
        rows = annotations.filter(pc.equal(annotations["species"], species))
        stored = embeddings.read_embeddings(folder, rows["annotation_id"].combine_chunks())
        if len(stored.found):
            here = rows.take(pa.array(stored.found))
            keys = np.asarray(here["source_key"].to_pylist(), dtype=object)
            if (keys != stored.source_keys).any():
                raise InputError(
                    f"{out}: {int((keys != stored.source_keys).sum())} embeddings of {species} were replaced "
                    "by a run over other pictures of the same names; run `reid embed` again, and give "
                    "collections that share a store one --root"
                )
            groups.append(Group(species, here, stored.vectors, stored.content_hashes, folder))
    if not groups:
        raise InputError(
            f"{out}: no embeddings to cluster; run `reid embed` first, and see {outputs.FAILURES}"
        )
    return groups


def read_embedding_file(path: str, species: str | None = None) -> list[Group]:
    """Embeddings made here or anywhere else.

    Args:
        path: `.npy` with an (n, d) array, or `.parquet` with a column `embedding`, and, where known,
            `annotation_id`, `image_path`, `identity`, `encounter_id`, `species` and `content_hash`.
        species: of rows that name none; "unknown" if not given.

    Raises:
        InputError: the file cannot be read, is empty, has rows of different lengths or repeated ids.
    """
    if not store.exists(path):
        raise InputError(f"--embeddings {path}: there is no such file")
    suffix = path.rpartition(".")[2].lower()
    columns: dict[str, list[str | None]] = {}
    if suffix == "npy":
        vectors = _read_npy(path)
    elif suffix == "parquet":
        vectors, columns = _read_parquet(path)
    else:
        raise InputError(f"--embeddings {path}: unknown ending .{suffix}; known: .npy, .parquet")
    if not len(vectors):
        raise InputError(f"--embeddings {path}: no rows")
    rows = _as_annotations(path, len(vectors), columns, species or "unknown")
    kinds = np.asarray(rows["species"].to_pylist(), dtype=object)
    groups = []
    for kind in sorted(set(kinds)):
        here = np.flatnonzero(kinds == kind)
        hashes = columns.get("content_hash")
        copies = None if hashes is None else np.asarray(hashes, dtype=object)[here]
        groups.append(Group(kind, rows.take(pa.array(here)), vectors[here], copies, path))
    return groups


def _read_npy(path: str) -> np.ndarray:
    try:
        array = np.load(io.BytesIO(store.read_bytes(path)), allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"--embeddings {path}: cannot be read: {error}") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"--embeddings {path}: an array of shape {array.shape} and type {array.dtype}; "
            "expected (images, dimensions) of floats"
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def _read_parquet(path: str) -> tuple[np.ndarray, dict[str, list[str | None]]]:
    try:
        table = pq.read_table(io.BytesIO(store.read_bytes(path)))
    except pa.ArrowException as error:
        raise InputError(f"--embeddings {path}: cannot be read: {error}") from error
    if "embedding" not in table.column_names:
        raise InputError(
            f"--embeddings {path}: no column `embedding`; found: {', '.join(table.column_names)}"
        )
    column = table["embedding"].combine_chunks()
    if not (pa.types.is_list(column.type) or pa.types.is_fixed_size_list(column.type)
            or pa.types.is_large_list(column.type)):  # fmt: skip
        raise InputError(
            f"--embeddings {path}: `embedding` is {column.type}; expected lists of floats"
        )
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(table) and (len(lengths) > 1 or lengths[0] is None):
        raise InputError(
            f"--embeddings {path}: rows of different lengths ({', '.join(map(str, lengths[:5]))}); "
            "one file holds embeddings of one recipe"
        )
    flat = column.flatten().cast(pa.float32()).to_numpy(zero_copy_only=False)
    vectors = np.ascontiguousarray(flat.reshape(len(table), -1) if len(table) else np.zeros((0, 1)))
    names = (
        "annotation_id",
        "image_path",
        "identity",
        "encounter_id",
        "species",
        "content_hash",
    )
    return vectors, {
        name: table[name].cast(pa.string()).to_pylist()
        for name in names
        if name in table.column_names
    }


def _as_annotations(
    path: str, n: int, columns: dict[str, list[str | None]], species: str
) -> pa.Table:
    ids: Sequence[str | None] = columns.get("annotation_id") or [str(i) for i in range(n)]
    if len(set(ids)) < n or None in ids:
        raise InputError(f"--embeddings {path}: annotation_id is missing or repeated in some rows")
    empty = pa.nulls(n)
    values = {
        "annotation_id": ids,
        "image_path": columns.get("image_path") or ids,
        "root": [""] * n,
        "species": [name or species for name in columns.get("species") or [None] * n],
        "identity": [known_identity(name) for name in columns.get("identity") or [None] * n],
        "encounter_id": columns.get("encounter_id") or [None] * n,
    }
    return pa.Table.from_arrays(
        [
            pa.array(values[one.name], one.type) if one.name in values else empty.cast(one.type)
            for one in schema.ANNOTATIONS
        ],
        schema=schema.ANNOTATIONS,
    )
