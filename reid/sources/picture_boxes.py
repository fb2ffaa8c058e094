"""A folder of JSON files, one a picture, with the boxes found in it, as detectors of small animals write them.

Each holds `image_path` and `boxes`, [x1, y1, x2, y2] in pixels from the top left of the upright picture, and where
it says so `confs`, `image_width` and `image_height` (flat-bug's and BiodivX's `metadata_….json`).
"""

from collections.abc import Mapping
from typing import Any

from reid import store
from reid.errors import InputError
from reid.sources.built_rows import Records, number_of, text_of
from reid.sources.json_files import parse_json
from reid.sources.source_rows import How, Rows


def read_picture_boxes(folder: str, root: str, how: How) -> Rows:
    """The boxes of all pictures of a folder; JSON files of another kind are counted and left out.

    Args:
        folder: of JSON files, searched recursively.
        root: absolute folder or URI that the images are looked for in.
        how: what the user said; without a `detection_threshold` all boxes are taken.

    Raises:
        InputError: no file of this kind is there, or none of the images.
    """
    records = Records(folder, root)
    names = [name for name in store.list_files(folder, recursive=True) if name.endswith(".json")]
    for name in sorted(names):
        place = store.join(folder, name)
        try:
            found = parse_json(store.read_bytes(place), place, flag="--detections")
        except InputError as error:
            records.fail(name, str(error), "detect")
            continue
        path = text_of(found.get("image_path"))
        if path is None or not isinstance(found.get("boxes"), list):
            records.left_out["JSON files without image_path and boxes"] += 1
            continue
        records.images += 1
        _add_boxes(records, path, found, how)
    if not records.images:
        raise InputError(
            f"--detections {folder}: {len(names):,} JSON files, and none has image_path and boxes, one file a picture"
        )
    described = f"{records.images:,} pictures; {len(records):,} boxes, a JSON file a picture"
    return records.rows(how, described=described)


def _add_boxes(records: Records, path: str, found: Mapping[str, Any], how: How) -> None:
    boxes, confs = found["boxes"], found.get("confs")
    sides = number_of(found.get("image_width")), number_of(found.get("image_height"))
    size = None if sides[0] is None or sides[1] is None else (sides[0], sides[1])
    if not boxes:
        records.left_out["pictures without a box"] += 1
    for place, box in enumerate(boxes):
        sure = number_of(confs[place]) if isinstance(confs, list) and place < len(confs) else None
        corners = [number_of(value) for value in box] if isinstance(box, list) else []
        known = [value for value in corners if value is not None]
        if len(corners) != 4 or len(known) != 4:
            records.fail(path, f"box {str(box)[:80]} is not four numbers")
        elif sure is not None and how.detection_threshold and sure < how.detection_threshold:
            records.left_out["boxes below"] += 1
        else:
            left, top, right, bottom = known
            records.add(
                path,
                (left, top, right - left, bottom - top),
                relative=False,
                weight=sure,
                size=size,
            )
