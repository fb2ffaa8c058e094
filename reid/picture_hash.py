"""What a file shows, as a digest: the same for a picture whose keywords, rating or comment were changed.

Photo managers write into files all the time. So the digest is over what decoding reads, and over
nothing else: equal digests are the same pixels, upright.

| format | what is hashed |
| --- | --- |
| JPEG, MPO | every segment of the first picture but APP0 … APP13, APP15 and comments; and the orientation |
| PNG | the data of IHDR, PLTE, tRNS and IDAT; and the orientation |
| other | the decoded pixels, their mode and size; and the orientation |

The first two need no decoding: 1 % of the time of decoding a JPEG of 2 megapixels. A colour profile is not
in it, as decoding here does not apply it. A program that compresses a JPEG or PNG again makes another file.
"""

import hashlib
import math
import re
import struct
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from reid.image_files import (
    bytes_to_decode,
    check_size,
    memory,
    open_image,
    orientation_of,
)

# Hashes of this kind begin with it. Those of before, 32 hex digits alone, are over all bytes of a file.
KIND = "p1-"

# In the coded data 0xFF is followed by 0 or is a restart; anything else begins the next segment.
_MARKER = re.compile(rb"\xff[\x01-\xcf\xd8-\xfe]")
_START, _END, _SCAN, _COMMENT, _ADOBE = 0xD8, 0xD9, 0xDA, 0xFE, 0xEE
_APPLICATION = range(0xE0, 0xF0)
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")


def content_hash(data: bytes, bbox: Sequence[float] | None) -> str:
    """A picture and the box in it: equal for exact duplicates, whatever else the files say.

    Args:
        data: the file.
        bbox: of the annotation; None: the whole picture.

    Returns:
        `p1-` and 32 hex digits; `p1` is the version of the way of hashing.

    Raises:
        ImageError: there is no usable image in `data`.
    """
    with open_image(data) as image:
        check_size(image, math.inf)
        with memory.take(bytes_to_decode(image)):
            return hash_with_box(picture_digest(data, image, orientation_of(image)), bbox)


def hash_with_box(picture: bytes, bbox: Sequence[float] | None) -> str:
    """The content hash of a box in a picture, from the picture's digest."""
    digest = hashlib.blake2b(picture, digest_size=16)
    digest.update(_written(bbox))
    return KIND + digest.hexdigest()


def is_file_hash(stored: str) -> bool:
    """Whether a stored hash is of the older kind: compare it with `file_hash`, not with `content_hash`."""
    return len(stored) == 32 and not stored.startswith(KIND)


def file_hash(data: bytes, bbox: Sequence[float] | None) -> str:
    """The hash of older stores: 32 hex digits over all bytes of the file and the box."""
    digest = hashlib.blake2b(data, digest_size=16)
    digest.update(_written(bbox))
    return digest.hexdigest()


def _written(bbox: Sequence[float] | None) -> bytes:
    return repr(None if bbox is None else [float(value) for value in bbox]).encode()


def picture_digest(data: bytes, image: Image.Image, orientation: int) -> bytes:
    """16 bytes over what decoding reads.

    Args:
        data: the file.
        image: the same, opened.
        orientation: EXIF's, as `orientation_of` reads it.
    """
    kind = "JPEG" if image.format == "MPO" else image.format
    digest = hashlib.blake2b(f"{kind} {orientation}".encode(), digest_size=16)
    if kind == "JPEG":
        for segment in _jpeg_parts(data):
            digest.update(segment)
    elif kind == "PNG":
        for chunk in _png_parts(data):
            digest.update(chunk)
    else:
        _update_with_pixels(digest, image)
    return digest.digest()


def _jpeg_parts(data: bytes) -> Iterator[memoryview]:
    """The pieces of a JPEG that decide its pixels, up to the end of its first picture."""
    view = memoryview(data)
    place = 0
    while found := _MARKER.search(data, place):
        # Coded data, where there is any, lies between the end of the last segment and this marker.
        yield view[place : found.start()]
        marker = data[found.end() - 1]
        if marker == _END:
            return
        place = found.end()
        if marker in (_START, 0x01):  # these two have no length
            continue
        if place + 2 > len(data):
            break
        end = place + struct.unpack_from(">H", data, place)[0]
        keep = marker != _COMMENT and (marker not in _APPLICATION or marker == _ADOBE)
        if keep:
            yield view[found.end() - 1 : end]
        place = max(end, place + 2)
    yield view[place:]  # a file without its end


def _png_parts(data: bytes) -> Iterator[bytes | memoryview]:
    """The data of the chunks that decide the pixels; how IDAT is cut into chunks means nothing."""
    view = memoryview(data)
    place = len(_PNG_SIGNATURE)
    last = b""
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IEND":
            return
        if kind in _PNG_PIXELS:
            if kind != last:
                yield kind
            last = kind
            yield view[place + 8 : place + 8 + length]
        place += length + 12


def _update_with_pixels(digest: Any, image: Image.Image) -> None:
    """Add the stored pixels, some rows at a time; only these formats need to be decoded for it."""
    image.load()
    palette = image.getpalette() if image.mode == "P" else None
    digest.update(f"{image.mode} {image.size} {palette}".encode())
    step = max(1, (1 << 22) // max(1, image.width))
    for top in range(0, image.height, step):
        bottom = min(top + step, image.height)
        digest.update(image.crop((0, top, image.width, bottom)).tobytes())
