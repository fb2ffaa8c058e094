"""Boxes in pixels of a picture whose size their source states, as boxes of the picture that is there."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reid.sources.file_headers import Header

Size = tuple[float, float]
_SAME_SHAPE = 0.01  # by how much width and height may differ in scale, from rounding


def fit_boxes(
    boxes: NDArray[np.float64], sizes: Sequence[Size | None], headers: Sequence[Header | None]
) -> tuple[NDArray[np.float64], dict[int, str], Counter[str]]:
    """Turn and scale boxes of n rows to the upright pictures.

    Args:
        boxes: (n, 4) x, y, width, height in pixels of the stated size; NaN for none.
        sizes: stated width and height; None where nothing is stated, or the box is no one of pixels.
        headers: of the pictures; None where one cannot be read.

    Returns:
        The boxes; row → why a box cannot be placed; what was done → rows.
    """
    boxes, bad, done = boxes.copy(), {}, Counter()  # type: ignore[var-annotated]
    for row, (size, header) in enumerate(zip(sizes, headers, strict=True)):
        if size is None or header is None or size == header.upright:
            continue
        stored = float(header.width), float(header.height)
        box = boxes[row]
        if header.orientation > 4 and _scale(size, stored) is not None:
            done["turned upright, as the stated size is that of the stored picture"] += 1
            box = _turned(box * _scale_of(size, stored), stored, header.orientation)
        elif _scale(size, header.upright) is not None:
            done["scaled, as the stated size is that of a smaller or larger copy"] += 1
            box = box * _scale_of(size, header.upright)
        else:
            bad[row] = (
                f"its box is of a picture of {size[0]:g} × {size[1]:g} pixels, and the file has "
                f"{header.upright[0]:g} × {header.upright[1]:g}"
            )
        boxes[row] = box
    return boxes, bad, done


def _scale(size: Size, other: Size) -> float | None:
    """How much larger the other is; None where it has another shape."""
    across, down = other[0] / size[0], other[1] / size[1]
    return across if abs(across / down - 1) < _SAME_SHAPE else None


def _scale_of(size: Size, other: Size) -> NDArray[np.float64]:
    return np.asarray([other[0] / size[0], other[1] / size[1]] * 2)


def _turned(box: NDArray[np.float64], stored: Size, orientation: int) -> NDArray[np.float64]:
    """A box of the stored picture, of an orientation from 5 to 8, in the upright one."""
    x, y, width, height = box.tolist()
    right, below = stored[0] - x - width, stored[1] - y - height
    left, top = {5: (y, x), 6: (below, x), 7: (below, right), 8: (y, right)}[orientation]
    return np.asarray([left, top, height, width])
