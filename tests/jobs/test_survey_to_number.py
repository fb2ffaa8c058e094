"""Three weeks of a survey, from memory cards to files for other programs and a number: the way of
docs/from-frames-to-a-number.md, with its commands.

REID_SURVEY_FOLDER keeps what it made, for the guide's pictures.
"""

import csv
import json
import os
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pandas as pd
import pytest

import jobs.run
from reid.catalogue import open_catalogue, read_rules
from reid.synthetic.survey import make_survey
from tests.camtrap_validity import SCHEMAS, mistakes
from tests.jobs.made_up import at, photograph, stand_in
from tests.survey_reviewer import answer

Reid = Callable[..., int]

QUICK = ("embed.cpus_per_worker=1", "embed.workers=1")
MOST_PAGES = 6


@pytest.fixture
def place(tmp_path: Path) -> Path:
    kept = os.environ.get("REID_SURVEY_FOLDER")
    return Path(kept) if kept else tmp_path


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch.setattr)


def truth_of(catalogue: Path, truth: Path) -> pd.DataFrame:
    """annotation_id, image_path, identity_id and the animal of each row."""
    columns = ["annotation_id", "image_path", "identity_id", "location_id", "encounter_id"]
    rows = open_catalogue(str(catalogue)).rows(columns).to_pandas()
    known = pd.read_csv(truth).set_index("image_path")["identity"]
    return rows.assign(animal=known.loc[rows["image_path"]].to_numpy())


def test_a_survey_of_three_weeks(
    local_ray: None, reid: Reid, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    catalogue = place / "leopards"
    season = make_survey(place / "last-season", seed=100)
    named = ("-i", season.truth, "--root", season.photos, "--species", "leopard")
    assert reid("calibrate", *named, "-C", catalogue, *QUICK) == 0
    assert read_rules(open_catalogue(str(catalogue)))["leopard"].encounters == "auto"

    for week in (1, 2, 3):
        survey = make_survey(place / "survey", weeks=week, first_week=week)
        folder = ("-i", survey.photos, "--species", "leopard", "-C", catalogue)
        assert reid("identify", *folder, *QUICK) == 0
    assert read_rules(open_catalogue(str(catalogue)))["leopard"].encounters == "best"
    found = truth_of(catalogue, survey.truth)
    assert len(found) == len(pd.read_csv(survey.truth)), "IMG_0001.JPG is many pictures"
    assert set(found["location_id"]) == {"creek", "north gate", "old mill"}
    assert found.groupby("encounter_id")["annotation_id"].count().eq(2).all(), "both cameras"
    before = found["identity_id"].nunique()

    survey_of = ("-C", catalogue, "-d", survey.cameras)
    assert reid("population", *survey_of, "-o", place / "before") == 0
    pages = []
    for number in range(MOST_PAGES):
        page, answers = place / f"review{number}.html", place / f"constraints{number}.csv"
        assert reid("review", "-C", catalogue, "-o", page) == 0
        if not page.exists():
            break
        who = dict(zip(found["annotation_id"], found["animal"], strict=True))
        pages.append(answer(page, who, answers, f"2024-08-{10 + number}T10:00:00Z"))
        assert reid("identify", "-C", catalogue, "--constraints", answers) == 0
    found = truth_of(catalogue, survey.truth)
    animals = found["animal"].nunique()
    assert found.groupby("identity_id")["animal"].nunique().eq(1).all(), "nobody is two animals"
    assert animals <= found["identity_id"].nunique() <= animals + 1 < before

    assert reid("population", *survey_of, "-o", place / "population") == 0
    numbers = json.loads((place / "population" / "population.json").read_text())
    assert numbers["facts"]["occasions"] == "3 of 7 days"
    assert numbers["facts"]["images left out"] == 0
    estimates = {one["name"]: one for one in numbers["as_decided"]["estimates"]}
    for name in ("m0", "mt"):
        assert estimates[name]["lower"] <= survey.individuals <= estimates[name]["upper"]
    with capsys.disabled():
        m0 = estimates["m0"]
        print(
            f"pairs on the pages: {pages}; {animals} of {survey.individuals} animals met, M0 "
            f"{m0['abundance']:.1f} ({m0['lower']:.1f} – {m0['upper']:.1f})"
        )

    assert reid("export", "-C", catalogue, "-o", place / "who.csv") == 0
    with (place / "who.csv").open(newline="") as file:
        who = list(csv.DictReader(file))
    assert {row["confirmed_by"] for row in who} >= {"anna"}
    assert all(row["timestamp"].startswith("2024-0") and row["location_id"] for row in who)

    assert reid("export", *survey_of, "-f", "secr", "-o", place / "secr") == 0
    captures = (place / "secr" / "captures.txt").read_text().splitlines()[1:]
    seen = {(line.split()[1], line.split()[2]) for line in captures}
    assert len(seen) == numbers["as_decided"]["sightings"]
    assert {line.split()[3] for line in captures} == {"creek", "north-gate", "old-mill"}
    traps = (place / "secr" / "traps.txt").read_text().splitlines()[1:]
    assert all(line.endswith(" 6.5 7 6.5") for line in traps)

    package = ("-f", "camtrap-dp", "--timezone", "+03:00", "-o", place / "leopards.zip")
    scientific = ("--scientific-name", "Panthera pardus", "--contributor", "Anna")
    assert reid("export", *survey_of, *package, *scientific) == 0
    with zipfile.ZipFile(place / "leopards.zip") as archive:
        archive.extractall(place / "package")
    with (place / "package" / "observations.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["individualID"] for row in rows} == set(found["identity_id"])
    assert {row["observationLevel"] for row in rows} == {"media", "event"}
    assert len(list((place / "package" / "media").rglob("*.JPG"))) == len(found)
    if SCHEMAS.is_dir():
        assert mistakes(place / "package") == []


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
