"""The parts of `gpu.py` that run networks; their weights are random, which costs the same."""

import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from PIL import Image

if TYPE_CHECKING:
    from reid.models import LoadedModel
    from tests.benchmarks.gpu import Bench

MODELS = ("tf_efficientnet_lite0", "vit_small_patch16_224")
TINY = "test_efficientnet"
THREADS = min(16, len(os.sched_getaffinity(0)))
COMPARED = 8  # images embedded on the CPU too
LEAST_COSINE = 0.98  # of a row in bfloat16 and one in float32


def random_model(name: str) -> "LoadedModel":
    import timm

    from reid.models import LoadedModel

    torch.manual_seed(0)
    network = timm.create_model(name, num_classes=0).eval().requires_grad_(False)
    mean = (0.5, 0.5, 0.5)
    return LoadedModel(
        name=name, module=network, architecture=name, input_size=network.default_cfg["input_size"][-1],
        dimension=network.num_features, mean=mean, std=mean, interpolation="bicubic", digest="0",
    )  # fmt: skip


def draw_photographs(folder: Path, n: int, side: tuple[int, int]) -> pa.Table:
    """Files of 2 megapixels, no two alike, and a row of the annotations for each."""
    rng = np.random.default_rng(0)
    bases = []
    for _ in range(8):
        coarse = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize(side, Image.Resampling.BICUBIC))
        noise = rng.integers(-8, 9, smooth.shape, dtype=np.int16)
        bases.append(np.clip(smooth + noise, 0, 255).astype(np.uint8))

    def draw(number: int) -> None:
        shifted = np.roll(bases[number % 8], 37 * number, axis=1)
        Image.fromarray(shifted).save(folder / f"{number:06}.jpg", quality=90)

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(draw, range(n)))
    names = [f"{number:06}.jpg" for number in range(n)]
    return pa.table({
        "annotation_id": names, "root": [str(folder)] * n, "image_path": names,
        "bbox": pa.nulls(n, pa.list_(pa.float32())), "bbox_unit": pa.nulls(n, pa.string()),
        "species": ["any"] * n, "source_key": pa.nulls(n, pa.string()),
    })  # fmt: skip


def embed(bench: "Bench") -> None:
    """Files to rows by each decoder that is there."""
    from reid.embedder import Embedder, embed_annotations
    from reid.images import resize

    n, side = bench.size(1024, 12), ((1632, 1224) if not bench.tiny else (320, 240))
    with tempfile.TemporaryDirectory() as folder:
        rows = draw_photographs(Path(folder), n, side)
        picture = np.asarray(Image.open(Path(folder) / "000000.jpg"))
        for name in MODELS if not bench.tiny else (TINY,):
            model = random_model(name)
            embedder = Embedder(
                [model], precision="bf16", device=bench.device, runtime="torch",
                batch_size=4 if bench.tiny else 256,
            )  # fmt: skip
            image = [resize(picture, model.input_size)]
            batch = [image] * embedder.batch_size

            def forward(embedder: Embedder = embedder, batch: list = batch) -> None:
                late: Callable[[], object] | None = None
                for _ in range(4):
                    begun = embedder.begin(batch)
                    if late:
                        late()
                    late = begun
                assert late is not None
                late()

            rate = 4 * len(batch) / bench.seconds(forward)
            bench.note(**{f"{name}, network alone": {"images_per_second": rate}})
            still = _without_network(embedder)
            if name in (MODELS[0], TINY):
                bench.note(decoding_images_per_second_by_threads={
                    threads: round(len(rows) / bench.seconds(
                        partial(embed_annotations, still, rows, threads=threads), runs=1, warm=0
                    ), 1) for threads in sorted({1, 4, THREADS})
                })  # fmt: skip
            for decode in ("scaled", "nvjpeg"):
                run = partial(embed_annotations, threads=THREADS, decode=decode)
                measure = partial(_embed_by, bench, run, rows, embedder, still, rate)
                bench.tried(f"{name}, {decode}", partial(measure, name, decode))


def _without_network(embedder: Any) -> Any:
    """What only decodes: as `Embedder` for `embed_annotations`."""
    rows = np.ones((embedder.batch_size, embedder.dimension), np.float32)
    return SimpleNamespace(
        batch_size=embedder.batch_size, dimension=embedder.dimension, device=embedder.device,
        inputs=embedder.inputs, largest_input=embedder.largest_input, prepare=embedder.prepare, tokens=None,
        begin=lambda batch: lambda: rows[: len(batch)],
    )  # fmt: skip


