"""Several sources to one table: each animal once, however often and in whatever spelling it is named."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import schema, store
from reid.errors import InputError
from reid.sources import ids, places, words
from reid.sources.listings import parent_names
from reid.sources.reading import LABELS, Reading
from reid.sources.rows import TEXTS, Failed, How, Rows

_SHOWN = 3
UNKNOWN_SPECIES = "unknown"


@dataclass
class _All:
    """The rows of all sources, one under the other, as columns of n."""

    table: pa.Table  # schema.ANNOTATIONS without ids, keys and boxes
    boxes: NDArray[np.float64]
    relative: NDArray[np.bool_]
    source: NDArray[np.int64]
    lines: NDArray[np.int64]
    whole: list[str | None]  # local path, None on object storage

    def where(self, row: int, sources: Sequence[Rows]) -> str:
        line = f", line {self.lines[row]}" if self.lines[row] > 0 else ""
        return f"{sources[self.source[row]].source}{line}"

    def take(self, rows: NDArray[np.int64]) -> None:
        self.table = self.table.take(pa.array(rows))
        self.boxes, self.relative = self.boxes[rows], self.relative[rows]
        self.source, self.lines = self.source[rows], self.lines[rows]
        self.whole = [self.whole[row] for row in rows]


def join(sources: Sequence[Rows], how: How) -> Reading:
    """One table of all sources.

    Raises:
        InputError: rows contradict each other, or none can be used.
    """
    notes = [note for rows in sources for note in rows.notes]
    failed = [(rows.source, one) for rows in sources for one in rows.failed]
    given = {name: np.asarray([name in rows.given for rows in sources], bool) for name in LABELS}
    everything = _stack(sources)
    if how.identity_from_parent:
        _identities_from_folders(everything)
        given["identity"][:] = True
    _finish_labels(everything, how, notes)
    written, numbers, special = ids.look_at_files(everything.whole)
    if special.any():
        for row in np.flatnonzero(special):
            path = everything.table["image_path"][int(row)].as_py()
            failed.append(
                (
                    sources[everything.source[row]].source,
                    Failed(
                        int(everything.lines[row]),
                        path,
                        "it is no file but a folder, a pipe or a device",
                    ),
                )
            )
        kept = np.flatnonzero(~special)
        everything.take(kept)
        written, numbers = [written[row] for row in kept], numbers[kept]
    told = {name: flags[everything.source] for name, flags in given.items()}
    names = _ids(everything, sources, notes)
    names, kept, told = _each_once(everything, names, numbers, told, sources, notes)
    everything.take(kept)
    if not len(kept):
        raise InputError(_nothing_left(sources, failed))
    table = _finished(everything, names, [written[row] for row in kept])
    return Reading(
        table,
        _failures(failed),
        notes,
        told,
        [{"source": rows.source, **rows.counts} for rows in sources],
    )


def _stack(sources: Sequence[Rows]) -> _All:
    """Rows of all sources under each other."""
    parts, whole = [], []
    for rows in sources:
        n = len(rows)
        columns = {
            "image_path": rows.image_path,
            "root": pa.repeat(pa.scalar(rows.root, pa.string()), n),
            **rows.columns,
        }
        fields = [
            schema.ANNOTATIONS.field(name) for name in ("root", "image_path", *TEXTS, *_TIMES)
        ]
        parts.append(
            pa.table(
                [columns.get(field.name, pa.nulls(n, field.type)) for field in fields],
                schema=pa.schema([pa.field(field.name, field.type) for field in fields]),
            )
        )
        whole += _whole_paths(rows)
    table = pa.concat_tables(parts).combine_chunks()
    none = [
        np.full((len(rows), 4), np.nan) if rows.boxes is None else rows.boxes for rows in sources
    ]
    units = [
        np.zeros(len(rows), bool) if rows.relative is None else rows.relative for rows in sources
    ]
    lines = [
        np.zeros(len(rows), np.int64) if rows.lines is None else rows.lines for rows in sources
    ]
    number = np.repeat(np.arange(len(sources)), [len(rows) for rows in sources])
    return _All(
        table, np.concatenate(none), np.concatenate(units), number, np.concatenate(lines), whole
    )


_TIMES = ("timestamp", "utc_offset_minutes")


def _whole_paths(rows: Rows) -> list[str | None]:
    prefix = rows.root.rstrip("/") + "/"
    remote = store.is_remote(rows.root)
    out: list[str | None] = []
    for path in rows.image_path.to_pylist():
        if path.startswith("/"):
            out.append(path)
        elif remote or "://" in path:
            out.append(None)
        else:
            out.append(prefix + path)
    return out


def _identities_from_folders(everything: _All) -> None:
    names = parent_names(everything.table["image_path"])
    if names.null_count == len(names):
        raise InputError(
            "--identity-from-parent: no image lies in a folder of its own below the root; "
            "give the folder above the individuals' folders as --input or --root"
        )
    cleaned = words.clean_labels("folder", names, words.Words())
    _set(everything, "identity", cleaned)


def _set(everything: _All, name: str, column: pa.Array) -> None:
    at = everything.table.schema.get_field_index(name)
    everything.table = everything.table.set_column(at, name, column)


def _column(everything: _All, name: str) -> pa.Array:
    return everything.table[name].combine_chunks()


def _finish_labels(everything: _All, how: How, notes: list[str]) -> None:
    """Species where none is said; names that differ in capitals are one individual."""
    species = pc.fill_null(_column(everything, "species"), how.species or UNKNOWN_SPECIES)
    _set(everything, "species", species)
    alike = words.alike(species)
    if alike:
        notes.append(
            f"species that differ in capitals, blanks or `_` alone are kept apart: "
            f"{'; '.join(' and '.join(one) for one in alike[:_SHOWN])}; write them alike if they are one"
        )
    identity, joined = words.join_spellings(_column(everything, "identity"))
    if joined:
        shown = "; ".join(f"{', '.join(one[1:])} as {one[0]}" for one in joined[:_SHOWN])
        more = f" and {len(joined) - _SHOWN} more" if len(joined) > _SHOWN else ""
        notes.append(
            f"{len(joined)} individuals are written with different capitals and are one each: {shown}{more}"
        )
        _set(everything, "identity", identity)


def _ids(everything: _All, sources: Sequence[Rows], notes: list[str]) -> NDArray[np.object_]:
    """(n,) annotation ids: the given ones where they name boxes, or made from path and box."""
    n = len(everything.boxes)
    names = np.full(n, None, object)
    column = _column(everything, "annotation_id")
    if column.null_count < n:
        stated = np.asarray(column.to_pylist(), object)
        for number, rows in enumerate(sources):
            here = np.flatnonzero(everything.source == number)
            mine = stated[here]
            if not len(here) or pd.isna(mine).all():
                continue
            if _names_images(everything, here, mine, sources):
                notes.append(
                    f"{rows.source}: annotation_id names images, not boxes: some have several boxes under one; "
                    "ids are made from path and box, and the column is kept as image_id"
                )
                images = _column(everything, "image_id").to_pylist()
                for row, name in zip(here, mine, strict=True):
                    images[row] = name if images[row] is None else images[row]
                _set(everything, "image_id", pa.array(images, pa.string()))
            else:
                names[here] = mine
    missing = np.flatnonzero(pd.isna(names))
    paths = _column(everything, "image_path").take(pa.array(missing)).to_pylist()
    boxes = _box_lists(everything, missing)
    names[missing] = [
        ids.annotation_id(path, box, ids.RELATIVE if relative else ids.PIXELS)
        for path, box, relative in zip(
            paths, boxes, everything.relative[missing].tolist(), strict=True
        )
    ]
    return names


def _box_lists(everything: _All, rows: NDArray[np.int64]) -> list[list[float] | None]:
    boxes = everything.boxes[rows]
    none = np.isnan(boxes[:, 0])
    if none.all():
        return [None] * len(rows)
    return [
        None if empty else box for box, empty in zip(boxes.tolist(), none.tolist(), strict=True)
    ]


def _names_images(
    everything: _All,
    here: NDArray[np.int64],
    mine: NDArray[np.object_],
    sources: Sequence[Rows],
) -> bool:
    """Does this source's annotation_id name images, of which some have several boxes?

    Raises:
        InputError: one id is on several images, or on several boxes while other ids share an image.
    """
    paths = np.asarray(_column(everything, "image_path").take(pa.array(here)).to_pylist(), object)
    frame = pd.DataFrame({"id": mine, "path": paths, "row": here})
    frame[["x", "y", "w", "h"]] = everything.boxes[here]
    frame = frame[frame["id"].notna()]
    distinct = frame.drop_duplicates(["id", "path", "x", "y", "w", "h"])
    again = distinct[distinct["id"].duplicated(keep=False)]
    if again.empty:
        return False
    first = again["id"].iloc[0]
    those = again[again["id"] == first]
    two = [int(row) for row in those["row"].iloc[:2]]
    lines = " and ".join(everything.where(row, sources) for row in two)
    if (distinct.groupby("id")["path"].nunique() > 1).any():
        moved = distinct[distinct["id"].isin(_several(distinct, "id", "path"))]
        those = moved[moved["id"] == moved["id"].iloc[0]].drop_duplicates("path")
        two = [int(row) for row in those["row"].iloc[:2]]
        lines = " and ".join(everything.where(row, sources) for row in two)
        raise InputError(
            f"annotation_id {those['id'].iloc[0]!r} is given to two images: {those['path'].iloc[0]} and "
            f"{those['path'].iloc[1]} ({lines}); give each its own id, or take the column out"
        )
    if len(_several(distinct, "path", "id")):
        raise InputError(
            f"annotation_id {first!r} is given to two boxes of {those['path'].iloc[0]} ({lines}), and other images "
            "have several ids; give each box its own id, or take the column out"
        )
    return True


def _several(frame: pd.DataFrame, key: str, value: str) -> pd.Index:
    """Keys with several values."""
    counts = frame.groupby(key)[value].nunique()
    return counts.index[counts > 1]


def _each_once(
    everything: _All,
    names: NDArray[np.object_],
    numbers: NDArray[np.int64],
    told: dict[str, NDArray[np.bool_]],
    sources: Sequence[Rows],
    notes: list[str],
) -> tuple[NDArray[np.object_], NDArray[np.int64], dict[str, NDArray[np.bool_]]]:
    """Rows for one box of one file become one row, which knows what any of them says.

    Returns:
        Ids of the rows that stay, their numbers, and the labels that their sources give.
    """
    n = len(names)
    files = _files(everything, numbers)
    frame = pd.DataFrame({"file": files, "relative": everything.relative})
    frame[["x", "y", "w", "h"]] = everything.boxes.astype(np.float32)
    group = frame.groupby(
        ["file", "relative", "x", "y", "w", "h"], dropna=False, sort=False
    ).ngroup()
    same = group.to_numpy()
    first = pd.Series(np.arange(n)).groupby(same).transform("min").to_numpy()
    repeats = np.flatnonzero(first != np.arange(n))
    keep = np.ones(n, bool)
    if len(repeats):
        keep[repeats] = False
        _merge(everything, names, told, first, repeats, sources)
        notes.append(
            f"{len(repeats):,} rows repeat an image and box already listed; kept once each"
        )
    # A listing's whole image beside a table's boxes of the same image is no animal of its own.
    listed = np.asarray([rows.lines is None for rows in sources], bool)[everything.source]
    boxed = np.unique(files[~np.isnan(everything.boxes[:, 0])])
    whole = keep & listed & np.isnan(everything.boxes[:, 0]) & np.isin(files, boxed)
    if whole.any():
        keep &= ~whole
        notes.append(
            f"{int(whole.sum()):,} listed images have boxes in a table: the boxes are read, not the whole images"
        )
    kept = np.flatnonzero(keep)
    _check_distinct(everything, names[kept], kept, sources)
    return names[kept], kept, {name: flags[kept] for name, flags in told.items()}


def _files(everything: _All, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) number of each row's file: equal where paths lead to one file."""
    roots, paths = _column(everything, "root"), _column(everything, "image_path")
    spelled = (
        [
            path if path is not None else store.join(root.as_py(), name.as_py())
            for path, root, name in zip(everything.whole, roots, paths, strict=True)
        ]
        if None in everything.whole
        else everything.whole
    )
    codes, unique = pd.factorize(np.asarray(spelled, object))
    # One number on the disk under several paths: links, which are one file, or hard links, which are
    # not taken for one; some file systems give numbers that mean nothing.
    first = np.full(len(unique), -1, np.int64)
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    there = numbers[first]
    order = pd.Series(there)[there != 0]
    suspects = order[order.duplicated(keep=False)].index.to_numpy()
    if len(suspects):
        real: dict[str, int] = {}
        for code in suspects:
            codes_real = real.setdefault(places.real(str(unique[code])), int(code))
            if codes_real != code:
                codes[codes == code] = codes_real
    files: NDArray[np.int64] = codes.astype(np.int64)
    return files


