"""Camtrap DP: a package that comes back with individuals in it, a new one, and what both must keep to."""

import csv
import io
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reid.errors import InputError
from reid.exports.camtrap_back import GivenBack, give_back
from reid.exports.camtrap_checks import in_words, package_mistakes
from reid.exports.camtrap_files import is_inside, packing
from reid.exports.camtrap_new import NewPackage, new_package
from reid.exports.camtrap_package import read_package
from reid.exports.camtrap_words import (
    OBSERVATIONS,
    Teller,
    box_words,
    read_zone,
    relative_box,
    stamp,
    with_tags,
)
from reid.exports.deployments import read_stations
from reid.exports.histories import make_histories
from reid.exports.sightings import choose, counted_as
from reid.sources.read import read_sources
from reid.sources.source_rows import How
from tests.camtrap_validity import EXAMPLE, OLD, SCHEMAS, mistakes
from tests.leopard_cats import frame

NOW = "2026-11-27T06:00:00Z"

DEPLOYMENTS = """\
deploymentID,locationID,latitude,longitude,deploymentStart,deploymentEnd
d1,A,50.5,4.5,2020-04-01T10:00:00+02:00,2020-05-01T10:00:00+02:00
d2,B,50.6,4.6,2020-04-01T10:00:00+02:00,2020-05-01T10:00:00+02:00
"""
MEDIA = """\
mediaID,deploymentID,captureMethod,timestamp,filePath,filePublic,fileName,fileMediatype
m1,d1,activityDetection,2020-04-02T10:00:00+02:00,media/IMG_1.JPG,true,IMG_1.JPG,image/jpeg
m2,d1,activityDetection,2020-04-02T10:00:05+02:00,media/IMG_2.JPG,true,IMG_2.JPG,image/jpeg
m3,d2,activityDetection,2020-04-03T10:00:00+02:00,media/b/IMG_1.JPG,true,IMG_1.JPG,image/jpeg
m4,d2,activityDetection,2020-04-03T12:00:00+02:00,https://example.org/x/file,true,IMG_9.JPG,image/jpeg
"""


def observation(**values: str) -> dict[str, str]:
    return dict.fromkeys(OBSERVATIONS, "") | {
        "observationLevel": "media", "observationType": "animal", "scientificName": "Lynx lynx",
        "eventStart": "2020-04-02T08:00:00Z", "eventEnd": "2020-04-02T08:00:00Z",
        "classificationMethod": "human", "classificationProbability": "0.9",
    } | values  # fmt: skip


BOXED = {"bboxX": "0.1", "bboxY": "0.2", "bboxWidth": "0.3", "bboxHeight": "0.4"}
ROWS = [
    observation(
        observationID="e1", deploymentID="d1", eventID="ev1", observationLevel="event", count="3",
        eventEnd="2020-04-02T08:00:05Z",
    ),
    observation(observationID="o1", deploymentID="d1", mediaID="m1", eventID="ev1", count="1", **BOXED),
    observation(observationID="o2", deploymentID="d1", mediaID="m2", eventID="ev1", count="2"),
    observation(
        observationID="o3", deploymentID="d2", mediaID="m3", eventID="ev2", observationTags="nice;picture",
    ),
    observation(observationID="o4", deploymentID="d2", mediaID="m4", eventID="ev3", observationType="blank"),
]  # fmt: skip


def text_of(rows: list[dict[str, str]]) -> str:
    sink = io.StringIO()
    writer = csv.DictWriter(sink, OBSERVATIONS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return sink.getvalue()


def packed(folder: Path, rows: list[dict[str, str]] | None = None, **project: object) -> Path:
    """A small package."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "deployments.csv").write_text(DEPLOYMENTS)
    (folder / "media.csv").write_text(MEDIA)
    (folder / "observations.csv").write_text(text_of(ROWS if rows is None else rows))
    descriptor = {
        "resources": [{"name": n, "path": f"{n}.csv"} for n in ("deployments", "media", "observations")],
        "title": "Ünder", "project": {"individualAnimals": True, "observationLevel": ["media"], **project},
        "sources": [{"title": "Agouti"}],
    }  # fmt: skip
    (folder / "datapackage.json").write_text(json.dumps(descriptor, ensure_ascii=False))
    return folder


def sighted(*rows: dict[str, object]) -> pd.DataFrame:
    """Sightings of the package's pictures."""
    table = frame().iloc[[0] * len(rows)].reset_index(drop=True)
    table = table.assign(
        root="elsewhere", species="Lynx lynx", bbox_unit="relative", confidence=0.93,
        annotation_id=[f"{number:024x}" for number in range(len(rows))],
    )  # fmt: skip
    for number, row in enumerate(rows):
        for name, value in row.items():
            table.at[number, name] = value
    return table.assign(individual=counted_as(table, "drop"))


def back(folder: Path, table: pd.DataFrame) -> GivenBack:
    teller = Teller(lambda _: "reid-engine 1, a model", NOW, "1")
    return give_back(read_package(str(folder)), table, teller)


def observations(given: GivenBack) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(given.files["observations.csv"])))


