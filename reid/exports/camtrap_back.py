"""A Camtrap DP that came in, given back with individuals in it: two of its files change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from reid import store
from reid.exports.camtrap_descriptor import given_back_descriptor, project_of, store_json
from reid.exports.camtrap_events import event_of, forget, keep_as_tag, number_of, split_events
from reid.exports.camtrap_package import DESCRIPTOR, CamtrapPackage, Row, media_finder
from reid.exports.camtrap_words import (
    BOX,
    OBSERVATIONS,
    Teller,
    box_words,
    relative_box,
    with_tags,
)
from reid.exports.sheets import program_sheet, records
from reid.exports.sightings import left_out

NEAR = 1e-3  # two boxes this near in all four numbers are one


@dataclass(slots=True)
class GivenBack:
    """What was made of it.

    Attributes:
        files: the two files that change: path in the package → text.
        observations: the rows, for checks.
        named, added, split: rows that got an individual, media rows that are new, event rows that
            became several.
        individuals: how many.
        left_out: sightings that are in no row (`sightings.LEFT_OUT`).
        notes: what a reader should know.
    """

    files: dict[str, str]
    observations: list[Row]
    named: int
    added: int
    split: int
    individuals: int
    left_out: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def give_back(package: CamtrapPackage, frame: pd.DataFrame, teller: Teller) -> GivenBack:
    """Put individuals into the observations of a package.

    A sighting goes to the media row with its box, or to the only animal row of its media; where there
    is none a row is added. Event rows become a row for each individual; counts still sum. Sightings
    with individual None (nobody is sure) get tags and no individualID.

    Args:
        package: of `read_package`.
        frame: sightings, with a column `individual`: str, or None.
        teller: what is written beside.
    """
    rows = [dict(row) for row in package.observations]
    former: dict[str, set[str]] = {}
    notes: list[str] = []
    if not project_of(package.descriptor).get("individualAnimals"):
        cleared = _clear_tracks(rows)
        if cleared:
            notes.append(
                f"{cleared} individualIDs of the package were no individuals (it says individualAnimals: false, "
                "or they repeat the row's own id); they are kept as tags"
            )
    place = media_finder(package)
    by_media: dict[str, list[Row]] = {}
    for row in rows:
        if row["mediaID"] and row["observationLevel"] != "event":
            by_media.setdefault(row["mediaID"], []).append(row)
    media = {row["mediaID"]: row for row in package.media}
    taken: set[int] = set()
    taken_ids = {row["observationID"] for row in rows}
    seen: dict[tuple[str, str], list[str]] = {}
    species_of: dict[str, str] = {}
    lost: list[tuple[int, str]] = []
    named = added = 0
    for number, sighting in enumerate(records(frame)):
        media_id, reason = place(sighting)
        if media_id is None:
            lost.append((number, reason))
            continue
        who = sighting["individual"]
        species = teller.species(sighting["species"])
        box = None
        if sighting.get("bbox") is not None:
            path = store.join(sighting["root"], sighting["image_path"])
            box = relative_box(sighting["bbox"], sighting.get("bbox_unit"), teller.sizes.get(path))
            if box is None:
                lost.append((number, "has a box in pixels, and its picture cannot be opened"))
                continue
        own = by_media.setdefault(media_id, [])
        found, reason = _row_of(own, box, taken)
        if found is None and not reason and who is None:
            reason = "nobody is sure who this is, and the package has no row for it"
        if found is None and reason:
            lost.append((number, reason))
            continue
        if found is not None:
            row = found
        else:
            row = _added(media[media_id], own, box, species, taken_ids)
            row |= dict.fromkeys(package.extra, "")
            row |= {
                "classificationMethod": "machine",
                "classifiedBy": teller.classified_by(sighting["species"]),
                "classificationTimestamp": teller.now,
            }
            rows.append(row)
            own.append(row)
            added += 1
        taken.add(id(row))
        row["observationTags"] = with_tags(row["observationTags"], sighting_tags(sighting))
        if who is None:
            forget(row, former, None)
            continue
        forget(row, former, who)
        row["individualID"], row["count"] = who, "1"
        if not row["sex"]:
            row["sex"] = teller.sexes.get(sighting["identity_id"], "")
        named += 1
        species_of.setdefault(who, row["scientificName"] or species)
        event = event_of(row, own, media[media_id], rows)
        if event is not None:
            members = seen.setdefault((event, row["scientificName"] or species), [])
            if who not in members:
                members.append(who)
    rows, split, said = split_events(rows, seen, former)
    notes += said
    if package.extra:
        notes.append(
            f"columns that Camtrap DP does not know came with it: {', '.join(package.extra)}"
        )
    _order_rows(rows, package.observations)
    people = [
        {
            "individualID": who,
            "scientificName": species_of[who],
            "sex": teller.sexes.get(who, ""),
            "lifeStage": "",
            "formerIndividualIDs": " | ".join(sorted(former.get(who, ()))),
        }
        for who in sorted(species_of)
    ]
    header = [*OBSERVATIONS, *package.extra]
    files = {
        package.observations_path: program_sheet(
            header, [[row[name] for name in header] for row in rows]
        ),
        DESCRIPTOR: store_json(
            given_back_descriptor(package.descriptor, rows, people, teller.now, teller.version)
        ),
    }
    out = left_out(frame.iloc[[number for number, _ in lost]], [reason for _, reason in lost])
    return GivenBack(files, rows, named, added, split, len(people), out, notes)


def sighting_tags(sighting: Mapping[str, Any]) -> dict[str, str | None]:
    """How sure it is, from which side, and who confirmed it."""
    sure, viewpoint = sighting.get("confidence"), sighting.get("viewpoint")
    by = sighting.get("confirmed_by")
    return {
        "individualIDProbability": None if sure is None or sure != sure else f"{sure:.3f}",
        "individualIDDecision": sighting["decision"],
        "individualIDConfirmedBy": by if isinstance(by, str) else None,
        "viewpoint": viewpoint if isinstance(viewpoint, str) else None,
    }


def _row_of(
    own: list[Row], box: tuple[float, ...] | None, taken: set[int]
) -> tuple[Row | None, str]:
    """The row that says that this animal is here, or why none can be told."""
    animals = [row for row in own if row["observationType"] == "animal" and id(row) not in taken]
    boxed = [row for row in animals if row["bboxX"]]
    plain = [row for row in animals if not row["bboxX"]]
    if box is not None:
        for row in boxed:
            if all(
                abs(number_of(row[name]) - value) <= NEAR
                for name, value in zip(BOX, box, strict=True)
            ):
                return row, ""
    elif len(animals) > 1 or (len(plain) == 1 and not _single(plain[0])):
        return None, "several animals are in the picture, and this one has no box"
    elif len(boxed) == 1:
        return boxed[0], ""
    if len(plain) == 1 and _single(plain[0]):
        return plain[0], ""
    return None, ""


def _single(row: Row) -> bool:
    return number_of(row["count"] or "1") <= 1


def _added(
    media: Row, own: list[Row], box: tuple[float, ...] | None, species: str, taken_ids: set[str]
) -> Row:
    number = 1
    while (identity := f"{media['mediaID']}_reid_{number}") in taken_ids:
        number += 1
    taken_ids.add(identity)
    moment = media["timestamp"]
    return dict.fromkeys(OBSERVATIONS, "") | {
        "observationID": identity,
        "deploymentID": media["deploymentID"],
        "mediaID": media["mediaID"],
        "eventID": next((row["eventID"] for row in own if row["eventID"]), ""),
        "eventStart": moment,
        "eventEnd": moment,
        "observationLevel": "media",
        "observationType": "animal",
        "scientificName": species,
        "count": "1",
        **box_words(box),
    }


def _clear_tracks(rows: list[Row]) -> int:
    """Tracks of single animals stand in individualID where nobody told individuals apart."""
    cleared = 0
    for row in rows:
        if row["individualID"]:
            keep_as_tag(row)
            row["individualID"] = ""
            cleared += 1
    return cleared


def _order_rows(rows: list[Row], before: list[Row]) -> None:
    """Rows that are new stand behind those of their media; all others as they came."""
    place = {row["observationID"]: number for number, row in enumerate(before)}
    last: dict[str, int] = {}
    for row in before:
        if row["mediaID"]:
            last[row["mediaID"]] = place[row["observationID"]]

    def key(item: tuple[int, Row]) -> tuple[int, int]:
        number, row = item
        own = row["observationID"]
        if own in place:
            return place[own], -1
        base = own.rpartition("_reid_")[0]
        return place.get(base, last.get(row["mediaID"], len(before))), number

    rows[:] = [row for _, row in sorted(enumerate(rows), key=key)]
