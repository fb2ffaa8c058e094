"""What was tried to find more of the nyala's animals by local evidence, chosen on the gallery alone.

    python tests/benchmarks/pairs_tried.py --data ../shared/data/nyala/annotations-800.csv --work work/ \\
        --out tried.json --minutes 120 --enlarge

200 pictures of the gallery that have a mate there ask for it among all others of their flank. It stops after
--minutes and goes on from there; figures are of what is done by then.

- `votes`: keypoints, and ways to sum them up; recall, top-1, AUC.
- `evidence`: of the eight best voted, what LightGlue's numbers say one by one, and what is learned of them, of
  individuals that were not trained on.
- `unlabelled`: ARI of groups by the stated curve, by cut; no name takes part.
- `small windows` (--small): votes where windows under 512 pixels are enlarged, and where they are not.
- `queries` (--queries): those with a mate ask once, for what the gallery chose.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

from machine import instruction_set
from pairs_stages import EXTRACTOR, POWERS, Nyala, Work, all_votes, evidence, keypoints
from sklearn.metrics import adjusted_rand_score

from reid.keypoints import descriptors_of
from reid.pairs import (
    FEATURES,
    area_under_curve,
    fit_pairs,
    has_mate,
    mean_linkage,
    over_usual,
    pair_features,
    stated_curve,
)
from reid.pairs.votes import POWER, mutual_clear, votes
from reid.schema import PAIR_EVIDENCE

WINDOW = (0.15, 0.12, 0.85, 0.68)
ASKING, LISTED, SMALL = 200, 8, 60
LENGTHS = (1, 5, 10, 20, 50)
NEAR, AGREEING = (
    0.25,
    0.05,
)  # of the window's long side: how far spots move; how far two movements differ
CUTS = (0.04, 0.06, 0.08, 0.1, 0.12, 0.14, 0.16, 0.2)


def vote_sums(a: Any, b: Any) -> list[float]:
    """Votes by power 2, 3, 4; of matches that moved little; of matches that moved alike."""
    rows, columns, clear = mutual_clear(
        *(descriptors_of(EXTRACTOR, one.keypoints.descriptors) for one in (a, b))
    )
    clear = clear.astype(np.float64)
    moved = b.keypoints.xy[columns] / b.size.max() - a.keypoints.xy[rows] / a.size.max()
    near = np.exp(-(moved**2).sum(1) / (2 * NEAR**2))
    weight = clear**2
    alike = np.exp(-((moved[:, None] - moved[None]) ** 2).sum(-1) / (2 * AGREEING**2))
    np.fill_diagonal(alike, 0)
    sums = [(clear**power).sum() for power in (2, 3, 4)]
    return [*sums, (clear**3 * near).sum(), np.sqrt(weight @ alike @ weight)]


SUMS = ("power 2", "power 3", "power 4", "power 3, moved little", "power 2, moved alike")


def sampled(
    data: Nyala, work: Work, points: Any, name: str, asking: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(m, 2) pairs of the asking with the gallery, lower row first, and (m, SUMS) votes; kept on disk."""
    path = work.folder / f"sampled-{name}.npz"
    if path.is_file():
        kept = np.load(path)
        return kept["pairs"], kept["sums"]
    pairs = np.array(
        sorted(
            {
                (min(int(a), int(b)), max(int(a), int(b)))
                for a in asking
                for b in np.flatnonzero(data.fine[a] & data.gallery)
            }
        )
    )
    sums = []
    for a, b in pairs:
        if work.over():
            return pairs[:0], np.zeros((0, len(SUMS)))
        sums.append(vote_sums(points[data.ids[a]], points[data.ids[b]]))
    np.savez(path, pairs=pairs, sums=np.array(sums))
    return pairs, np.array(sums)


