"""`reid book` of a catalogue whose vectors are made up, and of a run's folder."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs.made_up import at, photograph, stand_in

Reid = Callable[..., int]

RULES = ("identify.known_distance=0.05", "identify.new_distance=0.2")


def test_a_catalogue_as_a_book(
    tmp_path: Path, reid: Reid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch.setattr)
    photograph(
        tmp_path / "uploads", {name: at(angle) for name, angle in {"a": 0, "b": 5, "c": 30}.items()}
    )
    place = tmp_path / "catalogue"
    assert (
        reid("identify", "-i", tmp_path / "uploads", "-C", place, "--species", "lynx", *RULES) == 0
    )
    capsys.readouterr()
    book = tmp_path / "book"
    assert reid("book", "-C", place, "--to", book) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(book / "index.html")
    assert "2 individuals; pictures: 0 written, 0 there already, 3 not readable" in " ".join(
        err.split()
    )
    page = (book / "individuals/lynx-0001.html").read_text(encoding="utf-8")
    assert 'href="lynx-0002.html"' in page, "near, at 25 degrees"
    assert "lynx-0001 is new, with 2 images" in page
    assert reid("book", "-C", place, "--to", book, "--species", "otter") == 1
    assert "no such species; known: lynx" in capsys.readouterr().err


def test_a_run_as_a_book(
    tmp_path: Path, reid: Reid, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in(monkeypatch.setattr)
    angles = {"a": 0, "b": 5, "c": 30, "d": 33, "e": 180}
    photograph(tmp_path / "uploads", {name: at(angle) for name, angle in angles.items()})
    out = tmp_path / "results"
    run = (
        "run",
        "-i",
        tmp_path / "uploads",
        "-o",
        out,
        "--species",
        "lynx",
        "--store",
        tmp_path / "store",
    )
    assert reid(*run, "cluster.eps=0.05", "cluster.method=dbscan", "report.enabled=false") == 0
    capsys.readouterr()
    assert reid("book", "-r", out, "--to", tmp_path / "book") == 0
    assert "3 individuals" in " ".join(capsys.readouterr().err.split())
    pages = {
        page.name: page.read_text(encoding="utf-8")
        for page in (tmp_path / "book/individuals").iterdir()
    }
    assert sorted(pages) == ["cluster-lynx-0.html", "cluster-lynx-1.html", "cluster-lynx-2.html"]
    assert 'href="cluster-lynx-1.html"' in pages["cluster-lynx-0.html"]
    assert 'class="verdict"' in (tmp_path / "book/index.html").read_text(encoding="utf-8")
