"""The survey's diary: which animal was met where, when and how, before any picture is taken."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from reid.synthetic.body import draw_pose
from reid.synthetic.coat_kinds import AnimalKind
from reid.synthetic.scene import HABITATS
from reid.synthetic.shot import Shot, draw_shot, next_shot

STATIONS = 12  # camera stations of the survey; number s stands in HABITATS[s % len(HABITATS)]
_LONGEST_BURST = 3
_FIDELITY = 0.5  # share of encounters at the station nearest to the animal's home
_SHARE_NEW = 0.25  # of the individuals, met in the test season only
_TRAIN_SEASON = (datetime(2024, 1, 8), 150)  # first day, days
_TEST_SEASON = (datetime(2024, 7, 15), 150)


@dataclass
class Picture:
    """One row of the tables, and what is needed to take the picture."""

    species: AnimalKind
    identity: str
    encounter: int
    shot: Shot
    station: int
    when: datetime
    split: str
    path: str = ""


def plan_species(
    kind: AnimalKind, individuals: int, images_per_individual: int, rng: np.random.Generator
) -> list[Picture]:
    """Every picture of one species, individual by individual, not yet named."""
    new = max(1, round(_SHARE_NEW * individuals))
    is_new = rng.permutation(individuals) < new
    stations = [s for s in range(STATIONS) if s % len(HABITATS) in kind.habitats]
    pictures: list[Picture] = []
    encounter = 0
    for member in range(individuals):
        sizes = _burst_sizes(images_per_individual, rng)
        again = max(1, min(len(sizes) - 1, round(0.6 * len(sizes))))
        in_train = 0 if is_new[member] else again
        home = int(rng.choice(stations))
        first_side = bool(rng.random() < 0.5)
        for number, size in enumerate(sizes):
            train = number < in_train
            night = bool(rng.random() < kind.night_share)
            when = _moment(*(_TRAIN_SEASON if train else _TEST_SEASON), night, rng)
            light = _daylight(when, rng)
            station = home if rng.random() < _FIDELITY else int(rng.choice(stations))
            faces_left = first_side if rng.random() < 0.65 else not first_side
            shot = draw_shot(rng, draw_pose(rng), faces_left=faces_left, night=night, light=light)
            for place in range(size):
                if place:
                    shot = next_shot(rng, shot, draw_pose(rng))
                pictures.append(
                    Picture(
                        kind,
                        f"{kind.name}_{member + 1:03d}",
                        encounter,
                        shot,
                        station,
                        when,
                        "train" if train else "test",
                    )
                )
                when += timedelta(seconds=int(rng.integers(1, 9)))
            encounter += 1
    return pictures


def _burst_sizes(images: int, rng: np.random.Generator) -> list[int]:
    """Encounter sizes that add up to `images`; two encounters or more where that is possible."""
    sizes: list[int] = []
    left = images
    while left:
        most = min(_LONGEST_BURST, left if sizes or images == 1 else left - 1)
        # Mostly two or three: traps fire in bursts, though animals often walk off.
        sizes.append(min(most, int(rng.choice([1, 2, 3], p=[0.2, 0.4, 0.4]))))
        left -= sizes[-1]
    return sizes


def _moment(first_day: datetime, days: int, night: bool, rng: np.random.Generator) -> datetime:
    hour = rng.uniform(19, 29) if night else rng.uniform(6.5, 18)
    return first_day + timedelta(days=int(rng.integers(days)), seconds=int(hour * 3600))


def _daylight(when: datetime, rng: np.random.Generator) -> tuple[float, float, float]:
    """Direction of the sun in radians, exposure, and warmth of the light, at that hour."""
    share = (when.hour + when.minute / 60 - 6) / 12.5
    low = abs(2 * share - 1) ** 2 if 0 <= share <= 1 else 0.0
    overcast = rng.uniform(0, 1)
    return (
        float(np.pi * np.clip(share, 0.1, 0.9)),
        float(rng.uniform(0.9, 1.25) * (1 - 0.2 * low)),
        float(0.14 * low * (1 - overcast) - 0.05 * overcast * rng.uniform(0, 1)),
    )
