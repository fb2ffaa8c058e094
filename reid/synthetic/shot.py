"""The circumstances of a picture: all that is not the animal itself."""

from dataclasses import dataclass, replace

import numpy as np

from reid.synthetic.body import Pose


@dataclass(frozen=True)
class Shot:
    """The circumstances of one picture."""

    faces_left: bool
    night: bool
    pose: Pose
    roll_rad: float
    yaw_rad: float  # the animal turned from the exact side view: it looks shorter
    elevation_rad: float
    long_side_px: int
    margins: tuple[float, float, float, float]  # left, top, right, bottom; of the box, may cut
    window: tuple[float, float, float]  # of the panorama: left share, ground share, zoom
    sun_rad: float  # where the light comes from, 0 = right, π/2 = above
    exposure: float
    warmth: float
    contrast: float
    blur_px: float
    motion_px: float
    noise: float
    grass: float  # share of the frame's width hidden by blades in front
    trunk: bool  # a trunk in front
    dapples: float  # strength of leaf shadows


def draw_shot(
    rng: np.random.Generator, pose: Pose, *, faces_left: bool, night: bool, light: tuple[float, float, float]
) -> Shot:  # fmt: skip
    """Chance, for one picture; `light` (sun_rad, exposure, warmth) is shared by a burst."""
    cut = rng.random() < 0.15
    margins = rng.uniform(-0.14 if cut else -0.02, 0.06, 4)
    margins[1::2] = rng.uniform(-0.06, 0.05, 2)
    return Shot(
        faces_left=faces_left,
        night=night,
        pose=pose,
        roll_rad=float(rng.normal(0, 0.05)),
        yaw_rad=float(rng.uniform(-0.4, 0.4)),
        elevation_rad=float(rng.uniform(-0.15, 0.3)),
        long_side_px=int(rng.integers(320, 481)),
        margins=(float(margins[0]), float(margins[1]), float(margins[2]), float(margins[3])),
        window=(float(rng.uniform(0, 1)), float(rng.uniform(0.68, 0.9)), float(rng.uniform(0.55, 0.75))),
        sun_rad=light[0],
        exposure=light[1] * float(rng.uniform(0.92, 1.08)),
        warmth=light[2],
        contrast=float(rng.uniform(0.9, 1.1)),
        blur_px=float(rng.exponential(0.3)),
        motion_px=float(max(0.0, rng.normal(-2.2, 2.3))) * (1.5 if night else 1.0),
        noise=float(rng.uniform(0.015, 0.04) if night else rng.uniform(0.004, 0.02)),
        grass=float(rng.choice([0.0, rng.uniform(0.2, 1.0)], p=[0.6, 0.4])),
        trunk=bool(rng.random() < 0.05),
        dapples=0.0 if night else float(rng.choice([0.0, rng.uniform(0.1, 0.35)], p=[0.75, 0.25])),
    )  # fmt: skip


def next_shot(rng: np.random.Generator, shot: Shot, pose: Pose) -> Shot:
    """The next picture of a burst: seconds later the animal has taken a step, to stand in `pose`."""
    left, ground, zoom = shot.window
    margins = np.clip(np.asarray(shot.margins) + rng.normal(0, 0.04, 4), -0.14, 0.1)
    return replace(
        shot,
        pose=replace(pose, neck_rad=0.5 * (pose.neck_rad + shot.pose.neck_rad)),
        roll_rad=float(rng.normal(0, 0.05)),
        yaw_rad=float(np.clip(shot.yaw_rad + rng.normal(0, 0.12), -0.4, 0.4)),
        margins=(float(margins[0]), float(margins[1]), float(margins[2]), float(margins[3])),
        # It walks across the view, so what is behind it changes.
        window=(
            float(np.clip(left + rng.uniform(0.05, 0.2) * rng.choice([-1, 1]), 0, 1)),
            ground,
            zoom,
        ),
        blur_px=float(rng.exponential(0.3)),
        exposure=shot.exposure * float(rng.uniform(0.96, 1.04)),
        trunk=False,
    )
