"""Annotations to embeddings: files are read and decoded in threads, ahead of the model."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from reid import schema, store
from reid.embedder.device_decode import decode_on_device
from reid.embedder.ensemble import Embedder
from reid.embedder.file_decoder import Decoded, FailedRow, FileDecoder, Loaded, Row, Waiting
from reid.layout import Window
from reid.picture_hash import hash_with_box

# Batches decoded ahead of the one in the model: enough to hide a slow file, little enough to bound
# memory at a few hundred crops of the model's input size.
BATCHES_AHEAD = 2
# Whole files that wait for the device's decoder, and that it is given at once: enough to fill it, and
# little memory even for files of some megabytes.
FILES_AHEAD, FILES_AT_ONCE = 128, 32


def embed_annotations(
    embedder: Embedder,
    annotations: pa.Table,
    *,
    threads: int = 2,
    decode: Literal["scaled", "full", "nvjpeg"] = "scaled",
    bbox_margin: float = 0.0,
    max_megapixels: float = 80,
    min_crop_pixels: int = 1,
    window: Window | None = None,
    read: Callable[[str], bytes] = store.read_bytes,
) -> tuple[pa.Table, pa.Table]:
    """Embed every annotation that can be embedded, and say why for every other.

    Args:
        embedder: the loaded models, or one that gives its patch tokens.
        annotations: columns annotation_id, root, image_path, bbox, bbox_unit, species, source_key.
        threads: decoding threads.
        decode: `scaled` and `full` as in `reid.images.decode_crop`; `nvjpeg` decodes plain JPEGs on the
            embedder's device (see `device_decode.py`), and every other file in `full`.
        bbox_margin, max_megapixels, min_crop_pixels, window: see `reid.images.decode_crop`.
        read: gives a file's bytes.

    Returns:
        Embeddings (schema.embeddings; schema.patch_tokens where these are wanted) and failures (schema.FAILURES): together one row for each
        annotation, embeddings in the order of the annotations.

    Raises:
        StorageDownError: the images' storage has been out of reach for long; an image is not to blame.
    """
    decoder = FileDecoder(
        embedder, decode, bbox_margin, max_megapixels, min_crop_pixels, window, read
    )
    columns = ["annotation_id", "root", "image_path", "bbox", "bbox_unit", "species", "source_key"]
    rows = annotations.select(columns).to_pylist()
    frames: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        frames.setdefault((row["root"], row["image_path"]), []).append(row)
    results = _Results([], [])
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        ahead = FILES_AHEAD if decode == "nvjpeg" else BATCHES_AHEAD * embedder.batch_size
        loaded = _ahead(pool, decoder.load, list(frames.values()), ahead)
        results.embed(embedder, _decoded_on_device(loaded, embedder, decoder))
    place = {row["annotation_id"]: number for number, row in enumerate(rows)}
    results.done.sort(key=lambda item: place[item[0].row["annotation_id"]])
    results.failed.sort(key=lambda item: place[item.row["annotation_id"]])
    return _embeddings_table(results.done, embedder), _failures_table(results.failed)


def _ahead(
    pool: ThreadPoolExecutor,
    load: Callable[[Sequence[Row]], Sequence[Loaded]],
    frames: Sequence[Sequence[Row]],
    window: int,
) -> Iterator[Loaded]:
    """Results in order; frames with at most `window` annotations (or one) are decoded or under way."""
    waiting: deque[tuple[Future[Sequence[Loaded]], int]] = deque()
    under_way = 0
    try:
        for rows in frames:
            while waiting and under_way + len(rows) > window:
                yield from waiting[0][0].result()
                under_way -= waiting.popleft()[1]
            waiting.append((pool.submit(load, rows), len(rows)))
            under_way += len(rows)
        while waiting:
            yield from waiting.popleft()[0].result()
    finally:
        for future, _ in waiting:  # after an error nobody wants the others
            future.cancel()


def _decoded_on_device(
    items: Iterator[Loaded],
    embedder: Embedder,
    decoder: FileDecoder,
) -> Iterator[Decoded | FailedRow]:
    """Decode what waits for the device, in groups; the order stays."""
    while group := list(itertools.islice(items, FILES_AT_ONCE)):
        jpegs = [item.jpeg for item in group if isinstance(item, Waiting)]
        decoded = iter(decode_on_device(jpegs, embedder.inputs, embedder.device))
        for item in group:
            if not isinstance(item, Waiting):
                yield item
            elif (inputs := next(decoded)) is None:
                # The device refuses the file; the CPU's decoders say why, or read it after all.
                yield from decoder.here([item.row], item.jpeg.data)
            else:
                jpeg = item.jpeg
                left, top, right, bottom = jpeg.box
                hashed = hash_with_box(jpeg.digest, item.row["bbox"])
                yield Decoded(item.row, hashed, right - left, bottom - top, jpeg.taken, inputs)


@dataclass(frozen=True, slots=True)
class _Results:
    """What has become of the annotations so far."""

    done: list[tuple[Decoded, np.ndarray]]
    failed: list[FailedRow]

    def embed(self, embedder: Embedder, items: Iterator[Decoded | FailedRow]) -> None:
        """Embed batch by batch, one late: a GPU computes it while the next one is put together."""
        batch: list[Decoded] = []
        under_way: Callable[[], None] | None = None
        for item in items:
            if isinstance(item, FailedRow):
                self.failed.append(item)
                continue
            batch.append(item)
            if len(batch) == embedder.batch_size:
                begun = self._begin(embedder, batch)
                if under_way:
                    under_way()
                under_way, batch = begun, []
        if under_way:
            under_way()
        if batch:
            self._begin(embedder, batch)()

    def _begin(self, embedder: Embedder, batch: Sequence[Decoded]) -> Callable[[], None]:
        """Begin to embed; the function waits, and puts each row where it belongs."""
        rows = embedder.begin([item.inputs for item in batch])

        def finish() -> None:
            for item, vector in zip(batch, rows(), strict=True):
                if np.isfinite(vector).all():
                    self.done.append((item, vector))
                else:
                    reason = "the model gave no finite, non-zero features"
                    self.failed.append(FailedRow(item.row, "embed", reason))

        return finish


def _embeddings_table(done: Sequence[tuple[Decoded, np.ndarray]], embedder: Embedder) -> pa.Table:
    dimension, kind = embedder.dimension, np.float16 if embedder.tokens else np.float32
    made = schema.patch_tokens if embedder.tokens else schema.embeddings
    vectors = np.stack([vector for _, vector in done]) if done else np.zeros((0, dimension), kind)
    items = [item for item, _ in done]
    arrays = [
        pa.array([item.row["annotation_id"] for item in items], pa.string()),
        pa.array([item.row["species"] for item in items], pa.string()),
        # A plain Arrow type: polars and DuckDB do not know Ray's tensor extension.
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension),
        pa.array([item.content_hash for item in items], pa.string()),
        pa.array([item.row["source_key"] for item in items], pa.string()),
        pa.array([item.width for item in items], pa.int32()),
        pa.array([item.height for item in items], pa.int32()),
        pa.array([item.taken[0] for item in items], pa.timestamp("us")),
        pa.array([item.taken[1] for item in items], pa.int16()),
    ]
    return pa.Table.from_arrays(arrays, schema=made(dimension))


def _failures_table(failed: Sequence[FailedRow]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "annotation_id": item.row["annotation_id"],
                "image_path": item.row["image_path"],
                "stage": item.stage,
                "error": item.error,
            }
            for item in failed
        ],
        schema=schema.FAILURES,
    )
