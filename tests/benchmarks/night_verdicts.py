"""How often is the verdict of a catalogue right, night by night, with some animals named and with none?

    python tests/benchmarks/night_verdicts.py --nyala nyala/ --table annotations-800.csv --most 300 --out verdict.json

The sets of `verdict.py` go through `reid identify` in three portions, whole encounters each, with every second
individual named or nobody. A catalogue obeys its names, and its verdict is on what the model alone makes of the
images; so it is judged by the ARI of these groups against the truth (`ari`), and beside it stand the ARI of the
individuals that people get, among all images and among those that nobody named. Right is what `verdict.py` calls
right. The figures go into --out under `catalogue`; the rest of that file stays.
"""

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

import jobs.catalogue.decider as decider
from jobs.cli import run_command
from jobs.common.verdicts import stored_verdicts
from reid.catalogue import open_catalogue
from reid.metrics import agreement
from reid.verdict import POOR_ARI
from tests.benchmarks.machine import instruction_set
from tests.benchmarks.verdict import RIGHT_ARI, Set, all_sets, options
from tests.jobs import made_up

NIGHTS = 3


def portions(one: Set) -> list[np.ndarray]:
    """Rows of each night: whole encounters, in random order."""
    own = one.columns.get("encounter_id", np.full(len(one.vectors), -1))
    together = np.where(own < 0, own.max() + 1 + np.arange(len(own)), own)
    order = np.random.default_rng(0).permutation(np.unique(together))
    return [np.flatnonzero(np.isin(together, part)) for part in np.array_split(order, NIGHTS)]


def nights(one: Set, labelled: bool, folder: Path) -> list[dict[str, Any]]:
    """A row a night."""
    random = np.random.default_rng(0)
    animals = random.permutation(int(one.identity.max()) + 1)
    named = np.isin(one.identity, animals[::2]) & labelled
    made_up.photograph(folder / "all", {f"{row:05d}": each for row, each in enumerate(one.vectors)})
    alone: dict[str, Any] = {}
    whole_night = decider.whole_night

    def watched(*arguments: Any) -> Any:
        rules, night = whole_night(*arguments)
        paths = night.rows["image_path"].to_pylist()
        alone["paths"], alone["cluster"] = paths, night.unaided.cluster
        return rules, night

    decider.whole_night = watched
    told = []
    try:
        for night, rows in enumerate(portions(one), 1):
            table = folder / f"night-{night}.csv"
            write_table(table, one, rows, named)
            place = str(folder / "catalogue")
            line = ["identify", "-i", str(table), "-C", place, "--root", str(folder / "all")]
            try:
                run_command(None, [*line, "identify.estimate=true"])
            except SystemExit as ended:
                if ended.code:
                    raise
            told.append(judged(one, labelled, night, place, named, alone))
    finally:
        decider.whole_night = whole_night
    return told


def write_table(table: Path, one: Set, rows: np.ndarray, named: np.ndarray) -> None:
    with table.open("w", newline="") as stream:
        sheet = csv.writer(stream)
        sheet.writerow(["path", "species", "identity", "encounter_id", "viewpoint"])
        for row in rows.tolist():
            who = f"animal {one.identity[row]}" if named[row] else ""
            codes = [
                one.columns[key][row] if key in one.columns else -1
                for key in ("encounter_id", "viewpoint")
            ]
            met, side = codes
            sheet.writerow([
                f"{row:05d}.jpg", "animal", who, f"met {met}" if met >= 0 else "", f"side {side}" if side >= 0 else "",
            ])  # fmt: skip


def judged(
    one: Set, labelled: bool, night: int, place: str, named: np.ndarray, alone: dict[str, Any]
) -> dict[str, Any]:
    catalogue = open_catalogue(place)
    verdict = stored_verdicts(catalogue)["animal"]
    held = catalogue.rows(["image_path", "identity_id"]).to_pandas()
    rows = numbers(held["image_path"])
    who = pd.factorize(held["identity_id"])[0]
    truth = one.identity
    ari = agreement(alone["cluster"], truth[numbers(alone["paths"])]).ari
    right = (verdict.level == "not usable") == (ari < POOR_ARI)
    if verdict.level == "usable":
        right = ari >= RIGHT_ARI
    free = ~named[rows]
    return {
        "set": one.name, "night": night, "images": len(rows), "labels": labelled, "ari": round(ari, 3),
        "ari_all_images": round(agreement(who, truth[rows]).ari, 3),
        "ari_not_named": round(agreement(who[free], truth[rows][free]).ari, 3),
        "level": verdict.level, "right": bool(right),
        "figures": {key: round(float(value), 3) for key, value in verdict.figures.items()},
    }  # fmt: skip


def numbers(paths: Any) -> np.ndarray:
    return np.array([int(Path(path).stem) for path in paths])


def main() -> None:
    parser = options(str(__doc__))
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.cache.mkdir(parents=True, exist_ok=True)
    made_up.stand_in(setattr)
    made_up.ROWS_A_PART = 10_000
    rows = []
    for one in all_sets(args):
        for labelled in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                for row in nights(one, labelled, Path(folder)):
                    rows.append(row)
                    print(json.dumps(row), flush=True)
    summary: dict[str, Any] = {}
    for labelled in (True, False):
        part = [row for row in rows if row["labels"] == labelled]
        name = "half named" if labelled else "nobody named"
        summary[name] = f"{sum(row['right'] for row in part)} of {len(part)} right"
    for key in ("ari", "ari_all_images", "ari_not_named"):
        usable = [row[key] for row in rows if row["level"] == "usable"]
        summary[f"least {key} called usable"] = min(usable, default=None)
        unwarned = [row[key] for row in rows if row["level"] != "not usable"]
        summary[f"least {key} not called not usable"] = min(unwarned, default=None)
    print(json.dumps(summary, indent=2))
    if args.out:
        written = json.loads(args.out.read_text()) if args.out.exists() else {}
        written["catalogue"] = {"machine": instruction_set(), **summary, "nights": rows}
        args.out.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
