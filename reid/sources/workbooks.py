"""Spreadsheets (.xlsx, .xlsm, .xls, .ods) as tables of texts."""

import io
import zipfile
from collections.abc import Collection, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

from reid.errors import InputError
from reid.sources.columns import column_key

SUFFIXES = (".xlsx", ".xlsm", ".xls", ".ods")
MOST_CELLS = 50_000_000
MOST_BYTES = 2 << 30  # of what a workbook unpacks to


def read_workbook(
    data: bytes, *, known: Collection[str]
) -> tuple[list[str], list[list[str]], list[int], list[str]]:
    """The first sheet that has a known column, or the first with any.

    Args:
        data: the file.
        known: keys of columns (`columns.column_key`), one of which tells the sheet.

    Returns:
        The header; the other rows that hold anything, as texts of its length; their row numbers in
        the sheet, from 1; notes.

    Raises:
        InputError: it is no workbook, is locked, empty or far too large. The message has no file name.
    """
    import python_calamine

    if zipfile.is_zipfile(io.BytesIO(data)):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            size = sum(entry.file_size for entry in archive.infolist())
        if size > MOST_BYTES:
            raise InputError(f"it unpacks to {size / 2**30:.1f} GiB; save it as CSV")
    try:
        workbook = python_calamine.CalamineWorkbook.from_filelike(io.BytesIO(data))
        names = workbook.sheet_names
        chosen: tuple[str, list[list[Any]]] | None = None
        for name in names:
            sheet = workbook.get_sheet_by_name(name)
            if sheet.total_height * sheet.total_width > MOST_CELLS:
                raise InputError(
                    f"sheet {name!r} has {sheet.total_height:,} × {sheet.total_width:,} cells; save it as CSV"
                )
            rows = sheet.to_python(skip_empty_area=False)
            header: list[Any] = next((row for row in rows if any(_text(cell) for cell in row)), [])
            is_known = any(column_key(_text(cell)) in known for cell in header)
            if header and (chosen is None or is_known):
                chosen = name, rows
            if is_known:
                break
    except python_calamine.CalamineError as error:
        raise InputError(f"it is no workbook, or a locked or damaged one: {error}") from error
    if chosen is None:
        raise InputError("it is empty")
    notes = [f"sheet {chosen[0]!r} of {len(names)} is read"] if len(names) > 1 else []
    return *_rows(chosen[1]), notes


def _rows(cells: Sequence[Sequence[Any]]) -> tuple[list[str], list[list[str]], list[int]]:
    header: list[str] = []
    rows: list[list[str]] = []
    lines: list[int] = []
    for number, row in enumerate(cells, 1):
        texts = [_text(cell) for cell in row]
        if not any(texts):
            continue
        if not header:
            header = texts
            while header and not header[-1]:
                header.pop()
            continue
        if any(texts[len(header) :]):
            raise InputError(
                f"row {number}: {texts[len(header) :][0]!r} stands where the header has no column"
            )
        rows.append((texts + [""] * len(header))[: len(header)])
        lines.append(number)
    repeated = [name for name in header if name and header.count(name) > 1]
    if repeated:
        raise InputError(f"two columns are called {repeated[0]!r}; rename or remove one")
    return header, rows, lines


def _text(cell: object) -> str:
    """What a person sees in a cell, with numbers and dates in their plain form."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float):
        return str(int(cell)) if cell.is_integer() and abs(cell) < 2**53 else repr(cell)
    if isinstance(cell, datetime):
        return cell.date().isoformat() if cell.time() == time() else cell.isoformat(" ")
    if isinstance(cell, date | time):
        return cell.isoformat()
    if isinstance(cell, timedelta):  # a time of the day, as some programs store it
        return str(cell)
    return str(cell).strip()
