"""Keypoints read back from their store: Parquet parts in one folder a recipe, as embeddings are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import store
from reid.embeddings import parts
from reid.errors import StorageError
from reid.keypoints.extractors import BYTES, Keypoints


@dataclass(frozen=True, slots=True)
class StoredKeypoints:
    """One annotation's keypoints and the picture they were found in.

    Attributes:
        keypoints: where and what they are.
        size: width and height of that picture, pixels.
        scale: its pixels a source pixel.
    """

    keypoints: Keypoints
    size: NDArray[np.float32]
    scale: float


def read_keypoints(
    folder: str, annotation_ids: Sequence[str] | pa.Array
) -> Mapping[str, StoredKeypoints]:
    """The keypoints of some annotations, by id; those that have none stored are left out.

    Args:
        folder: a recipe's folder.
        annotation_ids: unique ids. About 70 kB each are held in memory.

    Raises:
        StorageError: a part is damaged.
    """
    wanted = pa.array(annotation_ids, pa.string())
    found: dict[str, StoredKeypoints] = {}
    for path in parts(folder):
        try:
            ids = store.read_table(path, ["annotation_id"])["annotation_id"]
            here = pc.is_in(ids, value_set=wanted)
            if not pc.any(here).as_py():
                continue
            table = store.read_table(path).filter(here)
        except FileNotFoundError:  # another run has just taken it out
            continue
        for row in table.to_pylist():
            found.setdefault(row["annotation_id"], _of_row(path, row))
    return found


def _of_row(path: str, row: Mapping[str, object]) -> StoredKeypoints:
    xy = np.asarray(row["xy"], np.float32).reshape(-1, 2)
    scores = np.asarray(row["score"], np.float32)
    raw = row["descriptor"]
    assert isinstance(raw, bytes)
    if len(raw) != BYTES * len(xy) or len(scores) != len(xy):
        raise StorageError(
            f"{path}: {row['annotation_id']} has {len(xy)} keypoints, {len(scores)} scores and "
            f"{len(raw)} bytes of descriptors, {BYTES} each are needed; remove this file, and run "
            "`reid match` again"
        )
    points = Keypoints(xy, scores, np.frombuffer(raw, np.uint8).reshape(-1, BYTES))
    size = np.array([row["width"], row["height"]], np.float32)
    return StoredKeypoints(points, size, float(row["scale"]))  # type: ignore[arg-type]
