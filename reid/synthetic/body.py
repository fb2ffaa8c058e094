"""Bodies: a four-legged animal as tapered capsules, posed, then sampled pixel by pixel.

Body coordinates: x from hip (0) to shoulder (1), y downwards, in body lengths. The head is at +x.
"""

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from reid.synthetic.coat import PLANE_HEIGHT, TEXELS_PER_BODY, Coat

Floats = npt.NDArray[np.float32]

_BLEND = 0.022  # body lengths over which neighbouring parts melt into each other


@dataclass(frozen=True)
class Build:
    """The proportions of a species, in body lengths and radians."""

    torso: tuple[float, float]  # radius at hip, at chest
    leg: float  # from hip joint to ground
    thigh: tuple[float, float]  # radius of the upper leg, at its top and at the knee
    shank: tuple[float, float]
    neck: tuple[float, float, float, float]  # length, rise, radius at the base, at the head
    head: tuple[float, float, float, float]  # length, droop, radius of the skull, of the muzzle
    ear: tuple[float, float]  # length, radius
    tail: tuple[float, float, float]  # length, droop, radius
    mane: float = 0.0  # height of an upright mane
    tuft: bool = False  # at the end of the tail


@dataclass(frozen=True)
class BodyPart:
    """A tapered capsule and the piece of coat that it wears."""

    a: tuple[float, float]
    b: tuple[float, float]
    radius: tuple[float, float]  # at a, at b
    origin: tuple[float, float]  # of its coat, on the plane: along, across
    marks: float = 1.0  # 0 plain … 1 fully marked
    solid: float = 0.0  # 1: open marks close, as on a leopard's limbs
    dark: float = 0.0  # muzzle, hooves, mane: share of a plain dark colour
    belly: float = 0.0  # how far pale hair reaches up from below: 0 none … 1


@dataclass(frozen=True)
class Pose:
    """How the animal stands in one picture."""

    swing_rad: tuple[float, float, float, float]  # near hind, near fore, far hind, far fore
    neck_rad: float
    head_rad: float
    tail_rad: float
    arch: float  # bend of the spine: y += arch·(x − ½)²
    taper: float  # perspective of a turned body: the head end is 1 + taper/2 times as large


def draw_pose(rng: np.random.Generator, *, liveliness: float = 1.0) -> Pose:
    """A pose between standing and walking."""
    stride = rng.uniform(0.0, 0.34) * liveliness
    lead = rng.choice([-1.0, 1.0])
    sway = rng.normal(0, 0.05, 4) * liveliness
    near_hind, near_fore, far_hind, far_fore = np.array([-1, 0.8, 1, -0.8]) * lead * stride + sway
    grazing = rng.random() < 0.1
    return Pose(
        (float(near_hind), float(near_fore), float(far_hind), float(far_fore)),
        float(rng.uniform(-0.2, 0.22) * liveliness + (0.55 if grazing else 0.0)),
        float(rng.uniform(-0.3, 0.3) * liveliness),
        float(rng.uniform(-0.5, 0.6)),
        float(rng.uniform(-0.09, 0.09)),
        float(rng.uniform(-0.16, 0.16)),
    )


def _along(start: tuple[float, float], length: float, angle_rad: float) -> tuple[float, float]:
    return start[0] + length * float(np.cos(angle_rad)), start[1] + length * float(
        np.sin(angle_rad)
    )


def _leg(
    build: Build, x: float, y: float, swing_rad: float, *, fore: bool, coat_u: float
) -> list[BodyPart]:
    """Thigh, shank and foot; a positive swing takes the foot forward."""
    down = np.pi / 2
    reach = build.leg - y
    bend = 0.10 if fore else 0.30
    knee = _along((x, y), 0.5 * reach, down - swing_rad - (0.02 if fore else bend))
    # A leg that trails lifts its foot a little; one that leads is straight.
    fold = max(0.0, -swing_rad) * 0.8
    ankle = _along(knee, 0.5 * reach * (1 - 0.25 * fold), down - 0.8 * swing_rad + bend + fold)
    toe = _along(ankle, 0.8 * build.shank[1] + 0.03, 0.25 + fold)
    row = PLANE_HEIGHT / 2
    return [
        BodyPart((x, y), knee, build.thigh, (coat_u, row), solid=0.6, marks=0.95),
        BodyPart(knee, ankle, build.shank, (coat_u + 0.5 * reach, row), solid=1.0, marks=0.85),
        BodyPart(
            ankle,
            toe,
            (build.shank[1], build.shank[1] * 1.05),
            (coat_u + reach, row),
            solid=1.0,
            marks=0.3,
            dark=0.6 if build.mane or build.leg > 0.9 else 0.0,
        ),
    ]


