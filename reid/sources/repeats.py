"""Rows that name one animal more than once, and ids that stand for more than one."""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.errors import InputError
from reid.sources import places
from reid.sources.source_rows import TEXTS, TIMES
from reid.sources.stacked import Stacked

if TYPE_CHECKING:
    import pandas as pd


def given_ids(stacked: Stacked, notes: list[str]) -> pa.Array:
    """(n,) ids that sources give to boxes; null where they give none, or name images with them.

    Raises:
        InputError: one id stands for two images, or for two boxes where other ids name boxes.
    """
    stated = stacked.column("annotation_id")
    if stated.null_count == len(stated):
        return stated
    for number, rows in enumerate(stacked.sources):
        if "annotation_id" not in rows.columns:
            continue
        here = stacked.source == number
        if not _names_images(stacked, np.flatnonzero(here), stated):
            continue
        notes.append(
            f"{rows.source}: annotation_id names images, not boxes: some have several boxes under one; "
            "ids are made from path and box, and the column is kept as image_id"
        )
        mine = pa.array(here)
        images = stacked.column("image_id")
        stacked.set("image_id", pc.if_else(mine, pc.coalesce(images, stated), images))
        stated = pc.if_else(mine, None, stated)
    return stated


def _names_images(stacked: Stacked, here: NDArray[np.int64], stated: pa.Array) -> bool:
    """Does this source's annotation_id name images, of which some have several boxes?"""
    import pandas as pd

    mine = stated.take(pa.array(here)).drop_null()
    if len(pc.unique(mine)) == len(mine):
        return False
    frame = pd.DataFrame(
        {
            "id": stated.take(pa.array(here)).to_pylist(),
            "path": stacked.column("image_path").take(pa.array(here)).to_pylist(),
            "row": here,
        }
    )
    frame[["x", "y", "w", "h"]] = stacked.boxes[here]
    frame = frame[frame["id"].notna()].drop_duplicates(["id", "path", "x", "y", "w", "h"])
    again = frame[frame["id"].duplicated(keep=False)]
    if again.empty:
        return False
    moved = _several(frame, "id", "path")
    first = moved[0] if len(moved) else again["id"].iloc[0]
    those = again[again["id"] == first].drop_duplicates("path" if len(moved) else "row")
    lines = " and ".join(stacked.where(int(row)) for row in those["row"].iloc[:2])
    if len(moved):
        raise InputError(
            f"annotation_id {first!r} is given to two images: {those['path'].iloc[0]} and "
            f"{those['path'].iloc[1]} ({lines}); give each its own id, or take the column out"
        )
    if len(_several(frame, "path", "id")):
        raise InputError(
            f"annotation_id {first!r} is given to two boxes of {those['path'].iloc[0]} ({lines}), and other "
            "images have several ids; give each box its own id, or take the column out"
        )
    return True


def _several(frame: "pd.DataFrame", key: str, value: str) -> "pd.Index":
    """Keys with several values."""
    counts = frame.groupby(key)[value].nunique()
    return counts.index[counts > 1]


def each_once(
    stacked: Stacked,
    names: pa.Array,
    numbers: NDArray[np.int64],
    reported: dict[str, NDArray[np.bool_]],
    notes: list[str],
) -> tuple[pa.Array, NDArray[np.int64]]:
    """Rows for one box of one file become one row, which knows what any of them says.

    Args:
        stacked: all rows; those that stay learn from the others.
        names: (n,) annotation ids.
        numbers: (n,) of the files on their disk.
        reported: label → (n,) bool, which is completed likewise.
        notes: are added to.

    Returns:
        The names, and the numbers of the rows that stay.

    Raises:
        InputError: such rows contradict each other, or one id stands for two things.
    """
    n = len(names)
    files = _files(stacked, numbers)
    keys = [files, stacked.relative.astype(np.int64)]
    none = np.isnan(stacked.boxes[:, 0])
    if not none.all():
        keys += list(stacked.boxes.astype(np.float32).view(np.int32).astype(np.int64).T)
    if len(np.unique(files)) == n:
        stays = np.arange(n)
    else:
        same = _grouped(keys)
        first = np.full(same.max(initial=-1) + 1, n, np.int64)
        np.minimum.at(first, same, np.arange(n))
        stays = first[same]
    repeats = np.flatnonzero(stays != np.arange(n))
    keep = np.ones(n, bool)
    if len(repeats):
        keep[repeats] = False
        names = _merge(stacked, names, reported, stays, repeats)
        notes.append(
            f"{len(repeats):,} rows repeat an image and box already listed; kept once each"
        )
    # A listing's whole image beside a table's boxes of the same image is no animal of its own.
    listed = np.asarray([rows.lines is None for rows in stacked.sources], bool)[stacked.source]
    if listed.any() and not none.all():
        whole = keep & listed & none & np.isin(files, np.unique(files[~none]))
        if whole.any():
            keep &= ~whole
            notes.append(
                f"{int(whole.sum()):,} listed images have boxes in a table: the boxes are read, not the "
                "whole images"
            )
    kept = np.flatnonzero(keep)
    _check_distinct(stacked, names, kept)
    return names, kept


