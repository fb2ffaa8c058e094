"""A Camtrap DP that came in, given back with individuals in it: two of its files change."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from reid.exports.camtrap_descriptor import given_back_descriptor, store_json
from reid.exports.camtrap_events import (
    Members,
    animal_event,
    event_of,
    forget,
    keep_as_tag,
    split_events,
    unused_id,
)
from reid.exports.camtrap_files import DESCRIPTOR
from reid.exports.camtrap_media import Box, box_of, media_finder, row_of, sighting_tags
from reid.exports.camtrap_old import COLUMNS as OLD_COLUMNS
from reid.exports.camtrap_old import old_row
from reid.exports.camtrap_package import CamtrapPackage, Row
from reid.exports.camtrap_words import (
    OBSERVATIONS,
    Teller,
    box_words,
    with_tags,
)
from reid.exports.sheets import program_sheet, records
from reid.exports.sightings import left_out

NOBODY = "nobody is sure who this is, and the package has no row for it"


@dataclass(slots=True)
class GivenBack:
    """What was made of it.

    Attributes:
        files: the two files that change: path in the package → text.
        observations: the rows in the words of version 1, for checks.
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


@dataclass(slots=True)
class _Book:
    """The observations while individuals are put into them.

    Attributes:
        rows: all of them.
        media: mediaID → its row.
        of_media: mediaID → its observations of level media.
        find: of `media_finder`.
        taken: ids of row objects that a sighting has.
        taken_ids: observationIDs.
        members: event and species → individuals met there, with tags where rows are of sequences.
        former: individual → names that it had.
        species: individual → scientific name.
        named, added: see `GivenBack`.
    """

    rows: list[Row]
    media: dict[str, Row]
    of_media: dict[str, list[Row]]
    find: Callable[[Mapping[str, Any]], tuple[str | None, str]]
    taken_ids: set[str]
    taken: set[int] = field(default_factory=set)
    members: Members = field(default_factory=dict)
    former: dict[str, set[str]] = field(default_factory=dict)
    species: dict[str, str] = field(default_factory=dict)
    named: int = 0
    added: int = 0


def give_back(package: CamtrapPackage, frame: pd.DataFrame, teller: Teller) -> GivenBack:
    """Put individuals into the observations of a package.

    A sighting goes to the media row with its box, or to the only animal row of its media; where there
    is none a row is added. Event rows become a row for each individual; counts still sum. Sightings
    with individual None (nobody is sure) get tags and no individualID. In a package of sequences
    (0.1.6) only their rows are named, as a row of an image beside them would count an animal twice.

    Args:
        package: of `read_package`.
        frame: sightings, with a column `individual`: str, or None.
        teller: what is written beside.
    """
    rows = [dict(row) for row in package.observations]
    notes = [] if package.knows_individuals else _clear_tracks(rows)
    book = _open_book(package, rows)
    enter = _enter_sequence if package.by_sequence else _enter
    lost: list[tuple[int, str]] = []
    for number, sighting in enumerate(records(frame)):
        reason = enter(book, sighting, teller)
        if reason:
            lost.append((number, reason))
    rows, split, said = split_events(rows, book.members, book.former)
    notes += said
    if package.extra:
        notes.append(
            f"columns that Camtrap DP does not know came with it: {', '.join(package.extra)}"
        )
    if package.old and book.added:
        notes.append("Camtrap DP 0.1.6 has no boxes: rows that were added do not say where in it")
    _order_rows(rows, package.observations)
    people = [
        {
            "individualID": who,
            "scientificName": book.species[who],
            "sex": teller.sexes.get(who, ""),
            "lifeStage": "",
            "formerIndividualIDs": " | ".join(sorted(book.former.get(who, ()))),
        }
        for who in sorted(book.species)
    ]
    files = {
        package.observations_path: _sheet(package, rows),
        DESCRIPTOR: store_json(given_back_descriptor(package, rows, people, teller)),
    }
    out = left_out(frame.iloc[[number for number, _ in lost]], [reason for _, reason in lost])
    return GivenBack(files, rows, book.named, book.added, split, len(people), out, notes)


