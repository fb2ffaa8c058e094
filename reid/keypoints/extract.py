"""Annotations → keypoints: files are read, decoded and searched in threads."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid import schema, store
from reid.errors import ReidError, StorageDownError, in_plain_words
from reid.images import ImageError, decode_crop
from reid.keypoints.extractors import Extract, Keypoints
from reid.keypoints.recipe import KeypointRecipe

COLUMNS = ["annotation_id", "root", "image_path", "bbox", "bbox_unit", "species", "source_key"]


@dataclass(frozen=True, slots=True)
class _Found:
    row: Mapping[str, Any]
    keypoints: Keypoints
    width: int
    height: int
    scale: float


@dataclass(frozen=True, slots=True)
class _WithoutPoints:
    row: Mapping[str, Any]
    stage: str
    error: str


def extract_annotations(
    extract: Extract,
    recipe: KeypointRecipe,
    annotations: pa.Table,
    *,
    threads: int = 1,
    max_megapixels: float = 80,
    read: Callable[[str], bytes] = store.read_bytes,
) -> tuple[pa.Table, pa.Table]:
    """The keypoints of every annotation that has pixels, and why there are none for every other.

    Args:
        extract: of `load_extractor`.
        recipe: how pixels are made of the file.
        annotations: columns annotation_id, root, image_path, bbox, bbox_unit, species, source_key.
        threads: images at a time.
        max_megapixels: a larger image is refused.
        read: gives a file's bytes.

    Returns:
        Keypoints (schema.KEYPOINTS) and failures (schema.FAILURES): together one row for each
        annotation, in their order. A picture without any structure has a row of no keypoints.

    Raises:
        StorageDownError: the images' storage has been out of reach for long; an image is not to blame.
    """

    def find(row: Mapping[str, Any]) -> _Found | _WithoutPoints:
        path = store.join(row["root"], row["image_path"])
        try:
            data = read(path)
        except FileNotFoundError:
            return _WithoutPoints(row, "read", f"missing: {path}")
        except StorageDownError:
            raise
        except (OSError, ReidError) as error:
            return _WithoutPoints(row, "read", f"cannot be read: {in_plain_words(error)}")
        try:
            pixels, scale = window_pixels(
                data, row["bbox"], recipe, max_megapixels, bbox_unit=row["bbox_unit"]
            )
        except ImageError as error:
            return _WithoutPoints(row, "decode", str(error))
        # Whatever one image does to a decoder is that image's failure, and not the job's.
        except Exception as error:  # noqa: BLE001
            return _WithoutPoints(row, "decode", f"cannot be decoded: {in_plain_words(error)}")
        height, width = pixels.shape[:2]
        return _Found(row, extract(pixels), width, height, scale)

    rows = annotations.select(COLUMNS).to_pylist()
    with ThreadPoolExecutor(threads, thread_name_prefix="keypoints") as pool:
        items = list(pool.map(find, rows))
    found = [item for item in items if isinstance(item, _Found)]
    failed = [item for item in items if isinstance(item, _WithoutPoints)]
    return keypoints_table(found), _failures_table(failed)


def window_pixels(
    data: bytes,
    bbox: Sequence[float] | None,
    recipe: KeypointRecipe,
    max_megapixels: float,
    *,
    bbox_unit: str | None = None,
) -> tuple[NDArray[np.uint8], float]:
    """The window of an annotation at the recipe's size: (h, w, 3) uint8, and its scale.

    The scale is working pixels a source pixel: below 1 where the window was reduced, above 1 where
    the recipe lets a small one be enlarged.

    Raises:
        ImageError: there is no usable image in `data`; the message says why.
    """
    crop = decode_crop(
        data,
        bbox,
        bbox_unit=bbox_unit,
        target=recipe.long_side,
        decode="full",
        bbox_margin=recipe.bbox_margin,
        max_megapixels=max_megapixels,
        window=recipe.window,
    )
    height, width = crop.pixels.shape[:2]
    scale = recipe.long_side / max(height, width)
    if scale >= 1 and not recipe.enlarge:
        return crop.pixels, 1.0
    import torch
    from torchvision.transforms.v2 import functional as F

    size = [max(1, round(height * scale)), max(1, round(width * scale))]
    planes = torch.from_numpy(np.require(crop.pixels, requirements=["C", "W"])).permute(2, 0, 1)
    resized = F.resize(planes, size, antialias=True).permute(1, 2, 0)
    return np.ascontiguousarray(resized.numpy()), scale


def keypoints_table(found: Sequence[Any]) -> pa.Table:
    """schema.KEYPOINTS from rows with their keypoints and sizes."""
    points = [item.keypoints for item in found]
    columns = [
        pa.array([item.row["annotation_id"] for item in found], pa.string()),
        pa.array([item.row["species"] for item in found], pa.string()),
        pa.array([one.xy.ravel() for one in points], pa.list_(pa.float32())),
        pa.array([one.scores for one in points], pa.list_(pa.float32())),
        pa.array([one.descriptors.tobytes() for one in points], pa.binary()),
        pa.array([item.row["source_key"] for item in found], pa.string()),
        pa.array([item.width for item in found], pa.int32()),
        pa.array([item.height for item in found], pa.int32()),
        pa.array([item.scale for item in found], pa.float32()),
    ]
    return pa.Table.from_arrays(columns, schema=schema.KEYPOINTS)


def _failures_table(failed: Sequence[_WithoutPoints]) -> pa.Table:
    rows = [
        {
            "annotation_id": item.row["annotation_id"],
            "image_path": item.row["image_path"],
            "stage": item.stage,
            "error": item.error,
        }
        for item in failed
    ]
    return pa.Table.from_pylist(rows, schema=schema.FAILURES)