def _merge(
    everything: _All,
    names: NDArray[np.object_],
    told: dict[str, NDArray[np.bool_]],
    first: NDArray[np.int64],
    repeats: NDArray[np.int64],
    sources: Sequence[Rows],
) -> None:
    """What repeated rows say goes to the row that stays.

    Raises:
        InputError: two of them say different things of one animal.
    """
    for name in (*TEXTS, *_TIMES):
        if name == "annotation_id":
            continue
        column = _column(everything, name)
        values = np.asarray(column.to_pylist(), object)
        changed = False
        for row in repeats:
            stays, now = first[row], values[row]
            default = name == "species" and not told["species"][row]
            if now is None or default or now == values[stays]:
                continue
            if values[stays] is None or (name == "species" and not told["species"][stays]):
                values[stays], changed = now, True
                continue
            if name in ("species", "identity"):
                path = everything.table["image_path"][int(stays)].as_py()
                raise InputError(
                    f"{path} is given twice with different {name}: {values[stays]!r} and {now!r} "
                    f"({everything.where(int(stays), sources)} and {everything.where(int(row), sources)}); correct one of the rows, or give each animal of "
                    "the image its box"
                )
        if changed:
            _set(everything, name, pa.array(values.tolist(), column.type))
    stated = np.asarray(_column(everything, "annotation_id").to_pylist(), object)
    for row in repeats:
        stays = first[row]
        if stated[stays] is None and stated[row] is not None:
            names[stays] = names[row]
    for flags in told.values():
        np.logical_or.at(flags, first[repeats], flags[repeats])


