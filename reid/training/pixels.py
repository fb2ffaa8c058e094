"""Annotations decoded once, kept on disk within a bound, shared by epochs, restarts and ranks.

The file is a plain NumPy array that every process maps into its memory: the system keeps in memory
what is used, once for all processes of the machine, and gives it back when memory is short.
"""

import fcntl
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid import schema, store
from reid.errors import ReidError, StorageDownError, StorageError, in_plain_words
from reid.images import Decode, ImageError, decode_crop, resize
from reid.layout import Window

COLUMNS = ["annotation_id", "root", "image_path", "bbox", "bbox_unit", "source_key"]
ROWS_AT_ONCE = 256  # decoded between two reports of progress
GREY = 128

# A row of the annotations → (size, size, 3) uint8, or the reason why there are none: stage, error.
Load = Callable[[Mapping[str, Any]], NDArray[np.uint8] | tuple[str, str]]


class Pixels:
    """Square uint8 pixels of annotations, by row number; made by `open_pixels`.

    Safe to use from several threads.

    Attributes:
        annotation_ids: of each row.
        size: side in pixels.
        good: (n,) bool, False where a row is known to have no usable image.
        cached: (n,) bool, True where the row was decoded beforehand; others are decoded whenever they
            are asked for.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        size: int,
        cache: NDArray[np.uint8],
        failed: Sequence[int],
        load: Load,
        threads: int,
    ) -> None:
        self.annotation_ids = [row["annotation_id"] for row in rows]
        self.size = size
        self.good = np.ones(len(rows), np.bool_)
        self.cached = np.arange(len(rows)) < len(cache)
        self.cached[list(failed)] = False
        self._rows, self._cache, self._load = rows, cache, load
        self._reasons: dict[int, tuple[str, str]] = {}
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="decode")
        # A file that was missing when the others were decoded may be there now.
        self.take(np.array(failed, np.int64))

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The pixels of some rows.

        Returns:
            (b, size, size, 3) uint8, and (b,) bool: False where there is no usable image; its pixels
            are grey, and `failures` says why.
        """
        pixels = np.full((len(rows), self.size, self.size, 3), GREY, np.uint8)
        kept = self.cached[rows]
        pixels[kept] = self._cache[rows[kept]]
        late = np.flatnonzero(~kept & self.good[rows])
        for place, found in zip(late, self._pool.map(self._load_row, rows[late]), strict=True):
            if isinstance(found, tuple):
                self._reasons[int(rows[place])] = found
                self.good[rows[place]] = False
            else:
                pixels[place] = found
        return pixels, self.good[rows]

    def failures(self) -> pa.Table:
        """Rows without a usable image, as far as any has been asked for (schema.FAILURES)."""
        found = [
            {
                "annotation_id": self._rows[row]["annotation_id"],
                "image_path": self._rows[row]["image_path"],
                "stage": stage,
                "error": error,
            }
            for row, (stage, error) in sorted(self._reasons.items())
        ]
        return pa.Table.from_pylist(found, schema=schema.FAILURES)

    def _load_row(self, row: int) -> NDArray[np.uint8] | tuple[str, str]:
        return self._load(self._rows[row])


