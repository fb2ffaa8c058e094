"""Whatever lies in a file named .jpg: pixels, or the reason why there are none."""

import contextlib
import functools
import io
import struct

import numpy as np
import pillow_heif
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reid.embedder.device_decode import plain_jpeg
from reid.image_files import ImageError
from reid.images import open_frame, resize
from reid.picture_hash import KIND, content_hash
from tests.fuzz.examples import fuzzed

pytestmark = [
    pytest.mark.fuzz,
    # Pillow warns of much that it reads all the same; this is about how it ends.
    pytest.mark.filterwarnings("ignore"),
]

KINDS = {
    "JPEG": {},
    "JPEG progressive": {"progressive": True, "quality": 95},
    "JPEG 4:4:4": {"subsampling": 0},
    "PNG": {},
    "WEBP": {},
    "WEBP lossless": {"lossless": True},
    "TIFF": {},
    "TIFF lzw": {"compression": "tiff_lzw"},
    "TIFF jpeg": {"compression": "jpeg"},
    "BMP": {},
    "GIF": {},
    "HEIF": {},
    "AVIF": {"speed": 10},
    "JPEG2000": {},
    "MPO": {},
    # Formats that are not to be opened.
    "SPIDER": {},
    "EPS": {},
    "ICO": {},
    "TGA": {},
    "PPM": {},
    "SGI": {},
    "IM": {},
    "PCX": {},
    "PDF": {},
}
MODES = ("RGB", "L", "P", "RGBA", "CMYK", "1", "LA", "I;16", "I", "F", "YCbCr")
WITH_EXIF = ("JPEG", "PNG", "WEBP", "HEIF", "AVIF", "MPO")


@functools.cache
def encoded(kind: str, mode: str, width: int, height: int, orientation: int) -> bytes:
    """A real file; of another mode where the format has no such pixels."""
    pillow_heif.register_heif_opener()
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    name = kind.partition(" ")[0]
    options = dict(KINDS[kind])
    if name in WITH_EXIF:
        exif = Image.Exif()
        exif[0x0112] = orientation
        exif.get_ifd(0x8769)[0x9003] = "2021:04:11 20:43:09"
        options["exif"] = exif.tobytes()
    converted = (
        Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
        if mode == "I;16"
        else image.convert(mode)
    )
    for candidate in (converted, image, image.convert("F")):
        stream = io.BytesIO()
        try:
            candidate.save(stream, name, **options)
        except (OSError, ValueError, KeyError, RuntimeError):
            continue
        return stream.getvalue()
    raise AssertionError(f"{kind} cannot be written")


files = st.builds(
    encoded,
    st.sampled_from(sorted(KINDS)),
    st.sampled_from(MODES),
    st.sampled_from([1, 2, 17, 64]),
    st.sampled_from([1, 3, 16, 48]),
    st.integers(0, 9),
)
boxes = st.none() | st.lists(
    st.sampled_from([0.0, 1.0, 0.5, 7.0, 16.0, 63.0, -3.0, 1e9, float("nan"), float("inf")]),
    min_size=4,
    max_size=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real file of which bytes were changed, cut out, doubled or put in."""
    data = bytearray(draw(files))
    for _ in range(draw(st.integers(0, 6))):
        # Headers lie in front: half of the damage is done there.
        end = len(data) if draw(st.booleans()) else min(len(data), 200)
        place = draw(st.integers(0, max(0, end - 1)))
        how = draw(st.sampled_from(["byte", "word", "cut", "end", "double", "insert"]))
        if how == "byte" and data:
            data[place] = draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF, 0xD8, 0xD9, 0xDA]))
        elif how == "word":
            data[place : place + 4] = struct.pack(
                draw(st.sampled_from([">I", "<I"])),
                draw(st.sampled_from([0, 1, 2**16, 2**24, 2**31 - 1, 2**32 - 1])),
            )
        elif how == "cut":
            del data[place : place + draw(st.integers(1, 40))]
        elif how == "end":
            del data[place:]
        elif how == "double":
            data[place:place] = data[place : place + draw(st.integers(1, 60))]
        else:
            data[place:place] = draw(st.binary(max_size=30))
    return bytes(data)


@st.composite
def exif_garbage(draw: st.DrawFn) -> bytes:
    """A whole JPEG or PNG whose EXIF is no EXIF."""
    body = draw(
        st.binary(max_size=80)
        | st.binary(max_size=60).map(lambda rest: b"MM\0*\0\0\0\x08" + rest)
        | st.binary(max_size=60).map(lambda rest: b"II*\0\x08\0\0\0\1\0\x12\1" + rest)
    )
    content = b"Exif\0\0" + body
    jpeg = encoded("JPEG", "RGB", 17, 16, 1)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def check(data: bytes, box: list[float] | None) -> None:
    # An assertion that fails inside of open_frame would count as a failure of the image.
    pixels = small = digest = taken = None
    with (
        contextlib.suppress(ImageError),
        open_frame(data, target=16, max_megapixels=4) as frame,
    ):
        taken, _ = frame.taken
        digest = frame.digest
        pixels = frame.crop(box).pixels
        small = resize(pixels, 16)
    assert digest is None or len(digest) == 16
    assert taken is None or taken.year >= 1990
    if pixels is not None:
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3
        assert pixels.dtype == np.uint8
        assert 0 < pixels.nbytes <= 3 * 4_000_000
        assert small is not None
        assert small.shape == (16, 16, 3)
    hashed = None
    with contextlib.suppress(ImageError):
        hashed = content_hash(data, box)
    assert hashed is None or hashed.startswith(KIND)
    with contextlib.suppress(ImageError):
        plain_jpeg(data, box, bbox_margin=0.0, max_megapixels=4)


@fuzzed
@given(data=damaged(), box=boxes)
def test_damaged_files_of_every_kind(data: bytes, box: list[float] | None) -> None:
    check(data, box)


@fuzzed
@given(data=exif_garbage(), box=boxes)
def test_exif_that_is_none(data: bytes, box: list[float] | None) -> None:
    check(data, box)


@fuzzed
@given(
    data=st.binary(max_size=200)
    | st.tuples(
        st.sampled_from(
            [
                b"\xff\xd8\xff",
                b"\x89PNG\r\n\x1a\n",
                b"II*\0",
                b"RIFF",
                b"BM",
                b"GIF89a",
                b"\0\0\0\x18ftypheic",
            ]
        ),
        st.binary(max_size=200),
    ).map(b"".join)
)
def test_bytes_that_are_no_file(data: bytes) -> None:
    check(data, None)
