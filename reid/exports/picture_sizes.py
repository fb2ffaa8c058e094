"""Sizes of upright pictures, from their headers."""

import io
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from PIL import Image, UnidentifiedImageError

from reid import store
from reid.errors import StorageError
from reid.image_files import known_formats

_ORIENTATION = 0x0112
_ON_ITS_SIDE = (5, 6, 7, 8)
_READERS = 16


def upright_sizes(paths: Iterable[str]) -> dict[str, tuple[int, int] | None]:
    """Path → width and height as the picture is meant to be seen; None where it cannot be read."""
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(_READERS) as pool:
        return dict(zip(wanted, pool.map(_size, wanted), strict=True))


def _size(path: str) -> tuple[int, int] | None:
    try:
        source = io.BytesIO(store.read_bytes(path)) if store.is_remote(path) else path
        with Image.open(source, formats=known_formats()) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION, 1) in _ON_ITS_SIDE
    # Pillow's readers end in any of these on a damaged file.
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, StorageError):
        return None
    return (height, width) if turned else (width, height)
