"""A matcher tuned on the nyala's gallery: does it tell animals apart better that it has not seen?

    python tests/benchmarks/pairs.py --data ../shared/data/nyala/annotations-800.csv --work work/ --minutes 60
    python tests/benchmarks/pairs_tuned.py --data ../shared/data/nyala/annotations-800.csv --work work/ \\
        --rate 1e-5 --out work/matcher
    python tests/benchmarks/pairs.py --data ../shared/data/nyala/annotations-800.csv --work work/ \\
        --matcher work/matcher --minutes 60
    python tests/benchmarks/pairs_tuned.py --data ../shared/data/nyala/annotations-800.csv --work work/ \\
        --compare work/matcher --out work/tuned.json

The work folder of `pairs.py` has evidence of the gallery's best voted pairs. Triplets are made of these, and LightGlue
learns from them as by `reid finetune --matcher`; a fifth of the animals is held out, and judges. No picture of a
query takes part, neither in training nor in the choice of a rate.

--compare trains nothing: of the pairs that `pairs.py` has matched by the start and by all that are named it tells

- `held_out`: pairs of the gallery with an end that is an animal held out. What is chosen is chosen on these.
- `queries`: pairs of a query with the gallery, its own list.

Probabilities are learned from the pairs of the part alone, out of fold by individuals: the matcher knows the other
pairs of the gallery. `both` is the sum of the log-odds by the start and by the tuned one.
"""

import argparse
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parent))

from machine import instruction_set
from pairs import WINDOW, features_of, votes_over_usual, wanted_pairs
from pairs_stages import EXTRACTOR, Nyala, Work, evidence, keypoints, vectors

from jobs.finetune.matcher_worker import MatcherTask, train_matcher_epochs
from reid import store
from reid.keypoints import KeypointRecipe
from reid.pairs import FEATURES, area_under_curve, fit_pairs
from reid.pairs.matchers import TUNED, WEIGHTS
from reid.precision import choose_precision
from reid.schema import PAIR_EVIDENCE
from reid.splits import held_out_individuals
from reid.training.matcher_triplets import hard_triplets, judged_pairs

HOLD_OUT = 0.2
START = "aliked-lightglue"
NUMBERS = ("matches_50", "matches_80", "confidence_sum", "clear_sum", "inliers")


def compare(
    data: Nyala,
    work: Work,
    points: Any,
    recipe: KeypointRecipe,
    votes: np.ndarray,
    cosine: np.ndarray,
    matchers: Sequence[str],
) -> dict[str, Any]:
    """AUC of numbers and of what is learned, and top-1 of queries, by each matcher and with the start's beside it."""
    every = (START, *matchers)
    wanted = wanted_pairs(data, votes_over_usual(data, votes))
    made = [evidence(data, work, points, recipe, wanted, "bf16", one) for one in every]
    common = set.intersection(*({*map(tuple, pairs.tolist())} for pairs, _ in made))
    held_out = held_out_rows(data)
    held = np.unique(data.identity[held_out])
    result: dict[str, Any] = {"held_out": {}, "queries": {}}
    for part, found in result.items():
        log_odds: dict[str, np.ndarray] = {}
        for name, (pairs, table) in zip(every, made, strict=True):
            kept = np.array([tuple(pair) in common for pair in pairs.tolist()])
            asks = data.query[pairs].any(axis=1)
            near = np.isin(data.identity[pairs], held).any(axis=1)
            some = kept & (asks if part == "queries" else ~asks & near)
            features = features_of(data, pairs, table.cast(PAIR_EVIDENCE), cosine, votes)[0][some]
            ends = pairs[some]
            same = data.identity[ends[:, 0]] == data.identity[ends[:, 1]]
            model, log_odds[name] = fit_pairs(features, data.identity[ends])

            found[name] = {
                "pairs": len(ends),
                "mates": int(same.sum()),
                "kind": model.kind,
                "probability": told(data, ends, log_odds[name]),
                **{
                    one: told(data, ends, features[:, list(FEATURES).index(one)]) for one in NUMBERS
                },
            }
            if name != START:
                found[f"both: {name}"] = {
                    "probability": told(data, ends, log_odds[START] + log_odds[name])
                }
    return result


