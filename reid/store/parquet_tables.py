"""Parquet files, with digests of what they hold (`reid.parquet`)."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa

from reid import parquet
from reid.store.files import filesystem, write_bytes
from reid.store.retries import guarded
from reid.value_digests import whole_digest


def write_table(
    path: str,
    table: pa.Table,
    *,
    row_group_rows: int | None = None,
    about: Mapping[str, str] | None = None,
    dictionary_bytes: int | None = None,
) -> None:
    """Write one Parquet file, atomically, with digests of what it holds (`reid.parquet`).

    Args:
        path: file or URI.
        table: what to write.
        row_group_rows: rows of each row group.
        about: what it belongs to; `read_table` compares it.
        dictionary_bytes: up to which strings that come again are written once.
    """
    encoded = parquet.encode(
        table, row_group_rows=row_group_rows, about=about, dictionary_bytes=dictionary_bytes
    )
    write_bytes(path, encoded.to_pybytes())


def read_table(
    path: str, columns: Sequence[str] | None = None, *, about: Mapping[str, str] | None = None
) -> pa.Table:
    """Read one Parquet file, and check it against the digests in it, where it has some.

    Args:
        path: file or URI.
        columns: all by default.
        about: what it must belong to, where it says so.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not Parquet, was damaged, or lacks a column.
        StorageError: it cannot be read.
    """
    return _read_parquet(path, columns=columns, about=about)[0]


def read_coded_table(
    path: str,
    columns: Sequence[str],
    coded: Sequence[str],
    *,
    about: Mapping[str, str] | None = None,
) -> tuple[pa.Table, str]:
    """As `read_table`, some columns of strings with dictionaries; and the digest of the whole (`whole_digest`).

    Args:
        path: file or URI.
        columns: that are read.
        coded: those of them that are wanted with a dictionary.
        about: what it must belong to, where it says so.

    Raises:
        as `read_table`.
    """
    table, digest = _read_parquet(path, columns=columns, about=about, coded=coded)
    return table, whole_digest(table) if digest is None else digest


def read_schema(path: str) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        FileNotFoundError: there is no such file.
        StorageError: it cannot be read.
    """
    fs, inner = filesystem(path)

    def read() -> pa.Schema:
        with fs.open_input_file(inner) as stream:
            return parquet.schema_of(stream, path)

    return guarded(path, "read", read)


def read_row_group(path: str, group: int) -> pa.Table:
    """Read one row group of a Parquet file, by its number.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedError: it was damaged.
        StorageError: it cannot be read.
    """
    return _read_parquet(path, group=group)[0]


def _read_parquet(path: str, **selection: Any) -> tuple[pa.Table, str | None]:
    fs, inner = filesystem(path)

    def read() -> tuple[pa.Table, str | None]:
        with fs.open_input_file(inner) as stream:
            return parquet.decode(stream, path, **selection)

    return guarded(path, "read", read)


def iter_tables(paths: Sequence[str], columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
    """The tables of several Parquet files, one at a time."""
    for path in paths:
        yield read_table(path, columns)
