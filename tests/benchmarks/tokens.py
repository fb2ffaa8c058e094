"""Patch tokens of 1,000 images: seconds, and memory that does not grow with their number.

    python tests/benchmarks/tokens.py --out tokens.json

A ViT-Ti/16 (5.5 million weights, random) on made-up JPEGs of 320 × 240: 14 × 14 × 192 tokens an image. Each of
three steps runs in a process of its own, and its largest memory is that process's: storing tokens
(`reid embed embed.pool=foreground`, interrupted by nothing), then finding the foreground and pooling again from
what is stored, over all images and over a quarter of them. Beside it the same from one array in memory, by
scikit-learn's PCA, as a peer.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import timm
import torch
from PIL import Image
from sklearn.decomposition import PCA

sys.path.insert(0, str(Path(__file__).parents[2]))

from jobs.common import outputs
from jobs.run import run_embed
from reid import embeddings, store
from reid.config import load_config
from reid.pooled_tokens import foreground_of, foreground_path, pool_stored, read_grid
from tests.benchmarks.machine import instruction_set

ARCHITECTURE = "vit_tiny_patch16_224"


def make(place: Path, images: int) -> None:
    """Pictures of coloured tiles, each another, and a model with random weights."""
    (place / "images").mkdir(parents=True)
    for number in range(images):
        tiles = np.random.default_rng(number).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        tiles[3:9, 4:12] //= 3  # something dark in the middle
        picture = Image.fromarray(np.kron(tiles, np.ones((20, 20, 1), np.uint8)))
        picture.save(place / f"images/{number:05d}.jpg")
    torch.manual_seed(0)
    network = timm.create_model(ARCHITECTURE, num_classes=2)
    timm.models.save_for_hf(network, str(place / "model"), safe_serialization=True)


def store_tokens(place: Path) -> None:
    flags = {"input": [str(place / "images")], "out": str(place / "out"), "species": "tiles"}
    options = [f"embed.model={place / 'model'}", "embed.pool=foreground", "embed.ray=never"]
    run_embed(load_config(None, options, flags))


def pool(place: Path, share: float) -> int:
    """Find the foreground of some of the images, and pool them, from stored tokens; how many."""
    out = str(place / "out")
    folder = outputs.read_token_folders(out)["tiles"]
    rows = store.read_table(str(place / "out" / outputs.ANNOTATIONS))
    rows = rows[: round(len(rows) * share)]
    store.remove(foreground_path(folder, "tiles"))
    axes = foreground_of(folder, "tiles", rows["annotation_id"].combine_chunks()).axes
    pooled = str(place / f"pooled-{share}")
    made, failed = pool_stored(folder, pooled, rows, axes, weights="hard", threshold=0.0)
    assert made + len(failed) == len(rows)
    return made


def in_memory(place: Path) -> int:
    """The same, of one array, by a peer."""
    out = str(place / "out")
    folder = outputs.read_token_folders(out)["tiles"]
    side, width = read_grid(folder)
    parts = embeddings.parts(folder)
    columns = [store.read_table(path)["tokens"].combine_chunks() for path in parts]
    tokens = np.concatenate([pc.list_flatten(one).to_numpy() for one in columns])
    flat = tokens.reshape(-1, width).astype(np.float32)
    first = PCA(3, svd_solver="covariance_eigh").fit_transform(flat)[:, 0]
    weights = (first > 0).astype(np.float32).reshape(-1, side**2)
    pooled = np.einsum("np,npd->nd", weights, flat.reshape(-1, side**2, width))
    return len(pooled)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step(name: str, place: Path) -> dict[str, Any]:
    """One step in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--step", name, "--place", str(place)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(
        f"{name:<12}{found['seconds']:8.1f} s, {found['peak_mb']:,.0f} MB (begun with {found['begun_mb']:,.0f})"
    )
    return found


def run_step(name: str, place: Path) -> None:
    begun, started = peak_mb(), time.perf_counter()
    if name == "store":
        store_tokens(place)
    elif name == "in memory":
        in_memory(place)
    else:
        pool(place, 1.0 if name == "pool" else 0.25)
    result = {"seconds": time.perf_counter() - started, "begun_mb": begun, "peak_mb": peak_mb()}
    print(json.dumps(result))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--images", type=int, default=1_000)
    parser.add_argument("--out", type=Path, help="also write the figures here")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("--place", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.step:
        run_step(arguments.step, arguments.place)
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        make(place, arguments.images)
        steps = {name: step(name, place) for name in ("store", "pool", "pool quarter", "in memory")}
        tokens = outputs.read_token_folders(str(place / "out"))["tiles"]
        side, width = read_grid(tokens)
        stored = sum(Path(path).stat().st_size for path in embeddings.parts(tokens))
    result = {
        "machine": instruction_set(),
        "images": arguments.images,
        "tokens": [side, side, width],
        "stored_mb": stored / 1e6,
        "as_float32_mb": 4 * side**2 * width * arguments.images / 1e6,
        "steps": steps,
    }
    print(f"stored {result['stored_mb']:.0f} MB; as float32 {result['as_float32_mb']:.0f} MB")
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
