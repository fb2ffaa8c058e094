"""Folders, listed: the images in them, and what else there was.

Thumbnails, bins and side files of storage systems are no photographs; hidden files and folders are
left out; a real file is listed once, however many links lead to it. All that is left out is counted.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from reid import store
from reid.errors import InputError
from reid.image_files import READABLE_SUFFIXES
from reid.sources import places

RAW_SUFFIXES = frozenset(
    {
        ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf",
        ".pef", ".srw", ".x3f", ".rwl", ".3fr", ".iiq", ".kdc", ".dcr", ".erf", ".mrw", ".mef", ".raw",
    }
)  # fmt: skip
VIDEO_SUFFIXES = frozenset(
    {
        ".mp4", ".mov", ".avi", ".mkv", ".m4v", ".mts", ".m2ts", ".mpg", ".mpeg", ".wmv", ".webm", ".3gp",
        ".asf", ".ts", ".flv",
    }
)  # fmt: skip
# Folders in which storage systems, file managers and photo programs keep their own copies.
LITTER_FOLDERS = frozenset(
    {
        "@eadir", "@tmp", "@sharebin", "@synoresource", "@recycle", "@recently-snapshot", "@transcode",
        "@__thumb", "#recycle", "#snapshot", "~snapshot", "$recycle.bin", "recycler", "recycled",
        "$extend", "system volume information", "lost+found", "__macosx", "found.000",
        "network trash folder", "temporary items", "thevolumesettingsfolder", "icloud drive (archive)",
    }
)  # fmt: skip
LITTER_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini"})
LITTER_FOLDER_ENDINGS = (".lrdata", ".photoslibrary", ".cocatalogdb")

_SHOWN = 8


@dataclass
class Listing:
    """What lies below a folder.

    Attributes:
        paths: images, relative to the folder, sorted.
        other: lower-case suffix → files that are no images we read; "" for none.
        litter: kind → files and folders that are left out unread.
        linked_twice: links to files and folders that are listed anyway.
        broken_links: links to nothing.
        special: pipes, sockets and devices, relative to the folder; they are never opened.
        closed: folders that may not be listed, and why.
        misnamed: images whose name is no UTF-8, spelled with escapes.
    states: of images on object storage, whole path → size and time of change.
    """

    paths: list[str] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    litter: Counter[str] = field(default_factory=Counter)
    linked_twice: int = 0
    special: list[str] = field(default_factory=list)
    closed: list[tuple[str, str]] = field(default_factory=list)
    misnamed: list[str] = field(default_factory=list)
    states: dict[str, tuple[int, int]] = field(default_factory=dict)


def is_image_name(path: str) -> bool:
    """Does this name end like an image that can be read?"""
    return suffix_of(path) in READABLE_SUFFIXES


def suffix_of(path: str) -> str:
    """The ending of a name in lower case, with its dot; "" where there is none."""
    name = path.rpartition("/")[2]
    at = name.rfind(".")
    return name[at:].lower() if at > 0 else ""


def litter_kind(name: str, *, is_folder: bool) -> str | None:
    """What makes this name litter; None: nothing does."""
    lowered = name.lower()
    if name.startswith("._"):
        return "side files of macOS (._*)"
    if is_folder and lowered in LITTER_FOLDERS:
        return f"folders {name}"
    if is_folder and lowered.endswith(LITTER_FOLDER_ENDINGS):
        return f"folders *{lowered[lowered.rindex('.') :]}"
    if not is_folder and lowered in LITTER_FILES:
        return f"files {lowered.strip()}"
    if name.startswith("."):
        return "hidden folders" if is_folder else "hidden files"
    return None


def list_images(
    folder: str, *, depth: int | None = None, wanted: Callable[[str], bool] | None = None
) -> Listing:
    """List the images below a folder, on a local disk or on object storage.

    Args:
        folder: path or URI.
        depth: folders to go down at most; 0 is the folder's own files; None: all.
        wanted: of paths relative to the folder, which are listed; what it refuses is not counted.

    Raises:
        InputError: the folder itself may not be listed.
        StorageError: object storage cannot be reached.
    """
    found = Listing()
    list_files = _remote_files if store.is_remote(folder) else _local_files
    for path in list_files(folder, depth, wanted or (lambda _: True), found):
        suffix = suffix_of(path)
        if suffix not in READABLE_SUFFIXES:
            found.other[escaped(suffix)] += 1
        elif is_utf8(path):
            found.paths.append(path)
        else:
            found.misnamed.append(escaped(path))
    found.paths.sort()
    return found


def is_utf8(path: str) -> bool:
    """Can a table hold this name? Names on a disk are bytes, and may be no text."""
    if path.isascii():
        return True
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def escaped(path: str) -> str:
    """A path that can be written anywhere: bytes that are no UTF-8 become \\xNN."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


Wanted = Callable[[str], bool]


def _remote_files(folder: str, depth: int | None, wanted: Wanted, found: Listing) -> Iterator[str]:
    skip = len(folder.rstrip("/")) + 1
    states = store.list_states(folder, recursive=depth != 0)
    for whole in sorted(states):
        path = whole[skip:]
        *folders, name = path.split("/")
        if depth is not None and len(folders) > depth:
            continue
        kinds = (litter_kind(part, is_folder=True) for part in folders)
        kind = next((k for k in kinds if k), None) or litter_kind(name, is_folder=False)
        if kind:
            found.litter[kind] += 1
        elif wanted(path):
            found.states[whole] = states[whole]
            yield path


class _Folder(NamedTuple):
    """A folder to walk: on the disk, as a path below the one that is listed, and how deep that is."""

    real: str
    below: str
    level: int


