"""A Camtrap DP as it lies in a folder: its tables as text, and which media a sighting is of."""

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from reid import store
from reid.errors import InputError
from reid.exports.camtrap_words import OBSERVATIONS
from reid.exports.sheets import read_sheet, records

DESCRIPTOR = "datapackage.json"

Row = dict[str, str]


@dataclass(slots=True)
class CamtrapPackage:
    """What a package holds.

    Attributes:
        folder: where it lies.
        descriptor: datapackage.json.
        deployments, media, observations: rows, as text.
        extra: columns of the observations that the standard does not know.
        observations_path: of its table, relative to the folder.
    """

    folder: str
    descriptor: dict[str, Any]
    deployments: list[Row]
    media: list[Row]
    observations: list[Row]
    extra: list[str]
    observations_path: str


def read_package(path: str) -> CamtrapPackage:
    """Read a package of version 1.

    Args:
        path: its folder, or its datapackage.json.

    Raises:
        InputError: it is none, of another version, or a table is missing.
    """
    folder = posixpath.dirname(path) or "." if path.endswith(DESCRIPTOR) else path
    place = store.join(folder, DESCRIPTOR)
    try:
        descriptor = store.read_json(place)
    except OSError as error:
        raise InputError(f"--package {path}: no {DESCRIPTOR} can be read there: {error}") from error
    except ValueError as error:
        raise InputError(f"--package {place}: this is not JSON: {error}") from error
    resources = descriptor.get("resources") if isinstance(descriptor, dict) else None
    if not isinstance(resources, list):
        raise InputError(f"--package {place}: no list of resources, so no data package")
    paths = {
        one["name"]: one["path"]
        for one in resources
        if isinstance(one, dict)
        and isinstance(one.get("name"), str)
        and isinstance(one.get("path"), str)
    }
    tables = {}
    for name in ("deployments", "media", "observations"):
        if name not in paths:
            raise InputError(f"--package {place}: no resource {name} with a path, so no Camtrap DP")
        tables[name] = read_sheet(store.join(folder, paths[name]), "--package")
    here = tables["observations"].columns
    if "eventID" not in here and "observationLevel" not in here:
        raise InputError(
            f"--package {place}: observations without eventID and observationLevel: a Camtrap DP of before "
            "version 1.0. Bring it to 1.0 first (in R: camtrapdp::read_camtrapdp, write_camtrapdp)"
        )
    lacking = [
        name
        for table, column in (
            ("media", "mediaID"),
            ("media", "filePath"),
            ("observations", "observationID"),
        )
        if column not in tables[table]
        for name in [f"{table}.{column}"]
    ]
    if lacking:
        raise InputError(f"--package {place}: no columns {', '.join(lacking)}")
    rows_of = {name: records(table) for name, table in tables.items()}
    extra = [str(name) for name in here if name not in OBSERVATIONS]
    rows = [
        {name: row.get(name, "") for name in (*OBSERVATIONS, *extra)}
        for row in rows_of["observations"]
    ]
    return CamtrapPackage(
        folder,
        descriptor,
        rows_of["deployments"],
        rows_of["media"],
        rows,
        extra,
        paths["observations"],
    )


def media_finder(package: CamtrapPackage) -> Callable[[Mapping[str, Any]], tuple[str | None, str]]:
    """Which media a sighting is of: by its id, else by its path, as far as that is one's alone."""
    ids = {row["mediaID"] for row in package.media}
    by_path: dict[str, set[str]] = {}
    for row in package.media:
        parts = [
            part for part in row["filePath"].replace("\\", "/").split("/") if part not in ("", ".")
        ]
        for start in range(len(parts)):
            by_path.setdefault("/".join(parts[start:]), set()).add(row["mediaID"])
        if row.get("fileName"):
            by_path.setdefault(row["fileName"], set()).add(row["mediaID"])

    def find(sighting: Mapping[str, Any]) -> tuple[str | None, str]:
        own = sighting.get("image_id")
        if isinstance(own, str) and own in ids:
            return own, ""
        parts = str(store.join(sighting["root"], sighting["image_path"])).split("/")
        # The longest tail of its path that the package has.
        for start in range(len(parts)):
            found = by_path.get("/".join(parts[start:]))
            if found is not None and len(found) == 1:
                return next(iter(found)), ""
            if found is not None:
                return None, f"{len(found)} media of the package are called so"
        return None, "is no media of the package"

    return find
