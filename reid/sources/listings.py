"""Images without a table: folders, globs, single files, and text files that list any of these."""

from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from reid import store
from reid.errors import InputError
from reid.image_files import READABLE_SUFFIXES
from reid.sources import places
from reid.sources.decoding import decode_text, text_lines
from reid.sources.folders import (
    Listing,
    escaped,
    is_image_name,
    list_images,
    listing_notes,
)
from reid.sources.globs import has_wildcards, matcher, split_glob
from reid.sources.source_rows import Failed, How, Rows

LISTS_IN_LISTS = 20  # levels
_SHOWN = 3


def read_folder(source: str, how: How) -> Rows:
    """All images below a folder."""
    return _listed(source, source, list_images(source), how)


def read_glob(source: str, how: How) -> Rows:
    """All images that match a glob.

    Raises:
        InputError: it is no glob, or its folder does not exist.
    """
    base, below = split_glob(source)
    wanted, depth = matcher(below)
    if places.look(base) not in ("folder", "closed"):
        raise InputError(f"--input {source}: there is no folder {base}")
    return _listed(source, base, list_images(base, depth=depth, wanted=wanted), how)


def read_image(source: str, how: How) -> Rows:
    """A single image."""
    return _named(source, [source], how.root or places.parent(source))


def read_list(
    source: str,
    how: How,
    read_other: Callable[[str], Iterator[Rows]],
    seen: dict[str, bool],
) -> Iterator[Rows]:
    """A text file's lines; images among them become one source, others one each.

    Args:
        source: path or URI of the list.
        how: what the user said.
        read_other: reads a line that is no plain image.
        seen: real path of each list → is it being read now?

    Raises:
        InputError: the list names itself, directly or by way of another, or is no text.
    """
    here = places.real(source)
    if seen.get(here):
        chain = " → ".join(path for path, open_now in seen.items() if open_now)
        raise InputError(f"--input {source}: the list includes itself: {chain} → {here}")
    if sum(seen.values()) >= LISTS_IN_LISTS:
        raise InputError(f"--input {source}: lists in lists, {LISTS_IN_LISTS} levels deep")
    if here in seen:  # read already, by another list: once is enough
        return
    seen[here] = True
    try:
        text, note = decode_text(_bytes_of(source))
    except InputError as error:
        raise InputError(f"--input {source}: {error}") from error
    base = how.root or places.parent(source)
    images: list[str] = []
    failed: list[Failed] = []
    for number, raw in enumerate(text_lines(text), 1):
        line = raw.strip().strip('"')
        if not line or line.startswith("#"):
            continue
        if (
            "\\" in line
            and line.strip("/\\.")
            and not store.is_remote(line)
            and places.look(store.join(base, line)) == "absent"
        ):
            line = line.replace("\\", "/")
        entry = store.join(base, line)
        if is_image_name(entry) and not has_wildcards(entry):
            images.append(entry)  # a missing one is found, and reported, when it is embedded
            continue
        try:
            yield from read_other(entry)
        except InputError as error:
            if seen.get(places.real(entry)):
                raise
            failed.append(Failed(number, line, f"{source}, line {number}: {error}"))
    seen[here] = False
    notes = [] if note is None else [f"{source}: {note}"]
    rows = _named(source, images, base)
    rows.failed, rows.notes = [*rows.failed, *failed], notes
    rows.counts = {"images": len(images), "unreadable": len(rows.failed)}
    yield rows


def _bytes_of(source: str) -> bytes:
    try:
        return store.read_bytes(source)
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error


def _named(source: str, paths: Sequence[str], root: str) -> Rows:
    """Images by their paths, which need not exist."""
    root = places.absolute(root)
    good, failed = [], []
    for number, path in enumerate(paths, 1):
        below = places.relative(path, root)
        try:
            below.encode()
            good.append(below)
        except UnicodeEncodeError:
            failed.append(Failed(number, escaped(below), _NO_UTF8))
    return Rows(source, root, pa.array(good, pa.string()), failed=failed, folders=True)


_NO_UTF8 = "the file's name is not UTF-8 text, so that no table can hold it; rename it"


def _listed(source: str, folder: str, found: Listing, how: How) -> Rows:
    if not found.paths and not found.misnamed:
        left = "; ".join(note.partition(": ")[2] for note in listing_notes(source, found))
        raise InputError(
            f"--input {source}: no image found (looked for {', '.join(sorted(READABLE_SUFFIXES))})"
            + (f"; {left}" if left else "")
        )
    place = places.absolute(folder)
    root = places.absolute(how.root) if how.root else place
    paths = found.paths
    if root != place:
        inside = place.removeprefix(root.rstrip("/") + "/")
        if inside != place:
            paths = [f"{inside}/{path}" for path in paths]
        else:
            paths = [places.relative(f"{place}/{path}", root) for path in paths]
    failed = [Failed(0, path, _NO_UTF8) for path in found.misnamed]
    failed += [
        Failed(0, path, "it is a pipe, a socket or a device, which is never opened")
        for path in found.special
        if is_image_name(path)
    ]
    rows = Rows(source, root, pa.array(paths, pa.string()), failed=failed, folders=True)
    rows.notes, rows.states = listing_notes(source, found), found.states
    others = sum(n for name, n in found.other.items() if name)
    rows.counts = {"images": len(paths), "other_files": others, "left_out": found.litter.total()}
    return rows


def parent_names(paths: pa.Array) -> pa.Array:
    """The name of each image's folder; null at the top of the collection."""
    return pc.struct_field(pc.extract_regex(paths, pattern=r"(?P<name>[^/]+)/[^/]*$"), "name")
