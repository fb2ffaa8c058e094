"""What the headers of image files say, read before embedding where a source cannot be understood without."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime

from PIL import Image

from reid import store
from reid.errors import StorageDownError
from reid.exif import time_taken
from reid.image_files import known_formats, orientation_of
from reid.sources import places

READ_AT_ONCE = 16


@dataclass(frozen=True)
class Header:
    """A picture's stored size, EXIF's turn (1 … 8), and when it was taken, see `reid.exif`."""

    width: int
    height: int
    orientation: int
    taken: datetime | None
    offset: int | None

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height as it is shown."""
        size = self.width, self.height
        return size if self.orientation < 5 else size[::-1]


def read_headers(files: Sequence[str]) -> dict[str, Header]:
    """Path or URI → header, of those that can be read; embedding says of the others why not."""
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        found = pool.map(_read, files)
        return {path: one for path, one in zip(files, found, strict=True) if one is not None}


def _read_once(path: str) -> Header:
    fs, inner = store.filesystem(path)
    with (
        fs.open_input_file(inner) as stream,
        Image.open(stream, formats=known_formats()) as image,
    ):
        taken, offset = time_taken(image)
        return Header(*image.size, orientation_of(image), taken, offset)


def _read(path: str) -> Header | None:
    # Decoders and broken files raise anything; what the picture is, embedding finds out.
    try:
        if places.look(path) != "file":
            return None
        return store.guarded(path, "read", lambda: _read_once(path))
    except StorageDownError:
        raise
    except Exception:  # noqa: BLE001
        return None
