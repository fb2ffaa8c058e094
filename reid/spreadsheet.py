"""CSV that spreadsheets may open: text that looks like a formula is written so that it stays text.

Excel and its kin run a cell that begins with `=`, `+`, `-` or `@`, also behind a tab or a line end:
an animal called `=HYPERLINK(…)` would be a link that sends the table somewhere. Such text gets an
apostrophe before it, by which spreadsheets know text; readers of ours take it off again.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

# An apostrophe that stands before such text already gets another, so that nothing is lost.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")
_SPECIAL = re.compile(r'[",\r\n]')
_GUARDED = re.compile(r"'+[=+\-@\t\r\n]")


def encode(text: str, *, excel: bool) -> bytes:
    """A CSV as bytes in UTF-8; with `excel` begun by the mark without which Excel takes é for Ã©."""
    return text.encode("utf-8-sig" if excel else "utf-8")


def guard(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula; most texts stay as they are."""
    return f"'{text}" if _FORMULA.match(text) else text


def unguard(text: str) -> str:
    """What `guard` was given; a text that it would never give stays as it is."""
    return text[1:] if _GUARDED.match(text) else text


_BETWEEN = "\x1f"  # cells, so that the beginning of each can be seen
_NOT_PLAIN = re.compile(f"{_SPECIAL.pattern}|(?:^|{_BETWEEN})(?:{_FORMULA.pattern})")


def unguard_column(column: pa.Array) -> pa.Array:
    """`unguard` for a column of strings."""
    guarded = pc.match_substring_regex(column, f"^(?:{_GUARDED.pattern})")
    if not pc.any(guarded).as_py():
        return column
    return pc.if_else(guarded, pc.utf8_slice_codeunits(column, 1), column)


def write_rows(
    header: Sequence[str], rows: Iterable[Sequence[object]], *, raw: bool = False
) -> tuple[str, int]:
    """A CSV, and how many of its cells were guarded.

    Args:
        header: names of the columns.
        rows: a value a column; None is an empty cell. Only text is guarded: numbers are numbers.
        raw: leave every text as it is.
    """
    lines = [",".join(map(_cell, header))]
    guarded = 0
    for row in rows:
        texts = ["" if cell is None else str(cell) for cell in row]
        if not _NOT_PLAIN.search(
            _BETWEEN.join(texts)
        ):  # one look at a row, as nearly all are plain
            lines.append(",".join(texts))
            continue
        cells = [guard(cell) if isinstance(cell, str) and not raw else cell for cell in row]
        guarded += sum(cell != was for cell, was in zip(cells, row, strict=True))
        lines.append(",".join(map(_cell, cells)))
    return "\n".join([*lines, ""]), guarded


def _cell(value: object) -> str:
    """Quoted where it must be; Python's csv before 3.13 forgets a lone carriage return."""
    text = "" if value is None else str(value)
    if _SPECIAL.search(text):
        doubled = text.replace('"', '""')
        return f'"{doubled}"'
    return text


LINES_AT_ONCE = 2**16  # of a table, so that its lines are not all there as strings of Python


def write_text_table(table: pa.Table, *, raw: bool = False) -> tuple[str, int]:
    """As `write_rows`, many times faster, for a table whose columns are all text; null is an empty cell."""
    guarded = 0
    if not raw:
        table, guarded = guard_table(table)
    lines = [",".join(map(_cell, table.column_names)), *_lines(table)]
    return "\n".join([*lines, ""]), guarded


def _lines(table: pa.Table) -> Iterator[str]:
    for batch in table.to_batches(max_chunksize=LINES_AT_ONCE):
        if len(batch):
            # A column of nulls alone has a type of its own.
            cells = [_quoted(column.cast(pa.string())) for column in batch.columns]
            joined = pc.binary_join_element_wise(
                *cells, ",", null_handling="replace", null_replacement=""
            )
            yield "\n".join(joined.to_pylist())


def _quoted(column: pa.Array) -> pa.Array:
    """`_cell` for a column of strings."""
    special = pc.match_substring_regex(column, _SPECIAL.pattern)
    if not pc.any(special).as_py():
        return column
    doubled = pc.replace_substring(column, '"', '""')
    return pc.if_else(special, pc.binary_join_element_wise('"', doubled, '"', ""), column)


def guard_table(table: pa.Table) -> tuple[pa.Table, int]:
    """The table with every text guarded, and how many were."""
    guarded = 0
    for place, field in enumerate(table.schema):
        if not pa.types.is_string(field.type):
            continue
        column = table[field.name]
        looks = pc.match_substring_regex(column, f"^(?:{_FORMULA.pattern})")
        looks = pc.fill_null(looks, False)
        count = pc.sum(looks).as_py() or 0
        if count:
            marked = pc.binary_join_element_wise(pa.scalar("'"), column, pa.scalar(""))
            table = table.set_column(place, field, pc.if_else(looks, marked, column))
            guarded += count
    return table, guarded


def guard_note(guarded: int, how_raw: str) -> str:
    """A sentence for the person who reads the table; empty where nothing was guarded.

    Args:
        guarded: cells.
        how_raw: what to say to have them as they are.
    """
    if not guarded:
        return ""
    cells = "1 cell begins" if guarded == 1 else f"{guarded:,} cells begin"
    return (
        f"{cells} like a spreadsheet formula (= + - @ or a tab) and got an apostrophe before it, which "
        f"readers of ours take off again; as they are: {how_raw}"
    )
