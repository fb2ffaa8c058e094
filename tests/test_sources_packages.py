"""Camtrap DP packages: made small here, and the published samples where they are at hand."""

import csv
import gzip
import json
import zipfile
from datetime import datetime
from pathlib import Path

import pytest

from reid.errors import InputError
from reid.sources import How, read_sources
from tests.test_sources_formats import SAMPLES, detection, read, touch, with_samples

MEDIA_ROWS = """mediaID,deploymentID,timestamp,filePath,fileName,fileMediatype
m1,d1,2021-04-11T20:43:09+01:00,a.jpg,a.jpg,image/jpeg
m2,d1,2021-04-11T20:43:10+01:00,b.jpg,b.jpg,image/jpeg
m3,d1,2021-04-11T20:43:11+01:00,https://x.org/c,c.jpg,image/jpeg
m4,d2,2021-04-12T20:43:11+01:00,d.jpg,d.jpg,image/jpeg
m5,d2,2021-04-12T20:43:12+01:00,e.jpg,e.jpg,image/jpeg
m6,d2,2021-04-12T20:43:13+01:00,f.mp4,f.mp4,video/mp4
m7,d9,2021-05-12T20:43:13+01:00,https://x.org/g,gone.jpg,image/jpeg
"""
OBSERVATIONS = """observationID,deploymentID,mediaID,eventID,eventStart,eventEnd,observationLevel,observationType,\
scientificName,count,individualID,bboxX,bboxY,bboxWidth,bboxHeight,classificationMethod,classifiedBy,observationTags
o1,d1,m1,e1,2021-04-11T19:43:09Z,2021-04-11T19:43:09Z,media,animal,Lynx lynx,1,luna,0.1,0.2,0.3,0.4,machine,v1,viewpoint:left | x:y
o2,d1,m2,e1,2021-04-11T19:43:10Z,2021-04-11T19:43:10Z,media,animal,Lynx lynx,1.0,o2,,,,,machine,v1,
o3,d1,m3,e1,2021-04-11T19:43:11Z,2021-04-11T19:43:11Z,media,animal,Lynx lynx,1,,,,,,machine,v1,
o4,d2,m4,e2,2021-04-12T19:43:11Z,2021-04-12T19:43:11Z,media,animal,Vulpes vulpes,2,,,,,,human,eva,
o5,d2,,e2,2021-04-12T19:43:11Z,2021-04-12T19:43:12Z,event,animal,Vulpes vulpes,1,leo,,,,,human,eva,
o6,d9,m7,e3,2021-05-12T19:43:13Z,2021-05-12T19:43:13Z,media,animal,Vulpes vulpes,1,,,,,,human,eva,
o7,d9,m0,e3,2021-05-12T19:43:13Z,2021-05-12T19:43:13Z,media,animal,Vulpes vulpes,1,,,,,,human,eva,
"""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "package"
    touch(folder, "a.jpg", "b.jpg", "c.jpg", "d.jpg", "e.jpg")
    (folder / "media.csv").write_text("\ufeff" + MEDIA_ROWS)
    (folder / "observations.csv").write_text(OBSERVATIONS)
    (folder / "deployments.csv").write_text(
        "deploymentID,locationID,latitude,longitude\nd1,N1,51,4\nd2,,51.12346,4.5\n"
    )
    describe(folder, individuals=True)
    return folder


def describe(folder: Path, *, individuals: bool) -> None:
    resources = [{"name": n, "path": f"{n}.csv"} for n in ("deployments", "media", "observations")]
    descriptor = {"resources": resources, "project": {"individualAnimals": individuals}}
    (folder / "datapackage.json").write_text(json.dumps(descriptor))


