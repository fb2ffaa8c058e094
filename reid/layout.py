"""Where an annotation lies in its file: the upright image, the box in it, and the part that is looked at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from reid.image_files import ImageError, check_size, orientation_of

Box = tuple[int, int, int, int]  # left, top, right, bottom in whole pixels of the upright image
Window = tuple[float, float, float, float]  # left, top, right, bottom as shares of a crop's sides


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
    bbox_unit: str | None = None,
    min_crop_pixels: int = 1,
    window: Window | None = None,
) -> Layout:
    """Read size and orientation from the header, and place the box; arguments as in `decode_crop`.

    Raises:
        ImageError: the image is too large, or the box has no area in it, or too little.
    """
    check_size(image, max_megapixels)
    orientation = orientation_of(image)
    upright = image.size if orientation < 5 else image.size[::-1]
    if bbox is not None and bbox_unit == "relative":
        # Rounded, or 0.6 of 320 in single precision would reach into a 193rd pixel.
        sides = (*upright, *upright)
        bbox = [round(value * side, 3) for value, side in zip(bbox, sides, strict=True)]
    box = _pixel_box(bbox, upright, bbox_margin)
    width, height = box[2] - box[0], box[3] - box[1]
    if bbox is not None and min(width, height) < min_crop_pixels:
        raise ImageError(
            f"box of {width} × {height} pixels, under the limit of {min_crop_pixels} "
            "(images.min_crop_pixels)"
        )
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