def _check_distinct(
    everything: _All, names: NDArray[np.object_], kept: NDArray[np.int64], sources: Sequence[Rows]
) -> None:
    """Refuse one id for two things, which sources with other roots may bring.

    Raises:
        InputError: with both, and what to do.
    """
    repeated = pd.Series(names).duplicated(keep="first").to_numpy()
    if not repeated.any():
        return
    again = int(np.flatnonzero(repeated)[0])
    one, two = int(kept[np.flatnonzero(names == names[again])[0]]), int(kept[again])
    roots, paths = everything.table["root"], everything.table["image_path"]
    fix = (
        "give --root, a folder above both, so that their paths differ"
        if roots[one].as_py() != roots[two].as_py()
        else "give each its own annotation_id"
    )
    raise InputError(
        f"annotation {names[again]} is given to two images: {paths[one].as_py()} below {roots[one].as_py()} "
        f"({everything.where(one, sources)}) and {paths[two].as_py()} below {roots[two].as_py()} "
        f"({everything.where(two, sources)}); {fix}"
    )


def _finished(everything: _All, names: NDArray[np.object_], written: Sequence[str]) -> pa.Table:
    n = len(names)
    boxes = _box_lists(everything, np.arange(n))
    units = [
        None if box is None else ids.RELATIVE if relative else ids.PIXELS
        for box, relative in zip(boxes, everything.relative.tolist(), strict=True)
    ]
    spelled = [
        ids.ABSENT if known == ids.ABSENT and whole is not None else known
        for known, whole in zip(written, everything.whole, strict=True)
    ]
    remote = [row for row, whole in enumerate(everything.whole) if whole is None]
    roots, paths = everything.table["root"], everything.table["image_path"]
    for row in remote:
        spelled[row] = store.join(roots[row].as_py(), paths[row].as_py())
    keys = [
        ids.key_of(known, box, unit) for known, box, unit in zip(spelled, boxes, units, strict=True)
    ]
    flat = pa.array(everything.boxes.astype(np.float32).ravel(), pa.float32())
    absent = np.isnan(everything.boxes[:, 0])
    made = {
        "annotation_id": pa.array(names.tolist(), pa.string()),
        "bbox": pa.FixedSizeListArray.from_arrays(flat, 4, mask=pa.array(absent)),
        "bbox_unit": pa.array(units, pa.string()),
        "source_key": pa.array(keys, pa.string()),
    }
    columns = [
        made[field.name] if field.name in made else everything.table[field.name].combine_chunks()
        for field in schema.ANNOTATIONS
    ]
    return pa.Table.from_arrays(columns, schema=schema.ANNOTATIONS)


def _failures(failed: Sequence[tuple[str, Failed]]) -> pa.Table:
    rows = [
        {
            "annotation_id": ids.failed_id(source, one.line, one.image_path),
            "image_path": one.image_path.encode("utf-8", "backslashreplace").decode(),
            "stage": one.stage,
            "error": one.error.encode("utf-8", "backslashreplace").decode(),
        }
        for source, one in failed
    ]
    return pa.Table.from_pylist(rows, schema=schema.FAILURES)


def _nothing_left(sources: Sequence[Rows], failed: Sequence[tuple[str, Failed]]) -> str:
    given = ", ".join(rows.source for rows in sources[:_SHOWN])
    if not failed:
        return f"--input {given}: no image is named here"
    source, first = failed[0]
    return f"--input {source}: none of {len(failed):,} rows can be read: {first.image_path}: {first.error}"