def _grouped(keys: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    """(n,) numbers that are equal where all keys are."""
    codes = keys[0]
    for key in keys[1:]:
        _, other = np.unique(key, return_inverse=True)
        if other.max(initial=0) == 0:
            continue
        _, codes = np.unique(codes * (int(other.max()) + 1) + other, return_inverse=True)
    return codes


def _files(stacked: Stacked, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """(n,) number of each row's file: equal where paths lead to one file."""
    spelled = stacked.whole
    if spelled.null_count:
        remote = [
            stacked.place(int(row))
            for row in np.flatnonzero(spelled.is_null().to_numpy(zero_copy_only=False))
        ]
        spelled = pc.replace_with_mask(spelled, spelled.is_null(), pa.array(remote, pa.string()))
    encoded = spelled.dictionary_encode()
    codes = encoded.indices.to_numpy().astype(np.int64)
    unique = encoded.dictionary
    # One number on the disk under several paths: links, which are one file, or hard links, which are
    # not taken for one; some file systems give numbers that mean nothing.
    there = np.zeros(len(unique), np.int64)
    there[codes] = numbers
    order = np.argsort(there, kind="stable")
    alike = np.zeros(len(unique), bool)
    again = (there[order][1:] == there[order][:-1]) & (there[order][1:] != 0)
    alike[order[1:][again]] = alike[order[:-1][again]] = True
    real: dict[str, int] = {}
    becomes = np.arange(len(unique))
    for code in np.flatnonzero(alike):
        becomes[code] = real.setdefault(places.real(unique[int(code)].as_py()), int(code))
    files: NDArray[np.int64] = becomes[codes]
    return files


def _merge(
    stacked: Stacked,
    names: pa.Array,
    reported: dict[str, NDArray[np.bool_]],
    stays: NDArray[np.int64],
    repeats: NDArray[np.int64],
) -> pa.Array:
    """What repeated rows say goes to the row that stays; the names, of which a given one wins.

    Raises:
        InputError: two of them say different things of one animal.
    """
    targets = stays[repeats]
    for name in (*TEXTS, *TIMES):
        column = stacked.column(name)
        said = column.take(pa.array(repeats)).to_pylist()
        before = column.take(pa.array(targets)).to_pylist()
        learned: dict[int, object] = {}
        for row, target, now, was in zip(repeats, targets, said, before, strict=True):
            was = learned.get(int(target), was)
            if name == "species":  # a species that nobody named gives way
                now = now if reported["species"][row] else None
                was = was if reported["species"][target] or int(target) in learned else None
            if now is None or now == was:
                continue
            if was is None:
                learned[int(target)] = now
            elif name in ("species", "identity"):
                raise InputError(
                    f"{stacked.table['image_path'][int(target)].as_py()} is given twice with different {name}: "
                    f"{was!r} and {now!r} ({stacked.where(int(target))} and {stacked.where(int(row))}); correct "
                    "one of the rows, or give each animal of the image its box"
                )
        if learned:
            mask = np.zeros(len(column), bool)
            mask[list(learned)] = True
            values = pa.array([learned[row] for row in sorted(learned)], column.type)
            column = pc.replace_with_mask(column, pa.array(mask), values)
            stacked.set(name, column)
            if name == "annotation_id":
                names = pc.replace_with_mask(names, pa.array(mask), values)
    for flags in reported.values():
        np.logical_or.at(flags, targets, flags[repeats])
    return names


def _check_distinct(stacked: Stacked, names: pa.Array, kept: NDArray[np.int64]) -> None:
    """Refuse one id for two things, which sources with other roots may bring.

    Raises:
        InputError: with both, and what to do.
    """
    mine = names.take(pa.array(kept))
    encoded = mine.dictionary_encode()
    if len(encoded.dictionary) == len(mine):
        return
    codes = encoded.indices.to_numpy()
    order = np.argsort(codes, kind="stable")
    at = int(np.flatnonzero(codes[order][1:] == codes[order][:-1])[0])
    one, two = int(kept[order[at]]), int(kept[order[at + 1]])
    roots, paths = stacked.table["root"], stacked.table["image_path"]
    fix = (
        "give --root, a folder above both, so that their paths differ"
        if roots[one].as_py() != roots[two].as_py()
        else "give each its own annotation_id"
    )
    raise InputError(
        f"annotation {names[one].as_py()} is given to two images: {paths[one].as_py()} in {roots[one].as_py()} "
        f"({stacked.where(one)}) and {paths[two].as_py()} in {roots[two].as_py()} ({stacked.where(two)}); {fix}"
    )