def _embed_by(
    bench: "Bench", run: Callable[..., Any], rows: pa.Table, embedder: Any, still: Any,
    forward: float, name: str, decode: str,
) -> None:  # fmt: skip
    from reid.embedder import Embedder

    if decode == "scaled":
        import simplejpeg  # noqa: F401
    found: list[Any] = []
    alone = len(rows) / bench.seconds(lambda: run(still, rows), runs=2)
    both = len(rows) / bench.seconds(lambda: found.append(run(embedder, rows)), runs=2)
    assert len(found[-1][0]) == len(rows), found[-1][1].slice(0, 3).to_pylist()
    key = f"{name}, {decode}"
    bench.note(**{key: {"images_per_second": both, "decoding_alone": alone}})
    share = both / min(alone, forward)
    bench.goal(f"{key}: over the slower of the two alone", share, 0.9, at_most=False)
    # Of a GPU's decoder the CPU's stand-in is libjpeg-turbo by the same function.
    exact = Embedder([random_model(name)], runtime="torch", batch_size=COMPARED)
    wanted, _ = run(exact, rows.slice(0, COMPARED))
    a, b = (np.array(t["embedding"].to_pylist()[:COMPARED]) for t in (found[-1][0], wanted))
    cosine = float((a * b).sum(1).min())
    bench.note(**{f"{key}, least cosine with the CPU's float32": cosine})
    assert cosine >= LEAST_COSINE, "rows differ from the CPU's"


def train(bench: "Bench") -> None:
    """Epochs of the trainer, against forward and backward of the same network on one batch."""
    import timm

    from reid.training import ClassTable, TrainSettings
    from reid.training.pixels import Pixels
    from reid.training.trainer import Trainer

    name = TINY if bench.tiny else MODELS[0]
    individuals, images = bench.size(64, 4), bench.size(64, 4)
    n = individuals * images
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        network = timm.create_model(name, num_classes=3)
        timm.models.save_for_hf(network, folder, safe_serialization=True)
        settings = TrainSettings(
            model=folder, input_size=bench.size(224, 32), identities=bench.size(32, 2),
            images=4 if not bench.tiny else 2, epochs=4, precision="bf16", ema_decay=0.99,
        )  # fmt: skip
        names = [f"individual {i % individuals}" for i in range(n)]
        classes = ClassTable.of(["any"] * n, names)
        codes, rows = classes.encode(["any"] * n, names), np.arange(n)
        losses = {}
        for device, precision in ((bench.device, "bf16"), (bench.device, "fp32"), ("cpu", "fp32")):
            chosen = settings.model_copy(update={"precision": precision})
            trainer = Trainer(chosen, classes, device=device)
            side = trainer.stored_size
            random = np.random.default_rng(0)
            stored = random.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
            ids = [{"annotation_id": f"a{i}", "image_path": f"{i}.jpg"} for i in range(n)]
            pixels = Pixels(ids, side, stored, [], lambda row: ("read", "not there"), THREADS)
            if precision == "bf16":
                trainer.train_epoch(0, pixels, rows, codes)
                bench.sync()
                start = time.perf_counter()
                done = [trainer.train_epoch(epoch, pixels, rows, codes) for epoch in (1, 2)]
                bench.sync()
                rate = sum(one.images for one in done) / (time.perf_counter() - start)
                bare = _bare_rate(bench, trainer, codes)
                bench.note(images_per_second=rate, network_alone=bare, loss=done[-1].loss)
                bench.goal("training over its network alone", rate / bare, 0.9, at_most=False)
            else:  # one batch, so that the CPU is soon done
                some = np.concatenate([np.flatnonzero(codes == code)[:2] for code in range(2)])
                losses[device] = trainer.train_epoch(0, pixels, some, codes[some]).loss
    bench.note(loss_of_first_batch=losses)
    values = list(losses.values())
    assert abs(values[0] - values[-1]) < 0.02 * values[-1], "the loss differs from the CPU's"


def _bare_rate(bench: "Bench", trainer: Any, codes: np.ndarray) -> float:
    batch = trainer.settings.identities * trainer.settings.images
    images = torch.randn(batch, 3, trainer.input_size, trainer.input_size, device=bench.device)
    targets = torch.from_numpy(codes[:batch]).to(bench.device)

    def step() -> None:
        trainer.optimizer.zero_grad(set_to_none=True)
        trainer.objective(images, targets).backward()
        trainer.optimizer.step()

    return batch / bench.seconds(step, runs=10, warm=3)


def pairs(bench: "Bench") -> None:
    """LightGlue, where its package is there; its confidences against the CPU's."""
    from reid.errors import MissingPackageError
    from reid.pairs.lightglue import load_lightglue

    count, points = bench.size(512, 2), bench.size(512, 40)
    rng = np.random.default_rng(0)
    size = np.array([512, 320], np.float32)

    def picture() -> Any:
        rows = rng.standard_normal((points, 128)).astype(np.float32)
        xy = rng.uniform(0, 1, (points, 2)).astype(np.float32) * size
        return xy, size, rows / np.linalg.norm(rows, axis=1, keepdims=True)

    try:
        match, used = load_lightglue(device=bench.device, runtime="torch", precision="fp32")
    except MissingPackageError as error:
        bench.note(skipped=str(error))
        return
    drawn = [(picture(), picture()) for _ in range(count)]
    took = bench.seconds(lambda: match(drawn), runs=1)
    bench.note(pairs_per_second=count / took, points=points, runtime=used)
    exact, _ = load_lightglue(runtime="torch")
    differ = max(
        float(np.abs(a - b).max()) for a, b in zip(match(drawn[:2]), exact(drawn[:2]), strict=True)
    )
    bench.note(largest_difference_of_a_confidence=differ)
    assert differ <= 1e-3, "confidences differ from the CPU's"
