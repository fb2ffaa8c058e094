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
from numpy.typing import NDArray

from reid import schema, store
from reid.identify.same_boxes import SAME_BOX_IOU, overlap, pair_up
from reid.row_order import places_among
from reid.sources.ids import annotation_id

Row = Mapping[str, Any]
SourceKey = Callable[[Row], str]


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

    Those that the catalogue has by id, with a box that overlaps the stored one enough, keep the stored
    box. What is left of an image is then compared with what is left of it in the catalogue, one to one by
    greatest overlap, within a species: detectors number their boxes anew in each run, so an id that now
    stands for another box says nothing. A whole image without a box is the whole image, unless both have a
    name and these differ: then it shows two animals.

    Args:
        rows: of the catalogue, at least the columns of schema.ANNOTATIONS; those with an id or an image of the
            upload are enough.
        annotations: schema.ANNOTATIONS, unique ids.
        source_key: makes the source key of a row (schema.ANNOTATIONS as a mapping).
        same_box_iou: intersection over union from which two boxes of one image are the same.
    """
    # Most nights bring what is known as it is known: that is settled without a look at single rows.
    as_known = _as_known(rows, annotations)
    if as_known.all():
        return Recognised(annotations)
    stored, upload = _unsettled(rows, annotations, as_known)
    kept = _kept_by_id(stored, upload, same_box_iou)
    left = {place: row for place, row in upload.items() if place not in kept}
    taken = {row["annotation_id"] for row in kept.values()}
    free = [row for row in stored if row["annotation_id"] not in taken]
    # What keeps its id and its box needs no other.
    same = {place: row for place, row in kept.items() if row["bbox"] != upload[place]["bbox"]}
    same |= _found_by_box(free, left, source_key, same_box_iou)
    if not same:
        return Recognised(annotations)
    renamed = _in_catalogue_words(annotations, upload, same, source_key)
    return Recognised(renamed, _aliases(upload, same), _notes(upload, same, same_box_iou))


def _unsettled(
    rows: pa.Table, annotations: pa.Table, as_known: NDArray[np.bool_]
) -> tuple[list[Row], dict[int, Row]]:
    """Rows of the catalogue, and of the upload by their place, in images that both may have."""
    settled = annotations["annotation_id"].filter(pa.array(as_known)).combine_chunks()
    places = np.flatnonzero(~as_known)
    rest = annotations.take(pa.array(places))
    rows = rows.filter(pc.invert(pc.is_in(rows["annotation_id"], value_set=settled)))
    stored, left = _of_common_images(rows, rest)
    return stored, {int(places[k]): row for k, row in left.items()}


def _kept_by_id(stored: Sequence[Row], upload: Mapping[int, Row], least: float) -> dict[int, Row]:
    """Place in the upload → row of the catalogue of the same id, and of the same box or nearly so."""
    by_id = {row["annotation_id"]: row for row in stored}
    kept = {}
    for place, row in upload.items():
        known = by_id.get(row["annotation_id"])
        if known and (known["bbox"] == row["bbox"] or _moved(known, row, least)):
            kept[place] = known
    return kept


def _found_by_box(
    stored: Sequence[Row], upload: Mapping[int, Row], source_key: SourceKey, least: float
) -> dict[int, Row]:
    """Place in the upload → row of the catalogue, image by image and species by species, each once."""
    by_image: dict[tuple[str, str], list[Row]] = {}
    for row in stored:
        for name in {row["image_path"], _file(row)}:
            by_image.setdefault((name, row["species"]), []).append(row)
    groups: dict[tuple[str, str], dict[int, Row]] = {}
    for place, row in upload.items():
        groups.setdefault((_file(row), row["species"]), {})[place] = row
    same: dict[int, Row] = {}
    taken: set[str] = set()
    for (file, species), found in groups.items():
        first = next(iter(found.values()))
        here = {
            row["annotation_id"]: row
            for name in dict.fromkeys([file, first["image_path"]])
            for row in by_image.get((name, species), [])
            if row["annotation_id"] not in taken and _one_file(row, first, source_key)
        }
        matched = _matched([*here.values()], found, least)
        taken |= {row["annotation_id"] for row in matched.values()}
        same |= matched
    return same


def _as_known(rows: pa.Table, annotations: pa.Table) -> NDArray[np.bool_]:
    """(n,) bool: the catalogue has this id, with this box."""
    where = places_among(annotations["annotation_id"], rows["annotation_id"])
    known: NDArray[np.bool_] = pc.is_valid(where).to_numpy(zero_copy_only=False)
    one = _boxes(annotations)[known]
    other = _boxes(rows.select(["bbox"]).take(where.drop_null()))
    known[known] = ((one == other) | (np.isnan(one) & np.isnan(other))).all(axis=1)
    return known


def _boxes(table: pa.Table) -> NDArray[np.float32]:
    """(n, 4) float32, NaN for a whole image."""
    column = table["bbox"].combine_chunks()
    boxes = np.full((len(table), 4), np.nan, np.float32)
    boxes[column.is_valid().to_numpy(zero_copy_only=False)] = (
        column.flatten().to_numpy(zero_copy_only=False).reshape(-1, 4)
    )
    return boxes


def _of_common_images(rows: pa.Table, annotations: pa.Table) -> tuple[list[Row], dict[int, Row]]:
    """Rows of images that catalogue and upload may share; those of the upload by their place in it."""
    sides = [(table["image_path"], whole_paths(table)) for table in (rows, annotations)]
    masks = []
    for own, other in (sides, sides[::-1]):
        one, two = (
            pc.is_in(column, value_set=pc.unique(theirs))
            for column, theirs in zip(own, other, strict=True)
        )
        masks.append(np.flatnonzero(pc.or_(one, two).to_numpy(zero_copy_only=False)))
    stored = rows.select(schema.ANNOTATIONS.names).take(pa.array(masks[0])).to_pylist()
    upload = annotations.take(pa.array(masks[1])).to_pylist()
    return stored, dict(zip(masks[1].tolist(), upload, strict=True))


def whole_paths(rows: pa.Table) -> pa.ChunkedArray:
    """image_path below root, where it does not stand by itself."""
    path = rows["image_path"]
    whole = pc.or_(pc.starts_with(path, "/"), pc.match_substring(path, "://"))
    below = pc.binary_join_element_wise(pc.utf8_rtrim(rows["root"], "/"), path, "/")
    return pc.if_else(whole, path, below)


def _file(row: Row) -> str:
    return store.join(row["root"], row["image_path"])


def _matched(here: list[Row], found: dict[int, Row], least: float) -> dict[int, Row]:
    """Place in the upload → row of the catalogue, among annotations of one image and one species."""
    matched: dict[int, Row] = {}
    for unit in (None, "relative"):
        boxed = [row for row in here if row["bbox"] is not None and _unit(row) == unit]
        mine = [k for k, row in found.items() if row["bbox"] is not None and _unit(row) == unit]
        pairs = pair_up([r["bbox"] for r in boxed], [found[k]["bbox"] for k in mine], least)
        matched |= {mine[j]: boxed[i] for i, j, _ in pairs}
    whole = [row for row in here if row["bbox"] is None]
    for place in (k for k, row in found.items() if row["bbox"] is None):
        fitting = [row for row in whole if not _two_names(row, found[place])]
        # Of several the one of the same name, where there is one.
        fitting.sort(key=lambda row: row["identity"] != found[place]["identity"])
        if fitting:
            matched[place] = fitting[0]
            whole.remove(fitting[0])
    return matched


def _in_catalogue_words(
    annotations: pa.Table,
    upload: Mapping[int, Row],
    same: Mapping[int, Row],
    source_key: SourceKey,
) -> pa.Table:
    """The upload, with id, box and source key of the catalogue where it has the annotation."""
    columns = ["annotation_id", "bbox", "source_key"]
    columns += [name for name in ("bbox_unit",) if name in annotations.column_names]
    values = {name: annotations[name].to_pylist() for name in columns}
    for place, known in same.items():
        for name in columns:
            values[name][place] = known[name]
        # The file may be another by now, which shall be noticed: the box is the stored one.
        values["source_key"][place] = source_key(_with_box_of(known, upload[place]))
    taken = {row["annotation_id"] for row in same.values()}
    for place, row in upload.items():
        # An id that stood for another box, which has found its own annotation: it is free for nobody.
        if place not in same and row["annotation_id"] in taken:
            values["annotation_id"][place] = annotation_id(
                row["image_path"], row["bbox"], row["bbox_unit"]
            )
    for name in columns:
        at = annotations.schema.get_field_index(name)
        column = pa.array(values[name], annotations.schema.field(name).type)
        annotations = annotations.set_column(at, schema.ANNOTATIONS.field(name), column)
    return annotations


def _aliases(upload: Mapping[int, Row], same: Mapping[int, Row]) -> dict[str, str]:
    """Id in the upload → id in the catalogue, but for ids that stand for another annotation there."""
    taken = {row["annotation_id"] for row in same.values()}
    return {
        upload[place]["annotation_id"]: known["annotation_id"]
        for place, known in same.items()
        if upload[place]["annotation_id"] not in taken
    }


def _notes(upload: Mapping[int, Row], same: Mapping[int, Row], least: float) -> list[str]:
    """How many boxes moved, or else came under another id; and whole images that did."""
    pairs = [(upload[place], known) for place, known in same.items()]
    boxed = [(row, known) for row, known in pairs if row["bbox"] is not None]
    whole = [
        (row["annotation_id"], known["annotation_id"])
        for row, known in pairs
        if row["bbox"] is None
    ]
    shifts = [
        max(abs(a - b) for a, b in zip(row["bbox"], known["bbox"], strict=True))
        for row, known in boxed
        if row["bbox"] != known["bbox"]
    ]
    renamed = sum(row["annotation_id"] != known["annotation_id"] for row, known in boxed)
    notes = []
    if shifts:
        moved, farthest = len(shifts), max(shifts)
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
    return notes


def _moved(one: Row, other: Row, least: float) -> bool:
    """Are the boxes of one annotation different, and near enough to each other?"""
    boxes = one["bbox"], other["bbox"]
    if None in boxes or boxes[0] == boxes[1] or _unit(one) != _unit(other):
        return False
    return overlap(*boxes) >= least


def _one_file(stored: Row, found: Row, source_key: SourceKey) -> bool:
    """Is it the same file? Paths below their roots agree; the collection may have moved."""
    if _file(stored) == _file(found):
        return True
    if stored["image_path"] != found["image_path"]:
        return False
    return bool(stored["source_key"] == source_key(_with_box_of(stored, found)))


def _with_box_of(stored: Row, found: Row) -> Row:
    return {**found, "bbox": stored["bbox"], "bbox_unit": stored.get("bbox_unit")}


def _unit(row: Row) -> str | None:
    unit = row.get("bbox_unit")
    return None if unit in (None, "px") else str(unit)


def _two_names(one: Row, other: Row) -> bool:
    names = one["identity"], other["identity"]
    return None not in names and names[0] != names[1]
