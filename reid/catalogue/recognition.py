"""Annotations that a catalogue has already, under another id or with a box that moved a little.

A detector that runs again moves its boxes by some pixels; a folder that was read comes again as a table
with ids of its own. By id each would be a new animal in an image that has it already, and as two boxes
of one image are two animals, it could never become the old one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import schema, store
from reid.identify.boxes import SAME_BOX_IOU, overlap, pair_up

SourceKey = Callable[[Mapping[str, Any]], str]


@dataclass(frozen=True)
class Recognised:
    """An upload in the catalogue's words.

    Attributes:
        annotations: schema.ANNOTATIONS, the rows of the upload in their order; what the catalogue has
            carries its id and its box there.
        aliases: id in the upload → id in the catalogue, where the two differ.
        notes: for a person.
    """

    annotations: pa.Table
    aliases: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()


def recognise(
    rows: pa.Table,
    annotations: pa.Table,
    source_key: SourceKey,
    *,
    same_box_iou: float = SAME_BOX_IOU,
) -> Recognised:
    """Find annotations of an upload that the catalogue has under another id, or with another box.

    Those whose id the catalogue has come first: where only the box differs and overlaps the stored one
    enough, the stored one stays. What is left of an image is then compared with what is left of it in
    the catalogue, one to one by greatest overlap, within a species. A whole image without a box is the
    whole image, unless both have a name and these differ: then it shows two animals.

    Args:
        rows: of the catalogue, at least the columns of schema.ANNOTATIONS.
        annotations: schema.ANNOTATIONS, unique ids.
        source_key: makes the source key of a row (schema.ANNOTATIONS as a mapping).
        same_box_iou: intersection over union from which two boxes of one image are the same.
    """
    paths = pc.unique(annotations["image_path"])
    near = rows.filter(pc.is_in(rows["image_path"], value_set=paths))
    stored = near.select(schema.ANNOTATIONS.names).to_pylist()
    by_id = {row["annotation_id"]: row for row in stored}
    wanted = set(pc.unique(near["image_path"]).to_pylist())
    concerned = pc.is_in(annotations["image_path"], value_set=pa.array(wanted, pa.string()))
    places = np.flatnonzero(concerned.to_numpy(zero_copy_only=False))
    upload = dict(zip(places.tolist(), annotations.take(pa.array(places)).to_pylist(), strict=True))

    same: dict[int, dict[str, Any]] = {}  # place in the upload → row of the catalogue
    left: dict[tuple[str, str], list[int]] = {}
    for place, row in upload.items():
        known = by_id.get(row["annotation_id"])
        if known is None:
            left.setdefault((row["image_path"], row["species"]), []).append(place)
        elif known["image_path"] == row["image_path"] and _moved(known, row, same_box_iou):
            same[place] = known
    named = {row["annotation_id"] for row in upload.values()}
    free: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in stored:
        key = row["image_path"], row["species"]
        if row["annotation_id"] not in named and key in left:
            free.setdefault(key, []).append(row)
    for key, others in free.items():
        same |= _matched(others, {place: upload[place] for place in left[key]}, source_key, same_box_iou)  # fmt: skip
    return _applied(annotations, upload, same, source_key, same_box_iou)


def _matched(
    stored: list[dict[str, Any]],
    found: dict[int, dict[str, Any]],
    source_key: SourceKey,
    least: float,
) -> dict[int, dict[str, Any]]:
    """Place in the upload → row of the catalogue, of images of one path and annotations of one species."""
    matched: dict[int, dict[str, Any]] = {}
    files: dict[str, list[int]] = {}
    for place, row in found.items():
        files.setdefault(row["root"], []).append(place)
    for places in files.values():
        here = [row for row in stored if _one_file(row, found[places[0]], source_key)]
        for unit in (None, "relative"):
            boxed = [row for row in here if row["bbox"] is not None and _unit(row) == unit]
            mine = [k for k in places if found[k]["bbox"] is not None and _unit(found[k]) == unit]
            pairs = pair_up([r["bbox"] for r in boxed], [found[k]["bbox"] for k in mine], least)
            matched |= {mine[j]: boxed[i] for i, j, _ in pairs}
        whole = [row for row in here if row["bbox"] is None]
        for place in (k for k in places if found[k]["bbox"] is None):
            fitting = [row for row in whole if not _two_names(row, found[place])]
            # Of several the one of the same name, where there is one.
            fitting.sort(key=lambda row: row["identity"] != found[place]["identity"])
            if fitting:
                matched[place] = fitting[0]
                whole.remove(fitting[0])
        taken = {row["annotation_id"] for row in matched.values()}
        stored = [row for row in stored if row["annotation_id"] not in taken]
    return matched


def _applied(
    annotations: pa.Table,
    upload: Mapping[int, Mapping[str, Any]],
    same: Mapping[int, Mapping[str, Any]],
    source_key: SourceKey,
    least: float,
) -> Recognised:
    if not same:
        return Recognised(annotations)
    columns = ["annotation_id", "bbox", "source_key"]
    columns += [name for name in ("bbox_unit",) if name in annotations.column_names]
    values = {name: annotations[name].to_pylist() for name in columns}
    aliases: dict[str, str] = {}
    moved, farthest, whole = 0, 0.0, []
    for place, known in same.items():
        row = upload[place]
        for name in columns:
            values[name][place] = known[name]
        # The file may be another by now, which shall be noticed: the box is the stored one.
        values["source_key"][place] = source_key({**row, "bbox": known["bbox"], "bbox_unit": known.get("bbox_unit")})  # fmt: skip
        if row["annotation_id"] != known["annotation_id"]:
            aliases[row["annotation_id"]] = known["annotation_id"]
        if row["bbox"] is None:
            whole.append((row["annotation_id"], known["annotation_id"]))
        elif row["bbox"] != known["bbox"]:
            moved += 1
            shift = max(abs(a - b) for a, b in zip(row["bbox"], known["bbox"], strict=True))
            farthest = max(farthest, shift)
    for name in columns:
        place = annotations.schema.get_field_index(name)
        column = pa.array(values[name], annotations.schema.field(name).type)
        annotations = annotations.set_column(place, schema.ANNOTATIONS.field(name), column)
    renamed = len(aliases) - len(whole)
    notes = []
    if moved:
        notes.append(
            f"{moved:,} box{'es' if moved > 1 else ''} moved by up to {farthest:.3g} "
            f"{'px ' if farthest > 1 else ''}since {'they' if moved > 1 else 'it'} came into the catalogue, and "
            f"overlap{'' if moved > 1 else 's'} the old ones by {least:.0%} or more (identify.same_box_iou): "
            "these are the animals already known"
        )
    elif renamed:
        notes.append(
            f"{renamed:,} boxes come under another annotation_id than before: they are known"
        )
    if whole:
        notes.append(
            f"{len(whole):,} whole image{'s come' if len(whole) > 1 else ' comes'} under another annotation_id "
            f"than before (for example {whole[0][0]}, which is {whole[0][1]}): known already, and kept "
            "under the old one; constraints may name either"
        )
    return Recognised(annotations, aliases, notes)


def _moved(one: Mapping[str, Any], other: Mapping[str, Any], least: float) -> bool:
    """Are the boxes of one annotation different, and near enough to each other?"""
    boxes = one["bbox"], other["bbox"]
    if None in boxes or boxes[0] == boxes[1] or _unit(one) != _unit(other):
        return False
    return overlap(*boxes) >= least


def _one_file(stored: Mapping[str, Any], found: Mapping[str, Any], source_key: SourceKey) -> bool:
    """Is it the same file? Paths below their roots agree; the collection may have moved."""
    places = (store.join(row["root"], row["image_path"]) for row in (stored, found))
    if len({*places}) == 1:
        return True
    again = {**found, "bbox": stored["bbox"], "bbox_unit": stored.get("bbox_unit")}
    return bool(stored["source_key"] == source_key(again))


def _unit(row: Mapping[str, Any]) -> str | None:
    unit = row.get("bbox_unit")
    return None if unit in (None, "px") else str(unit)


def _two_names(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    names = one["identity"], other["identity"]
    return None not in names and names[0] != names[1]
