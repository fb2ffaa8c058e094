"""A new Camtrap DP of sightings and deployments."""

import hashlib
import mimetypes
import posixpath
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

import numpy as np
import pandas as pd

from reid import store
from reid.errors import InputError
from reid.exports.camtrap_descriptor import new_descriptor, store_json
from reid.exports.camtrap_new_rows import observation_rows, people_rows
from reid.exports.camtrap_package import Row
from reid.exports.camtrap_words import (
    DEPLOYMENTS,
    MEDIA,
    OBSERVATIONS,
    Teller,
    relative_box,
    stamp,
)
from reid.exports.deployments import Stations
from reid.exports.effort import place_rows
from reid.exports.identifiers import cleaned
from reid.exports.sheets import program_sheet, records
from reid.exports.sightings import left_out


@dataclass(frozen=True, slots=True)
class NewPackage:
    """What is written.

    Attributes:
        files: name → text.
        rows: deployments, media, observations, for checks.
        pictures: where each picture lies → its filePath in the package.
        individuals: how many.
        left_out: sightings without time or deployment (`sightings.LEFT_OUT`).
        notes: what a reader should know.
    """

    files: dict[str, str]
    rows: tuple[list[Row], list[Row], list[Row]]
    pictures: dict[str, str]
    individuals: int
    left_out: pd.DataFrame
    notes: list[str] = field(default_factory=list)


def new_package(
    frame: pd.DataFrame,
    stations: Stations,
    zone: tzinfo,
    teller: Teller,
    *,
    title: str | None = None,
    contributor: str | None = None,
) -> NewPackage:
    """deployments.csv, media.csv, observations.csv (media and event) and datapackage.json.

    Args:
        frame: sightings, with a column `individual`: str, or None where nobody is sure.
        stations: with latitude and longitude.
        zone: of the cameras' clocks, where a time or a deployment does not say its own offset.
        teller: what is written beside.
        title, contributor: of the package; None: made up, with a note.

    Raises:
        InputError: deployments without latitude and longitude, or no sighting is in one.
    """
    if any(np.isnan(one.latitude) or np.isnan(one.longitude) for one in stations.deployments):
        raise InputError(
            "--format camtrap-dp: every deployment needs latitude and longitude; x and y do not do"
        )
    rows, out = _fitting_rows(frame, stations, teller)
    if not len(rows):
        raise InputError("--format camtrap-dp: no sighting has a time, a place and a deployment")
    ids = _deployment_ids(stations)
    rows["deployment_id"] = [ids[one] for one in rows["deployment"]]
    deployments = [_deployment(stations, number, ids, zone) for number in range(len(ids))]
    media, pictures, media_ids = _media(rows, stations, zone)
    stamps = {row["mediaID"]: row["timestamp"] for row in media}
    observations = observation_rows(rows, media_ids, stamps, teller)
    people = people_rows(rows, teller)
    notes = []
    if title is None or contributor is None:
        notes.append(
            "title, contributor, samplingDesign (opportunistic) and captureMethod (activityDetection) are "
            "made up where they were not given: correct them in datapackage.json before you publish"
        )
    species = sorted({teller.species(str(one)) for one in rows["species"].unique()})
    descriptor = new_descriptor(deployments, species, people, title, contributor, teller)
    tables = (
        ("deployments", DEPLOYMENTS, deployments),
        ("media", MEDIA, media),
        ("observations", OBSERVATIONS, observations),
    )
    files = {
        f"{name}.csv": program_sheet(header, [[row[column] for column in header] for row in table])
        for name, header, table in tables
    }
    files["datapackage.json"] = store_json(descriptor)
    return NewPackage(files, (deployments, media, observations), pictures, len(people), out, notes)


