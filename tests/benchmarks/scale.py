"""How far does one machine go? Rows against seconds and memory, each size in a process of its own.

    python tests/benchmarks/scale.py --out docs/benchmarks/scale.json

    graph    made-up individuals, whose pairs are drawn without vectors (some 80 a row) and come in parts, as a
             search gives them: the spanning forest of all of them, then `partition` at one distance under
             cannot-links. Seconds are without those of drawing.
    cluster  `reid cluster --embeddings` of made-up rows (data.py), no labels: the whole command, from its start
             to its end, files written

Sizes that the file has already are not measured again (`--again` does), and it is written after each, so
that a run can be stopped and go on; `--only graph`, `--only cluster` and their sizes pick some. Beside the
file lies a picture of the same name. Peak memory is of the whole process, Python and its libraries included.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from reid.cluster import labels_at, streamed_forest
from reid.identify.constrained_partition import Partition, partition
from reid.identify.constraints import Constraints, conflicted
from reid.neighbors.edge_arrays import Edges, join_edges
from tests.benchmarks.data import MOST_IMAGES, POWER
from tests.benchmarks.machine import instruction_set
from tests.benchmarks.versus import peak_bytes

PART_ROWS = 2**14
FAR_PAIRS = 60  # a row, with somebody else
KNOWN = 0.3  # here individuals are cliques, a few of them joined by mistake
CONFLICTS = 0.01  # of the individuals have two rows in one image
DIMENSION = 256


class DrawnGraph:
    """A graph of made-up individuals; its edges are drawn anew, the same ones, each time they are read.

    Attributes:
        n: rows.
        seconds: that drawing has taken so far.
    """

    def __init__(self, n: int, seed: int = 0) -> None:
        """Individuals as in data.py, their rows in random order."""
        rng = np.random.default_rng(seed)
        sizes = np.minimum((2 * rng.pareto(POWER, n)).astype(np.int64) + 1, MOST_IMAGES)
        count = int(np.searchsorted(np.cumsum(sizes), n)) + 1
        sizes = sizes[:count].copy()
        sizes[-1] -= sizes.sum() - n
        self.n, self.seconds, self._seed, self._sizes = n, 0.0, seed, sizes
        self._starts = np.cumsum(sizes) - sizes
        self._row = rng.permutation(n).astype(np.int32)
        self._individual = np.empty(n, np.int32)
        self._individual[self._row] = np.repeat(np.arange(count, dtype=np.int32), sizes)

    def parts(self) -> Iterator[Edges]:
        """All edges, each pair once: those within some individuals, and of some rows to others."""
        rng = np.random.default_rng([self._seed, 1])
        starts = range(0, self.n, PART_ROWS)
        cuts = np.searchsorted(self._starts, [*starts, self.n])
        for start, (first, stop) in zip(starts, pairwise(cuts.tolist()), strict=True):
            began = time.perf_counter()
            near = self._within(first, stop)
            far = self._between(np.arange(start, min(start + PART_ROWS, self.n)), rng)
            length = 0.05 + 0.33 * rng.beta(3, 3, len(near))
            apart = KNOWN - 0.001 + 0.3 * np.sqrt(rng.random(len(far)))
            pairs = np.sort(np.concatenate([near, far]), axis=1).astype(np.int32)
            part = pairs, np.concatenate([length, apart]).astype(np.float32)
            self.seconds += time.perf_counter() - began
            yield part

    def _within(self, first: int, stop: int) -> np.ndarray:
        found = [np.empty((0, 2), np.int32)]
        sizes, starts = self._sizes[first:stop], self._starts[first:stop]
        for size in np.unique(sizes):
            i, j = np.triu_indices(size, 1)
            at = starts[sizes == size, None]
            found.append(self._row[np.stack([(at + i).ravel(), (at + j).ravel()], axis=1)])
        return np.concatenate(found)

    def _between(self, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        # Steps of less than half of the way round: no pair comes from both its ends.
        steps = 1 + np.unique(rng.integers(0, (self.n - 1) // 2, FAR_PAIRS))
        pairs = np.stack([np.repeat(rows, len(steps)), np.tile(steps, len(rows))], axis=1)
        pairs[:, 1] = (pairs[:, 0] + pairs[:, 1]) % self.n
        mine, theirs = self._individual[pairs].T
        return pairs[mine != theirs]

    def constraints(self) -> Constraints:
        """Two rows of some individuals share an image, so they are two animals after all."""
        none = np.full(self.n, -1, np.int64)
        images = none.copy()
        several = np.flatnonzero(self._sizes > 1)
        chosen = several[:: round(1 / CONFLICTS)]
        for member in (0, 1):
            images[self._row[self._starts[chosen] + member]] = np.arange(len(chosen))
        pairs = np.empty((0, 2), np.int64)
        return Constraints(none, none, images, pairs, pairs)


def parted(drawn: DrawnGraph, links: Edges, constraints: Constraints) -> Partition:
    """`partition` of all edges, without holding them.

    Where no component holds two rows that must be kept apart, the spanning forest says all; of the
    others all edges are read once more.

    Args:
        drawn: the graph.
        links: merges and weights of its spanning forest up to KNOWN.
        constraints: of its rows.
    """
    whole = partition(drawn.n, *links, KNOWN, _without_cannot_links(constraints)).component
    bad = conflicted(whole, constraints)[whole]
    kept = [(links[0][~bad[links[0][:, 0]]], links[1][~bad[links[0][:, 0]]])]
    for edges, distances in drawn.parts():
        here = bad[edges[:, 0]] & bad[edges[:, 1]] & (distances <= np.float32(KNOWN))
        kept.append((edges[here], distances[here]))
    return partition(drawn.n, *join_edges(kept), KNOWN, constraints)


def _without_cannot_links(constraints: Constraints) -> Constraints:
    none = np.full(len(constraints.images), -1, np.int64)
    return Constraints(
        none, constraints.encounters, none, constraints.match, constraints.nomatch[:0]
    )


def graph(n: int, min_samples: int = 2) -> dict[str, Any]:
    """In the child: forest and partition of a drawn graph."""
    drawn = DrawnGraph(n)
    edges = sum(len(pairs) for pairs, _ in drawn.parts())
    constraints = drawn.constraints()
    found: dict[str, Any] = {"edges": edges, "drawing_peak_bytes": peak_bytes()}

    def seconds_since(began: float, drawing: float) -> float:
        return time.perf_counter() - began - (drawn.seconds - drawing)

    began, drawing = time.perf_counter(), drawn.seconds
    forest = streamed_forest(drawn.parts(), n, min_samples)
    found["forest_seconds"] = seconds_since(began, drawing)
    found["forest_peak_bytes"] = peak_bytes()
    began = time.perf_counter()
    clusters = int(labels_at(forest, KNOWN).max()) + 1
    found["labels_seconds"] = time.perf_counter() - began
    near = np.searchsorted(forest.weights, np.float32(KNOWN), side="right")
    links = forest.merges[:near].copy(), forest.weights[:near].copy()
    del forest
    began, drawing = time.perf_counter(), drawn.seconds
    individuals = int(parted(drawn, links, constraints).component.max()) + 1
    found["partition_seconds"] = seconds_since(began, drawing)
    return found | {
        "peak_bytes": peak_bytes(),
        "clusters": clusters,
        "individuals": individuals,
        "cpu_seconds": time.process_time(),
    }


def cluster(n: int, work: Path) -> dict[str, Any]:
    """In a process that does nothing else: make the rows, if they are not there, and run the command."""
    path, out = work / f"rows-{n}-{DIMENSION}.npy", work / f"out-{n}"
    if not path.exists():
        aside = path.with_suffix(".part.npy")
        # In a process of its own: what this one holds would count as held by its children, too.
        code = f"import numpy as np, tests.benchmarks.data as d; np.save({str(aside)!r}, d.bench_rows({n}, {DIMENSION})[0])"
        subprocess.run([sys.executable, "-c", code], check=True, env=_environment())
        aside.rename(path)
    command = [sys.executable, "-m", "jobs", "cluster", "--embeddings", str(path)]
    began = time.perf_counter()
    process = subprocess.Popen([*command, "--out", str(out)], env=_environment())
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(
            f"reid cluster of {n:,} rows ended with {os.waitstatus_to_exitcode(status)}"
        )
    seconds = time.perf_counter() - began
    told = json.loads((out / "summary.json").read_text())["cluster"]
    species = next(iter(told["species"].values()))
    return {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": 1024 * used.ru_maxrss,
        "stage_seconds": told["seconds"],
        "individuals": species["individuals"],
        "eps": species["eps"],
    }


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Rows against seconds and memory, both axes logarithmic."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for part, name in (
        ("graph", "forest and partition, drawn graph"),
        ("cluster", f"reid cluster, d = {DIMENSION} "),
    ):
        own = sorted((row for row in rows if row["part"] == part), key=lambda row: row["n"])
        sizes = [row["n"] for row in own]
        left.plot(sizes, [row["cpu_seconds"] for row in own], "o-", label=name)
        right.plot(sizes, [row["peak_bytes"] / 1e9 for row in own], "o-", label=name)
    for axes, label in ((left, "CPU seconds, drawing included"), (right, "peak memory, GB")):
        axes.set(xscale="log", yscale="log", xlabel="rows", ylabel=label)
        axes.grid(visible=True, alpha=0.3)
    left.legend(frameon=False, fontsize="small", loc="lower right")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("scale.json"))
    parser.add_argument("--only", choices=("graph", "cluster"), nargs="+")
    parser.add_argument("--graph", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--cluster", type=int, nargs="+", default=[100_000, 300_000, 1_000_000])
    parser.add_argument("--work", type=Path, help="folder where made-up rows stay for another run")
    parser.add_argument("--again", action="store_true", help="measure sizes that are there, too")
    parser.add_argument("--child", choices=("graph", "cluster"), help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        print(json.dumps(graph(args.n) if args.child == "graph" else cluster(args.n, args.work)))
        return
    rows = json.loads(args.out.read_text())["rows"] if args.out.exists() else []
    with tempfile.TemporaryDirectory() as folder:
        work = (args.work or Path(folder)).absolute()
        work.mkdir(parents=True, exist_ok=True)
        for part in args.only or ("graph", "cluster"):
            for n in getattr(args, part):
                there = [row for row in rows if (row["part"], row["n"]) == (part, n)]
                if there and not args.again:
                    continue
                load = os.getloadavg()[0]
                command = [sys.executable, __file__, "--child", part, "--n", str(n)]
                done = subprocess.run(
                    [*command, "--work", str(work)], stdout=subprocess.PIPE, text=True, check=True
                )
                row = {"part": part, "n": n, **json.loads(done.stdout.splitlines()[-1])}
                row |= {"load_before": load, "machine": instruction_set()}
                rows = [row, *(one for one in rows if one not in there)]
                rows.sort(key=lambda one: (one["part"], one["n"]))
                args.out.write_text(json.dumps({"rows": rows}, indent=2) + "\n")
                draw(rows, args.out.with_suffix(".png"))
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
