"""Other programs' files: made small here, and the published samples where they are at hand."""

import json
import os
import zipfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from reid.errors import InputError
from reid.sources import How, Reading, read_sources

SAMPLES = Path(os.environ.get("REID_FORMATS", "../shared/data/formats"))
needs_samples = pytest.mark.skipif(
    not SAMPLES.is_dir(), reason="needs the field's sample files (REID_FORMATS)"
)


def with_samples(test: Callable[..., None]) -> Callable[..., None]:
    return pytest.mark.formats(needs_samples(test))


MEDIA = SAMPLES / "camtrap-dp-1.0.2" / "media"


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def read(path: Path, data: Mapping[str, Any] | str, **how: object) -> Reading:
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return read_sources([str(path)], How(**how))  # type: ignore[arg-type]


def detection(category: str, conf: float, **more: object) -> dict[str, Any]:
    return {"category": category, "conf": conf, "bbox": [0.1, 0.2, 0.3, 0.4], **more}


def megadetector(**info: object) -> dict[str, Any]:
    return {
        "info": info,
        "detection_categories": {"1": "animal", "2": "person"},
        "classification_categories": {
            "7": "u;mammalia;carnivora;felidae;lynx;lynx;lynx",
            "8": "fox",
        },
        "images": [
            {
                "file": "E:\\cams\\n1\\a.jpg",
                "detections": [
                    detection("1", 0.9, classifications=[["8", 0.2], ["7", 0.7]]),
                    detection("2", 0.9),
                    detection("1", 0.1),
                    detection("9", 0.9),
                ],
                "exif_metadata": {"DateTimeOriginal": "2021:04:11 20:43:09"},
            },
            {"file": "E:/cams/n1/b.jpg", "detections": []},
            {"file": "E:/cams/n1/c.jpg", "failure": "Failure image access"},
            {"file": "E:/cams/n1/d.jpg", "detections": None},
            {"file": "E:/cams/n1/v.mp4", "detections": [detection("1", 0.9, frame_number=0)]},
            {"file": "E:/cams/n1/e.jpg", "detections": [{**detection("1", 0.9), "bbox": [1, 2]}]},
            {"file": "E:/cams/n1/gone.jpg", "detections": [detection("1", 0.9)]},
        ],
    }


def test_megadetector(tmp_path: Path) -> None:
    touch(tmp_path, *(f"n1/{name}.jpg" for name in "abcde"))
    found = read(tmp_path / "md.json", megadetector(detector="MDV5A"))
    (row,) = found.annotations.to_pylist()
    assert row["image_path"] == "n1/a.jpg"
    assert row["bbox_unit"] == "relative"
    assert row["species"] == "Lynx lynx"
    assert row["timestamp"] == datetime(2021, 4, 11, 20, 43, 9)
    stages = {
        one["image_path"].rpartition("n1")[2][1:]: one["stage"]
        for one in found.failures.to_pylist()
    }
    assert stages == {
        "c.jpg": "detect", "d.jpg": "detect", "v.mp4": "detect", "e.jpg": "read", "gone.jpg": "find"
    }  # fmt: skip
    assert found.notes[0].endswith(
        "MegaDetector: 7 images; 2 boxes of animals ≥ 0.2 on 2 images; 1 boxes of person, 1 boxes below, "
        "1 boxes of unknown kind, 1 images without animal, 5 failures (3 of the detector, 1 not understood, 1 not found)"
    )
    assert "1 images are found after removing E:/cams/" in found.notes[1]


@pytest.mark.parametrize(
    ("info", "boxes"),
    [
        ({"detector": "md_v5a.0.0.pt"}, 2),
        ({}, 1),
        ({"detector": "md_v4.1.0.pb"}, 1),
        ({"detector": "x", "detector_metadata": {"typical_detection_threshold": 0.05}}, 3),
        ({"detector": "v1000.0.0-redwood"}, 2),
    ],
)
def test_a_confidence_means_what_the_detectors_version_means(
    tmp_path: Path, info: dict[str, Any], boxes: int
) -> None:
    touch(tmp_path, "a.jpg")
    data = {
        "info": info,
        "detection_categories": {"1": "animal"},
        "images": [
            {
                "file": "a.jpg",
                "detections": [
                    {**detection("1", conf), "bbox": [0.1, 0.1, 0.1 + conf / 2, 0.4]}
                    for conf in (0.9, 0.5, 0.1)
                ],
            }
        ],
    }
    assert len(read(tmp_path / "md.json", data).annotations) == boxes
    assert len(read(tmp_path / "md.json", data, detection_threshold=0.01).annotations) == 3