def _fitting_rows(
    frame: pd.DataFrame, stations: Stations, teller: Teller
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Sightings with a time, a deployment and a box in shares; and the others, each with the reason."""
    untimed = frame["timestamp"].isna().to_numpy()
    rows, nowhere = place_rows(frame[~untimed].reset_index(drop=True), stations)
    paths = [store.join(a, b) for a, b in zip(rows["root"], rows["image_path"], strict=True)]
    boxes = [
        None if box is None else relative_box(box, unit, teller.sizes.get(path))
        for box, unit, path in zip(rows["bbox"], _column(rows, "bbox_unit"), paths, strict=True)
    ]
    blind = np.array(
        [box is None and given is not None for box, given in zip(boxes, rows["bbox"], strict=True)],
        np.bool_,
    )
    out = [
        left_out(frame[untimed], "has no time"),
        nowhere,
        left_out(rows[blind], "has a box in pixels, and its picture cannot be opened"),
    ]
    rows = rows.assign(path=paths, box=pd.Series(boxes, dtype=object))[~blind]
    return rows.reset_index(drop=True), pd.concat(out, ignore_index=True)


def _column(rows: pd.DataFrame, name: str) -> Sequence[Any]:
    return rows[name].tolist() if name in rows else [None] * len(rows)


def _deployment_ids(stations: Stations) -> list[str]:
    """As the table calls them, where it does; else the place and a number."""
    given = [one.names[0] if one.names else "" for one in stations.deployments]
    if all(given) and len(set(given)) == len(given):
        return given
    names = cleaned(one.location_id for one in stations.deployments)
    count: dict[str, int] = {}
    ids = []
    for one in stations.deployments:
        count[one.location_id] = count.get(one.location_id, 0) + 1
        ids.append(f"{names[one.location_id]}_{count[one.location_id]}")
    return ids


def _deployment(stations: Stations, number: int, ids: Sequence[str], zone: tzinfo) -> Row:
    one = stations.deployments[number]
    return dict.fromkeys(DEPLOYMENTS, "") | {
        "deploymentID": ids[number],
        "locationID": one.location_id,
        "latitude": f"{one.latitude:.7g}",
        "longitude": f"{one.longitude:.7g}",
        "deploymentStart": stamp(one.start, zone, one.offset_minutes),
        "deploymentEnd": stamp(one.end, zone, one.offset_minutes),
    }


def _media(
    rows: pd.DataFrame, stations: Stations, zone: tzinfo
) -> tuple[list[Row], dict[str, str], dict[str, str]]:
    """Rows of media; path → filePath; path → mediaID."""
    first = rows.drop_duplicates("path").sort_values(
        ["deployment_id", "clock", "path"], kind="stable"
    )
    given = first["image_id"].tolist()
    own_ids = all(isinstance(one, str) for one in given) and len(set(given)) == len(given)
    media, pictures, ids = [], {}, {}
    taken: set[str] = set()
    offsets = _column(first, "utc_offset_minutes")
    for row, offset in zip(records(first), offsets, strict=True):
        path = row["path"]
        digest = hashlib.blake2b(path.encode(errors="surrogateescape"), digest_size=8).hexdigest()
        ids[path] = row["image_id"] if own_ids else digest
        place = _file_path(row["image_path"])
        if place in taken:  # of another root
            place = _file_path(f"{digest}/{row['image_path']}")
        taken.add(place)
        pictures[path] = place
        deployment = stations.deployments[row["deployment"]]
        minutes = offset if offset == offset and offset is not None else None
        # The clock is the deployment's where both offsets are known, else the camera's own.
        if deployment.offset_minutes is not None:
            minutes = deployment.offset_minutes
        media.append(
            dict.fromkeys(MEDIA, "")
            | {
                "mediaID": ids[path],
                "deploymentID": row["deployment_id"],
                "captureMethod": "activityDetection",
                "timestamp": stamp(
                    row["clock"].to_pydatetime(), zone, None if minutes is None else int(minutes)
                ),
                "filePath": place,
                "filePublic": "false",
                "fileName": posixpath.basename(row["image_path"]),
                "fileMediatype": mimetypes.guess_type(row["image_path"])[0] or "image/jpeg",
            }
        )
    return media, pictures, ids


def _file_path(path: str) -> str:
    """media/…, without what the standard forbids: a way up, a drive, a backslash."""
    parts = [part for part in re.split(r"[\\/]+", path) if part not in ("", ".", "..")]
    return posixpath.join("media", *(part.replace("..", "_").replace(":", "_") for part in parts))
