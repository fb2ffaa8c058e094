"""Small tables that people write by hand, read as text; and tables for people and for programs."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from reid.errors import InputError
from reid.sources.columns import column_key
from reid.sources.date_orders import ORDERS, Order
from reid.sources.dates import read_dates
from reid.sources.opened_tables import open_table
from reid.spreadsheet import write_rows

_ANY_DAY = date(9000, 1, 1)  # a camera may be planned to stand until next year
_CLOCK = re.compile(r"\d[:.h]\d{2}(?!\d)|\d{8}[T _-]?\d{4}")


def read_sheet(path: str, option: str) -> pd.DataFrame:
    """A table as text: any separator and encoding that `--input` takes, or Parquet.

    Args:
        path: file or URI.
        option: how the user named it, for messages.

    Returns:
        One column of str for each in the file, named as there; empty fields are "".

    Raises:
        InputError: it is not there, cannot be understood, or has no rows.
    """
    table = open_table(path, flag=option)
    if table.broken:
        line, wrong, _ = table.broken[0]
        raise InputError(f"{option} {path}: line {line}: {wrong}")
    if not len(table.lines):
        raise InputError(f"{option} {path}: a header without rows")
    columns = {
        name: [(value or "").strip() for value in table.texts(place).to_pylist()]
        for place, name in enumerate(table.header)
    }
    return pd.DataFrame(columns, dtype=object)


def find_column(frame: pd.DataFrame, names: Iterable[str]) -> str | None:
    """The frame's own name of the first column that is called one of `names`."""
    here = {column_key(str(column)): str(column) for column in reversed(frame.columns)}
    return next((here[column_key(name)] for name in names if column_key(name) in here), None)


def program_sheet(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV for a program, which must find every text as it is."""
    return write_rows(header, rows, raw=True)[0]


def people_sheet(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """CSV that somebody may open in a spreadsheet: no text in it is taken for a formula."""
    return write_rows(header, rows)[0]


def frame_rows(frame: pd.DataFrame) -> Iterable[Sequence[object]]:
    """The rows of a frame; nulls are None."""
    filled = frame.astype(object).where(frame.notna(), None)
    return filled.itertuples(index=False)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame, each by column; what is missing is None, whatever pandas has there."""
    return [
        {str(name): _or_none(value) for name, value in row.items()}
        for row in frame.to_dict("records")
    ]


def _or_none(value: Any) -> Any:
    if isinstance(value, list | np.ndarray):
        return value
    return None if pd.isna(value) else value


def number_of(text: str) -> float:
    """A number, also one that R has written as `1.0`; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


class Moment(NamedTuple):
    """A date of a table: its wall clock, whether that has a time of day, and its offset from UTC."""

    clock: datetime
    timed: bool
    offset_minutes: int | None


def parse_dates(
    columns: Mapping[str, Sequence[str]], *, where: str, order: str | None = None
) -> dict[str, list[Moment | None]]:
    """Dates of a table, with or without a time of day; empty fields are None.

    Which of two numbers is the day is read from all dates of the table together.

    Args:
        columns: name → fields.
        where: the file, for messages.
        order: as of `reid.sources.dates.read_dates`; None: as the dates themselves prove.

    Raises:
        InputError: a field is no date, or nothing proves the order of day and month.
    """
    known: Order | None = next((one for one in ORDERS if one == order), None)
    if order is not None and known is None:
        raise InputError(f"--date-order {order}: known: {', '.join(ORDERS)}")
    fields = [(name, field) for name, own in columns.items() for field in own]
    texts = [field for _, field in fields]
    try:
        times = read_dates(
            pa.array(texts, pa.string()), order=known, what="the dates", today=_ANY_DAY
        )
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    moments: list[Moment | None] = []
    for (name, field), clock, offset in zip(
        fields, times.timestamp.to_pylist(), times.offset.to_pylist(), strict=True
    ):
        if field and clock is None:
            reason = next((why for why, (_, text) in times.lost.items() if text == field), "")
            raise InputError(
                f"{where}: {name} is {field!r}: {reason or 'not understood'}; write dates like 2026-05-31 or "
                "2026-05-31T14:05:00"
            )
        timed = bool(_CLOCK.search(field))
        moments.append(Moment(clock, timed, offset) if clock is not None else None)
    ends = np.cumsum([len(own) for own in columns.values()]).tolist()
    return {
        name: moments[end - len(own) : end]
        for (name, own), end in zip(columns.items(), ends, strict=True)
    }
