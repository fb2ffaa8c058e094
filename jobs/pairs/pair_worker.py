"""The actor of the pairs job: keypoints of a piece's images, or evidence of a piece's pairs."""

from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import pyarrow as pa

from reid import embeddings, store
from reid.config import Images
from reid.keypoints import KeypointRecipe, KeypointStore, extract_annotations, load_extractor
from reid.pairs import load_matcher, match_pairs, vote_pairs

PENDING = "pending.parquet"


@dataclass(frozen=True)
class PairTask:
    """What an actor needs to know of a piece."""

    recipe: KeypointRecipe
    keypoints: str  # folder
    folder: str  # of the results
    work: str
    images: Images
    matcher: str
    precision: str
    runtime: str
    device: str


class PairWorker:
    """One core, or one GPU: what is in a piece never depends on how many there are."""

    def __init__(self) -> None:
        """Networks are loaded when they are needed, and kept."""
        import torch

        torch.set_num_threads(1)

    def keypoints(self, shard: int, task: PairTask) -> tuple[int, int]:
        """Find the keypoints of a piece's images; how many have some, and how many failed."""
        rows = _rows(shard, task)
        extract = _extractor(task.recipe.extractor, task.recipe.most, _device(task))
        found, failed = extract_annotations(
            extract, task.recipe, rows, max_megapixels=task.images.max_megapixels
        )
        digest = embeddings.part_digest(rows["annotation_id"].to_pylist())
        # Failures first: a part that is there must never lack those of its piece.
        if len(failed):
            store.write_table(store.join(task.work, f"failed-{digest}.parquet"), failed)
        if len(found):
            store.write_table(store.join(task.folder, f"part-{digest}.parquet"), found)
        return len(found) + len(failed), len(failed)

    def votes(self, shard: int, task: PairTask) -> tuple[int, str]:
        """Votes of a piece's pairs; how many, and by what."""
        pairs, stored = _pairs(shard, task)
        _write(task, pairs, vote_pairs(task.recipe.extractor, pairs, stored))
        return len(pairs), "torch"

    def evidence(self, shard: int, task: PairTask) -> tuple[int, str]:
        """Point by point: the evidence of a piece's pairs; how many, and by what."""
        pairs, stored = _pairs(shard, task)
        match, runtime = _matcher(task.matcher, _device(task), task.precision, task.runtime)
        _write(task, pairs, match_pairs(match, task.recipe.extractor, pairs, stored))
        return len(pairs), runtime


def _device(task: PairTask) -> str:
    import torch

    if task.device != "auto":
        return task.device
    return "cuda" if torch.cuda.is_available() else "cpu"


@cache
def _extractor(name: str, most: int, device: str) -> Any:
    return load_extractor(name, most, device=device)


@cache
def _matcher(name: str, device: str, precision: str, runtime: str) -> Any:
    return load_matcher(name, device=device, precision=precision, runtime=runtime)  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def _opened(folder: str, work: str) -> KeypointStore:  # noqa: ARG001  another work, other parts
    return KeypointStore(folder)


def _rows(shard: int, task: PairTask) -> pa.Table:
    return store.read_row_group(store.join(task.work, PENDING), shard)


def _pairs(shard: int, task: PairTask) -> tuple[list[tuple[str, str]], Any]:
    rows = _rows(shard, task)
    pairs = list(zip(rows["a_id"].to_pylist(), rows["b_id"].to_pylist(), strict=True))
    names = [name for pair in pairs for name in pair]
    return pairs, _opened(task.keypoints, task.work).read(names)


def _write(task: PairTask, pairs: list[tuple[str, str]], table: pa.Table) -> None:
    digest = embeddings.part_digest(name for pair in pairs for name in pair)
    store.write_table(store.join(task.folder, f"part-{digest}.parquet"), table)
