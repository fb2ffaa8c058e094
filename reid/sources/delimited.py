"""Text files and CSV as people's programs write them: any encoding and separator, no slack in the rows.

A row with more or fewer cells than the header has shifted labels, and a quotation mark that is never
closed swallows rows. Both are errors that name the line, except in the last row, which a full disk or
a killed export may have cut: that one row is given back as broken.
"""

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from reid.errors import InputError
from reid.sources.decoding import decode_text

SEPARATORS = (",", ";", "\t", "|")
ROWS_AT_ONCE = 65536
MOST_WRONG = 1000  # rows that do not fit; there the reading ends
_SEP_LINE = re.compile(r'^"?sep=(.)"?$', re.IGNORECASE)
_BLANK = r"^[\s\p{Z}\x0b\x1c-\x1f\x{85}]*$"  # what str.strip takes away
_FILE_NAME = re.compile(r"\.[A-Za-z0-9]{2,5}$")


@dataclass(frozen=True)
class Delimited:
    """A CSV file, read.

    Attributes:
        columns: one array of strings a column, in the file's order; blank cells are "".
        header: the columns' names as in the file, without blanks around them.
        lines: (n,) int64, where each row begins in the file, from 1.
        broken: (line, what is wrong, its first cells) of a last row that was cut.
        notes: what a reader should know: encoding, rows left out.
    """

    columns: list[pa.ChunkedArray]
    header: list[str]
    lines: np.ndarray
    broken: list[tuple[int, str, list[str]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.lines)

    def column(self, name: str) -> pa.ChunkedArray:
        """A column by its name in the header."""
        return self.columns[self.header.index(name)]


def read_delimited(data: bytes, *, known: Sequence[str] = ()) -> Delimited:
    """Read a CSV file: separated by commas, semicolons, tabs or bars, quoted as in RFC 4180.

    Args:
        data: the file.
        known: names of columns, in lower case, that tell the header's separator where several fit.

    Returns:
        Its rows; rows of empty cells are left out.

    Raises:
        InputError: it is no text, a row does not fit the header, a quotation mark is not closed, or
            two columns have one name. The message has no file name.
    """
    text, note = decode_text(data)
    notes = [] if note is None else [note]
    first = 1
    said = _SEP_LINE.match(text[: text.find("\n") if "\n" in text else 0].strip("\r\n"))
    if said:
        text, first = text[text.index("\n") + 1 :], 2
        separator = said[1]
    else:
        separator = _separator(text, known)
    limit = csv.field_size_limit(max(len(text) + 1, 131072))
    try:
        return _read_rows(text, separator, first, notes)
    finally:
        csv.field_size_limit(limit)


_Record = tuple[int, int, list[str], str | None]


def _read_rows(text: str, separator: str, first: int, notes: list[str]) -> Delimited:
    if "\n" not in text:
        text = text.replace("\r", "\n")
    plain = _read_plain(text, separator, first, notes)
    return plain if plain is not None else _read_carefully(text, separator, first, notes)


def _read_carefully(text: str, separator: str, first: int, notes: list[str]) -> Delimited:
    """Row by row, so that what does not fit can be named."""
    records = _records(text, separator, first)
    header = _first_header(records)
    rows: list[list[str]] = []
    lines: list[int] = []
    chunks: list[list[pa.Array]] = []
    wrong: list[tuple[int, str, list[str]]] = []
    empty, last = 0, first
    for line, last, row, problem in records:
        if not row and not problem:
            empty += 1
            continue
        problem = problem or _misfit(row, header, separator)
        if problem:
            wrong.append((line, problem, row[:8]))
            if len(wrong) == MOST_WRONG:
                break
            continue
        if last > line:
            _check_swallowed(row, header, separator, line)
        rows.append(row)
        lines.append(line)
        if len(rows) == ROWS_AT_ONCE:
            chunks.append(_columns(rows, len(header)))
            rows = []
    is_last = len(wrong) == 1 and (not lines or wrong[0][0] > lines[-1])
    if wrong and not (is_last and _was_cut(wrong[0], last)):
        raise InputError(_wrong_rows(wrong))
    if rows or not chunks:
        chunks.append(_columns(rows, len(header)))
    notes += _empty_rows(empty)
    columns = [pa.chunked_array(parts, pa.string()) for parts in zip(*chunks, strict=True)]
    return Delimited(columns, header, np.asarray(lines, np.int64), wrong, notes)


def _first_header(records: Iterator[_Record]) -> list[str]:
    """The first row that is not blank; what follows it is left in `records`."""
    for line, _, row, problem in records:
        if problem:
            raise InputError(_wrong_rows([(line, problem, row)]))
        if row:
            return _checked_header(row)
    raise InputError("it is empty")


def _empty_rows(count: int) -> list[str]:
    return [f"{count:,} empty rows are left out"] if count else []


def _records(text: str, separator: str, first: int) -> Iterator[_Record]:
    """First and last line of each row, its cells (none where all are blank), and what is wrong with it.

    A quotation mark that is out of place ends the rows, as nobody can tell where the next one begins.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    while True:
        begins = reader.line_num
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            rest = _last_line(text, begins)
            line, cells = begins + first, (rest or "").replace('"', "").split(separator)[:8]
            yield line, line + (rest is None), cells, _quote_error(error)
            return
        blank = not any(row) or not any(cell.strip() for cell in row)
        yield begins + first, reader.line_num + first - 1, [] if blank else row, None


def _read_plain(text: str, separator: str, first: int, notes: list[str]) -> Delimited | None:
    """The same by Arrow's reader, in a fifth of the time, for a file without any peculiarity."""
    if any(sign in text for sign in ('"', "\0", "\n\n", "\n\r")) or text.startswith(("\n", "\r")):
        return None
    if text.count("\r") != text.count("\r\n"):
        return None
    end = text.find("\n")
    if end < 0 or not text[:end].strip():
        return None
    header = _checked_header(text[:end].rstrip("\r").split(separator))
    body = text[end + 1 :].encode("utf-8", "surrogatepass")
    if not body:
        return None
    names = [str(at) for at in range(len(header))]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(body),
            read_options=arrow_csv.ReadOptions(
                column_names=names, use_threads=False, block_size=1 << 24
            ),
            parse_options=arrow_csv.ParseOptions(
                delimiter=separator, quote_char=False, ignore_empty_lines=False
            ),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[]
            ),
        )
    except pa.ArrowException:
        return None  # a row that does not fit: the careful reader names it
    lines = np.arange(len(table), dtype=np.int64) + first + 1
    columns = table.columns
    blank = pc.match_substring_regex(columns[0], pattern=_BLANK)
    for column in columns[1:]:
        if not pc.any(blank).as_py():
            break
        blank = pc.and_(blank, pc.match_substring_regex(column, pattern=_BLANK))
    empty = pc.sum(blank).as_py() or 0
    if empty:
        kept = pc.invert(blank)
        columns = [column.filter(kept) for column in columns]
        lines = lines[kept.to_numpy()]
    notes += _empty_rows(empty)
    return Delimited(columns, header, lines, [], notes)


