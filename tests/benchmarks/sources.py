"""Reading a table of a million rows: microseconds a row on one core, and bytes a row.

    python tests/benchmarks/sources.py --out sources.json [--rows 1000000]

Two tables, each with path, individual, species, place, time, encounter and a box in four columns. `pixels`:
whole pixels, times without a zone. `shares`: boxes in shares of the image with five decimals, times with one.
Rows repeat 1,000 files, which are there; what a further file costs is measured apart (`microseconds_a_file`).
The peer is pandas' own reader of CSV, which gives the same cells and no meaning: no dates, boxes, ids,
or files looked at. The least of three readings counts.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

# Run as a script, so that the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from reid.sources import read_sources
from tests.benchmarks.machine import instruction_set

FILES = 1000  # that are there; asking for one that is not costs more than for one that is


HEADER = "path,identity,species,location_id,timestamp,encounter_id,bbox_x,bbox_y,bbox_w,bbox_h\n"


def write(path: Path, rows: int, files: int, *, shares: bool) -> None:
    """A table with every kind of column, of images that exist."""
    for number in range(files):
        (path.parent / f"IMG_{number:06d}.JPG").touch()
    with path.open("w") as file:
        file.write(HEADER)
        for row in range(rows):
            number = row // files
            box = (
                f"{number % 97 / 131 + 1e-5:.5f},{row % 89 / 127:.5f},{0.1 + row % 83 / 331:.5f},0.25171"
                if shares
                else f"{number},{row % 89},{200 + row % 83},{100 + row % 7}"
            )
            moment = f"2021-04-11 20:{row % 60:02d}:{row % 59:02d}{'+01:00' if shares else ''}"
            file.write(
                f"IMG_{row % files:06d}.JPG,luna{row % 999},lynx,n{row % 50},{moment},e{row // 3},{box}\n"
            )


def seconds(read: Callable[[], object]) -> float:
    """Time of this process and its threads, the least of three."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        read()
        taken.append(time.process_time() - began)
    return min(taken)


def measured(path: Path, rows: int) -> dict[str, float]:
    """One table, by pandas and by us."""
    peer = seconds(lambda: pd.read_csv(path, dtype=str))
    ours = seconds(lambda: read_sources([str(path)]))
    annotations = read_sources([str(path)]).annotations
    return {
        "rows": len(annotations),
        "microseconds_a_row": round(1e6 * ours / rows, 2),
        "pandas_microseconds_a_row": round(1e6 * peer / rows, 2),
        "ratio_to_pandas": round(ours / peer, 2),
        "table_bytes_a_row": round(annotations.nbytes / rows, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument(
        "--files", type=int, default=100_000, help="of the table with one row a file"
    )
    args = parser.parse_args()
    # Other programs on the machine make every figure larger: pandas' own tells by how much.
    load = round(os.getloadavg()[0], 1)
    found: dict[str, object] = {"machine": instruction_set(), "load_average": load}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for kind in ("pixels", "shares"):
            write(folder / "table.csv", args.rows, FILES, shares=kind == "shares")
            found[kind] = measured(folder / "table.csv", args.rows)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        for files in (FILES, args.files):
            (folder / f"{files}").mkdir()
            write(folder / f"{files}" / "table.csv", args.files, files, shares=False)
        few, many = (
            seconds(lambda at=files: read_sources([str(folder / f"{at}" / "table.csv")]))  # type: ignore[misc]
            for files in (FILES, args.files)
        )
    found["microseconds_a_file"] = round(1e6 * (many - few) / (args.files - FILES), 2)
    found["peak_megabytes"] = peak
    args.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