@dataclass
class _Walk:
    """What a walk of a local folder has met.

    Attributes:
        visited: real folder → its path below the one that is listed.
        folder_links: where links to folders lead.
        file_links: real file, path of the link.
    """

    depth: int | None
    wanted: Wanted
    found: Listing
    visited: dict[str, str] = field(default_factory=dict)
    folder_links: list[_Folder] = field(default_factory=list)
    file_links: list[tuple[str, str]] = field(default_factory=list)


def _local_files(folder: str, depth: int | None, wanted: Wanted, found: Listing) -> Iterator[str]:
    """Each real file below a folder once: links are followed last, where they lead to something new."""
    walk = _Walk(depth, wanted, found)
    top = places.real(folder)
    yield from _files_below(_Folder(top, "", 0), walk)
    for linked in walk.folder_links:  # what is walked here may add more
        if linked.real in walk.visited or top.startswith(linked.real.rstrip("/") + "/"):
            found.linked_twice += 1
        else:
            yield from _files_below(linked, walk)
    yield from _linked_files(walk)


def _files_below(start: _Folder, walk: _Walk) -> Iterator[str]:
    """Files in a folder and the folders below it; links are kept for later."""
    waiting = [start]
    while waiting:
        real, below, level = folder = waiting.pop()
        if real in walk.visited:
            walk.found.linked_twice += 1
            continue
        walk.visited[real] = below
        deeper = walk.depth is None or level < walk.depth
        for entry in _entries(folder, walk.found):
            path = f"{below}/{entry.name}" if below else entry.name
            kind = _kind(entry)
            litter = litter_kind(entry.name, is_folder=kind == "folder")
            if litter:
                walk.found.litter[litter] += 1
            elif kind == "file":
                if walk.wanted(path):
                    yield path
            elif kind == "link to a file":
                walk.file_links.append((places.real(entry.path), path))
            elif kind == "other":
                if walk.wanted(path):
                    walk.found.special.append(escaped(path))
            elif deeper and kind == "folder":
                waiting.append(_Folder(entry.path, path, level + 1))
            elif deeper:
                walk.folder_links.append(_Folder(places.real(entry.path), path, level + 1))


def _linked_files(walk: _Walk) -> Iterator[str]:
    """Links to files that are listed neither where they lie nor by another link."""
    linked: set[str] = set()
    for real, path in walk.file_links:
        if real in linked or _is_listed(real, walk):
            walk.found.linked_twice += 1
        elif walk.wanted(path):
            linked.add(real)
            yield path  # a link to nothing too: it is found, and reported, when it is embedded


def _is_listed(real: str, walk: _Walk) -> bool:
    """Is this real file listed where it lies?"""
    below = walk.visited.get(os.path.dirname(real))  # noqa: PTH120  a million Paths are slow
    name = os.path.basename(real)  # noqa: PTH119
    if below is None or litter_kind(name, is_folder=False) or not os.path.exists(real):  # noqa: PTH110
        return False
    return walk.wanted(f"{below}/{name}" if below else name)


def _entries(folder: _Folder, found: Listing) -> Iterator["os.DirEntry[str]"]:
    """What lies in a folder; one that cannot be listed, or not to its end, is noted."""
    try:
        with os.scandir(folder.real) as entries:
            yield from entries
    except OSError as error:
        if not folder.level:
            raise InputError(
                f"--input {escaped(folder.real)}: cannot be listed: {error.strerror or error}"
            ) from error
        found.closed.append((escaped(folder.below), error.strerror or str(error)))


def _kind(entry: "os.DirEntry[str]") -> str:
    """file, folder, a link to one of them, or other; without asking the disk but for links."""
    try:
        if entry.is_symlink():
            return "link to a folder" if entry.is_dir() else "link to a file"
        if entry.is_dir(follow_symlinks=False):
            return "folder"
        return "file" if entry.is_file(follow_symlinks=False) else "other"
    except OSError:
        return "other"


def listing_notes(source: str, found: Listing) -> list[str]:
    """What was left out of a folder, in one sentence a kind; none where nothing was."""
    notes = []
    raw = {name: n for name, n in found.other.items() if name in RAW_SUFFIXES}
    videos = {name: n for name, n in found.other.items() if name in VIDEO_SUFFIXES}
    rest = {name: n for name, n in found.other.items() if name not in raw | videos}
    parts = [
        _counted(raw) + (" (raw: convert them first)" if raw else ""),
        _counted(videos) + (" (videos: extract frames first)" if videos else ""),
        _counted(rest),
    ]
    if found.other:
        notes.append(f"{source}: left out: {', '.join(part for part in parts if part)}")
    if found.litter:
        kinds = ", ".join(f"{n:,} {kind}" for kind, n in found.litter.most_common(_SHOWN))
        notes.append(f"{source}: left out, as no photographs of yours: {kinds}")
    if found.linked_twice:
        notes.append(
            f"{source}: {found.linked_twice:,} links lead to files and folders that are read anyway, or "
            "that lie above; each real file is read once"
        )
    if found.closed:
        first, why = found.closed[0]
        notes.append(
            f"{source}: {len(found.closed):,} folders cannot be listed, and what is in them is not read: "
            f"{first} ({why})"
        )
    return notes


def _counted(suffixes: dict[str, int]) -> str:
    """`3 .DNG, 1 .CR2`, the most frequent first."""
    ranked = sorted(suffixes.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{n:,} {name or 'without an ending'}" for name, n in ranked[:_SHOWN]]
    more = len(ranked) - _SHOWN
    return ", ".join([*shown, *([f"{more} more kinds"] if more > 0 else [])])
