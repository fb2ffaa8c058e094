"""`reid review` on a catalogue whose vectors are made up, and its decisions taken home by the next run."""

import csv
from collections.abc import Callable
from pathlib import Path

import pytest

from reid.catalogue import open_catalogue, read_decisions, read_events
from tests.browser import CHROMIUM, Browser
from tests.jobs.made_up import at, photograph, stand_in
from tests.survey_reviewer import asked

Reid = Callable[..., int]

RULES = ("identify.known_distance=0.05", "identify.new_distance=0.2")


@pytest.fixture
def herd(tmp_path: Path, reid: Reid, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A catalogue of two individuals, 25 degrees (a distance of 0.09) apart, and a third far away."""
    stand_in(monkeypatch.setattr)
    angles = {"a1": 0, "a2": 5, "a3": 10, "b1": 35, "b2": 40, "c1": 180}
    photograph(tmp_path / "uploads", {name: at(angle) for name, angle in angles.items()})
    place = tmp_path / "catalogue"
    arguments = ("-i", tmp_path / "uploads", "-C", place, "--species", "lynx", *RULES)
    assert reid("identify", *arguments) == 0
    assert len(names(place)) == 3
    return place


def names(place: Path) -> set[str]:
    return {*open_catalogue(str(place)).rows(["identity_id"])["identity_id"].to_pylist()}


def test_a_page_is_written_and_the_next_command_said(
    herd: Path, tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    page = tmp_path / "review.html"
    assert reid("review", "-C", herd, "-o", page) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(page)
    said = " ".join(err.split())
    assert "1 pair of individuals near each other" in said
    assert f"reid identify --catalogue {herd} --constraints constraints.csv" in said
    # The stand-in's pictures are none.
    assert "pictures that could not be read" in said
    first = asked(page)[0]
    assert first["kind"] == "near"
    assert first["if_match"] == "would join 2 identities of 3 and 2 images"
    assert reid("review", "-C", herd, "-o", page, "--limit", 1) == 0
    assert len(asked(page)) == 1


def test_nothing_to_review(
    herd: Path, tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "review.html"
    assert reid("review", "-C", herd, "-o", page) == 0
    file = tmp_path / "said.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("a_id", "b_id", "decision", "reviewer", "timestamp", "note"))
        for one in asked(page):
            row = (one["a_id"], one["b_id"], "unknown", "anna", "2026-01-01T10:00:00Z", "")
            writer.writerow(row)
    assert reid("identify", "-C", herd, "--constraints", file) == 0
    # Once a pair is judged, the next best of the same individuals is asked; set a limit of patience.
    rounds = 0
    page.unlink()
    while reid("review", "-C", herd, "-o", page) == 0 and page.exists():
        with file.open("a", encoding="utf-8", newline="") as stream:
            for one in asked(page):
                row = (one["a_id"], one["b_id"], "unknown", "anna", "2026-01-01T10:00:00Z", "")
                csv.writer(stream).writerow(row)
        assert reid("identify", "-C", herd, "--constraints", file) == 0
        page.unlink()
        rounds += 1
        assert rounds < 10
    assert "nothing to review: no pair in version" in " ".join(capsys.readouterr().err.split())


def test_a_wrong_species_or_catalogue_is_said(
    herd: Path, tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "review.html"
    assert reid("review", "-C", herd, "-o", page, "--species", "otter") == 1
    assert "has no such species; known: lynx" in " ".join(capsys.readouterr().err.split())
    assert reid("review", "-C", tmp_path / "nowhere", "-o", page) == 1
    assert "there is no catalogue here" in " ".join(capsys.readouterr().err.split())
    assert not page.exists()


def test_a_run_in_place_of_a_catalogue_and_the_reverse_are_said(
    herd: Path, tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    def said() -> str:
        return " ".join(capsys.readouterr().err.split())

    (tmp_path / "annotations.parquet").write_bytes(b"a run's")
    assert reid("review", "--out", tmp_path) == 1
    assert f"--out is the page; did you mean --results {tmp_path}?" in said()
    assert reid("review") == 1
    assert (
        "give --catalogue (of `reid identify`) or --results (output folder of `reid run`)" in said()
    )
    for command in (("review",), ("history",), ("book", "--to", tmp_path / "b"), ("export",)):
        assert reid(command[0], "-C", tmp_path, *command[1:]) == 1
        assert "it is the output folder of a run; give it as --results" in said()
    for command in (("review",), ("book", "--to", tmp_path / "b"), ("export",)):
        assert reid(command[0], "-r", herd, *command[1:]) == 1
        assert f"{herd} is a catalogue, not the output folder of a run" in said()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_what_a_person_clicks_holds_in_the_next_run(herd: Path, tmp_path: Path, reid: Reid) -> None:
    page = tmp_path / "review.html"
    assert reid("review", "-C", herd, "-o", page) == 0
    pair = {asked(page)[0][side]["identity"] for side in "ab"}
    with Browser(tmp_path / "browser") as browser:
        browser.open(page)
        browser.click("#reviewer")
        browser.type("Anna")
        browser.click("[data-decision=match]")
        browser.click("#download")
        file = browser.downloaded("constraints.csv")
    (decision,) = read_decisions(str(file)).to_pylist()
    assert (decision["decision"], decision["reviewer"]) == ("match", "Anna")
    assert reid("identify", "-C", herd, "--constraints", file) == 0
    assert len(names(herd)) == 2
    events = read_events(open_catalogue(str(herd))).to_pylist()
    (merge,) = [event for event in events if event["event"] == "merge"]
    assert {merge["identity_id"], *merge["other_ids"]} == pair
    assert merge["reason"].startswith("match by Anna")


def test_limits_that_fit_nothing_are_said(
    herd: Path, tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "review.html"
    capsys.readouterr()
    assert reid("review", "-C", herd, "-o", page, "--individual", "lynx-0009") == 1
    assert "--individual lynx-0009: no picture is of that; did you mean" in capsys.readouterr().err
    assert reid("review", "-C", herd, "-o", page, "--place", "hill") == 1
    assert reid("review", "-C", herd, "-o", page, "--from", "May") == 1
    assert "--from May: write a day like" in capsys.readouterr().err
    assert reid("review", "-C", herd, "-o", page, "--from", "2026-01-01") == 0
    assert "nothing to review within these limits" in " ".join(capsys.readouterr().err.split())
    assert not page.exists()
    assert reid("review", "-C", herd, "-o", page, "--individual", "lynx-0001") == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "How many questions remain is not known" in said, "the rules were given, not learned"
    assert "How many questions remain is not known" in page.read_text(encoding="utf-8")
