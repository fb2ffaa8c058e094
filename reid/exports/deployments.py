"""Where cameras stood and when: deployments as other programs write them, as one table.

Three shapes are known by their columns: deployments.csv of Camtrap DP, the camera table of camtrapR
(`Station, Setup_date, Retrieval_date, Problem1_from, …`), and a plain table
`detector, start, end` with `x, y` in metres or `lat, lon`.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta

import numpy as np
import pandas as pd

from reid import store
from reid.errors import InputError
from reid.exports.sheets import Moment, find_column, parse_dates, read_sheet
from reid.sources.columns import column_key

_NOON = time(12)
_DAY = timedelta(days=1)
_PROBLEM = re.compile(r"problem(\d*)(from|to)")

X = ("x", "utm_x", "easting", "x_coord", "x_utm")
Y = ("y", "utm_y", "northing", "y_coord", "y_utm")
LATITUDE = ("latitude", "lat")
LONGITUDE = ("longitude", "lon", "long", "lng")
DETECTOR = ("detector", "location_id", "location", "station", "site", "placename")
START = ("start", "deploymentStart", "start_date", "setup_date", "from")
END = ("end", "deploymentEnd", "end_date", "retrieval_date", "to")


@dataclass(frozen=True, slots=True)
class Deployment:
    """One camera at one place from a start to an end.

    Attributes:
        location_id: the place; cameras of one place are one detector.
        names: other names that a picture's place may have: deployment, name of the place.
        start, end: wall clock of the camera; a date without a time of day counts as noon.
        first, last: moments between which a picture belongs here: as start and end, but the whole
            day where only a date is known.
        offset_minutes: of that clock from UTC; None: unknown.
        gaps: [from, to) in which the camera did not work; gap dates are whole days.
        x, y: metres, or NaN.
        latitude, longitude: degrees, or NaN.
    """

    location_id: str
    names: tuple[str, ...]
    start: datetime
    end: datetime
    first: datetime
    last: datetime
    offset_minutes: int | None = None
    gaps: tuple[tuple[datetime, datetime], ...] = ()
    x: float = float("nan")
    y: float = float("nan")
    latitude: float = float("nan")
    longitude: float = float("nan")


@dataclass(frozen=True, slots=True)
class Stations:
    """All deployments of a survey.

    Attributes:
        deployments: in the file's order.
        projected: whether places are given as x, y; else as latitude and longitude.
        notes: what was left out while reading.
    """

    deployments: list[Deployment]
    projected: bool
    notes: list[str] = field(default_factory=list)


def read_stations(path: str, *, date_order: str | None = None) -> Stations:
    """Read a table of deployments, of any of the three shapes.

    Args:
        path: CSV; or the folder, or datapackage.json, of a Camtrap DP package.
        date_order: dmy | mdy, where the file's dates do not prove it.

    Raises:
        InputError: unknown shape, dates or coordinates that cannot be read, an end before its start.
    """
    path = _table_path(path)
    where = f"--deployments {path}"
    sheet = read_sheet(path, "--deployments")
    start, end = _ends(sheet, where)
    notes = []
    lacking = (sheet[start] == "") | (sheet[end] == "")
    if lacking.any():
        notes.append(
            f"{path}: {int(lacking.sum())} of {len(sheet)} deployments have no start or no end and are left out"
        )
        sheet = sheet[~lacking].reset_index(drop=True)
    gaps = _gap_columns(sheet, where)
    columns = [start, end, *(name for pair in gaps for name in pair)]
    dates = parse_dates(
        {name: sheet[name].tolist() for name in columns}, where=where, order=date_order
    )
    coordinates, projected = _coordinates(sheet, where)
    own_names = [find_column(sheet, [name]) for name in ("deploymentID", "locationName")]
    aliases = [name for name in own_names if name is not None]
    found = []
    for row, place in enumerate(_places(sheet, coordinates)):
        if not place:
            notes.append(f"{path}: row {row + 2} names no place and is left out")
            continue
        found.append(
            _deployment(
                place,
                tuple(str(sheet[name][row]) for name in aliases if sheet[name][row]),
                (dates[start][row], dates[end][row]),
                [(dates[a][row], dates[b][row]) for a, b in gaps],
                {name: float(values[row]) for name, values in coordinates.items()},
                f"{where}: row {row + 2} ({place})",
            )
        )
    if not found:
        raise InputError(f"{where}: no deployment with a place, a start and an end")
    return Stations(found, projected, notes)


def _table_path(path: str) -> str:
    """The table itself, of a package the deployments."""
    if path.endswith("datapackage.json"):
        path = path[: -len("datapackage.json")] or "."
    return store.join(path, "deployments.csv") if store.is_folder(path) else path


def _ends(sheet: pd.DataFrame, where: str) -> tuple[str, str]:
    """The columns of start and end, in a table that names cameras or places too."""
    start, end = find_column(sheet, START), find_column(sheet, END)
    if start is None or end is None or find_column(sheet, ["deploymentID", *DETECTOR]) is None:
        raise InputError(
            f"{where}: columns {', '.join(map(str, sheet.columns))}. Needed are Camtrap DP's deploymentID, "
            "deploymentStart, deploymentEnd, latitude, longitude; or camtrapR's Station, Setup_date, "
            "Retrieval_date; or detector, start, end and x, y or lat, lon"
        )
    return start, end


def _deployment(
    place: str,
    names: tuple[str, ...],
    ends: tuple[Moment | None, Moment | None],
    gaps: list[tuple[Moment | None, Moment | None]],
    coordinates: dict[str, float],
    where: str,
) -> Deployment:
    opened, closed = ends
    assert opened is not None
    assert closed is not None
    start, start_timed, offset = opened
    end, end_timed, end_offset = closed
    if offset is not None and end_offset is not None:
        end += timedelta(minutes=offset - end_offset)  # a clock that was changed meanwhile
    first = start
    last = end if end_timed else end + _DAY
    start = start if start_timed else datetime.combine(start, _NOON)
    end = end if end_timed else datetime.combine(end, _NOON)
    if end < start:
        raise InputError(
            f"{where}: ends at {end:%Y-%m-%d %H:%M}, before its start {start:%Y-%m-%d %H:%M}"
        )
    broken = []
    for begin, stop in gaps:
        if begin is None and stop is None:
            continue
        if begin is None or stop is None:
            raise InputError(f"{where}: a problem has a beginning or an end only; give both")
        # Whole days, ends included; with a time of day they are exact.
        till = stop[0] if stop[1] else stop[0] + _DAY
        if till < begin[0]:
            raise InputError(f"{where}: a problem ends before it begins")
        broken.append((begin[0], till))
    return Deployment(place, names, start, end, first, last, offset, tuple(broken), **coordinates)


def _gap_columns(sheet: pd.DataFrame, where: str) -> list[tuple[str, str]]:
    """Pairs Problem<n>_from, Problem<n>_to."""
    found: dict[str, dict[str, str]] = {}
    for column in sheet.columns:
        if match := _PROBLEM.fullmatch(column_key(str(column))):
            found.setdefault(match[1], {})[match[2]] = str(column)
    for number, pair in found.items():
        if len(pair) < 2:
            raise InputError(f"{where}: Problem{number} has no column Problem{number}_from or …_to")
    return [(pair["from"], pair["to"]) for pair in found.values()]


def _coordinates(sheet: pd.DataFrame, where: str) -> tuple[dict[str, np.ndarray], bool]:
    """x, y or latitude, longitude of each row, as numbers; and whether they are x and y."""
    both = {
        name: find_column(sheet, known)
        for name, known in (("x", X), ("y", Y), ("latitude", LATITUDE), ("longitude", LONGITUDE))
    }
    if both["x"] is not None and both["y"] is not None:
        used, projected = ("x", "y"), True
    elif both["latitude"] is not None and both["longitude"] is not None:
        used, projected = ("latitude", "longitude"), False
    else:
        return {}, False
    values = {}
    for name in used:
        column = both[name]
        assert column is not None
        texts = sheet[column].str.replace(",", ".", regex=False)  # a decimal comma
        numbers = pd.to_numeric(texts, errors="coerce").to_numpy(np.float64)
        wrong = np.flatnonzero((texts != "").to_numpy() & ~np.isfinite(numbers))
        if len(wrong):
            raise InputError(
                f"{where}: row {wrong[0] + 2}: {column} is {sheet[column][int(wrong[0])]!r}, not a number"
            )
        limit = {"latitude": 90, "longitude": 180}.get(name, np.inf)
        far = np.flatnonzero(np.abs(numbers) > limit)
        if len(far):
            raise InputError(
                f"{where}: row {far[0] + 2}: {column} is {numbers[far[0]]:g}; degrees go to ±{limit:g}"
            )
        values[name] = numbers
    return values, projected


def _places(sheet: pd.DataFrame, coordinates: dict[str, np.ndarray]) -> list[str]:
    """The place of each row.

    Of Camtrap DP locationID, else the coordinates with 4 decimals, else deploymentID: as the import has it.
    """
    deployment, location = (find_column(sheet, [name]) for name in ("deploymentID", "locationID"))
    if deployment is None:
        detector = find_column(sheet, DETECTOR)
        assert detector is not None
        places: list[str] = sheet[detector].tolist()
        return places
    places = []
    for row, own in enumerate(sheet[deployment]):
        place = sheet[location][row] if location is not None else ""
        if not place and "latitude" in coordinates:
            degrees = (coordinates["latitude"][row], coordinates["longitude"][row])
            if np.isfinite(degrees).all():
                place = f"{degrees[0]:.4f},{degrees[1]:.4f}"
        places.append(str(place or own))
    return places
