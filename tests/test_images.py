"""Every kind of file that people have, and every kind that breaks."""

import datetime
import io
import sys
import threading
import time
import tracemalloc

import numpy as np
import pillow_heif
import pytest
import simplejpeg
from PIL import Image, ImageOps
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from reid import image_files, images
from reid.image_files import FORMATS, ImageError, known_formats, open_image
from reid.images import decode_crop, open_frame, resize


def picture(width: int = 64, height: int = 48) -> np.ndarray:
    """Smooth, and different in all four corners, so that flips and turns show."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([255 * x // width, 255 * y // height, 128 + 0 * x], axis=2).astype(np.uint8)


def encoded(pixels: np.ndarray | Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def close(a: np.ndarray, b: np.ndarray, tolerance: float = 4) -> bool:
    return a.shape == b.shape and float(np.abs(a.astype(int) - b).mean()) < tolerance


@pytest.mark.parametrize(
    "kind",
    ["JPEG", "PNG", "WEBP", "TIFF", "BMP", "JPEG2000", "AVIF", "HEIF", "MPO", "GIF", "MPO of two"],
)
def test_formats(kind: str) -> None:
    pillow_heif.register_heif_opener()
    options: dict[str, object] = {}
    if kind in ("MPO of two", "GIF"):
        options = {"save_all": True, "append_images": [Image.new("RGB", (64, 48), "red")]}
    crop = decode_crop(encoded(picture(), kind.partition(" ")[0], **options), target=32)
    assert close(crop.pixels, picture(), 12 if kind == "GIF" else 5)
    assert (crop.width, crop.height) == (64, 48)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_orientation_is_applied_as_pillow_does(orientation: int, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(), kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    assert close(decode_crop(data, target=64).pixels, expected, 2)


@pytest.mark.parametrize("orientation", [0, 9, 200])
def test_an_orientation_that_does_not_exist_is_none(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    crop = decode_crop(encoded(picture(), quality=95, exif=exif), [0, 0, 50, 20], target=64)
    assert close(crop.pixels, picture()[:20, :50], 2)


def test_a_box_is_cut_from_the_upright_image() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(picture(), "JPEG", exif=exif, quality=95)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    crop = decode_crop(data, [5, 10, 20, 30], target=64)
    assert (crop.width, crop.height) == (20, 30)
    assert close(crop.pixels, upright[10:40, 5:25], 2)


def test_a_margin_widens_the_box_and_the_border_clips_it() -> None:
    data = encoded(picture(), "PNG")
    assert np.array_equal(
        decode_crop(data, [20, 20, 10, 10], target=8, bbox_margin=0.5).pixels,
        picture()[15:35, 15:35],
    )
    assert np.array_equal(
        decode_crop(data, [50, 40, 100, 100], target=8).pixels, picture()[40:, 50:]
    )


@pytest.mark.parametrize(
    "box", [[0, 0, 0, 10], [0, 0, 10, -1], [float("nan"), 0, 1, 1], [64, 0, 5, 5], [-9, 0, 5, 5]]
)
def test_a_box_without_area_is_refused(box: list[float]) -> None:
    with pytest.raises(ImageError, match=r"zero-area box|box outside the image"):
        decode_crop(encoded(picture()), box, target=8)


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_relative_box_is_of_the_upright_image(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(640, 480), exif=exif, quality=95)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    height, width = upright.shape[:2]
    crop = decode_crop(data, [0.25, 0.5, 0.5, 0.25], bbox_unit="relative", target=640)
    assert (crop.width, crop.height) == (width // 2, height // 4)
    assert close(
        crop.pixels, upright[height // 2 : height * 3 // 4, width // 4 : width * 3 // 4], 2
    )
    whole = decode_crop(data, [0, 0, 1, 1], bbox_unit="relative", target=640)
    assert (whole.width, whole.height) == (width, height)


def test_the_first_box_of_the_field_sample_is_676_by_451() -> None:
    box = np.asarray([0.35947, 0.61382, 0.32951, 0.31225], np.float32).tolist()
    crop = decode_crop(encoded(picture(2048, 1440)), box, bbox_unit="relative", target=64)
    assert (crop.width, crop.height) == (676, 451)


def test_a_crop_of_a_few_pixels_is_refused_and_a_small_image_is_not() -> None:
    with pytest.raises(ImageError, match=r"box of 1 × 1 pixels, under the limit of 16"):
        decode_crop(encoded(picture()), [0, 0, 1, 1], target=8, min_crop_pixels=16)
    with pytest.raises(ImageError, match=r"box of 4 × 20 pixels"):  # what of it lies in the image
        decode_crop(encoded(picture()), [60, 0, 30, 20], target=8, min_crop_pixels=16)
    assert decode_crop(encoded(picture(9, 9)), target=8, min_crop_pixels=16).width == 9


def test_modes() -> None:
    pixels = picture()
    grey = np.asarray(Image.fromarray(pixels).convert("L"))
    rgb_of_grey = np.repeat(grey[:, :, None], 3, axis=2)
    assert close(decode_crop(encoded(grey), target=64).pixels, rgb_of_grey, 1)
    assert close(
        decode_crop(encoded(Image.fromarray(pixels).convert("CMYK")), target=64).pixels, pixels
    )
    palette = Image.fromarray(pixels).quantize(64)
    assert close(decode_crop(encoded(palette, "PNG"), target=64).pixels, pixels, 8)
    transparent = decode_crop(encoded(palette, "PNG", transparency=bytes(range(64))), target=64)
    assert close(transparent.pixels, pixels, 8)
    assert np.array_equal(
        decode_crop(encoded(Image.fromarray(pixels).convert("RGBA"), "PNG"), target=64).pixels,
        pixels,
    )
    sixteen = Image.fromarray(grey.astype(np.uint16) * 257)
    for kind in ("PNG", "TIFF"):
        assert np.array_equal(decode_crop(encoded(sixteen, kind), target=64).pixels, rgb_of_grey)
    with pytest.raises(ImageError, match="floating-point"):
        decode_crop(encoded(Image.fromarray(grey.astype(np.float32)), "TIFF"), target=64)


def test_a_scaled_decode_is_smaller_and_looks_the_same() -> None:
    data = encoded(picture(1600, 1200), quality=95)
    full, scaled = (decode_crop(data, target=64, decode=how) for how in ("full", "scaled"))
    assert full.pixels.shape == (1200, 1600, 3)
    assert scaled.pixels.shape[0] < 600
    assert min(scaled.pixels.shape[:2]) >= 128
    assert (scaled.width, scaled.height) == (1600, 1200)
    assert close(resize(full.pixels, 64), resize(scaled.pixels, 64), 1)


def test_a_scaled_decode_keeps_a_small_box_sharp() -> None:
    data = encoded(picture(1600, 1200), quality=95)
    box = [800, 600, 100, 100]
    full, scaled = (decode_crop(data, box, target=64, decode=how) for how in ("full", "scaled"))
    assert np.array_equal(full.pixels, scaled.pixels)
    large = [400, 300, 800, 600]
    full, scaled = (decode_crop(data, large, target=64, decode=how) for how in ("full", "scaled"))
    assert scaled.pixels.shape[0] < full.pixels.shape[0]
    assert close(resize(full.pixels, 64), resize(scaled.pixels, 64), 1)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"GIF8 is not what follows", "not an image that can be read"),
        (b"\xff\xd8\xff\xe0 nothing", "not an image|cannot be decoded"),
        (encoded(picture(640, 480))[:3000], "truncated|cannot be decoded"),
        (encoded(picture(640, 480), "PNG")[:2000], "truncated|cannot be decoded"),
        (encoded(np.zeros((100, 100, 3), np.uint8), "WEBP")[:40], "not an image|cannot be decoded"),
    ],
)
def test_broken_files_say_why(data: bytes, reason: str) -> None:
    with pytest.raises(ImageError, match=reason):
        decode_crop(data, target=64)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_before_it_is_decoded() -> None:
    bomb = encoded(Image.new("1", (10_000, 10_000)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match=r"10000 × 10000 is 100 megapixels, over the limit of 80"):
        decode_crop(bomb, target=64)
    with pytest.raises(ImageError, match=r"over the limit|far too large"):
        decode_crop(encoded(Image.new("1", (20_000, 20_000)), "PNG"), target=64)


def test_resize_agrees_with_pillow() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (300, 500, 3), dtype=np.uint8)
    for name, method in (
        ("bicubic", Image.Resampling.BICUBIC),
        ("bilinear", Image.Resampling.BILINEAR),
    ):
        expected = np.asarray(Image.fromarray(noise).resize((64, 64), method))
        assert close(resize(noise, 64, name), expected, 1)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_a_box_is_cut_upright_in_every_format_that_can_be_turned(
    kind: str, orientation: int
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    turned = Image.fromarray(picture())
    turned.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(turned))
    crop = decode_crop(data, [5, 10, 20, 30], target=64)
    assert (crop.width, crop.height) == (20, 30)
    assert np.array_equal(crop.pixels, upright[10:40, 5:25])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP"])
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("size", [(1, 40), (40, 1), (1, 1), (640, 1), (1, 640)])
def test_pictures_and_boxes_of_one_pixel_are_resized(
    size: tuple[int, int], orientation: int, kind: str
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(*size), kind, **({} if kind == "BMP" else {"exif": exif}))
    for box in (None, [0, 0, 1, 1], [0, 0, 1, 40], [0, 0, 40, 1]):
        pixels = decode_crop(data, box, target=32).pixels
        assert resize(pixels, 32).shape == (32, 32, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_line_of_a_turned_jpeg_is_resized_to_the_same_pixels(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(picture(), quality=95, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))
    for box, expected in (
        ([3, 0, 1, 40], upright[:40, 3:4]),
        ([0, 3, 40, 1], upright[3:4, :40]),
    ):
        found = resize(decode_crop(data, box, target=64).pixels, 32)
        assert close(found, resize(np.ascontiguousarray(expected), 32), 2)


def test_boxes_of_one_frame_are_what_each_is_alone() -> None:
    for data in (encoded(picture(1600, 1200), quality=95), encoded(picture(160, 120), "PNG")):
        with open_frame(data, target=64) as frame:
            for box in (None, [80, 60, 20, 20], [10, 10, 140, 100], [0, 0, 1000, 900], None):
                crop, alone = frame.crop(box), decode_crop(data, box, target=64)
                assert np.array_equal(crop.pixels, alone.pixels)
                assert (crop.width, crop.height) == (alone.width, alone.height)
                with pytest.raises(ImageError, match="outside"):
                    frame.crop([9000, 0, 5, 5])


def test_a_frame_is_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    plain = simplejpeg.decode_jpeg
    monkeypatch.setattr(
        simplejpeg, "decode_jpeg", lambda *a, **k: calls.append(1) or plain(*a, **k)
    )
    with open_frame(encoded(picture(800, 600)), target=64) as frame:
        for i in range(4):
            frame.crop([10 * i, 10, 90, 90])
    assert len(calls) == 1


def test_a_frame_says_when_it_was_taken() -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: "2021:04:11 20:43:09", 0x9011: "+02:00"})
    for kind in ("JPEG", "PNG", "TIFF", "WEBP", "AVIF"):
        data = encoded(picture(), kind, exif=exif.tobytes())
        with open_frame(data, target=64) as frame:
            assert frame.taken == (datetime.datetime(2021, 4, 11, 20, 43, 9), 120)


def test_an_eps_named_jpg_starts_no_ghostscript(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(*_: object, **__: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr("subprocess.Popen", start)
    eps = encoded(picture(), "EPS")
    for data in (
        eps,
        encoded(picture(), "PPM"),
        encoded(picture(), "SGI"),
        encoded(picture(), "TGA"),
    ):
        with pytest.raises(
            ImageError, match=r"not an image that can be read \(JPEG, PNG, .*begins"
        ):
            decode_crop(data, target=32)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_of_one_endless_line_is_refused() -> None:
    bomb = encoded(Image.new("1", (70_000_000, 1)), "PNG")
    assert len(bomb) < 100_000
    with pytest.raises(ImageError, match=r"70000000 × 1: a side is over the limit of 65535"):
        decode_crop(bomb, target=32)
    assert decode_crop(encoded(Image.new("1", (65_535, 1)), "PNG"), target=32).width == 65_535


@pytest.mark.parametrize("mode", ["I;16", "I"])
def test_sixteen_bits_take_no_wide_copies(mode: str) -> None:
    side = 2000
    kind = "PNG" if mode == "I;16" else "TIFF"
    grey = np.arange(side * side).reshape(side, side) % 65_536
    data = encoded(Image.fromarray(grey.astype(np.uint16 if mode == "I;16" else np.int32)), kind)
    tracemalloc.start()
    pixels = decode_crop(data, target=224).pixels
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert np.array_equal(pixels[..., 0], (grey >> 8).astype(np.uint8))
    assert peak < 15 * side * side  # 3 for the result; Pillow's own copies; none of 8 bytes a pixel


def test_threads_share_one_allowance_of_memory() -> None:
    allowance = image_files.Allowance(100)
    most = used = 0
    lock = threading.Lock()

    def work(amount: int) -> None:
        nonlocal used, most
        with allowance.take(amount):
            with lock:
                used += amount
                most = max(most, used)
            time.sleep(0.002)
            with lock:
                used -= amount

    threads = [threading.Thread(target=work, args=(40,)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 80
    with allowance.take(1000):  # more than all of it: alone
        pass


def test_a_raw_file_is_refused_rather_than_its_preview_embedded() -> None:
    for tag, value in ((50706, b"\x01\x04\x00\x00"), (254, 1)):
        tags = ImageFileDirectory_v2()
        tags[tag] = value
        data = encoded(picture(), "TIFF", tiffinfo=tags)
        with pytest.raises(ImageError, match="raw file"):
            decode_crop(data, target=32)


@pytest.mark.parametrize(
    "error", [MemoryError(), RecursionError("deep"), KeyError("x"), TypeError("y")]
)
def test_whatever_a_decoder_raises_is_the_images_fault(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(Image.Image, "getexif", broken)
    data = encoded(picture())
    assert decode_crop(data, target=32).width == 64  # EXIF that cannot be read turns nothing
    monkeypatch.setattr(images, "upright_part", broken)
    with pytest.raises(ImageError, match="cannot be decoded"):
        decode_crop(encoded(picture(), "PNG"), target=32)


def test_ctrl_c_is_no_fault_of_an_image(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(images, "upright_part", interrupted)
    with pytest.raises(KeyboardInterrupt):
        decode_crop(encoded(picture(), "PNG"), target=32)


def test_without_its_plugin_only_heif_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    known_formats.cache_clear()
    try:
        assert set(FORMATS) - set(known_formats()) == {"HEIF"}
        with open_image(encoded(Image.new("RGB", (8, 6)), "PNG")) as image:
            assert image.size == (8, 6)
        with pytest.raises(ImageError, match=r"not an image that can be read \(JPEG,.*AVIF"):
            decode_crop(b"\0\0\0\x18ftypheic" + bytes(40), target=8)
    finally:
        known_formats.cache_clear()
