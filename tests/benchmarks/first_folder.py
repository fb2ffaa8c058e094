"""An ecologist's first folder: real photographs without a label, and what `reid run` makes of them.

    python tests/benchmarks/first_folder.py --nyala ../shared/data/nyala --work work/ --out first_folder.json

Two sets of 300 photographs of other animals each. On the first the way in which pairs are grouped without labels
was chosen (`reid.tune.by_pairs.UNLABELLED`); the second had no part in anything. For each: ARI against the hidden
names of what encounters alone give, of `reid run` as it comes, and with `pairs=on`. Matching 2,750 pairs takes a
quarter of an hour of one core; the work folder is gone on with.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from reid import cluster
from reid.tune import encode_labels
from tests.benchmarks.machine import instruction_set

ROWS = 300
WINDOW = "images.window=[0.15,0.12,0.85,0.68]"  # where nyalas have their pattern
WAYS = {"as it comes": [], "pairs=on": ["pairs=on", WINDOW]}


def sets(nyala: Path) -> dict[str, pd.DataFrame]:
    """Photographs by whether anything was chosen on them."""
    table = pd.read_csv(nyala / "annotations-800.csv")
    first = table.head(ROWS)
    others = table[~table["identity"].isin(first["identity"])]
    return {"chosen on": first, "held out": others[others.index >= ROWS].head(ROWS)}


def ari(names: pd.Series, labels: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(names, cluster.noise_to_singletons(labels)))


def run(rows: pd.DataFrame, nyala: Path, work: Path, settings: list[str]) -> dict[str, Any]:
    """`reid run` on the rows without their names."""
    work.mkdir(parents=True, exist_ok=True)
    table = work / "photographs.csv"
    rows.drop(columns=["identity", "split"]).to_csv(table, index=False)
    out = work / "out"
    started = time.perf_counter()
    command = [sys.executable, "-m", "jobs", "run", "--input", str(table), "--root", str(nyala)]
    subprocess.run([*command, "--out", str(out), *settings], check=True)
    seconds = time.perf_counter() - started
    found = pd.read_csv(out / "identities.csv")
    names = rows.set_index("path")["identity"]
    told = json.loads((out / "summary.json").read_text())["cluster"]["verdict"]
    labels = encode_labels(found["cluster_label"].to_numpy(object))
    return {
        "ari": ari(found["image_path"].map(names), labels),
        "groups": int(found["cluster_label"].nunique()),
        "verdict": told["level"],
        "seconds": seconds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--nyala", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    result: dict[str, Any] = {"machine": instruction_set(), "sets": {}}
    for number, (name, rows) in enumerate(sets(given.nyala).items()):
        met, _ = cluster.encounters_of_one_animal(
            encode_labels(rows["encounter_id"].to_numpy(object)), np.arange(len(rows))
        )
        one = {
            "photographs": len(rows),
            "individuals": int(rows["identity"].nunique()),
            "encounters": int(rows["encounter_id"].nunique()),
            "encounters alone": {"ari": ari(rows["identity"], met)},
        }
        for place, (way, settings) in enumerate(WAYS.items()):
            folder = given.work / f"{number}{place}"
            one[way] = run(rows, given.nyala, folder, settings)
        result["sets"][name] = one
        print(json.dumps({name: one}, indent=1), flush=True)
        if given.out:
            given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
