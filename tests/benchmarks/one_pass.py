"""`reid cluster` without labels, as a whole, against its own comparison of all pairs and against a peer.

    python tests/benchmarks/one_pass.py --out one_pass.json

Each side runs in a process of its own, warm: once on 500 rows, then timed on the whole file. The
command reads a .npy, finds a threshold, clusters and writes its four files; Ray and imports are not
in it. Memory is the peak of the resident set in the first timed run, over what it was after the warm
run, divided by the rows.

    pass          the command against `stream_edges` up to the same search ceiling, alone
    fast_hdbscan  the command against fast_hdbscan (approximate) on the same file, read and clustered
"""

import argparse
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

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.data import bench_rows
from tests.benchmarks.graph import fast_hdbscan
from tests.benchmarks.machine import instruction_set
from tests.benchmarks.versus import peak_bytes


def command(path: Path) -> None:
    from jobs.run import run_cluster
    from reid.config import load_config

    run_cluster(load_config(overrides=[f"out={path.parent / 'out'}"]), str(path))


def own_pass(path: Path) -> None:
    from reid.neighbors import stream_edges
    from reid.tune import search_ceiling
    from reid.tune.threshold import UNLABELLED_NEIGHBOURS

    rows = np.load(path)
    ceiling = search_ceiling(rows, UNLABELLED_NEIGHBOURS[0])
    started = time.perf_counter()
    for _ in stream_edges(rows, ceiling):
        pass
    own_pass.seconds = time.perf_counter() - started  # type: ignore[attr-defined]


def peer(path: Path) -> None:
    fast_hdbscan(np.load(path))


SIDES: dict[str, Callable[[Path], None]] = {
    "command": command,
    "pass": own_pass,
    "fast_hdbscan": peer,
}


def measure(side: str, path: Path, runs: int) -> dict[str, Any]:
    """In the child: run one side, print what it took as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        few = Path(folder) / "few.npy"
        np.save(few, np.load(path, mmap_mode="r")[:500])
        SIDES[side](few)
    base, seconds, peak = peak_bytes(), [], 0
    for run in range(runs):
        started = time.perf_counter()
        SIDES[side](path)
        took = time.perf_counter() - started
        seconds.append(own_pass.seconds if side == "pass" else took)  # type: ignore[attr-defined]
        if run == 0:
            peak = peak_bytes() - base
    return {"seconds": seconds, "peak_bytes": peak}


def in_children(sides: list[str], path: Path, runs: int, rounds: int) -> dict[str, Any]:
    """Every side in `rounds` processes, in turns."""
    found: dict[str, Any] = {side: {"seconds": [], "peak_bytes": 0} for side in sides}
    for _ in range(rounds):
        for side in sides:
            done = subprocess.run(
                [
                    sys.executable,
                    __file__,
                    "--side",
                    side,
                    "--data",
                    str(path),
                    "--runs",
                    str(runs),
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                check=True,
            )
            one = json.loads(done.stdout.splitlines()[-1])
            found[side]["seconds"] += one["seconds"]
            found[side]["peak_bytes"] = max(found[side]["peak_bytes"], one["peak_bytes"])
    for one in found.values():
        one["median_seconds"] = statistics.median(one["seconds"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--n", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3, help="timed runs in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(measure(args.side, args.data, args.runs)))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for k, n in enumerate(args.n):
            path = Path(folder) / f"{n}.npy"
            np.save(path, bench_rows(n, args.d)[0])
            sides = ["command", "pass", *(["fast_hdbscan"] if k == 0 else [])]
            found = in_children(sides, path, args.runs if k == 0 else 1, args.rounds)
            row = {
                "n": n,
                **found,
                "command_over_pass": found["command"]["median_seconds"]
                / found["pass"]["median_seconds"],
                "command_kb_a_row": found["command"]["peak_bytes"] / n / 1000,
            }
            if k == 0:
                row["times_faster_than_fast_hdbscan"] = (
                    found["fast_hdbscan"]["median_seconds"] / found["command"]["median_seconds"]
                )
            rows.append(row)
            print(json.dumps({key: one for key, one in row.items() if not isinstance(one, dict)}))
    result = {"d": args.d, "machine": instruction_set(), "rows": rows}
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
