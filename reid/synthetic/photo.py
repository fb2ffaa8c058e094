"""One photograph: the animal in its place, seen through a camera trap."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from reid.synthetic.body import BodyPart, Build, Layer, assemble, rasterise
from reid.synthetic.coat import Coat
from reid.synthetic.scene import Habitat, clouds, draw_blades, draw_trunk
from reid.synthetic.shot import Shot

Floats = npt.NDArray[np.float32]


class _Frame:
    """Where body coordinates fall in the picture, and back."""

    def __init__(self, shot: Shot, parts: list[BodyPart]):
        self.shot = shot
        # Detectors, and the people who draw boxes, cut long tails off.
        body = [part for part in parts if part.b[0] > -0.45]
        ends = np.array([p for part in body for p in (part.a, part.b)], dtype=np.float64)
        radii = np.repeat([max(part.radius) for part in body], 2)
        flat = self._project(ends)
        low, high = (flat - radii[:, None]).min(axis=0), (flat + radii[:, None]).max(axis=0)
        size = high - low
        left, top, right, bottom = shot.margins
        low = low - size * (left, top)
        high = high + size * (right, bottom)
        size = high - low
        self.low = low
        self.px_per_body = shot.long_side_px / float(size.max())
        self.width, self.height = (max(64, round(float(s) * self.px_per_body)) for s in size)
        feet = self._project(np.array([p.b for p in parts if p.b[1] > 0.3]))
        self.ground_px = (float(feet[:, 1].max()) - low[1]) * self.px_per_body

    def _project(self, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Body coordinates to picture coordinates in body lengths; not yet mirrored."""
        shot = self.shot
        x = points[:, 0]
        y = (points[:, 1] - shot.pose.arch * (x - 0.5) ** 2) * (1 + shot.pose.taper * (x - 0.5))
        x = (x - 0.5) * np.cos(shot.yaw_rad)
        c, s = np.cos(shot.roll_rad), np.sin(shot.roll_rad)
        return np.stack([c * x - s * y, s * x + c * y], axis=1)

    def grid(self) -> tuple[Floats, Floats]:
        """(height, width) float32 body coordinates of every pixel."""
        shot = self.shot
        u = (np.arange(self.width, dtype=np.float32) + 0.5) / np.float32(self.px_per_body)
        v = (np.arange(self.height, dtype=np.float32) + 0.5) / np.float32(self.px_per_body)
        if shot.faces_left:
            u = u[::-1]
        px = u[None, :] + np.float32(self.low[0])
        py = v[:, None] + np.float32(self.low[1])
        c, s = np.float32(np.cos(shot.roll_rad)), np.float32(np.sin(shot.roll_rad))
        x = (c * px + s * py) / np.float32(np.cos(shot.yaw_rad)) + np.float32(0.5)
        y = -s * px + c * py
        y = y / (1 + np.float32(shot.pose.taper) * (x - np.float32(0.5)))
        y = y + np.float32(shot.pose.arch) * (x - np.float32(0.5)) ** 2
        return np.asarray(x, np.float32), np.asarray(y, np.float32)


def _step(values: Floats, width: float) -> Floats:
    """0 below −width/2, 1 above +width/2, straight between."""
    return np.asarray(np.clip(values / np.float32(width) + np.float32(0.5), 0, 1), np.float32)


def _paint(layer: Layer, coat: Coat, x: Floats, softness: float) -> Floats:
    """(n, 3) float32: the coat's colours at n visible pixels, unlit; `x` as in body coordinates."""
    open_level = np.float32(min(coat.hollow_level, 1e3)) + 4 * layer.solid
    edge = _step(layer.field - np.float32(coat.mark_level), softness)
    inner = _step(layer.field - open_level, softness)
    broken = _step(layer.grain + np.float32(1.1), 0.5) if coat.hollow_level < 1e3 else np.float32(1)
    below = np.clip((layer.normal_y - np.float32(0.35)) * 2.2, 0, 1) * np.clip(layer.belly, 0, 1)
    mark = edge * (1 - inner) * (broken * (1 - layer.solid) + layer.solid) * layer.marks
    lost = np.float32(coat.fade) * np.clip(np.float32(0.9) - x, 0, 1)
    mark = mark * (1 - 0.6 * below) * (1 - lost) * (1 - (1 - np.float32(coat.limbs)) * layer.solid)
    ground = coat.ground * (1 + 0.05 * layer.grain[..., None])
    ground = ground * (
        1 - 0.22 * (inner * (1 - layer.solid))[..., None]
    )  # a rosette's darker heart
    ground = ground + (coat.belly - ground) * (0.8 * below)[..., None]
    colour = ground + (coat.marks - ground) * mark[..., None]
    dark = np.array([0.09, 0.07, 0.06], np.float32)
    return np.asarray(colour + (dark - colour) * np.clip(layer.dark, 0, 1)[..., None], np.float32)


