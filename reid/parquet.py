"""Tables as Parquet bytes that carry what is needed to notice damage.

Pages have checksums, and the file's own metadata has digests of the values of each column, the
number of rows, and what the file says it is about. A reader of some columns checks these. Files
without digests (of other tools, or of earlier versions) are read as they are.
"""

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from reid.errors import DamagedError
from reid.value_digests import differing, table_digests, value_digest

KEY = b"reid.contents"
VECTOR = 16  # numbers from which a list of fixed length is one
_UNREADABLE = (OSError, pa.ArrowException, UnicodeDecodeError, MemoryError, OverflowError)
_FROM_STORAGE = re.compile(r"AWS Error|google::cloud|HTTP|curl", re.IGNORECASE)


def encode(
    table: pa.Table,
    *,
    row_group_rows: int | None = None,
    about: Mapping[str, str] | None = None,
    dictionary_bytes: int | None = None,
) -> pa.Buffer:
    """A table as the bytes of a Parquet file.

    Args:
        table: what to write.
        row_group_rows: rows of each row group; the library's choice by default.
        about: what the table belongs to (its recipe, its species); `decode` compares it.
        dictionary_bytes: up to which strings that come again are written once; the library's by default.
    """
    contents = {
        "rows": len(table),
        "columns": table_digests(table),
        "types": {field.name: _type_name(field.type) for field in table.schema},
        "about": dict(about or {}),
    }
    marked = table.replace_schema_metadata(
        {**(table.schema.metadata or {}), KEY: json.dumps(contents).encode()}
    )
    sink = pa.BufferOutputStream()
    packed, plain = _leaves(table.schema)
    pq.write_table(
        marked,
        sink,
        # Vectors hardly shrink (by a twentieth), and are read three times as fast as they are.
        compression={**dict.fromkeys(packed, "zstd"), **dict.fromkeys(plain, "none")},
        use_dictionary=packed,
        row_group_size=row_group_rows,
        dictionary_pagesize_limit=dictionary_bytes,
        write_page_checksum=True,
    )
    return sink.getvalue()


def decode(
    source: Any,
    path: str,
    columns: Sequence[str] | None = None,
    *,
    about: Mapping[str, str] | None = None,
    group: int | None = None,
    coded: Sequence[str] = (),
) -> tuple[pa.Table, str | None]:
    """The table in a Parquet file, if it is what was written.

    Args:
        source: an open file or a buffer.
        path: for messages.
        columns: all by default.
        about: what it must belong to, where it says so at all.
        group: only this row group, of which the values cannot be checked beyond its pages.
        coded: columns of strings that are wanted with a dictionary.

    Returns:
        The table, and its `reid.value_digests.whole_digest` where the file has digests of all of its columns.

    Raises:
        DamagedError: it is no Parquet file, was damaged, is another's, or lacks a column.
        OSError: storage failed.
    """
    try:
        # ParquetFile, not read_table: the latter guesses partition columns from folder names.
        with pq.ParquetFile(
            source, page_checksum_verification=True, read_dictionary=list(coded) or None
        ) as file:
            _check_columns(file.schema_arrow.names, columns or (), path)
            chosen = list(columns) if columns is not None else None
            table = file.read(chosen) if group is None else file.read_row_group(group, chosen)
            rows = file.metadata.num_rows
            noted = (file.metadata.metadata or {}).get(KEY)
    except KeyError as error:  # pyarrow's, of a column of `coded`; the name is in bytes
        raise damaged(path, f"no column {error}: it is another table") from error
    except _UNREADABLE as error:
        _raise_damaged(error, path)
    metadata = dict(table.schema.metadata or {})
    # The file has it twice, of its own and with the schema; either may be what was damaged.
    written = _contents(metadata.pop(KEY, noted), path)
    table = _plain(table.replace_schema_metadata(metadata or None))
    digest = None
    if written:
        wrong = differing(written["columns"], table) if group is None else []
        wrong += _wrong_types(written["types"], table)
        if group is None and columns is None:
            wrong += sorted({*written["columns"]} - {*table.column_names})
        if rows != written["rows"] or wrong:
            raise damaged(path, f"{', '.join(wrong) or 'rows'}: not the values that were written")
        _check_about(written["about"], about or {}, path)
        if group is None and {*table.column_names} <= {*written["columns"]}:
            own = [(name, written["columns"][name]) for name in sorted(table.column_names)]
            digest = value_digest([len(table), own])
    return table, digest