def assemble(
    build: Build, pose: Pose
) -> tuple[list[BodyPart], list[BodyPart], tuple[float, float]]:
    """The posed animal: parts on the near side, legs on the far side, and where its eye is."""
    hip, chest = build.torso
    near = [
        BodyPart((0.0, 0.0), (1.0, 0.02), (hip, chest), (0.3, 0.0), belly=1.0),
        BodyPart((0.25, 0.02), (0.8, 0.05), (hip * 0.97, chest), (0.55, 0.0), belly=1.0),
    ]
    far = _leg(build, -0.02, 0.06, pose.swing_rad[2], fore=False, coat_u=0.2) + _leg(
        build, 1.0, 0.08, pose.swing_rad[3], fore=True, coat_u=1.4
    )
    near += _leg(build, -0.03, 0.04, pose.swing_rad[0], fore=False, coat_u=0.2)
    near += _leg(build, 1.0, 0.06, pose.swing_rad[1], fore=True, coat_u=1.4)

    length, rise, base, top = build.neck
    neck_rad = -rise + pose.neck_rad
    shoulder = (1.0, -0.35 * chest + 0.02)
    nape = _along(shoulder, length, neck_rad)
    near.append(BodyPart(shoulder, nape, (base, top), (1.3, 0.0), belly=0.25, solid=0.4))
    head_length, droop, skull, muzzle = build.head
    head_rad = neck_rad + rise + droop - 0.5 * pose.neck_rad + pose.head_rad
    brow = _along(nape, 0.3 * skull, head_rad)
    nose = _along(brow, head_length, head_rad)
    middle = _along(brow, 0.55 * head_length, head_rad)
    u = 1.35 + length
    near.append(
        BodyPart(brow, middle, (skull, 0.5 * (skull + muzzle)), (u, 0.0), solid=1, marks=0.8)
    )
    near.append(
        BodyPart(middle, nose, (0.5 * (skull + muzzle), muzzle), (u, 0.2), marks=0.4, solid=1)
    )
    tip = _along(nose, 0.55 * muzzle, head_rad)
    near.append(BodyPart(tip, tip, (muzzle * 0.62, muzzle * 0.62), (u, 0.2), marks=0, dark=0.75))
    ear_length, ear_radius = build.ear
    root = _along(brow, 0.75 * skull, head_rad - 2.0)
    ear = _along(root, ear_length, head_rad - 2.05)
    near.append(
        BodyPart(root, ear, (ear_radius, ear_radius * 0.55), (u, 0.1), marks=0.1, dark=0.25)
    )
    if build.mane:
        back = np.pi / 2 + 0.15
        low = _along(_along(shoulder, 0.15 * length, neck_rad), base * 0.75, neck_rad - back)
        high = _along(nape, top * 0.95, neck_rad - back)
        near.append(BodyPart(low, high, (build.mane, build.mane), (1.3, 0.1), dark=0.35))

    tail_length, tail_droop, tail_radius = build.tail
    angle = np.pi - tail_droop + pose.tail_rad * 0.4
    joint = (-hip * 0.75, -hip * 0.45)
    for piece in range(3):
        # Long tails swing out and up again, short ones hang.
        end = _along(joint, tail_length / 3, angle)
        last = piece == 2
        thick = tail_radius * (1.5 if last and build.tuft else 1 - 0.1 * piece)
        near.append(
            BodyPart(
                joint,
                end,
                (tail_radius * (1 - 0.1 * piece), thick),
                (0.1 + 0.2 * piece, 0.55),
                solid=1.0,
                marks=0.8,
                dark=0.7 if last and (build.tuft or tail_length > 0.6) else 0.0,
            )
        )
        joint, angle = end, angle + (0.35 + 0.5 * pose.tail_rad) * (1.0 if tail_length > 0.6 else 0)
    skull_eye = _along(brow, 0.28 * head_length, head_rad - 0.25)
    return near, far, (skull_eye[0], skull_eye[1] - 0.25 * skull)


