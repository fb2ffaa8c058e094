"""Capture histories: who was seen where on which occasion, and how long cameras were at work there."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reid.errors import InputError
from reid.exports.deployments import Stations
from reid.exports.effort import days_in_use, detector_table, place_rows
from reid.exports.flanks import choose_flank
from reid.exports.identifiers import cleaned
from reid.exports.meetings import encounter_keys
from reid.exports.sightings import Chosen, left_out

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Calendar:
    """Occasions of equal length.

    Attributes:
        day1: when the first begins.
        days: length of each.
        count: K.
    """

    day1: datetime
    days: float
    count: int

    @property
    def end(self) -> datetime:
        """When the last ends."""
        return self.day1 + self.count * timedelta(days=self.days)


@dataclass(frozen=True, slots=True)
class Session:
    """One capture history.

    Attributes:
        name: of the session.
        individuals: ids that other programs can read, sorted.
        identities: what each of them is called here.
        detectors: columns detector, location_id, and x, y (metres) where places are known; in the
            order of the traps: the first is in use on the first occasion.
        usage: (detectors, occasions) float64 days in use; None without deployments.
        captures: columns individual, occasion, detector (numbers from 0) and count (encounters), one
            row each, sorted.
        rows: the sightings behind them, with the same three numbers, and `clock`, the time by the
            clock of the camera's deployment.
        calendar: the occasions.
    """

    name: str
    individuals: list[str]
    identities: list[str]
    detectors: pd.DataFrame
    usage: NDArray[np.float64] | None
    captures: pd.DataFrame
    rows: pd.DataFrame
    calendar: Calendar

    @property
    def history(self) -> NDArray[np.bool_]:
        """(individuals, occasions) bool, True where seen anywhere."""
        seen = np.zeros((len(self.individuals), self.calendar.count), np.bool_)
        seen[self.captures["individual"], self.captures["occasion"]] = True
        return seen

    def words(self, row: int) -> str:
        """The history of one individual as 0 and 1."""
        return "".join("1" if one else "0" for one in self.history[row])


@dataclass(frozen=True, slots=True)
class Histories:
    """Capture histories of one species, all over the same occasions.

    Attributes:
        sessions: one, or `left` and `right`.
        species: whose.
        left_out: what does not count, and why (`sightings.LEFT_OUT`).
        notes: what a reader should know.
        zone: of the coordinates: `UTM zone 33N`, or how they were given; "" without any.
        joined: individuals known from both sides.
        side: that was chosen, left or right; "" where none was.
        sexes: identity → sex, where known.
    """

    sessions: list[Session]
    species: str
    left_out: pd.DataFrame
    notes: list[str] = field(default_factory=list)
    zone: str = ""
    joined: int = 0
    side: str = ""
    sexes: Mapping[str, str] = field(default_factory=dict)


def make_histories(
    chosen: Chosen,
    stations: Stations | None,
    *,
    occasion_days: float = 7,
    start: date | None = None,
    end: date | None = None,
    day_starts: time = time(0),
    flank: str | None = None,
    sexes: Mapping[str, str] | None = None,
) -> Histories:
    """Sightings and deployments to capture histories.

    Day 1 begins at `day_starts` (midnight by default) on or before the first start of a camera, or on
    `start`; occasion o of a time t is ⌊(t − day 1)/length⌋ + 1; there are as many as reach to the last
    end of a camera, or to the end of the day `end`. Days in use are counted over the cameras of a place,
    without gaps.

    Args:
        chosen: of `choose`.
        stations: of `read_stations`; None: every place counts as a detector, occasions run from the
            first to the last image, and how long cameras were at work is unknown.
        occasion_days: above 0.
        start, end: days, by the cameras' clocks, ends included.
        day_starts: time of day at which a day begins: 12:00 for animals of the night.
        flank: see `choose_flank`.
        sexes: identity → sex.

    Raises:
        InputError: values out of range, or nothing is left to make a history of.
    """
    if not occasion_days > 0 or not math.isfinite(occasion_days):
        raise InputError(
            f"--occasion-days {occasion_days:g}: give a length above 0, such as 1 or 7"
        )
    rows = chosen.rows
    outs, notes = [chosen.left_out], list(chosen.notes)
    rows, out = _timed(rows)
    outs.append(out)
    if stations is not None:
        notes += stations.notes
    rows, out = place_rows(rows, stations)
    outs.append(out)
    calendar = _calendar(rows, stations, occasion_days, start, end, day_starts)
    rows, out = _in_period(rows, calendar)
    outs.append(out)
    table, zone, said = detector_table(rows, stations)
    notes += said
    usage = None
    if stations is not None:
        usage = days_in_use(table, stations, calendar.day1, calendar.days, calendar.count)
        # secr's mixture models stop if the first trap is not in use on the first occasion.
        order = np.lexsort((table["detector"].to_numpy(str), usage[:, 0] == 0))
        table, usage = table.iloc[order].reset_index(drop=True), usage[order]
    rows = rows.assign(detector=pd.Index(table["location_id"]).get_indexer(pd.Index(rows["place"])))
    if usage is not None:
        idle = usage[rows["detector"], rows["occasion"]] <= 0
        outs.append(
            left_out(
                rows[idle], "no camera was in use here on this occasion: correct the deployments"
            )
        )
        rows = rows[~idle].reset_index(drop=True)
    if not len(rows):
        raise InputError("no sighting is left for a capture history: " + _reasons(pd.concat(outs)))
    flanks = choose_flank(rows, flank, cleaned([chosen.species])[chosen.species])
    outs.append(flanks.left_out)
    notes += flanks.notes
    every = pd.concat(outs, ignore_index=True)
    sessions = [
        _session(name, part, table, usage, calendar) for name, part in flanks.sessions.items()
    ]
    return Histories(
        sessions, chosen.species, every, notes, zone, flanks.joined, flanks.side, dict(sexes or {})
    )


def counts_table(session: Session) -> dict[str, list[int]]:
    """Counts by occasion, as secr prints them of a capthist.

    Returns:
        n (individuals), u (seen for the first time), f (seen on exactly 1, 2, … occasions), M (known so
        far), detections, visited (detectors with a capture), used (detectors in use); one number an
        occasion.
    """
    k = session.calendar.count
    history = session.history
    first = np.bincount(history.argmax(axis=1), minlength=k)
    captures = session.captures
    places = captures.drop_duplicates(["occasion", "detector"])["occasion"]
    used = [] if session.usage is None else (session.usage > 0).sum(axis=0).tolist()
    return {
        "n": history.sum(axis=0).tolist(),
        "u": first.tolist(),
        "f": np.bincount(history.sum(axis=1), minlength=k + 1)[1:].tolist(),
        "M": np.cumsum(first).tolist(),
        "detections": np.bincount(captures["occasion"], minlength=k).tolist(),
        "visited": np.bincount(places, minlength=k).tolist(),
        "used": used,
    }


def _timed(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    without = rows["timestamp"].isna().to_numpy()
    out = left_out(rows[without], "has no time")
    if without.all():
        raise InputError(
            f"none of {len(rows):,} images has a time, so there is no history; read the images again with "
            "their EXIF dates, or give a table with a column timestamp"
        )
    return rows[~without].reset_index(drop=True), out


def _calendar(
    rows: pd.DataFrame,
    stations: Stations | None,
    days: float,
    start: date | None,
    end: date | None,
    day_starts: time,
) -> Calendar:
    if stations is not None:
        first = min(one.start for one in stations.deployments)
        last = max(one.end for one in stations.deployments)
    elif len(rows):
        first, last = rows["clock"].min().to_pydatetime(), rows["clock"].max().to_pydatetime()
        last += timedelta(microseconds=1)  # the last image is inside
    else:
        raise InputError("no sighting has both a time and a place, and there are no deployments")
    if start is not None:
        day1 = datetime.combine(start, day_starts)
    else:
        day1 = datetime.combine(first.date(), day_starts)
        if day1 > first:
            day1 -= _DAY
    if end is not None:
        last = datetime.combine(end, day_starts) + _DAY
    if last <= day1:
        raise InputError(
            f"the period ends at {last:%Y-%m-%d %H:%M}, before it begins at {day1:%Y-%m-%d %H:%M}; see "
            "--start and --end"
        )
    return Calendar(day1, days, math.ceil((last - day1) / timedelta(days=days)))


def _in_period(rows: pd.DataFrame, calendar: Calendar) -> tuple[pd.DataFrame, pd.DataFrame]:
    passed = (rows["clock"] - calendar.day1) / timedelta(days=calendar.days)
    occasion = np.floor(passed.to_numpy(np.float64))
    within = (occasion >= 0) & (occasion < calendar.count)
    out = left_out(
        rows[~within],
        f"not between {calendar.day1:%Y-%m-%d %H:%M} and {calendar.end:%Y-%m-%d %H:%M}",
    )
    kept = rows[within].assign(occasion=occasion[within].astype(np.int64))
    return kept.reset_index(drop=True), out


def _session(
    name: str,
    rows: pd.DataFrame,
    detectors: pd.DataFrame,
    usage: NDArray[np.float64] | None,
    calendar: Calendar,
) -> Session:
    ids = cleaned(rows["individual"])
    order = sorted(ids.items(), key=lambda pair: pair[1])
    identities = [identity for identity, _ in order]
    rows = rows.rename(columns={"individual": "identity_name"})
    number = pd.Index(identities).get_indexer(pd.Index(rows["identity_name"]))
    met = encounter_keys(rows, ["identity_name", "detector"], "clock")
    rows = rows.assign(individual=number, encounter=met)
    grouped = rows.groupby(["individual", "occasion", "detector"], sort=True)["encounter"]
    captures = grouped.nunique().rename("count").reset_index()
    return Session(
        name, [one for _, one in order], identities, detectors, usage, captures, rows, calendar
    )


def _reasons(out: pd.DataFrame) -> str:
    return "; ".join(
        f"{number:,} images: {reason}" for reason, number in out["reason"].value_counts().items()
    )