def seen(path: str, who: str, **columns: object) -> dict[str, object]:
    return {"image_path": path, "identity_id": who, "bbox": None, **columns}


def test_individuals_go_to_the_rows_of_their_boxes(tmp_path: Path) -> None:
    table = sighted(
        seen("IMG_1.JPG", "lynx-1", root="x/media", bbox=[0.1004, 0.2, 0.3, 0.4], viewpoint="left"),
        seen("media/IMG_1.JPG", "lynx-2", bbox=[0.6, 0.2, 0.3, 0.4]),
        seen("media/b/IMG_1.JPG", "lynx-3"),
    )
    table.loc[0, "image_path"] = "media/IMG_1.JPG"
    given = back(packed(tmp_path / "in"), table)
    rows = {row["observationID"]: row for row in observations(given)}
    assert list(next(iter(rows.values()))) == list(OBSERVATIONS)
    assert rows["o1"]["individualID"] == "lynx-1"
    assert rows["o1"]["observationTags"] == (
        "individualIDProbability:0.930 | individualIDDecision:known | viewpoint:left"
    )
    assert (rows["o1"]["classificationMethod"], rows["o1"]["classificationProbability"]) == (
        "human",
        "0.9",
    )
    added = rows["m1_reid_1"]
    assert (added["individualID"], added["eventID"], added["count"]) == ("lynx-2", "ev1", "1")
    assert added["eventStart"] == added["eventEnd"] == "2020-04-02T10:00:00+02:00"
    assert (added["classificationMethod"], added["classifiedBy"]) == (
        "machine",
        "reid-engine 1, a model",
    )
    assert added["classificationTimestamp"] == NOW
    assert [added[name] for name in BOXED] == ["0.6", "0.2", "0.3", "0.4"]
    assert (rows["o3"]["individualID"], rows["o3"]["count"]) == ("lynx-3", "1")
    assert rows["o4"] == ROWS[4], "and all others stay"
    assert (given.named, given.added, given.individuals) == (3, 1, 3)
    assert package_mistakes(
        *(
            [dict(row) for row in csv.DictReader(io.StringIO(text))]
            for text in (DEPLOYMENTS, MEDIA)
        ),
        given.observations,
    ) == {"observations: tags parted by ; instead of |": ["o3"]}


def test_event_rows_become_one_an_individual_and_counts_still_sum(tmp_path: Path) -> None:
    two = sighted(
        seen("media/IMG_1.JPG", "lynx-1", bbox=[0.1, 0.2, 0.3, 0.4]),
        seen("media/IMG_1.JPG", "lynx-2", bbox=[0.6, 0.2, 0.3, 0.4]),
    )
    given = back(packed(tmp_path / "in"), two)
    events = [row for row in observations(given) if row["observationLevel"] == "event"]
    assert [(row["observationID"], row["individualID"], row["count"]) for row in events] == [
        ("e1", "lynx-1", "1"),
        ("e1_reid_1", "lynx-2", "1"),
        ("e1_reid_2", "", "1"),
    ]
    assert given.split == 1
    few = [dict(row, count="1") if row["observationID"] == "e1" else row for row in ROWS]
    given = back(packed(tmp_path / "few", few), two)
    events = [row for row in observations(given) if row["observationLevel"] == "event"]
    assert [row["individualID"] for row in events] == ["lynx-1", "lynx-2"]
    assert any(
        "hold more individuals than animals were counted (ev1)" in note for note in given.notes
    )


