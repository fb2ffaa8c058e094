"""From typing to an answer: CPU seconds of commands that multiply nothing, and 150 images from start to report.

    python tests/benchmarks/commands.py --out commands.json

Each command is a process of its own, in turns; medians of the rounds. CPU seconds are those of the process
and its children, user and system. The 150 images are pictures of the built-in herd, of 25 animals;
each round has an output folder of its own.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

# Run as a script, so that the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.benchmarks.machine import instruction_set
from tests.jobs.test_exporting import keep
from tests.leopard_cats import frame

LIGHT = {
    "--help": ("--help",),
    "settings": ("settings",),
    "models": ("models",),
    "history": ("history", "-C", "{catalogue}"),
    "export csv": ("export", "-C", "{catalogue}", "-o", "{folder}/who.csv"),
    "undo, nothing to take back": ("undo", "nobody", "-C", "{catalogue}"),
    "an input that is not there": ("run", "-i", "{folder}/nowhere", "-o", "{folder}/none"),
    "a wrong setting": ("run", "-i", "{folder}", "cluster.epss=0.3"),
}
CPU_GOAL, RUN_GOAL = 1.0, 12.0  # seconds
IMAGES, INDIVIDUALS = 150, 25


def cost(arguments: tuple[str, ...]) -> tuple[float, float, int]:
    """CPU seconds, seconds on the clock, exit code."""
    before, started = os.times(), time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-m", "jobs", *arguments],
        capture_output=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    after = os.times()
    cpu = sum(after[2:4]) - sum(before[2:4])
    return cpu, time.perf_counter() - started, ended.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from reid.synthetic import make_herd

    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        keep(str(folder / "catalogue"), frame())
        make_herd(
            folder / "herd",
            individuals=INDIVIDUALS,
            images_per_individual=IMAGES // INDIVIDUALS,
            species=1,
        )
        figures: dict[str, list[tuple[float, float]]] = {}
        for round_ in range(args.rounds):
            for name, command in LIGHT.items():
                filled = tuple(
                    part.format(catalogue=folder / "catalogue", folder=folder) for part in command
                )
                cpu, wall, _ = cost(filled)
                figures.setdefault(name, []).append((cpu, wall))
            run = ("run", "-i", str(folder / "herd"), "-o", str(folder / f"out-{round_}"))
            cpu, wall, code = cost(run)
            assert code == 0, "the run did not end well"
            figures.setdefault("run of 150 images", []).append((cpu, wall))
    result = {
        "machine": instruction_set(),
        "load": [round(value, 1) for value in os.getloadavg()],
        "rounds": args.rounds,
        "goals": {"CPU seconds of a light command": CPU_GOAL, "seconds of the run": RUN_GOAL},
        "commands": {
            name: {
                "cpu_seconds": round(statistics.median(cpu for cpu, _ in values), 2),
                "seconds": round(statistics.median(wall for _, wall in values), 2),
            }
            for name, values in figures.items()
        },
    }
    print(json.dumps(result, indent=2, ensure_ascii=False))
    if args.out:
        args.out.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
