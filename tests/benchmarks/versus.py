"""Time and memory of two ways to do the same work, each in a process of its own, in turns."""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np


def peak_bytes() -> int:
    """The largest resident set of this process so far; ru_maxrss would start from the parent's."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(x for x in status.splitlines() if x.startswith("VmHWM")).split()[1])


def measure(side: Callable[[Path, int], list[float]], data: Path, runs: int) -> dict[str, Any]:
    """In the child: `side` works on the first rows of the data and returns what can be compared.

    It runs on a few rows first, for the imports. Seconds are of all rows; memory is the peak of
    the resident set in the first run, over what it was before.
    """
    side(data, 200)
    base = peak_bytes()
    seconds, answer, peak = [], [0.0], 0
    n = len(np.load(data, mmap_mode="r"))
    for run in range(runs):
        start = time.perf_counter()
        answer = side(data, n)
        seconds.append(time.perf_counter() - start)
        if run == 0:  # the peer runs once; what repetition leaves behind is not compared
            peak = peak_bytes() - base
    return {"seconds": seconds, "peak_bytes": peak, "answer": answer}


def versus(
    script: str, ours: str, peer: str, data: Path, *, runs: int, rounds: int
) -> dict[str, Any]:
    """Run `script --side NAME --data FILE` for both sides in turns; the ratios of their medians."""
    sides: dict[str, dict[str, Any]] = {
        name: {"seconds": [], "peak_bytes": 0} for name in (ours, peer)
    }
    for _ in range(rounds):
        for name, side in sides.items():
            command = [sys.executable, script, "--side", name, "--data", str(data)]
            done = subprocess.run(
                [*command, "--runs", str(runs if name == ours else 1)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
            found = json.loads(done.stdout.splitlines()[-1])
            side["seconds"] += found["seconds"]
            side["peak_bytes"] = max(side["peak_bytes"], found["peak_bytes"])
            side["answer"] = found["answer"]
    for side in sides.values():
        side["median_seconds"] = statistics.median(side["seconds"])
    mine, theirs = sides[ours], sides[peer]
    difference = np.abs(np.subtract(mine.pop("answer"), theirs.pop("answer"))).max()
    return {
        "times_faster": theirs["median_seconds"] / mine["median_seconds"],
        "times_less_memory": theirs["peak_bytes"] / mine["peak_bytes"],
        "largest_difference": float(difference),
        **sides,
    }


def arguments(description: str) -> argparse.ArgumentParser:
    """What both benchmarks take."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--out", type=Path, help="where the figures go, as JSON")
    parser.add_argument("--n", type=int, default=20_000)
    parser.add_argument("--d", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3, help="timed runs of ours in each process")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each side")
    parser.add_argument("--side", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    return parser


def report(result: dict[str, Any], out: Path | None) -> None:
    """Print the figures, and write them where asked."""
    text = json.dumps(result, indent=2)
    print(text)
    if out:
        out.write_text(text + "\n")