def told(data: Nyala, ends: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    """AUC of scored pairs, and top-1 of the queries among their ends, where there are any."""
    auc = area_under_curve(scores, data.identity[ends[:, 0]] == data.identity[ends[:, 1]])
    if not data.query[ends].any():
        return {"auc": auc}
    matrix = np.full((len(data.ids),) * 2, np.nan)
    matrix[ends[:, 0], ends[:, 1]] = matrix[ends[:, 1], ends[:, 0]] = scores
    top = data.recall(matrix)[1]
    share = float(data.counted.sum() / data.query.sum())
    return {"auc": auc, "top_1_of_those_with_a_mate": top, "top_1_of_all": top * share}


def held_out_rows(data: Nyala, seed: int = 0) -> np.ndarray:
    """(n,) bool, pictures of the gallery of animals that no triplet is of."""
    people = np.where(data.gallery, data.identity, -1)
    return held_out_individuals(people, HOLD_OUT, encounters=data.encounter, seed=seed)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--data", default="../shared/data/nyala/annotations-800.csv")
    parser.add_argument("--work", type=Path, default=Path("benchmarks/pairs-work"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/pairs-work/matcher"))
    parser.add_argument("--rate", type=float, default=1e-5)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument(
        "--triplets", type=int, help="Some of them, drawn at random; all by default."
    )
    parser.add_argument("--judged", type=int, default=400, help="Pairs of animals held out.")
    parser.add_argument("--start", help="Folder of a tuned matcher to go on from.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--compare", nargs="+", help="Folders of tuned matchers.")
    args = parser.parse_args()
    if not Path(args.data).is_file():
        print(f"{args.data} is not there: nothing is measured")
        return 0
    torch.set_num_threads(1)
    began = time.process_time()
    data, work = Nyala(args.data), Work(args.work, minutes=0)  # nothing is matched here
    rows = np.arange(len(data.ids))
    points, recipe = keypoints(data, work, WINDOW, rows, enlarge=True)
    votes = np.load(args.work / f"votes-{recipe.fingerprint}.npy")
    by_window, by_whole = (vectors(data, work, one, rows) for one in (WINDOW, None))
    cosine = by_window @ by_window.T + by_whole @ by_whole.T
    if args.compare:
        found = compare(data, work, points, recipe, votes, cosine, args.compare)
        found |= {"machine": instruction_set()}
        args.out.write_text(json.dumps(found, indent=2) + "\n")
        print(json.dumps(found, indent=2))
        return 0
    wanted = wanted_pairs(data, votes_over_usual(data, votes))
    wanted = wanted[data.gallery[wanted].all(axis=1)]
    precision, why = choose_precision("auto", "cpu")
    pairs, table = evidence(data, work, points, recipe, wanted, precision)
    features = features_of(data, pairs, table.cast(PAIR_EVIDENCE), cosine, votes)[0]
    log_odds = fit_pairs(features, data.identity[pairs])[1]
    held_out = held_out_rows(data, args.seed)
    away = held_out[pairs]
    people = data.identity[pairs]
    train = hard_triplets(pairs, log_odds, np.where(away.any(axis=1, keepdims=True), -1, people))
    own = np.where(away.all(axis=1, keepdims=True), people, -1)
    judged, same = judged_pairs(pairs, own, args.judged, seed=args.seed)
    rng = np.random.default_rng(args.seed)
    if args.triplets:
        train = [train[i] for i in np.sort(rng.permutation(len(train))[: args.triplets])]
    place = str(args.out)
    task = MatcherTask(
        keypoints=str(args.work / "keypoints" / recipe.folder),
        extractor=EXTRACTOR,
        weights=None if args.start is None else store.join(args.start, WEIGHTS),
        ids=data.ids,
        train=train,
        judged=judged,
        same=same,
        result=store.join(place, WEIGHTS),
        epochs=args.epochs,
        rate=args.rate,
        batch=args.batch,
        seed=args.seed,
        device="cpu",
        threads=1,
    )
    train_matcher_epochs(task)
    about = {
        "extractor": EXTRACTOR,
        "digest": hashlib.sha256(store.read_bytes(task.result)).hexdigest()[:12],
        "start": args.start or "aliked-lightglue",
        "triplets": len(train),
        "judged": len(judged),
        "rate": args.rate,
        "batch": args.batch,
        "history": store.read_json(f"{task.result}.json"),
        "cpu_seconds": round(time.process_time() - began),
        "precision": why,
        "machine": instruction_set(),
    }
    store.write_json(store.join(place, TUNED), about)
    print(json.dumps(about, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
