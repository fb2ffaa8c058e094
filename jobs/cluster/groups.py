"""Embeddings ready to be clustered, one group a species: from an output folder, or anybody's file."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common import outputs
from jobs.common.console import say
from reid import embeddings, schema, store
from reid.errors import DamagedError, InputError
from reid.foreign_vectors import read_foreign
from reid.sources.words import Words, clean_labels, word_notes


@dataclass(frozen=True)
class Group:
    """The embedded annotations of one species, in the order of the annotations table."""

    species: str
    rows: pa.Table  # schema.ANNOTATIONS
    vectors: np.ndarray  # (n, d) float32, unit rows
    content_hashes: np.ndarray | None  # (n,) str; None where the files are not known
    folder: str  # where the embeddings come from

    @cached_property
    def identities(self) -> np.ndarray:
        """(n,) known identities, None where unknown."""
        return np.asarray(self.rows["identity"].to_pylist(), dtype=object)


def read_groups(out: str) -> list[Group]:
    """The species of an output folder, with their embeddings.

    Raises:
        InputError: nothing was embedded here, or nothing could be.
        DamagedError: fewer embeddings are there than the embedding stage made, or other ones.
    """
    annotations = schema.conform(
        outputs.read_stage(out, outputs.ANNOTATIONS, "embed"), schema.ANNOTATIONS
    )
    folders = outputs.read_summary(out).get("embed", {}).get("folders", {})
    failed = outputs.read_failures(out)["annotation_id"]
    unknown = sorted({*pc.unique(annotations["species"]).to_pylist()} - {*folders})
    if folders and unknown:
        raise DamagedError(
            f"{out}: {', '.join(unknown[:5])} is in {outputs.ANNOTATIONS} and was never embedded; run "
            "`reid embed` again"
        )
    groups = []
    # Species of one recipe lie in one folder, which is read once for all of them.
    for folder in sorted(set(folders.values())):
        there = sorted(species for species, place in folders.items() if place == folder)
        parts = [annotations.filter(pc.equal(annotations["species"], name)) for name in there]
        ids = pa.concat_tables(parts)["annotation_id"].combine_chunks()
        stored = embeddings.read_embeddings(folder, ids)
        embeddings.check_accounted(ids, stored.found, failed, folder)
        ends = np.cumsum([len(rows) for rows in parts])
        for species, rows, end in zip(there, parts, ends, strict=True):
            start = end - len(rows)
            own = slice(*np.searchsorted(stored.found, [start, end]))
            if own.start < own.stop:
                here = rows.take(pa.array(stored.found[own] - start))
                _check_same_pictures(out, species, here, stored.source_keys[own])
                hashes = stored.content_hashes[own]
                groups.append(Group(species, here, stored.vectors[own], hashes, folder))
    groups.sort(key=lambda group: group.species)
    if not groups:
        raise InputError(
            f"{out}: no embeddings to cluster; run `reid embed` first, and see {outputs.FAILURES}"
        )
    return groups


def _check_same_pictures(out: str, species: str, rows: pa.Table, stored: np.ndarray) -> None:
    """Refuse embeddings of other pictures than the annotations'."""
    keys = np.asarray(rows["source_key"].to_pylist(), dtype=object)
    others = int((keys != stored).sum())
    if others:
        raise InputError(
            f"{out}: {others} embeddings of {species} were replaced by a run over other pictures of the "
            "same names; run `reid embed` again, and give collections that share a store one --root"
        )


