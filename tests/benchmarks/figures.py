"""Neighbour-correctness, heatmaps and planes of many images: seconds, and memory beside that of all pairs.

    python tests/benchmarks/figures.py --out docs/benchmarks/figures.json

Made-up rows of 200 individuals × 50 images. Each figure is made, and written as a file, by a process of its own: its
peak of memory less that of the same process with the rows read and nothing drawn. A float32 matrix of all pairs of
10,000 rows has 400 MB.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from reid import drawings
from reid.metrics.neighbour_shares import neighbour_correctness
from reid.report.projection import project
from tests.benchmarks.machine import instruction_set

IMAGES, DIMENSION = 50, 512


def neighbours(rows: np.ndarray, who: np.ndarray) -> object:
    return drawings.neighbour_correctness(*neighbour_correctness(rows, who)[:2])


def heatmap(rows: np.ndarray, who: np.ndarray) -> object:
    return drawings.similarity_heatmap(rows, who)


def plane(method: str) -> Callable[[np.ndarray, np.ndarray], object]:
    def draw(rows: np.ndarray, who: np.ndarray) -> object:
        names = [str(one) for one in who]
        points = project(rows, method)  # type: ignore[arg-type]
        return drawings.plane_by_name(points, names, what="individuals", axes_are=method)

    return draw


FIGURES: dict[str, Callable[[np.ndarray, np.ndarray], object]] = {
    "nothing": lambda rows, who: drawings.cluster_sizes(np.bincount(who), len(rows)),
    "neighbour-correctness, 50 nearest": neighbours,
    "similarity heatmap": heatmap,
    "PCA": plane("pca"),
    "t-SNE": plane("tsne"),
}


def one(name: str, file: Path) -> dict[str, float]:
    """Draw one figure here: seconds, and the peak of this process in MB."""
    with np.load(file) as stored:
        rows, who = stored["rows"], stored["who"]
    project(rows[:50], "tsne")  # what is imported once is no figure's
    neighbour_correctness(rows[:100], who[:100])
    drawings.encode(drawings.cluster_sizes(np.array([2]), 0), "png")
    started = time.perf_counter()
    drawings.encode(FIGURES[name](rows, who), "png")  # type: ignore[arg-type]
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": round(seconds, 2), "peak_mb": round(peak, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--one", nargs=2, metavar=("FIGURE", "FILE"), help=argparse.SUPPRESS)
    known = [name for name in FIGURES if name != "nothing"]
    parser.add_argument("--only", nargs="+", choices=known, default=known)
    parser.add_argument("--out", type=Path, help="also write them here, beside those of before")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(one(arguments.one[0], Path(arguments.one[1]))))
        return
    rng = np.random.default_rng(0)
    who = np.arange(arguments.rows) // IMAGES
    rows = rng.normal(size=(who[-1] + 1, DIMENSION))[who] + rng.normal(size=(len(who), DIMENSION))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    found: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "rows.npz"
        np.savez(file, rows=rows, who=who)
        for name in ("nothing", *arguments.only):
            command = [sys.executable, __file__, "--one", name, str(file)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] = json.loads(done.stdout)
    base = found.pop("nothing")["peak_mb"]
    whole = 4 * len(rows) ** 2 / 1e6
    for name, figures in found.items():
        figures["more_mb"] = round(figures.pop("peak_mb") - base, 1)
        print(f"{name:<36}{figures['seconds']:>8.1f} s{figures['more_mb']:>9.0f} MB")
    print(f"all pairs in float32: {whole:,.0f} MB; the process with its rows: {base:,.0f} MB")
    if arguments.out:
        before = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
        found = before.get("found", {}) | found
        result = {
            "machine": instruction_set(), "rows": len(rows), "dimension": DIMENSION, "process_mb": base,
            "all_pairs_mb": whole, "found": found,
        }  # fmt: skip
        arguments.out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
