"""Three weeks of a survey: uploads, a reviewer's answer, files for other programs, and a number."""

import csv
import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

import jobs.run
from reid.catalogue import open_catalogue
from tests.camtrap_validity import SCHEMAS, mistakes
from tests.jobs.made_up import at, photograph, stand_in

Reid = Callable[..., int]

# Weeks in which each of eight animals passed; 45 degrees lie between two of them.
PASSED = ((1, 2, 3), (1, 2), (2, 3), (1, 3), (1,), (2,), (3,), (1, 2, 3))
CAMERAS = (
    "detector,lat,lon,start,end\n"
    "north gate,50.50,4.50,2026-05-01,2026-05-22\n"
    "creek_2,50.51,4.52,2026-05-01,2026-05-22\n"
)
HEADER = ("image_path", "species", "timestamp", "location_id", "viewpoint")


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch.setattr)


def week_of(week: int) -> dict[str, tuple[float, str, str]]:
    """Pictures of a week: name → degrees, time, place."""
    found = {}
    for animal, weeks in enumerate(PASSED):
        if week in weeks:
            place = ("north gate", "creek_2")[animal % 2]
            time = f"2026-05-{7 * week - 4:02}T22:{animal:02}:00"
            found[f"w{week}-a{animal}"] = (45 * animal + 3 * week, time, place)
    return found


def test_a_survey_of_three_weeks(reid: Reid, made_up: None, tmp_path: Path) -> None:
    uploads, catalogue = tmp_path / "uploads", tmp_path / "catalogue"
    seen: dict[str, tuple[float, str, str]] = {}
    ids: dict[str, str] = {}
    for week in (1, 2, 3):
        seen |= week_of(week)
        if week == 3:
            # 24 degrees from animal 1: too far to be it for certain, too near to be new.
            seen["w3-doubt"] = (45 + 3 + 24, "2026-05-18T23:00:00", "creek_2")
        ids |= photograph(uploads, {name: at(row[0]) for name, row in seen.items()})
        with (uploads / "photographs.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(HEADER)
            writer.writerows((f"{n}.jpg", "lynx", t, p, "left") for n, (_, t, p) in seen.items())
        command = ("identify", "-i", uploads / "photographs.csv", "-C", catalogue)
        rules = ("identify.known_distance=0.05", "identify.new_distance=0.2")
        assert reid(*command, *rules) == 0

    cameras = tmp_path / "cameras.csv"
    cameras.write_text(CAMERAS)
    survey = ("-C", catalogue, "-d", cameras, "--flank", "left")
    assert reid("population", *survey, "-o", tmp_path / "before") == 0
    before = json.loads((tmp_path / "before" / "population.json").read_text())
    assert before["facts"]["occasions"] == "4 of 7 days"
    assert before["as_decided"]["individuals"] == 8
    assert before["as_decided"]["sightings"] == sum(map(len, PASSED))
    assert before["doubts_joined"]["sightings"] == sum(map(len, PASSED)) + 1

    answers = tmp_path / "constraints.csv"
    answers.write_text(
        "a_id,b_id,decision,reviewer,timestamp,note\n"
        f"{ids['w3-doubt']},{ids['w2-a1']},match,anna,2026-05-23T10:00:00Z,\n"
    )
    assert reid("identify", "-C", catalogue, "--constraints", answers) == 0
    assert reid("population", *survey, "-o", tmp_path / "after") == 0
    after = json.loads((tmp_path / "after" / "population.json").read_text())
    assert after["doubts_joined"] is None
    assert after["as_decided"]["estimates"] == before["doubts_joined"]["estimates"]

    assert reid("export", "-C", catalogue, "-o", tmp_path / "who.csv") == 0
    with (tmp_path / "who.csv").open(newline="") as file:
        who = {row["image_path"]: row for row in csv.DictReader(file)}
    assert who["w3-doubt.jpg"]["confirmed_by"] == "anna"
    assert who["w3-doubt.jpg"]["identity_id"] == who["w1-a1.jpg"]["identity_id"]
    assert who["w1-a0.jpg"]["location_id"] == "north gate"

    assert reid("export", *survey, "-f", "secr", "-o", tmp_path / "secr") == 0
    captures = (tmp_path / "secr" / "captures.txt").read_text().splitlines()
    assert len(captures) == 1 + sum(map(len, PASSED)) + 1
    assert {line.split()[3] for line in captures[1:]} == {"north-gate", "creek-2"}
    traps = (tmp_path / "secr" / "traps.txt").read_text().splitlines()
    assert traps[1].startswith("creek-2 ")
    assert traps[1].endswith(" 6.5 7 7 0.5")

    package = ("-f", "camtrap-dp", "--timezone", "Europe/Brussels", "-o", tmp_path / "package")
    scientific = ("--scientific-name", "Lynx lynx", "--contributor", "Anna", "--title", "Lynxes")
    assert reid("export", "-C", catalogue, "-d", cameras, *package, *scientific) == 0
    with (tmp_path / "package" / "observations.csv").open(newline="") as file:
        named = {row["individualID"] for row in csv.DictReader(file)}
    assert named == set(
        open_catalogue(str(catalogue)).rows(["identity_id"])["identity_id"].to_pylist()
    )
    if SCHEMAS.is_dir():
        assert mistakes(tmp_path / "package") == []


def test_a_heron_of_six_seconds_is_one_encounter_and_one_individual(
    reid: Reid, made_up: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten frames of one burst, in which the bird turns round; another one comes in the evening."""
    angles = {f"RCNX{at:04}": 35.0 * at for at in range(10)} | {"RCNX0099": 17.0}
    photograph(
        tmp_path / "photos" / "cam1" / "100RECNX", {name: at(a) for name, a in angles.items()}
    )
    table = tmp_path / "timelapse.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("RootFolder", "File", "RelativePath", "DateTime", "Species"))
        for number, name in enumerate(angles):
            moment = f"20:43:{9 + number * 6 // 9:02}" if number < 10 else "22:00:00"
            writer.writerow(("x", f"{name}.jpg", "cam1\\100RECNX", f"2021-04-11 {moment}", "heron"))
    arguments = ("-i", table, "--root", tmp_path / "photos")
    rules = ("identify.known_distance=0.01", "identify.new_distance=0.02")
    assert reid("identify", *arguments, "-C", tmp_path / "herons", *rules) == 0
    rows = open_catalogue(str(tmp_path / "herons")).rows(
        ["image_path", "identity_id", "encounter_id"]
    )
    burst = [row for row in rows.to_pylist() if "RCNX0099" not in row["image_path"]]
    assert len({row["encounter_id"] for row in burst}) == 1
    assert len({row["identity_id"] for row in burst}) == 1

    found = {}
    for encounters in ("off", "together"):
        out = tmp_path / encounters
        monkeypatch.setattr(jobs.run, "ray_session", lambda _: nullcontext())
        settings = (
            f"store={tmp_path / 'store'}",
            f"cluster.encounters={encounters}",
            "cluster.eps=0.02",
        )
        assert reid("run", *arguments, "-o", out, *settings) == 0
        with (out / "identities.csv").open(newline="") as file:
            found[encounters] = {
                row["image_path"]: row["cluster_label"] for row in csv.DictReader(file)
            }
    assert len(set(found["off"].values())) == 11
    assert len(set(found["together"].values())) == 2
    assert found["together"]["cam1/100RECNX/RCNX0099.jpg"] not in [
        found["together"][f"cam1/100RECNX/RCNX{at:04}.jpg"] for at in range(10)
    ]
