"""Tables as they are in their files: CSV of any kind, Parquet, spreadsheets."""

import io
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from reid import store
from reid.errors import InputError, StorageError
from reid.sources.columns import PATH_KEYS
from reid.sources.delimited import read_delimited
from reid.sources.workbooks import SUFFIXES as WORKBOOKS
from reid.sources.workbooks import read_workbook
from reid.sources.zips import gunzipped
from reid.spreadsheet import unguard_column

TABLE_SUFFIXES = (".csv", ".tsv", ".tab", ".parquet", *WORKBOOKS)


class Table:
    """A table as in its file: `header`, `columns` (Arrow, one chunk each), `lines`, broken rows, notes."""

    def __init__(
        self,
        header: Sequence[str],
        columns: Sequence[pa.Array],
        lines: np.ndarray,
        broken: Sequence[tuple[int, str, list[str]]] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self.header, self.columns = list(header), list(columns)
        self.lines, self.broken, self.notes = lines, list(broken), list(notes)

    def texts(self, at: int) -> pa.Array:
        """A column as strings."""
        return as_text(self.columns[at], self.header[at])

    def filter(self, keep: NDArray[np.bool_]) -> "Table":
        """Some of the rows."""
        if keep.all():
            return self
        columns = [column.filter(pa.array(keep)) for column in self.columns]
        return Table(self.header, columns, self.lines[keep], self.broken, self.notes)


def open_table(path: str, *, flag: str = "--input") -> Table:
    """Read a CSV or Parquet file.

    Args:
        path: file or URI.
        flag: what the user gave it with, for messages.

    Raises:
        InputError: there is none, or it cannot be understood.
        StorageError: storage cannot be reached.
    """
    try:
        return table_of(store.read_bytes(path), path, flag=flag)
    except FileNotFoundError:
        raise InputError(f"{flag} {path}: there is no such file") from None
    except StorageError:
        raise
    except OSError as error:
        raise InputError(f"{flag} {path}: cannot be read: {error.strerror or error}") from error


def table_of(data: bytes, path: str, *, flag: str = "--input") -> Table:
    """The same for a file that was read.

    Raises:
        InputError: it cannot be understood.
    """
    try:
        if path.lower().endswith(".gz"):
            data, path = gunzipped(data), path[:-3]
        if path.lower().endswith(".parquet") or data[:4] == b"PAR1":
            return _parquet(data)
        if path.lower().endswith(WORKBOOKS):
            header, rows, lines, notes = read_workbook(data, known=PATH_KEYS)
            cells = [[row[at] for row in rows] for at in range(len(header))]
            texts = [pa.array(column, pa.string()) for column in cells]
            return Table(header, texts, np.asarray(lines, np.int64), (), notes)
        found = read_delimited(data, known=tuple(PATH_KEYS))
        columns = [unguard_column(column.combine_chunks()) for column in found.columns]
        return Table(found.header, columns, found.lines, found.broken, found.notes)
    except InputError as error:
        raise InputError(f"{flag} {path}: cannot be read as a table: {error}") from error


def _parquet(data: bytes) -> Table:
    try:
        table = pq.ParquetFile(io.BytesIO(data)).read()
        table.validate(full=True)
    # Damaged files end in every one of these.
    except (pa.ArrowException, OSError, ValueError, MemoryError, OverflowError) as error:
        raise InputError(f"it is no Parquet file, or a damaged one: {error}") from error
    header = table.column_names
    repeated = [name for name in header if header.count(name) > 1]
    if repeated:
        raise InputError(f"two columns are called {repeated[0]!r}; rename or remove one")
    columns = []
    for column in table.columns:
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = column.cast(kind.value_type)
        columns.append(column.combine_chunks())
    return Table(header, columns, np.arange(1, len(table) + 1, dtype=np.int64))


def as_text(column: pa.Array, name: str) -> pa.Array:
    """Strings; whole numbers in their plain form, also where a missing one has made them floats.

    Raises:
        InputError: it is of a type that has no plain text.
    """
    kind = column.type
    if pa.types.is_string(kind):
        return column
    if pa.types.is_floating(kind):
        column = pc.if_else(pc.is_nan(column.cast(pa.float64())), None, column.cast(pa.float64()))
        known = column.drop_null()
        if len(known) and pc.all(pc.equal(pc.floor(known), known)).as_py():
            whole = pc.all(pc.less(pc.abs(known), 2.0**53)).as_py()
            column = column.cast(pa.int64()) if whole else column
    try:
        return column.cast(pa.string())
    except pa.ArrowException:
        raise InputError(f"the column {name!r} is of type {kind}; expected text") from None
