"""The steps of `pairs.py` on the nyala, each kept on disk: nothing is computed twice, however often it is called."""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from reid import store
from reid.embedder import Embedder, embed_annotations
from reid.embeddings import part_digest
from reid.keypoints import (
    KeypointRecipe,
    descriptors_of,
    extract_annotations,
    extractor_digest,
    load_extractor,
    read_keypoints,
)
from reid.manifest import read_annotations
from reid.models import load_model
from reid.pairs import (
    MATCHERS,
    has_mate,
    load_matcher,
    match_pairs,
    ranked_lists,
    shortlist_recall,
)
from reid.pairs.matchers import tuned_matcher
from reid.pairs.votes import mutual_clear
from reid.splits import column_split
from reid.tune import encode_labels

EXTRACTOR = "aliked-n16"
LENGTHS = (1, 5, 10, 20, 50, 100, 250)
POWERS = (1, 2, 3, 4)  # of clearness, that votes are compared for


class Work:
    """A folder, the time that is left, and the time that each step has taken in all calls together."""

    def __init__(self, folder: Path, minutes: float) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.end = folder, time.time() + 60 * minutes
        self._path = folder / "spent.json"
        self.spent: dict[str, list[float]] = (
            json.loads(self._path.read_text()) if self._path.is_file() else {}
        )

    def over(self) -> bool:
        return time.time() > self.end

    def add(self, step: str, seconds: float, made: int) -> None:
        before = self.spent.get(step, [0.0, 0])
        self.spent[step] = [before[0] + seconds, before[1] + made]
        self._path.write_text(json.dumps(self.spent))

    def seconds_each(self, step: str) -> float | None:
        """CPU seconds a piece, None where none was made here."""
        seconds, made = self.spent.get(step, [0.0, 0])
        return round(seconds / made, 5) if made else None


class Nyala:
    """The rows, and who may be compared with whom."""

    def __init__(self, path: str) -> None:
        self.rows, _ = read_annotations([path])
        columns = {name: self.rows[name].to_pylist() for name in self.rows.column_names}
        self.ids: list[str] = columns["annotation_id"]
        split = column_split(columns["split"])
        if split is None:
            sys.exit(f"{path}: no column `split` with queries and a gallery")
        self.query, self.gallery = split

        def codes(name: str) -> np.ndarray:
            return encode_labels(np.asarray(columns[name], dtype=object))

        self.names = np.asarray(columns["identity"], dtype=object)
        self.identity, self.side = codes("identity"), codes("viewpoint")
        self.encounter = codes("encounter_id")
        self.apart = [self.encounter, codes("image_path")]
        fine = self.side[:, None] == self.side[None]
        for group in self.apart:
            fine &= group[:, None] != group[None]
        self.fine = fine
        self.counted = self.query & has_mate(self.identity, self.side, self.apart, self.gallery)

    def lists(
        self, scores: np.ndarray, asking: np.ndarray, answering: np.ndarray, k: int = 250
    ) -> np.ndarray:
        """(n, k) rows that each may be compared with, best first."""
        low, high = np.nonzero(np.triu(self.fine & np.isfinite(scores)))
        return ranked_lists(
            len(self.ids), np.stack([low, high], axis=1), scores[low, high], k,
            names=self.ids, asking=asking, answering=answering,
        )  # fmt: skip

    def recall(self, scores: np.ndarray, counted: np.ndarray | None = None) -> dict[int, float]:
        counted = self.counted if counted is None else counted
        lists = self.lists(scores, counted, self.gallery)
        return shortlist_recall(lists, self.identity, counted, LENGTHS)

    def together(self, rows: np.ndarray) -> np.ndarray:
        """(c, 2) numbers within `rows` of neighbours in an encounter."""
        encounter = self.encounter[rows]
        order = np.argsort(encounter, kind="stable")
        order = order[encounter[order] >= 0]
        steps = np.stack([order[:-1], order[1:]], axis=1)
        return steps[encounter[steps[:, 0]] == encounter[steps[:, 1]]]


def keypoints(
    data: Nyala,
    work: Work,
    window: Any,
    rows: np.ndarray,
    most: int = 512,
    enlarge: bool = False,
) -> tuple[dict[str, Any], KeypointRecipe]:
    """Keypoints by id, and the recipe."""
    recipe = KeypointRecipe(
        EXTRACTOR, extractor_digest(EXTRACTOR), most=most, window=window, enlarge=enlarge
    )
    folder = str(work.folder / "keypoints" / recipe.folder)
    done = read_keypoints(folder, data.ids)
    todo = [int(i) for i in rows if data.ids[i] not in done]
    extract = load_extractor(EXTRACTOR, most) if todo else None
    for start in range(0, len(todo), 16):
        if work.over():
            break
        part, began = data.rows.take(pa.array(todo[start : start + 16])), time.process_time()
        table, _ = extract_annotations(extract, recipe, part)  # type: ignore[arg-type]
        store.write_table(
            f"{folder}/part-{part_digest(part['annotation_id'].to_pylist())}.parquet", table
        )
        work.add("keypoints", time.process_time() - began, len(part))
    return read_keypoints(folder, data.ids), recipe


