"""SpeciesNet's predictions: version 4 names a species an image, version 5 one a box."""

from collections.abc import Mapping
from typing import Any

from reid.sources.built_rows import (
    Records,
    box_of,
    mapping,
    mappings,
    number_of,
    scientific_name,
    text_of,
)
from reid.sources.source_rows import How, Rows

THRESHOLD = 0.2  # its detector is MegaDetector 5
WHOLE_IMAGE = "0"  # a category of version 5 that stands for no animal


def read_speciesnet(source: str, data: Mapping[str, Any], root: str, how: How) -> Rows:
    """The boxes of animals among predictions.

    Raises:
        InputError: none of its images is below `root`.
    """
    records = Records(source, root)
    threshold = THRESHOLD if how.detection_threshold is None else how.detection_threshold
    with_animals = 0
    for image in mappings(data.get("predictions")):
        records.images += 1
        path = text_of(image.get("filepath")) or ""
        failures = image.get("failures")
        failures = [text_of(one) or "" for one in failures] if isinstance(failures, list) else []
        detections = image.get("detections")
        if not path:
            records.fail("", "an image without a name")
        elif any("DETECTOR" in one.upper() for one in failures):
            records.fail(path, f"failed in {', '.join(failures)}", "detect")
        elif not isinstance(detections, list):
            records.fail(path, "there are no detections", "detect")
        else:
            before = len(records)
            _add_detections(records, image, path, threshold, how)
            if len(records) > before:
                with_animals += 1
            else:
                records.left_out["images without animal"] += 1
    described = (
        f"SpeciesNet: {records.images:,} images; {len(records):,} boxes of animals ≥ {threshold:g} on "
        f"{with_animals:,} images"
    )
    return records.rows(how, described=described)


def _add_detections(
    records: Records, image: Mapping[str, Any], path: str, threshold: float, how: How
) -> None:
    whole = text_of(image.get("prediction"))
    for detection in mappings(image["detections"]):
        kind = (text_of(detection.get("label")) or "").lower()
        kind = kind or {"1": "animal", "2": "human", "3": "vehicle"}.get(
            text_of(detection.get("category")) or "", ""
        )
        if text_of(detection.get("category")) == WHOLE_IMAGE or kind.startswith("whole_image"):
            continue
        own = mapping(detection.get("processed_classification")).get("class")
        named = scientific_name(text_of(own) or whole or "")
        if kind not in how.animal_categories:
            records.left_out[f"boxes of {kind or 'unknown kind'}"] += 1
        elif (confidence := number_of(detection.get("conf")) or 0.0) < threshold:
            records.left_out["boxes below"] += 1
        elif (box := box_of(detection.get("bbox"))) is None:
            records.fail(path, f"bbox {str(detection.get('bbox'))[:80]} is not four numbers")
        else:
            records.add(path, box, weight=confidence, species=named)
