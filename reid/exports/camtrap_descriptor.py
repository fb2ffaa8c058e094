"""datapackage.json of a Camtrap DP: of one that is given back, and of a new one."""

import json
import re
from typing import Any

from reid.exports.camtrap_old import old_project
from reid.exports.camtrap_package import CamtrapPackage, Row
from reid.exports.camtrap_words import SCHEMAS, SOFTWARE, Teller

INDIVIDUALS = "individuals"
OTHER_INDIVIDUALS = "identified-individuals"  # where a resource of that name is somebody else's


def given_back_descriptor(
    package: CamtrapPackage, rows: list[Row], people: list[dict[str, str]], teller: Teller
) -> dict[str, Any]:
    """The descriptor that came in: individuals, levels, time and source are ours now, and nothing else.

    Args:
        package: as it came.
        rows: the observations as they are now.
        people: a row an individual; they go into a resource of their own, never into somebody else's.
        teller: time and version.
    """
    before = package.descriptor
    given = before.get("sources")
    sources = [
        one
        for one in (given if isinstance(given, list) else [])
        if not isinstance(one, dict) or one.get("title") != SOFTWARE
    ]
    after = {
        **before,
        "created": teller.now,
        "sources": [*sources, {"title": SOFTWARE, "version": teller.version}],
    }
    if package.old:  # it allows no resources but its three tables
        return {**after, "project": old_project(package.project)}
    levels = {row["observationLevel"] for row in rows}
    after["project"] = {
        **package.project,
        "individualAnimals": True,
        "observationLevel": [one for one in ("media", "event") if one in levels],
    }
    after["resources"] = _with_people(before["resources"], people)
    return after


def _with_people(before: list[Any], people: list[dict[str, str]]) -> list[Any]:
    """The resources with ours among them, in the place where it was."""
    ours = {
        "name": INDIVIDUALS,
        "description": "Individuals of the observations, by individualID.",
        "data": people,
    }
    resources = list(before)
    for number, one in enumerate(resources):
        if isinstance(one, dict) and one.get("name") in (INDIVIDUALS, OTHER_INDIVIDUALS):
            data = one.get("data")
            mine = isinstance(data, list) and all(
                isinstance(entry, dict) and "individualID" in entry for entry in data
            )
            if mine:
                resources[number] = {**ours, "name": one["name"]}
                return resources
            ours["name"] = OTHER_INDIVIDUALS
    return [*resources, ours]


def new_descriptor(
    deployments: list[Row],
    species: list[str],
    people: list[dict[str, str]],
    title: str | None,
    contributor: str | None,
    teller: Teller,
) -> dict[str, Any]:
    """A descriptor with all that the profile requires; what nobody said is made up.

    Args:
        deployments: rows of the table.
        species: scientific names.
        people: a row an individual.
        title, contributor: of the package; None: made up.
        teller: time and version.
    """
    called = title or f"Individuals of {', '.join(species)}"
    name = re.sub(r"[^a-z0-9]+", "-", called.lower()).strip("-") or "individuals"
    resources: list[dict[str, Any]] = [
        {
            "name": one,
            "path": f"{one}.csv",
            "profile": "tabular-data-resource",
            "format": "csv",
            "mediatype": "text/csv",
            "encoding": "utf-8",
            "schema": f"{SCHEMAS}/{one}-table-schema.json",
        }
        for one in ("deployments", "media", "observations")
    ]
    return {
        "resources": _with_people(resources, people),
        "profile": f"{SCHEMAS}/camtrap-dp-profile.json",
        "name": name,
        "created": teller.now,
        "title": called,
        "contributors": [{"title": contributor or "not named", "role": "contact"}],
        "version": "1.0",
        "sources": [{"title": SOFTWARE, "version": teller.version}],
        "project": {
            "title": called,
            "samplingDesign": "opportunistic",
            "captureMethod": ["activityDetection"],
            "individualAnimals": True,
            "observationLevel": ["media", "event"],
        },
        "spatial": _spatial(deployments),
        "temporal": {
            "start": min(row["deploymentStart"] for row in deployments)[:10],
            "end": max(row["deploymentEnd"] for row in deployments)[:10],
        },
        "taxonomic": [{"scientificName": one} for one in species],
    }


def _spatial(deployments: list[Row]) -> dict[str, Any]:
    """The box around all places, as GeoJSON; a point where there is one place."""
    x = [float(row["longitude"]) for row in deployments]
    y = [float(row["latitude"]) for row in deployments]
    low, high = (min(x), min(y)), (max(x), max(y))
    if low == high:
        return {"type": "Point", "coordinates": list(low)}
    corners = [low, (high[0], low[1]), high, (low[0], high[1]), low]
    return {"type": "Polygon", "coordinates": [[list(corner) for corner in corners]]}


def store_json(value: Any) -> str:
    """JSON as it is written into packages."""
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
