"""Speed and memory of the neighbour graph and of DBSCAN on it, each against a named peer.

    python tests/benchmarks/graph.py --out graph.json
    python tests/benchmarks/graph.py --rows sklearn growth --n 4000 --runs 3 --out quick.json

Each side runs in a process of its own, on the same file of `bench_rows`, sides in turns. Seconds are
medians over all runs but the first of each process (imports, JIT, thread pools). Memory is the peak
of the resident set during the first run, over what it was with packages imported and rows loaded.

    sklearn       DBSCAN (min_samples 2) against scikit-learn's on a precomputed float32 matrix
    fast_hdbscan  the same against fast_hdbscan: NN-descent, approximate, HDBSCAN's own labels
    growth        the same at 5 n against itself at 2.5 n
    workers       distributed graph at 2.5 n: two Ray workers of one thread against one
"""

import argparse
import hashlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.data import bench_rows
from tests.benchmarks.versus import peak_bytes

EPS = 0.4  # near the best ARI of the bench data, about 0.9
Labels = np.ndarray


def engine(rows: np.ndarray) -> Labels:
    from reid.cluster import dbscan
    from reid.neighbors import radius_graph

    return dbscan(radius_graph(rows, EPS), EPS, 2)


def sklearn_precomputed(rows: np.ndarray) -> Labels:
    from sklearn.cluster import DBSCAN
    from sklearn.metrics.pairwise import cosine_distances

    matrix = cosine_distances(rows)  # float32 for float32 rows
    return DBSCAN(eps=EPS, min_samples=2, metric="precomputed", n_jobs=-1).fit_predict(matrix)


def fast_hdbscan(rows: np.ndarray) -> Labels:
    import fast_hdbscan as package

    # This metric takes NN-descent (package fast-hdbscan[nndescent]); k-d trees do not prune here.
    model = package.HDBSCAN(min_cluster_size=2, min_samples=2, metric="cosine")
    return model.fit_predict(rows)


SIDES: dict[str, Callable[[np.ndarray], Labels]] = {
    "engine": engine,
    "sklearn_precomputed": sklearn_precomputed,
    "fast_hdbscan": fast_hdbscan,
}


def measure(side: str, path: Path, runs: int) -> dict[str, Any]:
    """In the child: run one side, print what it took as JSON."""
    rows = np.load(path)
    SIDES[side](rows[:500])  # imports
    base = peak_bytes()
    seconds, peak, labels = [], 0, np.empty(0)
    for run in range(runs + 1):
        start = time.perf_counter()
        labels = SIDES[side](rows)
        seconds.append(time.perf_counter() - start)
        if run == 0:
            peak = peak_bytes() - base
    digest = hashlib.sha256(labels.astype(np.int64).tobytes()).hexdigest()
    return {"seconds": seconds[1:], "peak_bytes": peak, "labels": digest}


def measure_workers(path: Path, workers: int, runs: int) -> dict[str, Any]:
    """In the child: the distributed graph with `workers` Ray workers."""
    import ray

    from jobs.neighbours.block_pairs import stream_edges_by_tasks

    rows = np.load(path)
    ray.init("local", num_cpus=workers, include_dashboard=False, log_to_driver=False)
    seconds, edges = [], 0
    for _ in range(runs + 1):
        start = time.perf_counter()
        edges = sum(len(part) for part, _ in stream_edges_by_tasks(rows, EPS))
        seconds.append(time.perf_counter() - start)
    ray.shutdown()
    return {"seconds": seconds[1:], "edges": edges}


def in_children(sides: list[tuple[str, Path]], runs: int, rounds: int) -> list[dict[str, Any]]:
    """Each side in `rounds` processes, in turns; seconds of all their runs, the largest peak."""
    results: list[dict[str, Any]] = [{"seconds": [], "peak_bytes": 0} for _ in sides]
    for _ in range(rounds):
        for (side, path), result in zip(sides, results, strict=True):
            command = [sys.executable, __file__, "--side", side, "--data", str(path)]
            done = subprocess.run(
                [*command, "--runs", str(runs)], stdout=subprocess.PIPE, text=True, check=True
            )
            found = json.loads(done.stdout.splitlines()[-1])
            result["seconds"] += found.pop("seconds")
            result["peak_bytes"] = max(result["peak_bytes"], found.pop("peak_bytes", 0))
            result |= found
    for result in results:
        result["median_seconds"] = statistics.median(result["seconds"])
    return results


