"""The actor of the pairs job: keypoints of a piece's images, or evidence of a piece's pairs."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pyarrow as pa

from reid import embeddings, store
from reid.config import Images
from reid.keypoints import KeypointRecipe, KeypointStore, extract_annotations, load_extractor
from reid.pairs import load_matcher, match_pairs, vote_pairs

PENDING = "pending.parquet"


@dataclass(frozen=True)
class PairTask:
    """What an actor needs to know; travels once to each."""

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

    def __init__(self, task: PairTask) -> None:
        """Remember the task; networks are loaded when they are needed."""
        import torch

        torch.set_num_threads(1)
        self.task = task
        self.device = task.device
        if task.device == "auto":
            self.device = "cuda" if torch.cuda.is_available() else "cpu"

    @cached_property
    def _extract(self) -> Any:
        recipe = self.task.recipe
        return load_extractor(recipe.extractor, recipe.most, device=self.device)

    @cached_property
    def _match(self) -> Any:
        return load_matcher(
            self.task.matcher,
            device=self.device,
            precision=self.task.precision,  # type: ignore[arg-type]
            runtime=self.task.runtime,  # type: ignore[arg-type]
        )

    @cached_property
    def _stored(self) -> KeypointStore:
        return KeypointStore(self.task.keypoints)

    def keypoints(self, shard: int) -> tuple[int, int]:
        """Find the keypoints of a piece's images; how many have some, and how many failed."""
        rows = self._rows(shard)
        found, failed = extract_annotations(
            self._extract, self.task.recipe, rows, max_megapixels=self.task.images.max_megapixels
        )
        digest = embeddings.part_digest(rows["annotation_id"].to_pylist())
        # Failures first: a part that is there must never lack those of its piece.
        if len(failed):
            store.write_table(store.join(self.task.work, f"failed-{digest}.parquet"), failed)
        if len(found):
            store.write_table(store.join(self.task.folder, f"part-{digest}.parquet"), found)
        return len(found), len(failed)

    def votes(self, shard: int) -> tuple[int, str]:
        """Votes of a piece's pairs; how many, and by what."""
        pairs, stored = self._pairs(shard)
        self._write(pairs, vote_pairs(self.task.recipe.extractor, pairs, stored))
        return len(pairs), "torch"

    def evidence(self, shard: int) -> tuple[int, str]:
        """Point by point: the evidence of a piece's pairs; how many, and by what."""
        pairs, stored = self._pairs(shard)
        match, runtime = self._match
        self._write(pairs, match_pairs(match, pairs, stored))
        return len(pairs), runtime

    def _rows(self, shard: int) -> pa.Table:
        return store.read_row_group(store.join(self.task.work, PENDING), shard)

    def _pairs(self, shard: int) -> tuple[list[tuple[str, str]], Any]:
        rows = self._rows(shard)
        pairs = list(zip(rows["a_id"].to_pylist(), rows["b_id"].to_pylist(), strict=True))
        return pairs, self._stored.read([name for pair in pairs for name in pair])

    def _write(self, pairs: list[tuple[str, str]], table: pa.Table) -> None:
        digest = embeddings.part_digest(name for pair in pairs for name in pair)
        store.write_table(store.join(self.task.folder, f"part-{digest}.parquet"), table)
