"""Names of annotations, and keys that tell when a name stands for something else."""

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import store

RELATIVE, PIXELS = "relative", "px"
PIXEL_FORM = "%s\n%.3f,%.3f,%.3f,%.3f"
RELATIVE_FORM = "%s\nrelative %.5f,%.5f,%.5f,%.5f"


def annotation_id(image_path: str, bbox: Sequence[float] | None, unit: str | None = PIXELS) -> str:
    """A stable id: 24 hex digits from the image's path in its collection and the box.

    Boxes in pixels count to a thousandth, relative ones to a hundred-thousandth of the picture.
    """
    if bbox is None:
        text = f"{image_path}\n"
    else:
        x, y, w, h = bbox
        text = (RELATIVE_FORM if unit == RELATIVE else PIXEL_FORM) % (image_path, x, y, w, h)
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


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
AT_ONCE = 1 << 16  # rows that are Python objects at one time


def key_of(written: str, bbox: Sequence[float] | None, unit: str | None) -> str:
    """`source_key` from what is known of the file."""
    box = None if bbox is None else [float(value) for value in bbox]
    return _key(f"{box}\n{written}", relative=unit == RELATIVE and box is not None)


def _key(text: str, *, relative: bool) -> str:
    text = f"relative {text}" if relative else text
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


@dataclass(frozen=True)
class Files:
    """What the disk says of n paths.

    Attributes:
        size, time_ns: (n,) int64; −1 for a file that is not there or was not asked for.
        number: (n,) int64, of the file on its disk; 0 likewise.
        special: (n,) bool: a pipe, a socket or a device.
    """

    size: NDArray[np.int64]
    time_ns: NDArray[np.int64]
    number: NDArray[np.int64]
    special: NDArray[np.bool_]

    def take(self, rows: NDArray[np.int64]) -> "Files":
        """Some of them."""
        return Files(self.size[rows], self.time_ns[rows], self.number[rows], self.special[rows])


def look_at_files(paths: pa.Array) -> Files:
    """Ask the disk once about each of n local paths; null for one that is not asked, as on object storage."""
    encoded = paths.dictionary_encode()  # a file with many boxes is asked for once
    unique = encoded.dictionary
    numbers = np.full((len(unique) + 1, 3), -1, np.int64)  # the last is of those that are not asked
    special = np.zeros(len(unique) + 1, bool)
    for start in range(0, len(unique), AT_ONCE):
        for at, path in enumerate(unique[start : start + AT_ONCE].to_pylist(), start):
            try:
                found = os.stat(path)  # noqa: PTH116  a million Paths are slow
            except (OSError, ValueError):  # the latter: a name with a zero byte
                continue
            # A folder in a file's place does no harm: it is found out when it is embedded.
            special[at] = not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))
            numbers[at] = (
                found.st_size,
                found.st_mtime_ns,
                (found.st_ino ^ (found.st_dev << 40)) & 0x7FFF_FFFF_FFFF_FFFF,
            )
    rows = pc.fill_null(encoded.indices, len(unique)).to_numpy()
    number = np.where(numbers[:, 2] < 0, 0, numbers[:, 2])
    return Files(numbers[rows, 0], numbers[rows, 1], number[rows], special[rows])


def annotation_ids(
    paths: pa.Array, boxes: NDArray[np.float64], relative: NDArray[np.bool_]
) -> pa.Array:
    """`annotation_id` of n rows; boxes are NaN where there is none."""
    made = []
    digest = hashlib.blake2b
    for start in range(0, len(paths), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        rows = zip(
            paths[part].to_pylist(), box_lists(boxes[part]), relative[part].tolist(), strict=True
        )
        named = []
        for path, box, shares in rows:  # annotation_id, without a million calls
            form = "%s\n" if box is None else RELATIVE_FORM if shares else PIXEL_FORM
            values = (path,) if box is None else (path, *box)
            named.append(digest((form % values).encode(), digest_size=12).hexdigest())
        made.append(pa.array(named, pa.string()))
    return pa.chunked_array(made, pa.string()).combine_chunks()


def source_keys(
    files: Files, places: pa.Array, boxes: NDArray[np.float64], relative: NDArray[np.bool_]
) -> pa.Array:
    """`source_key` of n rows; `places` is where a file lies on object storage, null on a disk."""
    made = []
    digest = hashlib.blake2b
    for start in range(0, len(places), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        keys = []
        for size, time_ns, place, box, shares in zip(
            files.size[part].tolist(),
            files.time_ns[part].tolist(),
            places[part].to_pylist(),
            box_lists(boxes[part]),
            relative[part].tolist(),
            strict=True,
        ):
            written = place or (ABSENT if size < 0 else f"{size} {time_ns}")
            text = f"relative {box}\n{written}" if shares and box else f"{box}\n{written}"
            keys.append(digest(text.encode(), digest_size=8).hexdigest())
        made.append(pa.array(keys, pa.string()))
    return pa.chunked_array(made, pa.string()).combine_chunks()


def box_lists(boxes: NDArray[np.float64]) -> list[list[float] | None]:
    """(n, 4) as lists, None where there is none."""
    none = np.isnan(boxes[:, 0])
    if none.all():
        return [None] * len(boxes)
    if not none.any():
        return boxes.tolist()  # type: ignore[no-any-return]
    rows = zip(boxes.tolist(), none.tolist(), strict=True)
    return [None if empty else box for box, empty in rows]
