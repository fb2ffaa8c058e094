"""Every kind of source, recognised and read."""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from reid import store
from reid.errors import InputError, StorageError
from reid.image_files import READABLE_SUFFIXES
from reid.sources import columns, places
from reid.sources.camtrap_dp import holds_package, is_package
from reid.sources.decoding import decode_text
from reid.sources.folders import (
    escaped,
    is_utf8,
    list_images,
    listing_notes,
    suffix_of,
)
from reid.sources.globs import has_wildcards
from reid.sources.joining import join
from reid.sources.json_files import read_json, read_package
from reid.sources.listings import read_folder, read_glob, read_image, read_list
from reid.sources.opened_tables import TABLE_SUFFIXES
from reid.sources.picture_boxes import read_picture_boxes
from reid.sources.reading import Reading
from reid.sources.source_rows import How, Rows
from reid.sources.table_files import read_table
from reid.sources.wildlife_insights import COLUMNS as WILDLIFE_INSIGHTS
from reid.sources.wildlife_insights import is_export, read_wildlife_insights


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
    given = None if how.detections is None else places.look(how.detections)
    if given not in (None, "file", "folder"):
        raise InputError(f"--detections {how.detections}: there is no such file or folder")
    if how.detections is not None and given == "file":
        _refuse_large(how.detections, how, "--detections")
    if how.detections is not None and not any(places.look(one) == "folder" for one in inputs):
        raise InputError(
            f"--detections {how.detections}: give the folder of its images as --input, or the file itself"
        )
    used: set[str] = set()
    seen: dict[str, bool] = {}
    sources = [rows for source in inputs for rows in _read(source, how, seen, used)]
    for rows in sources:
        if not is_utf8(rows.root):
            raise InputError(
                f"--input {escaped(rows.source)}: the name of its folder, {escaped(rows.root)}, is not UTF-8 text, so that "
                "no table can hold it; rename the folder"
            )
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
        yield _read_folder(source, how)
    else:
        yield from _read_file(source, how, seen, used)


def _read_folder(source: str, how: How) -> Rows:
    """A folder of images, or a package of another program."""
    if how.detections is not None and (how.as_folder or not is_package(source)):
        return _with_detections(source, how.detections, how)
    if not how.as_folder and is_export(source):
        rows = read_wildlife_insights(source, how)
        rows.notes.append(
            f"{source}: it is an export of Wildlife Insights and is read as one; --as-folder reads all of its images"
        )
        return rows
    if not how.as_folder and is_package(source):
        rows = read_package(source, how, how.detections)
        rows.notes.append(
            f"{source}: it is a Camtrap DP package and is read as one; --as-folder reads all of its images without "
            "what it says of them"
        )
        return rows
    return read_folder(source, how)


def _with_detections(source: str, detections: str, how: How) -> Rows:
    """The images of a folder with the boxes of a detector."""
    if places.look(detections) == "folder":
        rows = read_picture_boxes(detections, places.absolute(how.root or source), how)
    else:
        rows = read_json(detections, how, root=source, flag="--detections")
    found = list_images(source)
    named = set(rows.image_path.to_pylist())
    unnamed = [path for path in found.paths if path not in named]
    rows.notes += listing_notes(source, found)
    if unnamed:
        rows.notes.append(
            f"{source}: {len(unnamed):,} images have no box of an animal in {detections} and are left out"
        )
        rows.counts["images without a box"] = len(unnamed)
    return rows


def _read_file(source: str, how: How, seen: dict[str, bool], used: set[str]) -> Iterator[Rows]:
    suffix = suffix_of(source)
    if suffix in READABLE_SUFFIXES:
        yield read_image(source, how)
        return
    _refuse_large(source, how)
    if suffix == ".zip" and holds_package(source):
        yield read_package(source, how)
    elif suffix == ".zip" or (suffix == ".csv" and _is_wildlife_insights(source)):
        yield read_wildlife_insights(source, how)
    elif suffix in TABLE_SUFFIXES or (suffix == ".txt" and _looks_like_table(source)):
        yield read_table(source, how, used=used)
    elif suffix == ".json":
        yield read_json(source, how)
    elif suffix == ".txt":
        yield from read_list(source, how, lambda entry: _read(entry, how, seen, used), seen)
    else:
        ending = PurePosixPath(source).suffix or "without an ending"
        raise InputError(
            f"--input {escaped(source)}: unknown kind of source {ending!r}; known: folder, glob, .txt, .json, .zip, "
            f"{', '.join(TABLE_SUFFIXES)}, {', '.join(sorted(READABLE_SUFFIXES))}"
        )


def _refuse_large(source: str, how: How, flag: str = "--input") -> None:
    megabytes = places.size_of(source) / 1e6
    if megabytes > how.max_table_megabytes:
        raise InputError(
            f"{flag} {source}: it has {megabytes:,.0f} MB, over the limit of {how.max_table_megabytes:,.0f} "
            "(sources.max_table_megabytes)"
        )


def _first_line(source: str) -> str:
    """The first line of a text file that holds anything; "" where it is no text."""
    fs, inner = store.filesystem(source)

    def read() -> bytes:
        with fs.open_input_stream(inner, compression=None) as stream:
            return bytes(stream.read(65536))

    try:
        text, _ = decode_text(store.guarded(source, "read", read))
    except StorageError:
        if store.is_remote(source):
            raise  # what it is nobody can say
        return ""
    except (InputError, OSError):
        return ""
    return next((line for line in text.splitlines() if line.strip()), "")


def _is_wildlife_insights(source: str) -> bool:
    names = {name.strip().strip('"').lower() for name in _first_line(source).split(",")}
    return names >= WILDLIFE_INSIGHTS


def _looks_like_table(source: str) -> bool:
    """A text file whose first line is a header: several names, one of them that of the image path."""
    first = _first_line(source)
    for separator in (",", ";", "\t", "|"):
        keys = [columns.column_key(cell.strip('"')) for cell in first.split(separator)]
        if len(keys) > 1 and columns.PATH_KEYS & set(keys):
            return True
    return False
