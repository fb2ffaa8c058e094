"""Names of annotations, and keys that tell when a name stands for something else."""

import hashlib
import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import store
from reid.sources import places

RELATIVE, PIXELS = "relative", "px"
PIXEL_FORM = "%s\n%.3f,%.3f,%.3f,%.3f"
RELATIVE_FORM = "%s\nrelative %.5f,%.5f,%.5f,%.5f"

_LARGEST = 1e12  # scaled; up to here a product's error is far below what `_NEAR_TIE` allows
_NEAR_TIE = 1e-3
_PLAIN = (1e-4, 1e16)  # Python writes numbers outside with an exponent


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


def id_of_content(annotation: str, content_hash: str) -> str:
    """An id for a picture whose path and box are those of another picture."""
    text = f"{annotation}\n{content_hash}"
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def failed_id(source: str, line: int, image_path: str) -> str:
    """An id for a row that could not be read; no annotation has it."""
    text = f"unread\n{source}\n{line}\n{image_path}"
    return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()


def source_key(
    root: str, image_path: str, bbox: Sequence[float] | None, unit: str | None = PIXELS
) -> str:
    """16 hex digits that change when another picture takes an annotation's id.

    Over the box and the file's size and time of change, so that a collection on a disk may be moved;
    on object storage, whose clocks count in seconds, over the file's place as well.
    """
    path = store.join(root, image_path)
    if store.is_remote(path):
        state = store.states_of(places.parent(path), [path.rpartition("/")[2]]).get(path)
        written = path if state is None else f"{path} {state[0]} {state[1]}"
    else:
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
    # As the table of annotations holds it.
    box = None if bbox is None else [float(np.float32(value)) for value in bbox]
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
    return _by_parts(
        len(paths),
        lambda part: _hex_digests(_id_texts(paths[part], boxes[part], relative[part]), 12),
    )


def _id_texts(paths: pa.Array, boxes: NDArray[np.float64], relative: NDArray[np.bool_]) -> pa.Array:
    """What `annotation_id` digests."""
    none = np.isnan(boxes[:, 0])
    if none.all():
        return pc.binary_join_element_wise(paths, "", "\n")
    if none.any() or (relative.any() and not relative.all()):
        groups = (none, ~none & relative, ~none & ~relative)
        return _each(groups, lambda rows: _id_texts(paths.take(rows), boxes[rows], relative[rows]))
    shares = bool(relative[0])
    numbers = [_fixed_texts(column, 5 if shares else 3) for column in boxes.T]
    box = pc.binary_join_element_wise(*numbers, ",")
    return pc.binary_join_element_wise(paths, box, "\nrelative " if shares else "\n")


def source_keys(
    files: Files, remote: pa.Array, boxes: NDArray[np.float64], relative: NDArray[np.bool_]
) -> pa.Array:
    """`source_key` of n rows; `remote` is where a file lies on object storage, null on a disk."""
    boxes = boxes.astype(np.float32).astype(np.float64)
    written = _size_and_time(files)
    if remote.null_count < len(remote):
        there = pc.if_else(
            pa.array(files.size < 0), remote, pc.binary_join_element_wise(remote, written, " ")
        )
        written = pc.coalesce(there, written)
    return _by_parts(
        len(written),
        lambda part: _hex_digests(_key_texts(written[part], boxes[part], relative[part]), 8),
    )


def _size_and_time(files: Files) -> pa.Array:
    size, time = (pa.array(column).cast(pa.string()) for column in (files.size, files.time_ns))
    return pc.if_else(
        pa.array(files.size < 0), ABSENT, pc.binary_join_element_wise(size, time, " ")
    )


