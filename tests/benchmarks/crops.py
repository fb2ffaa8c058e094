"""Embeddings of random crops of real photographs: as many real rows as a benchmark wants.

    python tests/benchmarks/crops.py --images photos/ --n 20000 --out crops.npy

A crop is a square of a quarter to the whole of a photograph's shorter side, anywhere in it, embedded by the
ImageNet network that an installed package brings. Row i depends on the seed, i and the files' names alone.
"""

import argparse
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from reid.models import load_model

BATCH = 64


def crops(images: list[Path], first: int, last: int, pixels: int, seed: int) -> np.ndarray:
    """(last - first, d) float32 unit rows: those of crops `first` to `last`, each of any photograph."""
    model = load_model("efficientnet-lite0")
    network = model.module.to(memory_format=torch.channels_last)
    wanted = defaultdict(list)
    for i in range(first, last):
        wanted[int(np.random.default_rng([seed, i]).integers(len(images)))].append(i)
    rows = np.empty((last - first, model.dimension), np.float32)
    waiting: list[tuple[int, np.ndarray]] = []

    def embed() -> None:
        batch = np.stack([crop for _, crop in waiting]).astype(np.float32) / 127.5 - 1
        tensor = torch.from_numpy(batch).permute(0, 3, 1, 2)
        with torch.inference_mode():
            found = torch.nn.functional.normalize(network(tensor), dim=1).numpy()
        rows[[i - first for i, _ in waiting]] = found
        waiting.clear()

    for place, numbers in wanted.items():
        with Image.open(images[place]) as picture:
            picture.draft("RGB", (4 * pixels, 4 * pixels))
            whole = picture.convert("RGB")
        for i in numbers:
            random = np.random.default_rng([seed, i, 1])
            side = random.uniform(0.25, 1) * min(whole.size)
            left, top = random.uniform(0, 1, 2) * (np.asarray(whole.size) - side)
            box = (left, top, left + side, top + side)
            crop = whole.resize((pixels, pixels), Image.Resampling.BILINEAR, box)
            waiting.append((i, np.asarray(crop)))
            if len(waiting) == BATCH:
                embed()
    if waiting:
        embed()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--out", type=Path, required=True, help=".npy to write")
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--first", type=int, default=0, help="go on at this crop")
    parser.add_argument("--pixels", type=int, default=128, help="side of a crop")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    found = sorted(
        path for path in args.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg")
    )
    if not found:
        parser.error(f"{args.images}: no .jpg")
    np.save(args.out, crops(found, args.first, args.n, args.pixels, args.seed))


if __name__ == "__main__":
    main()