def test_events_without_ids_of_their_media_are_found_by_time(tmp_path: Path) -> None:
    rows = [dict(row, eventID="") if row["observationLevel"] == "media" else row for row in ROWS]
    table = sighted(seen("media/IMG_1.JPG", "lynx-1", bbox=[0.1, 0.2, 0.3, 0.4]))
    given = back(packed(tmp_path / "in", rows), table)
    assert [row["individualID"] for row in observations(given)][:2] == ["lynx-1", ""]


def test_unsure_sightings_get_no_individual(tmp_path: Path) -> None:
    table = sighted(
        seen("media/IMG_1.JPG", "lynx-1", bbox=[0.1, 0.2, 0.3, 0.4], decision="unsure"),
        seen("media/IMG_1.JPG", "lynx-2", bbox=[0.6, 0.2, 0.3, 0.4], decision="unsure"),
    )
    given = back(packed(tmp_path / "in"), table)
    rows = observations(given)
    assert {row["individualID"] for row in rows} == {""}
    assert "individualIDDecision:unsure" in rows[1]["observationTags"]
    assert len(rows) == len(ROWS)
    assert given.left_out["reason"].tolist() == [
        "nobody is sure who this is, and the package has no row for it"
    ]


def test_an_unsure_sighting_beside_a_sure_one_names_nobody(tmp_path: Path) -> None:
    table = sighted(
        seen("media/b/IMG_1.JPG", "lynx-1"),
        seen("media/IMG_1.JPG", "lynx-2", bbox=[0.1, 0.2, 0.3, 0.4], decision="unsure"),
    )
    rows = {row["observationID"]: row for row in observations(back(packed(tmp_path / "in"), table))}
    assert (rows["o3"]["individualID"], rows["o1"]["individualID"]) == ("lynx-1", "")


def test_what_cannot_be_placed_is_listed(tmp_path: Path) -> None:
    table = sighted(
        seen("IMG_1.JPG", "a"),
        seen("other.jpg", "a"),
        seen("media/IMG_2.JPG", "a"),
        seen("IMG_9.JPG", "a"),
        seen("media/b/IMG_1.JPG", "a", bbox=[10, 10, 50, 50], bbox_unit=None),
    )
    given = back(packed(tmp_path / "in"), table)
    assert given.left_out["reason"].tolist() == [
        "2 media of the package are called so",
        "is no media of the package",
        "several animals are in the picture, and this one has no box",
        "has a box in pixels, and its picture cannot be opened",
    ]
    assert given.added == 1, "the blank web picture of the third, which shows an animal"


def test_descriptor_changes_in_four_places_only(tmp_path: Path) -> None:
    table = sighted(seen("media/b/IMG_1.JPG", "lynx-3"))
    folder = packed(tmp_path / "in", individualAnimals=False, title="P")
    before = json.loads((folder / "datapackage.json").read_text())
    after = json.loads(back(folder, table).files["datapackage.json"])
    assert after["project"] == {
        "individualAnimals": True, "observationLevel": ["media", "event"], "title": "P",
    }  # fmt: skip
    assert after["created"] == NOW
    assert after["sources"] == [{"title": "Agouti"}, {"title": "reid-engine", "version": "1"}]
    assert after["resources"][:3] == before["resources"]
    assert after["resources"][3]["name"] == "individuals"
    assert [one["individualID"] for one in after["resources"][3]["data"]] == ["lynx-3"]
    kept = {"title", "resources", "project", "sources", "created"}
    assert {*after} == kept


def test_giving_back_twice_changes_nothing_more(tmp_path: Path) -> None:
    table = sighted(
        seen("media/IMG_1.JPG", "lynx-1", bbox=[0.1, 0.2, 0.3, 0.4]),
        seen("media/IMG_1.JPG", "lynx-2", bbox=[0.6, 0.2, 0.3, 0.4]),
    )
    folder = packed(tmp_path / "in")
    first = back(folder, table)
    for name, text in first.files.items():
        (folder / name).write_text(text)
    again = back(folder, table)
    media = [row for row in observations(again) if row["observationLevel"] == "media"]
    assert media == [row for row in observations(first) if row["observationLevel"] == "media"]
    assert again.added == 0
    assert again.files["datapackage.json"] == first.files["datapackage.json"]


