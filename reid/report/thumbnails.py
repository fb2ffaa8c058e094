"""Thumbnails that fit into a number of bytes: as large as they can be, as many as there is room."""

import base64
import io
import os
import struct
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from PIL import Image, ImageOps

from reid.errors import in_plain_words
from reid.image_files import known_formats
from reid.report.data import Thumbnail

MIME = "image/webp"
SIDES_PX = (192, 160, 128, 96)
QUALITY = 72
SAMPLE = 24
BATCH = 64

# What decoders raise for a bad file: Pillow, simplejpeg and torch have no common error.
UNREADABLE = (
    OSError,
    ValueError,
    RuntimeError,
    SyntaxError,
    EOFError,
    ArithmeticError,
    LookupError,
    struct.error,
    Image.DecompressionBombError,
)


@dataclass
class Thumbnails:
    """Encoded thumbnails, and what became of the rest."""

    side_px: int = SIDES_PX[0]
    base64_by_row: dict[int, str] = field(default_factory=dict)
    unreadable: dict[int, str] = field(default_factory=dict)
    no_room: int = 0


def encode_thumbnails(
    thumbnail: Callable[[int], Thumbnail],
    rows: Sequence[int],
    room_bytes: int,
    *,
    sides_px: Sequence[int] = SIDES_PX,
) -> Thumbnails:
    """Load and encode pictures until `room_bytes` of base64 are used.

    The side is the largest of `sides_px` at which all rows are expected to fit, judged by a sample;
    where even the smallest does not fit, the last rows go without.

    Args:
        thumbnail: gives the picture of a row, or None; called from several threads.
        rows: row numbers, most important first.
        room_bytes: limit on the sum of the base64 texts, with 3 bytes each for quotes and comma.
        sides_px: falling; the longer side of a picture is scaled down to one of them, never up.

    Returns:
        Thumbnails; every row is in `base64_by_row`, in `unreadable`, or counted in `no_room`.
    """
    result = Thumbnails(sides_px[0])
    if not rows:
        return result
    with ThreadPoolExecutor(max(2, min(8, os.cpu_count() or 2))) as pool:
        sample = list(rows[:: max(1, len(rows) // SAMPLE)])
        pictures = list(pool.map(lambda row: _load(thumbnail, row, sides_px[0]), sample))
        good = [p for p in pictures if isinstance(p, Image.Image)]
        for side in sides_px:
            result.side_px = side
            sizes = list(pool.map(lambda picture, px=side: len(_encode(picture, px)) + 3, good))
            # 5 % for a sample that was lucky
            if sum(sizes) / max(len(sizes), 1) * len(rows) * 1.05 <= room_bytes:
                break

        def work(row: int) -> str | Exception:
            picture = _load(thumbnail, row, sides_px[0])
            return picture if isinstance(picture, Exception) else _encode(picture, result.side_px)

        used = 0
        for start in range(0, len(rows), BATCH):
            batch = rows[start : start + BATCH]
            for row, text in zip(batch, pool.map(work, batch), strict=True):
                if isinstance(text, Exception):
                    result.unreadable[row] = in_plain_words(text)
                elif used + len(text) + 3 > room_bytes:
                    result.no_room += 1
                else:
                    used += len(text) + 3
                    result.base64_by_row[row] = text
            if result.no_room:
                result.no_room += len(rows) - start - len(batch)
                break
    return result


def _load(
    thumbnail: Callable[[int], Thumbnail], row: int, largest_px: int
) -> Image.Image | Exception:
    """An RGB image of at most the largest side, or why there is none."""
    try:
        picture = thumbnail(row)
        if picture is None:
            return ValueError("no picture")
        if isinstance(picture, bytes):
            picture = ImageOps.exif_transpose(
                Image.open(io.BytesIO(picture), formats=known_formats())
            )
        picture.thumbnail((largest_px, largest_px), Image.Resampling.BICUBIC, reducing_gap=2.0)
        return picture.convert("RGB")
    except UNREADABLE as error:
        return error


def _encode(picture: Image.Image, side_px: int) -> str:
    small = picture.copy()
    small.thumbnail((side_px, side_px), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=QUALITY, method=2)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
