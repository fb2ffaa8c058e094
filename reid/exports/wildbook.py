"""Bulk import of Wildbook: one line an encounter of one animal, as CSV that its importer takes."""

import posixpath
import re
from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from reid.errors import InputError
from reid.exports.identifiers import cleaned
from reid.exports.meetings import encounter_keys
from reid.exports.sheets import frame_rows, people_sheet, program_sheet
from reid.exports.sightings import in_doubt, left_out

LINES_A_FILE = 200  # the importer takes no more at once
_BINOMIAL = re.compile(r"[A-Z][a-z-]+ [a-z-]+( [a-z-]+)?")
_NOT_IN_FILE_NAMES = re.compile(r"[^A-Za-z0-9. ]+")


@dataclass(frozen=True, slots=True)
class Wildbook:
    """What is written.

    Attributes:
        files: name → text.
        images: root and path of each image → the file name by which the lines call it.
        left_out: columns of `sightings.LEFT_OUT`.
        encounters: lines in all.
    """

    files: dict[str, str]
    images: dict[tuple[str, str], str]
    left_out: pd.DataFrame
    encounters: int


def wildbook_files(
    frame: pd.DataFrame,
    scientific_names: Mapping[str, str],
    coordinates: Mapping[str, tuple[float, float]] | None = None,
) -> Wildbook:
    """encounters_1.csv, …, and images.csv, which says which picture each file name is.

    Images that nobody is sure of are encounters without an individual; Wildbook would take any word in
    that column, «NA» too, for a name.

    Args:
        frame: of `reid.exports.sightings.sightings`.
        scientific_names: species as it is called here → genus and species.
        coordinates: location_id → latitude, longitude.

    Raises:
        InputError: a species has no scientific name, or no image has both a time and a place.
    """
    places = coordinates or {}
    untimed = frame["timestamp"].isna().to_numpy()
    nowhere = frame["location_id"].isna().to_numpy() & ~untimed
    outs = [
        left_out(frame[untimed], "has no time, and Wildbook needs at least the year"),
        left_out(frame[nowhere], "has no place, which Wildbook needs"),
    ]
    rows = frame[~untimed & ~nowhere].reset_index(drop=True)
    if not len(rows):
        raise InputError(
            f"--format wildbook: none of {len(frame):,} images has both a time and a place"
        )
    binomials = {name: _two_words(name, scientific_names) for name in rows["species"].unique()}
    known = ~in_doubt(rows)
    people = cleaned(rows["identity_id"][known], dots=False)
    sightings = cleaned(rows["encounter_id"].dropna(), dots=False)
    images = _file_names(rows)
    rows = rows.assign(
        who=rows["identity_id"].where(known, None),
        # Each animal of an encounter is a line of its own, and so is each that nobody is sure of.
        animal=rows["identity_id"],
        key=encounter_keys(rows, ["identity_id", "location_id"], "timestamp"),
    )
    lines = []
    for _, group in rows.groupby(["species", "key", "animal"], sort=True):
        group = group.sort_values("timestamp", kind="stable")
        first = group.iloc[0]
        when = first["timestamp"]
        genus, epithet = binomials[first["species"]]
        where = places.get(first["location_id"], (None, None))
        line: dict[str, object] = {
            "Encounter.genus": genus,
            "Encounter.specificEpithet": epithet,
            "Encounter.year": when.year,
            "Encounter.month": when.month,
            "Encounter.day": when.day,
            "Encounter.hour": when.hour,
            "Encounter.minutes": when.minute,
            "Encounter.verbatimLocality": first["location_id"],
            "Encounter.decimalLatitude": where[0],
            "Encounter.decimalLongitude": where[1],
            "Encounter.sightingID": sightings.get(first["encounter_id"]),
            "MarkedIndividual.individualID": people.get(first["who"]),
            # What nobody has looked at is not "approved", which Wildbook takes where it is told nothing.
            "Encounter.state": "approved" if _looked_at(group) else "unapproved",
        }
        pictures = dict.fromkeys(zip(group["root"], group["image_path"], strict=True))
        line |= {f"Encounter.mediaAsset{place}": images[one] for place, one in enumerate(pictures)}
        lines.append(line)
    files = {
        f"encounters_{start // LINES_A_FILE + 1}.csv": _lines(lines[start : start + LINES_A_FILE])
        for start in range(0, len(lines), LINES_A_FILE)
    }
    meaning = [(name, root, path) for (root, path), name in images.items()]
    files["images.csv"] = people_sheet(("file_name", "root", "image_path"), meaning)
    return Wildbook(files, images, pd.concat(outs, ignore_index=True), len(lines))


def _looked_at(group: pd.DataFrame) -> bool:
    """Whether a person has named the animal, or joined one of these images with another of it."""
    return bool((group["confirmed_by"].notna() | group["identity"].notna()).any())


def _lines(lines: list[dict[str, object]]) -> str:
    """CSV without columns that are empty: the importer stumbles over them."""
    table = pd.DataFrame(lines, dtype=object).dropna(axis="columns", how="all")
    media = [name for name in table.columns if name.startswith("Encounter.mediaAsset")]
    table = table[[*media, *(name for name in table.columns if name not in media)]]
    return program_sheet(list(table.columns), frame_rows(table))


def _two_words(species: str, scientific_names: Mapping[str, str]) -> tuple[str, str]:
    name = " ".join(scientific_names.get(species, species).split())
    if not _BINOMIAL.fullmatch(name):
        raise InputError(
            f"--format wildbook: {name!r} is no scientific name; say --scientific-name "
            f"'{species}=Genus species'"
        )
    genus, _, epithet = name.partition(" ")
    return genus, epithet


def _file_names(rows: pd.DataFrame) -> dict[tuple[str, str], str]:
    """A name of its own for each picture, of letters, digits, periods and blanks."""
    found: dict[tuple[str, str], str] = {}
    taken: set[str] = set()
    for one in dict.fromkeys(zip(rows["root"], rows["image_path"], strict=True)):
        name = _NOT_IN_FILE_NAMES.sub(" ", posixpath.basename(one[1])).strip() or "image"
        stem, dot, ending = name.rpartition(".")
        candidate, number = name, 2
        while candidate.lower() in taken:
            candidate = f"{stem} {number}{dot}{ending}" if dot else f"{name} {number}"
            number += 1
        taken.add(candidate.lower())
        found[one] = candidate
    return found
