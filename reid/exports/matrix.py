"""Capture histories as a plain table: a row an individual, a column an occasion."""

from reid.exports.histories import Histories
from reid.exports.history_files import common_files, file_of
from reid.exports.sheets import program_sheet


def matrix_files(histories: Histories) -> dict[str, str]:
    """matrix.csv: `individual`, 1 … K; 0 or 1.

    Returns:
        name → text.
    """
    files = {}
    for session in histories.sessions:
        header = ("individual", *map(str, range(1, session.calendar.count + 1)))
        rows = [
            (who, *(int(one) for one in session.history[row]))
            for row, who in enumerate(session.individuals)
        ]
        files[file_of(session, histories, "matrix", "csv")] = program_sheet(header, rows)
    how = """\
In R:

    m <- as.matrix(read.csv("matrix.csv", row.names = 1, check.names = FALSE))
    Rcapture::closedp(m)
"""
    return {**files, **common_files(histories, how)}
