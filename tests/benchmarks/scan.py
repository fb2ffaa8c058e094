"""SCAN against k-means and DBSCAN where few individuals have many images, and its speed at 10,000 rows.

    python tests/benchmarks/scan.py --out scan.json

A herd of 16 individuals × 60 images, EfficientNet-Lite0, three seeds; the number of individuals is given
to SCAN and k-means. DBSCAN takes the best ε of all *against the truth*: more than any tuning can reach.
Scores: accuracy under the best one-to-one naming of clusters (Hungarian), the mean over individuals of the
share of their images under that naming, ARI and NMI.
"""

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score

sys.path.insert(0, str(Path(__file__).parents[2]))

from reid.cluster import kmeans
from reid.cluster.scan import NEIGHBOURS, scan
from reid.neighbors import knn
from reid.synthetic import make_herd
from tests.benchmarks.herd_difficulty import best_ari, load_model, model_vectors
from tests.benchmarks.machine import instruction_set

INDIVIDUALS, IMAGES = 16, 60
LARGE, LARGE_INDIVIDUALS, DIMENSION = 10_000, 16, 512


def scores(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Of clusters (noise: each row a cluster of its own) against known individuals."""
    alone = found < 0
    found = np.where(alone, found.max(initial=0) + 1 + np.arange(len(found)), found)
    counts = np.zeros((truth.max() + 1, found.max() + 1), np.int64)
    np.add.at(counts, (truth, found), 1)
    rows, columns = linear_sum_assignment(-counts)
    right = np.zeros(len(counts))
    right[rows] = counts[rows, columns]
    return {
        "accuracy": float(right.sum() / len(truth)),
        "mean_recall": float(np.mean(right / counts.sum(axis=1))),
        "ari": float(adjusted_rand_score(truth, found)),
        "nmi": float(normalized_mutual_info_score(truth, found)),
    }


def of_a_herd(seed: int, folder: Path, model: torch.nn.Module) -> dict[str, dict[str, float]]:
    herd = make_herd(
        folder, individuals=INDIVIDUALS, images_per_individual=IMAGES, species=1, seed=seed
    )
    with herd.truth.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [row["identity"] for row in rows]
    truth = np.unique(names, return_inverse=True)[1]
    vectors = model_vectors([herd.folder / row["image_path"] for row in rows], model)
    near, _ = knn(vectors, NEIGHBOURS)
    _, eps = best_ari(vectors, names)
    distances = np.clip(1 - vectors.astype(np.float64) @ vectors.T, 0, 2)
    dbscan = DBSCAN(eps=eps, min_samples=2, metric="precomputed").fit_predict(distances)
    started = time.perf_counter()
    learned = scan(vectors, INDIVIDUALS, seed, neighbours=near)
    seconds = time.perf_counter() - started
    return {
        "scan": {**scores(learned, truth), "seconds": seconds},
        "scan, self-labelled": scores(
            scan(vectors, INDIVIDUALS, seed, neighbours=near, self_label=True), truth
        ),
        "kmeans": scores(kmeans(vectors, INDIVIDUALS, seed), truth),
        "dbscan, best ε against the truth": scores(dbscan, truth),
    }


def speed() -> float:
    """Seconds of SCAN, its neighbours included, on 10,000 made-up rows of 512 values."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(LARGE_INDIVIDUALS, DIMENSION))[np.arange(LARGE) % LARGE_INDIVIDUALS]
    rows = rows + rng.normal(size=rows.shape)
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    started = time.perf_counter()
    near, _ = knn(rows, NEIGHBOURS)
    scan(rows, LARGE_INDIVIDUALS, 0, neighbours=near)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    model = load_model()
    found = []
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as folder:
            found.append(of_a_herd(seed, Path(folder), model))
    print(f"{'':<34}{'accuracy':>18}{'recall':>18}{'ARI':>18}{'NMI':>18}")
    for name in found[0]:
        cells = ""
        for key in ("accuracy", "mean_recall", "ari", "nmi"):
            values = [one[name][key] for one in found]
            cells += f"{f'{statistics.mean(values):.3f} ± {statistics.pstdev(values):.3f}':>18}"
        print(f"{name:<34}{cells}")
    seconds = speed()
    print(f"SCAN of {LARGE:,} rows: {seconds:.1f} s (asked: at most 60)")
    if arguments.out:
        result = {
            "machine": instruction_set(),
            "herd": {"individuals": INDIVIDUALS, "images_each": IMAGES, "seeds": arguments.seeds},
            "found": found,
            "seconds_of_10000_rows": seconds,
        }
        arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
