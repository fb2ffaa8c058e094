"""Who is near whom, row by row: the edges of a large catalogue, so that a night reads those of few rows.

    <folder>/run-<hex>.links        both directions of some edges, by the number of a row; before them, of each block
                                    the first row and a checksum

All of it follows from the catalogue's edges, and is made anew where it is gone. A row's number is that of
`reid.catalogue.kept_rows`; the first ones are given by cluster, so that what is near lies together. A night adds a
run; small ones are joined, so that they stay few.
"""

import uuid
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid import store
from reid.errors import DamagedError
from reid.parquet import damaged

BLOCK = 512  # links that are read and checked together
LINK = np.dtype([("row", "<u4"), ("other", "<u4"), ("distance", "<f4")])

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
        parts.append(_read_run(folder, name, runs[name], None))
    row, other, far = (np.concatenate(column) for column in zip(*parts, strict=True))
    parts.clear()
    # By row, and of one row in the order in which they came.
    keys = np.sort(row.astype(np.uint64) << np.uint64(32) | np.arange(len(row), dtype=np.uint64))
    row = (keys >> np.uint64(32)).astype(np.uint32)
    keys &= np.uint64(0xFFFFFFFF)
    links = np.empty(len(row), LINK)
    links["row"], links["other"], links["distance"] = row, other[keys], far[keys]
    blocks = range(0, len(links), BLOCK)
    checks = [zlib.crc32(links[start : start + BLOCK].tobytes()) for start in blocks]
    index = np.concatenate([row[::BLOCK], np.array(checks, np.uint32)]).astype("<u4").tobytes()
    own = f"run-{uuid.uuid4().hex[:12]}.links"
    whole = b"".join([np.uint32(zlib.crc32(index)).astype("<u4").tobytes(), index, links.tobytes()])
    store.write_bytes(store.join(folder, own), whole)
    return kept | {own: len(row)}


def links_of(folder: str, runs: Runs, numbers: NDArray[np.uint32]) -> FoundLinks:
    """All links of some rows, by their numbers (k,), rising: each as (row, other row, distance).

    Raises:
        DamagedError: they were damaged.
        FileNotFoundError: they were removed meanwhile.
    """
    parts = [_read_run(folder, name, total, numbers) for name, total in runs.items()]
    nothing = np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float32)
    row, other, far = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    return row, other, far


def _read_run(folder: str, name: str, total: int, numbers: NDArray[np.uint32] | None) -> FoundLinks:
    """The links of some rows in a run, or of all."""
    file = store.join(folder, name)
    fs, inner = store.filesystem(file)
    blocks = -(-total // BLOCK)
    head = 4 + 8 * blocks

    def read() -> NDArray[Any]:
        parts = []
        with fs.open_input_file(inner) as stream:
            index = stream.read_at(head, 0)
            if len(index) != head or zlib.crc32(index[4:]) != int.from_bytes(index[:4], "little"):
                raise _damaged(file)
            first, checks = np.frombuffer(index, "<u4", offset=4).reshape(2, blocks)
            for start, stop in _spans(first, numbers):
                size = (min(stop * BLOCK, total) - start * BLOCK) * LINK.itemsize
                part = stream.read_at(size, head + start * BLOCK * LINK.itemsize)
                _check(file, part, checks[start:stop].tolist())
                parts.append(part)
        return np.frombuffer(b"".join(parts), LINK)

    links = store.guarded(file, "read", read)
    row = links["row"].copy()
    if numbers is not None:  # others lie in the same blocks
        is_wanted = np.zeros(int(max(row.max(initial=0), numbers.max(initial=0))) + 1, np.bool_)
        is_wanted[numbers] = True
        here = is_wanted[row]
        links, row = links[here], row[here]
    return row, links["other"].copy(), links["distance"].copy()


def _spans(first: NDArray[np.uint32], numbers: NDArray[np.uint32] | None) -> list[tuple[int, int]]:
    """From which block to before which one links of some rows lie, given the first row of each; None: of all."""
    blocks = len(first)
    if numbers is None:
        return [(0, blocks)]
    change = np.zeros(blocks + 1, np.int64)
    # The links of a row may begin in the block before the first that begins with it.
    np.add.at(change, np.maximum(np.searchsorted(first, numbers, "left") - 1, 0), 1)
    np.add.at(change, np.searchsorted(first, numbers, "right"), -1)
    edges = np.flatnonzero(np.diff(np.cumsum(change) > 0, prepend=False, append=False))
    return [*zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)]


def _check(file: str, part: bytes, checks: list[int]) -> None:
    size = BLOCK * LINK.itemsize
    for number, check in enumerate(checks):
        if zlib.crc32(memoryview(part)[number * size : (number + 1) * size]) != check:
            raise _damaged(file)


def _damaged(file: str) -> DamagedError:
    return damaged(file, "not the links that were written; remove the folder, which is made anew")
