"""Commands that multiply nothing load none of what multiplies: which packages each of them imports."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.jobs.test_exporting import keep
from tests.leopard_cats import frame

# Each of them takes a second or more to import.
NUMERICAL = {"torch", "torchvision", "ray", "sklearn", "timm", "faiss", "openvino", "transformers"}
# What compares no individuals and makes no page does without these. (pyarrow imports pandas by itself.)
TABLES = {"scipy", "plotly", "jinja2"}

RUN = """
import json, sys
from jobs.cli import run_command
try:
    run_command(None, sys.argv[1:])
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)
"""


def imported(*arguments: str) -> tuple[int, set[str]]:
    """Exit code of a `reid` command in a Python of its own, and the packages that it loaded."""
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return ended.returncode, set(json.loads(ended.stderr.splitlines()[-1]))


@pytest.fixture
def cats(tmp_path: Path) -> str:
    place = str(tmp_path / "catalogue")
    keep(place, frame())
    return place


@pytest.mark.parametrize(
    "command",
    [("history",), ("undo", "r1"), ("tidy",)],
    ids=lambda command: command[0],
)
def test_what_looks_after_a_catalogue_loads_no_tables(cats: str, command: tuple[str, ...]) -> None:
    code, packages = imported(*command, "-C", cats)
    assert code == 0
    assert "deltalake" in packages, "it has opened the catalogue"
    assert packages & (NUMERICAL | TABLES) == set()


@pytest.mark.parametrize(
    "command",
    [
        ("export", "-f", "csv", "-o", "who.csv"),
        ("review", "-o", "page.html"),
        ("book", "--to", "book"),
    ],
    ids=lambda command: command[0],
)
def test_what_reads_a_catalogue_loads_nothing_that_multiplies(
    cats: str, command: tuple[str, ...], tmp_path: Path
) -> None:
    *rest, name = command
    code, packages = imported(*rest, str(tmp_path / name), "-C", cats)
    assert code == 0
    assert "deltalake" in packages, "it has opened the catalogue"
    assert packages & NUMERICAL == set()


@pytest.mark.parametrize("command", ["run", "embed", "identify"])
def test_a_mistake_in_the_arguments_is_found_without_them(command: str, tmp_path: Path) -> None:
    absent = str(tmp_path / "photos")
    place = ("-C", str(tmp_path / "c")) if command == "identify" else ("-o", str(tmp_path / "o"))
    code, packages = imported(command, "-i", absent, *place)
    assert code == 1
    assert packages & NUMERICAL == set()