def test_another_name_is_remembered(tmp_path: Path) -> None:
    rows = [dict(row, individualID="Luna") if row["observationID"] == "o1" else row for row in ROWS]
    table = sighted(seen("media/IMG_1.JPG", "lynx-1", bbox=[0.1, 0.2, 0.3, 0.4]))
    given = back(packed(tmp_path / "in", rows), table)
    people = json.loads(given.files["datapackage.json"])["resources"][3]["data"]
    assert people[0]["formerIndividualIDs"] == "Luna"
    rows = {row["observationID"]: row for row in observations(given)}
    assert rows["o1"]["individualID"] == "lynx-1"


def test_tracks_that_were_no_individuals_do_not_become_some(tmp_path: Path) -> None:
    rows = [dict(row, individualID=row["observationID"]) for row in ROWS]
    table = sighted(seen("media/IMG_1.JPG", "lynx-1", bbox=[0.1, 0.2, 0.3, 0.4]))
    given = back(packed(tmp_path / "in", rows, individualAnimals=False), table)
    found = {row["individualID"] for row in observations(given)}
    assert found == {"lynx-1", ""}
    assert "formerIndividualID:o3" in next(
        row["observationTags"] for row in observations(given) if row["observationID"] == "o3"
    )
    assert any("5 individualIDs of the package were no individuals" in one for one in given.notes)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "datapackage.json").unlink(), "no datapackage.json can be read"),
        (lambda folder: (folder / "datapackage.json").write_text("{"), "this is not JSON"),
        (lambda folder: (folder / "datapackage.json").write_text("[]"), "no list of resources"),
        (lambda folder: (folder / "datapackage.json").write_text('{"resources":[]}'), "no Camtrap DP"),
        (lambda folder: (folder / "media.csv").unlink(), "there is no such file"),
        (lambda folder: (folder / "media.csv").write_text("a,b\n1,2\n"), "no columns media.mediaID"),
        (
            lambda folder: (folder / "observations.csv").write_text("observationID,mediaID\n1,2\n"),
            "observations with neither eventID nor sequenceID",
        ),
    ],
)  # fmt: skip
def test_packages_that_cannot_be_read_say_why(tmp_path: Path, change: object, said: str) -> None:
    folder = packed(tmp_path / "in")
    change(folder)  # type: ignore[operator]
    with pytest.raises(InputError) as error:
        read_package(str(folder))
    assert said in str(error.value)


# ── Version 0.1.6, and packages that are a .zip ──────────────────────────────────────────────────

OLD_MEDIA = """\
mediaID,deploymentID,sequenceID,timestamp,filePath,fileName
m1,d1,s1,2020-04-02T08:00:00Z,media/IMG_1.JPG,IMG_1.JPG
m2,d1,s1,2020-04-02T08:00:05Z,media/IMG_2.JPG,IMG_2.JPG
m3,d1,s2,2020-04-03T08:00:00Z,media/IMG_3.JPG,IMG_3.JPG
"""
OLD_SITES = """\
deploymentID,locationID,longitude,latitude,start,end
d1,A,4.5,50.5,2020-04-01T08:00:00Z,2020-05-01T08:00:00Z
"""
OLD_ROWS = """\
observationID,deploymentID,sequenceID,mediaID,timestamp,observationType,cameraSetup,taxonID,scientificName,count,countNew,lifeStage,sex,behaviour,individualID,classificationMethod,classifiedBy,classificationTimestamp,classificationConfidence,comments,_id
o1,d1,s1,,2020-04-02T08:00:00Z,animal,FALSE,DGP6,Lynx lynx,3,1,adult,,,,human,Ann,2020-05-01T08:00:00Z,0.9,near; the den,x
o2,d1,s2,,2020-04-03T08:00:00Z,blank,FALSE,,,,,,,,,human,,,,,
"""


def old_package(folder: Path, observations: str = OLD_ROWS) -> Path:
    packed(folder, classificationLevel="sequence", animalTypes=["unmarked"])
    (folder / "deployments.csv").write_text(OLD_SITES)
    (folder / "media.csv").write_text(OLD_MEDIA)
    (folder / "observations.csv").write_text(observations)
    return folder


