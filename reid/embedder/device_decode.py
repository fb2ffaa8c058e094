"""JPEGs decoded in batches on the model's device: nvJPEG, through torchvision, on a GPU.

Threads read files and headers and say which files are plain; those are decoded, cropped and resized
on the device. Every other file, and one that the device's decoder refuses, goes the CPU's way.
"""

import datetime
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from reid.errors import InputError
from reid.exif import time_taken
from reid.image_files import check_size, is_jpeg, open_image
from reid.images import resize_planes
from reid.layout import Box, Window, lay_out
from reid.picture_hash import picture_digest

if TYPE_CHECKING:
    import torch

# Pixels decoded at once; at three bytes each they take 0.75 GiB of the device's memory.
PIXELS_AT_ONCE = 1 << 28
# A whole JPEG ends with this; behind it some cameras leave a little padding.
END_OF_IMAGE, PADDING_BYTES = b"\xff\xd9", 64


@dataclass(frozen=True, slots=True)
class PlainJpeg:
    """A file that any JPEG decoder turns into the same pixels.

    Attributes:
        data: the file.
        box: the annotation in it.
        pixels: of the whole image.
        digest: 16 bytes over what it shows, see `reid.picture_hash`.
        taken: when, and the camera's offset from UTC, see `reid.exif`.
    """

    data: bytes
    box: Box
    pixels: int
    digest: bytes
    taken: tuple[datetime.datetime | None, int | None]


def check_device(device: str) -> None:
    """Refuse a device that cannot decode JPEGs.

    Raises:
        InputError: it is not a CUDA device, or torchvision has no nvJPEG.
    """
    if not device.startswith("cuda"):
        raise InputError(
            f"images.decode: nvjpeg decodes on a CUDA device, and embedding runs on {device} (embed.device); "
            "use images.decode=scaled or full"
        )
    stream = io.BytesIO()
    Image.new("RGB", (16, 16)).save(stream, "JPEG")
    try:
        _decode([stream.getvalue()], device)
    except (RuntimeError, AttributeError) as error:
        raise InputError(
            f"images.decode: nvjpeg does not work on {device} with this torchvision "
            f"({str(error).partition(chr(10))[0]}); use images.decode=scaled or full"
        ) from error


def plain_jpeg(
    data: bytes,
    bbox: Sequence[float] | None,
    *,
    bbox_margin: float,
    max_megapixels: float,
    bbox_unit: str | None = None,
    min_crop_pixels: int = 1,
    window: Window | None = None,
    other: PlainJpeg | None = None,
) -> PlainJpeg | None:
    """The file, if the device may decode it.

    Args:
        data: the file.
        bbox, bbox_margin, max_megapixels, window: as in `reid.images.decode_crop`.
        other: an annotation of the same file, so that it need not be hashed again.

    Returns:
        None for other formats, CMYK, RGB that was stored without a colour transform, an EXIF
        orientation other than upright, and a file without its end.

    Raises:
        ImageError: there is no usable image in `data`; the message says why.
    """
    with open_image(data) as image:
        check_size(image, max_megapixels)
        if image.format != "JPEG" or not is_jpeg(image):
            return None
        layout = lay_out(
            image,
            bbox,
            bbox_unit=bbox_unit,
            bbox_margin=bbox_margin,
            max_megapixels=max_megapixels,
            min_crop_pixels=min_crop_pixels,
            window=window,
        )
        plain = (
            image.info.get("adobe_transform", 1) == 1
            and layout.orientation == 1
            # Decoders differ in what they do with half a file: some fill it up with grey.
            and END_OF_IMAGE in data[-PADDING_BYTES:]
        )
        if not plain:
            return None
        digest = other.digest if other else picture_digest(data, image, layout.orientation)
        taken = other.taken if other else time_taken(image)
    return PlainJpeg(data, layout.box, layout.width * layout.height, digest, taken)


def decode_on_device(
    jpegs: Sequence[PlainJpeg], inputs: Sequence[tuple[int, str]], device: str
) -> "list[list[torch.Tensor] | None]":
    """Decode, crop and resize.

    Args:
        jpegs: of any sizes.
        inputs: side in pixels and interpolation of each result, as `Embedder.inputs`.
        device: `cuda`, `cuda:<n>`; or `cpu`, where torchvision decodes with libjpeg-turbo.

    Returns:
        For each file one (size, size, 3) uint8 tensor on the device for each input; None where the
        decoder refuses the file.
    """
    results: list[list[torch.Tensor] | None] = []
    start = 0
    while start < len(jpegs):
        end, pixels = start + 1, jpegs[start].pixels
        while end < len(jpegs) and pixels + jpegs[end].pixels <= PIXELS_AT_ONCE:
            pixels += jpegs[end].pixels
            end += 1
        group = jpegs[start:end]
        files = {id(jpeg.data): jpeg.data for jpeg in group}  # with several annotations: once
        decoded = dict(zip(files, _decode_each(list(files.values()), device), strict=True))
        for jpeg in group:
            planes = decoded[id(jpeg.data)]
            if planes is None:
                results.append(None)
                continue
            left, top, right, bottom = jpeg.box
            crop = planes[:, top:bottom, left:right]
            results.append([resize_planes(crop, size, kind) for size, kind in inputs])
        start = end
    return results


def _decode_each(files: Sequence[bytes], device: str) -> "list[torch.Tensor | None]":
    """One refused file fails torchvision's whole batch: then they are decoded one by one."""
    import torch

    try:
        return list(_decode(files, device))
    except RuntimeError as error:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            raise
        if len(files) == 1:
            return [None]
    return [planes for data in files for planes in _decode_each([data], device)]


def _decode(files: Sequence[bytes], device: str) -> "list[torch.Tensor]":
    """(3, h, w) uint8 on the device for each file; RuntimeError where one cannot be decoded."""
    import torch
    import torchvision

    # A copy, because torch warns of arrays that may not be written, as bytes may not.
    tensors = [torch.from_numpy(np.frombuffer(data, np.uint8).copy()) for data in files]
    with warnings.catch_warnings():
        # Its successor, torchcodec, is not there for every torch that this package supports.
        warnings.simplefilter("ignore", DeprecationWarning)
        decoded: list[torch.Tensor] = torchvision.io.decode_jpeg(
            tensors, mode=torchvision.io.ImageReadMode.RGB, device=device
        )
    return decoded
