"""All individuals as files that open from disk: an index, a page each, and every picture once."""

from collections.abc import Callable, Mapping

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
from reid.book.pictures import LARGE_PX, PicturesWritten, write_pictures
from reid.exports.identifiers import cleaned
from reid.report.html import encoded


def write_site(
    to: str,
    found: Mapping[str, Animal],
    origin: Origin,
    picture: Callable[[str], Image.Image],
    keys: Mapping[str, str],
    *,
    large_px: int = LARGE_PX,
    advance: Callable[[int], None] | None = None,
) -> PicturesWritten:
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
    own = {one: keys[one] for one in pictures}
    written = write_pictures(to, own, large_px, picture, advance)
    names = cleaned(found)
    _write_pages(to, found, pictures, origin, names, written)
    for page in store.list_files(store.join(to, "individuals")):
        if page.rpartition("/")[2] not in {f"{name}.html" for name in names.values()}:
            store.remove(page)  # of individuals that are no more
    return written


def _write_pages(
    to: str,
    found: Mapping[str, Animal],
    pictures: Pictures,
    origin: Origin,
    names: Mapping[str, str],
    written: PicturesWritten,
) -> None:
    def links(up: str, beside: str) -> Links:
        def picture(px: int) -> Callable[[str], str]:
            return lambda one: up + link if (link := written.link(one, px)) else ""

        return Links(
            home=f"{up}index.html",
            animal=lambda one: f"{beside}{names[one]}.html",
            small=picture(written.sizes[0]),
            large=picture(written.sizes[-1]),
        )

    inside = links("../", "")
    for one in found.values():
        page = render_animal(one, found, pictures, inside, origin)
        store.write_bytes(
            store.join(to, "individuals", f"{names[one.identity_id]}.html"), encoded(page)
        )
    index = render_index(found, links("", "individuals/"), origin)
    store.write_bytes(written.index, encoded(index))
