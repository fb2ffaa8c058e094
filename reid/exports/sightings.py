"""Who was seen in which image: the table that every export starts from, and what is left out of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from reid.catalogue.state import names_of_individuals
from reid.errors import InputError
from reid.exports.meetings import encounter_keys
from reid.identify.constraints import latest_decisions
from reid.identify.remarks import unusable_ids
from reid.population import joined_to_nearest

UNSURE_RULES = ("drop", "own", "as-best", "drop-singles", "join-singles")
_SINGLES = ("drop-singles", "join-singles")
_TOLD = {
    "drop": "are left out; `reid review` asks about them",
    "own": "count for the provisional individuals that they were given: expect too many individuals",
    "as-best": "count for the individual nearest to each of them",
    "drop-singles": "of individuals met once are left out; `reid review` asks about them",
    "join-singles": "of individuals met once count for the individual nearest to each",
}

# What a sighting has beside the columns of the annotations table.
IDENTIFIED = ("identity_id", "decision", "confidence", "nearest_id", "confirmed_by", "confirmed_at")
LEFT_OUT = (
    "annotation_id", "image_path", "species", "identity_id", "timestamp", "location_id", "reason",
)  # fmt: skip


def sightings(rows: pa.Table, decisions: pa.Table | None = None) -> pd.DataFrame:
    """Rows of a catalogue, or of a run's output, with who confirmed each of them and when.

    An image is confirmed by the last person who joined it with another of the individual that it
    still belongs to.

    Args:
        rows: the columns of the annotations table, and identity_id, decision, confidence, nearest_id.
        decisions: `reid.schema.DECISIONS`.

    Returns:
        The same rows in the same order, and confirmed_by (str | None), confirmed_at (UTC | NaT), name (of the
        individual, by people: str | None), unusable (bool: somebody said that nobody can be told by it).
    """
    frame: pd.DataFrame = rows.to_pandas(date_as_object=False)
    names = names_of_individuals(rows, decisions)
    frame["name"] = np.asarray([*map(names.get, frame["identity_id"]), None], object)[:-1]
    unusable = set() if decisions is None else unusable_ids(decisions)
    frame["unusable"] = frame["annotation_id"].isin(unusable).to_numpy(np.bool_)
    frame["confirmed_by"] = pd.Series([None] * len(frame), dtype=object, index=frame.index)
    frame["confirmed_at"] = pd.Series(pd.NaT, dtype="datetime64[us, UTC]", index=frame.index)
    if decisions is None or not len(decisions):
        return frame
    latest = latest_decisions(decisions).to_pandas()
    latest = latest[latest["decision"] == "match"].sort_values("timestamp", kind="stable")
    index = pd.Index(frame["annotation_id"])
    a, b = (index.get_indexer(pd.Index(latest[name])) for name in ("a_id", "b_id"))
    who = frame["identity_id"].to_numpy(dtype=object)
    held = (a >= 0) & (b >= 0)
    held[held] = who[a[held]] == who[b[held]]
    both = pd.concat(
        [latest.loc[held, ["reviewer", "timestamp"]].assign(row=end[held]) for end in (a, b)]
    )
    last = both.sort_values("timestamp", kind="stable").drop_duplicates("row", keep="last")
    frame.loc[last["row"], "confirmed_by"] = last["reviewer"].to_numpy()
    frame.loc[last["row"], "confirmed_at"] = last["timestamp"].to_numpy()
    return frame


def in_doubt(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """(n,) True for images that nobody is sure of: unsure, and neither labelled nor confirmed by a person."""
    unsure = (frame["decision"] == "unsure").to_numpy()
    named = frame["identity"].notna() if "identity" in frame else pd.Series(False, frame.index)
    return unsure & ~named.to_numpy() & ~frame["confirmed_by"].notna().to_numpy()


def single_doubts(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """(n,) True for images of individuals who are in doubt altogether and were met only once."""
    doubtful = in_doubt(frame)
    # Images without a time are one meeting; histories leave them out anyway.
    timed = frame.assign(timestamp=frame["timestamp"].fillna(pd.Timestamp(0)))
    met = pd.Series(encounter_keys(timed, ["identity_id"], "timestamp"), frame.index)
    who = frame["identity_id"]
    once = met.groupby(who).nunique().reindex(who).to_numpy() == 1
    sure = pd.Series(~doubtful, frame.index).groupby(who).any().reindex(who).to_numpy(np.bool_)
    return np.asarray(doubtful & once & ~sure, np.bool_)


def counted_as(frame: pd.DataFrame, unsure: str) -> NDArray[np.object_]:
    """(n,) the identity that each row counts for, None for nobody.

    Args:
        frame: of `sightings`.
        unsure: see `choose`.

    Raises:
        InputError: an unknown rule.
    """
    if unsure not in UNSURE_RULES:
        raise InputError(f"--unsure {unsure}: known: {', '.join(UNSURE_RULES)}")
    individual = frame["identity_id"].to_numpy(dtype=object).copy()
    doubtful = single_doubts(frame) if unsure in _SINGLES else in_doubt(frame)
    if unsure in ("drop", "drop-singles"):
        individual[doubtful] = None
    elif unsure in ("as-best", "join-singles") and doubtful.any():
        nearest = pd.Index(frame["annotation_id"]).get_indexer(pd.Index(frame["nearest_id"]))
        individual = np.asarray(joined_to_nearest(individual.tolist(), doubtful, nearest), object)
    return individual


@dataclass(frozen=True, slots=True)
class Chosen:
    """Sightings of one species that count.

    Attributes:
        rows: with a column `individual`, the identity that a row counts for.
        left_out: columns LEFT_OUT.
        species: its name.
        notes: what a reader should know.
    """

    rows: pd.DataFrame
    left_out: pd.DataFrame
    species: str
    notes: list[str] = field(default_factory=list)


def choose(frame: pd.DataFrame, *, species: str | None = None, unsure: str = "drop") -> Chosen:
    """The sightings of one species, by a rule for those that nobody is sure of.

    Args:
        frame: of `sightings`.
        species: which; may be None where there is only one.
        unsure: of images in doubt (`in_doubt`). drop: they do not count; own: each counts for the
            provisional individual that it was given; as-best: it counts for the individual of the image
            nearest to it. drop-singles, join-singles: the same for individuals who were met once; those
            met several times count as they are.

    Raises:
        InputError: an unknown species or rule, several species and none was named, or no row is left.
    """
    if not len(frame):
        raise InputError("there is no image of anybody to export")
    names = sorted(frame["species"].unique())
    if species is None:
        if len(names) > 1:
            raise InputError(f"several species: {', '.join(names)}; name one by --species")
        species = str(names[0])
    elif species not in names:
        raise InputError(
            f"--species {species}: there is no such species; known: {', '.join(names)}"
        )
    rows = frame[frame["species"] == species].reset_index(drop=True)
    individual = counted_as(rows, unsure)
    doubtful = single_doubts(rows) if unsure in _SINGLES else in_doubt(rows)
    lost = np.array([who is None for who in individual], np.bool_)
    count, notes = int(doubtful.sum()), []
    if count:
        notes.append(f"{count} unsure images {_TOLD[unsure]}")
    if unsure in _SINGLES:
        provisional = rows["identity_id"][in_doubt(rows) & ~doubtful].nunique()
        if provisional:
            notes.append(
                f"{provisional} individuals who were met several times are near to another one; they count as "
                "the catalogue has them"
            )
    rows = rows.assign(individual=individual)
    out = left_out(rows[lost], f"nobody is sure who this is (--unsure {unsure})")
    rows = rows[~lost].reset_index(drop=True)
    if not len(rows):
        raise InputError(
            f"{species}: no image is left, {count} are unsure; review them, or say --unsure drop-singles"
        )
    return Chosen(rows, out, species, notes)


def left_out(rows: pd.DataFrame, reason: str | Sequence[str]) -> pd.DataFrame:
    """Rows as lines of left_out.csv, with one reason for all or one each."""
    return rows.reindex(columns=list(LEFT_OUT[:-1])).assign(reason=reason)
