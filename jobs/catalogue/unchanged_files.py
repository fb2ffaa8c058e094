"""Files that were written again and hold the same pictures: a card copied twice is no other animal."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.console import say
from reid import embeddings, schema, store
from reid.catalogue import Catalogue, embeddings_path, read_rules
from reid.image_files import ImageError
from reid.picture_hash import content_hash, file_hash, is_file_hash
from reid.row_order import places_among
from reid.sources.ids import id_of_content
from reid.sources.places import look

READ_AT_ONCE = 16
NO_IMAGE = "no image"  # in place of the hash of a file that is one no more
# C/hashes: what the file behind a source key holds, so that it is read in one night alone.
HASHES = pa.schema(
    [(name, pa.string()) for name in ("annotation_id", "source_key", "content_hash")]
)


def with_known_keys(catalogue: Catalogue, annotations: pa.Table, held: pa.Table) -> pa.Table:
    """Give annotations the source key that the catalogue has, where only the file's date is another.

    A picture of another folder that has the name of a known one, which still lies where it was, gets an id
    of its own, made of that name and of what it shows: cameras count from IMG_0001 again and again.

    The key is made of what is cheap to ask, size and date; only where it differs the file is read,
    once, and compared with what was embedded. A known file that cannot be read stays as it is known:
    it may have gone into an archive.

    Args:
        catalogue: an open catalogue.
        annotations: schema.ANNOTATIONS of an upload.
        held: schema.ANNOTATIONS of the catalogue.
    """
    stored = held.select(["annotation_id", "species", "source_key", "root"])
    where = places_among(annotations["annotation_id"], stored["annotation_id"])
    here = np.flatnonzero(pc.is_valid(where).to_numpy(zero_copy_only=False))
    known = stored.take(where.drop_null())
    keys, roots = (
        np.asarray(annotations[name].to_pylist(), dtype=object) for name in ("source_key", "root")
    )
    old_keys, old_roots = (
        np.asarray(known[name].to_pylist(), dtype=object) for name in ("source_key", "root")
    )
    same_species = np.asarray(known["species"].to_pylist()) == np.asarray(
        annotations["species"].take(pa.array(here)).to_pylist()
    )
    suspects = np.flatnonzero((keys[here] != old_keys) & same_species)
    if not len(suspects):
        return annotations
    embedded = _embedded_hashes(catalogue, known.take(pa.array(suspects)))
    rows = annotations.take(pa.array(here[suspects])).to_pylist()
    old_ways = [is_file_hash(embedded.get(row["annotation_id"], "")) for row in rows]
    found = _hashes(catalogue.path, rows, old_ways)
    gone = np.asarray([value is None for value in found])
    same = np.asarray(
        [
            value is not None and value == embedded.get(row["annotation_id"])
            for row, value in zip(rows, found, strict=True)
        ]
    )
    if same.any():
        say(f"note: {same.sum():,} files were written again and hold the pictures that are known")
    if gone.any():
        say(f"note: {gone.sum():,} known files cannot be read; they stay as the catalogue has them")
    there = [
        store.join(root, row["image_path"])
        for root, row in zip(old_roots[suspects], rows, strict=True)
    ]
    other = np.asarray(
        [
            value is not None
            and value != embedded.get(row["annotation_id"], value)
            and root != row["root"]
            and look(file) == "file"
            for row, value, root, file in zip(rows, found, old_roots[suspects], there, strict=True)
        ]
    )
    if other.any():
        say(
            f"note: {other.sum():,} pictures have the name of another one that is known from another folder; they are "
            "pictures of their own, told apart by what they show"
        )
    ids = np.asarray(annotations["annotation_id"].to_pylist(), dtype=object)
    for place in np.flatnonzero(other):
        ids[here[suspects[place]]] = id_of_content(rows[place]["annotation_id"], str(found[place]))
    as_known = suspects[same | gone]
    keys[here[as_known]] = old_keys[as_known]
    roots[here[suspects[gone]]] = old_roots[suspects[gone]]
    for name, values in (("annotation_id", ids), ("source_key", keys), ("root", roots)):
        place = annotations.schema.get_field_index(name)
        column = pa.array(values, pa.string())
        annotations = annotations.set_column(place, schema.ANNOTATIONS.field(name), column)
    return annotations


def _embedded_hashes(catalogue: Catalogue, rows: pa.Table) -> dict[str, str]:
    """annotation_id → hash of what was embedded, of rows with their species and source key."""
    found: dict[str, str] = {}
    rules = read_rules(catalogue)
    for species in pc.unique(rows["species"]).to_pylist():
        own = rows.filter(pc.equal(rows["species"], species))
        folder = embeddings_path(catalogue.path, rules[species].recipe)
        stored = embeddings.read_embeddings(folder, own["annotation_id"].combine_chunks())
        for place, key, value in zip(
            stored.found.tolist(), stored.source_keys, stored.content_hashes, strict=True
        ):
            if own["source_key"][place].as_py() == key:
                found[own["annotation_id"][place].as_py()] = value
    return found


def _hashes(path: str, rows: list[dict[str, Any]], old_ways: list[bool]) -> list[str | None]:
    """What the files of an upload show; None where one cannot be read.

    Args:
        path: of the catalogue, which remembers what was read.
        rows: of schema.ANNOTATIONS.
        old_ways: for each row, whether its embedding has a hash over all bytes of the file, as older
            versions wrote it: only the same way of hashing can be compared.
    """
    folder = store.join(path, "hashes")
    remembered = {
        (annotation, key, is_file_hash(value)): value
        for table in store.iter_tables(store.list_files(folder))
        for annotation, key, value in zip(*table.to_pydict().values(), strict=True)
    }
    keys = [
        (row["annotation_id"], row["source_key"], old)
        for row, old in zip(rows, old_ways, strict=True)
    ]
    unread = [place for place, key in enumerate(keys) if key not in remembered]
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        hashes = pool.map(lambda place: _hash(rows[place], old_ways[place]), unread)
        read = {
            keys[place]: value
            for place, value in zip(unread, hashes, strict=True)
            if value is not None
        }
    if read:
        name = embeddings.part_digest(f"{annotation} {key} {old}" for annotation, key, old in read)
        table = pa.Table.from_pylist(
            [
                {"annotation_id": annotation, "source_key": key, "content_hash": value}
                for (annotation, key, _), value in read.items()
            ],
            schema=HASHES,
        )
        store.write_table(store.join(folder, f"{name}.parquet"), table)
    remembered |= read
    return [remembered.get(key) for key in keys]


def _hash(row: dict[str, Any], old_way: bool) -> str | None:
    try:
        data = store.read_bytes(store.join(row["root"], row["image_path"]))
    except OSError:
        return None
    try:
        return file_hash(data, row["bbox"]) if old_way else content_hash(data, row["bbox"])
    except ImageError:
        return NO_IMAGE
