"""Places: what stands behind and in front of the animal at one camera station."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Floats = npt.NDArray[np.float32]
Colour = tuple[float, float, float]

PANORAMA_PX = (960, 540)  # width, height
_HORIZON = 0.3  # share of the height


@dataclass(frozen=True)
class Habitat:
    """The palette of a kind of place, sRGB in [0, 1]."""

    sky: Colour
    trees: Colour
    ground: Colour
    grass: tuple[Colour, Colour]  # each blade lies between the two
    blades: int
    blade_height: float  # of the picture's height, close to the camera
    trunks: int


HABITATS = (
    Habitat((0.80, 0.86, 0.92), (0.36, 0.40, 0.24), (0.62, 0.53, 0.35),
            ((0.55, 0.46, 0.26), (0.83, 0.74, 0.48)), 2600, 0.13, 1),  # dry savanna
    Habitat((0.72, 0.80, 0.84), (0.20, 0.30, 0.14), (0.33, 0.36, 0.19),
            ((0.22, 0.32, 0.10), (0.56, 0.62, 0.28)), 2600, 0.16, 2),  # green season
    Habitat((0.42, 0.50, 0.40), (0.12, 0.18, 0.09), (0.30, 0.24, 0.16),
            ((0.16, 0.26, 0.09), (0.42, 0.42, 0.20)), 700, 0.12, 7),  # woodland floor
    Habitat((0.78, 0.80, 0.82), (0.42, 0.38, 0.30), (0.58, 0.48, 0.38),
            ((0.48, 0.44, 0.28), (0.70, 0.62, 0.44)), 500, 0.09, 2),  # stony river bed
)  # fmt: skip


def clouds(
    shape: tuple[int, int], cell_px: tuple[float, float], rng: np.random.Generator
) -> Floats:
    """Smooth noise, (rows, columns) float32, about unit deviation, with blobs of `cell_px` (y, x)."""
    rows, columns = (max(2, round(n / cell) + 1) for n, cell in zip(shape, cell_px, strict=True))
    coarse = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
    smooth = coarse.resize((shape[1], shape[0]), Image.Resampling.BICUBIC)
    return np.asarray(smooth, dtype=np.float32) * np.float32(1.3)


def _mix(a: Colour, b: Colour, share: float) -> Colour:
    return (
        a[0] + (b[0] - a[0]) * share,
        a[1] + (b[1] - a[1]) * share,
        a[2] + (b[2] - a[2]) * share,
    )


def _ink(colour: Colour, light: float = 1.0) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, int(255 * c * light))) for c in colour)
    return red, green, blue


def draw_blades(
    picture: Image.Image,
    habitat: Habitat,
    rng: np.random.Generator,
    *,
    feet: Floats,
    heights_px: Floats,
    light: float = 1.0,
) -> None:
    """Draw blades of grass into `picture`; `feet` is (n, 2) float32, x and y in pixels."""
    pen = ImageDraw.Draw(picture)
    lean = rng.normal(rng.uniform(-0.2, 0.2), 0.3, len(feet))
    shares = rng.uniform(0, 1, len(feet))
    shade = light * rng.uniform(0.6, 1.1, len(feet))
    for (x, y), height, tilt, share, gain in zip(
        feet.tolist(), heights_px.tolist(), lean.tolist(), shares.tolist(), shade.tolist(),
        strict=True,
    ):  # fmt: skip
        half = max(0.6, 0.022 * height)
        bend = (x + 0.45 * tilt * height, y - 0.6 * height)
        tip = (x + 1.2 * tilt * height, y - height)
        pen.polygon(
            [(x - half, y), (bend[0] - 0.7 * half, bend[1]), tip, (bend[0] + 0.7 * half, bend[1]), (x + half, y)],
            fill=_ink(_mix(*habitat.grass, share), gain),
        )  # fmt: skip


def draw_trunk(
    picture: Image.Image, habitat: Habitat, rng: np.random.Generator, *, x: float, width: float, foot: float
) -> None:  # fmt: skip
    """Draw a tree trunk from the top of `picture` down to `foot`; all lengths in pixels."""
    rows = max(1, min(picture.height, round(foot)))
    columns = max(3, round(width))
    t = np.linspace(-1, 1, columns, dtype=np.float32)
    bark = 1 + 0.22 * clouds((rows, columns), (width * 0.7, max(1.5, width * 0.09)), rng)
    light = (0.55 + 0.45 * np.sqrt(np.clip(1 - (t - 0.35) ** 2 / 2, 0, 1)))[None, :] * bark
    tone = np.asarray(_mix(habitat.trees, (0.45, 0.37, 0.28), 0.7), np.float32)
    pixels = np.clip(light[..., None] * tone * 255, 0, 255).astype(np.uint8)
    lean = rng.uniform(-0.08, 0.08)
    offsets = np.linspace(0, lean * rows, 12)
    for first, offset in zip(np.linspace(0, rows, 13)[:-1], offsets, strict=True):
        last = min(rows, int(first + rows / 12) + 1)
        strip = Image.fromarray(pixels[int(first) : last])
        picture.paste(strip, (round(x + offset), int(first)))


def paint_panorama(habitat: Habitat, rng: np.random.Generator) -> Image.Image:
    """The empty view of one camera station, RGB, `PANORAMA_PX` in size, in flat daylight."""
    width, height = PANORAMA_PX
    horizon = round(_HORIZON * height)
    y = (np.arange(height, dtype=np.float32) / height)[:, None]
    canvas = np.empty((height, width, 3), np.float32)
    haze = 1 + 0.04 * clouds((height, width), (60, 200), rng)
    canvas[:] = np.asarray(habitat.sky, np.float32) * haze[..., None]
    crown = horizon - 0.12 * height * (1 + 0.45 * clouds((1, width), (9, 90), rng)[:1])
    crown = crown - 6 * clouds((2, width), (9, 7), rng)[:1]
    leaves = (
        1
        + 0.25 * clouds((height, width), (7, 9), rng)
        + 0.2 * clouds((height, width), (28, 34), rng)
    )
    trees = (y * height) > crown
    canvas[trees] = (np.asarray(habitat.trees, np.float32) * leaves[..., None])[trees]
    near = np.clip((y - _HORIZON) / (1 - _HORIZON), 0, 1)
    soil = (
        1
        + 0.12 * clouds((height, width), (22, 120), rng)
        + 0.12 * clouds((height, width), (5, 14), rng)
        + 0.10 * clouds((height, width), (2, 3), rng)
    ) * (0.86 + 0.2 * near)
    below = np.broadcast_to(y > _HORIZON, trees.shape)
    canvas[below] = (np.asarray(habitat.ground, np.float32) * soil[..., None])[below]
    picture = Image.fromarray(np.clip(canvas * 255, 0, 255).astype(np.uint8))

    for _ in range(habitat.trunks):
        depth = rng.uniform(0, 0.35)
        draw_trunk(
            picture, habitat, rng,
            x=float(rng.uniform(0, width)),
            width=float(rng.uniform(14, 26) * (1 + 4 * depth)),
            foot=horizon + float(depth * (height - horizon)),
        )  # fmt: skip
    depths = np.sort(rng.uniform(0, 1, habitat.blades).astype(np.float32) ** 0.8)
    feet = np.stack(
        [rng.uniform(0, width, habitat.blades), horizon + depths * (height * 1.08 - horizon)],
        axis=1,
    )
    # Grass grows in tufts: the noise keeps a blade short between them.
    tufts = clouds((height, width), (24, 60), rng)
    rows = np.clip(feet[:, 1].astype(int), 0, height - 1)
    vigour = np.clip(0.7 + 0.5 * tufts[rows, feet[:, 0].astype(int)], 0.15, 1.6)
    heights = habitat.blade_height * height * (0.12 + 0.88 * depths) * vigour
    draw_blades(
        picture, habitat, rng, feet=feet.astype(np.float32), heights_px=heights.astype(np.float32)
    )
    return picture
