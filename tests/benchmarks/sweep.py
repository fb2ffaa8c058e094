"""ARI at every threshold in one pass, against scikit-learn on a grid of 23.

    python tests/benchmarks/sweep.py --out sweep.json
    python tests/benchmarks/sweep.py --n 2000 --rounds 1

The peer computes the float32 cosine matrix once, and runs DBSCAN and the ARI 23 times on it. Ours
starts from the same rows, and gives the scores at all thresholds up to the end of the grid;
`largest_difference` is between the two at the 23 thresholds.
"""

import json
import sys
import tempfile
from pathlib import Path

import numpy as np

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.data import bench_rows
from tests.benchmarks.versus import arguments, measure, report, versus

GRID = np.linspace(0.05, 0.49, 23)


def one_pass(data: Path, n: int) -> list[float]:
    from reid.cluster import streamed_forest
    from reid.neighbors import stream_edges
    from reid.tune import score_at, sweep_forest

    rows, individual = np.load(data)[:n], np.load(data.with_suffix(".labels.npy"))[:n]
    ceiling = float(GRID[-1])
    forest = streamed_forest(stream_edges(rows, ceiling), n, min_samples=2)
    result = sweep_forest(forest, individual, ceiling)
    return [score_at(result, eps) for eps in GRID]


def sklearn_grid(data: Path, n: int) -> list[float]:
    from sklearn.cluster import DBSCAN
    from sklearn.metrics import adjusted_rand_score
    from sklearn.metrics.pairwise import cosine_distances

    rows, individual = np.load(data)[:n], np.load(data.with_suffix(".labels.npy"))[:n]
    matrix = cosine_distances(rows)  # float32 for float32 rows
    scores = []
    for eps in GRID:
        labels = DBSCAN(eps=eps, min_samples=2, metric="precomputed", n_jobs=-1).fit_predict(matrix)
        noise = labels == -1
        labels[noise] = labels.max() + 1 + np.arange(noise.sum())
        scores.append(float(adjusted_rand_score(individual, labels)))
    return scores


def main() -> None:
    args = arguments(__doc__.split("\n", maxsplit=1)[0]).parse_args()
    sides = {"one_pass": one_pass, "sklearn_grid": sklearn_grid}
    if args.side:
        print(json.dumps(measure(sides[args.side], args.data, args.runs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.npy"
        rows, individual = bench_rows(args.n, args.d)
        np.save(data, rows)
        np.save(data.with_suffix(".labels.npy"), individual)
        result = versus(__file__, *sides, data, runs=args.runs, rounds=args.rounds)
        best = max(one_pass(data, args.n))
    report({"n": args.n, "d": args.d, "best_ari_on_grid": best, **result}, args.out)


if __name__ == "__main__":
    main()
