"""Pictures of annotations as files beside the pages that show them; what lies there is not made again."""

import hashlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from reid import store
from reid.errors import in_plain_words
from reid.report.thumbnails import UNREADABLE

SMALL_PX, LARGE_PX = 320, 1000  # longer sides
QUALITY = 74
BATCH = 256


@dataclass(frozen=True, slots=True)
class PicturesWritten:
    """Pictures as files beside the pages that show them.

    Attributes:
        to: folder of the pages, or URI; its index.html is first.
        sizes: longer sides in pixels, the small one first.
        files: annotation_id → its file, of all that were asked for.
        made: how many annotations this call wrote.
        lost: annotation_id → why its picture could not be read.
    """

    to: str
    sizes: Sequence[int]
    files: Mapping[str, str]
    made: int
    lost: Mapping[str, str]

    @property
    def there(self) -> int:
        """How many were there already."""
        return len(self.files) - self.made - len(self.lost)

    @property
    def index(self) -> str:
        """The page to open."""
        return store.join(self.to, "index.html")

    def link(self, one: str, px: int) -> str:
        """Where the picture of an annotation lies, seen from the index; empty where it was lost."""
        return "" if one in self.lost else _place("pictures", px, self.files[one])


def write_pictures(
    to: str,
    keys: Mapping[str, str],
    large_px: int,
    picture: Callable[[str], Image.Image],
    advance: Callable[[int], None] | None,
) -> PicturesWritten:
    """Write `to/pictures/<size>/<file>` of every annotation where it is not there.

    Args:
        to: folder of the pages, or URI.
        keys: annotation_id → what changes when its picture does.
        large_px: longer side of the pictures that are enlarged; 0: the small ones are enlarged.
        picture: gives the picture of an annotation; called from several threads. What it raises for a bad
            image is counted, not passed on.
        advance: called with the number of pictures that are done.
    """
    folder, sizes = store.join(to, "pictures"), [SMALL_PX, *([large_px] if large_px else [])]
    files = {one: file_name(one, key) for one, key in keys.items()}
    there = set(store.list_files(folder, recursive=True))
    wanted = {
        one: [px for px in sizes if _place(folder, px, file) not in there]
        for one, file in files.items()
    }
    lost: dict[str, str] = {}

    def make(one: str) -> int:
        try:
            whole = picture(one)
            drawn = {px: webp(whole, px) for px in wanted[one]}
        except UNREADABLE as error:
            lost[one] = in_plain_words(error)
            return 0
        for px, data in drawn.items():  # a disk that is full is no fault of the picture
            store.write_bytes(_place(folder, px, files[one]), data)
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
    return PicturesWritten(to, sizes, files, made, lost)


def webp(picture: Image.Image, side_px: int) -> bytes:
    """The picture with a longer side of at most `side_px`, as WebP."""
    small = picture.convert("RGB") if picture.mode != "RGB" else picture.copy()
    small.thumbnail((side_px, side_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=2)
    return buffer.getvalue()


def file_name(annotation_id: str, key: str) -> str:
    """Where the picture of an annotation lies; `key` changes when its picture does."""
    digest = hashlib.blake2b(
        f"{annotation_id}\n{key}".encode(errors="replace"), digest_size=10
    ).hexdigest()
    return f"{digest[:2]}/{digest[2:]}.webp"


def _place(folder: str, px: int, name: str) -> str:
    return store.join(folder, str(px), name)
