"""Twice as many pictures, each with as many candidates: how does the time of `reid match` grow, and its driver?

    python tests/benchmarks/pairs_scale.py --out pairs_scale.json
    python tests/benchmarks/pairs_scale.py --rows 1000 2000 --more-k 2

Made-up keypoints, 64 a picture, and vectors; no picture is read. Votes over `pairs.wide`, mutual neighbours
over `pairs.k`, in a process for each size. Said are the seconds of the stage, and by how much the
driver's memory grew over what it was before (its high-water mark); then the same again with more candidates
a row: what each pair costs in the driver.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from jobs.common.session import ray_session
from jobs.pairs.match import match
from jobs.pairs.stored_pairs import plan
from reid import schema, store
from reid.config import load_config

ROOT = Path(__file__).parents[2]
POINTS, PART = 64, 256
SPECIES = "made up"


class Rows:
    """Annotations of one species, with vectors that know a little of who is who."""

    species = SPECIES

    def __init__(self, n: int) -> None:
        rng = np.random.default_rng(0)
        base = dict.fromkeys(schema.ANNOTATIONS.names) | {"root": "/", "species": SPECIES}
        self.rows = pa.Table.from_pylist(
            [
                base | {"annotation_id": f"{k:08d}", "image_path": f"{k}.jpg", "source_key": f"{k}"}
                | {"identity": f"{k // 5}", "encounter_id": f"{k}"}
                for k in range(n)
            ],
            schema=schema.ANNOTATIONS,
        )  # fmt: skip
        vectors = rng.normal(size=(n // 5 + 1, 64))[np.arange(n) // 5] + rng.normal(size=(n, 64))
        self.vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def write_keypoints(folder: str, rows: pa.Table) -> None:
    """Random points and descriptors, half of them an animal's own."""
    rng = np.random.default_rng(1)
    own = rng.integers(0, 256, (len(rows) // 5 + 1, POINTS // 2, 128), np.uint8)
    for start in range(0, len(rows), PART):
        part = rows[start : start + PART]
        found = []
        for k, row in enumerate(part.to_pylist(), start):
            more = rng.integers(0, 256, (POINTS - POINTS // 2, 128), np.uint8)
            found.append(
                {
                    "annotation_id": row["annotation_id"],
                    "species": SPECIES,
                    "xy": rng.uniform(0, 500, 2 * POINTS).astype(np.float32),
                    "score": np.ones(POINTS, np.float32),
                    "descriptor": np.concatenate([own[k // 5], more]).tobytes(),
                    "source_key": row["source_key"],
                    "width": 512,
                    "height": 512,
                    "scale": 1.0,
                }
            )
        table = pa.Table.from_pylist(found, schema=schema.KEYPOINTS)
        store.write_table(f"{folder}/part-{start:012x}.parquet", table)


def memory(name: str) -> int:
    """Of this process, bytes: VmRSS now, VmHWM the most so far."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(name))
    return 1024 * int(line.split()[1])


def measure(n: int, wide: int, k: int) -> dict[str, Any]:
    """One size, in this process."""
    with tempfile.TemporaryDirectory() as out:
        settings = [f"out={out}", "pairs.matcher=patches", f"pairs.wide={wide}", f"pairs.k={k}"]
        config = load_config(None, [*settings, "pairs.nearest=0"])
        rows = Rows(n)
        write_keypoints(plan(config, SPECIES).keypoints, rows.rows)
        with ray_session(None):
            before = memory("VmRSS")
            began = time.perf_counter()
            summary = match(config, [rows])
            seconds = time.perf_counter() - began
        told = summary.species[SPECIES]
        return {
            "rows": n,
            "wide": wide,
            "k": k,
            "voted": told["voted"]["new"],
            "matched": told["matched"]["new"],
            "seconds": round(seconds, 1),
            "driver_bytes": memory("VmHWM") - before,
        }


def child(n: int, wide: int, k: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", str(n), str(wide), str(k)]
    # What the child says of its progress and its errors is seen; its last line is the result.
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(result, flush=True)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rows", type=int, nargs=2, default=(2000, 4000))
    parser.add_argument("--wide", type=int, default=40)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--more-k", type=int, default=4, help="as many times the candidates")
    parser.add_argument("--one", type=int, nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(*args.one)))
        return
    small, large = (child(n, args.wide, args.k) for n in args.rows)
    more = child(args.rows[0], args.wide * args.more_k, args.k * args.more_k)
    pairs = more["voted"] + more["matched"] - small["voted"] - small["matched"]
    result = {
        "sizes": [small, large, more],
        "time_ratio": round(large["seconds"] / small["seconds"], 2),
        "driver_bytes_a_pair": round((more["driver_bytes"] - small["driver_bytes"]) / pairs, 1),
    }
    print({name: value for name, value in result.items() if name != "sizes"})
    if args.out:
        from tests.benchmarks.machine import instruction_set

        args.out.write_text(json.dumps(result | {"machine": instruction_set()}, indent=1) + "\n")


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main()