def _light(layer: Layer, shot: Shot) -> Floats:
    """(n,) float32 gain from the light that falls on the body at n visible pixels."""
    rest = np.sqrt(np.clip(1 - layer.normal_x**2 - layer.normal_y**2, 0, 1))
    if shot.night:  # the flash sits on the camera
        return np.asarray(0.35 + 0.75 * rest, np.float32)
    across, up = np.float32(np.cos(shot.sun_rad)), np.float32(np.sin(shot.sun_rad))
    toward = layer.normal_x * (-across if shot.faces_left else across) - layer.normal_y * up
    return np.asarray(0.55 + 0.5 * np.clip(0.55 * toward + 0.6 * rest, 0, 1.2), np.float32)


def take(
    build: Build,
    coat: Coat,
    shot: Shot,
    panorama: Image.Image,
    habitat: Habitat,
    rng: np.random.Generator,
) -> Image.Image:
    """The finished picture, RGB, `shot.long_side_px` on its long side.

    `coat` is the flank that faces the camera; `rng` draws what no one would remember of a picture:
    blades of grass, noise.
    """
    near_parts, far_parts, eye = assemble(build, shot.pose)
    frame = _Frame(shot, near_parts + far_parts)
    width, height = frame.width, frame.height
    x, y = frame.grid()
    picture = _background(panorama, shot, frame)
    pixels: Floats = np.asarray(picture, dtype=np.float32) / np.float32(255)
    if shot.night:
        pixels *= _flash(frame, rng)[..., None]

    edge = 1.6 / frame.px_per_body
    softness = float(np.clip(20 / frame.px_per_body, 0.2, 0.6))
    for parts, gain in ((far_parts, 0.55), (near_parts, 1.0)):
        layer = rasterise(parts, x, y, coat, elevation_rad=shot.elevation_rad)
        fur = 1 + 0.05 * clouds((height, width), (2, 3), rng)
        cover = _step(-layer.depth, edge)
        seen = cover > 0
        visible = layer.at(seen)
        gloss = _light(visible, shot) * fur[seen] * np.float32(gain)
        lit = _paint(visible, coat, x[seen], softness) * gloss[:, None]
        if gain < 1:  # first the shadow on the ground, between the far legs and the place
            pixels *= (1 - np.float32(0.5) * _shadow(frame))[..., None]
        pixels[seen] += (lit - pixels[seen]) * cover[seen][:, None]
    _draw_eye(pixels, x, y, eye, build, shot)
    if shot.dapples:
        leaf = clouds((height, width), (0.09 * height, 0.07 * width), rng)
        # Leaves throw no shadow on the sky, which only the top of the frame can hold.
        lands = np.clip(np.linspace(-1, 2, height, dtype=np.float32), 0, 1)[:, None]
        lands = np.maximum(lands, cover)
        pixels = pixels * (1 - np.float32(shot.dapples) * lands * _step(leaf - 0.3, 0.8))[..., None]

    picture = Image.fromarray(np.clip(pixels * 255, 0, 255).astype(np.uint8))
    _foreground(picture, shot, habitat, rng)
    return _camera(picture, shot, rng)


def _background(panorama: Image.Image, shot: Shot, frame: _Frame) -> Image.Image:
    """The piece of the panorama behind the animal, its feet standing on the ground."""
    wide, high = panorama.size
    left, ground, zoom = shot.window
    box_h = zoom * high
    box_w = min(float(wide), box_h * frame.width / frame.height)
    box_h = box_w * frame.height / frame.width
    x0 = left * (wide - box_w)
    y0 = float(
        np.clip(ground * high - box_h * frame.ground_px / frame.height, 0, max(0.0, high - box_h))
    )
    piece = panorama.resize(
        (frame.width, frame.height),
        Image.Resampling.BICUBIC,
        box=(x0, y0, x0 + box_w, min(high, y0 + box_h)),
    )
    if shot.faces_left != (left > 0.5):  # stations look both ways; the side must not tell the place
        piece = piece.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return piece.filter(ImageFilter.GaussianBlur(0.8))


