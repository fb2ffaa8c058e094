"""Keypoints read back from their store: Parquet parts in one folder a recipe, as embeddings are."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
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
        source_key: what the annotation was when they were found.
    """

    keypoints: Keypoints
    size: NDArray[np.float32]
    scale: float
    source_key: str | None = None


class KeypointStore:
    """A recipe's folder, opened: where each annotation's keypoints are, and the parts read last."""

    def __init__(self, folder: str, memory_bytes: int = 256 * 2**20) -> None:
        """Look where everything is: the ids of all parts are read, nothing else.

        Args:
            folder: a recipe's folder.
            memory_bytes: of parts kept for the next call, about 70 kB an annotation.
        """
        self._where: dict[str, str] = {}
        self._kept: OrderedDict[str, dict[str, StoredKeypoints]] = OrderedDict()
        self._room = memory_bytes
        for path in parts(folder):
            try:
                ids = store.read_table(path, ["annotation_id"])["annotation_id"].to_pylist()
            except FileNotFoundError:  # another run has just taken it out
                continue
            for one in ids:
                self._where.setdefault(one, path)

    def read(self, annotation_ids: Sequence[str]) -> dict[str, StoredKeypoints]:
        """The keypoints of some annotations, by id; those that have none stored are left out.

        Raises:
            StorageError: a part is damaged.
        """
        found: dict[str, StoredKeypoints] = {}
        wanted: dict[str, list[str]] = {}
        for one in dict.fromkeys(annotation_ids):
            if one in self._where:
                wanted.setdefault(self._where[one], []).append(one)
        for path, ids in wanted.items():
            part = self._part(path)
            found |= {one: part[one] for one in ids}
        return found

    def _part(self, path: str) -> dict[str, StoredKeypoints]:
        if path in self._kept:
            self._kept.move_to_end(path)
            return self._kept[path]
        table = store.read_table(path)
        part = {row["annotation_id"]: _of_row(path, row) for row in table.to_pylist()}
        self._kept[path] = part
        points = sum(len(one.keypoints.xy) for kept in self._kept.values() for one in kept.values())
        while len(self._kept) > 1 and points * (BYTES + 12) > self._room:
            _, dropped = self._kept.popitem(last=False)
            points -= sum(len(one.keypoints.xy) for one in dropped.values())
        return part


def read_keypoints(folder: str, annotation_ids: Sequence[str]) -> dict[str, StoredKeypoints]:
    """The keypoints of some annotations, see `KeypointStore.read`."""
    return KeypointStore(folder).read(annotation_ids)


def _of_row(path: str, row: Mapping[str, Any]) -> StoredKeypoints:
    xy = np.asarray(row["xy"], np.float32).reshape(-1, 2)
    scores = np.asarray(row["score"], np.float32)
    raw: bytes = row["descriptor"]
    if len(raw) != BYTES * len(xy) or len(scores) != len(xy):
        raise StorageError(
            f"{path}: {row['annotation_id']} has {len(xy)} keypoints, {len(scores)} scores and "
            f"{len(raw)} bytes of descriptors, {BYTES} each are needed; remove this file, and run "
            "`reid match` again"
        )
    points = Keypoints(xy, scores, np.frombuffer(raw, np.uint8).reshape(-1, BYTES))
    size = np.array([row["width"], row["height"]], np.float32)
    return StoredKeypoints(points, size, row["scale"], row["source_key"])
