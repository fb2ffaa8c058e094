"""Pictures of annotations, for the pages."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from PIL import Image

from reid import store
from reid.config import Images
from reid.images import decode_crop


def crops(images: Images, rows: pd.DataFrame, least_px: int) -> Callable[[int], Image.Image]:
    """A function from a row number to the picture of that row.

    Args:
        images: how images are read.
        rows: root, image_path, bbox and bbox_unit of annotations.
        least_px: to this side a picture may be reduced while it is decoded, no further.
    """
    columns = ("root", "image_path", "bbox", "bbox_unit")
    roots, paths, boxes, units = (rows[name].tolist() for name in columns)

    def crop(index: int) -> Image.Image:
        found = decode_crop(
            store.read_bytes(store.join(roots[index], paths[index])),
            boxes[index],
            target=least_px,
            bbox_unit=units[index],
            bbox_margin=images.bbox_margin,
            max_megapixels=images.max_megapixels,
        )
        return Image.fromarray(np.ascontiguousarray(found.pixels))

    return crop
