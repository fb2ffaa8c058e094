"""Places from folders, and bursts from places and times."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.errors import InputError

# Folders that cameras make: DCIM, 100RECNX, 101EK113, 100_BTCF, 100MEDIA, 100DSCIM, 100CANON …
CAMERA_FOLDERS = (
    r"^(?i:DCIM|\d+RECNX|\d+EK\d+|\d+_BTCF|\d+MEDIA|\d+DSCIM|\d{3}[A-Z_]{5}|\d{3}[A-Z]{4,6})$"
)
_CAMERA = re.compile(CAMERA_FOLDERS)


def place_of(folder: str, level: int | None) -> str | None:
    """The station that a folder below the root stands for; None at the top."""
    parts = [part for part in folder.split("/") if part and not _CAMERA.match(part)]
    if level is not None:
        return parts[level - 1] if len(parts) >= level else None
    return "/".join(parts) or None


def places_from_folders(
    paths: pa.Array, *, level: int | None = None, pattern: str | None = None
) -> pa.Array:
    """The station of each image, by the folders that it lies in.

    Args:
        paths: (n,) strings, relative to the root of the collection.
        level: take the folder at this depth below the root, 1 the first; None: all, without those
            that cameras make.
        pattern: a regular expression with one group, which is the station; instead of folders.

    Returns:
        (n,) strings, null where there is none.

    Raises:
        InputError: the pattern is no regular expression with one group.
    """
    if pattern is not None:
        return _by_pattern(paths, pattern)
    folders = pc.replace_substring_regex(paths, pattern=r"[^/]*$", replacement="")
    encoded = folders.dictionary_encode()
    found = [
        None
        if folder is None or folder.startswith("/") or "://" in folder
        else place_of(folder, level)
        for folder in encoded.dictionary.to_pylist()
    ]
    return pa.array(found, pa.string()).take(encoded.indices)


def _by_pattern(paths: pa.Array, pattern: str) -> pa.Array:
    try:
        if re.compile(pattern).groups != 1:
            raise InputError(
                f"sources.location_pattern: {pattern!r} needs one group in brackets, which is the place"
            )
        named = re.sub(r"\((?!\?)", "(?P<place>", pattern, count=1)
        return pc.struct_field(pc.extract_regex(paths, pattern=named), "place")
    except (re.error, pa.ArrowException, RecursionError, OverflowError) as error:
        raise InputError(
            f"sources.location_pattern: {pattern!r} is no regular expression: {error}"
        ) from error


def bursts(
    places: pa.Array,
    moments: pa.Array,
    offsets: pa.Array,
    groups: Sequence[pa.Array] = (),
    *,
    gap_seconds: float,
) -> NDArray[np.int64]:
    """Rows of one place that follow each other closely.

    Args:
        places, moments, offsets: (n,) strings, timestamp[us], int16 minutes from UTC.
        groups: (n,) more columns that must be equal.
        gap_seconds: a longer pause begins another burst.

    Returns:
        (n,) the first row of each row's burst, −1 for a row without place or time. A date without a
        clock (midnight to the microsecond) is no time.
    """
    n = len(moments)
    first = np.full(n, -1, np.int64)
    wall = moments.to_numpy(zero_copy_only=False).astype("datetime64[us]")
    shift = pc.fill_null(offsets, 0).to_numpy(zero_copy_only=False).astype("timedelta64[m]")
    known = ~np.isnat(wall) & places.is_valid().to_numpy(zero_copy_only=False)
    known &= wall != wall.astype("datetime64[D]")
    rows = np.flatnonzero(known)
    if not len(rows):
        return first
    # Clocks of one place that know their offset are compared in UTC, the others as they are.
    columns = [places, offsets.is_valid(), *groups]
    codes = [
        pc.fill_null(column, False if pa.types.is_boolean(column.type) else "")
        .dictionary_encode()
        .indices.to_numpy()[rows]
        for column in columns
    ]
    seconds = (wall[rows] - shift[rows]).astype(np.int64) / 1e6
    order = np.lexsort((seconds, *codes))
    begins = np.ones(len(rows), bool)
    same = np.ones(len(rows) - 1, bool)
    for code in codes:
        same &= code[order][1:] == code[order][:-1]
    begins[1:] = ~(same & (np.diff(seconds[order]) <= gap_seconds))
    leader = np.flatnonzero(begins)[np.cumsum(begins) - 1]
    first[rows[order]] = rows[order][leader]
    return first


def burst_names(first: NDArray[np.int64], places: pa.Array, moments: pa.Array) -> pa.Array:
    """(n,) names of bursts, `place 2021-04-11T20:43:09`; null for none. The first row's place and time."""
    chosen = pa.array(np.where(first < 0, 0, first))
    stamps = pc.strftime(moments.cast(pa.timestamp("s"), safe=False), format="%Y-%m-%dT%H:%M:%S")
    named = pc.binary_join_element_wise(places, stamps, " ").take(chosen)
    return pc.if_else(pa.array(first >= 0), named, None)


def vote(
    species: pa.Array, weights: NDArray[np.float64], first: NDArray[np.int64]
) -> tuple[pa.Array, int]:
    """One species a burst: the one whose boxes weigh most; rows without a burst keep theirs.

    Returns:
        The column, and how many rows have another species than before.
    """
    encoded = species.dictionary_encode()
    if len(encoded.dictionary) < 1:
        return species, 0
    codes = pc.fill_null(encoded.indices, -1).to_numpy().astype(np.int64)
    voters = np.flatnonzero((first >= 0) & (codes >= 0))
    keys = first[voters] * len(encoded.dictionary) + codes[voters]
    unique, at = np.unique(keys, return_inverse=True)
    total = np.bincount(at, weights=weights[voters], minlength=len(unique))
    burst, candidate = unique // len(encoded.dictionary), unique % len(encoded.dictionary)
    winner = np.full(len(first), -1, np.int64)
    for one in np.lexsort((-candidate, total)):  # the heaviest is written last
        winner[burst[one]] = candidate[one]
    decided = np.where(first >= 0, winner[np.where(first < 0, 0, first)], -1)
    changed = (decided >= 0) & (decided != codes)
    codes = np.where(decided >= 0, decided, codes)
    indices = pa.array(codes, pa.int64(), mask=codes < 0)
    return encoded.dictionary.take(indices), int(changed.sum())
