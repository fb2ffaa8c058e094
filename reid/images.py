"""A file's bytes to the pixels that a model sees: decode, orient, crop, resize.

JPEGs, which nearly all camera-trap images are, go through libjpeg-turbo (simplejpeg), which can
decode an image far larger than the model's input straight to a half, a quarter or an eighth of its
size. Everything else goes through Pillow.
"""

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    import torch

# A reduced-size decode keeps at least this many pixels for one of the model's input. At 2 the
# embedding's cosine with a full decode is 0.996 in the worst twentieth of 2-megapixel images.
SCALED_DECODE_FACTOR = 2

ORIENTATION = 0x0112  # EXIF tag

Decode = Literal["scaled", "full"]
Box = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels of the upright image
Window = tuple[float, float, float, float]  # left, top, right, bottom as shares of a crop's sides


class ImageError(ValueError):
    """An image that cannot be embedded; the message is the reason in the failures table."""


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
    decode: Decode = "scaled",
    bbox_margin: float = 0.0,
    max_megapixels: float = 80,
    window: Window | None = None,
) -> Crop:
    """Decode one annotation's pixels, upright and cropped.

    Args:
        data: the file, in any format that Pillow reads.
        bbox: x, y, w, h in pixels of the upright image (after its EXIF orientation); None: all of it.
            A box that reaches over the border is clipped.
        target: side in pixels of the model's input; limits how far a scaled decode may reduce.
        decode: `scaled` reduces JPEGs while decoding them; `full` never does.
        bbox_margin: widens the box on each side by this share of its width and height.
        max_megapixels: a larger image is refused before it is decoded.
        window: the part of the crop that is looked at, say the trunk; None: all of it.

    Raises:
        ImageError: there is no usable image in `data`; the message says why.
    """
    with open_image(data) as image:
        layout = lay_out(
            image, bbox, bbox_margin=bbox_margin, max_megapixels=max_megapixels, window=window
        )
        pixels = None
        if image.format == "JPEG" and image.mode in ("RGB", "L"):
            least = _reduced_size(image.size, layout.box, target, decode)
            pixels = _decode_jpeg(data, layout.orientation, least)
        if pixels is None:
            pixels = _to_rgb(ImageOps.exif_transpose(image))
    scale_x, scale_y = pixels.shape[1] / layout.width, pixels.shape[0] / layout.height
    left, top, right, bottom = layout.box
    cropped = pixels[
        math.floor(top * scale_y) : max(math.ceil(bottom * scale_y), math.floor(top * scale_y) + 1),
        math.floor(left * scale_x) : max(
            math.ceil(right * scale_x), math.floor(left * scale_x) + 1
        ),
    ]
    return Crop(cropped, right - left, bottom - top)


@contextmanager
def open_image(data: bytes) -> Iterator[Image.Image]:
    """Pillow's view of a file, of which only the header is read so far.

    Raises:
        ImageError: the file is not an image, or what the caller does with it fails.
    """
    if not data:
        raise ImageError("empty file (0 bytes)")
    try:
        with Image.open(io.BytesIO(data)) as image:
            yield image
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, UnidentifiedImageError) else "far too large"
        raise ImageError(f"{reason}: {error}") from error
    # Pillow's decoders raise all of these on broken files, a struct error or a failed lookup included.
    except (OSError, SyntaxError, ValueError, ArithmeticError, LookupError, EOFError) as error:
        if isinstance(error, ImageError):
            raise
        raise ImageError(f"cannot be decoded: {type(error).__name__}: {error}") from error


@dataclass(frozen=True, slots=True)
class Layout:
    """Where an annotation lies in its file.

    Attributes:
        orientation: EXIF's, 1 … 8; 1 is stored upright.
        width, height: of the upright image in pixels.
        box: the annotation, inside of the upright image.
    """

    orientation: int
    width: int
    height: int
    box: Box


def lay_out(
    image: Image.Image,
    bbox: Sequence[float] | None,
    *,
    bbox_margin: float,
    max_megapixels: float,
    window: Window | None = None,
) -> Layout:
    """Read size and orientation from the header, and place the box; arguments as in `decode_crop`.

    Raises:
        ImageError: the image is too large, or the box has no area in it.
    """
    megapixels = image.width * image.height / 1e6
    if megapixels > max_megapixels:
        raise ImageError(
            f"{image.width} × {image.height} is {megapixels:.0f} megapixels, over the limit of "
            f"{max_megapixels:g} (images.max_megapixels)"
        )
    orientation = image.getexif().get(ORIENTATION, 1)
    if orientation not in range(
        1, 9
    ):  # written by a broken camera; Pillow leaves such images alone
        orientation = 1
    if image.format == "TIFF":
        orientation = 1  # Pillow turns these itself, and says their upright size
    upright = image.size if orientation < 5 else image.size[::-1]
    box = _pixel_box(bbox, upright, bbox_margin)
    return Layout(orientation, *upright, box if window is None else window_box(box, window))


def window_box(box: Box, window: Window) -> Box:
    """The pixels of `box` that a window shows; at least one each way."""
    left, top, right, bottom = box
    wide, high = right - left, bottom - top
    x = min(left + math.floor(window[0] * wide), right - 1)
    y = min(top + math.floor(window[1] * high), bottom - 1)
    return (
        x,
        y,
        max(x + 1, min(right, left + math.ceil(window[2] * wide))),
        max(y + 1, min(bottom, top + math.ceil(window[3] * high))),
    )


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

    # A permuted view of (h, w, 3) is torch's channels_last, which has the fast uint8 kernel.
    planes = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)
    return np.ascontiguousarray(resize_planes(planes, size, interpolation).numpy())


def resize_planes(planes: "torch.Tensor", size: int, interpolation: str) -> "torch.Tensor":
    """`resize` on any device: (3, h, w) uint8 to (size, size, 3) uint8."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    resized = F.resize(planes, [size, size], InterpolationMode(interpolation), antialias=True)
    pixels: torch.Tensor = resized.permute(1, 2, 0)
    return pixels


def _pixel_box(bbox: Sequence[float] | None, size: tuple[int, int], margin: float) -> Box:
    """The annotation's box inside of an upright image of width and height `size`."""
    width, height = size
    if bbox is None:
        return 0, 0, width, height
    x, y, w, h = (float(value) for value in bbox)
    if not all(map(math.isfinite, (x, y, w, h))) or w <= 0 or h <= 0:
        raise ImageError(f"zero-area box: x={x:g} y={y:g} w={w:g} h={h:g}")
    left, right = max(0, math.floor(x - w * margin)), min(width, math.ceil(x + w + w * margin))
    top, bottom = max(0, math.floor(y - h * margin)), min(height, math.ceil(y + h + h * margin))
    if right <= left or bottom <= top:
        raise ImageError(
            f"box outside the image: x={x:g} y={y:g} w={w:g} h={h:g}, image {width} × {height}"
        )
    return left, top, right, bottom


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


def _decode_jpeg(data: bytes, orientation: int, least: tuple[int, int]) -> np.ndarray | None:
    """Upright RGB pixels, or None where libjpeg-turbo complains and Pillow shall have the last word."""
    import simplejpeg

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


def _to_rgb(image: Image.Image) -> np.ndarray:
    """8-bit RGB from any mode; transparency is dropped, 16 bits keep their upper 8."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        grey = np.clip(values >> 8 if image.mode != "I" or values.max() > 255 else values, 0, 255)
        return np.repeat(grey.astype(np.uint8)[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise ImageError("floating-point pixels have no agreed brightness; save as 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB"))
