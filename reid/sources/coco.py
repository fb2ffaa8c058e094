"""COCO Camera Traps: images with times, places and sequences; boxes in pixels, or in shares."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from reid.sources.built_rows import Records, box_of, mappings, number_of, text_of
from reid.sources.source_rows import How, Rows

EMPTY = frozenset({"empty", "blank", "nothing", "none"})


def read_coco(source: str, data: Mapping[str, Any], root: str, how: How) -> Rows:
    """One row an annotated animal.

    Raises:
        InputError: none of its images is below `root`.
    """
    records = Records(source, root)
    categories = {
        text_of(one.get("id")): text_of(one.get("name")) or ""
        for one in mappings(data.get("categories"))
    }
    images = {text_of(one.get("id")): one for one in mappings(data.get("images"))}
    records.images = len(images)
    by_image: dict[str | None, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in mappings(data.get("annotations")):
        key = text_of(annotation.get("image_id"))
        if key in images:
            by_image[key].append(annotation)
        else:
            records.left_out["annotations of no image"] += 1
    sequence_level = 0
    for key, image in images.items():
        path = text_of(image.get("file_name")) or ""
        if not path:
            records.fail("", f"image {key} without a name")
        elif image.get("corrupt"):
            records.fail(path, "it is marked as corrupt")
        else:
            sequence_level += _add_annotations(records, image, path, key, by_image[key], categories)
    if sequence_level:
        records.notes.append(
            f"{source}: {sequence_level:,} annotations are of whole sequences: not every image shows the animal"
        )
    described = f"COCO Camera Traps: {records.images:,} images; {len(records):,} animals"
    return records.rows(how, described=described)


def _add_annotations(
    records: Records,
    image: Mapping[str, Any],
    path: str,
    key: str | None,
    annotations: list[Mapping[str, Any]],
    categories: Mapping[str | None, str],
) -> int:
    """Add an image's animals; how many of them are of its sequence only."""
    place, sequence = text_of(image.get("location")), text_of(image.get("seq_id"))
    taken = text_of(image.get("datetime")) or text_of(image.get("date_captured"))
    width, height = number_of(image.get("width")), number_of(image.get("height"))
    size = (width, height) if width and height and min(width, height) > 0 else None
    sequence_level, before = 0, len(records)
    for annotation in annotations:
        name = categories.get(text_of(annotation.get("category_id")), "")
        if name.lower() in EMPTY:
            continue
        if name.lower() in ("human", "person", "vehicle"):
            records.left_out[f"of {name.lower()}"] += 1
            continue
        identity = next(
            (
                found
                for side in (annotation, image)
                for field in ("individual_id", "name")
                if (found := text_of(side.get(field)))
            ),
            None,
        )
        given = annotation.get("bbox_relative")
        relative = given is not None
        given = given if relative else annotation.get("bbox")
        box = box_of(given)
        if given is not None and box is None:
            records.fail(path, f"bbox {str(given)[:80]} is not four numbers")
            continue
        sequence_level += bool(annotation.get("sequence_level_annotation"))
        records.add(
            path,
            box,
            relative,
            species=name or None,
            identity=identity,
            encounter_id=sequence,
            location_id=place,
            timestamp=taken,
            image_id=key,
            viewpoint=text_of(annotation.get("viewpoint")),
            size=size,
        )
    if len(records) == before:
        records.left_out["images without animal"] += 1
    return sequence_level
