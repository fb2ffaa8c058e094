"""Annotations to embeddings: files are read and decoded in threads, ahead of the model."""

import hashlib
import itertools
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from reid import schema, store
from reid.embedder.device_decode import PlainJpeg, decode_on_device, plain_jpeg
from reid.embedder.embed import Embedder
from reid.errors import ReidError, StorageDownError
from reid.images import ImageError, Window, decode_crop

if TYPE_CHECKING:
    import torch

# Batches decoded ahead of the one in the model: enough to hide a slow file, little enough to bound
# memory at a few hundred crops of the model's input size.
BATCHES_AHEAD = 2
# Whole files that wait for the device's decoder, and that it is given at once: enough to fill it, and
# little memory even for files of some megabytes.
FILES_AHEAD, FILES_AT_ONCE = 128, 32


@dataclass(frozen=True, slots=True)
class _Decoded:
    row: Mapping[str, Any]
    content_hash: str
    width: int
    height: int
    inputs: "list[np.ndarray] | list[torch.Tensor]"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Read, and to be decoded on the device."""

    row: Mapping[str, Any]
    content_hash: str
    jpeg: PlainJpeg


@dataclass(frozen=True, slots=True)
class _Failed:
    row: Mapping[str, Any]
    stage: str
    error: str


_Loaded = _Decoded | _Waiting | _Failed


def content_hash(data: bytes, bbox: Sequence[float] | None) -> str:
    """32 hex digits over a file's bytes and the box: equal for exact duplicates."""
    digest = hashlib.blake2b(data, digest_size=16)
    digest.update(repr(None if bbox is None else [float(value) for value in bbox]).encode())
    return digest.hexdigest()


def embed_annotations(
    embedder: Embedder,
    annotations: pa.Table,
    *,
    threads: int = 2,
    decode: Literal["scaled", "full", "nvjpeg"] = "scaled",
    bbox_margin: float = 0.0,
    max_megapixels: float = 80,
    window: Window | None = None,
    read: Callable[[str], bytes] = store.read_bytes,
) -> tuple[pa.Table, pa.Table]:
    """Embed every annotation that can be embedded, and say why for every other.

    Args:
        embedder: the loaded models.
        annotations: columns annotation_id, root, image_path, bbox, species, source_key.
        threads: decoding threads.
        decode: `scaled` and `full` as in `reid.images.decode_crop`; `nvjpeg` decodes plain JPEGs on the
            embedder's device (see `device_decode.py`), and every other file in `full`.
        bbox_margin, max_megapixels, window: see `reid.images.decode_crop`.
        read: gives a file's bytes.

    Returns:
        Embeddings (schema.embeddings) and failures (schema.FAILURES): together one row for each
        annotation, embeddings in the order of the annotations.

    Raises:
        StorageDownError: the images' storage has been out of reach for long; an image is not to blame.
    """

    def load(row: Mapping[str, Any]) -> _Decoded | _Waiting | _Failed:
        path = store.join(row["root"], row["image_path"])
        try:
            data = read(path)
        except FileNotFoundError:
            return _Failed(row, "read", f"missing: {path}")
        except StorageDownError:
            raise  # every image would fail like this one, and none of them is bad
        except (OSError, ReidError) as error:  # the latter: no such kind of storage
            return _Failed(row, "read", f"cannot be read: {error}")
        if decode == "nvjpeg":
            try:
                jpeg = plain_jpeg(
                    data,
                    row["bbox"],
                    bbox_margin=bbox_margin,
                    max_megapixels=max_megapixels,
                    window=window,
                )
            except ImageError as error:
                return _Failed(row, "decode", str(error))
            if jpeg is not None:
                return _Waiting(row, content_hash(data, row["bbox"]), jpeg)
        return decode_here(row, data)

    def decode_here(row: Mapping[str, Any], data: bytes) -> _Decoded | _Failed:
        try:
            crop = decode_crop(
                data,
                row["bbox"],
                target=embedder.largest_input,
                decode="full" if decode == "nvjpeg" else decode,
                bbox_margin=bbox_margin,
                max_megapixels=max_megapixels,
                window=window,
            )
            inputs = embedder.prepare(crop.pixels)
        except ImageError as error:
            return _Failed(row, "decode", str(error))
        return _Decoded(row, content_hash(data, row["bbox"]), crop.width, crop.height, inputs)

    columns = ["annotation_id", "root", "image_path", "bbox", "species", "source_key"]
    rows = annotations.select(columns).to_pylist()
    done: list[tuple[_Decoded, np.ndarray]] = []
    failed: list[_Failed] = []
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        batch: list[_Decoded] = []
        ahead = BATCHES_AHEAD * embedder.batch_size
        loaded = _ahead(pool, load, rows, FILES_AHEAD if decode == "nvjpeg" else ahead)
        for item in _decoded_on_device(loaded, embedder, decode_here):
            if isinstance(item, _Failed):
                failed.append(item)
                continue
            batch.append(item)
            if len(batch) == embedder.batch_size:
                _embed_batch(embedder, batch, done, failed)
                batch = []
        if batch:
            _embed_batch(embedder, batch, done, failed)
    return _embeddings_table(done, embedder.dimension), _failures_table(failed)