def compare(
    name: str,
    sides: list[tuple[str, Path]],
    args: argparse.Namespace,
    seconds: str = "times_faster",
    memory: str = "times_less_memory",
) -> dict[str, Any]:
    """The second side, the peer, over the first: seconds, and peak memory where it is measured."""
    ours, peer = in_children(sides, args.runs, args.rounds)
    row = {"row": name, "ours": ours, "peer": peer}
    row[seconds] = peer["median_seconds"] / ours["median_seconds"]
    if ours["peak_bytes"]:
        row[memory] = peer["peak_bytes"] / ours["peak_bytes"]
    return row


def best_ari(rows: np.ndarray, individual: np.ndarray) -> dict[str, float]:
    """ARI of DBSCAN at the best of 13 thresholds, noise as singletons: is the data as it says?"""
    from sklearn.metrics import adjusted_rand_score

    from reid.cluster import dbscan, noise_to_singletons
    from reid.neighbors import radius_graph

    graph = radius_graph(rows, 0.6)
    aris = {
        float(eps): float(adjusted_rand_score(individual, noise_to_singletons(dbscan(graph, eps))))
        for eps in np.arange(0.2, 0.5, 0.025).round(3)
    }
    eps = max(aris, key=lambda key: aris[key])
    return {"eps": eps, "ari": aris[eps], "ari_at_bench_eps": aris[EPS]}


def run_rows(args: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    files: dict[int, Path] = {}

    def data(n: int) -> Path:
        if n not in files:
            files[n] = folder / f"{n}.npy"
            np.save(files[n], bench_rows(n, args.d)[0])
        return files[n]

    n, found = args.n, []
    for name in args.rows:
        if name == "sklearn":
            sides = [("engine", data(n)), ("sklearn_precomputed", data(n))]
            row = compare(name, sides, args)
            row["labels_equal"] = row["ours"]["labels"] == row["peer"]["labels"]
        elif name == "fast_hdbscan":
            row = compare(name, [("engine", data(n)), ("fast_hdbscan", data(n))], args)
        elif name == "growth":
            sides = [("engine", data(5 * n // 2)), ("engine", data(5 * n))]
            row = compare(name, sides, args, seconds="time_ratio", memory="memory_ratio")
        else:
            sides = [(f"workers_{k}", data(5 * n // 2)) for k in (2, 1)]
            row = compare(name, sides, args)
        found.append(row)
        short = {k: v for k, v in row.items() if not isinstance(v, dict)}
        for side in ("ours", "peer"):
            if side in row:
                short[f"{side}_seconds"] = round(row[side]["median_seconds"], 3)
                if row[side].get("peak_bytes"):
                    short[f"{side}_MB"] = row[side]["peak_bytes"] // 2**20
        print(json.dumps(short))
    return found


def main() -> None:
    names = ["sklearn", "fast_hdbscan", "growth", "workers"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", nargs="+", default=names, choices=names)
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3, help="timed runs in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        if args.side.startswith("workers_"):
            result = measure_workers(args.data, int(args.side[-1]), args.runs)
        else:
            result = measure(args.side, args.data, args.runs)
        print(json.dumps(result))
        return
    ari = best_ari(*bench_rows(args.n, args.d))
    print(json.dumps(ari))
    with tempfile.TemporaryDirectory() as folder:
        found = run_rows(args, Path(folder))
    machine = {"threads": torch.get_num_threads(), "torch": torch.__version__}
    result = {"n": args.n, "d": args.d, "eps": EPS, "data": ari, "machine": machine, "rows": found}
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
