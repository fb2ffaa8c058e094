"""JPEGs decoded in batches: which go to the device, and the same pixels as on the CPU."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from reid.embedder import device_decode
from reid.embedder.device_decode import check_device, decode_on_device, plain_jpeg
from reid.errors import InputError
from reid.images import ImageError, decode_crop, resize


def smooth_picture(width: int, height: int, seed: int) -> Image.Image:
    tiles = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    return Image.fromarray(tiles).resize((width, height), Image.Resampling.BICUBIC)


def jpeg(picture: Image.Image, **options: object) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=90, **options)
    return stream.getvalue()


def turned(orientation: object) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


LIMITS = {"bbox_margin": 0.1, "max_megapixels": 1.0}


def test_only_jpegs_that_every_decoder_reads_alike_go_to_the_device() -> None:
    picture = smooth_picture(60, 40, 0)
    plain = jpeg(picture)
    other = io.BytesIO()
    picture.save(other, "PNG")
    for name, data, expected in (
        ("plain", plain, True),
        ("grey", jpeg(picture.convert("L")), True),
        ("progressive", jpeg(picture, progressive=True), True),
        ("upright by EXIF", jpeg(picture, exif=turned(1)), True),
        ("turned by EXIF", jpeg(picture, exif=turned(6)), False),
        ("CMYK", jpeg(picture.convert("CMYK")), False),
        ("RGB without colour transform", jpeg(picture, keep_rgb=True), False),
        ("padded", plain + bytes(20), True),
        ("cut", plain[:-300], False),
        ("PNG", other.getvalue(), False),
    ):
        found = plain_jpeg(data, None, **LIMITS)
        assert (found is not None) is expected, name
    found = plain_jpeg(plain, [10, 10, 20, 10], **LIMITS)
    assert found is not None
    assert (found.box, found.pixels) == ((8, 9, 32, 21), 2400)
    for data, box, reason in (
        (b"", None, "empty file"),
        (b"no image", None, "not an image"),
        (plain, [0, 0, 0, 4], "zero-area box"),
        (jpeg(smooth_picture(1100, 1000, 0)), None, "over the limit of 1"),
    ):
        with pytest.raises(ImageError, match=reason):
            plain_jpeg(data, box, **LIMITS)


def check_device_decode(device: str) -> None:
    """Against the CPU's `full` decode: the same pixels but for rounding."""
    inputs = [(32, "bicubic"), (20, "bilinear")]
    pictures = [smooth_picture(120 + 16 * i, 90, i) for i in range(5)]
    pictures[2] = pictures[2].convert("L")
    files = [jpeg(picture, subsampling=i % 3) for i, picture in enumerate(pictures)]
    # Whole by its head and its ends, with a scan of nine components.
    files[3] = files[3].replace(b"\xff\xda\x00\x0c\x03", b"\xff\xda\x00\x0c\x09", 1)
    boxes = [None, [10.0, 5.0, 70.0, 60.0], None, None, [0.0, 0.0, 30.0, 30.0]]
    jpegs = [plain_jpeg(data, box, **LIMITS) for data, box in zip(files, boxes, strict=True)]
    assert None not in jpegs
    decoded = decode_on_device(jpegs, inputs, device)  # type: ignore[arg-type]
    assert [images is None for images in decoded] == [False, False, False, True, False]
    for data, box, images in zip(files, boxes, decoded, strict=True):
        if images is None:
            continue
        crop = decode_crop(data, box, target=32, decode="full", **LIMITS)
        for image, (size, kind) in zip(images, inputs, strict=True):
            assert (image.shape, image.dtype) == ((size, size, 3), torch.uint8)
            assert image.device.type == torch.device(device).type
            change = np.abs(image.cpu().numpy().astype(int) - resize(crop.pixels, size, kind))
            # Decoders may differ by a level, and by a few where they smooth the colours differently.
            assert change.mean() < 1, (size, kind)
            assert np.percentile(change, 99) <= 6


def test_decode_on_device_agrees_with_full_decode() -> None:
    check_device_decode("cpu")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_nvjpeg_agrees_with_full_decode() -> None:
    pytest.importorskip("simplejpeg", reason="what the CPU decodes with is not installed")
    check_device("cuda")
    check_device_decode("cuda")


def test_device_memory_bounds_how_many_are_decoded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = []
    decode = device_decode._decode

    def spy(files: list[bytes], device: str) -> list[torch.Tensor]:
        sizes.append(len(files))
        return decode(files, device)

    monkeypatch.setattr(device_decode, "_decode", spy)
    monkeypatch.setattr(device_decode, "PIXELS_AT_ONCE", 2 * 100 * 80)
    files = [jpeg(smooth_picture(*size, 1)) for size in ((100, 80), (100, 80), (100, 80), (300, 200))]  # fmt: skip
    decoded = decode_on_device(
        [plain_jpeg(data, None, **LIMITS) for data in files],  # type: ignore[misc]
        [(16, "bicubic")],
        "cpu",
    )
    assert sizes == [2, 1, 1]
    assert len(decoded) == 4


def test_nvjpeg_is_refused_without_a_gpu() -> None:
    with pytest.raises(
        InputError, match=r"nvjpeg decodes on a CUDA device.*on cpu.*scaled or full"
    ):
        check_device("cpu")