def _ahead(
    pool: ThreadPoolExecutor,
    load: Callable[[Mapping[str, Any]], _Loaded],
    rows: Sequence[Mapping[str, Any]],
    window: int,
) -> Iterator[_Loaded]:
    """Results in order, with at most `window` of them decoded or under way."""
    waiting: deque[Future[_Loaded]] = deque()
    try:
        for row in rows:
            if len(waiting) >= window:
                yield waiting.popleft().result()
            waiting.append(pool.submit(load, row))
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:  # after an error nobody wants the others
            future.cancel()


def _decoded_on_device(
    items: Iterator[_Loaded],
    embedder: Embedder,
    decode_here: Callable[[Mapping[str, Any], bytes], _Decoded | _Failed],
) -> Iterator[_Decoded | _Failed]:
    """Decode what waits for the device, in groups; the order stays."""
    while group := list(itertools.islice(items, FILES_AT_ONCE)):
        jpegs = [item.jpeg for item in group if isinstance(item, _Waiting)]
        decoded = iter(decode_on_device(jpegs, embedder.inputs, embedder.device))
        for item in group:
            if not isinstance(item, _Waiting):
                yield item
            elif (inputs := next(decoded)) is None:
                # The device refuses the file; the CPU's decoders say why, or read it after all.
                yield decode_here(item.row, item.jpeg.data)
            else:
                left, top, right, bottom = item.jpeg.box
                yield _Decoded(item.row, item.content_hash, right - left, bottom - top, inputs)


def _embed_batch(
    embedder: Embedder,
    batch: Sequence[_Decoded],
    done: list[tuple[_Decoded, np.ndarray]],
    failed: list[_Failed],
) -> None:
    vectors = embedder.embed([item.inputs for item in batch])
    for item, vector in zip(batch, vectors, strict=True):
        if np.isfinite(vector).all():
            done.append((item, vector))
        else:
            failed.append(_Failed(item.row, "embed", "the model gave no finite, non-zero features"))


def _embeddings_table(done: Sequence[tuple[_Decoded, np.ndarray]], dimension: int) -> pa.Table:
    vectors = (
        np.stack([vector for _, vector in done]) if done else np.zeros((0, dimension), np.float32)
    )
    items = [item for item, _ in done]
    arrays = [
        pa.array([item.row["annotation_id"] for item in items], pa.string()),
        pa.array([item.row["species"] for item in items], pa.string()),
        # A plain Arrow type: polars and DuckDB do not know Ray's tensor extension.
        pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel(), pa.float32()), dimension),
        pa.array([item.content_hash for item in items], pa.string()),
        pa.array([item.row["source_key"] for item in items], pa.string()),
        pa.array([item.width for item in items], pa.int32()),
        pa.array([item.height for item in items], pa.int32()),
    ]
    return pa.Table.from_arrays(arrays, schema=schema.embeddings(dimension))


def _failures_table(failed: Sequence[_Failed]) -> pa.Table:
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
