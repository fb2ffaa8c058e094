"""`reid cluster` without labels, as a whole, against its own comparison of all pairs and against a peer.

    python tests/benchmarks/one_pass.py --out one_pass.json
    python tests/benchmarks/one_pass.py --out one_pass.json --rows crops.npy    # and real rows: crops.py

Each side runs in a process of its own, warm: once on 500 rows, then timed on the whole file. The
command reads a .npy, finds a threshold, clusters and writes its four files; Ray and imports are not
in it. Memory is the peak of the resident set in the first timed run, over what it was after the warm
run, divided by the rows. CPU seconds stand beside the seconds, for machines that do other things, as
the load at both ends says.

    pass          the command against `stream_edges` up to the same search ceiling, alone
    fast_hdbscan  the command against fast_hdbscan (approximate) on the same file, read and clustered;
                  up to 20,000 rows
"""

import argparse
import json
import os
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


FEW = 20_000  # rows that are run several times in a process, and given to the peer


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
    base, seconds, cpu, peak = peak_bytes(), [], [], 0
    for run in range(runs):
        started, worked = time.perf_counter(), time.process_time()
        SIDES[side](path)
        took = time.perf_counter() - started
        cpu.append(time.process_time() - worked)
        seconds.append(own_pass.seconds if side == "pass" else took)  # type: ignore[attr-defined]
        if run == 0:
            peak = peak_bytes() - base
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_bytes": peak}


def in_children(sides: list[str], path: Path, runs: int, rounds: int) -> dict[str, Any]:
    """Every side in `rounds` processes, in turns."""
    found: dict[str, Any] = {
        side: {"seconds": [], "cpu_seconds": [], "peak_bytes": 0} for side in sides
    }
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
            found[side]["cpu_seconds"] += one["cpu_seconds"]
            found[side]["peak_bytes"] = max(found[side]["peak_bytes"], one["peak_bytes"])
    for one in found.values():
        one["median_seconds"] = statistics.median(one["seconds"])
        one["median_cpu_seconds"] = statistics.median(one["cpu_seconds"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--n", type=int, nargs="+", default=[20_000, 100_000])
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--rows", type=Path, nargs="*", default=[], help=".npy of real rows, too")
    parser.add_argument("--runs", type=int, default=3, help="timed runs in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.side:
        print(json.dumps(measure(args.side, args.data, args.runs)))
        return
    rows, load = [], [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder:
        sets: list[tuple[str, Path | int]] = [("made up (data.py)", n) for n in args.n]
        sets += [(path.stem, path) for path in args.rows]
        for name, source in sets:
            path = Path(folder) / "rows.npy"
            made = isinstance(source, int)
            np.save(path, bench_rows(source, args.d)[0] if made else np.load(source))
            n, d = np.load(path, mmap_mode="r").shape
            few = n <= FEW
            sides = ["command", "pass", *(["fast_hdbscan"] if few else [])]
            found = in_children(sides, path, args.runs if few else 1, args.rounds)
            row = {"rows": name, "n": n, "d": d, **found, **ratios(found, n)}
            rows.append(row)
            print(json.dumps({key: one for key, one in row.items() if not isinstance(one, dict)}))
    load.append(os.getloadavg()[0])
    result = {"machine": instruction_set(), "load_before_and_after": load, "rows": rows}
    if args.out:
        args.out.write_text(json.dumps(result, indent=2) + "\n")


def ratios(found: dict[str, Any], n: int) -> dict[str, float]:
    """The figures that are aimed at."""
    command = found["command"]
    result = {
        "command_over_pass": command["median_seconds"] / found["pass"]["median_seconds"],
        "command_over_pass_cpu": command["median_cpu_seconds"]
        / found["pass"]["median_cpu_seconds"],
        "command_kb_a_row": command["peak_bytes"] / n / 1000,
    }
    if "fast_hdbscan" in found:
        peer = found["fast_hdbscan"]
        result["times_faster_than_fast_hdbscan"] = (
            peer["median_seconds"] / command["median_seconds"]
        )
        result["times_less_cpu_than_fast_hdbscan"] = (
            peer["median_cpu_seconds"] / command["median_cpu_seconds"]
        )
    return result


if __name__ == "__main__":
    main()