def test_sequences_of_0_1_6_get_individuals_and_stay_0_1_6(tmp_path: Path) -> None:
    folder = old_package(tmp_path / "in")
    table = sighted(
        seen("media/IMG_1.JPG", "lynx-1", viewpoint="left"),
        seen("media/IMG_2.JPG", "lynx-2", bbox=[0.1, 0.2, 0.3, 0.4]),
        seen("media/IMG_3.JPG", "lynx-2"),
        seen("media/IMG_1.JPG", "lynx-3", decision="unsure"),
    )
    given = back(folder, table)
    rows = observations(given)
    before = list(csv.DictReader(io.StringIO(OLD_ROWS)))
    assert list(rows[0]) == list(before[0])
    assert [(row["observationID"], row["individualID"], row["count"]) for row in rows] == [
        ("o1", "lynx-1", "1"), ("o1_reid_1", "lynx-2", "1"), ("o1_reid_2", "", "1"), ("o2", "", ""),
    ]  # fmt: skip
    assert rows[0]["comments"] == (
        "near; the den | individualIDProbability:0.930 | individualIDDecision:known | viewpoint:left"
    )
    changed = {"individualID", "count", "comments"}
    assert {name for name in before[0] if rows[0][name] != before[0][name]} == changed
    assert rows[3] == before[1]
    assert (given.named, given.added, given.split) == (2, 0, 1)
    assert given.left_out["reason"].tolist() == [
        "the package has no row, or several, for this animal in its sequence",
        "nobody is sure who this is, and the package has no row for it",
    ]
    descriptor = json.loads(given.files["datapackage.json"])
    assert descriptor["project"]["animalTypes"] == ["unmarked", "marked"]
    assert len(descriptor["resources"]) == 3, "it allows no other"
    assert "individualAnimals" in descriptor["project"], "which was there, and stays"


def test_rows_of_images_of_0_1_6_get_individuals_and_others_are_added(tmp_path: Path) -> None:
    text = OLD_ROWS.replace("o1,d1,s1,,", "o1,d1,s1,m1,").replace("Lynx lynx,3,", "Lynx lynx,1,")
    folder = old_package(tmp_path / "in", text)
    given = back(folder, sighted(seen("media/IMG_1.JPG", "a"), seen("media/IMG_2.JPG", "b")))
    rows = {row["observationID"]: row for row in observations(given)}
    assert (rows["o1"]["individualID"], rows["o1"]["taxonID"]) == ("a", "DGP6")
    added = rows["m2_reid_1"]
    assert (added["sequenceID"], added["timestamp"]) == ("s1", "2020-04-02T08:00:05Z")
    assert (added["individualID"], added["mediaID"]) == ("b", "m2")
    assert any("has no boxes" in note for note in given.notes)


@pytest.mark.parametrize("above", ["", "survey/"])
def test_a_package_may_be_a_zip(tmp_path: Path, above: str) -> None:
    folder = packed(tmp_path / "in")
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, above + file.name)
    table = sighted(seen("media/b/IMG_1.JPG", "lynx-3"))
    assert back(tmp_path / "in.zip", table).files == back(folder, table).files


def test_zips_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"this is no \.zip, or a damaged one"):
        read_package(str(tmp_path / "no.zip"))
    with pytest.raises(InputError, match="there is no such file"):
        read_package(str(tmp_path / "none.zip"))
    with packing(str(tmp_path / "empty.zip")) as put:
        put("media.csv", b"a,b\n")
    with pytest.raises(InputError, match=r"no datapackage\.json in it"):
        read_package(str(tmp_path / "empty.zip"))
    with packing(str(tmp_path / "poor.zip")) as put:
        put("datapackage.json", (packed(tmp_path / "in") / "datapackage.json").read_bytes())
    with pytest.raises(InputError, match=r"there is no such file in it: deployments\.csv"):
        read_package(str(tmp_path / "poor.zip"))


@pytest.mark.parametrize(
    ("name", "inside"),
    [("media/a.jpg", True), ("./a.jpg", True), ("media/../a.jpg", True), ("../a.jpg", False),
     ("/a.jpg", False), ("C:\\a.jpg", False), ("https://a.b/c", False), ("~/a", False), (".", False)],
)  # fmt: skip
def test_what_lies_in_a_package(name: str, inside: bool) -> None:
    assert is_inside(name) is inside