def found(
    data: Nyala, pairs: np.ndarray, scores: np.ndarray, asking: np.ndarray
) -> dict[str, float]:
    """Recall by length of the list, and AUC, of scored pairs."""
    matrix = _matrix(data, pairs, scores)
    mates = data.identity[:, None] == data.identity[None]
    places = []
    for row in asking:
        own = matrix[row][mates[row]].max()
        places.append(np.inf if own == -np.inf else 1 + (matrix[row] > own).sum())
    at = {f"recall at {k}": float((np.array(places) <= k).mean()) for k in LENGTHS}
    same = data.identity[pairs[:, 0]] == data.identity[pairs[:, 1]]
    return {**at, "auc": area_under_curve(scores, same)}


def _matrix(data: Nyala, pairs: np.ndarray, scores: np.ndarray) -> np.ndarray:
    matrix = np.full((len(data.ids),) * 2, -np.inf)
    matrix[pairs[:, 0], pairs[:, 1]] = matrix[pairs[:, 1], pairs[:, 0]] = scores
    return matrix


def vote_figures(
    data: Nyala, sums: dict[str, tuple[np.ndarray, np.ndarray]], asking: np.ndarray
) -> dict[str, Any]:
    """Each way to vote, as it is and over what is usual."""
    result = {}
    usual = {}
    for name, (pairs, values) in sums.items():
        for place, way in enumerate(SUMS):
            usual[name, way] = over_usual(pairs, values[:, place] + 1e-6, len(data.ids))
            result[f"{name}, {way}"] = found(data, pairs, values[:, place], asking)
            result[f"{name}, {way}, over usual"] = found(data, pairs, usual[name, way], asking)
    if len(sums) > 1:
        product = np.prod([usual[name, SUMS[1]] for name in sums], axis=0)
        result["both, power 3, over usual"] = found(data, pairs, product, asking)
    return result


def best_listed(
    data: Nyala, pairs: np.ndarray, scores: np.ndarray, asking: np.ndarray, length: int
) -> np.ndarray:
    """Pairs (m, 2), lower row first: of each that asks the best, rank by rank."""
    matrix = _matrix(data, pairs, scores)
    best = np.argsort(-matrix, axis=1, kind="stable")
    listed = {
        (min(int(a), int(b)), max(int(a), int(b))): None
        for rank in range(length)
        for a in asking
        for b in best[a, rank : rank + 1]
        if np.isfinite(matrix[a, b])
    }
    return np.array(list(listed))


def features_of(
    data: Nyala, pairs: np.ndarray, table: pa.Table, voted: np.ndarray, votes: np.ndarray
) -> np.ndarray:
    """Without any embedding: votes among all that were voted on, and the evidence."""
    given, usual = (
        _matrix(data, voted, scores)[pairs[:, 0], pairs[:, 1]]
        for scores in (votes, over_usual(voted, votes, len(data.ids)))
    )
    nothing = np.full(len(pairs), np.nan)
    return pair_features(
        table.cast(PAIR_EVIDENCE),
        cosine=nothing,
        ranks=np.zeros((len(pairs), 2), np.int64),
        shared=nothing,
        votes=given,
        votes_over_usual=usual,
    )


def learned_figures(
    data: Nyala, pairs: np.ndarray, features: np.ndarray, asking: np.ndarray
) -> dict[str, Any]:
    """Each number alone, and what is learned with and without the clear matches."""
    alone = ("votes", "votes_over_usual", "matches_50", "matches_80", "confidence_sum", "clear_sum")
    result: dict[str, Any] = {
        name: found(data, pairs, features[:, list(FEATURES).index(name)], asking) for name in alone
    }
    blind = features.copy()
    blind[:, list(FEATURES).index("clear_sum")] = np.nan
    for name, values in (("learned without clear_sum", blind), ("learned", features)):
        model, odds = fit_pairs(values, data.identity[pairs])
        result[name] = {**found(data, pairs, odds, asking), **model.as_dict()}
        result[f"{name}, by individual"] = by_individual(data, pairs, odds, asking)
    return result


def by_individual(
    data: Nyala, pairs: np.ndarray, odds: np.ndarray, asking: np.ndarray
) -> dict[str, float]:
    """Share whose animal has the best evidence of all its listed pictures together."""
    right = 0
    for row in asking:
        own = (pairs == row).any(axis=1)
        evidence: dict[int, float] = {}
        for other, value in zip(pairs[own].sum(axis=1) - row, odds[own], strict=True):
            who = int(data.identity[other])
            evidence[who] = evidence.get(who, 0.0) + float(np.logaddexp(0, value))
        right += bool(evidence) and max(evidence, key=evidence.__getitem__) == data.identity[row]
    return {"top_1": right / len(asking)}


