"""What was seen, as observations of a new Camtrap DP."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from reid.exports.camtrap_media import sighting_tags
from reid.exports.camtrap_package import Row
from reid.exports.camtrap_words import OBSERVATIONS, SEXES, Teller, box_words, with_tags
from reid.exports.meetings import encounter_keys
from reid.exports.sheets import records


def observation_rows(
    rows: pd.DataFrame,
    media_ids: Mapping[str, str],
    stamps: Mapping[str, str],
    teller: Teller,
) -> list[Row]:
    """Rows of observations: one a sighting, and one for each animal of an event.

    Args:
        rows: sightings, with deployment_id, clock, path, box and individual.
        media_ids: path → mediaID.
        stamps: mediaID → its time.
        teller: what is written beside.
    """
    rows = rows.assign(
        animal=rows["identity_id"],
        media_id=[media_ids[path] for path in rows["path"]],
        met=encounter_keys(rows, ["identity_id", "deployment_id"], "clock"),
    )
    rows["event"] = _event_ids(rows)
    rows = rows.sort_values(["deployment_id", "clock", "annotation_id"], kind="stable")
    found = [
        _said(row, teller)
        | {
            "observationID": row["annotation_id"],
            "mediaID": row["media_id"],
            "eventStart": stamps[row["media_id"]],
            "eventEnd": stamps[row["media_id"]],
            "observationLevel": "media",
            **box_words(row["box"]),
            "observationTags": with_tags("", sighting_tags(row)),
        }
        for row in records(rows)
    ]
    for number, (_, group) in enumerate(rows.groupby(["event", "species", "animal"], sort=False)):
        row = group.iloc[[0]].pipe(records)[0]
        times = [stamps[one] for one in group["media_id"]]
        found.append(
            _said(row, teller)
            | {
                "observationID": f"{row['event']}_{number + 1}",
                "eventStart": times[0],
                "eventEnd": times[-1],
                "observationLevel": "event",
            }
        )
    return found


def _said(row: Mapping[str, Any], teller: Teller) -> Row:
    who, by = row["individual"], row["confirmed_by"]
    confirmed = isinstance(by, str)
    return dict.fromkeys(OBSERVATIONS, "") | {
        "deploymentID": row["deployment_id"],
        "eventID": row["event"],
        "observationType": "animal",
        "scientificName": teller.species(row["species"]),
        "count": "1",
        "sex": SEXES.get(teller.sexes.get(row["identity_id"], "").lower(), ""),
        "individualID": who if isinstance(who, str) else "",
        "classificationMethod": "human" if confirmed else "machine",
        "classifiedBy": by if confirmed else teller.classified_by(row["species"]),
        "classificationTimestamp": row["confirmed_at"].strftime("%Y-%m-%dT%H:%M:%SZ")
        if confirmed
        else teller.now,
    }


def _event_ids(rows: pd.DataFrame) -> list[str]:
    """An id for each encounter of a deployment: as given where that is one deployment's alone."""
    homes = rows[rows["encounter_id"].notna()].groupby("encounter_id")["deployment_id"].nunique()
    ids: list[str] = []
    made: dict[tuple[str, str], str] = {}
    for row in rows[["encounter_id", "deployment_id", "met"]].itertuples(index=False):
        if isinstance(row.encounter_id, str):
            alone = homes[row.encounter_id] == 1
            ids.append(row.encounter_id if alone else f"{row.encounter_id}_{row.deployment_id}")
        else:
            key = (str(row.deployment_id), str(row.met))
            ids.append(made.setdefault(key, f"{row.deployment_id}_e{len(made) + 1}"))
    return ids


def people_rows(rows: pd.DataFrame, teller: Teller) -> list[Row]:
    """A row an individual, for the descriptor."""
    known = rows[[isinstance(one, str) for one in rows["individual"]]]
    found = known.sort_values("individual").drop_duplicates("individual")
    return [
        {
            "individualID": row["individual"],
            "scientificName": teller.species(row["species"]),
            "sex": SEXES.get(teller.sexes.get(row["identity_id"], "").lower(), ""),
            "lifeStage": "",
        }
        for row in records(found)
    ]