def read_clusters(out: str, annotation_ids: Iterable[str]) -> pa.Table:
    """The clusters (schema.CLUSTERS) of the embedded annotations of an output folder, in any order.

    Raises:
        InputError: they are of other annotations, or of before these were embedded.
    """
    clusters = outputs.read_stage(out, outputs.CLUSTERS, "cluster")
    source = outputs.read_summary(out).get("cluster", {}).get("embeddings")
    wanted, found = set(annotation_ids), clusters["annotation_id"].to_pylist()
    lost, extra = sorted(wanted - {*found}), sorted({*found} - wanted)
    if source is not None or lost or extra or len(found) > len(wanted):
        why = (
            f"it is of {source}"
            if source is not None
            else f"{len(lost):,} images are not in it and {len(extra):,} of it are not here (for "
            f"example {(lost or extra or found)[0]})"
        )
        raise InputError(
            f"{store.join(out, outputs.CLUSTERS)} does not belong to the images of this folder: {why}; "
            "run `reid cluster` again"
        )
    return clusters


def read_embedding_file(path: str, species: str | None = None) -> list[Group]:
    """Embeddings made here or anywhere else.

    Args:
        path: `.npy` with an (n, d) array, or `.parquet` with a column `embedding`, and, where known,
            `annotation_id`, `image_path`, `identity`, `encounter_id`, `species`, `viewpoint`, `location_id`,
            `timestamp`, `split` and `content_hash`.
        species: of rows that name none; "unknown" if not given.

    Raises:
        InputError: see `read_foreign`; or ids are repeated.
    """
    try:
        found = read_foreign(path)
    except InputError as error:
        raise InputError(f"--embeddings {error}") from error
    for note in found.notes:
        say(f"note: {note}")
    vectors, columns = found.vectors, dict(found.texts)
    rows = _as_annotations(path, len(vectors), columns, found.times, species or "unknown")
    hashes = columns.get("content_hash")
    copies = None if hashes is None else np.asarray(hashes, dtype=object)
    kinds = sorted(pc.unique(rows["species"]).to_pylist())
    if len(kinds) == 1:  # no copy
        return [Group(kinds[0], rows, vectors, copies, path)]
    groups = []
    for kind in kinds:
        here = np.flatnonzero(pc.equal(rows["species"], kind).to_numpy())
        own = None if copies is None else copies[here]
        groups.append(Group(kind, rows.take(pa.array(here)), vectors[here], own, path))
    return groups


def _as_annotations(
    path: str,
    n: int,
    columns: dict[str, list[str | None]],
    times: pa.ChunkedArray | None,
    species: str,
) -> pa.Table:
    numbers = pa.array(np.arange(n)).cast(pa.string())
    ids = pa.array(columns["annotation_id"], pa.string()) if "annotation_id" in columns else numbers
    if ids.null_count or pc.count_distinct(ids).as_py() < n:
        raise InputError(f"--embeddings {path}: annotation_id is missing or repeated in some rows")
    empty = pa.nulls(n)
    found = Words()

    def labels(name: str) -> pa.Array:
        """A column of labels by the rules of every reader; all null where there is none."""
        if name not in columns:
            return pa.nulls(n, pa.string())
        return clean_labels(name, pa.array(columns[name], pa.string()), found)

    values = {
        "annotation_id": ids,
        "image_path": columns.get("image_path", ids),
        "root": pa.repeat("", n),
        "species": pc.fill_null(labels("species"), species),
        "identity": labels("identity"),
        "encounter_id": labels("encounter_id"),
        "viewpoint": labels("viewpoint"),
        "location_id": labels("location_id"),
        "split": labels("split"),
    }
    if times is not None:
        values["timestamp"] = times
    for note in word_notes(f"--embeddings {path}", found):
        say(f"note: {note}")
    return pa.Table.from_arrays(
        [
            _column(values[one.name], one.type) if one.name in values else empty.cast(one.type)
            for one in schema.ANNOTATIONS
        ],
        schema=schema.ANNOTATIONS,
    )


def _column(
    values: Sequence[str | None] | pa.Array | pa.ChunkedArray, kind: pa.DataType
) -> pa.Array | pa.ChunkedArray:
    known = isinstance(values, (pa.Array, pa.ChunkedArray))
    return values if known else pa.array(values, kind)
