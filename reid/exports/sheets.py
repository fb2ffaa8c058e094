"""Small tables that people write by hand: read as text, whatever their separator and encoding."""

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import pandas as pd

from reid import store
from reid.errors import InputError


def read_sheet(path: str, option: str) -> pd.DataFrame:
    """A CSV file as text: `,` `;` or tab between fields, UTF-8 with or without BOM, or cp1252.

    Args:
        path: file or URI.
        option: how the user named it, for messages.

    Returns:
        One column of str for each in the file, named as there; empty fields are "".

    Raises:
        InputError: it is not there, has no header or no rows, or a row is longer than the header.
    """
    try:
        data = store.read_bytes(path)
    except OSError as error:
        raise InputError(f"{option} {path}: cannot be read: {error}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
    lines = text.splitlines()
    if not lines or not lines[0].strip():
        raise InputError(f"{option} {path}: no header in its first line")
    separator = max(",;\t", key=lines[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        header = [name.strip() for name in next(reader)]
        rows = [row for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        raise InputError(f"{option} {path}: line {reader.line_num}: {error}") from error
    if not rows:
        raise InputError(f"{option} {path}: a header without rows")
    twice = {name for name in header if header.count(name) > 1}
    if twice:
        raise InputError(f"{option} {path}: columns that come twice: {', '.join(sorted(twice))}")
    for number, row in enumerate(rows, 2):
        if len(row) > len(header):
            raise InputError(
                f"{option} {path}: row {number} has {len(row)} fields, the header {len(header)}"
            )
    padded = [[*row, *[""] * (len(header) - len(row))] for row in rows]
    frame = pd.DataFrame(padded, columns=header, dtype=object)
    return frame.map(lambda field: str(field).strip())


def plain(name: str) -> str:
    """A column's name without case, blanks and underscores."""
    return re.sub(r"[\s_]+", "", name).lower()


def find_column(frame: pd.DataFrame, names: Iterable[str]) -> str | None:
    """The frame's own name of the first column that is called one of `names`."""
    here = {plain(str(column)): str(column) for column in reversed(frame.columns)}
    return next((here[plain(name)] for name in names if plain(name) in here), None)


def write_sheet(rows: Iterable[Sequence[object]], header: Sequence[str] | None) -> str:
    """CSV as every program reads it: `,`, quotes where needed, a line feed after each row."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    if header is not None:
        writer.writerow(header)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    return sink.getvalue()


def frame_sheet(frame: pd.DataFrame) -> str:
    """A frame as CSV; nulls are empty fields."""
    filled = frame.astype(object).where(frame.notna(), None)
    return write_sheet(filled.itertuples(index=False), [str(name) for name in frame.columns])


_ISO = re.compile(
    r"(\d{4})[-:/](\d{1,2})[-:/](\d{1,2})(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.\d+)?)?)?"
    r"\s*(Z|[+-]\d{2}:?\d{2})?"
)
_DAY_OR_MONTH = re.compile(
    r"(\d{1,2})[/.-](\d{1,2})[/.-](\d{4}|\d{2})(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2}))?)?"
)
ORDERS = ("dmy", "mdy")


class Moment(NamedTuple):
    """A date of a table: its wall clock, whether that has a time of day, and its offset from UTC."""

    clock: datetime
    timed: bool
    offset_minutes: int | None


def parse_dates(
    columns: Mapping[str, Sequence[str]], *, where: str, order: str | None = None
) -> dict[str, list[Moment | None]]:
    """Dates of a table, with or without a time of day; empty fields are None.

    Known are 2026-05-31, 2026-05-31 14:05[:00][Z|+02:00], with T or a blank, and 31/05/2026 14:05 with
    `/`, `.` or `-`. Which of two numbers is the day is read from all dates together: some part must be
    above 12.

    Args:
        columns: name → fields.
        where: the file, for messages.
        order: dmy | mdy; None: as the dates themselves prove.

    Raises:
        InputError: a field is no date, or nothing proves the order of day and month.
    """
    if order is not None and order not in ORDERS:
        raise InputError(f"--date-order {order}: known: {', '.join(ORDERS)}")
    loose = [
        match
        for fields in columns.values()
        for field in fields
        if not _ISO.fullmatch(field) and (match := _DAY_OR_MONTH.fullmatch(field))
    ]
    if loose and order is None:
        proofs = {
            name
            for name, part in (("dmy", 1), ("mdy", 2))
            if any(int(match[part]) > 12 for match in loose)
        }
        if len(proofs) != 1:
            raise InputError(
                f"{where}: is {loose[0].string!r} day first or month first? "
                + ("No date in the file proves it" if not proofs else "Its dates prove both")
                + "; say --date-order dmy or --date-order mdy"
            )
        order = proofs.pop()
    return {
        name: [_moment(field, name, where, order) if field else None for field in fields]
        for name, fields in columns.items()
    }


def _moment(field: str, column: str, where: str, order: str | None) -> Moment:
    offset = None
    if match := _ISO.fullmatch(field):
        year, month, day = int(match[1]), int(match[2]), int(match[3])
        clock = match.groups()[3:6]
        if match[7] == "Z":
            offset = 0
        elif match[7]:
            sign = -1 if match[7][0] == "-" else 1
            offset = sign * (int(match[7][1:3]) * 60 + int(match[7][-2:]))
    elif match := _DAY_OR_MONTH.fullmatch(field):
        first, second, year = int(match[1]), int(match[2]), int(match[3])
        day, month = (first, second) if order == "dmy" else (second, first)
        year += 2000 if year < 100 else 0
        clock = match.groups()[3:6]
    else:
        raise InputError(
            f"{where}: {column} is {field!r}; write dates like 2026-05-31 or 2026-05-31T14:05:00"
        )
    hour, minute, second = (int(part or 0) for part in clock)
    try:
        moment = datetime(year, month, day, hour, minute, second)
    except ValueError as error:
        raise InputError(f"{where}: {column} is {field!r}: {error}") from error
    return Moment(moment, clock[0] is not None, offset)
