"""A whole survey: who was met where and when, its pictures, and the tables that go with them."""

import csv
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
from PIL import Image

from reid.errors import InputError
from reid.synthetic.coat import Floats, draw_traits, grow_flanks
from reid.synthetic.coat_kinds import SPECIES
from reid.synthetic.photo import take
from reid.synthetic.plan import Picture, plan_species
from reid.synthetic.scene import HABITATS, paint_panorama

COLUMNS = (
    "image_path",
    "species",
    "identity",
    "encounter_id",
    "viewpoint",
    "timestamp",
    "location_id",
    "split",
)

# Sub-streams of the seed: adding one must not change what the others draw.
_PLAN, _COAT, _PICTURES, _STATION, _NAMES, _TRAITS = range(6)


@dataclass(frozen=True)
class Herd:
    """What `make_herd` wrote."""

    folder: Path
    annotations: Path  # the table a job reads: identity is empty in the test part
    truth: Path  # image_path and identity of every image, for scoring
    images: int
    species: tuple[str, ...]


def make_herd(
    folder: Path,
    *,
    individuals: int = 30,
    images_per_individual: int = 8,
    species: int = 2,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Herd:
    """Invent a population of patterned animals and write its camera-trap crops.

    Writes `folder/images/<species>/<number>.jpg` (320–480 px on the long side),
    `folder/annotations.csv` (columns `COLUMNS`) and `folder/truth.csv` (image_path, identity).
    Paths are relative to `folder`; numbers are shuffled, so a name tells nothing. As in AnimalCLEF
    there is a labelled train part and a later, unlabelled test part: three quarters of the
    individuals are met in the train season, and again in the test season where they have two
    encounters; one quarter is new in the test season. The tables are written last: a folder with
    an annotations.csv is complete. The same arguments give the same files, whatever `workers` is.

    Args:
        folder: made if absent; pictures of the same herd in it are replaced.
        individuals: of each species, ≥ 2.
        images_per_individual: ≥ 1, exact; they come in encounters of one to three.
        species: how many, 1 to 4, in the order of `SPECIES`.
        seed: ≥ 0.
        workers: threads; None for one a core.
        progress: called with (images done, images in all), from one thread at a time.

    Raises:
        InputError: an argument is out of its range, or `folder` holds other pictures.
    """
    _check(individuals, images_per_individual, species, seed, workers)
    chosen = SPECIES[:species]
    pictures = [
        picture
        for index in range(species)
        for picture in plan_species(
            SPECIES[index],
            individuals,
            images_per_individual,
            np.random.default_rng([seed, _PLAN, index]),
        )
    ]
    _name(pictures, seed)
    folder = Path(folder)
    annotations, truth = folder / "annotations.csv", folder / "truth.csv"
    _prepare(folder, pictures)
    for table in (annotations, truth):
        table.unlink(missing_ok=True)

    traits = [
        draw_traits(
            SPECIES[index].style, individuals, np.random.default_rng([seed, _TRAITS, index])
        )
        for index in range(species)
    ]
    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        stations = sorted({picture.station for picture in pictures})
        views = pool.map(lambda station: _panorama(station, seed), stations)
        panoramas = dict(zip(stations, views, strict=True))

        def photograph(number: int) -> int:
            first = number * images_per_individual
            own = pictures[first : first + images_per_individual]
            index, member = divmod(number, individuals)
            _photograph(folder, own, panoramas, traits[index][member], [seed, index, member])
            return len(own)

        done = 0
        for count in pool.map(photograph, range(species * individuals)):
            done += count
            if progress is not None:
                progress(done, len(pictures))
    finally:
        pool.shutdown(cancel_futures=True)  # after an error or Ctrl-C nothing more is drawn

    rows = sorted(pictures, key=lambda picture: picture.path)
    encounters = _number_encounters(rows)
    with truth.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("image_path", "identity"))
        writer.writerows((row.path, row.identity) for row in rows)
    # Written aside, then moved: the table's presence says that the herd is complete.
    aside = annotations.with_suffix(".part")
    with aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(_row(row, encounters) for row in rows)
    aside.replace(annotations)
    return Herd(folder, annotations, truth, len(rows), tuple(kind.name for kind in chosen))