def unlabelled(data: Nyala, pairs: np.ndarray, features: np.ndarray) -> dict[str, Any]:
    """ARI by cut of groups that no name made: by the stated curve, and by the one before it."""
    rows = np.unique(pairs)
    place = np.full(len(data.ids), -1)
    place[rows] = np.arange(len(rows))
    total = features[:, list(FEATURES).index("confidence_sum")]
    curves = {
        "sum of confidences": -8.9 + 2.4 * np.log1p(total),
        "clear_sum": stated_curve().log_odds(features),
    }
    result: dict[str, Any] = {"rows": len(rows)}
    for name, odds in curves.items():
        merges = mean_linkage(
            len(rows),
            place[pairs],
            odds,
            together=data.together(rows),
            names=np.array(data.ids)[rows],
        )
        result[name] = {
            str(cut): adjusted_rand_score(data.identity[rows], merges.groups(cut)) for cut in CUTS
        }
    return result


def small_windows(
    data: Nyala, work: Work, gallery: np.ndarray, mates: np.ndarray
) -> dict[str, Any]:
    """Votes of pictures whose window has fewer than 512 pixels, all of these as they are, and enlarged."""
    ways = {
        name: keypoints(data, work, WINDOW, gallery, enlarge=enlarge)[0]
        for name, enlarge in (("as they are", False), ("enlarged", True))
    }
    plain = ways["as they are"]
    if any(len(points) < len(gallery) for points in ways.values()):
        return {}
    small = np.array([one in plain and plain[one].size.max() < 512 for one in data.ids])
    asking = np.random.default_rng(0).permutation(np.flatnonzero(mates & small))[:SMALL]
    pairs = best_listed(data, *_all_of(data, asking), asking, len(data.ids))
    result: dict[str, Any] = {"small": int((small & data.gallery).sum()), "asking": len(asking)}
    for name, points in ways.items():
        unit = {
            row: descriptors_of(EXTRACTOR, points[data.ids[row]].keypoints.descriptors)
            for row in np.unique(pairs)
        }
        scores = np.array([votes(unit[a], unit[b]) for a, b in pairs])
        result[name] = found(data, pairs, scores, asking)
    return result


