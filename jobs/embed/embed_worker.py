"""The actor of the embedding job: reads a shard's rows, embeds their images, writes one part.

An image on which a decoder crashes would kill worker after worker. Each attempt at a shard leaves a
note; after a few, the shard's images are first decoded in a child process, and those that kill it
become failures.
"""

from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import pyarrow as pa

from reid import embeddings, schema, store
from reid.config import Images
from reid.embedder import Embedder, Recipe, embed_annotations
from reid.embedder.device_decode import check_device
from reid.embedder.ensemble import TOKENS
from reid.errors import StorageError
from reid.images import ImageError, decode_crop
from reid.models import LoadedModel, load_model

ISOLATE_AT_ATTEMPT = 3  # by then it is hardly chance that the worker dies
GIVE_UP_AT_ATTEMPT = 8


@dataclass(frozen=True)
class EmbedTask:
    """What an actor needs to know; travels once to each."""

    models: tuple[str, ...]
    trust_remote_code: bool
    revision: str | None
    recipe: Recipe
    folder: str
    work: str
    device: str
    runtime: str
    batch_size: int | None
    threads: int
    images: Images


class EmbedWorker:
    """An actor: holds the models, embeds one shard a call."""

    def __init__(self, task: EmbedTask, models: Sequence[LoadedModel] | None = None) -> None:
        """Load the models onto this worker's device; or take those that are loaded already."""
        import torch

        torch.set_num_threads(task.threads)
        device = task.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        elif device.startswith("cuda"):
            device = "cuda"  # Ray gives each actor one GPU, which it sees as the first
        if task.images.decode == "nvjpeg":
            check_device(device)
        self.task = task
        self.embedder = Embedder(
            models
            or [
                load_model(name, trust_remote_code=task.trust_remote_code, revision=task.revision)
                for name in task.models
            ],
            model_weights=task.recipe.model_weights,
            views=task.recipe.views,
            precision=task.recipe.precision,  # type: ignore[arg-type]
            device=device,
            runtime=task.runtime,  # type: ignore[arg-type]
            threads=task.threads,
            batch_size=task.batch_size,
            tokens=task.recipe.pool == TOKENS,
        )
        if self.embedder.runtime == "openvino":
            # It has its own threads; torch's would only spin between small operations.
            torch.set_num_threads(1)

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Embed the shards numbered in `batch["id"]`, write their parts, return the counts."""
        counts: dict[str, list[Any]] = defaultdict(list)
        for shard in batch["id"]:
            embedded, failed = self._shard(int(shard))
            for name, value in (
                ("embedded", embedded),
                ("failed", failed),
                ("runtime", f"{self.embedder.device}: {self.embedder.runtime}"),
            ):
                counts[name].append(value)
        return {name: np.asarray(values) for name, values in counts.items()}

    def _shard(self, shard: int) -> tuple[int, int]:
        rows = store.read_row_group(store.join(self.task.work, "pending.parquet"), shard)
        # Of all rows, the deadly included: shards of which nothing is left still differ in name.
        digest = embeddings.part_digest(rows["annotation_id"].to_pylist())
        attempt = _count_attempt(self.task.work, shard)
        failures = [schema.FAILURES.empty_table()]
        if attempt >= GIVE_UP_AT_ATTEMPT:
            failures.append(
                _all_failed(rows, f"the worker died {attempt - 1} times over this shard")
            )
            rows = rows[:0]
        elif attempt >= ISOLATE_AT_ATTEMPT:
            rows, deadly = _without_deadly(rows, self.task.images, self.embedder.largest_input)
            failures.append(deadly)
        images = self.task.images
        table, failed = embed_annotations(
            self.embedder,
            rows,
            threads=self.task.threads,
            decode=images.decode,
            bbox_margin=images.bbox_margin,
            max_megapixels=images.max_megapixels,
            window=self.task.recipe.window,
            min_crop_pixels=images.min_crop_pixels,
        )
        failures.append(failed)
        all_failed = pa.concat_tables(failures)
        # Failures first: an embedding that is stored must never lack its shard's failures.
        failures_path = store.join(self.task.work, f"failed-{digest}.parquet")
        if not len(all_failed):
            store.remove(failures_path)  # of an earlier attempt, which had less luck
        else:
            store.write_table(failures_path, all_failed)
        if len(table):
            embeddings.write_part(embeddings.part_path(self.task.folder, digest), table)
        return len(table), len(all_failed)


def _count_attempt(work: str, shard: int) -> int:
    """Note that this shard is begun; 1 for the first time. Workers that die leave their note."""
    attempt = 1
    while store.exists(store.join(work, f"begun-{shard}-{attempt}")):
        attempt += 1
    store.write_bytes(store.join(work, f"begun-{shard}-{attempt}"), b"")
    return attempt


def _all_failed(rows: pa.Table, error: str) -> pa.Table:
    return pa.Table.from_arrays(
        [
            rows["annotation_id"].combine_chunks(),
            rows["image_path"].combine_chunks(),
            pa.array(["embed"] * len(rows), pa.string()),
            pa.array([error] * len(rows), pa.string()),
        ],
        schema=schema.FAILURES,
    )


def _without_deadly(rows: pa.Table, images: Images, target: int) -> tuple[pa.Table, pa.Table]:
    """Decode each image in a child process first: one that kills the child is a failure.

    Without this, an image on which a decoder crashes would kill worker after worker for ever.
    """
    deadly: list[int] = []
    pool: ProcessPoolExecutor | None = None
    for index, row in enumerate(
        rows.select(["root", "image_path", "bbox", "bbox_unit"]).to_pylist()
    ):
        pool = pool or ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        try:
            pool.submit(_decode_once, row, images, target).result()
        except BrokenProcessPool:
            deadly.append(index)
            pool.shutdown()
            pool = None
    if pool:
        pool.shutdown()
    mask = np.isin(np.arange(len(rows)), deadly)
    failed = _all_failed(rows.filter(pa.array(mask)), "the decoder crashes on this image")
    return rows.filter(pa.array(~mask)), failed


def _decode_once(row: dict[str, Any], images: Images, target: int) -> None:
    """Only whether the process survives matters; an ordinary error is found again later."""
    try:
        decode_crop(
            store.read_bytes(store.join(row["root"], row["image_path"])),
            row["bbox"],
            target=target,
            bbox_unit=row["bbox_unit"],
            decode="full" if images.decode == "nvjpeg" else images.decode,
            bbox_margin=images.bbox_margin,
            max_megapixels=images.max_megapixels,
        )
    except (OSError, StorageError, ImageError):
        return