def test_detections_of_a_folder(tmp_path: Path) -> None:
    touch(tmp_path, *(f"photos/n1/{name}.jpg" for name in "abcdez"))
    (tmp_path / "md.json").write_text(json.dumps(megadetector(detector="MDV5A")))
    how = How(detections=str(tmp_path / "md.json"))
    found = read_sources([str(tmp_path / "photos")], how)
    assert found.annotations["image_path"].to_pylist() == ["n1/a.jpg"]
    assert any("5 images have no box of an animal" in note for note in found.notes)
    with pytest.raises(InputError, match="give the folder of its images"):
        read_sources([str(tmp_path / "md.json")], how)


def test_boxes_from_a_json_a_picture(tmp_path: Path) -> None:
    touch(tmp_path, "frames/20230908001617.jpg", "frames/20230908001619.jpg", "frames/empty.jpg")
    boxes = {
        "20230908001617": ([[10, 20, 40, 60], [5, 5, 9, 9]], [0.9, 0.3]),
        "20230908001619": ([[1, 2, 3], [0, 0, 8, 8]], [0.8, 0.7]),
        "empty": ([], []),
    }
    folder = tmp_path / "metadata"
    folder.mkdir()
    for name, (corners, confs) in boxes.items():
        found = {"boxes": corners, "confs": confs, "image_path": f"data/tmp/{name}.jpg"}
        (folder / f"metadata_{name}.json").write_text(json.dumps(found))
    (folder / "other.json").write_text("{}")
    (folder / "torn.json").write_text("{")
    how = How(
        detections=str(folder), species="moth", detection_threshold=0.5, time_format="%Y%m%d%H%M%S"
    )
    found = read_sources([str(tmp_path / "frames")], how)
    assert found.annotations["image_path"].to_pylist() == [
        "20230908001617.jpg",
        "20230908001619.jpg",
    ]
    assert found.annotations["bbox"].to_pylist() == [[10, 20, 30, 40], [0, 0, 8, 8]]
    seconds = [moment.second for moment in found.annotations["timestamp"].to_pylist()]
    assert seconds == [17, 19]
    errors = found.failures["error"].to_pylist()
    assert any("box [1, 2, 3] is not four numbers" in error for error in errors)
    assert any("torn.json" in error for error in errors)
    told = " ".join(found.notes)
    assert "3 pictures; 2 boxes, a JSON file a picture" in told
    assert "1 JSON files without image_path and boxes" in told
    with pytest.raises(InputError, match="none has image_path and boxes"):
        read_sources([str(tmp_path / "frames")], How(detections=str(tmp_path / "frames")))
    with pytest.raises(InputError, match="no such file or folder"):
        read_sources([str(tmp_path / "frames")], How(detections=str(tmp_path / "none")))


def test_paths_that_may_mean_two_files_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "n1/a.jpg", "a.jpg")
    data = megadetector(detector="MDV5A")
    with pytest.raises(InputError, match=r"n1/a\.jpg and a\.jpg are both below"):
        read(tmp_path / "md.json", data)
    (tmp_path / "n1" / "a.jpg").unlink()
    data["images"].append({"file": "E:/cams/n2/a.jpg", "detections": [detection("1", 0.9)]})
    with pytest.raises(InputError, match="would both be"):
        read(tmp_path / "md.json", data)


def test_no_image_at_hand_is_an_error_with_both_sides(tmp_path: Path) -> None:
    touch(tmp_path, "x/other.jpg")
    with pytest.raises(
        InputError, match=r"it names 'E:.*a\.jpg', and there is 'x/other\.jpg'; give --root"
    ):
        read(tmp_path / "md.json", megadetector(detector="MDV5A"))


