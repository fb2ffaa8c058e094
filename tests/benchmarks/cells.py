"""Search within cells against all pairs: what is found, and at what cost.

    python tests/benchmarks/cells.py --n 100000 1000000 --exact-up-to 200000 --out docs/benchmarks/cells.json
    python tests/benchmarks/cells.py --rows crops.npy --radius 0.13

Rows are those of `data.bench_rows`, or a .npy file of real ones (`crops.py` makes one). The goal, at a million
rows of 256 on two cores: 0.99 of the pairs within reach, by comparing a tenth of all pairs.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from reid.neighbors import cell_search, stream_edges
from tests.benchmarks.data import bench_rows
from tests.benchmarks.machine import instruction_set
from tests.benchmarks.versus import peak_bytes

BUDGET = 2**30


def measure(rows: np.ndarray, radius: float, wanted: float, exact: bool) -> dict[str, Any]:
    """Seconds, and shares, of one search by cells; of all pairs too where they are asked for."""
    n = len(rows)
    search = cell_search(wanted, memory_bytes=BUDGET, least_rows=0)
    before, cpu = time.perf_counter(), time.process_time()
    found = sum(len(distances) for _, distances in search.edges(rows, radius))
    one = search.measured[0]
    result: dict[str, Any] = {
        "rows": n, "dimensions": rows.shape[1], "radius": radius, "asked_for": wanted,
        "seconds": time.perf_counter() - before, "cpu_seconds": time.process_time() - cpu,
        "edges": found, "cells": one.cells, "visits": one.visits, "share_of_pairs_compared": one.compared,
        "sample": {"rows": one.rows, "pairs": one.pairs, "found": one.share, "spread": one.spread},
        "peak_gb": peak_bytes() / 1e9,
    }  # fmt: skip
    if exact:
        before, cpu = time.perf_counter(), time.process_time()
        parts = stream_edges(rows, radius, memory_bytes=BUDGET, checked=True)
        whole = sum(len(distances) for _, distances in parts)
        result |= {
            "all_pairs_seconds": time.perf_counter() - before,
            "all_pairs_cpu_seconds": time.process_time() - cpu,
            "found": found / whole if whole else None,
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--n", type=int, nargs="*", default=[100_000])
    parser.add_argument("--rows", type=Path, help=".npy of unit rows, in place of made-up ones")
    parser.add_argument("--d", type=int, default=256)
    parser.add_argument("--radius", type=float, default=0.4)
    parser.add_argument("--recall", type=float, default=0.99)
    parser.add_argument("--exact-up-to", type=int, default=200_000)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    runs: list[dict[str, Any]] = []
    for n in given.n if given.rows is None else [0]:
        rows = bench_rows(n, given.d)[0] if given.rows is None else np.load(given.rows)
        run = measure(rows, given.radius, given.recall, len(rows) <= given.exact_up_to)
        run["of"] = "made up" if given.rows is None else given.rows.name
        runs.append(run)
        print(json.dumps(run, indent=2), flush=True)
        if given.out:
            given.out.write_text(
                json.dumps({"machine": instruction_set(), "runs": runs}, indent=2) + "\n"
            )


if __name__ == "__main__":
    main()