def _columns(rows: list[list[str]], width: int) -> list[pa.Array]:
    if not rows:
        return [pa.array([], pa.string()) for _ in range(width)]
    return [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)]


def _separator(text: str, known: Sequence[str]) -> str:
    """The separator that gives the header a known name, or else the most columns."""
    end = re.search(r"[^\r\n]", text)
    line = re.split(r"[\r\n]", text[end.start() :], maxsplit=1)[0] if end else ""
    best, best_score = ",", (-1, -1)
    for separator in SEPARATORS:
        try:
            cells = next(csv.reader([line], delimiter=separator), [])
        except csv.Error:
            continue
        names = [re.sub(r"[\s_.\-]+", "", cell).lower() for cell in cells]
        score = (sum(name in known for name in names), len(cells))
        if score > best_score:
            best, best_score = separator, score
    return best


def _checked_header(row: list[str]) -> list[str]:
    header = [cell.strip().strip("\ufeff") for cell in row]
    repeated = [name for name, count in Counter(header).items() if count > 1 and name]
    if repeated:
        places = [str(at + 1) for at, name in enumerate(header) if name == repeated[0]]
        raise InputError(
            f"{len(places)} columns are called {repeated[0]!r} (columns {', '.join(places)}); rename or "
            "remove all but one"
        )
    return header


def _misfit(row: list[str], header: list[str], separator: str) -> str | None:
    """In what a row does not fit the header; None: it does."""
    if len(row) == len(header):
        return None
    name = {"\t": "tab"}.get(separator, separator)
    extra = f", {len(row) - len(header)} extra" if len(row) > len(header) else ""
    ends = ": the row ends in a separator" if extra and not row[-1] else ""
    return f"{len(row)} cells where the header has {len(header)}{extra} (separator {name!r}){ends}"


def _quote_error(error: csv.Error) -> str:
    if "unexpected end of data" in str(error):
        return "a quotation mark is opened and never closed"
    if "expected after" in str(error):
        return "a quotation mark is closed in the middle of a cell, or opened some lines above"
    return str(error)


def _check_swallowed(row: list[str], header: list[str], separator: str, line: int) -> None:
    """A cell of several lines may be a remark, or rows that an open quotation mark has swallowed."""
    for cell in row:
        for inner in re.split(r"[\r\n]+", cell)[1:]:
            parts = inner.split(separator)
            looks_like_row = len(parts) >= len(header) and len(header) > 1
            if looks_like_row and (len(header) > 2 or any(_FILE_NAME.search(p) for p in parts)):
                raise InputError(
                    f"line {line}: a quoted cell runs over several lines, and one of them looks like a row "
                    f"of its own ({inner[:60]!r}); close the quotation mark, or take the line break out"
                )


def _last_line(text: str, begins: int) -> str | None:
    """What follows `begins` lines, if that is one line."""
    at = 0
    for _ in range(begins):
        at = text.find("\n", at) + 1
        if not at:
            return None
    rest = text[at:].strip()
    return None if "\n" in rest else rest


def _was_cut(wrong: tuple[int, str, list[str]], last: int) -> bool:
    """Was this row, which nothing follows, cut off? A row that has too much was not."""
    line, problem, _ = wrong
    return line == last and "extra" not in problem


def _wrong_rows(wrong: list[tuple[int, str, list[str]]]) -> str:
    shown = "; ".join(f"line {line}: {problem}" for line, problem, _ in wrong[:3])
    many = "or more " if len(wrong) == MOST_WRONG else ""
    more = f" ({len(wrong):,} {many}such rows)" if len(wrong) > 3 else ""
    return f"{shown}{more}; correct the file, or export it again"