def _open_book(package: CamtrapPackage, rows: list[Row]) -> _Book:
    of_media: dict[str, list[Row]] = {}
    for row in rows:
        if row["mediaID"] and row["observationLevel"] != "event":
            of_media.setdefault(row["mediaID"], []).append(row)
    media = {row["mediaID"]: row for row in package.media}
    ids = {row["observationID"] for row in rows}
    return _Book(rows, media, of_media, media_finder(package), ids)


def _enter(book: _Book, sighting: Mapping[str, Any], teller: Teller) -> str:
    """Put one sighting into a row of its media; why not, where that cannot be."""
    media_id, reason = book.find(sighting)
    if media_id is None:
        return reason
    box, reason = box_of(sighting, teller)
    if reason:
        return reason
    media, own = book.media[media_id], book.of_media.setdefault(media_id, [])
    row, reason = row_of(own, box, book.taken)
    if reason:
        return reason
    who, species = sighting["individual"], teller.species(sighting["species"])
    if row is None and who is None:
        return NOBODY
    if row is None:
        row = _add_row(book, media, own, box, sighting, teller)
    book.taken.add(id(row))
    row["observationTags"] = with_tags(row["observationTags"], sighting_tags(sighting))
    forget(row, book.former, who)
    if who is None:
        return ""
    row["individualID"], row["count"] = who, "1"
    row["sex"] = row["sex"] or teller.sexes.get(sighting["identity_id"], "")
    book.named += 1
    called = row["scientificName"] or species
    book.species.setdefault(who, called)
    event = event_of((row, *own, media), book.rows)
    if event is not None:
        book.members.setdefault((event, called), {}).setdefault(who, None)
    return ""


def _enter_sequence(book: _Book, sighting: Mapping[str, Any], teller: Teller) -> str:
    """Note an individual for the row of its sequence; why not, where there is none."""
    media_id, reason = book.find(sighting)
    if media_id is None:
        return reason
    who, event = sighting["individual"], book.media[media_id].get("eventID", "")
    if who is None:
        return NOBODY
    row = animal_event(book.rows, event, teller.species(sighting["species"]))
    if row is None:
        return "the package has no row, or several, for this animal in its sequence"
    book.named += 1
    book.species.setdefault(who, row["scientificName"])
    members = book.members.setdefault((event, row["scientificName"]), {})
    members.setdefault(who, sighting_tags(sighting))
    return ""


def _add_row(
    book: _Book, media: Row, own: list[Row], box: Box, sighting: Mapping[str, Any], teller: Teller
) -> Row:
    """A new row of level media, among the others."""
    event = next((row["eventID"] for row in own if row["eventID"]), media.get("eventID", ""))
    row = dict.fromkeys([*(book.rows[0] if book.rows else ()), *OBSERVATIONS], "") | {
        "observationID": unused_id(media["mediaID"], book.taken_ids),
        "deploymentID": media["deploymentID"],
        "mediaID": media["mediaID"],
        "eventID": event,
        "eventStart": media["timestamp"],
        "eventEnd": media["timestamp"],
        "observationLevel": "media",
        "observationType": "animal",
        "scientificName": teller.species(sighting["species"]),
        "count": "1",
        **box_words(box),
        "classificationMethod": "machine",
        "classifiedBy": teller.classified_by(sighting["species"]),
        "classificationTimestamp": teller.now,
    }
    book.rows.append(row)
    own.append(row)
    book.added += 1
    return row


def _clear_tracks(rows: list[Row]) -> list[str]:
    """Tracks of single animals stand in individualID where nobody told individuals apart."""
    named = [row for row in rows if row["individualID"]]
    for row in named:
        keep_as_tag(row)
        row["individualID"] = ""
    if not named:
        return []
    return [
        f"{len(named)} individualIDs of the package were no individuals (by its own word, or as they repeat the "
        "row's own id); they are kept as tags"
    ]


def _sheet(package: CamtrapPackage, rows: list[Row]) -> str:
    """observations.csv, as the package's version has it."""
    header = [*(OLD_COLUMNS if package.old else OBSERVATIONS), *package.extra]
    written = [old_row(row) | row if package.old else row for row in rows]
    return program_sheet(header, [[row[name] for name in header] for row in written])


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
