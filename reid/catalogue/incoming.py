"""Which annotations of an upload are new, which are known, and which clash."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import schema
from reid.row_order import places_among

# What a run can learn anew about an annotation without its being another picture.
_TOLD = (
    "root",  # a collection was moved
    "identity",
    "encounter_id",
    "viewpoint",
    "timestamp",
    "utc_offset_minutes",
    "location_id",
    "split",
    "image_id",
)


@dataclass(frozen=True)
class Incoming:
    """An upload against the catalogue.

    Attributes:
        new: schema.ANNOTATIONS; annotations that the catalogue lacks.
        known: number of annotations that it has, with nothing new about them.
        updated: schema.ANNOTATIONS; it has them, the picture and the species are the same, and the
            upload says something new about them (a label, an encounter, …). What the upload leaves
            open stays as the catalogue has it: the same folder may come again without its labels. What
            it says is empty (`emptied`) is taken away.
            Where an image has moved, its boxes that the upload does not name have moved with it.
        failures: schema.FAILURES; their id stands for another picture, box or species.
        cleared: column → labels that the catalogue had and the upload says are none.
    """

    new: pa.Table
    known: int
    updated: pa.Table
    failures: pa.Table
    cleared: Mapping[str, int] = field(default_factory=dict)


def compare(
    rows: pa.Table,
    annotations: pa.Table,
    emptied: Mapping[str, pa.Array] | None = None,
) -> Incoming:
    """Sort an upload by what the catalogue knows of it.

    Args:
        rows: of the catalogue, at least the columns of schema.ANNOTATIONS.
        annotations: schema.ANNOTATIONS, unique ids.
        emptied: column → ids of annotations whose source has that column, and nothing in it.
    """
    emptied = emptied or {}
    cleared: dict[str, int] = {}
    where = places_among(annotations["annotation_id"], rows["annotation_id"])
    is_known = pc.is_valid(where)
    there = annotations.filter(is_known)
    stored = rows.take(where.drop_null())
    clash = ~(_same(stored, there, "source_key") & _same(stored, there, "species"))
    changed = np.zeros(len(there), dtype=bool)
    updated = stored.select(schema.ANNOTATIONS.names)
    for place, name in enumerate(schema.ANNOTATIONS.names):
        if name in _TOLD:
            said = pc.coalesce(there[name], stored[name])
            if name in emptied:
                none = pc.is_in(there["annotation_id"], value_set=emptied[name])
                none = pc.and_(none, pc.is_null(there[name]))
                taken = pc.and_(pc.and_(none, pc.is_valid(stored[name])), pa.array(~clash))
                cleared[name] = pc.sum(taken).as_py() or 0
                said = pc.if_else(none, pa.scalar(None, said.type), said)
            updated = updated.set_column(place, schema.ANNOTATIONS.field(name), said)
            changed |= ~_same(stored, updated, name)
    changed &= ~clash
    moved = _moved_along(rows, stored.filter(pa.array(~clash)), updated.filter(pa.array(~clash)))
    return Incoming(
        new=annotations.filter(pc.invert(is_known)),
        known=int((~clash & ~changed).sum()),
        updated=pa.concat_tables([updated.filter(pa.array(changed)), moved]),
        failures=_clashes(stored.filter(pa.array(clash)), there.filter(pa.array(clash))),
        cleared={name: count for name, count in cleared.items() if count},
    )


def _moved_along(rows: pa.Table, stored: pa.Table, updated: pa.Table) -> pa.Table:
    """The other boxes of images that have another root now: boxes of one image stay in one image.

    Args:
        rows: of the catalogue.
        stored, updated: those that the upload names, before and after it.
    """
    was, now = (
        zip(*(side[name].to_pylist() for name in ("root", "image_path")), strict=True)
        for side in (stored, updated)
    )
    roots = {old: new[0] for old, new in zip(was, now, strict=True) if old != new}
    if not roots:
        return updated[:0]
    unnamed = pc.invert(pc.is_in(rows["annotation_id"], value_set=stored["annotation_id"]))
    others = rows.filter(unnamed).select(schema.ANNOTATIONS.names)
    images = zip(others["root"].to_pylist(), others["image_path"].to_pylist(), strict=True)
    root = pa.array([roots.get(image) for image in images], pa.string())
    place = schema.ANNOTATIONS.get_field_index("root")
    others = others.set_column(place, schema.ANNOTATIONS.field("root"), root)
    return others.filter(pc.is_valid(root))


def _same(left: pa.Table, right: pa.Table, column: str) -> np.ndarray:
    """(n,) bool: equal values, row by row; two nulls are equal."""
    one, two = left[column], right[column]
    equal = pc.fill_null(pc.equal(one, two), False)
    same = pc.or_(equal, pc.and_(pc.is_null(one), pc.is_null(two)))
    return np.asarray(same.to_numpy(zero_copy_only=False), dtype=bool)


def _clashes(stored: pa.Table, there: pa.Table) -> pa.Table:
    messages = []
    pairs = zip(
        *(side[name].to_pylist() for side in (stored, there) for name in ("species", "image_path")),
        strict=True,
    )
    for old_species, old_path, new_species, new_path in pairs:
        if old_species != new_species:
            what = f"as {old_species}, and this upload says {new_species}"
        else:
            what = f"with another file or box ({old_path}; this upload: {new_path})"
        messages.append(
            f"the catalogue has this annotation {what}; nothing was replaced. If it is another "
            "picture, give its file another name, or give this upload a --root above its folder, "
            "which tells its names from others; if it takes the old one's place, undo the run that "
            "brought the old one"
        )
    return pa.table(
        [
            there["annotation_id"],
            there["image_path"],
            pa.array(["identify"] * len(there), pa.string()),
            pa.array(messages, pa.string()),
        ],
        schema=schema.FAILURES,
    )


def changed_rows(before: pa.Table, after: pa.Table) -> pa.Table:
    """The rows of `after` that are new or differ from `before`.

    Args:
        before: rows of the catalogue, with the columns of `after`.
        after: unique annotation_id; other columns of schema.CATALOGUE, without run_id.

    Raises:
        ValueError: a row has another species than before.
    """
    where = places_among(after["annotation_id"], before["annotation_id"])
    is_known = pc.is_valid(where)
    there = after.filter(is_known)
    stored = before.take(where.drop_null())
    if not _same(stored, there, "species").all():
        raise ValueError("an annotation changed its species; that is another annotation")
    differs = np.zeros(len(there), dtype=bool)
    for name in after.column_names:
        if name != "bbox":  # it belongs to the annotation's id
            differs |= ~_same(stored, there, name)
    keep = np.ones(len(after), dtype=bool)
    keep[np.flatnonzero(is_known.to_numpy(zero_copy_only=False))] = differs
    return after.filter(pa.array(keep))