def vectors(data: Nyala, work: Work, window: Any, rows: np.ndarray) -> np.ndarray:
    """(n, d) rows by the packaged model, of the window or of the whole picture; 0 where not asked for."""
    path = work.folder / f"lite0-{'whole' if window is None else 'window'}-{len(rows)}.npy"
    if not path.is_file():
        embedder = Embedder([load_model("efficientnet-lite0")], views=("identity",), threads=1)
        some = data.rows.take(pa.array(rows))
        table, failed = embed_annotations(embedder, some, threads=1, window=window)
        assert not len(failed)
        found = table["embedding"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)
        every = np.zeros((len(data.ids), found.shape[1]), np.float32)
        every[rows] = found
        np.save(path, every)
    return np.load(path)


def all_votes(
    data: Nyala,
    work: Work,
    points: Any,
    recipe: KeypointRecipe,
    rows: np.ndarray,
    asking: np.ndarray | None = None,
) -> np.ndarray:
    """(powers, n, n) votes of the rows with all that they may be compared with, NaN where not done.

    Where some are `asking`, only theirs.
    """
    n = len(data.ids)
    path = work.folder / f"votes-{recipe.fingerprint}.npy"
    scores = np.load(path) if path.is_file() else np.full((len(POWERS), n, n), np.nan, np.float32)
    have = np.array([name in points for name in data.ids])
    unit: dict[int, np.ndarray] = {}

    def of(row: int) -> np.ndarray:
        if row not in unit:
            unit[row] = descriptors_of(EXTRACTOR, points[data.ids[row]].keypoints.descriptors)
        return unit[row]

    saved = time.time()
    asking = rows if asking is None else asking
    for row in asking[have[asking]]:
        if work.over():
            break
        others = np.flatnonzero(data.fine[row] & have & np.isnan(scores[0, row]))
        others = others[np.isin(others, rows)]
        began = time.process_time()
        for other in others:
            a, b = sorted((int(row), int(other)), key=lambda i: data.ids[i])
            clear = mutual_clear(of(a), of(b))[2].astype(np.float64)
            scores[:, a, b] = scores[:, b, a] = [(clear**power).sum() for power in POWERS]
        work.add("votes", time.process_time() - began, len(others))
        if time.time() - saved > 30:
            np.save(path, scores)
            saved = time.time()
    np.save(path, scores)
    return scores


def evidence(
    data: Nyala,
    work: Work,
    points: Any,
    recipe: KeypointRecipe,
    pairs: np.ndarray,
    precision: Literal["fp32", "bf16"],
    matcher: str = "aliked-lightglue",
) -> tuple[np.ndarray, pa.Table]:
    """The pairs that are done, lower row first, and their evidence, by a matcher or the folder of a tuned one."""
    tuned = "" if matcher in MATCHERS else f"-{tuned_matcher(matcher)['digest']}"
    folder = work.folder / f"evidence-{precision}-{recipe.fingerprint}{tuned}"
    folder.mkdir(parents=True, exist_ok=True)
    number = {name: i for i, name in enumerate(data.ids)}

    def stored() -> dict[tuple[int, ...], Any]:
        found: dict[tuple[int, ...], Any] = {}
        for path in sorted(folder.glob("*.parquet")):
            for row in store.read_table(str(path)).to_pylist():
                key = tuple(sorted((number[row["a_id"]], number[row["b_id"]])))
                found.setdefault(key, row)
        return found

    have = stored()
    wanted = [tuple(sorted((int(a), int(b)))) for a, b in pairs]
    todo = [pair for pair in wanted if pair not in have]
    if todo and not work.over():
        match, _ = load_matcher(matcher, precision=precision)
        for start in range(0, len(todo), 20):
            if work.over():
                break
            names = [(data.ids[a], data.ids[b]) for a, b in todo[start : start + 20]]
            began = time.process_time()
            table = match_pairs(match, EXTRACTOR, names, points)
            digest = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
            store.write_table(str(folder / f"part-{digest}.parquet"), table)
            work.add(f"lightglue{tuned}, {precision}", time.process_time() - began, len(names))
        have = stored()
    done = sorted({pair for pair in wanted if pair in have})
    return np.array(done, np.int64).reshape(-1, 2), pa.Table.from_pylist(
        [have[pair] for pair in done]
    )