def test_camtrap_dp(package: Path) -> None:
    found = read_sources([str(package)])
    rows = {row["image_path"]: row for row in found.annotations.to_pylist()}
    assert set(rows) == {"a.jpg", "b.jpg", "c.jpg", "e.jpg"}
    assert rows["a.jpg"]["bbox"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    assert rows["a.jpg"]["identity"] == "luna"
    assert rows["a.jpg"]["viewpoint"] == "left"
    assert rows["b.jpg"]["identity"] is None  # the id of the observation itself
    assert rows["b.jpg"]["bbox"] is None
    assert rows["c.jpg"]["image_id"] == "m3"  # behind a web address, and here under its name
    assert rows["e.jpg"]["identity"] == "leo"  # of the event, by its time in UTC
    assert rows["e.jpg"]["encounter_id"] == "e2"
    assert [rows[name]["location_id"] for name in ("a.jpg", "e.jpg")] == ["N1", "51.1235,4.5000"]
    assert rows["a.jpg"]["timestamp"] == datetime(2021, 4, 11, 20, 43, 9)
    assert rows["a.jpg"]["utc_offset_minutes"] == 60
    (failed,) = found.failures.to_pylist()
    assert (failed["stage"], failed["image_path"]) == ("web", "https://x.org/g")
    said = " ".join(found.notes)
    for sentence in (
        "7 media, 7 observations", "1 observations of several animals without boxes", "1 media of video/mp4",
        "1 observations of media that the package lacks", "1 individualIDs are not read as individuals",
        "of 1 deployments that the package lacks", "--as-folder",
    ):  # fmt: skip
        assert sentence in said
    plain = read_sources([str(package)], How(as_folder=True))
    assert len(plain.annotations) == 5


def test_ids_are_individuals_only_where_the_package_or_the_user_says_so(package: Path) -> None:
    describe(package, individuals=False)
    found = read_sources([str(package / "datapackage.json")])
    assert found.annotations["identity"].null_count == len(found.annotations)
    assert any("--trust-individual-ids" in note for note in found.notes)
    trusted = read_sources([str(package)], How(trust_individual_ids=True))
    assert "luna" in trusted.annotations["identity"].to_pylist()
    assert "o2" not in trusted.annotations["identity"].to_pylist()


def test_a_package_reads_no_tables_from_elsewhere(package: Path) -> None:
    for path in ("../x.csv", "/etc/passwd", "https://x.org/media.csv", ""):
        resources = [{"name": n, "path": path} for n in ("deployments", "media", "observations")]
        with pytest.raises(InputError, match="below its folder"):
            read(package / "datapackage.json", {"resources": resources})
    with pytest.raises(InputError, match="no resource media, deployments"):
        read(package / "datapackage.json", {"resources": [{"name": "observations"}]})


def test_boxes_of_a_detector_with_what_the_package_says(package: Path) -> None:
    """d.jpg shows two foxes without boxes; e.jpg is told by its event alone; a.jpg has a box already."""
    names = {"a.jpg": "lynx", "d.jpg": "dog", "e.jpg": "dog", "other.jpg": "dog"}
    touch(package, "other.jpg")
    data = {
        "info": {"detector": "v5a"},
        "detection_categories": {"1": "animal"},
        "classification_categories": {"dog": "dog", "lynx": "lynx"},
        "images": [
            {
                "file": f"D:/package/{name}",
                "detections": [
                    {
                        **detection("1", 0.9, classifications=[[kind, 0.8]]),
                        "bbox": [at / 10, 0.2, 0.3, 0.4],
                    }
                    for at in range(2 if name == "d.jpg" else 1)
                ],
            }
            for name, kind in names.items()
        ],
    }
    (package / "md.json").write_text(json.dumps(data))
    found = read_sources([str(package)], How(detections=str(package / "md.json")))
    rows = found.annotations.to_pylist()
    boxed = [row for row in rows if row["image_path"] == "d.jpg"]
    assert [row["species"] for row in boxed] == ["Vulpes vulpes"] * 2  # what people say goes before
    assert [row["identity"] for row in boxed] == [None, None]
    assert boxed[0]["bbox"] == pytest.approx([0, 0.2, 0.3, 0.4])
    (alone,) = (row for row in rows if row["image_path"] == "e.jpg")
    assert (alone["species"], alone["identity"], alone["encounter_id"]) == (
        "Vulpes vulpes", "leo", "e2",
    )  # fmt: skip
    assert alone["bbox"] is not None
    (kept,) = (row for row in rows if row["image_path"] == "a.jpg")
    assert kept["bbox"] == pytest.approx([0.1, 0.2, 0.3, 0.4])
    said = " ".join(found.notes)
    assert "3 boxes of the detector on 2 images are read" in said
    assert "1 images have boxes in the package, which stay" in said
    assert "1 images of the detections that the package lacks" in said


def test_a_frame_that_people_call_blank_stays_out_whatever_its_event_shows(package: Path) -> None:
    with (package / "observations.csv").open("a") as file:
        file.write(
            "o8,d2,m5,e2,2021-04-12T19:43:12Z,2021-04-12T19:43:12Z,media,blank,,,,,,,,human,eva,\n"
        )
    found = read_sources([str(package)])
    assert "e.jpg" not in found.annotations["image_path"].to_pylist()
    assert "1 images that are blank (single frames of events with an animal)" in found.notes[0]


@pytest.mark.parametrize("above", ["", "survey/"])
def test_a_zipped_package(package: Path, tmp_path: Path, above: str) -> None:
    source = tmp_path / "survey.zip"
    with zipfile.ZipFile(source, "w") as archive:
        archive.writestr("__MACOSX/datapackage.json", "no JSON")
        for name in ("datapackage.json", "media.csv", "deployments.csv", "observations.csv"):
            archive.write(package / name, above + name)
    zipped = read_sources([str(source)], How(root=str(package)))
    plain = read_sources([str(package)])
    assert zipped.annotations.equals(plain.annotations)
    with zipfile.ZipFile(source, "w") as archive:
        archive.write(package / "datapackage.json", above + "datapackage.json")
    with pytest.raises(
        InputError, match=r"there is no deployments\.csv in it|there is no media\.csv in it"
    ):
        read_sources([str(source)])


def test_tables_that_are_packed_one_by_one(package: Path) -> None:
    plain = read_sources([str(package)]).annotations
    packed = gzip.compress((package / "media.csv").read_bytes())
    for data, message in ((packed, None), (packed[:-9], "cut off"), (b"media", "no .gz file")):
        (package / "media.csv.gz").write_bytes(data)
        resources = [
            {"name": "media", "path": "media.csv.gz"},
            *({"name": name, "path": f"{name}.csv"} for name in ("deployments", "observations")),
        ]
        descriptor = {"resources": resources, "project": {"individualAnimals": True}}
        (package / "datapackage.json").write_text(json.dumps(descriptor))
        if message is None:
            assert read_sources([str(package)]).annotations.equals(plain)
        else:
            with pytest.raises(InputError, match=message):
                read_sources([str(package)])


@with_samples
def test_the_sample_of_camtrap_dp_reads_what_is_here() -> None:
    found = read_sources([str(SAMPLES / "camtrap-dp-1.0.2")])
    rows = found.annotations.to_pylist()
    assert len(rows) == 10
    assert {row["encounter_id"] for row in rows} == {"7245a2aa"}
    assert {row["location_id"] for row in rows} == {"ce943ced"}
    assert all(row["bbox_unit"] == "relative" and row["timestamp"] for row in rows)
    assert set(found.failures["stage"].to_pylist()) == {"web"}
    assert "229 observations of several animals without boxes" in found.notes[0]


@with_samples
@pytest.mark.parametrize(
    ("version", "animals", "encounters", "places"), [("1.0.2", 108, 15, 4), ("0.1.6", 110, 11, 3)]
)
def test_the_samples_of_camtrap_dp_with_all_images(
    tmp_path: Path, version: str, animals: int, encounters: int, places: int
) -> None:
    package = SAMPLES / f"camtrap-dp-{version}"
    with (package / "media.csv").open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            local = f"media/{row['fileName']}" if row["filePath"].startswith("media/") else ""
            touch(tmp_path, local or f"{row['deploymentID']}/{row['fileName']}")
    found = read_sources([str(package)], How(root=str(tmp_path))).annotations
    assert len(found) == animals
    assert len(found["encounter_id"].unique()) == encounters
    assert len(found["location_id"].unique()) == places