def _key_texts(
    written: pa.Array, boxes: NDArray[np.float64], relative: NDArray[np.bool_]
) -> pa.Array:
    """What `key_of` digests."""
    none = np.isnan(boxes[:, 0])
    if none.all():
        return pc.binary_join_element_wise("None", written, "\n")
    if none.any():
        return _each(
            (none, ~none), lambda rows: _key_texts(written.take(rows), boxes[rows], relative[rows])
        )
    numbers = pc.binary_join_element_wise(*map(_number_texts, boxes.T), ", ")
    before = pa.array(["[", "relative ["]).take(pa.array(relative.astype(np.int8)))
    return pc.binary_join_element_wise(before, numbers, "]\n", written, "")


def _by_parts(n: int, make: Callable[[slice], pa.Array]) -> pa.Array:
    """Strings of n rows, of which only some are Python objects at one time."""
    parts = [make(slice(start, start + AT_ONCE)) for start in range(0, n, AT_ONCE)]
    return pa.chunked_array(parts, pa.string()).combine_chunks()


def _each(
    groups: Sequence[NDArray[np.bool_]], make: Callable[[NDArray[np.int64]], pa.Array]
) -> pa.Array:
    """Strings of rows that are made group by group, in the rows' order."""
    rows = [np.flatnonzero(group) for group in groups if group.any()]
    texts = pa.concat_arrays([make(one) for one in rows])
    return texts.take(pa.array(np.argsort(np.concatenate(rows))))


# Of many at once, a column at a time. The texts are what Python's own formatting gives, to the digit: ids that
# were made of them stay.


def _hex_digests(texts: pa.Array, size: int) -> pa.Array:
    """(n,) strings of 2 × size hex digits: blake2b of (n,) strings without nulls."""
    digest = hashlib.blake2b
    made = b"".join(
        [digest(text, digest_size=size).digest() for text in texts.cast(pa.binary()).to_pylist()]
    )
    starts = np.arange(len(texts) + 1, dtype=np.int32) * (2 * size)
    return pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(starts), pa.py_buffer(made.hex().encode())
    )


def _fixed_texts(values: NDArray[np.float64], decimals: int) -> pa.Array:
    """(n,) numbers as `%.3f` writes them, with that many decimals."""
    scaled = values * 10.0**decimals
    nearest = np.rint(scaled)
    # A tie of the product may be none of the number itself, and -0.0001 is written -0.000.
    tie = np.abs(np.abs(scaled - nearest) - 0.5) < _NEAR_TIE
    odd = tie | np.signbit(values) | ~(scaled < _LARGEST)
    whole, part = np.divmod(np.where(odd, 0, nearest).astype(np.int64), 10**decimals)
    if part.any():
        parts = _parts(decimals).take(pa.array(part.astype(np.int32)))
    else:
        parts = pa.scalar("." + "0" * decimals)
    texts = pc.binary_join_element_wise(pa.array(whole).cast(pa.string()), parts, "")
    return _with(texts, odd, [f"{value:.{decimals}f}" for value in values[odd].tolist()])


@cache
def _parts(decimals: int) -> pa.Array:
    return pa.array([f".{part:0{decimals}d}" for part in range(10**decimals)], pa.string())


def _number_texts(values: NDArray[np.float64]) -> pa.Array:
    """(n,) numbers as Python's `repr` writes them."""
    size = np.abs(values)
    whole = (values == np.rint(values)) & (size < _PLAIN[1])
    odd = ~whole & ~((size >= _PLAIN[0]) & (size < _PLAIN[1]))
    odd |= (values == 0) & np.signbit(values)
    if whole.all():
        texts = pa.array(values.astype(np.int64)).cast(pa.string())
    else:
        texts = pa.array(values).cast(pa.string())
    ends = pa.array(["", ".0"]).take(pa.array(whole.astype(np.int8)))
    texts = pc.binary_join_element_wise(texts, ends, "")
    return _with(texts, odd, [repr(value) for value in values[odd].tolist()])


def _with(texts: pa.Array, rows: NDArray[np.bool_], other: list[str]) -> pa.Array:
    if not other:
        return texts
    return pc.replace_with_mask(texts, pa.array(rows), pa.array(other, pa.string()))
