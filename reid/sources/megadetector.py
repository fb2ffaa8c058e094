"""MegaDetector's results, format 1.0 to 1.6, and what other programs write in that format.

Boxes are shares of the upright image, origin top left. `failure`, or detections that are null or left
out, is an image that the detector could not read; an empty list is an image without anything.
"""

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
from reid.sources.folders import VIDEO_SUFFIXES, suffix_of
from reid.sources.source_rows import How, Rows

# Confidences mean different things: v4 and before give 0.8 to what v5 gives 0.2.
OLD_THRESHOLD, NEW_THRESHOLD = 0.8, 0.2
_NEW = ("v5", "mdv5", "v1000", "1000-")


def read_megadetector(source: str, data: Mapping[str, Any], root: str, how: How) -> Rows:
    """The boxes of animals in a results file.

    Raises:
        InputError: none of its images is below `root`.
    """
    records = Records(source, root)
    categories = {
        key: (text_of(name) or "").strip().lower()
        for key, name in mapping(data.get("detection_categories")).items()
    }
    species = {
        key: text_of(name) or ""
        for key, name in mapping(data.get("classification_categories")).items()
    }
    descriptions = mapping(data.get("classification_category_descriptions"))
    species |= {key: text for key, value in descriptions.items() if (text := text_of(value))}
    threshold = how.detection_threshold
    if threshold is None:
        threshold = _typical_threshold(mapping(data.get("info")))
    with_animals = 0
    for image in mappings(data.get("images")):
        records.images += 1
        path = text_of(image.get("file")) or ""
        detections = image.get("detections")
        if image.get("failure"):
            records.fail(path, f"the detector failed: {text_of(image['failure'])}", "detect")
        elif not path:
            records.fail("", "an image without a name")
        elif suffix_of(path.replace("\\", "/")) in VIDEO_SUFFIXES:
            records.fail(path, "a video: extract frames first", "detect")
        elif not isinstance(detections, list):
            records.fail(path, "the detector gave no result", "detect")
        else:
            before = len(records)
            _add_detections(records, image, path, categories, species, threshold, how)
            if len(records) > before:
                with_animals += 1
            elif not any(_is_animal(one, categories, how) for one in mappings(detections)):
                records.left_out["images without animal"] += 1
    described = (
        f"MegaDetector: {records.images:,} images; {len(records):,} boxes of animals ≥ {threshold:g} on "
        f"{with_animals:,} images"
    )
    return records.rows(how, described=described)


def _typical_threshold(info: Mapping[str, Any]) -> float:
    metadata = mapping(info.get("detector_metadata"))
    typical = number_of(metadata.get("typical_detection_threshold"))
    if typical is not None:
        return typical
    named = f"{info.get('detector', '')} {metadata.get('megadetector_version', '')}".lower()
    return NEW_THRESHOLD if any(mark in named for mark in _NEW) else OLD_THRESHOLD


def _category(detection: Mapping[str, Any], categories: Mapping[str, str]) -> str:
    return categories.get(text_of(detection.get("category")) or "", "")


def _is_animal(detection: Mapping[str, Any], categories: Mapping[str, str], how: How) -> bool:
    return _category(detection, categories) in how.animal_categories


def _add_detections(
    records: Records,
    image: Mapping[str, Any],
    path: str,
    categories: Mapping[str, str],
    species: Mapping[str, str],
    threshold: float,
    how: How,
) -> None:
    exif = mapping(image.get("exif_metadata"))
    taken = text_of(image.get("datetime")) or text_of(exif.get("DateTimeOriginal"))
    for detection in mappings(image["detections"]):
        confidence = number_of(detection.get("conf")) or 0.0
        kind = _category(detection, categories)
        if kind not in how.animal_categories:
            records.left_out[f"boxes of {kind or 'unknown kind'}"] += 1
        elif confidence < threshold:
            records.left_out["boxes below"] += 1
        elif (box := box_of(detection.get("bbox"))) is None:
            records.fail(path, f"bbox {str(detection.get('bbox'))[:80]} is not four numbers")
        else:
            named = _species(detection, species)
            records.add(path, box, weight=confidence, timestamp=taken, species=named)


def _species(detection: Mapping[str, Any], species: Mapping[str, str]) -> str | None:
    """What the classifier thinks most likely."""
    given = detection.get("classifications")
    best: tuple[float, str] | None = None
    for pair in given if isinstance(given, list) else []:
        if isinstance(pair, list) and len(pair) == 2:
            name, score = species.get(text_of(pair[0]) or ""), number_of(pair[1])
            if name and score is not None and (best is None or score > best[0]):
                best = score, name
    return scientific_name(best[1]) if best else None
