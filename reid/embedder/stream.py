"""Annotations to embeddings: files are read and decoded in threads, ahead of the model."""

import datetime
import itertools
import logging
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa

from reid import schema, store
from reid.embedder.device_decode import PlainJpeg, decode_on_device, plain_jpeg
from reid.embedder.ensemble import Embedder
from reid.errors import ReidError, StorageDownError
from reid.image_files import ImageError
from reid.images import Decode, Frame, Window, open_frame
from reid.picture_hash import hash_with_box

if TYPE_CHECKING:
    import torch

# Batches decoded ahead of the one in the model: enough to hide a slow file, little enough to bound
# memory at a few hundred crops of the model's input size.
BATCHES_AHEAD = 2
# Whole files that wait for the device's decoder, and that it is given at once: enough to fill it, and
# little memory even for files of some megabytes.
FILES_AHEAD, FILES_AT_ONCE = 128, 32


_log = logging.getLogger(__name__)

_Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Decoded:
    row: _Row
    content_hash: str
    width: int
    height: int
    taken: tuple[datetime.datetime | None, int | None]
    inputs: "list[np.ndarray] | list[torch.Tensor]"


@dataclass(frozen=True, slots=True)
class _Waiting:
    """Read, and to be decoded on the device."""

    row: _Row
    jpeg: PlainJpeg


@dataclass(frozen=True, slots=True)
class _Failed:
    row: _Row
    stage: str
    error: str


