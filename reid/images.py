"""A file's bytes to the pixels that a model sees: decode, orient, crop, resize.

JPEGs, which nearly all camera-trap images are, go through libjpeg-turbo (simplejpeg), which can
decode an image far larger than the model's input straight to a half, a quarter or an eighth of its
size. Everything else goes through Pillow.
"""

import datetime
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from reid.exif import time_taken
from reid.image_files import (
    ImageError as ImageError,
)
from reid.image_files import (
    bytes_to_decode,
    check_size,
    is_jpeg,
    memory,
    open_image,
    orientation_of,
    upright_part,
)
from reid.layout import Box, Window, lay_out
from reid.picture_hash import picture_digest

if TYPE_CHECKING:
    import torch

# A reduced-size decode keeps at least this many pixels for one of the model's input. At 2 the
# embedding's cosine with a full decode is 0.996 in the worst twentieth of 2-megapixel images.
SCALED_DECODE_FACTOR = 2

Decode = Literal["scaled", "full"]


@dataclass(frozen=True, slots=True)
class Crop:
    """The pixels of one annotation.

    Attributes:
        pixels: (h, w, 3) uint8, RGB, upright; smaller than the original after a scaled decode.
        width, height: size in pixels of the original image.
    """

    pixels: np.ndarray
    width: int
    height: int


def decode_crop(
    data: bytes,
    bbox: Sequence[float] | None = None,
    *,
    target: int,
    bbox_unit: str | None = None,
    decode: Decode = "scaled",
    bbox_margin: float = 0.0,
    max_megapixels: float = 80,
    min_crop_pixels: int = 1,
    window: Window | None = None,
) -> Crop:
    """Decode one annotation's pixels, upright and cropped; arguments as in `open_frame`.

    Raises:
        ImageError: there is no usable image in `data`, or the box has no area in it.
    """
    with open_frame(
        data,
        target=target,
        decode=decode,
        bbox_margin=bbox_margin,
        max_megapixels=max_megapixels,
        min_crop_pixels=min_crop_pixels,
        window=window,
    ) as frame:
        return frame.crop(bbox, bbox_unit)


@contextmanager
def open_frame(
    data: bytes,
    *,
    target: int,
    decode: Decode = "scaled",
    bbox_margin: float = 0.0,
    max_megapixels: float = 80,
    min_crop_pixels: int = 1,
    window: Window | None = None,
) -> Iterator["Frame"]:
    """An image file, decoded once for all the annotations in it.

    While it is open it holds its share of the memory that threads may decode into, so that whatever is
    made of the crops is made inside.

    Args:
        data: the file, in one of `reid.image_files.FORMATS`.
        target: side in pixels of the model's input; limits how far a scaled decode may reduce.
        decode: `scaled` reduces JPEGs while decoding them; `full` never does.
        bbox_margin: widens a box on each side by this share of its width and height.
        max_megapixels: a larger image is refused before it is decoded.
        min_crop_pixels: a box with a shorter side inside the image is refused; a whole image is not.
        window: the part of each crop that is looked at, say the trunk; None: all of it.

    Raises:
        ImageError: there is no usable image in `data`, or what is done with it fails; the message says
            why.
    """
    with open_image(data) as image:
        check_size(image, max_megapixels)
        with memory.take(bytes_to_decode(image)):
            said = image.size
            orientation = orientation_of(image)
            if image.size != said:
                raise ImageError(f"its header says {said}, and it holds {image.size} pixels")
            placing = {
                "bbox_margin": bbox_margin,
                "max_megapixels": max_megapixels,
                "min_crop_pixels": min_crop_pixels,
                "window": window,
            }
            yield Frame(data, image, orientation, target, decode, placing)


