"""Reading a table of a million rows: microseconds a row on one core, and bytes a row.

    python tests/benchmarks/sources.py --out sources.json [--rows 1000000]

The peer is pandas' own reader of CSV, which gives the same cells and no meaning: no dates, boxes, ids,
or files looked at.
"""

import argparse
import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

# Run as a script, so that the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from reid.sources import read_sources

FILES = 1000  # that are there; asking for one that is not costs more than for one that is


def write(folder: Path, rows: int) -> Path:
    """A table with every kind of column, of images that exist."""
    for number in range(FILES):
        (folder / f"IMG_{number:04d}.JPG").touch()
    path = folder / "table.csv"
    with path.open("w") as file:
        file.write("path,identity,species,timestamp,encounter_id,bbox_x,bbox_y,bbox_w,bbox_h\n")
        for row in range(rows):
            file.write(
                f"IMG_{row % FILES:04d}.JPG,luna{row % 999},lynx,2021-04-11 20:{row % 60:02d}:{row % 59:02d},"
                f"e{row // 3},{row // FILES},10,200,{100 + row % 7}\n"
            )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), args.rows)
        began = time.process_time()
        pd.read_csv(path, dtype=str)
        peer = time.process_time() - began
        began = time.process_time()
        annotations = read_sources([str(path)]).annotations
        ours = time.process_time() - began
    found = {
        "rows": len(annotations),
        "microseconds_a_row": round(1e6 * ours / args.rows, 2),
        "pandas_microseconds_a_row": round(1e6 * peer / args.rows, 2),
        "ratio_to_pandas": round(ours / peer, 2),
        "table_bytes_a_row": round(annotations.nbytes / args.rows, 1),
        "peak_megabytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
    args.out.write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
