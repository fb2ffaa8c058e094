"""Embeddings of rows of pixels, by a network in training."""

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from reid.training.augment import prepare
from reid.training.gradients import Objective
from reid.training.loader import read_ahead
from reid.training.network import Start
from reid.training.pixels import Pixels

BATCH = 64


def embed_rows(
    objective: Objective,
    start: Start,
    pixels: Pixels,
    rows: NDArray[np.int64],
    *,
    hflip: bool,
    device: str,
) -> NDArray[np.float32]:
    """Embed rows.

    Args:
        objective: holds the network, in evaluation mode, on the device.
        start: how images become its input.
        pixels: of all annotations.
        rows: (n,) int64.
        hflip: average with the mirror image.
        device: `cpu`, `cuda` or `cuda:<n>`.

    Returns:
        (n, d) float32, unit rows; NaN where a row has no usable image.
    """
    parts = [np.empty((0, objective.network.dimension), np.float32)]
    batches = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
    with torch.inference_mode():
        for batch, good in read_ahead(pixels, batches, device):
            images = prepare(batch, size=start.input_size, mean=start.mean, std=start.std)
            found = F.normalize(objective.embed(images))
            if hflip:
                found = F.normalize(found + F.normalize(objective.embed(images.flip(3))))
            found[torch.from_numpy(~good).to(device)] = torch.nan
            parts.append(found.cpu().numpy())
    return np.concatenate(parts)
