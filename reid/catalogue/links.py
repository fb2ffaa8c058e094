"""Who is near whom, row by row: the edges of a large catalogue, so that a night reads those of few rows.

    <folder>/run-<hex>.links        both directions of some edges, by the number of a row
    <folder>/run-<hex>.parquet      which rows have links there, and how many

All of it follows from the catalogue's edges, and is made anew where it is gone. A row's number is that of
`reid.catalogue.kept_rows`; the first ones are given by cluster, so that what is near lies together. A night adds a
run; small ones are joined, so that they stay few.
"""

import uuid
import zlib
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid import store
from reid.parquet import damaged

BLOCK = 2048  # links that are read and checked together
LINK = np.dtype([("other", "<u4"), ("distance", "<f4")])

# File name of each run → its links, in the order in which they came.
Runs = Mapping[str, int]
# Row numbers (m,) at both ends of links, and distances (m,) float32.
FoundLinks = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]


def add_run(
    folder: str, runs: Runs, pairs: NDArray[np.integer], distances: NDArray[np.float32]
) -> dict[str, int]:
    """Write the edges between numbers (m, 2) as a run behind others, of which small ones go into it.

    Returns:
        The runs that there are then. Those that are no longer named lie there until somebody removes them.
    """
    if not len(pairs):
        return dict(runs)
    ends = pairs.astype(np.uint32)
    parts = [(ends[:, 0], ends[:, 1], distances), (ends[:, 1], ends[:, 0], distances)]
    kept, size = dict(runs), 2 * len(ends)
    # Each run that is left is more than twice as large as the next: there are few.
    for name in [*runs][::-1]:
        if runs[name] > 2 * size:
            break
        size += kept.pop(name)
        parts.append(_read_run(folder, name, None))
    row, other, far = (np.concatenate(column) for column in zip(*parts, strict=True))
    parts.clear()
    # By row, and of one row in the order in which they came.
    keys = np.sort(row.astype(np.uint64) << np.uint64(32) | np.arange(len(row), dtype=np.uint64))
    row = (keys >> np.uint64(32)).astype(np.uint32)
    keys &= np.uint64(0xFFFFFFFF)
    blocks = -(-len(row) // BLOCK)
    raw = np.empty(4 * blocks + len(row) * LINK.itemsize, np.uint8)
    links, checks = raw[4 * blocks :].view(LINK), raw[: 4 * blocks].view("<u4")
    links["other"], links["distance"] = other[keys], far[keys]
    for number in range(blocks):
        checks[number] = zlib.crc32(links[number * BLOCK : (number + 1) * BLOCK].tobytes())
    own = f"run-{uuid.uuid4().hex[:12]}"
    store.write_bytes(store.join(folder, f"{own}.links"), raw.tobytes())
    first = np.flatnonzero(np.diff(row, prepend=row[:1] + np.uint32(1)))
    counts = np.diff(first, append=len(row)).astype(np.uint32)
    table = {"row": pa.array(row[first]), "links": pa.array(counts)}
    store.write_table(store.join(folder, f"{own}.parquet"), pa.table(table))
    return kept | {own: len(row)}


def links_of(folder: str, runs: Runs, numbers: NDArray[np.uint32]) -> FoundLinks:
    """All links of some rows, by their numbers (k,), rising: each as (row, other row, distance).

    Raises:
        DamagedError: they were damaged.
        FileNotFoundError: they were removed meanwhile.
    """
    parts = [_read_run(folder, name, numbers) for name in runs]
    nothing = np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float32)
    row, other, far = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    return row, other, far


def _read_run(folder: str, name: str, numbers: NDArray[np.uint32] | None) -> FoundLinks:
    """The links of some rows in a run, or of all."""
    table = store.read_table(store.join(folder, f"{name}.parquet"))
    rows, counts = (table[column].to_numpy() for column in ("row", "links"))
    total = int(counts.sum(dtype=np.int64))
    starts = np.cumsum(counts, dtype=np.int64) - counts
    if numbers is not None:
        at = np.searchsorted(rows, numbers)
        at = at[at < len(rows)] if len(rows) else at[:0]
        here = at[rows[at] == numbers[: len(at)]]
        rows, counts, starts = rows[here], counts[here], starts[here]
    blocks = -(-total // BLOCK)
    change = np.zeros(blocks + 1, np.int64)
    np.add.at(change, starts // BLOCK, 1)
    np.add.at(change, (starts + counts - 1) // BLOCK + 1, -1)
    wanted = np.flatnonzero(np.cumsum(change)[:-1] > 0)
    held = _read_blocks(store.join(folder, f"{name}.links"), total, wanted)
    rank = np.zeros(blocks, np.int64)
    rank[wanted] = np.arange(len(wanted))
    inside = np.arange(int(counts.sum(dtype=np.int64))) - np.repeat(
        np.cumsum(counts, dtype=np.int64) - counts, counts
    )
    place = np.repeat(starts, counts) + inside
    found = held[rank[place // BLOCK] * BLOCK + place % BLOCK]
    return np.repeat(rows, counts), found["other"].copy(), found["distance"].copy()


def _read_blocks(file: str, total: int, wanted: NDArray[np.int64]) -> NDArray[Any]:
    """Some blocks of a run's links, one behind the other, as they were written."""
    fs, inner = store.filesystem(file)
    blocks = -(-total // BLOCK)
    held = np.zeros(len(wanted) * BLOCK, LINK)
    spans = np.flatnonzero(np.diff(wanted, prepend=-2) != 1)

    def read() -> None:
        with fs.open_input_file(inner) as stream:
            checks = np.frombuffer(stream.read_at(4 * blocks, 0), "<u4")
            for first, last in pairwise([*spans.tolist(), len(wanted)]):
                start = int(wanted[first]) * BLOCK
                stop = min(start + (last - first) * BLOCK, total)
                raw = stream.read_at(
                    (stop - start) * LINK.itemsize, 4 * blocks + start * LINK.itemsize
                )
                _check(file, raw, checks[int(wanted[first]) : int(wanted[last - 1]) + 1])
                held[first * BLOCK : first * BLOCK + stop - start] = np.frombuffer(raw, LINK)

    store.guarded(file, "read", read)
    return held


def _check(file: str, raw: bytes, checks: NDArray[np.uint32]) -> None:
    size = BLOCK * LINK.itemsize
    for number, check in enumerate(checks.tolist()):
        if zlib.crc32(memoryview(raw)[number * size : (number + 1) * size]) != check:
            raise damaged(
                file, "not the links that were written; remove the folder, which is made anew"
            )