# ── A new package ─────────────────────────────────────────────────────────────────────────────────


def fresh(folder: Path, table: pd.DataFrame, zone: str = "Europe/Brussels") -> NewPackage:
    places = "detector,lat,lon,start,end\nA,50.5,4.5,2009-04-01,2009-06-01\nB,50.6,4.6,2009-04-01,2009-06-01\nC,50.6,4.7,2009-04-01,2009-06-01\n"
    (folder / "places.csv").write_text(places)
    teller = Teller(
        lambda _: "reid-engine 1", NOW, "1", {"photos/A/IMG_0000.JPG": (1000, 500)},
        {"leopard cat": "Prionailurus bengalensis"}, {"1": "female"},
    )  # fmt: skip
    who = table.assign(individual=counted_as(table, "drop"))
    stations = read_stations(str(folder / "places.csv"))
    return new_package(who, stations, read_zone(zone), teller, contributor="Anna")


def cats() -> pd.DataFrame:
    table = frame()
    table.at[0, "bbox"] = [100.0, 50.0, 300.0, 450.0]
    table.loc[1, "decision"] = "unsure"
    table.loc[2, "confirmed_by"] = "ben"
    table["confirmed_at"] = pd.Timestamp("2026-01-02", tz="UTC")
    table.loc[3, "timestamp"] = pd.NaT
    table.at[4, "bbox"] = [100.0, 50.0, 300.0, 450.0]  # its picture has no size here
    return table


def test_a_new_package(tmp_path: Path) -> None:
    made = fresh(tmp_path, cats())
    deployments, media, rows = made.rows
    assert package_mistakes(deployments, media, rows) == {}
    assert [row["deploymentID"] for row in deployments] == ["A_1", "B_1", "C_1"]
    assert deployments[0]["deploymentStart"] == "2009-04-01T12:00:00+02:00"
    assert len(media) == 19
    own = [row for row in rows if row["observationLevel"] == "media"]
    assert len(own) == 19
    by_picture = {row["filePath"]: row["mediaID"] for row in media}
    assert media[0]["filePath"].startswith("media/A/")
    said = {row["mediaID"]: row for row in own}
    first = said[by_picture["media/A/IMG_0000.JPG"]]
    assert [first[name] for name in BOXED] == ["0.1", "0.1", "0.3", "0.9"]
    assert (first["individualID"], first["sex"], first["scientificName"]) == (
        "1",
        "female",
        "Prionailurus bengalensis",
    )
    unsure = said[by_picture["media/A/IMG_0001.JPG"]]
    assert (unsure["individualID"], unsure["classificationMethod"]) == ("", "machine")
    confirmed = said[by_picture["media/A/IMG_0002.JPG"]]
    assert (confirmed["classificationMethod"], confirmed["classifiedBy"]) == ("human", "ben")
    assert confirmed["classificationTimestamp"] == "2026-01-02T00:00:00Z"
    assert made.left_out["reason"].tolist() == [
        "has no time",
        "has a box in pixels, and its picture cannot be opened",
    ]
    events = [row for row in rows if row["observationLevel"] == "event"]
    assert {row["eventID"] for row in events} == {row["eventID"] for row in own}
    descriptor = json.loads(made.files["datapackage.json"])
    assert descriptor["project"]["individualAnimals"] is True
    assert descriptor["temporal"] == {"start": "2009-04-01", "end": "2009-06-01"}
    assert descriptor["spatial"]["type"] == "Polygon"


def test_places_in_metres_do_not_do(tmp_path: Path) -> None:
    (tmp_path / "places.csv").write_text("detector,x,y,start,end\nA,1,2,2009-04-01,2009-06-01\n")
    table = cats().assign(individual="a")
    with pytest.raises(InputError, match="needs latitude and longitude"):
        new_package(
            table,
            read_stations(str(tmp_path / "places.csv")),
            read_zone("Z"),
            Teller(str, NOW, "1"),
        )


# ── Words ─────────────────────────────────────────────────────────────────────────────────────────


