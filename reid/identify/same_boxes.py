"""When two boxes of one image are one animal that was boxed twice, and when two animals."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Detectors drop boxes that overlap by more than about 0.5 themselves, so that two animals in front of
# each other rarely reach this; boxes of one animal by two versions of a detector nearly always do.
SAME_BOX_IOU = 0.7

Box = Sequence[float]  # x, y, width, height


def overlap(one: Box, other: Box) -> float:
    """Intersection over union of two boxes: 0 … 1; 0 where one has no area."""
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right = min(one[0] + one[2], other[0] + other[2])
    bottom = min(one[1] + one[3], other[1] + other[3])
    shared = max(0.0, right - left) * max(0.0, bottom - top)
    union = one[2] * one[3] + other[2] * other[3] - shared
    return shared / union if union > 0 else 0.0


def pair_up(
    stored: Sequence[Box], found: Sequence[Box], least: float
) -> list[tuple[int, int, float]]:
    """Boxes of one image that stand for the same animals, one to one, by greatest overlap first.

    Args:
        stored: boxes.
        found: boxes.
        least: overlap from which two boxes are the same.

    Returns:
        (place in stored, place in found, overlap).
    """
    if not stored or not found:
        return []
    table = np.asarray([[overlap(one, other) for other in found] for one in stored])
    pairs = []
    taken: tuple[set[int], set[int]] = set(), set()
    # Stable, so that among equals the first ones meet.
    for place in np.argsort(-table, axis=None, kind="stable"):
        i, j = divmod(int(place), len(found))
        if table[i, j] < least:
            break
        if i not in taken[0] and j not in taken[1]:
            pairs.append((i, j, float(table[i, j])))
            taken[0].add(i)
            taken[1].add(j)
    return pairs


def told_apart(
    images: NDArray[np.int64], boxes: Sequence[Box | None], least: float = SAME_BOX_IOU
) -> NDArray[np.int64]:
    """Of rows of one image, those that are two animals for being two boxes in it.

    A box that overlaps an earlier one of its image by `least` may be the same animal, and a whole
    image holds every animal that is boxed in it: neither says that there are two.

    Args:
        images: (n,) number of each row's image, −1 = none.
        boxes: (n,) box of each row, None = the whole image.
        least: overlap.

    Returns:
        (n,) int64: as `images`, −1 for rows that are told apart from nobody.
    """
    apart = images.copy()
    # Most images have one row, and are left alone.
    shared = np.bincount(images[images >= 0], minlength=1)[np.maximum(images, 0)] > 1
    rows_of = np.flatnonzero(shared & (images >= 0))
    rows_of = rows_of[np.argsort(images[rows_of], kind="stable")]
    cuts = np.flatnonzero(np.diff(images[rows_of])) + 1
    for rows in np.split(rows_of, cuts):
        whole = [row for row in rows if boxes[row] is None]
        if 0 < len(whole) < len(rows):
            apart[whole] = -1
        kept: list[Box] = []
        for row in rows:
            box = boxes[row]
            if box is None:
                continue
            if any(overlap(box, other) >= least for other in kept):
                apart[row] = -1
            else:
                kept.append(box)
    return apart