def _leaves(schema: pa.Schema) -> tuple[list[str], list[str]]:
    """The columns of a Parquet file, those in lists by their paths: all others, and those of vectors."""
    packed: list[str] = []
    plain: list[str] = []

    def add(name: str, kind: pa.DataType, into: list[str]) -> None:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        if pa.types.is_fixed_size_list(kind):
            is_vector = kind.list_size >= VECTOR and pa.types.is_floating(kind.value_type)
            add(f"{name}.list.element", kind.value_type, plain if is_vector else into)
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            add(f"{name}.list.element", kind.value_type, into)
        elif pa.types.is_struct(kind):
            for place in range(kind.num_fields):
                add(f"{name}.{kind.field(place).name}", kind.field(place).type, into)
        else:
            into.append(name)

    for field in schema:
        add(field.name, field.type, packed)
    return packed, plain


def _check_columns(here: Sequence[str], columns: Sequence[str], path: str) -> None:
    missing = [name for name in columns if name not in here]
    if missing:
        raise DamagedError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(here) or 'none'}. It is "
            "another table, or was damaged: restore it, or remove it and run the stage that made it "
            "again"
        )


def _wrong_types(written: Mapping[str, str], table: pa.Table) -> list[str]:
    """Columns whose type is not the one that was written, where the file says so at all."""
    return [
        field.name
        for field in table.schema
        if written.get(field.name, "") not in ("", _type_name(field.type))
    ]


def _check_about(written: Mapping[str, str], about: Mapping[str, str], path: str) -> None:
    for name, value in about.items():
        if written.get(name, value) != value:
            raise DamagedError(
                f"{path}: this file belongs to {name} {written[name]!r}, here is the place of "
                f"{value!r}; put the right file back"
            )


def schema_of(source: Any, path: str) -> pa.Schema:
    """The columns of a Parquet file.

    Raises:
        DamagedError: it is none, or was damaged.
        OSError: storage failed.
    """
    try:
        return pq.read_schema(source)
    except _UNREADABLE as error:
        _raise_damaged(error, path)


def damaged(path: str, why: str) -> DamagedError:
    """The error for a file that is not what was written."""
    return DamagedError(
        f"{path}: damaged ({' '.join(why.split())[:300]}); restore it from a copy, or remove it and "
        "run the stage that made it again"
    )


def _raise_damaged(error: Exception, path: str) -> NoReturn:
    """What a file could not be read for: as it is where storage failed, else as damage."""
    if isinstance(error, OSError) and _is_storage(error):
        raise error
    raise damaged(path, str(error)) from error


def _is_storage(error: OSError) -> bool:
    """Did the disk or the object storage fail, rather than what it holds?"""
    return error.errno is not None or bool(_FROM_STORAGE.search(str(error)))


def _plain(table: pa.Table) -> pa.Table:
    """Without Arrow's views, which other writers ask for and many functions do not know."""
    for place, field in enumerate(table.schema):
        if pa.types.is_string_view(field.type):
            column = table[field.name].cast(pa.string())
            table = table.set_column(place, field.with_type(pa.string()), column)
    return table


def _type_name(kind: pa.DataType) -> str:
    """A type in words, whatever the values of its lists are called, with or without a dictionary."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return re.sub(r"<(item|element|values?): ", "<", str(kind))


def _contents(raw: bytes | None, path: str) -> dict[str, Any] | None:
    if raw is None:
        return None
    try:
        found = json.loads(raw)
        parts = {name: found[name] for name in ("columns", "types", "about")}
        if not all(isinstance(part, dict) for part in parts.values()):
            raise TypeError("not the digests of a table")
        return {"rows": int(found["rows"]), **parts}
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path, f"its digests cannot be read: {error}") from error