def test_boxes_stay_inside_the_picture() -> None:
    rng = np.random.default_rng(1)
    for x, y, w, h in rng.uniform(-0.2, 1.3, (500, 4)):
        box = relative_box([x, y, abs(w), abs(h)], "relative", None)
        assert box is not None
        left, top, width, height = (float(word) for word in box_words(box).values())
        assert 0 <= left <= left + width <= 1 + 1.1e-5
        assert 0 <= top <= top + height <= 1 + 1.1e-5
        assert min(width, height) >= 1e-5
    assert relative_box([1, 1, 2, 2], None, None) is None


def test_zones_and_stamps() -> None:
    moment = pd.Timestamp("2020-07-01 10:00:00.7").to_pydatetime()
    assert stamp(moment, read_zone("+02:00")) == "2020-07-01T10:00:00+02:00"
    assert stamp(moment, read_zone("Europe/Brussels")) == "2020-07-01T10:00:00+02:00"
    assert stamp(moment, read_zone("utc-3"), 60) == "2020-07-01T10:00:00+01:00"
    for wrong in ("Brussels", "+25:00", "", "../etc/passwd"):
        with pytest.raises(InputError, match="--timezone"):
            read_zone(wrong)


def test_tags_are_replaced_and_parted_by_bars() -> None:
    first = with_tags(
        "bait | viewpoint:right", {"viewpoint": "left;top", "individualIDDecision": None}
    )
    assert first == "bait | viewpoint:left-top"


def test_mistakes_that_frictionless_does_not_find() -> None:
    sites, media = (
        [{"deploymentID": "d"}],
        [
            {"mediaID": "m", "deploymentID": "d", "filePath": "C:\\x.jpg"},
            {"mediaID": "n", "deploymentID": "e", "filePath": "../x.jpg"},
        ],
    )
    rows = [
        observation(observationID="1", deploymentID="d"),
        observation(observationID="1", deploymentID="d", observationLevel="event"),
        observation(observationID="2", deploymentID="d", mediaID="n", count="1.0"),
        observation(observationID="3", deploymentID="d", mediaID="x", count="2", individualID="a"),
        observation(observationID="4", deploymentID="d", mediaID="m", **{**BOXED, "bboxX": "0.8"}),
        observation(
            observationID="5", deploymentID="d", mediaID="m", eventEnd="2020-04-02T07:00:00Z"
        ),
        observation(observationID="6", deploymentID="d", mediaID="m", eventEnd="2020-04-02 07:00"),
        observation(observationID="7", deploymentID="d", mediaID="m", **{**BOXED, "bboxX": ""}),
        observation(
            observationID="8", deploymentID="d", mediaID="m", eventEnd="2020-04-02T10:00:00+0100"
        ),
    ]
    found = package_mistakes(sites, media, rows)
    assert found == {
        "observations: observationID twice": ["1"],
        "observations: offset such as +0100, which is to be +01:00": ["8"],
        "media: filePath of Windows": ["m"],
        "media: filePath outside of the package": ["n"],
        "media: unknown deploymentID": ["n"],
        "observations: of level media without mediaID": ["1"],
        "observations: of level event without eventID": ["1"],
        "observations: of another deployment than its media": ["2"],
        "observations: count that is no whole number above 0": ["2"],
        "observations: unknown mediaID": ["3"],
        "observations: individualID of more than one animal": ["3"],
        "observations: box that leaves the picture": ["4"],
        "observations: eventEnd before eventStart": ["5"],
        "observations: eventStart or eventEnd without an offset from UTC": ["6"],
        "observations: box with less than four numbers": ["7"],
    }
    assert in_words(found)[0] == "observations: observationID twice: 1 (1)"


# ── With the standard's own example and schemas ───────────────────────────────────────────────────


