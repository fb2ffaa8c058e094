"""JSON of other programs, recognised by what is in it."""

import json
from collections.abc import Mapping
from typing import Any

from reid import store
from reid.errors import InputError, StorageError
from reid.sources import places
from reid.sources.camtrap_dp import DESCRIPTOR, read_camtrap_dp
from reid.sources.coco import read_coco
from reid.sources.decoding import decode_text
from reid.sources.megadetector import read_megadetector
from reid.sources.source_rows import How, Rows
from reid.sources.speciesnet import read_speciesnet
from reid.sources.zips import zipped_tables

KNOWN = "MegaDetector results, SpeciesNet predictions, COCO Camera Traps, Camtrap DP"


def load_json(source: str, *, flag: str = "--input") -> Mapping[str, Any]:
    """The object that a JSON file holds.

    Raises:
        InputError: it is no JSON, or no object.
    """
    try:
        return parse_json(store.read_bytes(source), source, flag=flag)
    except FileNotFoundError:
        raise InputError(f"{flag} {source}: there is no such file") from None
    except StorageError:
        raise
    except OSError as error:
        raise InputError(f"{flag} {source}: cannot be read: {error.strerror or error}") from error


def parse_json(raw: bytes, source: str, *, flag: str = "--input") -> Mapping[str, Any]:
    """The object that the bytes of a JSON file hold.

    Raises:
        InputError: it is no JSON, or no object.
    """
    try:
        text, _ = decode_text(raw)
        data = json.loads(text)
    except (InputError, ValueError, RecursionError) as error:
        raise InputError(f"{flag} {source}: this is no JSON, or a damaged one: {error}") from error
    if not isinstance(data, dict):
        raise InputError(
            f"{flag} {source}: a JSON {type(data).__name__}; expected an object: {KNOWN}"
        )
    return data


def read_json(source: str, how: How, *, root: str | None = None, flag: str = "--input") -> Rows:
    """The annotations of a JSON file.

    Args:
        source: path or URI.
        how: what the user said.
        root: folder that its images are looked for in; None: as the user said, or the file's.
        flag: what the user gave it with, for messages.

    Raises:
        InputError: it is of no kind that is known, or none of its images is there.
    """
    data = load_json(source, flag=flag)
    return _of_kind(source, data, how, root, flag)


def read_package(source: str, how: How, detections: str | None = None) -> Rows:
    """The annotations of a Camtrap DP package that is zipped, or to which a detector gives boxes.

    Args:
        source: its folder, its datapackage.json, or a .zip that holds both.
        how: what the user said.
        detections: the detector's results.

    Raises:
        InputError: it is none, or cannot be read.
    """
    files: dict[str, bytes] | None = None
    if source.lower().endswith(".zip"):
        data, files = _unzipped(source)
        folder = places.absolute(places.parent(source))
    else:
        descriptor = source if source.lower().endswith(".json") else store.join(source, DESCRIPTOR)
        data = load_json(descriptor)
        folder = places.absolute(places.parent(descriptor))
    detected = None
    if detections is not None:
        found = load_json(detections, flag="--detections")
        detected = _of_kind(detections, found, how, how.root or folder, "--detections")
    return read_camtrap_dp(source, data, folder, how, files=files, detected=detected)


def _unzipped(source: str) -> tuple[Mapping[str, Any], dict[str, bytes]]:
    """Descriptor and tables of a zipped package, the latter by their paths below the former's folder."""
    files = zipped_tables(source)
    descriptor = min((name for name in files if name.endswith(DESCRIPTOR)), key=len)
    above = descriptor.removesuffix(DESCRIPTOR)
    below = {
        name.removeprefix(above): data for name, data in files.items() if name.startswith(above)
    }
    return parse_json(files[descriptor], f"{source}/{descriptor}"), below


def _of_kind(source: str, data: Mapping[str, Any], how: How, root: str | None, flag: str) -> Rows:
    base = places.absolute(root or how.root or places.parent(source))
    if "resources" in data:
        return read_camtrap_dp(source, data, places.absolute(places.parent(source)), how)
    if "predictions" in data:
        return read_speciesnet(source, data, base, how)
    if "images" in data and "annotations" in data:
        return read_coco(source, data, base, how)
    if "images" in data and "detection_categories" in data:
        return read_megadetector(source, data, base, how)
    if "instances" in data:
        raise InputError(
            f"{flag} {source}: this is SpeciesNet's request, the list of what to look at; give its predictions"
        )
    keys = ", ".join(map(str, list(data)[:8])) or "nothing"
    raise InputError(f"{flag} {source}: JSON of no known kind, with {keys}; known: {KNOWN}")
