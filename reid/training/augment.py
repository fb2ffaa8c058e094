"""Random changes of a batch of pixels, on any device.

`draw_changes` says what happens to each image, `apply_changes` does it: random numbers are drawn in
NumPy, so a batch is changed alike on every device. Crop, turn, shift, zoom, shear and mirror are one
resampling, and brightness, contrast, saturation and hue are one product of matrices, so an image costs
about a millisecond of one CPU core at 224 px; torchvision's transforms, one after the other and one image
at a time, serve as the oracle of the tests.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from reid.models.spec import Triple
from reid.training.settings import TrainSettings

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as torchvision
LONGEST_ERASED = 3.3  # most that the sides of an erased rectangle differ, as a factor

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Changes:
    """What happens to each image of a batch.

    Attributes:
        warp: (b, 2, 3): where in the image, −1 … 1 from border to border, a place of the result lies.
        brightness, contrast, saturation: (b,) factors; 1 is no change.
        hue_rad: (b,) turn of the colour circle.
        blur_sigma: (b,) pixels; 0 is no blur.
        erase: (b, 4) left, top, right, bottom of the erased rectangle as shares of the side.
    """

    warp: Floats
    brightness: Floats
    contrast: Floats
    saturation: Floats
    hue_rad: Floats
    blur_sigma: Floats
    erase: Floats


def draw_changes(
    settings: TrainSettings, mirror: NDArray[np.bool_], rng: np.random.Generator
) -> Changes:
    """Draw what happens to a batch.

    Args:
        settings: what may happen, see `TrainSettings` from `crop_scale` on.
        mirror: (b,) bool: the images that may be mirrored.
        rng: of this batch.
    """
    n = len(mirror)

    def around(centre: float, most: float) -> Floats:
        return rng.uniform(centre - most, centre + most, n)

    return Changes(
        warp=_draw_warp(settings, mirror, rng),
        brightness=around(1, settings.brightness),
        contrast=around(1, settings.contrast),
        saturation=around(1, settings.saturation),
        hue_rad=around(0, settings.hue * 2 * math.pi),
        blur_sigma=np.where(
            rng.random(n) < settings.blur_probability, rng.uniform(*settings.blur_sigma, n), 0
        ),
        erase=_draw_erase(settings, n, rng),
    )


def _draw_warp(
    settings: TrainSettings, mirror: NDArray[np.bool_], rng: np.random.Generator
) -> Floats:
    n = len(mirror)
    area = rng.uniform(settings.crop_scale, 1, n)
    stretch = math.log(settings.crop_ratio)
    ratio = np.exp(rng.uniform(-stretch, stretch, n))
    width, height = (np.minimum(1, np.sqrt(area * r)) for r in (ratio, 1 / ratio))
    turn = np.radians(rng.uniform(-settings.rotation_degrees, settings.rotation_degrees, n))
    shear = np.tan(np.radians(rng.uniform(-settings.shear_degrees, settings.shear_degrees, n)))
    zoom = 1 / rng.uniform(1 - settings.zoom, 1 + settings.zoom, n)
    mirrored = mirror & (rng.random(n) < settings.flip_probability)
    warp = np.empty((n, 2, 3))
    # Columns: where the result's x axis and y axis point to. The mirror comes first, the crop last.
    sign = np.where(mirrored, -1.0, 1.0)
    warp[:, 0, 0], warp[:, 0, 1] = sign * np.cos(turn), shear * np.cos(turn) - np.sin(turn)
    warp[:, 1, 0], warp[:, 1, 1] = sign * np.sin(turn), shear * np.sin(turn) + np.cos(turn)
    warp[:, :, :2] *= (zoom[:, None] * np.stack([width, height], 1))[:, :, None]
    # −1 … 1 is two sides long.
    room = np.stack([1 - width, 1 - height], 1)
    shift = 2 * rng.uniform(-settings.translation, settings.translation, (n, 2))
    warp[:, :, 2] = rng.uniform(-1, 1, (n, 2)) * room + shift
    return warp


def _draw_erase(settings: TrainSettings, n: int, rng: np.random.Generator) -> Floats:
    area = rng.uniform(*settings.erase_area, n)
    stretch = math.log(LONGEST_ERASED)
    ratio = np.exp(rng.uniform(-stretch, stretch, n))
    size = np.minimum(1, np.sqrt(np.stack([area * ratio, area / ratio], 1)))
    start = rng.random((n, 2)) * (1 - size)
    erase = np.concatenate([start, start + size], 1)
    erase[rng.random(n) >= settings.erase_probability] = 0
    return erase


def apply_changes(
    pixels: torch.Tensor, changes: Changes, *, size: int, mean: Triple, std: Triple
) -> torch.Tensor:
    """Change a batch and prepare it for the network.

    Args:
        pixels: (b, s, s, 3) uint8.
        changes: one of each a row.
        size: side of the result in pixels.
        mean, std: per channel, of pixels in 0..1.

    Returns:
        (b, 3, size, size) float32 on the device of `pixels`.

    Differs: torchvision clips after each change of colour, this once, after all of them; its hue goes
        through HSV, this turns about the axis of greys, which keeps R + G + B.
    """
    device = pixels.device
    planes = pixels.permute(0, 3, 1, 2).contiguous().float()
    grid = _grid(torch.as_tensor(changes.warp, dtype=torch.float32, device=device), size)
    # Reflected borders look more like a picture than black ones.
    planes = F.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
    planes = _recolour(planes / 255, changes).clamp_(0, 1)
    for row in np.flatnonzero(changes.blur_sigma).tolist():
        planes[row] = _blur(planes[row], float(changes.blur_sigma[row]))
    planes = _normalise(planes, mean, std)
    borders = np.rint(changes.erase * size).astype(np.int64)
    left, top, right, bottom = torch.from_numpy(borders).to(device).T[:, :, None]
    place = torch.arange(size, device=device)
    across, down = (left <= place) & (place < right), (top <= place) & (place < bottom)
    return planes.masked_fill_(
        (down[:, :, None] & across[:, None, :])[:, None], 0
    )  # the mean colour


def prepare(pixels: torch.Tensor, *, size: int, mean: Triple, std: Triple) -> torch.Tensor:
    """The whole of each image, unchanged, as the network takes it; shapes as in `apply_changes`."""
    from torchvision.transforms.v2 import functional as TF

    planes = pixels.permute(0, 3, 1, 2)
    resized: torch.Tensor = TF.resize(planes, [size, size], antialias=True)
    return _normalise(resized / 255, mean, std)


def _normalise(planes: torch.Tensor, mean: Triple, std: Triple) -> torch.Tensor:
    """In place."""
    shape = (1, 3, 1, 1)
    planes.sub_(torch.tensor(mean, device=planes.device).view(shape))
    return planes.div_(torch.tensor(std, device=planes.device).view(shape))


def _grid(warp: torch.Tensor, size: int) -> torch.Tensor:
    """(b, 2, 3) -> (b, size, size, 2); `F.affine_grid` takes five times as long on a CPU."""
    centres = (torch.arange(size, device=warp.device) * 2 + 1) / size - 1
    across = warp[:, :, 0, None] * centres  # (b, 2, size)
    down = warp[:, :, 1, None] * centres + warp[:, :, 2, None]
    grid = warp.new_empty(len(warp), size, size, 2)
    for axis in range(2):
        torch.add(across[:, axis, None, :], down[:, axis, :, None], out=grid[..., axis])
    return grid


def _recolour(planes: torch.Tensor, changes: Changes) -> torch.Tensor:
    """(b, 3, h, w): brightness, contrast, saturation and hue in this order, as one matrix an image."""
    n, _, height, width = planes.shape
    grey = np.tile(LUMA, (3, 1))  # makes all channels the grey value
    brightness = changes.brightness[:, None, None]
    contrast, saturation = changes.contrast[:, None, None], changes.saturation[:, None, None]
    colours = _hue_matrices(changes.hue_rad) @ (saturation * np.eye(3) + (1 - saturation) * grey)
    matrix = torch.as_tensor(colours * contrast * brightness, dtype=torch.float32)
    matrix = matrix.to(planes.device)
    # Contrast keeps the mean grey value, which saturation and hue leave alone.
    share = torch.as_tensor((1 - contrast) * brightness, dtype=torch.float32, device=planes.device)
    luma = torch.tensor(LUMA, device=planes.device)
    offset = share * (planes.mean(dim=(2, 3)) @ luma)[:, None, None]
    flat = torch.baddbmm(offset, matrix, planes.view(n, 3, -1))
    return flat.view(n, 3, height, width)


def _hue_matrices(angle_rad: Floats) -> Floats:
    """(b, 3, 3): rotations about the axis of greys (Rodrigues)."""
    cos, sin = np.cos(angle_rad)[:, None, None], np.sin(angle_rad)[:, None, None]
    cross = np.array([[0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    result: Floats = cos * np.eye(3) + sin * cross + (1 - cos) / 3
    return result


def _blur(planes: torch.Tensor, sigma: float) -> torch.Tensor:
    """(3, h, w): Gaussian, cut off at three sigma, with reflected borders."""
    from torchvision.transforms.v2 import functional as TF

    radius = min(max(1, math.ceil(3 * sigma)), min(planes.shape[1:]) - 1)
    result: torch.Tensor = TF.gaussian_blur(planes, [2 * radius + 1] * 2, [sigma, sigma])
    return result
