"""What a file shows, whatever else is written into it."""

import io
import struct
import zlib

import numpy as np
import pillow_heif
import pytest
from PIL import Image, PngImagePlugin

from reid.image_files import ImageError
from reid.picture_hash import KIND, content_hash, file_hash, is_file_hash

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
OTHER = PIXELS.copy()
OTHER[20, 30] ^= 255
XMP = b"http://ns.adobe.com/xap/1.0/\x00<x:xmpmeta>rating 5, individual 042</x:xmpmeta>"


def encoded(pixels: np.ndarray = PIXELS, kind: str = "JPEG", **options: object) -> bytes:
    pillow_heif.register_heif_opener()
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation: int | None = None, **fields: str) -> bytes:
    found = Image.Exif()
    if orientation is not None:
        found[0x0112] = orientation
    for name, value in fields.items():
        found[{"artist": 0x013B, "text": 0x010E}[name]] = value
    return found.tobytes()


def segment(marker: int, content: bytes) -> bytes:
    return b"\xff" + bytes([marker]) + struct.pack(">H", len(content) + 2) + content


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    return jpeg[:2] + segment(marker, content) + jpeg[2:]


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_what_is_written_into_a_jpeg_beside_its_picture_does_not_count(
    options: dict[str, object],
) -> None:
    plain = encoded(**options)
    expected = content_hash(plain, None)
    assert expected.startswith(KIND)
    assert len(expected) == len(KIND) + 32
    for changed in (
        with_segment(plain, 0xFE, b"indiv=042"),
        with_segment(plain, 0xE1, XMP),
        with_segment(plain, 0xE1, exif(1, artist="me", text="\u00e9")),
        with_segment(plain, 0xED, b"Photoshop 3.0\0 8BIM keyword"),
        with_segment(
            with_segment(plain, 0xE2, b"ICC_PROFILE\0\1\1profile"), 0xFE, b"\xff\xd9\xff\xda"
        ),
        plain + b"a trailer, or a film",
        plain[:2] + plain[20:] if plain[2:4] == b"\xff\xe0" else plain,  # without its JFIF header
    ):
        assert content_hash(changed, None) == expected
        assert file_hash(changed, None) != file_hash(plain, None) or changed == plain


def test_pixels_orientation_and_colour_transform_of_a_jpeg_count() -> None:
    hashes = [
        content_hash(data, None)
        for data in (
            encoded(),
            encoded(OTHER),
            encoded(exif=exif(6)),
            encoded(exif=exif(3)),
            encoded(quality=90),
            encoded(progressive=True),
            with_segment(encoded(), 0xEE, b"Adobe\0\x64\0\0\0\0\0"),
        )
    ]
    assert len(set(hashes)) == len(hashes)
    assert content_hash(encoded(), [0, 0, 5, 5]) != content_hash(encoded(), None)


def test_one_bit_of_the_coded_picture_counts() -> None:
    plain = encoded()
    changed = bytearray(plain)
    changed[-40] ^= 1
    try:
        assert content_hash(bytes(changed), None) != content_hash(plain, None)
    except ImageError:
        pytest.fail("only the header is read")


def test_what_is_written_into_a_png_beside_its_picture_does_not_count() -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_text("keyword", "indiv=042")
    notes.add_itxt("XML:com.adobe.xmp", "<x/>")
    plain = encoded(kind="PNG")
    expected = content_hash(plain, None)
    assert content_hash(encoded(kind="PNG", pnginfo=notes), None) == expected
    assert content_hash(encoded(kind="PNG", exif=exif(1, artist="me")), None) == expected
    assert content_hash(encoded(OTHER, "PNG"), None) != expected
    assert content_hash(encoded(kind="PNG", exif=exif(6)), None) != expected
    # The same compressed picture, cut into other chunks.
    start = plain.index(b"IDAT") - 4
    (length,) = struct.unpack_from(">I", plain, start)
    coded = plain[start + 8 : start + 8 + length]
    pieces = [coded[:100], coded[100:]]
    cut = b"".join(
        struct.pack(">I", len(p)) + b"IDAT" + p + struct.pack(">I", zlib.crc32(b"IDAT" + p))
        for p in pieces
    )
    again = plain[:start] + cut + plain[start + 12 + length :]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(again))), PIXELS)
    assert content_hash(again, None) == expected


def test_the_palette_of_a_png_counts() -> None:
    image = Image.fromarray(PIXELS).quantize(8)
    first, second = io.BytesIO(), io.BytesIO()
    image.save(first, "PNG")
    image.putpalette(image.getpalette()[::-1])
    image.save(second, "PNG")
    assert content_hash(first.getvalue(), None) != content_hash(second.getvalue(), None)


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "AVIF", "HEIF"])
def test_other_formats_count_by_their_pixels(kind: str) -> None:
    lossless = {"WEBP": {"lossless": True}, "HEIF": {"quality": -1, "chroma": 444}}.get(kind, {})
    plain = content_hash(encoded(kind=kind, **lossless), None)
    assert content_hash(encoded(kind=kind, exif=exif(1, artist="me"), **lossless), None) == plain
    assert content_hash(encoded(255 - PIXELS, kind, **lossless), None) != plain
    if kind != "HEIF":  # whose orientation is a property of the picture
        assert content_hash(encoded(kind=kind, exif=exif(3), **lossless), None) != plain


def test_every_format_has_a_hash() -> None:
    hashes = {
        content_hash(encoded(PIXELS, kind), None)
        for kind in ("BMP", "GIF", "JPEG2000", "MPO", "PNG")
    }
    assert len(hashes) == 5
    with pytest.raises(ImageError):
        content_hash(b"no picture", None)


def test_an_older_hash_is_told_from_a_newer_one() -> None:
    data = encoded()
    assert is_file_hash(file_hash(data, [1.0, 2.0, 3.0, 4.0]))
    assert not is_file_hash(content_hash(data, None))
    assert not is_file_hash("")


def test_a_cut_jpeg_and_segments_of_impossible_length_end() -> None:
    plain = encoded()
    for data in (
        plain[:700],
        with_segment(plain, 0xFE, b"")[:-5],
        plain[:2] + b"\xff\xfe\0\0" + plain[2:],
    ):
        try:
            assert content_hash(data, None).startswith(KIND)
        except ImageError:
            continue
