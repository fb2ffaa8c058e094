"""What a threshold estimated without labels costs: ARI lost against the one tuned on the labels.

    python tests/benchmarks/unlabelled.py --out unlabelled.json
    python tests/benchmarks/unlabelled.py --results demo results/nyala
    python tests/benchmarks/unlabelled.py --parquet herd.parquet --npy nyala.npy nyala.identities.csv

--results takes output folders of `reid run` and `reid demo` (with the herd's truth). A parquet file has the columns `embedding`, `identity` and, if it likes, `species`; an .npy file of
unit rows comes with a text file of one identity a line. Every species is measured as it is, and
thinned to two images an individual, as new uploads may be. Made-up rows are always measured too.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from jobs.cluster.groups import read_groups
from reid.neighbors import radius_graph
from reid.tune import (
    best,
    encode_labels,
    estimate_threshold,
    score_at,
    search_ceiling,
    sweep,
    thin,
)
from tests.benchmarks.data import bench_rows

Set = tuple[str, np.ndarray, np.ndarray]
SPARSE = 2.0  # images an individual


def made_up() -> Iterator[Set]:
    for n, seed in ((500, 1), (2000, 2), (5000, 3)):
        yield f"made up, n = {n}", *bench_rows(n, 256, seed)
    rng = np.random.default_rng(4)
    for spread in (0.5, 0.8, 1.1):
        identity = np.repeat(np.arange(400), rng.geometric(1 / 3, size=400))
        rows = rng.normal(size=(400, 64))[identity] + spread * rng.normal(size=(len(identity), 64))
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        yield f"round clouds, spread {spread}", rows.astype(np.float32), identity


def from_results(folders: list[Path]) -> Iterator[Set]:
    for folder in folders:
        truth: dict[str, str] = {}
        if (folder / "herd" / "truth.csv").exists():
            table = pd.read_csv(folder / "herd" / "truth.csv", dtype=str)
            truth = dict(zip(table["image_path"], table["identity"], strict=True))
        for group in read_groups(str(folder)):
            paths = group.rows["image_path"].to_pylist()
            known = [truth.get(p, i) for p, i in zip(paths, group.identities, strict=True)]
            yield f"{folder.name} {group.species}", group.vectors, np.asarray(known, dtype=object)


def from_files(args: argparse.Namespace) -> Iterator[Set]:
    for path in args.parquet:
        table = pq.read_table(path)
        rows = np.stack(table["embedding"].to_numpy()).astype(np.float32)
        identity = np.array(table["identity"].to_pylist(), dtype=object)
        species = np.array(["all"] * len(rows))
        if "species" in table.column_names:
            species = np.array(table["species"].to_pylist())
        for name in np.unique(species):
            yield f"{path.stem} {name}", rows[species == name], identity[species == name]
    if args.npy:
        rows, identities = args.npy
        yield (
            rows.stem,
            np.load(rows),
            np.array(identities.read_text().split("\n")[: len(np.load(rows))]),
        )


def measure(name: str, rows: np.ndarray, identity: np.ndarray) -> dict[str, object]:
    ceiling = search_ceiling(rows, 200)
    graph = radius_graph(rows, ceiling)
    result = sweep(graph, identity, ceiling=ceiling)
    tuned, found = best(result), estimate_threshold(graph, ceiling=ceiling)
    estimated = score_at(result, found.eps)
    return {
        "set": name,
        "rows": len(rows),
        "images_per_individual": len(rows) / len(np.unique(identity)),
        "ari_tuned": tuned.score,
        "ari_estimated": estimated,
        "ari_lost": tuned.score - estimated,
        "eps_tuned": tuned.eps,
        "eps_estimated": found.eps,
        "low": found.low,
        "high": found.high,
        "tuned_inside": found.low <= tuned.eps <= found.high,
        "stability": found.stability,
        "gap": found.gap,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--results", type=Path, nargs="*", default=[])
    parser.add_argument("--parquet", type=Path, nargs="*", default=[])
    parser.add_argument("--npy", type=Path, nargs=2, metavar=("ROWS", "IDENTITIES"))
    args = parser.parse_args()
    found = []
    for name, rows, identity in [*from_results(args.results), *from_files(args), *made_up()]:
        codes = encode_labels(identity)
        known = codes >= 0
        rows, codes = rows[known], codes[known]
        kept = thin(codes, SPARSE, seed=0)
        for title, part in ((name, np.arange(len(codes))), (f"{name}, thinned", kept)):
            found.append(measure(title, rows[part], codes[part]))
            print(
                json.dumps(
                    {k: round(v, 3) if isinstance(v, float) else v for k, v in found[-1].items()}
                )
            )
    lost = [row["ari_lost"] for row in found]
    summary = {"mean_ari_lost": float(np.mean(lost)), "largest_ari_lost": float(np.max(lost))}
    summary["tuned_inside"] = float(np.mean([row["tuned_inside"] for row in found]))
    print(json.dumps(summary))
    if args.out:
        args.out.write_text(json.dumps({**summary, "sets": found}, indent=2) + "\n")


if __name__ == "__main__":
    main()