@pytest.mark.formats
@pytest.mark.skipif(not SCHEMAS.is_dir(), reason=f"{SCHEMAS} is not there")
def test_the_example_comes_back_valid(tmp_path: Path) -> None:
    assert mistakes(EXAMPLE) == [], "as it came"
    package = read_package(str(EXAMPLE))
    boxed = [row for row in package.observations if row["bboxX"]]
    paths = {row["mediaID"]: row["filePath"] for row in package.media}
    table = sighted(
        *(
            seen(
                paths[row["mediaID"]], f"heron-{number % 3}", image_id=row["mediaID"], species="Ardea",
                bbox=[float(row[name]) for name in BOXED], bbox_unit="relative",
            )
            for number, row in enumerate(boxed)
        ),
        seen(paths[boxed[0]["mediaID"]], "heron-0", image_id=boxed[0]["mediaID"], species="Ardea",
             bbox=[0.05, 0.05, 0.1, 0.1]),
    )  # fmt: skip
    given = back(EXAMPLE, table)
    assert (given.named, given.added, given.individuals) == (21, 1, 3)
    assert len(given.left_out) == 0
    for name in ("deployments.csv", "media.csv"):
        shutil.copyfile(EXAMPLE / name, tmp_path / name)
    for name, text in given.files.items():
        (tmp_path / name).write_text(text)
    assert mistakes(tmp_path) == []
    again = read_package(str(tmp_path))
    named = {row["individualID"] for row in again.observations if row["individualID"]}
    assert named == {"heron-0", "heron-1", "heron-2"}
    assert again.descriptor["project"]["individualAnimals"] is True
    untouched = [
        row
        for row in package.observations
        if not row["bboxX"] and row["observationLevel"] == "media"
    ]
    here = {row["observationID"]: row for row in again.observations}
    assert all(here[row["observationID"]] == row for row in untouched)
    assert package_mistakes(again.deployments, again.media, again.observations) == {}


@pytest.mark.formats
@pytest.mark.skipif(not SCHEMAS.is_dir(), reason=f"{SCHEMAS} is not there")
def test_a_new_package_is_valid(tmp_path: Path) -> None:
    made = fresh(tmp_path, cats())
    (tmp_path / "package").mkdir()
    for name, text in made.files.items():
        (tmp_path / "package" / name).write_text(text)
    assert mistakes(tmp_path / "package") == []
    assert mistakes(packed(tmp_path / "broken")), "and the question can be answered with no"


@pytest.mark.formats
@pytest.mark.skipif(not SCHEMAS.is_dir(), reason=f"{SCHEMAS} is not there")
def test_what_was_read_from_the_example_goes_back_into_it(tmp_path: Path) -> None:
    rows = read_sources([str(EXAMPLE)], How()).annotations.to_pandas()
    assert len(rows) == 10
    table = rows.assign(
        identity_id="heron-1", decision="known", confidence=None, nearest_id=None,
        confirmed_by=None, confirmed_at=pd.NaT, individual="heron-1",
    )  # fmt: skip
    given = back(EXAMPLE, table)
    assert (given.named, given.added, len(given.left_out)) == (10, 0, 0)
    stations = read_stations(str(EXAMPLE))
    found = make_histories(choose(table), stations, occasion_days=7)
    assert len(found.left_out) == 0, "offsets of media and deployments differ, and the times fit"
    assert found.sessions[0].history.sum() == 1


@pytest.mark.formats
@pytest.mark.skipif(not SCHEMAS.is_dir(), reason=f"{SCHEMAS} is not there")
def test_the_old_sample_comes_back_with_individuals(tmp_path: Path) -> None:
    """Agouti's muskrats, 0.1.6: rows of sequences, pictures at web addresses."""
    package = read_package(str(OLD))
    events = {row["eventID"]: row for row in package.observations}
    animals = [row for row in package.media if events.get(row["eventID"], {}).get("count") == "1"]
    table = sighted(
        *(
            seen(row["fileName"], f"who-{row['eventID'][:4]}", image_id=row["mediaID"],
                 species=events[row["eventID"]]["scientificName"])
            for row in animals
        )
    )  # fmt: skip
    given = back(OLD, table)
    before = list(csv.DictReader((OLD / "observations.csv").read_text().splitlines()))
    rows = observations(given)
    assert len(rows) == len(before)
    assert given.named + len(given.left_out) == len(animals)
    named = [row["observationID"] for row in rows if row["individualID"]]
    assert len(named) == given.individuals > 10
    assert package_mistakes(package.deployments, package.media, given.observations) == {}
    changed = {
        name
        for row, was in zip(rows, before, strict=True)
        for name in was
        if row[name] != was[name]
    }
    assert changed == {"individualID", "comments"}
