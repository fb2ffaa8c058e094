"""Image files: which formats are opened, what is refused by its header, and how pixels become RGB.

Files come from anywhere. Only named formats are opened; size is looked at before anything is decoded;
and all threads of a process share one allowance of memory for decoding.
"""

import contextlib
import functools
import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from reid.errors import StorageDownError, in_plain_words

# The only formats that are opened, by Pillow's names. Whatever else a file named .jpg holds stays shut:
# Pillow would start Ghostscript on an EPS, and its rarer readers are those that nobody attacks first.
FORMATS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "HEIF", "AVIF", "JPEG2000")
# Endings, in lower case, of the files that are read as images where a folder or a glob is listed.
READABLE_SUFFIXES = frozenset(
    [
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".mpo",
        ".png",
        ".webp",
        ".tif",
        ".tiff",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".hif",
        ".avif",
        ".jp2",
        ".j2k",
        ".jpf",
        ".jpx",
        ".j2c",
    ]
)

ORIENTATION = 0x0112  # EXIF tag
# Longest side of a JPEG and of nearly every picture: a PNG of 70,000,000 × 1 pixels has 68 kB and takes
# gigabytes to resize.
LONGEST_SIDE = 65_535
# What one process may decode at once, over all its threads; one image alone may take more.
BYTES_IN_FLIGHT = 1 << 30
# Pillow holds 4 bytes a pixel, its decoders as much again, and a copy is turned upright.
BYTES_A_PIXEL = 12
# libjpeg-turbo's RGB, as large as it may become; the coefficients of a progressive file come on top.
JPEG_BYTES_A_PIXEL, PROGRESSIVE_BYTES_A_PIXEL = 3, 6
ROWS_AT_ONCE = 1 << 20  # pixels of 16 or 32 bits that are turned into 8 at a time

# Tags of TIFF: its first picture is a small copy of another; the file is a digital negative.
NEW_SUBFILE_TYPE, DNG_VERSION = 254, 50706


class ImageError(ValueError):
    """An image that cannot be embedded; the message is the reason in the failures table."""


@functools.cache
def known_formats() -> tuple[str, ...]:
    """FORMATS, each of which Pillow can read from now on; for `Image.open(…, formats=…)`.

    HEIC and HEIF need a plugin, which is imported with the first image; where it is not installed they
    are images that cannot be read.
    """
    try:
        import pi_heif
    except ImportError:
        return tuple(name for name in FORMATS if name != "HEIF")
    pi_heif.register_heif_opener(decode_threads=1, thumbnails=False)
    return FORMATS


@contextmanager
def open_image(data: bytes) -> Iterator[Image.Image]:
    """Pillow's view of a file, of which only the header is read so far.

    Raises:
        ImageError: the file is not an image, or what the caller does with it fails in whatever way.
    """
    if not data:
        raise ImageError("empty file (0 bytes)")
    try:
        with Image.open(io.BytesIO(data), formats=known_formats()) as image:
            _refuse_negative(image, data)
            yield image
    except (ImageError, StorageDownError):
        raise
    except UnidentifiedImageError as error:
        raise ImageError(
            f"not an image that can be read ({', '.join(known_formats())}); it begins with {repr(data[:8])[1:]}"
        ) from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"far too large: {error}") from error
    except MemoryError as error:
        raise ImageError("cannot be decoded: there is not enough memory for it") from error
    # Decoders raise anything on broken files: struct errors, failed look-ups, endless recursion.
    except Exception as error:
        raise ImageError(f"cannot be decoded: {in_plain_words(error)}") from error


