"""Which camera a sighting belongs to, and how many days each place was watched."""

from collections.abc import Iterable
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reid.errors import InputError
from reid.exports.coordinates import to_metres
from reid.exports.deployments import Deployment, Stations
from reid.exports.identifiers import cleaned
from reid.exports.sightings import left_out

Spans = list[tuple[datetime, datetime]]

NO_PLACE = "no place"  # of images that name none, where places do not matter
_SECONDS_A_DAY = 86_400
_FAR_METRES = 100  # between cameras of one place


def place_rows(rows: pd.DataFrame, stations: Stations | None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sightings that fall into a deployment, and those that do not, each with its reason.

    Where the offsets from UTC of both a picture and its camera's deployment are known and differ, the
    picture's time is put onto the clock of the deployment; else both are taken as the camera's clock.

    Args:
        rows: with timestamp and location_id.
        stations: None: every place that a row names.

    Returns:
        rows with `place` (location_id of the deployment), `deployment` (its number) and `clock`; and lines of left_out.csv.
    """
    if stations is None:
        places = rows["location_id"].astype(object).where(rows["location_id"].notna(), NO_PLACE)
        placed = rows.assign(place=places, clock=rows["timestamp"])
        return placed, left_out(rows.iloc[:0], "")
    nowhere = rows["location_id"].isna().to_numpy()
    outs = [left_out(rows[nowhere], "has no place")]
    rows = rows[~nowhere].reset_index(drop=True)
    by_name = _by_name(stations.deployments)
    number = {id(one): place for place, one in enumerate(stations.deployments)}
    offsets = (
        rows["utc_offset_minutes"].astype("Float64")
        if "utc_offset_minutes" in rows
        else pd.Series(pd.NA, index=rows.index, dtype="Float64")
    )
    place = np.full(len(rows), None, object)
    which = np.full(len(rows), -1)
    clock = rows["timestamp"].copy()
    reason = np.full(len(rows), None, object)
    for name, group in rows.groupby("location_id", sort=False):
        at = group.index.to_numpy()
        deployments = by_name.get(str(name))
        if deployments is None:
            reason[at] = "is at a place that no deployment names"
            continue
        times, shifts = group["timestamp"], offsets[at]
        inside = np.zeros(len(at), np.bool_)
        for one in deployments:
            here = times
            if one.offset_minutes is not None:
                minutes = (one.offset_minutes - shifts).fillna(0).to_numpy(np.float64)
                here = times + pd.to_timedelta(minutes, unit="min")
            fits = ((here >= one.first) & (here <= one.last)).to_numpy() & ~inside
            place[at[fits]] = one.location_id
            which[at[fits]] = number[id(one)]
            clock.loc[at[fits]] = here[fits]
            inside |= fits
        reason[at[~inside]] = "was taken outside the time of every deployment here"
    lost = np.asarray([one is not None for one in reason], np.bool_)
    outs.append(left_out(rows[lost], reason[lost].tolist()))
    placed = rows.assign(place=place, deployment=which, clock=clock)[~lost].reset_index(drop=True)
    return placed, pd.concat(outs, ignore_index=True)


def detector_table(
    rows: pd.DataFrame, stations: Stations | None
) -> tuple[pd.DataFrame, str, list[str]]:
    """Detectors, those without any sighting too: names, places in metres.

    Returns:
        columns detector, location_id, and with coordinates x, y (metres), latitude, longitude (NaN where
        they were not given); what x and y are; notes.

    Raises:
        InputError: some places have coordinates and others have none.
    """
    if stations is None:
        places = sorted(rows["place"].unique())
        names = cleaned(places)
        table = pd.DataFrame({"detector": [names[one] for one in places], "location_id": places})
        return table, "", []
    grouped: dict[str, list[Deployment]] = {}
    for one in stations.deployments:
        grouped.setdefault(one.location_id, []).append(one)
    places = sorted(grouped)
    names = cleaned(places)
    columns = ("x", "y", "latitude", "longitude")
    middle = {
        name: np.array([_mean(getattr(one, name) for one in grouped[place]) for place in places])
        for name in columns
    }
    table = pd.DataFrame({"detector": [names[one] for one in places], "location_id": places})
    known = np.isfinite(middle["x"] if stations.projected else middle["latitude"])
    known &= np.isfinite(middle["y"] if stations.projected else middle["longitude"])
    if not known.any():
        return table, "", ["the deployments have no coordinates"]
    if not known.all():
        lacking = [place for place, one in zip(places, known, strict=True) if not one]
        raise InputError(
            f"{len(lacking)} of {len(places)} places have no coordinates: {', '.join(lacking[:8])}; fill "
            "them in, or take their deployments out"
        )
    notes = []
    if stations.projected:
        zone = "x and y as given"
        if np.abs(middle["x"]).max() <= 180 and np.abs(middle["y"]).max() <= 90:
            notes.append(
                "x and y look like degrees, and metres are needed: call the columns lon and lat, and they "
                "are turned into metres"
            )
    else:
        middle["x"], middle["y"], zone = to_metres(middle["latitude"], middle["longitude"])
    notes += _spread(grouped, stations.projected)
    return table.assign(**middle), zone, notes


def days_in_use(
    table: pd.DataFrame, stations: Stations, day1: datetime, days: float, occasions: int
) -> NDArray[np.float64]:
    """(detectors, occasions) float64: days on which at least one camera of the place was at work.

    Args:
        table: of `detector_table`.
        stations: the deployments.
        day1: when the first occasion begins.
        days: length of an occasion.
        occasions: how many.
    """
    spans = station_spans(stations)
    edges = np.arange(occasions + 1) * days * _SECONDS_A_DAY
    usage = np.zeros((len(table), occasions))
    for row, place in enumerate(table["location_id"]):
        for begin, stop in spans[place]:
            low, high = ((moment - day1).total_seconds() for moment in (begin, stop))
            shared = np.minimum(edges[1:], high) - np.maximum(edges[:-1], low)
            usage[row] += np.maximum(shared, 0)
    # Whole minutes: what is finer is noise of the division.
    return np.round(usage / 60) / (_SECONDS_A_DAY / 60)


def station_spans(stations: Stations) -> dict[str, Spans]:
    """When at least one camera of each place was at work: [from, to) without overlaps, in order."""
    spans: dict[str, Spans] = {}
    for one in stations.deployments:
        spans.setdefault(one.location_id, []).extend(_without_gaps(one))
    return {place: _union(own) for place, own in spans.items()}


def _without_gaps(deployment: Deployment) -> Spans:
    spans = [(deployment.start, deployment.end)]
    for begin, stop in deployment.gaps:
        spans = [
            part
            for low, high in spans
            for part in ((low, min(high, begin)), (max(low, stop), high))
            if part[0] < part[1]
        ]
    return spans


def _union(spans: Spans) -> Spans:
    joined: Spans = []
    for low, high in sorted(spans):
        if joined and low <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], high))
        else:
            joined.append((low, high))
    return joined


def _by_name(deployments: list[Deployment]) -> dict[str, list[Deployment]]:
    """Deployments by the place's id, else by another name that only one place has."""
    found: dict[str, list[Deployment]] = {}
    for one in deployments:
        found.setdefault(one.location_id, []).append(one)
    others: dict[str, list[Deployment]] = {}
    for one in deployments:
        for name in set(one.names) - found.keys():
            others.setdefault(name, []).append(one)
    unique = {
        name: some for name, some in others.items() if len({one.location_id for one in some}) == 1
    }
    return unique | found


def _spread(grouped: dict[str, list[Deployment]], projected: bool) -> list[str]:
    """A note where deployments of one place lie apart."""
    far = []
    for place, some in grouped.items():
        pairs = [(one.x, one.y) if projected else (one.latitude, one.longitude) for one in some]
        both = np.array([pair for pair in pairs if np.isfinite(pair).all()])
        if len(both) < 2:
            continue
        if not projected:
            metres = 111_320.0  # a degree of latitude
            both = both * [metres, metres * np.cos(np.radians(both[0, 0]))]
        if float(np.hypot(*np.ptp(both, axis=0))) > _FAR_METRES:
            far.append(place)
    if not far:
        return []
    return [
        f"deployments of one place lie more than {_FAR_METRES} m apart ({', '.join(far[:8])}); their middle "
        "is taken as the detector"
    ]


def _mean(values: Iterable[float]) -> float:
    finite = [value for value in values if np.isfinite(value)]
    return float(np.mean(finite)) if finite else float("nan")
