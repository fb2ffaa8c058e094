"""Files that were written again and hold the same pictures: a card copied twice is no other animal."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common.console import say
from reid import embeddings, schema, store
from reid.catalogue import Catalogue, read_rules
from reid.embedder.stream import content_hash

READ_AT_ONCE = 16
# C/hashes: what the file behind a source key holds, so that it is read in one night alone.
HASHES = pa.schema(
    [(name, pa.string()) for name in ("annotation_id", "source_key", "content_hash")]
)


def with_known_keys(catalogue: Catalogue, annotations: pa.Table) -> pa.Table:
    """Give annotations the source key that the catalogue has, where only the file's date is another.

    The key is made of what is cheap to ask, size and date; only where it differs the file is read,
    once, and compared with what was embedded. A known file that cannot be read stays as it is known:
    it may have gone into an archive.

    Args:
        catalogue: an open catalogue.
        annotations: schema.ANNOTATIONS of an upload.
    """
    stored = catalogue.rows(["annotation_id", "species", "source_key", "root"])
    where = pc.index_in(
        annotations["annotation_id"], value_set=stored["annotation_id"].combine_chunks()
    )
    here = np.flatnonzero(pc.is_valid(where).to_numpy())
    known = stored.take(where.drop_null().combine_chunks())
    keys, roots = (
        np.asarray(annotations[name].to_pylist(), dtype=object) for name in ("source_key", "root")
    )
    old_keys, old_roots = (
        np.asarray(known[name].to_pylist(), dtype=object) for name in ("source_key", "root")
    )
    same_species = np.asarray(known["species"].to_pylist()) == np.asarray(
        annotations["species"].take(pa.array(here)).to_pylist()
    )
    asked = np.flatnonzero((keys[here] != old_keys) & same_species)
    if not len(asked):
        return annotations
    embedded = _embedded_hashes(catalogue, known.take(pa.array(asked)))
    rows = annotations.take(pa.array(here[asked])).to_pylist()
    found = _hashes(catalogue.path, rows)
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
    as_known = asked[same | gone]
    keys[here[as_known]] = old_keys[as_known]
    roots[here[asked[gone]]] = old_roots[asked[gone]]
    for name, values in (("source_key", keys), ("root", roots)):
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
        folder = store.join(catalogue.path, "embeddings", rules[species].recipe)
        stored = embeddings.read_embeddings(folder, own["annotation_id"].combine_chunks())
        for place, key, value in zip(
            stored.found.tolist(), stored.source_keys, stored.content_hashes, strict=True
        ):
            if own["source_key"][place].as_py() == key:
                found[own["annotation_id"][place].as_py()] = value
    return found


def _hashes(path: str, rows: list[dict[str, Any]]) -> list[str | None]:
    """What the files of an upload hold; None where one cannot be read.

    Args:
        path: of the catalogue, which remembers what was read.
        rows: of schema.ANNOTATIONS.
    """
    folder = store.join(path, "hashes")
    remembered = {
        (annotation, key): value
        for table in store.iter_tables(store.list_files(folder))
        for annotation, key, value in zip(*table.to_pydict().values(), strict=True)
    }
    unread = [row for row in rows if (row["annotation_id"], row["source_key"]) not in remembered]
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        read = [
            {**row, "content_hash": value}
            for row, value in zip(unread, pool.map(_hash, unread), strict=True)
            if value is not None
        ]
    if read:
        name = embeddings.part_digest(f"{row['annotation_id']} {row['source_key']}" for row in read)
        table = pa.Table.from_pylist(read, schema=HASHES)
        store.write_table(store.join(folder, f"{name}.parquet"), table)
    remembered |= {(row["annotation_id"], row["source_key"]): row["content_hash"] for row in read}
    return [remembered.get((row["annotation_id"], row["source_key"])) for row in rows]


def _hash(row: dict[str, Any]) -> str | None:
    try:
        data = store.read_bytes(store.join(row["root"], row["image_path"]))
    except OSError:
        return None
    return content_hash(data, row["bbox"])
