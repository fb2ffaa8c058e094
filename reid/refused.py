"""Pictures that could not be used, remembered until they change: nobody decodes a broken file every night.

Only what the picture itself is to blame for. A file that could not be read may be there tomorrow.
"""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from reid import embeddings, schema, store

FOLDER = KIND = "refused"  # of a recipe: whoever reads its *.parquet finds embeddings alone
STAGE = "decode"  # where the picture is to blame
LOOKED_FOR = 1000  # files; more are met where they are decoded
REFUSED = pa.schema(
    [*schema.FAILURES, pa.field("source_key", pa.string()), pa.field("how", pa.string())]
)


def refused_before(folder: str, rows: pa.Table, how: str) -> pa.Table:
    """schema.FAILURES of those rows that were refused as they are now, each with its first reason.

    Args:
        folder: a recipe's folder.
        rows: columns annotation_id and source_key; without a key nobody knows whether a picture has changed.
        how: what decides, beside the picture, whether it can be used: settings and versions, in one text.
    """
    files = embeddings.parts(store.join(folder, FOLDER), KIND)
    if not files or not len(rows):
        return schema.FAILURES.empty_table()
    held = pa.concat_tables(store.iter_tables(files))
    held = held.filter(pc.equal(held["how"], how))
    where = pc.index_in(
        held["annotation_id"].combine_chunks(), value_set=rows["annotation_id"].combine_chunks()
    )
    same = pc.equal(held["source_key"], rows["source_key"].combine_chunks().take(where))
    held = held.filter(pc.fill_null(same, False)).select(schema.FAILURES.names)
    first = held.append_column("place", pa.array(range(len(held)), pa.int64()))
    first = first.group_by("annotation_id").aggregate([("place", "min")])
    return held.take(first["place_min"].sort()).cast(schema.FAILURES)


def remember_refused(folder: str, rows: pa.Table, failures: pa.Table, how: str) -> None:
    """Note the pictures that are to blame themselves, for `refused_before`.

    Args:
        folder: a recipe's folder.
        rows: columns annotation_id and source_key.
        failures: schema.FAILURES of some of them.
        how: as there.
    """
    own = failures.filter(pc.equal(failures["stage"], STAGE))
    where = pc.index_in(own["annotation_id"], value_set=rows["annotation_id"].combine_chunks())
    keys = rows["source_key"].combine_chunks().take(where.combine_chunks())
    own = own.append_column("source_key", keys)
    own = own.append_column("how", pa.array([how] * len(own), pa.string()))
    own = own.filter(pc.is_valid(own["source_key"]))
    if len(own):
        about = zip(own["annotation_id"].to_pylist(), own["source_key"].to_pylist(), strict=True)
        name = embeddings.part_digest(f"{one} {key} {how}" for one, key in about)
        store.write_table(store.join(folder, FOLDER, f"{KIND}-{name}.parquet"), own.cast(REFUSED))


def missing_files(rows: pa.Table) -> pa.Table:
    """schema.FAILURES of the rows whose local file is not there; of none where there are more than LOOKED_FOR.

    A list that names a lost file is read every night, and to see that needs no model.
    """
    found = []
    if len(rows) <= LOOKED_FOR:
        for row in rows.select(["annotation_id", "root", "image_path"]).to_pylist():
            path = store.join(row["root"], row["image_path"])
            if not store.is_remote(path) and _is_gone(path):
                told = {name: row[name] for name in ("annotation_id", "image_path")}
                found.append({**told, "stage": "read", "error": f"missing: {path}"})
    return pa.Table.from_pylist(found, schema=schema.FAILURES)


def _is_gone(path: str) -> bool:
    try:
        Path(path).stat()
    except FileNotFoundError:
        return True
    except (OSError, ValueError):  # there, and not to be read: whoever decodes it says why
        return False
    return False