_Loaded = _Decoded | _Waiting | _Failed


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
        embedder: the loaded models.
        annotations: columns annotation_id, root, image_path, bbox, bbox_unit, species, source_key.
        threads: decoding threads.
        decode: `scaled` and `full` as in `reid.images.decode_crop`; `nvjpeg` decodes plain JPEGs on the
            embedder's device (see `device_decode.py`), and every other file in `full`.
        bbox_margin, max_megapixels, min_crop_pixels, window: see `reid.images.decode_crop`.
        read: gives a file's bytes.

    Returns:
        Embeddings (schema.embeddings) and failures (schema.FAILURES): together one row for each
        annotation, embeddings in the order of the annotations.

    Raises:
        StorageDownError: the images' storage has been out of reach for long; an image is not to blame.
    """

    how: Decode = "full" if decode == "nvjpeg" else decode

    def load(rows: Sequence[_Row]) -> Sequence[_Loaded]:
        """All annotations of one file."""
        path = store.join(rows[0]["root"], rows[0]["image_path"])
        try:
            data = read(path)
        except FileNotFoundError:
            return [_Failed(row, "read", f"missing: {path}") for row in rows]
        except StorageDownError:
            raise  # every image would fail like this one, and none of them is bad
        except (OSError, ReidError) as error:  # the latter: no such kind of storage
            return [_Failed(row, "read", f"cannot be read: {error}") for row in rows]
        return waiting(rows, data) if decode == "nvjpeg" else decode_here(rows, data)

    def waiting(rows: Sequence[_Row], data: bytes) -> Sequence[_Loaded]:
        found: list[_Loaded] = []
        jpeg: PlainJpeg | None = None
        for row in rows:
            try:
                jpeg = plain_jpeg(
                    data,
                    row["bbox"],
                    bbox_unit=row["bbox_unit"],
                    bbox_margin=bbox_margin,
                    max_megapixels=max_megapixels,
                    min_crop_pixels=min_crop_pixels,
                    window=window,
                    other=jpeg,
                )
            except ImageError as error:
                found.append(_Failed(row, "decode", str(error)))
                continue
            if jpeg is None:  # then it is for no box of this file
                return decode_here(rows, data)
            found.append(_Waiting(row, jpeg))
        return found

    def decode_here(rows: Sequence[_Row], data: bytes) -> Sequence[_Decoded | _Failed]:
        try:
            with open_frame(
                data,
                target=embedder.largest_input,
                decode=how,
                bbox_margin=bbox_margin,
                max_megapixels=max_megapixels,
                min_crop_pixels=min_crop_pixels,
                window=window,
            ) as frame:
                return [one(row, frame) for row in rows]
        except ImageError as error:
            return [_Failed(row, "decode", str(error)) for row in rows]

    def one(row: _Row, frame: Frame) -> _Decoded | _Failed:
        try:
            crop = frame.crop(row["bbox"], row["bbox_unit"])
            inputs = embedder.prepare(crop.pixels)
        except ImageError as error:
            return _Failed(row, "decode", str(error))
        # Whatever one image does to a decoder is that image's failure, and not the job's.
        except Exception as error:  # noqa: BLE001
            _log.debug("%s cannot be decoded", row["image_path"], exc_info=True)
            reason = f"cannot be decoded: {type(error).__name__}: {error}"
            return _Failed(row, "decode", reason)
        hashed = hash_with_box(frame.digest, row["bbox"])
        return _Decoded(row, hashed, crop.width, crop.height, frame.taken, inputs)

    columns = ["annotation_id", "root", "image_path", "bbox", "bbox_unit", "species", "source_key"]
    rows = annotations.select(columns).to_pylist()
    frames: dict[tuple[str, str], list[_Row]] = {}
    for row in rows:
        frames.setdefault((row["root"], row["image_path"]), []).append(row)
    done: list[tuple[_Decoded, np.ndarray]] = []
    failed: list[_Failed] = []
    with ThreadPoolExecutor(threads, thread_name_prefix="decode") as pool:
        batch: list[_Decoded] = []
        # One batch late: a GPU computes it while the next one is put together.
        under_way: Callable[[], None] | None = None
        ahead = BATCHES_AHEAD * embedder.batch_size
        most = FILES_AHEAD if decode == "nvjpeg" else ahead
        loaded = _ahead(pool, load, list(frames.values()), most)
        for item in _decoded_on_device(loaded, embedder, decode_here):
            if isinstance(item, _Failed):
                failed.append(item)
                continue
            batch.append(item)
            if len(batch) == embedder.batch_size:
                begun = _begin_batch(embedder, batch, done, failed)
                if under_way:
                    under_way()
                under_way, batch = begun, []
        if under_way:
            under_way()
        if batch:
            _begin_batch(embedder, batch, done, failed)()
    place = {row["annotation_id"]: number for number, row in enumerate(rows)}
    done.sort(key=lambda item: place[item[0].row["annotation_id"]])
    failed.sort(key=lambda item: place[item.row["annotation_id"]])
    return _embeddings_table(done, embedder.dimension), _failures_table(failed)


def _ahead(
    pool: ThreadPoolExecutor,
    load: Callable[[Sequence[_Row]], Sequence[_Loaded]],
    frames: Sequence[Sequence[_Row]],
    window: int,
) -> Iterator[_Loaded]:
    """Results in order; frames with at most `window` annotations (or one) are decoded or under way."""
    waiting: deque[tuple[Future[Sequence[_Loaded]], int]] = deque()
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
    items: Iterator[_Loaded],
    embedder: Embedder,
    decode_here: Callable[[Sequence[_Row], bytes], Sequence[_Decoded | _Failed]],
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
                yield from decode_here([item.row], item.jpeg.data)
            else:
                jpeg = item.jpeg
                left, top, right, bottom = jpeg.box
                hashed = hash_with_box(jpeg.digest, item.row["bbox"])
                yield _Decoded(item.row, hashed, right - left, bottom - top, jpeg.taken, inputs)


def _begin_batch(
    embedder: Embedder,
    batch: Sequence[_Decoded],
    done: list[tuple[_Decoded, np.ndarray]],
    failed: list[_Failed],
) -> Callable[[], None]:
    """Begin to embed; the function waits, and puts each row where it belongs."""
    rows = embedder.begin([item.inputs for item in batch])

    def finish() -> None:
        for item, vector in zip(batch, rows(), strict=True):
            if np.isfinite(vector).all():
                done.append((item, vector))
            else:
                reason = "the model gave no finite, non-zero features"
                failed.append(_Failed(item.row, "embed", reason))

    return finish


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
        pa.array([item.taken[0] for item in items], pa.timestamp("us")),
        pa.array([item.taken[1] for item in items], pa.int16()),
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
