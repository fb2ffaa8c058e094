"""A survey as memory cards bring it home: folders a station, times in EXIF, and nothing else.

    python -m reid.synthetic.survey survey --weeks 3

writes `survey/photos/<station>/<camera's folder>/IMG_0001.JPG`, `survey/cameras.csv` (when each station
was at work) and `survey/truth.csv` (who is in which picture, which no survey has). Each station has two
cameras that look at each other across a trail, so that an animal that passes is met from both sides.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

from reid.errors import InputError
from reid.exif import DATE_TIME_ORIGINAL, EXIF_IFD
from reid.synthetic.body import draw_pose
from reid.synthetic.coat import draw_traits, grow_flanks
from reid.synthetic.coat_kinds import SPECIES
from reid.synthetic.photo import take
from reid.synthetic.scene import HABITATS, paint_panorama
from reid.synthetic.shot import draw_shot

FIRST_DAY = date(2024, 7, 15)
# Where each station stands: name, latitude, longitude.
STATIONS = (("creek", -1.20, 36.80), ("north gate", -1.20, 36.83), ("old mill", -1.20, 36.86))
CAMERAS = ("RECNX", "EK113")  # what two makers call their folders
CHANCE = 0.6  # of an animal's passing in a week
_KIND = SPECIES[0]  # leopards
_PLAN, _TRAITS, _STATION, _COAT = range(4)


@dataclass(frozen=True, slots=True)
class MadeSurvey:
    """What `make_survey` wrote.

    Attributes:
        photos: the folder to read.
        cameras: the table of stations.
        truth: image_path (below `photos`) and identity.
        individuals: the true number, also of those that nobody met.
    """

    photos: Path
    cameras: Path
    truth: Path
    individuals: int


@dataclass(frozen=True, slots=True)
class _Passing:
    animal: int
    station: int
    when: datetime
    faces_left: bool  # for the first camera; the second sees the other side


def make_survey(
    folder: Path, *, weeks: int = 3, individuals: int = 16, seed: int = 0, first_week: int = 1
) -> MadeSurvey:
    """Photograph leopards that pass stations; each passes with CHANCE in each week.

    Args:
        folder: made if absent; `first_week` > 1 adds to what it holds.
        weeks: the last week that is photographed; the earlier ones are the same for any number.
        individuals: how many live there.
        seed: ≥ 0.
        first_week: the first that is photographed.

    Raises:
        InputError: fewer than two individuals, or weeks out of order.
    """
    if individuals < 2 or not 1 <= first_week <= weeks:
        raise InputError(
            f"{individuals} individuals, weeks {first_week} to {weeks}: at least 2, and 1 to 1"
        )
    photos = folder / "photos"
    traits = draw_traits(_KIND.style, individuals, np.random.default_rng([seed, _TRAITS]))
    coats = {}
    for animal in range(individuals):
        rng = np.random.default_rng([seed, _COAT, animal])
        coats[animal] = grow_flanks(_KIND.style, traits[animal], rng)
    habitat = HABITATS[_KIND.habitats[0]]
    views = [paint_panorama(habitat, np.random.default_rng([seed, _STATION, number, side]))
             for number in range(len(STATIONS)) for side in range(2)]  # fmt: skip
    truth: list[tuple[str, str]] = []
    for week in range(first_week, weeks + 1):
        rng = np.random.default_rng([seed, _PLAN, week])
        counted: dict[str, int] = {}
        for passing in _week(week, individuals, rng):
            for camera, maker in enumerate(CAMERAS):
                faces_left = passing.faces_left == (camera == 0)
                light = (1.2, float(rng.uniform(0.9, 1.2)), 0.0)
                shot = draw_shot(
                    rng, draw_pose(rng), faces_left=faces_left, night=False, light=light
                )
                flank = coats[passing.animal][0 if faces_left else 1]
                view = views[2 * passing.station + camera]
                picture = take(_KIND.build, flank, shot, view, habitat, rng)
                place = f"{STATIONS[passing.station][0]}/{99 + week}{maker}"
                counted[place] = counted.get(place, 0) + 1
                path = f"{place}/IMG_{counted[place]:04}.JPG"
                _save(picture, photos / path, passing.when + timedelta(seconds=camera))
                truth.append((path, f"leopard_{passing.animal + 1:02}"))
    cameras, known = folder / "cameras.csv", folder / "truth.csv"
    end = FIRST_DAY + timedelta(days=7 * weeks - 1)
    rows = [(name, lat, lon, FIRST_DAY, end) for name, lat, lon in STATIONS]
    _write(cameras, ("detector", "lat", "lon", "start", "end"), rows)
    before = known.read_text().splitlines()[1:] if first_week > 1 and known.exists() else []
    _write(known, ("image_path", "identity"), [*(line.split(",") for line in before), *truth])
    return MadeSurvey(photos, cameras, known, individuals)


def _week(week: int, individuals: int, rng: np.random.Generator) -> list[_Passing]:
    """Who passes where and when in a week, in the order of time."""
    found = []
    for animal in range(individuals):
        day, hour = rng.uniform(0, 6.9), rng.uniform(7, 17)
        station = (animal + int(rng.random() < 0.3)) % len(STATIONS)  # its own, or the next
        left, passes = bool(rng.random() < 0.5), rng.random() < CHANCE
        if passes:
            when = datetime.combine(FIRST_DAY, datetime.min.time()) + timedelta(
                days=7 * (week - 1) + int(day), seconds=int(3600 * hour)
            )
            found.append(_Passing(animal, station, when, left))
    return sorted(found, key=lambda one: (one.when, one.animal))


def _save(picture: Image.Image, path: Path, when: datetime) -> None:
    exif = Image.Exif()
    exif.get_ifd(EXIF_IFD)[DATE_TIME_ORIGINAL] = f"{when:%Y:%m:%d %H:%M:%S}"
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, format="JPEG", quality=85, exif=exif)


def _write(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description="An invented survey, as memory cards bring it home."
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--weeks", type=int, default=3, help="photographed up to this week")
    parser.add_argument("--first-week", type=int, default=1, help="add from this week on")
    parser.add_argument("--individuals", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(argv)
    make_survey(
        asked.folder, weeks=asked.weeks, individuals=asked.individuals, seed=asked.seed,
        first_week=asked.first_week,
    )  # fmt: skip


if __name__ == "__main__":
    main()
