"""Boxes as tables hold them: one cell or four columns, corners or sizes, pixels or shares of the image."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.errors import InputError
from reid.sources.ids import PIXELS, RELATIVE
from reid.sources.words import empty_cells

_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_FOUR = (
    r"^[\[\({\s]*(?P<a>NUM)(?:\s*[,;]\s*|\s+)(?P<b>NUM)(?:\s*[,;]\s*|\s+)(?P<c>NUM)(?:\s*[,;]\s*|\s+)"
    r"(?P<d>NUM)[\]\)}\s]*$"
).replace("NUM", _NUMBER)
_DECIMAL_COMMA = re.compile(r"[-+]?\d+,\d+")
_NO_NUMBERS = r"(?i)^[\[\({\s]*(?:nan|none|null|na)(?:[\s,;]+(?:nan|none|null|na))*[\]\)}\s]*$"
LARGEST = 1e7  # pixels
_SLACK = 1e-6  # of a relative value over 1, from rounding
_UNITS = {
    "px": PIXELS, "pixel": PIXELS, "pixels": PIXELS, "absolute": PIXELS,
    "relative": RELATIVE, "rel": RELATIVE, "share": RELATIVE, "normalized": RELATIVE, "normalised": RELATIVE,
}  # fmt: skip


@dataclass(frozen=True)
class Boxes:
    """The boxes of a table's rows.

    Attributes:
        values: (n, 4) float64 x, y, width, height; NaN in rows without a box, the whole image.
        relative: (n,) bool: shares of the image's width and height, not pixels.
        bad: row → why its box cannot be read.
        notes: what a reader of the table must know.
    """

    values: NDArray[np.float64]
    relative: NDArray[np.bool_]
    bad: dict[int, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def read_boxes(
    columns: Sequence[pa.Array], *, corners: bool = False, unit: pa.Array | None = None
) -> Boxes:
    """Read the boxes of n rows.

    Args:
        columns: one column of texts such as `[10, 20, 300, 200]` or of lists; or four of numbers.
        corners: they are left, top, right, bottom.
        unit: `px` or `relative` of each row, where a column says so; else boxes whose values are all
            at most 1 in every row are relative.

    Raises:
        InputError: some boxes look relative and others like pixels. The message has no file name.
    """
    bad: dict[int, str] = {}
    if len(columns) == 1 and not pa.types.is_string(columns[0].type):
        values, blank, empty = _from_lists(columns[0], bad)
    elif len(columns) == 1:
        values, blank, empty = _from_text(columns[0], bad)
    else:
        values, blank, empty = _from_four(columns, bad)
    present = ~blank & ~empty
    present[list(bad)] = False
    for row in np.flatnonzero(present & ~(np.abs(values) <= LARGEST).all(axis=1)):
        bad[int(row)] = f"the box {_shown(values[row])} has a number that no image reaches"
        present[row] = False
    values[~present] = np.nan
    if corners:
        values[:, 2:] -= values[:, :2]
        for row in np.flatnonzero(present & (values[:, 2:] <= 0).any(axis=1)):
            bad[int(row)] = (
                f"the box's right or bottom lies before its left or top: left, top, width, height are "
                f"{_shown(values[row])}"
            )
            present[row] = False
            values[row] = np.nan
    notes = []
    if empty.any() and present.any():
        for row in np.flatnonzero(empty):
            bad[int(row)] = (
                "the box says that there is none, in a table whose other rows have boxes"
            )
    elif empty.any():
        notes.append(f"no row has a box ({int(empty.sum()):,} say so): the whole images are read")
    if blank.any() and (present.any() or bad):
        notes.append(f"{int(blank.sum()):,} rows have no box: their whole image is read")
    relative = _unit(values, present, unit, notes, bad)
    return Boxes(values, relative, bad, notes)


def _unit(
    values: NDArray[np.float64],
    present: NDArray[np.bool_],
    unit: pa.Array | None,
    notes: list[str],
    bad: dict[int, str],
) -> NDArray[np.bool_]:
    if unit is not None:
        said = unit.to_pylist()
        known = [None if word is None else _UNITS.get(word.lower()) for word in said]
        for row in np.flatnonzero(present):
            if said[row] is not None and known[row] is None:
                bad[int(row)] = f"bbox_unit is {said[row]!r}; known: px, relative"
        if any(word is not None for word in known):
            return np.asarray([word == RELATIVE for word in known], bool)
    has_area = present & (values[:, 2:] > 0).all(axis=1)
    within = has_area & (np.abs(values) <= 1 + _SLACK).all(axis=1)
    if not within.any():
        return np.zeros(len(values), bool)
    if within[has_area].all():
        notes.append(
            f"{int(within.sum()):,} boxes have no value over 1 and are read as shares of the image's width "
            "and height"
        )
        return present.copy()
    one, other = int(np.flatnonzero(within)[0]), int(np.flatnonzero(has_area & ~within)[0])
    raise InputError(
        f"{int(within.sum()):,} boxes look like shares of the image ({_shown(values[one])}, row {one + 1}), and "
        f"{int((has_area & ~within).sum()):,} like pixels ({_shown(values[other])}, row {other + 1}); write all in "
        "one unit, or add a column bbox_unit with px or relative"
    )


def _shown(box: NDArray[np.float64]) -> str:
    return "[" + ", ".join(f"{value:g}" for value in box) + "]"


Parsed = tuple[
    NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]
]  # values, blank, empty word


def _bools(column: pa.Array) -> NDArray[np.bool_]:
    return np.asarray(pc.fill_null(column, False).to_numpy(zero_copy_only=False), dtype=bool)


def _from_text(column: pa.Array, bad: dict[int, str]) -> Parsed:
    n = len(column)
    text = pc.fill_null(pc.utf8_trim_whitespace(column), "")
    blank = _bools(pc.equal(text, ""))
    values = np.full((n, 4), np.nan)
    found = pc.extract_regex(text, pattern=_FOUR)
    hit = np.asarray(found.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
    if hit.any():
        parts = (found if hit.all() else found.filter(pa.array(hit))).flatten()
        values[hit] = np.stack([pc.cast(part, pa.float64()).to_numpy() for part in parts], axis=1)
    empty = _bools(pc.or_(empty_cells(text), pc.match_substring_regex(text, pattern=_NO_NUMBERS)))
    empty &= ~blank & ~hit
    for row in np.flatnonzero(~hit & ~blank & ~empty):
        cell = text[int(row)].as_py()
        numbers = _four_numbers(cell)
        if numbers is None:
            bad[int(row)] = f"bbox {cell[:80]!r} is not four numbers x, y, w, h"
        else:
            values[row] = numbers
    return values, blank, empty


def _four_numbers(cell: str) -> list[float] | None:
    """Four numbers in other clothes: decimal commas, brackets of other kinds."""
    bare = cell.strip("[](){} ")
    parts = bare.split(";") if ";" in bare else bare.split()
    if len(parts) == 4 and any(_DECIMAL_COMMA.fullmatch(part.strip()) for part in parts):
        cell = " ".join(part.strip().replace(",", ".") for part in parts)
    if len(cell) > 1000 or re.search(r"nan|inf|none|null", cell, re.IGNORECASE):
        return None
    numbers = re.findall(_NUMBER, cell)
    return [float(number) for number in numbers] if len(numbers) == 4 else None


def _from_lists(column: pa.Array, bad: dict[int, str]) -> Parsed:
    n = len(column)
    values = np.full((n, 4), np.nan)
    kind = column.type
    if pa.types.is_null(kind):
        return values, np.ones(n, bool), np.zeros(n, bool)
    is_list = (
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )
    inner = kind.value_type if is_list else None
    if inner is None or not (
        pa.types.is_integer(inner) or pa.types.is_floating(inner) or pa.types.is_null(inner)
    ):
        raise InputError(
            f"the column bbox is of type {kind}; expected text or lists of four numbers"
        )
    blank = _bools(pc.is_null(column))
    lengths = np.where(blank, 0, pc.fill_null(pc.list_value_length(column), 0).to_numpy())
    good = lengths == 4
    empty = (lengths == 0) & ~blank
    flat = pc.cast(pc.list_flatten(column.filter(pa.array(good))), pa.float64())
    values[good] = flat.to_numpy(zero_copy_only=False).reshape(-1, 4)
    no_numbers = good & np.isnan(values).all(axis=1)
    empty |= no_numbers
    for row in np.flatnonzero(~good & ~blank & ~empty):
        bad[int(row)] = f"bbox has {int(lengths[row])} numbers; expected x, y, w, h"
    return values, blank, empty


def _all_numbers(columns: Sequence[pa.Array]) -> NDArray[np.float64] | None:
    """(n, 4), where every cell is a plain number; else None."""
    try:
        numbers = [pc.cast(column, pa.float64()) for column in columns]
    except pa.ArrowException:
        return None
    if any(column.null_count for column in numbers):
        return None
    values: NDArray[np.float64] = np.stack([column.to_numpy() for column in numbers], axis=1)
    return values if np.isfinite(values).all() else None


def _from_four(columns: Sequence[pa.Array], bad: dict[int, str]) -> Parsed:
    n = len(columns[0])
    values = _all_numbers(columns)
    if values is not None:
        return values, np.zeros(n, bool), np.zeros(n, bool)
    values = np.full((n, 4), np.nan)
    blanks, empties = np.zeros((n, 4), bool), np.zeros((n, 4), bool)
    for at, column in enumerate(columns):
        text = pc.fill_null(pc.utf8_trim_whitespace(pc.cast(column, pa.string())), "")
        text = pc.replace_substring_regex(text, pattern=r"^([-+]?\d+),(\d+)$", replacement=r"\1.\2")
        blanks[:, at] = _bools(pc.equal(text, ""))
        good = _bools(pc.match_substring_regex(text, pattern=rf"^{_NUMBER}$"))
        values[good, at] = pc.cast(text.filter(pa.array(good)), pa.float64()).to_numpy()
        empties[:, at] = _bools(empty_cells(text)) & ~blanks[:, at] & ~good
        for row in np.flatnonzero(~good & ~blanks[:, at] & ~empties[:, at]):
            bad.setdefault(
                int(row), f"{text[int(row)].as_py()[:80]!r} in the columns of the box is no number"
            )
    blank: NDArray[np.bool_] = np.asarray(blanks.all(axis=1), bool)
    empty: NDArray[np.bool_] = np.asarray((blanks | empties).all(axis=1) & ~blank, bool)
    for row in np.flatnonzero((blanks | empties).any(axis=1) & ~blank & ~empty):
        bad.setdefault(int(row), "some of the four numbers of its box are missing")
    return values, blank, empty