def open_pixels(
    annotations: pa.Table,
    *,
    size: int,
    folder: str,
    cache_gb: float = 8.0,
    threads: int = 2,
    interpolation: str = "bicubic",
    decode: Decode = "scaled",
    bbox_margin: float = 0.0,
    max_megapixels: float = 80,
    window_of: Callable[[str], Window | None] | None = None,
    min_crop_pixels: int = 1,
    read: Callable[[str], bytes] = store.read_bytes,
    on_progress: Callable[[int, int], None] | None = None,
) -> Pixels:
    """Decode annotations into a file, or find that file from an earlier call.

    Processes that ask for the same at the same time wait for one of them to decode.

    Args:
        annotations: columns annotation_id, root, image_path, bbox, bbox_unit, source_key; species for
            windows.
        size: side in pixels that is kept; see `Trainer.stored_size`.
        folder: on a local disk; may be shared by runs: the file's name says what is in it.
        cache_gb: most that this one file may hold, 10⁹ bytes; the rows beyond it are decoded whenever
            they are needed.
        threads: decoding threads.
        interpolation, decode, bbox_margin, max_megapixels, min_crop_pixels: see `reid.images`.
        window_of: the part of the crop that is looked at, by species; None: all of it.
        read: gives a file's bytes.
        on_progress: called with (rows done, rows to do) while decoding.

    Raises:
        StorageError: the folder cannot be written.
        StorageDownError: the images' storage has been out of reach for long; an image is not to blame.
    """

    def load(row: Mapping[str, Any]) -> NDArray[np.uint8] | tuple[str, str]:
        path = store.join(row["root"], row["image_path"])
        try:
            data = read(path)
        except FileNotFoundError:
            return "read", f"missing: {path}"
        except StorageDownError:
            raise  # every image would fail like this one, and none of them is bad
        except (OSError, ReidError) as error:  # the latter: no such kind of storage
            return "read", f"cannot be read: {in_plain_words(error)}"
        try:
            crop = decode_crop(
                data,
                row["bbox"],
                target=size,
                bbox_unit=row["bbox_unit"],
                decode=decode,
                bbox_margin=bbox_margin,
                max_megapixels=max_megapixels,
                window=window_of and window_of(row["species"]),
                min_crop_pixels=min_crop_pixels,
            )
            return resize(crop.pixels, size, interpolation)
        except ImageError as error:
            return "decode", str(error)
        # Whatever one image does to a decoder is that image's failure, and not the job's.
        except Exception as error:  # noqa: BLE001
            return "decode", f"cannot be decoded: {in_plain_words(error)}"

    rows = annotations.select([*COLUMNS, "species"] if window_of else COLUMNS).to_pylist()
    kept = rows[: int(cache_gb * 1e9) // (size * size * 3)]
    what = [size, interpolation, decode, bbox_margin, max_megapixels, min_crop_pixels]
    what += [[row["annotation_id"], row["source_key"], row["bbox"]] for row in kept]
    what += [window_of(row["species"]) for row in kept] if window_of else []
    key = hashlib.blake2b(json.dumps(what).encode(), digest_size=8).hexdigest()
    array_file = Path(folder) / f"pixels-{key}.npy"
    failed_file = Path(folder) / f"pixels-{key}.json"  # written last: all is there when this is
    try:
        with _locked(Path(folder) / f"pixels-{key}.lock"):
            if not failed_file.is_file():
                failed = _decode_all(kept, size, load, threads, array_file, on_progress)
                store.write_text(str(failed_file), json.dumps(failed))
        failed = json.loads(failed_file.read_text())
        cache = np.empty((0, size, size, 3), np.uint8)
        if kept:
            cache = np.load(array_file, mmap_mode="r")
    except OSError as error:
        raise StorageError(f"{folder}: the decoded images cannot be kept there: {error}") from error
    return Pixels(rows, size, cache, failed, load, threads)


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    """One process at a time; the system opens the lock of a process that dies."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _decode_all(
    rows: Sequence[Mapping[str, Any]],
    size: int,
    load: Load,
    threads: int,
    file: Path,
    on_progress: Callable[[int, int], None] | None,
) -> list[int]:
    """Write the pixels of all rows; returns the rows that have none."""
    failed: list[int] = []
    if not rows:
        return failed
    # A killed process leaves its unfinished file, and the next one writes over it.
    aside = file.with_suffix(".part")
    shape = (len(rows), size, size, 3)
    missing = bytes(size * size * 3)
    try:
        # Written, not mapped: a full disk is an error of a write, and ends the process in a map.
        with (
            aside.open("wb") as handle,
            ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool,
        ):
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(handle, header)
            for start in range(0, len(rows), ROWS_AT_ONCE):
                part = rows[start : start + ROWS_AT_ONCE]
                for number, found in enumerate(pool.map(load, part), start):
                    if isinstance(found, tuple):
                        failed.append(number)
                    handle.write(missing if isinstance(found, tuple) else found.tobytes())
                if on_progress:
                    on_progress(start + len(part), len(rows))
    except (OSError, StorageError):
        aside.unlink(missing_ok=True)  # half of it would keep the disk full
        raise
    aside.replace(file)
    return failed
