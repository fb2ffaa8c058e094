"""Every benchmark, one after another, each in a process of its own.

    python -m tests.benchmarks --out benchmarks

Run it on a quiet machine. Each writes OUT/<name>.json and prints its figures; `--only embed sweep` picks
some. A benchmark that fails is said at the end, and the exit code is 1.
"""

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
NAMES = (
    "graph",
    "sweep",
    "rerank",
    "embed",
    "frames",
    "herd_difficulty",
    "unlabelled",
    "scan",
    "tokens",
    "verdict",
    "night_verdicts",
    "finetune",
    "catalogue",
    "kills",
    "storage_away",
    "screens",
    "one_pass",
    "sources",
    "commands",
    "pairs",
    "pairs_scale",
)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, default=Path("benchmarks"))
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    failed = []
    for name in args.only:
        print(f"== {name}", flush=True)
        command = [
            sys.executable,
            str(HERE / f"{name}.py"),
            "--out",
            str(args.out / f"{name}.json"),
        ]
        if subprocess.run(command, check=False).returncode:
            failed.append(name)
    print(f"failed: {', '.join(failed)}" if failed else "all done")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
