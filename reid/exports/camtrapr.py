"""Tables for the R package camtrapR: a record table of individuals, and the cameras' table."""

import posixpath
from datetime import datetime, time, timedelta

import pandas as pd

from reid.exports.deployments import Stations
from reid.exports.effort import station_spans
from reid.exports.histories import Histories
from reid.exports.history_files import common_files, number
from reid.exports.sheets import program_sheet

_DAY = timedelta(days=1)
RECORDS = (
    "Station", "Species", "Individual", "DateTimeOriginal", "Date", "Time", "Directory", "FileName",
)  # fmt: skip


def camtrapr_files(histories: Histories, stations: Stations | None) -> dict[str, str]:
    """record_table.csv, and with deployments camtraps.csv; dates as camtrapR expects them.

    Returns:
        name → text.
    """
    lines = []
    for session in histories.sessions:
        names = session.detectors["detector"].tolist()
        rows = session.rows.sort_values(["detector", "individual", "clock"], kind="stable")
        for row in rows.itertuples(index=False):
            clock = pd.Timestamp(str(row.clock))
            folder, file = posixpath.split(str(row.image_path))
            lines.append(
                (
                    names[int(str(row.detector))],
                    histories.species,
                    session.individuals[int(str(row.individual))],
                    f"{clock:%Y-%m-%d %H:%M:%S}",
                    f"{clock:%Y-%m-%d}",
                    f"{clock:%H:%M:%S}",
                    folder,
                    file,
                )
            )
    lines = list(dict.fromkeys(lines))  # a picture of two sessions is one record
    files = {"record_table.csv": program_sheet(RECORDS, lines)}
    calendar = histories.sessions[0].calendar
    how = """\
In R:

    library(camtrapR)
    records <- read.csv("record_table.csv", stringsAsFactors = FALSE)
"""
    if stations is not None:
        files["camtraps.csv"], problems = _camera_table(histories, stations)
        # It stops at columns of problems in which there is none.
        has_problems = "TRUE" if problems else "FALSE"
        how += f"""\
    cams <- read.csv("camtraps.csv", stringsAsFactors = FALSE)
    operation <- cameraOperation(cams, stationCol = "Station", setupCol = "Setup_date",
                                 retrievalCol = "Retrieval_date", hasProblems = {has_problems},
                                 dateFormat = "%Y-%m-%d")
    history <- spatialDetectionHistory(records, CTtable = cams, camOp = operation,
                                       species = "{histories.species}", output = "binary",
                                       stationCol = "Station", individualCol = "Individual",
                                       speciesCol = "Species", Xcol = "utm_x", Ycol = "utm_y",
                                       recordDateTimeCol = "DateTimeOriginal",
                                       recordDateTimeFormat = "%Y-%m-%d %H:%M:%S",
                                       occasionLength = {calendar.days:g}, day1 = "survey",
                                       includeEffort = TRUE, timeZone = "UTC")

Dates in camtraps.csv are whole days; secr's files (--format secr) keep the hours too.
"""
    return {**files, **common_files(histories, how)}


def _camera_table(histories: Histories, stations: Stations) -> tuple[str, int]:
    """The table, and how many pairs of Problem columns it has."""
    table = histories.sessions[0].detectors
    spans = station_spans(stations)
    lines, most = [], 0
    for row in table.to_dict("records"):
        own = spans[row["location_id"]]
        begin = min(
            one.start for one in stations.deployments if one.location_id == row["location_id"]
        )
        stop = max(one.end for one in stations.deployments if one.location_id == row["location_id"])
        problems = _whole_days(own, begin, stop)
        most = max(most, len(problems))
        place = (number(row["y"]), number(row["x"])) if "x" in row else ("", "")
        lines.append(
            [row["detector"], *place, f"{begin:%Y-%m-%d}", f"{stop:%Y-%m-%d}", *sum(problems, ())]
        )
    header = ["Station", "utm_y", "utm_x", "Setup_date", "Retrieval_date"]
    for number_of in range(1, most + 1):
        header += [f"Problem{number_of}_from", f"Problem{number_of}_to"]
    rows = [[*line, *[""] * (len(header) - len(line))] for line in lines]
    return program_sheet(header, rows), most


def _whole_days(
    spans: list[tuple[datetime, datetime]], begin: datetime, stop: datetime
) -> list[tuple[str, str]]:
    """Days without any camera at work, between a place's first start and last end."""
    edges = [begin, *(moment for span in spans for moment in span), stop]
    found = []
    for low, high in zip(edges[::2], edges[1::2], strict=True):
        first = low.date() if low.time() == time(0) or low == begin else (low + _DAY).date()
        last = high.date() if high == stop else (high - _DAY).date()
        if low < high and first <= last:
            found.append((f"{first:%Y-%m-%d}", f"{last:%Y-%m-%d}"))
    return found
