"""A nightly run killed at random moments, each time followed by the same command: is it all the same?

    python tests/benchmarks/kills.py --out kills.json
    python tests/benchmarks/kills.py --kills 5 --seed 1

The built-in herd; the catalogue holds its labelled season. The night is a season of unlabelled
pictures: embedded by model actors, searched by Ray tasks, committed. An undisturbed run says how long
a night takes. Then the driver of another one, in a process of its own, is killed with SIGKILL at a
moment drawn evenly over that time, and the same command is run to its end. What the catalogue then
holds is compared with the undisturbed one: identities, decisions, names and their counters, settings,
events and the neighbour graph, all but the ids and times of runs; distances to 1e-5, as the last bit of a
network's output depends on the batch that an image was in, and confidences, whose curve is steep in places,
to 1e-3.

The cluster is another process and outlives the drivers, as it does at night.
"""

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from jobs.common import outputs
from reid.catalogue import open_catalogue, read_events, read_graph
from reid.synthetic import make_herd

ROOT = Path(__file__).parents[2]
RULES = (
    "identify.encounters=best",
    "identify.known_distance=0.12",
    "identify.new_distance=0.2",
    "embed.runtime=torch",
    "embed.cpus_per_worker=1",
    "embed.shard_rows=8",
)
CLOSE = {"confidence": 1e-3, "nearest_distance": 1e-5, "distance": 1e-5}


def night(table: Path, catalogue: Path, address: str) -> subprocess.Popen[bytes]:
    """Start a night, in a process group of its own."""
    log = (catalogue.parent / "log").open("ab")
    arguments = ["-i", str(table), "-C", str(catalogue), "--address", address, *RULES]
    return subprocess.Popen(
        [sys.executable, "-m", "jobs", "identify", *arguments],
        cwd=ROOT,
        stdout=log,
        stderr=log,
        env={**os.environ, "OMP_NUM_THREADS": "2"},
        start_new_session=True,
    )


def finish(table: Path, catalogue: Path, address: str) -> float:
    """Run a night to its end; its seconds."""
    started = time.perf_counter()
    code = night(table, catalogue, address).wait()
    if code != 0:
        raise SystemExit(
            f"a run ended with {code}: {(catalogue.parent / 'log').read_text()[-20000:]}"
        )
    return time.perf_counter() - started


def state(place: Path) -> dict[str, pd.DataFrame]:
    """What two catalogues have to agree on."""
    catalogue = open_catalogue(str(place))
    species = catalogue.rows(["species"])["species"].unique().to_pylist()
    edges = pd.concat([read_graph(catalogue, name).edges.to_pandas() for name in species])
    events = read_events(catalogue).drop_columns(["run_id", "number", "time"]).to_pandas()
    events["other_ids"] = events["other_ids"].map(list)
    settings = {**catalogue.settings, "counters": dict(catalogue.counters)}
    return {
        "rows": catalogue.rows().drop_columns(["run_id", "bbox"]).to_pandas(),
        "events": events,
        "graph": edges.drop_duplicates(["a_id", "b_id"]).sort_values(["a_id", "b_id"]),
        "settings": pd.DataFrame({"settings": [json.dumps(settings, sort_keys=True)]}),
    }


def differences(one: dict[str, pd.DataFrame], other: dict[str, pd.DataFrame]) -> list[str]:
    """What differs, in words; empty where two catalogues are identical."""
    found = []
    for name, frame in one.items():
        a, b = frame.reset_index(drop=True), other[name].reset_index(drop=True)
        if len(a) != len(b):
            found.append(f"{name}: {len(a)} and {len(b)} rows")
            continue
        for column in a.columns:
            if column in CLOSE:
                same = np.allclose(
                    a[column].to_numpy(float),
                    b[column].to_numpy(float),
                    atol=CLOSE[column],
                    equal_nan=True,
                )
            else:
                same = a[column].astype(str).equals(b[column].astype(str))
            if not same:
                found.append(f"{name}.{column}")
    return found


def progress_at_death(catalogue: Path, version: int) -> str:
    """How far the killed run had come."""
    if open_catalogue(str(catalogue)).version > version:
        return "committed"
    runs = sorted((catalogue / "runs").iterdir())
    latest = runs[-1].name if len(runs) > 1 else "-"
    if list((catalogue / "staged").glob(f"{latest}*")):
        return "events staged"
    if list((catalogue / "edges").glob(f"*/*/{latest}*")):
        return "edges written"
    work = list((catalogue / "embeddings").glob("*/work-*"))
    return "embedding" if work else "starting" if len(runs) == 1 else "before or after embedding"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--individuals", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng = np.random.default_rng(args.seed)
    nodes = subprocess.Popen(
        [sys.executable, str(ROOT / "tests" / "jobs" / "nodes.py"), "1"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert nodes.stdout
    address = json.loads(nodes.stdout.readline())["address"]
    results: list[dict[str, Any]] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            home = Path(folder)
            herd = make_herd(
                home / "herd", individuals=args.individuals, images_per_individual=8, species=1
            )
            pictures = pd.read_csv(herd.annotations, dtype=str)
            uploads = {}
            for part in ("train", "test"):
                uploads[part] = home / "herd" / f"{part}.csv"
                pictures[pictures["split"] == part].to_csv(uploads[part], index=False)
            base = home / "base" / "catalogue"
            base.parent.mkdir()
            finish(uploads["train"], base, address)
            version = open_catalogue(str(base)).version

            def fresh(name: str) -> Path:
                place = home / name / "catalogue"
                shutil.copytree(base, place)
                return place

            undisturbed = fresh("undisturbed")
            seconds = finish(uploads["test"], undisturbed, address)
            wanted = state(undisturbed)
            if wanted["rows"]["confidence"].isna().any():
                raise SystemExit("there are no confidences to compare; label more of the herd")
            print(f"a night takes {seconds:.1f} s; {len(wanted['rows'])} images", flush=True)
            tried = 0
            while len(results) < args.kills:
                place = fresh(f"kill-{tried}")
                tried += 1
                process = night(uploads["test"], place, address)
                moment = float(rng.uniform(0, seconds))
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(moment)
                    print("a night that was quicker than its killer; another one", flush=True)
                    continue
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
                reached = progress_at_death(place, version)
                again = finish(uploads["test"], place, address)
                wrong = differences(wanted, state(place))
                results.append(
                    {"killed_after_seconds": moment, "reached": reached, "seconds_again": again, "differs": wrong}
                )  # fmt: skip
                print(
                    f"{len(results):3}: killed after {moment:5.1f} s ({reached}), again {again:.1f} s: "
                    f"{'identical' if not wrong else ', '.join(wrong)}",
                    flush=True,
                )
                shutil.rmtree(place.parent)
    finally:
        nodes.communicate(timeout=120)
    same = sum(not result["differs"] for result in results)
    print(f"{same} of {len(results)} identical to the undisturbed catalogue")
    if args.out:
        figures = {
            "kills": len(results),
            "identical": same,
            "night_seconds": seconds,
            "images": len(wanted["rows"]),
            "runs": results,
            "versions": outputs.versions(),
        }
        args.out.write_text(json.dumps(figures, indent=2))
    return 0 if same == len(results) else 1


if __name__ == "__main__":
    sys.exit(main())