@dataclass
class Layer:
    """What a set of parts looks like from the side, for every pixel of a (rows, columns) grid."""

    depth: Floats  # signed distance to the outline in body lengths, negative inside
    normal_x: Floats  # of the surface, in [-1, 1]
    normal_y: Floats
    field: Floats  # the coat's planes where this pixel touches them
    grain: Floats
    marks: Floats  # blended properties of the parts
    solid: Floats
    dark: Floats
    belly: Floats

    def at(self, seen: npt.NDArray[np.bool_]) -> "Layer":
        """The same for the n pixels that `seen` marks, each plane as (n,)."""
        return Layer(*(getattr(self, plane.name)[seen] for plane in fields(self)))


def rasterise(
    parts: list[BodyPart], x: Floats, y: Floats, coat: Coat, *, elevation_rad: float
) -> Layer:
    """Melt `parts` into one outline and wrap the coat around them.

    Args:
        parts: tapered capsules; where several meet, the deepest one counts most.
        x, y: (rows, columns) float32, body coordinates of each pixel.
        coat: the flank that is seen.
        elevation_rad: how far the camera looks down on the animal: shifts the coat around it.
    """
    shape = x.shape
    total = np.full(shape, 1e-9, dtype=np.float32)
    sums = {
        name: np.zeros(shape, np.float32)
        for name in ("x", "y", "field", "grain", "marks", "solid", "dark", "belly")
    }
    for part in parts:
        window = _window(part, x, y)
        if window is None:
            continue
        px, py = x[window] - np.float32(part.a[0]), y[window] - np.float32(part.a[1])
        dx, dy = part.b[0] - part.a[0], part.b[1] - part.a[1]
        length = max(float(np.hypot(dx, dy)), 1e-6)
        dx, dy = dx / length, dy / length
        along = px * np.float32(dx) + py * np.float32(dy)
        share = np.clip(along / np.float32(length), 0, 1)
        radius = np.float32(part.radius[0]) + share * np.float32(part.radius[1] - part.radius[0])
        off_x = (px - share * np.float32(length * dx)) / radius
        off_y = (py - share * np.float32(length * dy)) / radius
        reach = np.sqrt(off_x * off_x + off_y * off_y)
        weight = np.exp(np.clip((1 - reach) * radius / np.float32(_BLEND), -12, 12))
        # Around the body the coat is wrapped as on a cylinder: it crowds towards the outline.
        across = np.clip(off_y * np.float32(dx) - off_x * np.float32(dy), -0.98, 0.98)
        mean_radius = 0.5 * (part.radius[0] + part.radius[1])
        wrap = (np.arcsin(across) + np.float32(elevation_rad)) * np.float32(mean_radius)
        row = (wrap + np.float32(part.origin[1] + PLANE_HEIGHT)) * np.float32(TEXELS_PER_BODY)
        column = (along + np.float32(part.origin[0] + 0.5)) * np.float32(TEXELS_PER_BODY)
        where = np.stack([row, column])
        total[window] += weight
        for name, value in (
            ("x", off_x),
            ("y", off_y),
            ("field", ndimage.map_coordinates(coat.field, where, order=1, mode="grid-wrap")),
            ("grain", ndimage.map_coordinates(coat.grain, where, order=1, mode="grid-wrap")),
        ):
            sums[name][window] += weight * value
        for name in ("marks", "solid", "dark", "belly"):
            value = getattr(part, name)
            if value:
                sums[name][window] += weight * np.float32(value)
    mean = {name: value / total for name, value in sums.items()}
    return Layer(
        -np.float32(_BLEND) * np.log(total),
        mean["x"],
        mean["y"],
        mean["field"],
        mean["grain"],
        mean["marks"],
        mean["solid"],
        mean["dark"],
        mean["belly"],
    )


def _window(part: BodyPart, x: Floats, y: Floats) -> tuple[slice, slice] | None:
    """The rows and columns of the grid that `part` can touch."""
    margin = max(part.radius) + 4 * _BLEND
    low_x, high_x = sorted((part.a[0], part.b[0]))
    low_y, high_y = sorted((part.a[1], part.b[1]))
    inside = (
        (x > low_x - margin) & (x < high_x + margin) & (y > low_y - margin) & (y < high_y + margin)
    )
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if rows.size == 0:
        return None
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
