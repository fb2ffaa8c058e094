"""People's decisions on the output folder of a run: asked, kept, applied, exported."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs.common import outputs
from reid import store
from tests.jobs.made_up import at, photograph, stand_in
from tests.survey_reviewer import asked

Reid = Callable[..., int]
ANGLES = {"a": 0, "b": 5, "c": 10, "d": 29, "e": 33, "f": 180, "g": 90, "h": 93}


@pytest.fixture
def ids(tmp_path: Path, reid: Reid, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A run: a, b, c, and d, e 19 degrees away (a distance of 0.054), f far from all, and g, h far too."""
    stand_in(monkeypatch.setattr)
    found = photograph(tmp_path / "uploads", {name: at(angle) for name, angle in ANGLES.items()})
    assert everything(tmp_path, reid) == 0
    return found


def everything(home: Path, reid: Reid, *arguments: object) -> int:
    return reid(
        "run", "-i", home / "uploads", "-o", home / "results", "--species", "lynx", "--store", home / "store",
        "cluster.eps=0.05", "cluster.method=dbscan", "report.enabled=false", *arguments,
    )  # fmt: skip


def herd(home: Path) -> set[str]:
    table = store.read_table(str(home / "results" / outputs.CLUSTERS))
    with (home / "results" / outputs.IDENTITIES).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["cluster_label"] for row in rows] == table["cluster_label"].to_pylist()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["cluster_label"], []).append(Path(row["image_path"]).stem)
    return {"".join(sorted(names)) for names in found.values()}


def constraints(home: Path, ids: dict[str, str], *said: str) -> Path:
    """`ab match`, with Anna as reviewer."""
    file = home / f"said-{len(list(home.glob('said-*')))}.csv"
    lines = ["a_id,b_id,decision,reviewer,timestamp,note"]
    for minute, one in enumerate(said):
        pair, what = one.split()
        lines.append(f"{ids[pair[0]]},{ids[pair[1]]},{what},Anna,2026-01-01T10:{minute:02}:00Z,")
    file.write_text("\n".join(lines))
    return file


def test_decisions_on_a_run_hold_in_every_later_one(
    ids: dict[str, str], tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    assert herd(tmp_path) == {"abc", "de", "f", "gh"}
    capsys.readouterr()
    page = tmp_path / "review.html"
    assert reid("review", "-r", tmp_path / "results", "-o", page) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"reid cluster --out {tmp_path / 'results'} --constraints constraints.csv" in said
    pairs = [{one["a_id"], one["b_id"]} for one in asked(page)]
    assert {ids["c"], ids["d"]} in pairs

    file = constraints(tmp_path, ids, "cd match", "ab nomatch")
    assert reid("cluster", "-o", tmp_path / "results", "--constraints", file) == 0
    assert "4 individuals are 4" in " ".join(capsys.readouterr().err.split())
    assert herd(tmp_path) == {"a", "bcde", "f", "gh"}
    page.unlink()
    assert reid("review", "-r", tmp_path / "results", "-o", page) == 0
    left = asked(page) if page.exists() else []
    assert {ids["c"], ids["d"]} not in [{one["a_id"], one["b_id"]} for one in left]

    # Without the file they hold on, and with other settings and other images too.
    assert everything(tmp_path, reid) == 0
    assert herd(tmp_path) == {"a", "bcde", "f", "gh"}
    summary = outputs.read_summary(str(tmp_path / "results"))["cluster"]
    assert (summary["individuals"], summary["singletons"]) == (4, 2), (
        "a number that is free now is nobody"
    )
    assert reid("cluster", "-o", tmp_path / "results", "cluster.eps=0.001") == 0
    assert herd(tmp_path) == {"a", "b", "cd", "e", "f", "g", "h"}

    capsys.readouterr()
    assert (
        reid("export", "-r", tmp_path / "results", "--confirmed", "-o", tmp_path / "who.csv") == 0
    )
    assert "left out: 6 images that no person has confirmed" in capsys.readouterr().err
    with (tmp_path / "who.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {(row["image_path"], row["confirmed_by"]) for row in rows} == {
        ("c.jpg", "Anna"),
        ("d.jpg", "Anna"),
    }


def test_decisions_that_cannot_be_taken_change_nothing(
    ids: dict[str, str], tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    before = outputs.stage_files(str(tmp_path / "results"), "cluster")
    results = tmp_path / "results"
    file = constraints(tmp_path, {**ids, "x": "nobody"}, "ax match")
    assert reid("cluster", "-o", results, "--constraints", file) == 1
    assert "nobody" in capsys.readouterr().err
    file = constraints(tmp_path, ids, "ab match", "bc match", "ac nomatch")
    assert reid("cluster", "-o", results, "--constraints", file) == 1
    assert "1 contradictions between decisions" in capsys.readouterr().err
    assert outputs.stage_files(str(results), "cluster") == before
    assert len(outputs.read_run_decisions(str(results))) == 0
    assert reid("export", "-r", results, "--confirmed", "-o", tmp_path / "who.csv") == 1
    assert "no person has confirmed any" in capsys.readouterr().err
    assert reid("review", "-r", results, "-C", results) == 1
    assert "either --catalogue or --results" in capsys.readouterr().err
