"""Images a second of the embedding job, beside a bare loop and beside the notebook's way.

    python tests/benchmarks/embed.py --out embed.json
    python tests/benchmarks/embed.py --images photos/annotations.csv
    python tests/benchmarks/embed.py --drift --images photos/annotations.csv

Three ways over the same files, model and views, on the same machine, in alternation:

- `job`: `jobs.embed.embed_driver.embed` on a real local Ray. Timed from the moment when each model actor has
  written its first shard until the last shard is written, over the images of the shards between:
  Ray's and the models' start-up are out, reading, hashing, Parquet and Ray's own work are in.
- `bare`: a thread pool that decodes and one loop that embeds, in this process, with the decoder and
  the `Embedder` of the job; nothing is hashed or stored. The whole pass, the model warm.
- `notebook`: Pillow decode and bicubic resize in a torch DataLoader with two workers, the plain fp32
  network, the same views averaged. The whole pass, workers and model warm. On a share of the images.

A machine that does other things moves all three, so the ratios are taken within a repetition, and
their median over the repetitions. No figure is a test: nothing here fails.

`--drift` compares OpenVINO with torch, both fp32, on the images instead: the least cosine between the
two embeddings of one image, and the largest change of a distance between two images.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from PIL import Image
from torchvision.transforms import v2

from jobs.common.session import ray_session
from jobs.embed.embed_driver import embed
from jobs.embed.embed_places import MOST_CPUS_PER_WORKER
from reid import embeddings, store
from reid.config import Config
from reid.embedder import Embedder
from reid.images import decode_crop
from reid.manifest import read_annotations
from reid.models import LoadedModel, load_model

VIEWS = ("identity", "hflip")
NOTEBOOK_BATCH = 32
NOTEBOOK_WORKERS = 2
DRAWN = 768  # files
BASES = 12  # pictures drawn; the files are shifted and mirrored copies of them

Floats = npt.NDArray[np.float32]
Rows = list[dict[str, Any]]


def draw_picture(rng: np.random.Generator, width: int = 1632, height: int = 1224) -> npt.NDArray:
    """(height, width, 3) uint8: noise at every scale, as in a photograph of undergrowth."""
    total = np.full((height, width, 3), 118, np.float32)
    for cells, spread in ((4, 55), (16, 25), (64, 12), (256, 6)):
        coarse = rng.standard_normal((cells * 3 // 4, cells, 3)).astype(np.float32)
        for channel in range(3):
            layer = Image.fromarray(coarse[:, :, channel])
            total[:, :, channel] += spread * np.asarray(
                layer.resize((width, height), Image.Resampling.BICUBIC)
            )
    total += 4 * rng.standard_normal((height, width, 1)).astype(np.float32)
    return np.clip(total, 0, 255).astype(np.uint8)


def write_pictures(folder: Path, n: int, seed: int = 0) -> None:
    """`n` JPEGs of 2 megapixels and about half a megabyte."""
    rng = np.random.default_rng(seed)
    bases = [draw_picture(rng) for _ in range(min(BASES, n))]
    for i in range(n):
        shifted = np.roll(bases[i % len(bases)], rng.integers(0, 1000, 2), axis=(0, 1))
        if i // len(bases) % 2:
            shifted = shifted[:, ::-1]
        Image.fromarray(np.ascontiguousarray(shifted)).save(folder / f"{i:05}.jpg", quality=88)


def path_of(row: dict[str, Any]) -> str:
    return store.join(row["root"], row["image_path"])


def written(part: str) -> float:
    """Seconds since the epoch at which a file was complete."""
    return Path(part).stat().st_mtime_ns / 1e9


def run_job(
    annotations: pa.Table, model: str, device: str, workers: int
) -> tuple[float, dict[str, Any]]:
    """Images a second after start-up, and annotation id → embedding."""
    with tempfile.TemporaryDirectory() as folder:
        config = Config.model_validate(
            {
                "out": folder,
                "embed": {
                    "model": model, "tta": list(VIEWS), "device": device, "workers": workers,
                },
            }
        )  # fmt: skip
        summary, failures = embed(config, annotations)
        assert not len(failures), failures.to_pylist()[:3]
        (recipe_folder,) = set(summary.folders.values())
        # A shard is one part, written when it is done.
        parts = sorted(embeddings.parts(recipe_folder), key=written)
        if len(parts) <= workers:
            raise SystemExit(f"{len(annotations)} images are one shard a worker; give more")
        ended = [written(part) for part in parts]
        between = sum(len(store.read_table(part)) for part in parts[workers:])
        vectors = {
            row["annotation_id"]: np.asarray(row["embedding"], np.float32)
            for part in parts
            for row in store.read_table(part, ["annotation_id", "embedding"]).to_pylist()
        }
    return between / (ended[-1] - ended[workers - 1]), vectors


def run_bare(rows: Rows, embedder: Embedder, threads: int) -> tuple[float, Floats]:
    def load(row: dict[str, Any]) -> list[npt.NDArray]:
        data = Path(path_of(row)).read_bytes()
        return embedder.prepare(
            decode_crop(data, row["bbox"], target=embedder.largest_input).pixels
        )

    found = []
    torch.set_num_threads(1 if embedder.runtime == "openvino" else threads)  # as the job does
    started = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        loaded = pool.map(load, rows)
        while batch := list(itertools.islice(loaded, embedder.batch_size)):
            found.append(embedder.embed(batch))
    return len(rows) / (time.perf_counter() - started), np.concatenate(found)


class Photographs(torch.utils.data.Dataset[torch.Tensor]):
    """What a notebook writes: open, crop, resize, normalise, one image after another."""

    def __init__(self, rows: Rows, model: LoadedModel) -> None:
        self.rows = rows
        self.transform = v2.Compose(
            [
                v2.Resize((model.input_size, model.input_size), v2.InterpolationMode.BICUBIC),
                v2.ToImage(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(model.mean, model.std),
            ]
        )

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> torch.Tensor:
        row = self.rows[index]
        image = Image.open(path_of(row)).convert("RGB")
        if row["bbox"] is not None:
            x, y, w, h = row["bbox"]
            image = image.crop((round(x), round(y), round(x + w), round(y + h)))
        pixels: torch.Tensor = self.transform(image)
        return pixels


class Notebook:
    """The loader with its workers, and the network, kept from one repetition to the next."""

    def __init__(self, rows: Rows, model: LoadedModel, device: str) -> None:
        self.n = len(rows)
        self.device = device
        self.network = model.module.to(device)
        self.batches: list[list[int]] = [list(range(min(4, self.n)))] * NOTEBOOK_WORKERS
        self.loader = torch.utils.data.DataLoader(
            Photographs(rows, model),
            batch_sampler=self.batches,
            num_workers=NOTEBOOK_WORKERS,
            persistent_workers=True,
            # A fork would copy the locks of Ray's and OpenVINO's threads.
            multiprocessing_context="spawn",
        )
        self.forward_all()
        self.batches[:] = [
            list(range(start, min(start + NOTEBOOK_BATCH, self.n)))
            for start in range(0, self.n, NOTEBOOK_BATCH)
        ]

    @torch.no_grad()
    def forward_all(self) -> Floats:
        unit = torch.nn.functional.normalize
        found = []
        for batch in self.loader:
            pixels = batch.to(self.device)
            views = [unit(self.network(view)) for view in (pixels, pixels.flip(3))]
            found.append(unit(torch.stack(views).mean(0)).cpu())
        return torch.cat(found).numpy()

    def run(self) -> tuple[float, Floats]:
        torch.set_num_threads(len(os.sched_getaffinity(0)))
        started = time.perf_counter()
        rows = self.forward_all()
        return self.n / (time.perf_counter() - started), rows


def cosine_summary(a: Floats, b: Floats) -> dict[str, float]:
    cosine = (a * b).sum(1)
    return {"min": float(cosine.min()), "p5": float(np.percentile(cosine, 5))}


def measure_speed(
    annotations: pa.Table, *, model: str, device: str, repeats: int, notebook_images: int
) -> dict[str, Any]:
    rows: Rows = annotations.to_pylist()
    cores = len(os.sched_getaffinity(0))
    workers = (
        torch.cuda.device_count()
        if device.startswith("cuda")
        else max(1, cores // min(cores, MOST_CPUS_PER_WORKER))
    )
    rates: dict[str, list[float]] = {"job": [], "bare": [], "notebook": []}
    with ray_session(None):
        embedder = Embedder([load_model(model)], views=VIEWS, device=device, threads=cores)
        run_bare(rows[: 2 * embedder.batch_size], embedder, cores)
        notebook = Notebook(rows[:notebook_images], load_model(model), device)
        for repeat in range(repeats):
            ways = ["bare", "job", "notebook"]
            for way in ways if repeat % 2 == 0 else reversed(ways):
                if way == "job":
                    rate, by_id = run_job(annotations, model, device, workers)
                elif way == "bare":
                    rate, bare_rows = run_bare(rows, embedder, cores)
                else:
                    rate, notebook_rows = notebook.run()
                rates[way].append(round(rate, 1))
                print(f"{repeat + 1}/{repeats} {way:9} {rate:7.1f} images/s", flush=True)
    job_rows = np.stack([by_id[row["annotation_id"]] for row in rows])

    def ratio(peer: str) -> float:
        pairs = zip(rates["job"], rates[peer], strict=True)
        return round(statistics.median(job / other for job, other in pairs), 3)

    return {
        "images": len(rows),
        "notebook_images": len(notebook_rows),
        "views": list(VIEWS),
        "runtime": embedder.runtime,
        "batch_size": embedder.batch_size,
        "threads": cores,
        "job_workers": workers,
        "images_per_second": {
            way: {"median": statistics.median(found), "each": found} for way, found in rates.items()
        },
        "job_over_bare": {"ratio": ratio("bare"), "goal": 0.9},
        "job_over_notebook": {"ratio": ratio("notebook"), "goal": 4.0},
        "cosine_job_notebook": cosine_summary(job_rows[: len(notebook_rows)], notebook_rows),
        "cosine_job_bare": cosine_summary(job_rows, bare_rows),
    }


def measure_drift(annotations: pa.Table, *, model: str) -> dict[str, Any]:
    """OpenVINO against torch, fp32 and bf16, on the same pixels."""
    rows: Rows = annotations.to_pylist()
    threads = len(os.sched_getaffinity(0))
    found = {
        (runtime, precision): run_bare(
            rows,
            Embedder(
                [load_model(model)], views=VIEWS, runtime=runtime, precision=precision, threads=threads,
            ),
            threads,
        )[1]
        for runtime, precision in (("torch", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"))
    }  # fmt: skip
    exact = found.pop(("torch", "fp32")).astype(np.float64)
    result: dict[str, Any] = {"images": len(rows), "against": "torch fp32"}
    for (runtime, precision), vectors in found.items():
        change = np.abs(vectors.astype(np.float64) @ vectors.T - exact @ exact.T)
        result[f"{runtime} {precision}"] = {
            "least_cosine": float((vectors * exact).sum(1).min()),
            "largest_distance_change": float(change.max()),
            "median_distance_change": float(np.median(change)),
        }
    return result


def machine() -> dict[str, Any]:
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(": ")[1] for line in lines if line.startswith("model name")), cpu)
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    versions: dict[str, str | None] = {}
    for package in ("torch", "torchvision", "ray", "openvino"):
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "gpus": gpus,
        "load_average_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **versions,
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--images", help="folder, CSV or Parquet; default: drawn for the occasion")
    parser.add_argument("--n", type=int, help=f"images at most; default: all, or {DRAWN} drawn")
    parser.add_argument("--notebook-images", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--model", default="efficientnet-lite0")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument(
        "--drift", action="store_true", help="compare OpenVINO's embeddings instead"
    )
    parser.add_argument("--out", help="JSON file for the figures")
    given = parser.parse_args(argv)
    result: dict[str, Any] = {"machine": machine(), "model": given.model, "images_from": "drawn"}
    with tempfile.TemporaryDirectory() as folder:
        if given.images:
            result["images_from"] = Path(given.images).name
        else:
            write_pictures(Path(folder), given.n or DRAWN)
        annotations, _ = read_annotations([given.images or folder], species="any")
        annotations = annotations[: given.n or len(annotations)]
        if given.drift:
            result["drift"] = measure_drift(annotations, model=given.model)
        else:
            result["speed"] = measure_speed(
                annotations,
                model=given.model,
                device=given.device,
                repeats=given.repeats,
                notebook_images=given.notebook_images,
            )
    text = json.dumps(result, indent=2)
    print(text)
    if given.out:
        Path(given.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
