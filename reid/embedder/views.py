"""Test-time augmentation: named views of a batch of crops."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reid.errors import InputError

if TYPE_CHECKING:
    import torch

# `scale:<f>` stands for any factor in this range.
SCALE_RANGE = (0.25, 4.0)
FIVE_CROP_SHARE = 0.875  # side of each of the five crops, as in torchvision's 224-from-256

_SCALE = re.compile(r"scale:(\d*\.?\d+)")
_KNOWN = ("identity", "hflip", "vflip", "rot90", "rot180", "rot270", "scale:<f>", "five_crop")


def check_views(names: Sequence[str]) -> None:
    """Refuse views that do not exist or repeat.

    Raises:
        InputError: names the view, and lists those that are known.
    """
    if not names:
        raise InputError(f"tta: no view given; known views: {', '.join(_KNOWN)}")
    for name in names:
        scale = _SCALE.fullmatch(name)
        if scale and not SCALE_RANGE[0] <= float(scale[1]) <= SCALE_RANGE[1]:
            raise InputError(
                f"tta: {name}: the factor must be in {SCALE_RANGE[0]} … {SCALE_RANGE[1]}"
            )
        if not scale and name not in _KNOWN:
            raise InputError(f"tta: unknown view {name!r}; known views: {', '.join(_KNOWN)}")
    if len(set(names)) < len(names):
        raise InputError(
            f"tta: a view is given twice: {', '.join(names)}; it would only count double"
        )


def make_views(batch: "torch.Tensor", names: Sequence[str]) -> "list[torch.Tensor]":
    """All views of a batch; `five_crop` gives five of them, every other name one.

    Args:
        batch: (b, s, s, 3) uint8.
        names: checked by `check_views`. `rot90` turns counter-clockwise. `scale:f` zooms by f about the
            centre: f > 1 cuts the border off, f < 1 shows the image smaller on its edge colours.

    Returns:
        Tensors of the batch's shape, dtype and device.
    """
    return [view for name in names for view in _views(batch, name)]


def _views(batch: "torch.Tensor", name: str) -> "list[torch.Tensor]":
    import torch

    if name == "identity":
        return [batch]
    if name == "hflip":
        return [batch.flip(2)]
    if name == "vflip":
        return [batch.flip(1)]
    if name.startswith("rot"):
        return [torch.rot90(batch, int(name[3:]) // 90, (1, 2))]
    if name == "five_crop":
        return _five_crop(batch)
    return [_zoom(batch, float(name.removeprefix("scale:")))]


def _resized(batch: "torch.Tensor", size: int) -> "torch.Tensor":
    """Square batch to another side, antialiased bicubic, uint8 in and out."""
    from torchvision.transforms.v2 import InterpolationMode
    from torchvision.transforms.v2 import functional as F

    planes = F.resize(
        batch.permute(0, 3, 1, 2), [size, size], InterpolationMode.BICUBIC, antialias=True
    )
    result: torch.Tensor = planes.permute(0, 2, 3, 1)
    return result


def _five_crop(batch: "torch.Tensor") -> "list[torch.Tensor]":
    side = batch.shape[1]
    part = max(1, round(side * FIVE_CROP_SHARE))
    end, middle = side - part, (side - part) // 2
    corners = [(0, 0), (0, end), (end, 0), (end, end), (middle, middle)]
    return [_resized(batch[:, y : y + part, x : x + part], side) for y, x in corners]


def _zoom(batch: "torch.Tensor", factor: float) -> "torch.Tensor":
    side = batch.shape[1]
    if factor >= 1:
        part = max(1, round(side / factor))
        start = (side - part) // 2
        return _resized(batch[:, start : start + part, start : start + part], side)
    import torch

    small = _resized(batch, max(1, round(side * factor)))
    before = (side - small.shape[1]) // 2
    # Repeated edge colours disturb a network less than a black frame; indexing does it for uint8.
    index = (torch.arange(side, device=batch.device) - before).clamp(0, small.shape[1] - 1)
    return small[:, index][:, :, index]
