"""What each screen of the neighbour search costs on given rows, against the plain float32 pass.

    python tests/benchmarks/screens.py --out screens.json
    python tests/benchmarks/screens.py --rows crops.npy --radius 0.127 --backends numpy prefix

Seconds are CPU seconds of one pass over all pairs, the smallest of some runs, screens in turns.
`auto` chooses anew in each pass, and its seconds include that. Without --rows: made-up rows of
`data.py`. The instruction set is that of the CPU, less what ONEDNN_MAX_CPU_ISA and OPENBLAS_CORETYPE
switch off; where they do, leave `torch` out and say --plain-auto, as bfloat16 may then take minutes.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from reid.neighbors import choose_basis, screen, stream_edges
from tests.benchmarks.data import bench_rows

SWITCHES = ("ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")
FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


def instructions() -> dict[str, Any]:
    """Vector instructions this CPU has, and the variables that keep libraries from using them."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    switched = {name: os.environ[name] for name in SWITCHES if name in os.environ}
    return {"flags": [flag for flag in FLAGS if flag in flags], "limited_by": switched}


def compare(rows: np.ndarray, radius: float, backends: list[str], runs: int) -> dict[str, Any]:
    """CPU seconds of a pass with each backend, and how many edges came out (the same for all)."""
    seconds: dict[str, list[float]] = {backend: [] for backend in backends}
    edges = set()
    for _ in range(runs):
        for backend in backends:
            start = time.process_time()
            parts = stream_edges(rows, radius, backend=backend, checked=True)
            edges.add(sum(len(part) for part, _ in parts))
            seconds[backend].append(time.process_time() - start)
    assert len(edges) == 1, f"screens differ: {edges}"
    best = {backend: min(taken) for backend, taken in seconds.items()}
    basis = choose_basis(rows, radius)
    count = edges.pop()
    return {
        "radius": radius,
        "edges": count,
        "share_of_pairs": count / (len(rows) * (len(rows) - 1) / 2),
        "cpu_seconds": best,
        "times_faster_than_numpy": {name: best["numpy"] / taken for name, taken in best.items()},
        "auto_takes": "no prefix" if basis is None else f"prefix of {basis.shape[1]}",
    }


def main() -> None:
    known = ("numpy", "torch", "prefix", "auto")
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rows", type=Path, help=".npy of (n, d) float32 unit rows")
    parser.add_argument("--name", help="what the rows are")
    parser.add_argument("--radius", type=float, nargs="+", default=[0.4])
    parser.add_argument("--backends", nargs="+", default=list(known), choices=known)
    parser.add_argument("--n", type=int, default=20_000, help="made-up rows")
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--plain-auto", action="store_true", help="`auto` shall not try bfloat16")
    args = parser.parse_args()
    rows = np.load(args.rows) if args.rows else bench_rows(args.n)[0]
    if args.plain_auto:
        screen._bfloat16_is_faster = lambda: False  # type: ignore[assignment]
    backends = ["numpy", *(name for name in args.backends if name != "numpy")]
    found = {
        "rows": args.name or (args.rows.name if args.rows else "made up (data.py)"),
        "n": len(rows),
        "d": rows.shape[1],
        "machine": {"threads": torch.get_num_threads()} | instructions(),
        "screens": [compare(rows, radius, backends, args.runs) for radius in args.radius],
    }
    print(json.dumps(found, indent=2))
    if args.out:
        args.out.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    main()