def _flash(frame: _Frame, rng: np.random.Generator) -> Floats:
    """Infra-red light that falls off into the distance: bright ground in front, black behind."""
    y = np.linspace(-1, 1, frame.height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, frame.width, dtype=np.float32)[None, :]
    centre = np.float32(rng.uniform(-0.5, 0.5))
    return np.asarray((0.30 + 0.28 * y) * (1 - 0.35 * (x - centre) ** 2), np.float32).clip(0.03, 1)


def _shadow(frame: _Frame) -> Floats:
    y = (np.arange(frame.height, dtype=np.float32)[:, None] - frame.ground_px) / (
        0.07 * frame.px_per_body
    )
    x = (np.arange(frame.width, dtype=np.float32)[None, :] - 0.5 * frame.width) / (
        0.36 * frame.width
    )
    return np.asarray(np.exp(-0.5 * (x**2 + y**2)), np.float32)


def _draw_eye(
    pixels: Floats, x: Floats, y: Floats, eye: tuple[float, float], build: Build, shot: Shot
) -> None:
    size = np.float32(0.14 * build.head[2])
    close = _step(
        size - np.hypot(x - np.float32(eye[0]), y - np.float32(eye[1])), 0.5 * float(size)
    )
    tone = np.float32(1.0 if shot.night else 0.05)  # eyes shine back into the flash
    pixels += (tone - pixels) * (close * (0.9 if shot.night else 0.8))[..., None]


def _foreground(
    picture: Image.Image, shot: Shot, habitat: Habitat, rng: np.random.Generator
) -> None:
    """Grass and trunks between the camera and the animal."""
    width, height = picture.size
    light = 0.5 if shot.night else 1.0
    count = int(shot.grass * 70)
    if count:
        centre, spread = rng.uniform(0, width), rng.uniform(0.1, 0.35) * width
        feet = np.stack(
            [rng.normal(centre, spread, count), rng.uniform(1.0, 1.12, count) * height], axis=1
        )
        heights = rng.uniform(0.12, 0.45, count) * height
        draw_blades(
            picture, habitat, rng,
            feet=feet.astype(np.float32), heights_px=heights.astype(np.float32), light=light,
        )  # fmt: skip
    if shot.trunk:
        girth = float(rng.uniform(0.07, 0.14)) * width
        draw_trunk(
            picture, habitat, rng,
            x=float(rng.choice([rng.uniform(0.0, 0.3), rng.uniform(0.65, 0.95)])) * width,
            width=girth, foot=height,
        )  # fmt: skip


def _camera(picture: Image.Image, shot: Shot, rng: np.random.Generator) -> Image.Image:
    """Lens, sensor and film: blur, light, colour, noise."""
    if shot.blur_px > 0.3:
        picture = picture.filter(ImageFilter.GaussianBlur(shot.blur_px))
    reach = round(shot.motion_px)
    pixels = np.asarray(picture, dtype=np.float32) / 255
    if reach >= 2:  # the animal walks: streaks along the rows
        padded = np.pad(pixels, ((0, 0), (reach // 2, reach - reach // 2), (0, 0)), mode="edge")
        run = np.cumsum(padded, axis=1)
        pixels = (run[:, reach:] - run[:, :-reach]) / np.float32(reach)
    if shot.night:
        grey = pixels @ np.array([0.5, 0.35, 0.15], np.float32)  # near infra-red follows red most
        pixels = np.repeat(grey[..., None], 3, axis=2)
    else:
        warm = np.float32(shot.warmth)
        pixels = pixels * np.array([1 + warm, 1, 1 - warm], np.float32)
    pixels = (pixels * np.float32(shot.exposure) - np.float32(0.45)) * np.float32(
        shot.contrast
    ) + np.float32(0.45)
    grain = rng.standard_normal((*pixels.shape[:2], 1), dtype=np.float32)
    pixels = pixels + np.float32(shot.noise) * grain
    return Image.fromarray(np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8))