def _all_of(data: Nyala, asking: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Every pair of the asking with the gallery, and a score of nothing."""
    first, second = np.nonzero(data.fine[asking] & data.gallery[None])
    pairs = np.stack([asking[first], second], axis=1)
    return pairs, np.zeros(len(pairs))


def ask_queries(
    data: Nyala, work: Work, points: Any, recipe: Any, learn: tuple[np.ndarray, np.ndarray]
) -> dict[str, Any]:
    """The queries with a mate, once: lists by votes over what is usual, learned with the gallery's pairs."""
    asking = np.flatnonzero(data.counted)
    rows = np.concatenate([asking, np.flatnonzero(data.gallery)])
    votes = all_votes(data, work, points, recipe, rows, asking)[POWERS.index(POWER)]
    done = np.isfinite(np.where(data.fine & data.gallery[None], votes, 0.0)).all(axis=1)
    if not done[asking].all():
        return {}
    votes = np.where(data.counted[:, None] | data.counted[None], votes, np.nan)
    voted = np.stack(np.nonzero(np.triu(data.fine & np.isfinite(votes))), axis=1)
    given = votes[voted[:, 0], voted[:, 1]].astype(np.float64)
    usual = over_usual(voted, given, len(data.ids))
    result: dict[str, Any] = {
        "queries": int(data.query.sum()),
        "with_a_mate": len(asking),
        "votes": found(data, voted, given, asking),
        "votes over usual": found(data, voted, usual, asking),
    }
    wanted = best_listed(data, voted, usual, asking, LISTED)
    pairs, table = evidence(data, work, points, recipe, wanted, "bf16")
    done = {*map(tuple, pairs.tolist())}
    lists = [best_listed(data, voted, usual, asking, k) for k in range(1, LISTED + 1)]
    whole = [list_ for list_ in lists if {*map(tuple, list_.tolist())} <= done]
    if not whole:
        return result
    result["listed"] = len(whole)
    kept = {*map(tuple, whole[-1].tolist())}
    inside = np.array([tuple(pair) in kept for pair in pairs.tolist()])
    pairs, table = pairs[inside], table.filter(pa.array(inside))
    result["pairs_matched"] = len(pairs)
    own = features_of(data, pairs, table, voted, given)
    together = np.concatenate([learn[0], pairs])
    features = np.concatenate([learn[1], own])
    model, odds = fit_pairs(features, data.identity[together])
    share = len(asking) / data.query.sum()
    same = data.identity[pairs[:, 0]] == data.identity[pairs[:, 1]]
    of_queries = odds[len(learn[0]) :]
    for name in ("matches_50", "matches_80", "confidence_sum", "clear_sum"):
        result[name] = found(data, pairs, own[:, list(FEATURES).index(name)], asking)
    result["probability"] = found(data, pairs, of_queries, asking)
    result["probability, by individual"] = by_individual(data, pairs, of_queries, asking)
    for name in ("probability", "clear_sum"):
        result[name]["top_1_of_all_queries"] = result[name]["recall at 1"] * share
    one = result["probability, by individual"]
    one["top_1_of_all_queries"] = one["top_1"] * share
    result["model"] = model.as_dict()
    result["mates"] = int(same.sum())
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", default="../shared/data/nyala/annotations-800.csv")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/pairs-work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/pairs_tried.json"))
    parser.add_argument("--minutes", type=float, default=120)
    parser.add_argument("--queries", action="store_true")
    parser.add_argument("--enlarge", action="store_true", help="Windows under 512 pixels, to that.")
    parser.add_argument(
        "--small", action="store_true", help="Only what enlarging small ones gives."
    )
    args = parser.parse_args()
    if not Path(args.data).is_file():
        print(f"{args.data} is not there: nothing is measured")
        return 0
    import torch

    torch.set_num_threads(1)
    started = time.process_time()
    data, work = Nyala(args.data), Work(args.work, args.minutes)
    gallery = np.flatnonzero(data.gallery)
    mates = has_mate(data.identity, data.side, data.apart, data.gallery) & data.gallery
    asking = np.random.default_rng(5).permutation(np.flatnonzero(mates))[:ASKING]
    if args.small:
        write(args.out, {"small windows": small_windows(data, work, gallery, mates)})
        return 0
    rows = np.concatenate([gallery, np.flatnonzero(data.counted)]) if args.queries else gallery
    sums = {}
    for most in (1024, 512):
        points, recipe = keypoints(data, work, WINDOW, rows, most, args.enlarge)
        pairs, values = sampled(data, work, points, f"{most}-{recipe.fingerprint}", asking)
        if len(pairs):
            sums[f"{most} keypoints"] = pairs, values
    result: dict[str, Any] = {"machine": instruction_set(), "asking": len(asking), "window": WINDOW}
    if "512 keypoints" in sums:
        voted, values = sums["512 keypoints"]
        given = values[:, 1]
        result["votes"] = vote_figures(data, sums, asking)
        usual = over_usual(voted, given, len(data.ids))
        wanted = best_listed(data, voted, usual, asking, LISTED)
        pairs, table = evidence(data, work, points, recipe, wanted, "bf16")
        result["pairs_matched"], result["pairs_wanted"] = len(pairs), len(wanted)
        if len(pairs) == len(wanted):
            features = features_of(data, pairs, table, voted, given)
            result["evidence"] = learned_figures(data, pairs, features, asking)
            result["unlabelled"] = unlabelled(data, pairs, features)
            if args.queries:
                result["queries"] = ask_queries(data, work, points, recipe, (pairs, features))
    result["cpu_seconds_of_this_call"] = time.process_time() - started
    write(args.out, result)
    return 0


def write(path: Path, result: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(result, indent=1, default=float)
    path.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    sys.exit(main())
