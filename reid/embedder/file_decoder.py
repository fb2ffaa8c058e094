"""From the bytes of a file to the inputs of a model, or to a failure that says why; one file at a time."""

import datetime
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from reid import store
from reid.embedder.device_decode import PlainJpeg, plain_jpeg
from reid.embedder.ensemble import Embedder
from reid.errors import ReidError, StorageDownError, in_plain_words
from reid.image_files import ImageError
from reid.images import Decode, Frame, open_frame
from reid.layout import Window
from reid.picture_hash import hash_with_box

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

Row = Mapping[str, Any]  # of the annotations table


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a model takes, and what is kept of the file.

    Attributes:
        row: the annotation.
        content_hash: of what the file shows, and the box.
        width, height: of the crop, pixels.
        taken: the camera's clock and its minutes from UTC, as EXIF has them.
        inputs: one a model.
    """

    row: Row
    content_hash: str
    width: int
    height: int
    taken: tuple[datetime.datetime | None, int | None]
    inputs: "list[np.ndarray] | list[torch.Tensor]"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Read, and to be decoded on the device."""

    row: Row
    jpeg: PlainJpeg


@dataclass(frozen=True, slots=True)
class FailedRow:
    """An annotation that cannot be used: in which stage, and why."""

    row: Row
    stage: str
    error: str


Loaded = Decoded | Waiting | FailedRow


@dataclass(frozen=True, slots=True)
class FileDecoder:
    """How files are read and decoded; the arguments of `embed_annotations`. Threads share one."""

    embedder: Embedder
    decode: Literal["scaled", "full", "nvjpeg"]
    bbox_margin: float
    max_megapixels: float
    min_crop_pixels: int
    window: Window | None
    read: Callable[[str], bytes]

    def load(self, rows: Sequence[Row]) -> Sequence[Loaded]:
        """All annotations of one file.

        Raises:
            StorageDownError: every image would fail like this one, and none of them is bad.
        """
        path = store.join(rows[0]["root"], rows[0]["image_path"])
        try:
            data = self.read(path)
        except FileNotFoundError:
            return [FailedRow(row, "read", f"missing: {path}") for row in rows]
        except StorageDownError:
            raise
        except (OSError, ReidError) as error:  # the latter: no such kind of storage
            return [
                FailedRow(row, "read", f"cannot be read: {in_plain_words(error)}") for row in rows
            ]
        return self._for_device(rows, data) if self.decode == "nvjpeg" else self.here(rows, data)

    def here(self, rows: Sequence[Row], data: bytes) -> Sequence[Decoded | FailedRow]:
        """All annotations of one file, decoded by the CPU, once."""
        how: Decode = "full" if self.decode == "nvjpeg" else self.decode
        try:
            with open_frame(
                data,
                target=self.embedder.largest_input,
                decode=how,
                bbox_margin=self.bbox_margin,
                max_megapixels=self.max_megapixels,
                min_crop_pixels=self.min_crop_pixels,
                window=self.window,
            ) as frame:
                return [self._crop(row, frame) for row in rows]
        except ImageError as error:
            return [FailedRow(row, "decode", str(error)) for row in rows]

    def _for_device(self, rows: Sequence[Row], data: bytes) -> Sequence[Loaded]:
        found: list[Loaded] = []
        jpeg: PlainJpeg | None = None
        for row in rows:
            try:
                jpeg = plain_jpeg(
                    data,
                    row["bbox"],
                    bbox_unit=row["bbox_unit"],
                    bbox_margin=self.bbox_margin,
                    max_megapixels=self.max_megapixels,
                    min_crop_pixels=self.min_crop_pixels,
                    window=self.window,
                    other=jpeg,
                )
            except ImageError as error:
                found.append(FailedRow(row, "decode", str(error)))
                continue
            if jpeg is None:  # then it is for no box of this file
                return self.here(rows, data)
            found.append(Waiting(row, jpeg))
        return found

    def _crop(self, row: Row, frame: Frame) -> Decoded | FailedRow:
        try:
            crop = frame.crop(row["bbox"], row["bbox_unit"])
            inputs = self.embedder.prepare(crop.pixels)
        except ImageError as error:
            return FailedRow(row, "decode", str(error))
        # Whatever one image does to a decoder is that image's failure, and not the job's.
        except Exception as error:  # noqa: BLE001
            _log.debug("%s cannot be decoded", row["image_path"], exc_info=True)
            reason = f"cannot be decoded: {in_plain_words(error)}"
            return FailedRow(row, "decode", reason)
        hashed = hash_with_box(frame.digest, row["bbox"])
        return Decoded(row, hashed, crop.width, crop.height, frame.taken, inputs)