def _refuse_negative(image: Image.Image, data: bytes) -> None:
    """A camera's raw file is a TIFF whose first picture is a small preview: not what was photographed."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return
    tags = image.tag_v2
    reduced = tags.get(NEW_SUBFILE_TYPE)
    if DNG_VERSION in tags or data[8:10] == b"CR" or reduced == 1:
        raise ImageError(
            "a camera's raw file, of which only a small preview could be read; save it as JPEG or TIFF"
        )


def check_size(image: Image.Image, max_megapixels: float) -> None:
    """Refuse by the header what is too large to decode.

    Raises:
        ImageError: more pixels than `max_megapixels` millions, or a side over LONGEST_SIDE.
    """
    width, height = image.size
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise ImageError(
            f"{width} × {height} is {megapixels:.0f} megapixels, over the limit of "
            f"{max_megapixels:g} (images.max_megapixels)"
        )
    if max(width, height) > LONGEST_SIDE:
        raise ImageError(f"{width} × {height}: a side is over the limit of {LONGEST_SIDE} pixels")
    if min(width, height) < 1:
        raise ImageError(f"{width} × {height} has no pixels")


def is_jpeg(image: Image.Image) -> bool:
    """A file that libjpeg-turbo decodes to RGB; an MPO is a JPEG with more of them behind it."""
    return image.format in ("JPEG", "MPO") and image.mode in ("RGB", "L")


def orientation_of(image: Image.Image) -> int:
    """EXIF's 1 … 8, how the stored picture is to be turned; 1 also where EXIF makes no sense.

    Of formats other than JPEG the picture is decoded here: a PNG may say it behind its pixels.
    """
    if image.format == "TIFF":
        with contextlib.suppress(Exception):
            image.getexif()  # while the file is open, for who asks later
    if not is_jpeg(image):
        image.load()
    if image.format == "TIFF":
        return 1  # Pillow turns these itself, and says their upright size
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    # Whatever is wrong with EXIF, the pixels are there; viewers show such a picture as it is stored.
    except Exception:  # noqa: BLE001
        return 1
    # Other values are written by broken cameras; Pillow leaves such images alone.
    return orientation if orientation in range(1, 9) else 1


def bytes_to_decode(image: Image.Image) -> int:
    """About the most memory that decoding takes, from the header."""
    if not is_jpeg(image):
        return image.width * image.height * BYTES_A_PIXEL
    progressive = PROGRESSIVE_BYTES_A_PIXEL if image.info.get("progressive") else 0
    return image.width * image.height * (JPEG_BYTES_A_PIXEL + progressive)


class Allowance:
    """Bytes that threads share: who wants more than is left waits, who wants more than all goes alone."""

    def __init__(self, total: int) -> None:
        self._total, self._used = total, 0
        self._changed = threading.Condition()

    @contextmanager
    def take(self, amount: int) -> Iterator[None]:
        """Hold `amount` bytes."""
        with self._changed:
            self._changed.wait_for(lambda: not self._used or self._used + amount <= self._total)
            self._used += amount
        try:
            yield
        finally:
            with self._changed:
                self._used -= amount
                self._changed.notify_all()


memory = Allowance(BYTES_IN_FLIGHT)


def upright_part(
    image: Image.Image, box: tuple[int, int, int, int], orientation: int
) -> np.ndarray:
    """(h, w, 3) uint8 RGB of a box (left, top, right, bottom) of the upright picture.

    Only the box is turned and converted. Transparency is dropped, 16 bits keep their upper 8.

    Raises:
        ImageError: floating-point pixels.
    """
    part = image.crop(_as_stored(box, image.size, orientation))
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }.get(orientation)
    if turn is not None:
        part = part.transpose(turn)
    if image.mode == "F":
        raise ImageError("floating-point pixels have no agreed brightness; save as 8 or 16 bits")
    if image.mode.startswith("I"):
        # 32 bits may hold 16 or 8; the brightest pixel of the whole picture tells.
        extrema = image.getextrema() if image.mode == "I" else None
        return _eight_bits(np.asarray(part), shift=extrema is None or _brightest(extrema) > 255)
    if image.mode == "P" and "transparency" in image.info:
        part = part.convert("RGBA")
    return np.asarray(part if part.mode == "RGB" else part.convert("RGB"))


def _brightest(extrema: object) -> float:
    assert isinstance(extrema, tuple)
    return float(extrema[1])


def _eight_bits(grey: np.ndarray, *, shift: bool) -> np.ndarray:
    """(h, w) of 16 or 32 bits → (h, w, 3) uint8, a few rows at a time: copies would take gigabytes."""
    height, width = grey.shape
    rgb = np.empty((height, width, 3), np.uint8)
    step = max(1, ROWS_AT_ONCE // max(1, width))
    for top in range(0, height, step):
        rows = grey[top : top + step]
        rows = np.clip(rows >> 8 if shift else rows, 0, 255)
        rgb[top : top + step] = rows.astype(np.uint8)[:, :, None]
    return rgb


def _as_stored(
    box: tuple[int, int, int, int], stored: tuple[int, int], orientation: int
) -> tuple[int, int, int, int]:
    """Where a box of the upright picture lies in the stored one of width and height `stored`."""
    left, top, right, bottom = box
    if orientation >= 5:  # rows and columns change places
        left, top, right, bottom = top, left, bottom, right
    width, height = stored
    if orientation in (2, 3, 7, 8):
        left, right = width - right, width - left
    if orientation in (3, 4, 6, 7):
        top, bottom = height - bottom, height - top
    return left, top, right, bottom