def test_speciesnet_of_both_versions(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    label = "u;mammalia;proboscidea;elephantidae;loxodonta;africana;african elephant"
    four = {
        "predictions": [
            {
                "filepath": "a.jpg", "prediction": label,
                "detections": [
                    {**detection("1", 0.9), "label": "animal"}, {**detection("2", 0.9), "label": "human"},
                    {**detection("1", 0.1), "label": "animal"},
                ],
            },
            {"filepath": "b.jpg", "failures": ["DETECTOR"]},
            {
                "filepath": "c.jpg", "failures": ["CLASSIFIER"],
                "detections": [{**detection("1", 0.9), "label": "animal"}],
            },
        ]
    }  # fmt: skip
    found = read(tmp_path / "p.json", four)
    species = dict(
        zip(*(found.annotations[n].to_pylist() for n in ("image_path", "species")), strict=True)
    )
    assert species == {"a.jpg": "Loxodonta africana", "c.jpg": "unknown"}
    assert found.failures["image_path"].to_pylist() == ["b.jpg"]
    five = {
        "info": {"format_version": "20261015"},
        "predictions": [
            {
                "filepath": "a.jpg",
                "detections": [
                    {**detection("0", 1.0), "label": "whole_image_classification", "bbox": [0, 0, 1, 1]},
                    {
                        **detection("1", 0.9), "label": "animal",
                        "processed_classification": {"class": "u;aves;pelecaniformes;ardeidae;;;heron family"},
                    },
                ],
            }
        ],
    }  # fmt: skip
    (row,) = read(tmp_path / "p.json", five).annotations.to_pylist()
    assert row["species"] == "Ardeidae"
    with pytest.raises(InputError, match="this is SpeciesNet's request"):
        read(tmp_path / "p.json", {"instances": [{"filepath": "a.jpg"}]})


def test_coco_camera_traps(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    text = json.dumps(
        {
            "images": [
                {
                    "id": 1,
                    "file_name": "a.jpg",
                    "seq_id": "s1",
                    "location": 7,
                    "datetime": "2021-04-11 20:43:09",
                },
                {
                    "id": 2,
                    "file_name": "b.jpg",
                    "date_captured": "2021:04:11 20:43:10",
                    "frame_num": "NaN_",
                },
                {"id": 3, "file_name": "c.jpg", "corrupt": True},
                {"id": 4, "file_name": "d.jpg"},
            ],
            "annotations": [
                {
                    "id": 1,
                    "image_id": 1,
                    "category_id": 5,
                    "bbox": [10, 20, 30, 40],
                    "name": "luna",
                },
                {"id": 2, "image_id": 2, "category_id": 5, "bbox_relative": [0.1, 0.2, 0.3, 0.4]},
                {"id": 3, "image_id": 2, "category_id": 5, "sequence_level_annotation": True},
                {"id": 4, "image_id": 4, "category_id": 0},
                {"id": 5, "image_id": 9, "category_id": 5},
            ],
            "categories": [{"id": 0, "name": "empty"}, {"id": 5, "name": "heron"}],
        }
    ).replace('"NaN_"', "NaN")
    found = read(tmp_path / "coco.json", text)
    rows = found.annotations.to_pylist()
    assert [row["bbox_unit"] for row in rows] == ["px", "relative", None]
    assert rows[0]["encounter_id"] == "s1"
    assert rows[0]["location_id"] == "7"
    assert rows[0]["identity"] == "luna"
    assert rows[1]["timestamp"] == datetime(2021, 4, 11, 20, 43, 10)
    assert found.failures["image_path"].to_pylist() == ["c.jpg"]
    assert any("1 annotations are of whole sequences" in note for note in found.notes)
    assert "1 images without animal" in found.notes[0]


def test_json_that_is_none_of_these_is_refused(tmp_path: Path) -> None:
    for text, message in (
        ("[1]", "a JSON list"), ("{", "no JSON, or a damaged one"), ('{"a": 1}', "of no known kind, with a"),
        ("[" * 100_000, "no JSON, or a damaged one"), ('{"images": 3, "detection_categories": []}', "no image"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=message):
            read(tmp_path / "x.json", text)


WILDLIFE_INSIGHTS = """project_id,deployment_id,image_id,filename,location,is_blank,genus,species,common_name,timestamp,\
number_of_objects,individual_id,sequence_id
1,D1,i1,IMG_0001.JPG,https://x.org/a,0,Lynx,lynx,Lynx,5/5/19 17:21,1,luna,s1
1,D2,i2,IMG_0001.JPG,https://x.org/b,,Panthera,,Big cat,5/25/19 17:22,1,,s2
1,D2,i3,IMG_0002.JPG,https://x.org/c,1,,,Blank,5/25/19 17:22,,,
1,D2,i4,IMG_0003.JPG,https://x.org/d,0,Homo,sapiens,Human,5/25/19 17:22,1,,
1,D2,i5,IMG_0004.JPG,https://x.org/e,0,Lynx,lynx,Lynx,5/25/19 17:22,3,,
1,D2,i6,IMG_0005.JPG,https://x.org/f,0,,,No CV Result,5/25/19 17:22,1,,
"""


@pytest.mark.parametrize("form", ["folder", "zip", "csv"])
def test_wildlife_insights(tmp_path: Path, form: str) -> None:
    touch(tmp_path / "img", "D1/IMG_0001.JPG", "D2/IMG_0001.JPG", "D2/IMG_0004.JPG")
    tables = {
        "images.csv": WILDLIFE_INSIGHTS,
        "deployments.csv": "deployment_id,placename\nD1,North\n",
    }
    source = tmp_path / "export"
    source.mkdir()
    for name, text in tables.items():
        (source / name).write_text(text)
    if form == "csv":
        source = source / "images.csv"
    if form == "zip":
        with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
            for name in tables:
                archive.write(source / name, f"wi_2024/{name}")
        source = tmp_path / "export.zip"
    found = read_sources([str(source)], How(root=str(tmp_path / "img")))
    rows = found.annotations.to_pylist()
    assert [row["image_path"] for row in rows] == ["D1/IMG_0001.JPG", "D2/IMG_0001.JPG"]
    assert [row["species"] for row in rows] == ["Lynx lynx", "Panthera"]
    assert [row["location_id"] for row in rows] == ["North", "D2"]
    assert [row["identity"] for row in rows] == ["luna", None]
    assert [row["encounter_id"] for row in rows] == ["s1", "s2"]
    assert [row["timestamp"] for row in rows] == [
        datetime(2019, 5, 5, 17, 21),
        datetime(2019, 5, 25, 17, 22),
    ]
    assert (
        "1 of blank images, 1 of people, 1 images of several animals without boxes, 1 of images"
        in found.notes[0]
    )


def test_wildlife_insights_with_names_that_repeat(tmp_path: Path) -> None:
    touch(tmp_path, "IMG_0001.JPG")
    (tmp_path / "images.csv").write_text(WILDLIFE_INSIGHTS)
    with pytest.raises(
        InputError, match=r"D1/IMG_0001\.JPG and D2/IMG_0001\.JPG would both be IMG_0001\.JPG"
    ):
        read_sources([str(tmp_path / "images.csv")])
    (tmp_path / "x.zip").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(InputError, match=r"no \.zip, or a damaged one"):
        read_sources([str(tmp_path / "x.zip")])


def test_tables_of_detectors_leave_out_what_is_no_animal(tmp_path: Path) -> None:
    (tmp_path / "animl.csv").write_text(
        "FilePath,category,conf,bbox1,bbox2,bbox3,bbox4,prediction\n"
        "a.jpg,1,0.9,0.1,0.1,0.4,0.4,cougar\nb.jpg,2,0.9,0.1,0.1,0.4,0.4,human\nc.jpg,0,,,,,,empty\n"
    )
    found = read_sources([str(tmp_path / "animl.csv")])
    assert found.annotations["image_path"].to_pylist() == ["a.jpg"]
    assert found.annotations["species"].to_pylist() == ["cougar"]
    assert any("2 rows show no animal and are left out" in n for n in found.notes)


def workbook(path: Path, rows: list[list[object]]) -> None:
    """A minimal .xlsx: texts inline, numbers as they are."""
    cells = "".join(
        "<row>"
        + "".join(
            f"<c><v>{cell}</v></c>"
            if isinstance(cell, int | float)
            else f'<c t="inlineStr"><is><t>{cell}</t></is></c>'
            for cell in row
        )
        + "</row>"
        for row in rows
    )
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{package}/content-types"/>',
        "_rels/.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r" Type="{office}/officeDocument" '
        'Target="xl/workbook.xml"/></Relationships>',
        "xl/workbook.xml": f'<workbook xmlns="{main}" xmlns:r="{office}"><sheets><sheet name="t" sheetId="1" r:id="r1"/>'
        "</sheets></workbook>",
        "xl/_rels/workbook.xml.rels": f'<Relationships xmlns="{package}/relationships"><Relationship Id="r1" '
        f'Type="{office}/worksheet" Target="worksheets/s.xml"/></Relationships>',
        "xl/worksheets/s.xml": f'<worksheet xmlns="{main}"><sheetData>{cells}</sheetData></worksheet>',
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in parts.items():
            archive.writestr(name, text)


def test_spreadsheets(tmp_path: Path) -> None:
    rows = [
        ["Path", "Individual", "x", "y", "w", "h"],
        ["a.jpg", 12, 1, 2, 30.5, 40],
        [],
        ["b.jpg", "NA", 1, 2, 3, 4],
    ]
    workbook(tmp_path / "t.xlsx", rows)
    found = read_sources([str(tmp_path / "t.xlsx")])
    assert found.annotations["identity"].to_pylist() == ["12", None]
    assert found.annotations["bbox"].to_pylist() == [[1, 2, 30.5, 40], [1, 2, 3, 4]]
    workbook(tmp_path / "wide.xlsx", [["path"], ["a.jpg", "luna"]])
    with pytest.raises(InputError, match="row 2: 'luna' stands where the header has no column"):
        read_sources([str(tmp_path / "wide.xlsx")])
    (tmp_path / "bad.xlsx").write_bytes(b"PK no workbook")
    with pytest.raises(InputError, match="no workbook, or a locked or damaged one"):
        read_sources([str(tmp_path / "bad.xlsx")])


@with_samples
def test_the_samples_of_animl() -> None:
    found = read_sources([str(SAMPLES / "animl/reid_manifest.csv")])
    assert len(found.annotations) == 20
    assert set(found.annotations["bbox_unit"].to_pylist()) == {"relative"}


@with_samples
def test_the_sample_of_megadetector() -> None:
    found = read_sources([str(SAMPLES / "made/md.json")], How(root=str(MEDIA)))
    assert len(found.annotations) == 9
    assert len(found.failures) == 2
    assert "1 boxes of person, 1 boxes below, 1 images without animal, 2 failures" in found.notes[0]


@with_samples
def test_the_sample_of_speciesnet() -> None:
    path = SAMPLES / "speciesnet"
    found = read_sources([str(path / "rust_output_ensemble.json")], How(root=str(path / "images")))
    species = found.annotations["species"].to_pylist()
    assert sorted(species) == ["Loxodonta africana"] * 6 + ["Ursus americanus"]


@with_samples
@pytest.mark.parametrize(
    "name", ["coco.json", "timelapse.csv", "backslash.csv", "relative_boxes.csv"]
)
def test_the_samples_of_ten_photographs(name: str) -> None:
    found = read_sources([str(SAMPLES / "made" / name)], How(root=str(MEDIA)))
    assert len(found.annotations) == 10
    assert not len(found.failures)
    assert all((MEDIA / path).is_file() for path in found.annotations["image_path"].to_pylist())
    assert any("10 images are found after removing cam1/100RECNX/" in note for note in found.notes)


@with_samples
def test_the_sample_of_ten_notations() -> None:
    how = {"root": str(MEDIA)}
    with pytest.raises(InputError, match="--date-order"):
        read_sources([str(SAMPLES / "made/dates.csv")], How(**how))
    found = read_sources([str(SAMPLES / "made/dates.csv")], How(**how, date_order="dmy"))
    times = found.annotations["timestamp"].to_pylist()
    assert {(time.month, time.day) for time in times} == {(4, 11), (5, 4), (4, 5)}
    assert found.annotations["utc_offset_minutes"].to_pylist() == [
        None, None, None, 60, 0, None, -300, None, None, 0,
    ]  # fmt: skip
