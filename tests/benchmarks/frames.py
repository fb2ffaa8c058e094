"""Frames with several animals: read, hashed and decoded once, against once for every box.

    python tests/benchmarks/frames.py --out frames.json

Each frame is a JPEG of 2 megapixels, each box a quarter of its width and height. Two threads, as an actor
has here; no network, whose time is the same on both sides. Both sides make the same pixels. Medians of
rounds that take turns.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

# Run as a script, so that the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from reid.images import decode_crop, open_frame, resize
from reid.picture_hash import file_hash, hash_with_box

SIZE, TARGET, THREADS = (1800, 1200), 224, 2
Box = list[float]


def write_frames(folder: Path, frames: int) -> list[Path]:
    files = []
    for number in range(frames):
        coarse = np.random.default_rng(number).integers(0, 256, (300, 450, 3), dtype=np.uint8)
        files.append(folder / f"{number}.jpg")
        Image.fromarray(coarse).resize(SIZE, Image.Resampling.BICUBIC).save(files[-1], quality=88)
    return files


def boxes_of(number: int, boxes: int) -> list[Box]:
    width, height = SIZE[0] / 4, SIZE[1] / 4
    places = np.random.default_rng(number).random((boxes, 2)) * (SIZE[0] * 0.75, SIZE[1] * 0.75)
    return [[float(x), float(y), width, height] for x, y in places]


def once_a_box(file: Path, boxes: list[Box]) -> list[np.ndarray]:
    crops = []
    for box in boxes:
        data = file.read_bytes()
        file_hash(data, box)
        crops.append(resize(decode_crop(data, box, target=TARGET).pixels, TARGET))
    return crops


def once_a_frame(file: Path, boxes: list[Box]) -> list[np.ndarray]:
    with open_frame(file.read_bytes(), target=TARGET) as frame:
        crops = []
        for box in boxes:
            hash_with_box(frame.digest, box)
            crops.append(resize(frame.crop(box).pixels, TARGET))
        return crops


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--frames", type=int, default=64)
    parser.add_argument("--boxes", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    sides: dict[str, Callable[[Path, list[Box]], list[np.ndarray]]] = {
        "once a box": once_a_box,
        "once a frame": once_a_frame,
    }
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(THREADS) as pool:
        files = write_frames(Path(folder), args.frames)
        boxes = [boxes_of(number, args.boxes) for number in range(len(files))]
        for first, second in zip(
            once_a_box(files[0], boxes[0]), once_a_frame(files[0], boxes[0]), strict=True
        ):
            assert np.array_equal(first, second)
        for _ in range(args.rounds):
            for name, side in sides.items():
                started = time.perf_counter()
                list(pool.map(side, files, boxes))
                seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    annotations = args.frames * args.boxes
    result = {
        "frames": args.frames,
        "boxes a frame": args.boxes,
        "boxes a second": {name: round(annotations / value, 1) for name, value in medians.items()},
        "ratio": round(medians["once a box"] / medians["once a frame"], 2),
    }
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
