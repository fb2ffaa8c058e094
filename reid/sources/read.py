"""Every kind of source, recognised and read."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from reid import store
from reid.errors import InputError
from reid.sources import columns, places
from reid.sources.delimited import decode_text
from reid.sources.folders import READABLE_SUFFIXES, escaped, suffix_of
from reid.sources.globs import has_wildcards
from reid.sources.joining import join
from reid.sources.listings import read_folder, read_glob, read_image, read_list
from reid.sources.reading import Reading
from reid.sources.rows import How, Rows
from reid.sources.tables import TABLE_SUFFIXES, read_table


def read_sources(inputs: Sequence[str], how: How | None = None) -> Reading:
    """Read every source into one annotations table.

    Args:
        inputs: folders (searched recursively), globs, single images, `.txt` files that list any of
            these, and `.csv` or `.parquet` tables with an image path in each row.
        how: what the user says of them. Image paths are relative to `how.root`; by default to the
            folder given, the part of a glob before its first wildcard, or the folder of the table.

    Returns:
        The annotations, one row an animal box, in the order of the inputs; rows that cannot be
        used; and what was read as what.

    Raises:
        InputError: a source does not exist, holds no image, or cannot be understood.
        StorageError: object storage cannot be reached.
    """
    how = how or How()
    if not inputs:
        raise InputError(
            "no input: give --input a folder, a glob, a .txt list, a .csv or a .parquet"
        )
    columns.check_mapping(how.columns)
    used: set[str] = set()
    seen: dict[str, bool] = {}
    sources = [rows for source in inputs for rows in _read(source, how, seen, used)]
    for name, column in how.columns.items():
        if name not in used:
            raise InputError(
                f"--column {name}={column}: no table given as --input has a column {column!r}"
            )
    return join(sources, how)


def _read(source: str, how: How, seen: dict[str, bool], used: set[str]) -> Iterator[Rows]:
    kind = places.look(source)
    if kind == "absent" and has_wildcards(source):
        yield read_glob(source, how)
    elif kind == "absent":
        raise InputError(f"--input {escaped(source)}: there is no such file or folder")
    elif kind == "closed":
        raise InputError(f"--input {escaped(source)}: may not be read by this user")
    elif kind == "special":
        raise InputError(
            f"--input {escaped(source)}: it is a pipe, a socket or a device, which is never opened"
        )
    elif kind == "folder":
        yield read_folder(source, how)
    else:
        yield from _read_file(source, how, seen, used)


def _read_file(source: str, how: How, seen: dict[str, bool], used: set[str]) -> Iterator[Rows]:
    suffix = suffix_of(source)
    if suffix in READABLE_SUFFIXES:
        yield read_image(source, how)
    elif suffix in TABLE_SUFFIXES or (suffix == ".txt" and _looks_like_table(source)):
        yield read_table(source, how, used=used)
    elif suffix == ".txt":
        yield from read_list(source, how, lambda entry: _read(entry, how, seen, used), seen)
    else:
        ending = PurePosixPath(source).suffix or "without an ending"
        raise InputError(
            f"--input {escaped(source)}: unknown kind of source {ending!r}; known: folder, glob, .txt, "
            f"{', '.join(TABLE_SUFFIXES)}, {', '.join(sorted(READABLE_SUFFIXES))}"
        )


def _looks_like_table(source: str) -> bool:
    """A text file whose first line is a header: several names, one of them that of the image path."""
    try:
        text, _ = decode_text(store.read_bytes(source)[:65536])
    except (InputError, OSError):
        return False
    first = next((line for line in text.splitlines() if line.strip()), "")
    for separator in (",", ";", "\t", "|"):
        keys = [columns.column_key(cell.strip('"')) for cell in first.split(separator)]
        if len(keys) > 1 and columns.PATH_KEYS & set(keys):
            return True
    return False
