"""JSON of other programs, recognised by what is in it."""

import json
from collections.abc import Mapping
from typing import Any

from reid import store
from reid.errors import InputError
from reid.sources import places
from reid.sources.camtrap_dp import read_camtrap_dp
from reid.sources.coco import read_coco
from reid.sources.delimited import decode_text
from reid.sources.megadetector import read_megadetector
from reid.sources.source_rows import How, Rows
from reid.sources.speciesnet import read_speciesnet

KNOWN = "MegaDetector results, SpeciesNet predictions, COCO Camera Traps, Camtrap DP"


def load_json(source: str, *, flag: str = "--input") -> Mapping[str, Any]:
    """The object that a JSON file holds.

    Raises:
        InputError: it is no JSON, or no object.
    """
    try:
        text, _ = decode_text(store.read_bytes(source))
        data = json.loads(text)
    except FileNotFoundError:
        raise InputError(f"{flag} {source}: there is no such file") from None
    except OSError as error:
        raise InputError(f"{flag} {source}: cannot be read: {error.strerror or error}") from error
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
