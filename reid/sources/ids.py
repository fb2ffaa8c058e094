"""Names of annotations, and keys that tell when a name stands for something else."""

import hashlib
import os
import stat
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from reid import store

RELATIVE, PIXELS = "relative", "px"


def annotation_id(image_path: str, bbox: Sequence[float] | None, unit: str | None = PIXELS) -> str:
    """A stable id: 24 hex digits from the image's path in its collection and the box.

    Boxes in pixels count to a thousandth, relative ones to a hundred-thousandth of the picture.
    """
    return hashlib.blake2b(
        f"{image_path}\n{_box_text(bbox, unit)}".encode("utf-8", "surrogateescape"), digest_size=12
    ).hexdigest()


def _box_text(bbox: Sequence[float] | None, unit: str | None) -> str:
    if bbox is None:
        return ""
    x, y, w, h = bbox
    if unit == RELATIVE:
        return f"relative {x:.5f},{y:.5f},{w:.5f},{h:.5f}"
    return f"{x:.3f},{y:.3f},{w:.3f},{h:.3f}"


def failed_id(source: str, line: int, image_path: str) -> str:
    """An id for a row that could not be read; no annotation has it."""
    text = f"unread\n{source}\n{line}\n{image_path}"
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def source_key(
    root: str, image_path: str, bbox: Sequence[float] | None, unit: str | None = PIXELS
) -> str:
    """16 hex digits that change when another picture takes an annotation's id.

    On local disks over the box and the file's size and time of change, so that a collection may be
    moved; on object storage, which would have to be asked for each of them, over the file's place.
    """
    path = store.join(root, image_path)
    written = path
    if not store.is_remote(path):
        try:
            found = Path(path).stat()
            written = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:  # found out, and reported, when it is embedded
            written = ABSENT
    return key_of(written, bbox, unit)


ABSENT = "absent"


def key_of(written: str, bbox: Sequence[float] | None, unit: str | None) -> str:
    """`source_key` from what is known of the file."""
    box = None if bbox is None else [float(value) for value in bbox]
    if unit == RELATIVE and box is not None:
        written = f"relative {written}"
    return hashlib.blake2b(
        f"{box}\n{written}".encode("utf-8", "surrogateescape"), digest_size=8
    ).hexdigest()


def look_at_files(paths: Sequence[str | None]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Ask the disk once about each local file.

    Args:
        paths: n of them; None for one that is not asked, as on object storage.

    Returns:
        For each what `source_key` is made of; (n,) int64 number of the file on its disk, 0 for a
        file that is not there; (n,) bool: is it a pipe, a socket, a device or a folder?
    """
    written: list[str] = []
    numbers = np.zeros(len(paths), np.int64)
    special = np.zeros(len(paths), bool)
    for at, path in enumerate(paths):
        if path is None:
            written.append(ABSENT)
            continue
        try:
            found = os.stat(path)  # noqa: PTH116  a million Paths are slow
        except (OSError, ValueError):  # the latter: a name with a zero byte
            written.append(ABSENT)
            continue
        if not stat.S_ISREG(found.st_mode):
            special[at] = True
        written.append(f"{found.st_size} {found.st_mtime_ns}")
        numbers[at] = (found.st_ino ^ (found.st_dev << 40)) & 0x7FFF_FFFF_FFFF_FFFF
    return written, numbers, special