def _check(
    individuals: int, images_per_individual: int, species: int, seed: int, workers: int | None
) -> None:
    for name, value, least, most in (
        ("individuals", individuals, 2, 10_000),
        ("images_per_individual", images_per_individual, 1, 1_000),
        ("species", species, 1, len(SPECIES)),
        ("seed", seed, 0, 2**63 - 1),
        ("workers", 1 if workers is None else workers, 1, 1_024),
    ):
        if not least <= value <= most:
            known = (
                f"; known species: {', '.join(kind.name for kind in SPECIES)}"
                if name == "species"
                else ""
            )
            raise InputError(f"{name}: {value}; choose a value from {least} to {most}{known}")


def _name(pictures: list[Picture], seed: int) -> None:
    """Give every picture a number that says nothing about the animal."""
    for kind in {picture.species.name: None for picture in pictures}:
        own = [picture for picture in pictures if picture.species.name == kind]
        numbers = np.random.default_rng([seed, _NAMES, len(own)]).permutation(len(own)) + 1
        for picture, number in zip(own, numbers.tolist(), strict=True):
            picture.path = f"images/{kind}/{number:06d}.jpg"


def _prepare(folder: Path, pictures: list[Picture]) -> None:
    planned = {picture.path for picture in pictures}
    found = {path.relative_to(folder).as_posix() for path in folder.glob("images/**/*.*")}
    if other := sorted(found - planned):
        raise InputError(
            f"{folder}: holds {len(other)} pictures that this herd does not have "
            f"(such as {other[0]}); choose an empty folder"
        )
    for path in {Path(path).parent for path in planned}:
        (folder / path).mkdir(parents=True, exist_ok=True)


def _panorama(station: int, seed: int) -> Image.Image:
    rng = np.random.default_rng([seed, _STATION, station])
    return paint_panorama(HABITATS[station % len(HABITATS)], rng)


def _photograph(
    folder: Path,
    pictures: list[Picture],
    panoramas: dict[int, Image.Image],
    traits: Floats,
    key: list[int],
) -> None:
    """Take all pictures of one individual; `key` is (seed, species, member)."""
    kind = pictures[0].species
    left, right = grow_flanks(kind.style, traits, np.random.default_rng([*key, _COAT]))
    rng = np.random.default_rng([*key, _PICTURES])
    for picture in pictures:
        flank = left if picture.shot.faces_left else right
        habitat = HABITATS[picture.station % len(HABITATS)]
        image = take(kind.build, flank, picture.shot, panoramas[picture.station], habitat, rng)
        quality = int(rng.integers(70, 93))
        image.save(folder / picture.path, format="JPEG", quality=quality)


def _number_encounters(rows: list[Picture]) -> dict[tuple[str, int], str]:
    """Encounter ids in order of time, so that they tell no more than who was met together."""
    starts: dict[tuple[str, int], datetime] = {}
    for row in rows:
        key = (row.species.name, row.encounter)
        starts[key] = min(starts.get(key, row.when), row.when)
    order = sorted(starts, key=lambda key: (starts[key], key))
    return {key: f"encounter_{number:05d}" for number, key in enumerate(order, start=1)}


def _row(picture: Picture, encounters: dict[tuple[str, int], str]) -> tuple[str, ...]:
    return (
        picture.path,
        picture.species.name,
        picture.identity if picture.split == "train" else "",
        encounters[picture.species.name, picture.encounter],
        "left" if picture.shot.faces_left else "right",
        picture.when.isoformat(),
        f"station_{picture.station + 1:02d}",
        picture.split,
    )
