"""A Camtrap DP as it came: its tables as text."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from reid.errors import InputError
from reid.exports.camtrap_files import DESCRIPTOR, PackageFiles
from reid.exports.camtrap_old import COLUMNS as OLD_COLUMNS
from reid.exports.camtrap_old import is_old, modern_row
from reid.exports.camtrap_words import OBSERVATIONS
from reid.exports.sheets import read_sheet, records

TABLES = ("deployments", "media", "observations")
NEEDED = {"media": ("mediaID", "filePath"), "observations": ("observationID",)}

Row = dict[str, str]


@dataclass(slots=True)
class CamtrapPackage:
    """What a package holds, in the words of version 1.

    Attributes:
        files: where its files lie.
        descriptor: datapackage.json.
        deployments, media, observations: rows, as text.
        extra: columns of the observations that the standard does not know.
        observations_path: of its table in the package.
        old: whether it is of version 0.1.6.
    """

    files: PackageFiles
    descriptor: dict[str, Any]
    deployments: list[Row]
    media: list[Row]
    observations: list[Row]
    extra: list[str]
    observations_path: str
    old: bool

    @property
    def project(self) -> dict[str, Any]:
        """What the descriptor says of the project; nothing where it says nothing usable."""
        found = self.descriptor.get("project")
        return found if isinstance(found, dict) else {}

    @property
    def knows_individuals(self) -> bool:
        """Whether its individualIDs are individuals, by its own word."""
        if self.old:
            kinds = self.project.get("animalTypes")
            return isinstance(kinds, list) and "marked" in kinds
        return bool(self.project.get("individualAnimals"))

    @property
    def by_sequence(self) -> bool:
        """Whether rows are of whole sequences: a row of an image beside them would count an animal twice."""
        return self.old and not any(row["mediaID"] for row in self.observations)


def read_package(path: str) -> CamtrapPackage:
    """Read a package of version 0.1.6 or 1.

    Args:
        path: its folder, its datapackage.json, or a .zip.

    Raises:
        InputError: it is none, of a version between these, or a table is missing.
    """
    files = PackageFiles(path)
    descriptor = _descriptor(files)
    paths = _table_paths(files, descriptor)
    with files.on_disk([paths[name] for name in TABLES]) as place:
        tables = {name: read_sheet(place(paths[name]), "--package") for name in TABLES}
    here = [str(name) for name in tables["observations"].columns]
    old = is_old(here)
    _check_columns(files, tables, old=old)
    known = OLD_COLUMNS if old else OBSERVATIONS
    rows = [dict.fromkeys(known, "") | row for row in records(tables["observations"])]
    media = records(_with_events(tables["media"]) if old else tables["media"])
    return CamtrapPackage(
        files,
        descriptor,
        records(tables["deployments"]),
        media,
        [modern_row(row) for row in rows] if old else rows,
        [name for name in here if name not in known],
        paths["observations"],
        old,
    )


def _table_paths(files: PackageFiles, descriptor: dict[str, Any]) -> dict[str, str]:
    """Where in the package each of TABLES lies."""
    paths = {}
    for one in descriptor["resources"]:
        name, path = (one.get("name"), one.get("path")) if isinstance(one, dict) else (None, None)
        if isinstance(name, str) and isinstance(path, str):
            paths[name] = path
    for name in TABLES:
        if name not in paths:
            raise InputError(
                f"--package {files.place}: no resource {name} with a path, so no Camtrap DP"
            )
    return paths


def _check_columns(files: PackageFiles, tables: Mapping[str, pd.DataFrame], *, old: bool) -> None:
    """Refuse tables without the columns that rows are told apart by."""
    where = f"--package {files.place}"
    lacking = [
        f"{table}.{column}"
        for table, columns in NEEDED.items()
        for column in columns
        if column not in tables[table]
    ]
    if lacking:
        raise InputError(f"{where}: no columns {', '.join(lacking)}")
    if not old and not {"eventID", "observationLevel"} & {*tables["observations"].columns}:
        raise InputError(
            f"{where}: observations with neither eventID nor sequenceID: no Camtrap DP 0.1.6, and none of "
            "version 1"
        )


def _with_events(media: pd.DataFrame) -> pd.DataFrame:
    return media.assign(eventID=media["sequenceID"]) if "sequenceID" in media else media


def _descriptor(files: PackageFiles) -> dict[str, Any]:
    place = f"{files.place}/{DESCRIPTOR}"
    try:
        found = json.loads(files.read(DESCRIPTOR).decode("utf-8-sig"))
    except OSError as error:
        raise InputError(
            f"--package {files.place}: no {DESCRIPTOR} can be read there: {error}"
        ) from error
    except ValueError as error:
        raise InputError(f"--package {place}: this is not JSON: {error}") from error
    if not isinstance(found, dict) or not isinstance(found.get("resources"), list):
        raise InputError(f"--package {place}: no list of resources, so no data package")
    return found
