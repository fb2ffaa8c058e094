"""Camtrap DP 0.1.6 in the words of version 1, and back.

It knows sequences where version 1 knows events, one time a row, no boxes and no tags: what version 1
keeps as tags goes into its comments.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from reid.exports.camtrap_words import OBSERVATIONS

Row = dict[str, str]

COLUMNS = (
    "observationID", "deploymentID", "sequenceID", "mediaID", "timestamp", "observationType",
    "cameraSetup", "taxonID", "scientificName", "count", "countNew", "lifeStage", "sex", "behaviour",
    "individualID", "classificationMethod", "classifiedBy", "classificationTimestamp",
    "classificationConfidence", "comments", "_id",
)  # fmt: skip
_CALLED = {
    "sequenceID": "eventID",
    "timestamp": "eventStart",
    "behaviour": "behavior",
    "classificationConfidence": "classificationProbability",
    "comments": "observationTags",
}


def is_old(columns: Iterable[str]) -> bool:
    """Whether observations with these columns are of 0.1.6."""
    return "sequenceID" in columns and "eventID" not in columns


def modern_row(row: Mapping[str, str]) -> Row:
    """A row as version 1 would have it; what that does not know keeps its name."""
    said = {_CALLED.get(name, name): value for name, value in row.items()}
    return dict.fromkeys(OBSERVATIONS, "") | {
        **said,
        "eventEnd": row.get("timestamp", ""),
        "observationLevel": "media" if row.get("mediaID") else "event",
    }


def old_row(row: Mapping[str, str]) -> Row:
    """The same row as 0.1.6 has it."""
    return {name: row.get(_CALLED.get(name, name), "") for name in COLUMNS}


def old_project(project: Mapping[str, Any]) -> dict[str, Any]:
    """The project of a package in which individuals are told apart now."""
    given = project.get("animalTypes")
    kinds = [one for one in given if isinstance(one, str)] if isinstance(given, list) else []
    return {**project, "animalTypes": list(dict.fromkeys([*kinds, "marked"]))}
