"""Capture histories of animals known from one side or two, for the R package multimark."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reid.errors import InputError
from reid.exports.flanks import LEFT, RIGHT, row_sides
from reid.exports.histories import Histories, Session
from reid.exports.history_files import common_files
from reid.exports.sheets import program_sheet

NONE, ONLY_LEFT, ONLY_RIGHT, APART, TOGETHER = range(5)
_WITH_LEFT, _WITH_RIGHT = (ONLY_LEFT, APART, TOGETHER), (ONLY_RIGHT, APART, TOGETHER)


def multimark_files(histories: Histories) -> dict[str, str]:
    """multimark.csv: `individual`, 1 … K, and known.csv: whose two sides are one animal's for certain.

    0 not seen, 1 left, 2 right, 3 both but never in one encounter, 4 both in one encounter. Individuals
    whose sides nobody has joined stand there once for each side; the model takes care of that. It allows
    both sides in one history only where they are known to belong together.

    Raises:
        InputError: histories of one flank were asked for, or no side is known.
    """
    if len(histories.sessions) > 1:
        raise InputError(
            "--format multimark takes both sides at once and models how they belong together: leave "
            "--flank out"
        )
    (session,) = histories.sessions
    codes = encounter_types(session)
    seen = np.asarray(codes.any(axis=1))
    if not seen.any():
        raise InputError("--format multimark: no image shows the left or the right side alone")
    rows = [
        (who, *(int(code) for code in codes[row]))
        for row, who in enumerate(session.individuals)
        if seen[row]
    ]
    both = [
        any(map(_WITH_LEFT.count, own)) and any(map(_WITH_RIGHT.count, own))
        for own in codes.tolist()
    ]
    known = [(who, int(both[row])) for row, who in enumerate(session.individuals) if seen[row]]
    header = ("individual", *map(str, range(1, session.calendar.count + 1)))
    kind = "sometimes" if (codes == TOGETHER).any() else "never"
    how = f"""\
In R:

    library(multimark)
    m <- as.matrix(read.csv("multimark.csv", row.names = 1, check.names = FALSE))
    known <- read.csv("known.csv")$known
    setup <- processdata(m, data.type = "{kind}", known = known)
    fit <- multimarkClosed(mms = setup)

known.csv has a 1 where one individual was seen from both sides, in whichever occasions.

{int((~seen).sum())} individuals without an image of one side alone are not in it.
"""
    files = {
        "multimark.csv": program_sheet(header, rows),
        "known.csv": program_sheet(("individual", "known"), known),
    }
    return {**files, **common_files(histories, how)}


def encounter_types(session: Session) -> NDArray[np.int8]:
    """(individuals, occasions) int8: how each was seen, as multimark numbers it."""
    codes = np.zeros((len(session.individuals), session.calendar.count), np.int8)
    rows = session.rows.assign(side=row_sides(session.rows))
    rows = rows[rows["side"] != 0]
    keys = ["individual", "occasion"]
    cells = _sides_of(rows, keys)
    meetings = _sides_of(rows, [*keys, "encounter"])
    together = meetings[meetings["left"] & meetings["right"]]
    values = np.select(
        [cells["left"] & cells["right"], cells["left"]], [APART, ONLY_LEFT], ONLY_RIGHT
    )
    codes[cells["individual"], cells["occasion"]] = values
    codes[together["individual"], together["occasion"]] = TOGETHER
    return codes


def _sides_of(rows: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    sided = rows[keys].assign(left=rows["side"] == LEFT, right=rows["side"] == RIGHT)
    found: pd.DataFrame = sided.groupby(keys)[["left", "right"]].any().reset_index()
    return found
