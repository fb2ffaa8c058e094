"""All individuals as files that open from disk: an index, a page each, and every picture once."""

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from reid import store
from reid.book.animal_pages import (
    Links,
    Origin,
    Pictures,
    all_pictures,
    render_animal,
    render_index,
)
from reid.book.animals import Animal
from reid.exports.identifiers import cleaned
from reid.report.html import encoded
from reid.report.thumbnails import UNREADABLE

SMALL_PX, LARGE_PX = 320, 1000  # longer sides
QUALITY = 74
BATCH = 256


@dataclass(frozen=True, slots=True)
class SiteWritten:
    """What came out.

    Attributes:
        individuals: pages.
        pictures: that this call wrote.
        there: that were there already.
        unreadable: path → why its picture could not be read.
        index: the page to open.
    """

    individuals: int
    pictures: int
    there: int
    unreadable: Mapping[str, str]
    index: str


def write_site(
    to: str,
    found: Mapping[str, Animal],
    origin: Origin,
    picture: Callable[[str], Image.Image],
    keys: Mapping[str, str],
    *,
    large_px: int = LARGE_PX,
    advance: Callable[[int], None] | None = None,
) -> SiteWritten:
    """Write `to/index.html`, `to/individuals/<name>.html` and `to/pictures/…`; the index last.

    Pictures that lie there are not made again: the same command brings a book up to date.

    Args:
        to: folder or URI.
        found: identity_id → individual.
        origin: where they come from.
        picture: gives the picture of an annotation, at least `large_px` wide where it can; called from several
            threads. What it raises for a bad image is counted, not passed on.
        keys: annotation_id → what changes when its picture does.
        large_px: longer side of the pictures that are enlarged; 0: the small ones are enlarged.
        advance: called with the number of pictures that are done.
    """
    pictures = all_pictures(found)
    files = {one: _file_name(one, keys[one]) for one in pictures}
    sizes = [SMALL_PX, *([large_px] if large_px else [])]
    made, lost = _write_pictures(store.join(to, "pictures"), files, sizes, picture, advance)
    names = cleaned(found)
    _write_pages(to, found, pictures, origin, names, files, lost, sizes)
    for page in store.list_files(store.join(to, "individuals")):
        if page.rpartition("/")[2] not in {f"{name}.html" for name in names.values()}:
            store.remove(page)  # of individuals that are no more
    return SiteWritten(
        individuals=len(found),
        pictures=made,
        there=len(files) - made - len(lost),
        unreadable={pictures[one][0].path: why for one, why in lost.items()},
        index=store.join(to, "index.html"),
    )


def _write_pictures(
    folder: str,
    files: Mapping[str, str],
    sizes: Sequence[int],
    picture: Callable[[str], Image.Image],
    advance: Callable[[int], None] | None,
) -> tuple[int, dict[str, str]]:
    """Write those that are not there; how many, and why others could not be read."""
    there = set(store.list_files(folder, recursive=True))
    wanted = {
        one: [px for px in sizes if _place(folder, px, file) not in there]
        for one, file in files.items()
    }
    lost: dict[str, str] = {}

    def make(one: str) -> int:
        try:
            whole = picture(one)
            for px in wanted[one]:
                store.write_bytes(_place(folder, px, files[one]), webp(whole, px))
        except UNREADABLE as error:
            lost[one] = str(error) or type(error).__name__
            return 0
        return 1

    todo = [one for one, missing in wanted.items() if missing]
    if advance is not None:
        advance(len(files) - len(todo))
    made = 0
    with ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 2))) as pool:
        for start in range(0, len(todo), BATCH):
            for done in pool.map(make, todo[start : start + BATCH]):
                made += done
                if advance is not None:
                    advance(1)
    return made, lost


def _write_pages(
    to: str,
    found: Mapping[str, Animal],
    pictures: Pictures,
    origin: Origin,
    names: Mapping[str, str],
    files: Mapping[str, str],
    lost: Mapping[str, str],
    sizes: Sequence[int],
) -> None:
    def links(up: str, beside: str) -> Links:
        def picture(px: int) -> Callable[[str], str]:
            return lambda one: "" if one in lost else f"{up}pictures/{px}/{files[one]}"

        return Links(
            home=f"{up}index.html",
            animal=lambda one: f"{beside}{names[one]}.html",
            small=picture(sizes[0]),
            large=picture(sizes[-1]),
        )

    inside = links("../", "")
    for one in found.values():
        page = render_animal(one, found, pictures, inside, origin)
        store.write_bytes(
            store.join(to, "individuals", f"{names[one.identity_id]}.html"), encoded(page)
        )
    index = render_index(found, links("", "individuals/"), origin)
    store.write_bytes(store.join(to, "index.html"), encoded(index))


def webp(picture: Image.Image, side_px: int) -> bytes:
    """The picture with a longer side of at most `side_px`, as WebP."""
    small = picture.convert("RGB") if picture.mode != "RGB" else picture.copy()
    small.thumbnail((side_px, side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


def _file_name(annotation_id: str, key: str) -> str:
    digest = hashlib.blake2b(
        f"{annotation_id}\n{key}".encode(errors="replace"), digest_size=10
    ).hexdigest()
    return f"{digest[:2]}/{digest[2:]}.webp"


def _place(folder: str, px: int, name: str) -> str:
    return store.join(folder, str(px), name)
