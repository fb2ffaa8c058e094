"""The files that rows name: what storage says of them, which are never opened, and what headers tell."""

import re
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import store
from reid.sources import ids
from reid.sources.built_rows import DOWNLOAD, WEB
from reid.sources.file_headers import read_headers
from reid.sources.remote_files import look_at_objects
from reid.sources.source_rows import TIMES, Failed
from reid.sources.stacked import Stacked

_NEVER_OPENED = "it is a pipe, a socket or a device, which is never opened"
_WEB = re.compile("https?://")


def look_at_files(stacked: Stacked) -> ids.Files:
    """What disks and object storage say of all files."""
    files = ids.look_at_files(stacked.whole)
    remote = remote_places(stacked)
    if remote.null_count == len(remote):
        return files
    known = {uri: state for rows in stacked.sources for uri, state in rows.states.items()}
    size, time_ns = look_at_objects(remote, known)
    asked = size >= 0
    return replace(
        files,
        size=np.where(asked, size, files.size),
        time_ns=np.where(asked, time_ns, files.time_ns),
    )


def never_opened(
    stacked: Stacked, files: ids.Files, max_megabytes: float
) -> list[tuple[str, Failed]]:
    """Rows whose path is not one of a file that may be read; `files` learns of those that look like one."""
    paths = stacked.column("image_path")
    zeros = pc.match_substring(paths, pattern="\0").to_numpy(zero_copy_only=False)
    web = pc.match_substring_regex(paths, pattern="^https?://").to_numpy(zero_copy_only=False)
    large = files.size > max_megabytes * 1e6
    files.special[zeros | web | large] = True
    failed = []
    for row in np.flatnonzero(files.special):
        why = "its name has a zero byte" if zeros[row] else DOWNLOAD if web[row] else _NEVER_OPENED
        if large[row]:
            why = (
                f"it has {files.size[row] / 1e6:,.0f} MB, over the limit of {max_megabytes:,.0f} "
                "(sources.max_file_megabytes)"
            )
        stage = WEB if web[row] else "read"
        one = Failed(int(stacked.lines[row]), paths[int(row)].as_py(), why, stage)
        failed.append((stacked.sources[stacked.source[row]].source, one))
    return failed


def remote_places(stacked: Stacked) -> pa.Array:
    """Where files lie on object storage; null on a disk."""
    if not stacked.whole.null_count:
        return pa.nulls(len(stacked), pa.string())
    return pa.array(
        [
            store.join(root, path) if whole is None and not _WEB.match(path) else None
            for whole, root, path in zip(
                stacked.whole.to_pylist(),
                stacked.column("root").to_pylist(),
                stacked.column("image_path").to_pylist(),
                strict=True,
            )
        ],
        pa.string(),
    )


def fill_times_for_the_vote(stacked: Stacked) -> None:
    """Times from EXIF, where a machine saw several species at one place: a burst must not be torn apart."""
    places, species, moments = (
        stacked.column(name) for name in ("location_id", "species", "timestamp")
    )
    waiting = ~np.isnan(stacked.weights) & moments.is_null().to_numpy(zero_copy_only=False)
    waiting &= places.is_valid().to_numpy(zero_copy_only=False)
    rows = np.flatnonzero(waiting)
    if not len(rows):
        return
    place, kind = (
        pc.fill_null(column, "").dictionary_encode().indices.to_numpy().astype(np.int64)
        for column in (places, species)
    )
    seen = np.unique(np.stack([place[rows], kind[rows]]), axis=1)[0]
    mixed = np.flatnonzero(np.bincount(seen) > 1)
    rows = rows[np.isin(place[rows], mixed)]
    files = [stacked.place(int(row)) for row in rows]
    headers = read_headers(list(dict.fromkeys(files)))
    reported = [headers.get(file) for file in files]
    for name in TIMES:
        values: list[object] = [None] * len(stacked)
        for row, header in zip(rows.tolist(), reported, strict=True):
            if header is not None:
                values[row] = header.taken if name == "timestamp" else header.offset
        column = stacked.column(name)
        stacked.set(name, pc.coalesce(column, pa.array(values, column.type)))