class Frame:
    """An open image file; made by `open_frame`."""

    def __init__(
        self,
        data: bytes,
        image: Image.Image,
        orientation: int,
        target: int,
        decode: Decode,
        placing: Mapping[str, Any],  # the limits of `lay_out`
    ) -> None:
        self._data, self._image, self._orientation = data, image, orientation
        self._target, self._decode = target, decode
        self._placing = placing
        # What libjpeg-turbo made of the file, by eighths of its size.
        self._decoded: dict[int, np.ndarray | None] = {}

    @functools.cached_property
    def digest(self) -> bytes:
        """16 bytes over what the picture shows, see `reid.picture_hash`."""
        return picture_digest(self._data, self._image, self._orientation)

    @functools.cached_property
    def taken(self) -> tuple[datetime.datetime | None, int | None]:
        """When the picture was taken and the camera's offset from UTC, see `reid.exif`."""
        return time_taken(self._image)

    def crop(self, bbox: Sequence[float] | None, bbox_unit: str | None = None) -> Crop:
        """The pixels of one annotation. They do not depend on which others were asked for.

        Args:
            bbox: x, y, w, h of the upright image (after its EXIF orientation); None: all of it. A box
                that reaches over the border is clipped.
            bbox_unit: `relative`: the box is in shares of width and height; else in pixels.

        Raises:
            ImageError: the box has no area in the image, or the pixels cannot be decoded.
        """
        image = self._image
        layout = lay_out(image, bbox, bbox_unit=bbox_unit, **self._placing)
        left, top, right, bottom = layout.box
        pixels = None
        if is_jpeg(image):
            least = _reduced_size(image.size, layout.box, self._target, self._decode)
            eighths = _eighths(image.size, least)
            if eighths not in self._decoded:
                self._decoded[eighths] = _decode_jpeg(
                    self._data, layout.orientation, image.size, eighths
                )
            pixels = self._decoded[eighths]
        if pixels is None:
            pixels = upright_part(image, layout.box, layout.orientation)
            return Crop(pixels, right - left, bottom - top)
        scale_x, scale_y = pixels.shape[1] / layout.width, pixels.shape[0] / layout.height
        x, y = math.floor(left * scale_x), math.floor(top * scale_y)
        cropped = pixels[
            y : max(math.ceil(bottom * scale_y), y + 1), x : max(math.ceil(right * scale_x), x + 1)
        ]
        return Crop(cropped, right - left, bottom - top)


def resize(pixels: np.ndarray, size: int, interpolation: str = "bicubic") -> np.ndarray:
    """Stretch to a square, antialiased.

    Args:
        pixels: (h, w, 3) uint8.
        size: side of the result in pixels.
        interpolation: `bicubic` or `bilinear`.

    Returns:
        (size, size, 3) uint8, contiguous.
    """
    import torch

    # Turned pictures run backwards through memory, which torch does not know; NumPy calls those that are
    # one pixel wide or high contiguous all the same, so that only the strides tell.
    if min(pixels.strides) < 0 or not (pixels.flags.c_contiguous and pixels.flags.writeable):
        pixels = pixels.copy()
    # A permuted view of (h, w, 3) is torch's channels_last, which has the fast uint8 kernel.
    planes = torch.from_numpy(pixels).permute(2, 0, 1)
    return np.ascontiguousarray(resize_planes(planes, size, interpolation).numpy())


def resize_planes(planes: "torch.Tensor", size: int, interpolation: str) -> "torch.Tensor":
    """`resize` on any device: (3, h, w) uint8 to (size, size, 3) uint8."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    resized = F.resize(planes, [size, size], InterpolationMode(interpolation), antialias=True)
    pixels: torch.Tensor = resized.permute(1, 2, 0)
    return pixels


def _reduced_size(
    stored: tuple[int, int],
    box: Box,
    target: int,
    decode: Decode,
) -> tuple[int, int]:
    """Least width and height, in the stored orientation, that keep the crop sharp; 0, 0: all pixels."""
    if decode == "full":
        return 0, 0
    need = SCALED_DECODE_FACTOR * target
    left, top, right, bottom = box
    # The same factor serves both sides, so that the picture's shape is kept by libjpeg's rounding.
    keep = min(1.0, max(need / (right - left), need / (bottom - top)))
    if keep > 0.5:
        return 0, 0
    return math.ceil(stored[0] * keep), math.ceil(stored[1] * keep)


def _eighths(stored: tuple[int, int], least: tuple[int, int]) -> int:
    """The smallest eighths of its size at which libjpeg-turbo gives that many pixels; 0, 0: all."""
    if least == (0, 0):
        return 8
    return next(
        n
        for n in range(1, 9)
        if all(-(-side * n // 8) >= need for side, need in zip(stored, least, strict=True))
    )


def _decode_jpeg(
    data: bytes, orientation: int, stored: tuple[int, int], eighths: int
) -> np.ndarray | None:
    """Upright RGB pixels, or None where libjpeg-turbo complains and Pillow shall have the last word."""
    import simplejpeg

    least = (0, 0) if eighths == 8 else tuple(-(-side * eighths // 8) for side in stored)
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(
            data, "RGB", min_width=least[0], min_height=least[1]
        )
    except ValueError:
        return None
    # EXIF: how to turn the stored picture upright, as ImageOps.exif_transpose does.
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels
