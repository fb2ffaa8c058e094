"""Tables with one row an animal: CSV of any kind, and Parquet."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import store
from reid.errors import InputError
from reid.sources import columns as names
from reid.sources import dates, detectors, places, words
from reid.sources.box_columns import read_boxes
from reid.sources.columns import Matched
from reid.sources.finding import find_images, folders_removed
from reid.sources.opened_tables import Table, as_text, open_table
from reid.sources.reading import LABELS
from reid.sources.source_rows import TEXTS, Failed, How, Rows

_PROBED = 64  # paths that are looked for before a table's paths are believed


def read_table(source: str, how: How, *, used: set[str] | None = None) -> Rows:
    """The annotations of a table.

    Args:
        source: path or URI of a CSV or Parquet file.
        how: what the user said about it.
        used: is told which of the user's column names this table has.

    Raises:
        InputError: it cannot be understood as a whole; single rows that cannot are in `failed`.
    """
    table = open_table(source)
    if not len(table.lines) and not table.broken:
        raise InputError(f"--input {source}: the table has no rows")
    try:
        return _rows(source, table, how, used if used is not None else set())
    except InputError as error:
        if str(error).startswith("--"):
            raise
        raise InputError(f"--input {source}: {error}") from error


def _rows(source: str, table: Table, how: How, used: set[str]) -> Rows:
    matched = names.match_columns(
        table.header, mapping=how.columns, agree=lambda at: agreeing(table, at)
    )
    used |= {name for name, column in how.columns.items() if name in matched.fields and column}
    if "image_path" not in matched.fields:
        raise InputError(
            f"--input {source}: no column with the image's path; expected image_path or path (or say which "
            f"it is: --column image_path=NAME), found: {', '.join(table.header) or 'none'}"
        )
    root = places.absolute(how.root or places.parent(source))
    total = len(table.lines) + len(table.broken)
    notes = [f"{source}: {total:,} rows; {names.in_words(table.header, matched)}"]
    notes += [f"{source}: {note}" for note in table.notes]
    table = table.filter(~detectors.rows_without_animal(table, matched, notes, source))
    broken = [
        Failed(line, _path_of(cells, matched), f"{source}, line {line}: {problem}")
        for line, problem, cells in table.broken
    ]
    paths = places.one_spelling(joined_paths(table, matched.fields["image_path"]), root)
    there = _where_they_are(source, paths, root, notes)
    rows = Rows(source, root, there, lines=table.lines, failed=list(broken))
    _read_labels(rows, table, matched, how, notes)
    # Where a table has a column for the folder, folders are stations (Timelapse, camtrapR).
    rows.folders = len(matched.fields["image_path"]) > 1 and "location_id" not in rows.columns
    if rows.folders and how.places_by_folder and there is not paths:
        rows.columns["location_id"] = _stations(paths, there)
    bad = _read_boxes(rows, table, matched, notes)
    missing = np.asarray(
        pc.or_kleene(pc.is_null(paths), pc.equal(paths, "")).to_numpy(zero_copy_only=False)
    )
    for row in np.flatnonzero(missing):
        bad[int(row)] = "it has no image path"
    rows.notes = notes
    _drop(rows, bad)
    no_animal = total - len(table.lines) - len(broken)
    rows.counts |= {"rows": total, "without_animal": no_animal, "unreadable": len(rows.failed)}
    return rows


def _stations(given: pa.Array, there: pa.Array) -> pa.Array:
    """(n,) places by the folders that were removed to find the images."""
    found = dict(zip(given.to_pylist(), there.to_pylist(), strict=True))
    found.pop(None, None)
    named = dict(zip(found, folders_removed(list(found), found), strict=True))
    return pa.array([named.get(path) for path in given.to_pylist()], pa.string())


def _where_they_are(source: str, paths: pa.Array, root: str, notes: list[str]) -> pa.Array:
    """Without leading folders that are not below the root, where the files are there without them."""
    known = paths.drop_null()
    rows = np.linspace(0, len(known) - 1, min(_PROBED, len(known))).astype(int)
    probe = known.take(pa.array(rows)).to_pylist()
    if all(_is_there(root, path) for path in probe):
        return paths
    if not find_images(source, probe, root, strict=False).places:
        return paths  # none of them is here at all: embedding says so of each
    found = find_images(source, known.to_pylist(), root, strict=False)
    notes += found.notes
    moved = pa.array([found.places.get(path, path) for path in known.to_pylist()], pa.string())
    return pc.replace_with_mask(paths, paths.is_valid(), moved)


def _is_there(root: str, path: str) -> bool:
    """On object storage, which would have to be asked for each, it is believed."""
    whole = store.join(root, path)
    return store.is_remote(whole) or places.look(whole) != "absent"


def agreeing(table: Table, places_of: Sequence[int]) -> int | None:
    """Of columns for one thing the only one that says something, or the first of equal ones."""
    there = []
    for at in places_of:
        cells = words.plain_column(table.texts(at))
        cells = pc.if_else(words.empty_cells(cells), None, cells)
        if cells.null_count < len(cells):
            there.append((at, cells))
    if not there:
        return places_of[0]
    return there[0][0] if all(cells.equals(there[0][1]) for _, cells in there) else None


def joined_paths(table: Table, at: tuple[int, ...]) -> pa.Array:
    """Image paths: of one column, or of a folder and a file."""
    parts = [pc.utf8_trim_whitespace(table.texts(one)) for one in at]
    if len(parts) == 1:
        return parts[0]
    folder, name = (pc.replace_substring(part, pattern="\\", replacement="/") for part in parts)
    folder = pc.utf8_rtrim(pc.fill_null(folder, ""), characters="/")
    joined = pc.binary_join_element_wise(folder, name, "/")
    return pc.if_else(pc.equal(folder, ""), name, joined)


def _path_of(cells: Sequence[str], matched: Matched) -> str:
    at = matched.fields["image_path"][-1]
    return cells[at] if at < len(cells) else ""


def _read_labels(rows: Rows, table: Table, matched: Matched, how: How, notes: list[str]) -> None:
    found = words.Words()
    spelled: dict[str, pa.Array] = {}
    for name in (*TEXTS, "dataset", "bbox_unit"):
        if name in matched.fields:
            at = matched.fields[name][0]
            spelled[name] = words.clean_labels(
                table.header[at], table.texts(at), found, keep_words=how.keep_words
            )
    if "dataset" in spelled:  # AnimalCLEF names the collection where it does not name the species
        other = spelled.pop("dataset")
        spelled["species"] = (
            pc.coalesce(spelled["species"], other) if "species" in spelled else other
        )
    if "viewpoint" in spelled:
        spelled["viewpoint"] = pc.utf8_lower(spelled["viewpoint"])
    if "location_id" in spelled and _are_addresses(spelled["location_id"]):
        at = matched.fields["location_id"][0]
        notes.append(
            f"{rows.source}: {table.header[at]} holds web addresses and is not read as a place"
        )
        del spelled["location_id"]
    if "encounter_id" in spelled and "0" not in how.keep_words:
        spelled["encounter_id"], found.zeros = words.drop_filler_zeros(
            spelled["encounter_id"], spelled.get("location_id")
        )
    rows.columns |= spelled
    for name in ("timestamp", "utc_offset_minutes"):
        if name in matched.fields:
            _read_time(name, rows, table, matched, how, notes)
    rows.given = frozenset(name for name in LABELS if name in rows.columns)
    notes += words.word_notes(rows.source, found)


def _are_addresses(column: pa.Array) -> bool:
    known = column.drop_null()
    return bool(len(known)) and bool(pc.all(pc.match_substring(known, pattern="://")).as_py())


def _read_time(
    name: str, rows: Rows, table: Table, matched: Matched, how: How, notes: list[str]
) -> None:
    at = matched.fields[name]
    what = " + ".join(table.header[one] for one in at)
    column = table.columns[at[0]]
    if name == "utc_offset_minutes":
        read = dates.read_offsets(as_text(column, what))
        before = rows.columns.get(name)
        rows.columns[name] = read if before is None else pc.coalesce(before, read)
        return
    times, new_notes = read_times(table, at, how.date_order)
    rows.columns["timestamp"] = times.timestamp
    rows.columns["utc_offset_minutes"] = times.offset
    notes += [f"{rows.source}: {note}" for note in new_notes]


def read_times(
    table: Table, at: tuple[int, ...], order: str | None
) -> tuple[dates.Times, list[str]]:
    """The timestamps of one column, or of date and time in two; and notes.

    Raises:
        InputError: it cannot be told which part of a date is the day.
    """
    what = "column " + " + ".join(table.header[one] for one in at)
    column = table.columns[at[0]]
    if pa.types.is_temporal(column.type) and not pa.types.is_time(column.type):
        times = dates.read_moments(column)
    else:
        text = table.texts(at[0])
        if len(at) > 1:
            clock = pc.utf8_trim_whitespace(table.texts(at[1]))
            has_none = pc.invert(pc.match_substring(text, pattern=":"))
            joined = pc.binary_join_element_wise(pc.utf8_trim_whitespace(text), clock, " ")
            text = pc.if_else(pc.and_(has_none, pc.not_equal(clock, "")), joined, text)
        times = dates.read_dates(text, order=order, what=what)  # type: ignore[arg-type]
    return times, dates.date_notes(times, what)


def _read_boxes(rows: Rows, table: Table, matched: Matched, notes: list[str]) -> dict[int, str]:
    unit = rows.columns.pop("bbox_unit", None)
    if "bbox" not in matched.fields:
        return {}
    at = matched.fields["bbox"]
    columns = [table.columns[at[0]]] if len(at) == 1 else [table.texts(one) for one in at]
    boxes = read_boxes(columns, corners=matched.corners, unit=unit)
    rows.boxes, rows.relative = boxes.values, boxes.relative
    notes += [f"{rows.source}: {note}" for note in boxes.notes]
    return dict(boxes.bad)


def _drop(rows: Rows, bad: dict[int, str]) -> None:
    """Move rows that cannot be used to the failures."""
    if not bad:
        return
    assert rows.lines is not None
    for row in sorted(bad):
        path = rows.image_path[row].as_py() or ""
        line = int(rows.lines[row])
        rows.failed.append(Failed(line, path, f"{rows.source}, line {line}: {bad[row]}"))
    keep = np.ones(len(rows), bool)
    keep[list(bad)] = False
    mask = pa.array(keep)
    rows.image_path = rows.image_path.filter(mask)
    rows.columns = {name: column.filter(mask) for name, column in rows.columns.items()}
    rows.lines = rows.lines[keep]
    if rows.boxes is not None and rows.relative is not None:
        rows.boxes, rows.relative = rows.boxes[keep], rows.relative[keep]
