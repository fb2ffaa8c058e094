"""Images by the paths that another machine knew: leading folders are removed until the file is there."""

import os
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reid import store
from reid.errors import InputError
from reid.sources.folders import suffix_of
from reid.sources.stations import place_of


@dataclass(frozen=True)
class Found:
    """Where images lie below a root.

    Attributes:
        places: path as given → path below the root, for those that are there.
        missing: paths as given that are not.
        notes: in plain words, which leading folders were removed.
    """

    places: dict[str, str]
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def find_images(source: str, paths: Sequence[str], root: str, *, strict: bool = True) -> Found:
    r"""Find images below a root, whatever folders lie above them where their paths were written.

    Args:
        source: what names the images, for messages.
        paths: as given, with `/` or `\`, from the root of a disk or not.
        root: absolute folder or URI.
        strict: it is an error if none of them is there.

    Raises:
        InputError: none is there; or it cannot be told which file is meant.
        StorageError: object storage cannot be listed.
    """
    there = _known_files(root)
    places: dict[str, str] = {}
    removed: Counter[str] = Counter()
    for given in dict.fromkeys(paths):
        hits = [(depth, option) for depth, option in _options(given, root) if there(option)]
        if not hits:
            continue
        depth, place = hits[0]
        others = [option for other, option in hits if other > depth]
        if depth and others:
            raise InputError(
                f"{source}: {given}: {place} and {others[0]} are both below {root}, and the path may mean either; "
                "give --root the folder that its paths begin in"
            )
        places[given] = place
        if depth:
            removed[_head(given, depth)] += 1
    missing = [given for given in dict.fromkeys(paths) if given not in places]
    _refuse_collisions(source, places)
    if strict and missing and not places and all("://" in path for path in missing):
        raise InputError(
            f"{source}: its {len(missing):,} images lie behind web addresses, such as {missing[0]}; download them, and "
            "give --root the folder that holds the files under their names"
        )
    if strict and paths and not places:
        raise InputError(
            f"{source}: none of its {len(missing):,} images is below {root}: it names {missing[0]!r}, and there is "
            f"{_example(root)}; give --root the folder that its paths begin in"
        )
    notes = [
        f"{source}: {count:,} images are found after removing {prefix}"
        for prefix, count in removed.most_common(3)
    ]
    return Found(places, missing, notes)


def folders_removed(paths: Sequence[str], found: Mapping[str, str]) -> list[str | None]:
    """Places by folders that had to be removed from paths to find the images.

    Args:
        paths: as given, each of which was found.
        found: path as given → path below the root.

    Returns:
        For each the folders of its path as given, without those that cameras make and those that all
        paths begin with, though the last one stays; None where nothing was removed, or the folders below
        the root tell the place.
    """
    named: dict[str, tuple[str, ...] | None] = {}
    for path in dict.fromkeys(paths):
        plain = path.replace("\\", "/").removeprefix("file://")
        folder = posixpath.dirname(found[path])
        if plain == found[path] or place_of(folder, None) is not None:
            named[path] = None
            continue
        place = place_of(posixpath.dirname(plain), None) or ""
        named[path] = tuple(part for part in place.split("/") if part)
    known = [parts for parts in named.values() if parts]
    shared = _alike(min(known), max(known)) if known else 0
    texts = {
        path: "/".join(parts[min(shared, len(parts) - 1) :]) if parts else None
        for path, parts in named.items()
    }
    return [texts[path] for path in paths]


def _alike(one: tuple[str, ...], other: tuple[str, ...]) -> int:
    """How many leading parts are the same."""
    pairs = zip(one, other, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))


def _options(given: str, root: str) -> Iterator[tuple[int, str]]:
    """How many folders are removed, and the path below the root that is left; the longest first."""
    plain = given.replace("\\", "/").removeprefix("file://")
    prefix = root.rstrip("/") + "/"
    if plain.startswith("/") and not plain.startswith(prefix):
        yield 0, plain
    plain = plain.removeprefix(prefix)
    parts = _parts(plain)
    for depth in range(len(parts)):
        path = "/".join(parts[depth:])
        depth += plain.startswith("/")
        yield depth, path
        if not path.isascii():  # macOS writes letters and their accents apart, others as one
            yield depth, unicodedata.normalize("NFC", path)
            yield depth, unicodedata.normalize("NFD", path)


def _parts(path: str) -> list[str]:
    return [part for part in posixpath.normpath(path).split("/") if part not in ("", ".", "..")]


def _head(given: str, depth: int) -> str:
    """The leading folders of a path, as they were written."""
    plain = given.replace("\\", "/")
    parts = _parts(plain)
    head = "/".join(parts[: depth - plain.startswith("/")])
    return f"/{head}/" if plain.startswith("/") else f"{head}/"


def _known_files(root: str) -> Callable[[str], bool]:
    """A function that says whether a path below the root is a file."""
    if store.is_remote(root):
        skip = len(root.rstrip("/")) + 1
        files = {path[skip:] for path in store.list_files(root, recursive=True)}
        return files.__contains__
    prefix = root.rstrip("/") + "/"

    def is_file(path: str) -> bool:
        try:
            return os.path.isfile(  # noqa: PTH113  a million Paths are slow
                path if path.startswith("/") else prefix + path
            )
        except ValueError:  # a zero byte
            return False

    return is_file


def _refuse_collisions(source: str, places: dict[str, str]) -> None:
    first: dict[str, str] = {}
    for given, place in places.items():
        other = first.setdefault(place, given)
        if posixpath.normpath(other.replace("\\", "/")) != posixpath.normpath(
            given.replace("\\", "/")
        ):
            raise InputError(
                f"{source}: {other} and {given} would both be {place}; lay the images out in the folders that these "
                "paths name, or give --root the folder that they begin in"
            )


def _example(root: str) -> str:
    """Something that does lie below the root."""
    if store.is_remote(root):
        return "something else"
    for folder, folders, files in os.walk(root):
        folders.sort()
        for name in sorted(files):
            if suffix_of(name) in (".jpg", ".jpeg", ".png"):
                return repr(os.path.relpath(os.path.join(folder, name), root))  # noqa: PTH118
    return "no image"
