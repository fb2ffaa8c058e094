"""Sparse k-reciprocal re-ranking, against the same maths on dense matrices.

    python tests/benchmarks/rerank.py --out rerank.json
    python tests/benchmarks/rerank.py --n 2000 --rounds 1

The peer follows the authors' code: N x N distances, ranks, encodings and Jaccard distances in
float32, with its inverted index. At N = 20,000 it takes minutes and 11 GB. `largest_difference` is
between the number of pairs within the radius, as a share, and their mean distance.
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

K1, K2, JACCARD_WEIGHT = 20, 6, 0.7
RADIUS = 0.95 * JACCARD_WEIGHT


def sparse(data: Path, n: int) -> list[float]:
    from reid.rerank import rerank

    graph = rerank(np.load(data)[:n], K1, K2, JACCARD_WEIGHT, radius=RADIUS)
    return [len(graph.edges) / n**2, float(graph.distances.mean(dtype=np.float64))]


def dense(data: Path, n: int) -> list[float]:
    rows = np.load(data)[:n]
    distances = np.maximum(1 - rows @ rows.T, 0)
    distances /= distances.max(axis=1, keepdims=True)
    np.fill_diagonal(distances, -1)  # a row is its own first neighbour
    rank = np.argsort(distances, axis=1)[:, : K1 + 1].copy()
    np.fill_diagonal(distances, 0)

    def reciprocal(i: int, k: int) -> np.ndarray:
        forward = rank[i, : k + 1]
        return forward[(rank[forward, : k + 1] == i).any(axis=1)]

    encoding = np.zeros((n, n), dtype=np.float32)
    for i in range(n):
        near = expanded = reciprocal(i, K1)
        for j in near:
            candidates = reciprocal(j, int(np.around(K1 / 2)))
            if len(np.intersect1d(candidates, near)) > 2 / 3 * len(candidates):
                expanded = np.append(expanded, candidates)
        expanded = np.unique(expanded)
        weight = np.exp(-distances[i, expanded])
        encoding[i, expanded] = weight / weight.sum()
    averaged = np.zeros_like(encoding)
    for i in range(n):
        averaged[i] = encoding[rank[i, :K2]].mean(axis=0)
    encoding = averaged
    holders = [np.flatnonzero(encoding[:, i]) for i in range(n)]
    final = np.zeros_like(distances)
    for i in range(n):
        shared = np.zeros(n, dtype=np.float32)
        for j in np.flatnonzero(encoding[i]):
            shared[holders[j]] += np.minimum(encoding[i, j], encoding[holders[j], j])
        final[i] = JACCARD_WEIGHT * (1 - shared / (2 - shared))
    final += (1 - JACCARD_WEIGHT) * distances
    count, total = 0, 0.0
    for i in range(n):
        both = (final[i, i + 1 :] + final[i + 1 :, i]) / 2
        near = both[both <= RADIUS]
        count, total = count + len(near), total + float(near.sum(dtype=np.float64))
    return [count / n**2, total / max(count, 1)]


def main() -> None:
    args = arguments(__doc__.split("\n", maxsplit=1)[0]).parse_args()
    sides = {"sparse": sparse, "dense": dense}
    if args.side:
        print(json.dumps(measure(sides[args.side], args.data, args.runs)))
        return
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "rows.npy"
        np.save(data, bench_rows(args.n, args.d)[0])
        result = versus(__file__, *sides, data, runs=args.runs, rounds=args.rounds)
    report({"n": args.n, "d": args.d, "k1": K1, "k2": K2, **result}, args.out)


if __name__ == "__main__":
    main()
