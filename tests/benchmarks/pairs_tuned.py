"""A matcher tuned on the nyala's gallery: does it tell animals apart better that it has not seen?

    python tests/benchmarks/pairs.py --data ../shared/data/nyala/annotations-800.csv --work work/ --minutes 60
    python tests/benchmarks/pairs_tuned.py --data ../shared/data/nyala/annotations-800.csv --work work/ \\
        --rate 1e-5 --out work/matcher
    python tests/benchmarks/pairs.py --data ../shared/data/nyala/annotations-800.csv --work work/ \\
        --matcher work/matcher

The work folder of `pairs.py` has evidence of the gallery's best voted pairs. Triplets are made of these, and LightGlue
learns from them as by `reid finetune --matcher`; a fifth of the animals is held out, and judges. No picture of a
query takes part, neither in training nor in the choice of a rate.
"""

import argparse
import hashlib
import json
import sys
import time
from pathlib import Path

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
from reid.pairs import fit_pairs
from reid.pairs.matchers import TUNED, WEIGHTS
from reid.precision import choose_precision
from reid.schema import PAIR_EVIDENCE
from reid.splits import held_out_individuals
from reid.training.matcher_triplets import hard_triplets, judged_pairs

HOLD_OUT = 0.2


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
    wanted = wanted_pairs(data, votes_over_usual(data, votes))
    wanted = wanted[data.gallery[wanted].all(axis=1)]
    precision, why = choose_precision("auto", "cpu")
    pairs, table = evidence(data, work, points, recipe, wanted, precision)
    features = features_of(data, pairs, table.cast(PAIR_EVIDENCE), cosine, votes)[0]
    log_odds = fit_pairs(features, data.identity[pairs])[1]
    held_out = held_out_individuals(
        np.where(data.gallery, data.identity, -1),
        HOLD_OUT,
        encounters=data.encounter,
        seed=args.seed,
    )
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
