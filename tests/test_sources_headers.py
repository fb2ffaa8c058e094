"""What needs a look into files or at their size: turned boxes, one species a burst, limits."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from reid.errors import InputError
from reid.sources import How, read_sources

ORIENTATION, EXIF_IFD, TAKEN = 0x0112, 0x8769, 0x9003


def picture(path: Path, *, orientation: int = 1, taken: str | None = None) -> None:
    """120 × 80 stored pixels, black but for a white box at 20, 10 of 30 × 16."""
    pixels = np.zeros((80, 120, 3), np.uint8)
    pixels[10:26, 20:50] = 255
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    if taken:
        exif.get_ifd(EXIF_IFD)[TAKEN] = taken
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, exif=exif, quality=95)


def coco(size: tuple[int, int], *boxes: list[float]) -> dict[str, Any]:
    return {
        "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
        "categories": [{"id": 1, "name": "fox"}],
        "annotations": [
            {"id": at, "image_id": 1, "category_id": 1, "bbox": box} for at, box in enumerate(boxes)
        ],
    }


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_of_the_stored_picture_are_turned_with_it(tmp_path: Path, orientation: int) -> None:
    picture(tmp_path / "a.jpg", orientation=orientation)
    (tmp_path / "coco.json").write_text(json.dumps(coco((120, 80), [20, 10, 30, 16])))
    (row,) = read_sources([str(tmp_path / "coco.json")]).annotations.to_pylist()
    if orientation in (
        2,
        3,
        4,
    ):  # of one size turned or not: boxes are taken to be of the upright one
        assert row["bbox"] == [20, 10, 30, 16]
        return
    with Image.open(tmp_path / "a.jpg") as image:
        upright = ImageOps.exif_transpose(image).convert("L")
    rows, columns = np.nonzero(np.asarray(upright) > 127)
    x, y, width, height = row["bbox"]
    assert (x, y) == (columns.min(), rows.min())
    assert (width, height) == (np.ptp(columns) + 1, np.ptp(rows) + 1)


def test_boxes_of_a_copy_are_scaled_and_of_another_picture_refused(tmp_path: Path) -> None:
    picture(tmp_path / "a.jpg")
    source = tmp_path / "coco.json"
    source.write_text(json.dumps(coco((60, 40), [10, 5, 15, 8])))
    found = read_sources([str(source)])
    assert found.annotations["bbox"].to_pylist() == [[20, 10, 30, 16]]
    assert any("1 boxes are scaled, as the stated size" in note for note in found.notes)
    source.write_text(json.dumps(coco((80, 120), [10, 5, 15, 8])))
    with pytest.raises(
        InputError, match="of a picture of 80 × 120 pixels, and the file has 120 × 80"
    ):
        read_sources([str(source)])


def megadetector(*species: str | None) -> dict[str, Any]:
    """A frame a species, 1 s apart, at cam1; the first is the surest."""
    images = []
    for at, name in enumerate(species):
        box: dict[str, Any] = {
            "category": "1",
            "conf": 0.9 - at / 100,
            "bbox": [0.1, 0.1, 0.5, 0.5],
        }
        if name:
            box["classifications"] = [[name, 0.9]]
        images.append({"file": f"E:/cams/cam1/100RECNX/{at}.jpg", "detections": [box]})
    return {
        "info": {"detector": "v5a"},
        "detection_categories": {"1": "animal"},
        "classification_categories": {"7": "lynx", "8": "fox"},
        "images": images,
    }


def test_a_burst_is_of_one_species_by_its_vote_with_times_that_only_the_files_tell(
    tmp_path: Path,
) -> None:
    for at in range(4):  # the last one comes an hour later
        hour = 21 if at == 3 else 20
        picture(tmp_path / f"{at}.jpg", taken=f"2021:04:11 {hour}:43:0{at}")
    (tmp_path / "md.json").write_text(json.dumps(megadetector("8", "7", "7", "8")))
    found = read_sources([str(tmp_path / "md.json")])
    rows = found.annotations.to_pylist()
    assert [row["species"] for row in rows] == ["lynx", "lynx", "lynx", "fox"]
    # Folders that had to be removed from the paths still tell the station.
    assert {row["location_id"] for row in rows} == {"cam1"}
    assert len({row["encounter_id"] for row in rows}) == 2
    assert any("1 boxes take the species that most of their burst have" in n for n in found.notes)
    (tmp_path / "md.json").write_text(json.dumps(megadetector("8", None)))
    found = read_sources([str(tmp_path / "md.json")])
    assert found.annotations["species"].to_pylist() == ["fox", "fox"]


def test_stations_are_what_differs_between_the_folders_that_are_gone(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).touch()
    table = tmp_path / "timelapse.csv"
    table.write_text(
        "RootFolder,File,RelativePath,DateTime\nx,a.jpg,2021\\n1\\100RECNX,2021-04-11 20:43:09\n"
        "x,b.jpg,2021\\n1\\101RECNX,2021-04-11 20:43:10\nx,c.jpg,2021\\n2\\100RECNX,2021-04-11 20:43:10\n"
    )
    rows = read_sources([str(table)]).annotations.to_pylist()
    assert [row["location_id"] for row in rows] == ["n1", "n1", "n2"]
    assert rows[0]["encounter_id"] == rows[1]["encounter_id"] != rows[2]["encounter_id"]
    found = read_sources([str(table)], How(location_level=1)).annotations
    assert found["location_id"].null_count == 3  # the user asked for folders below the root


def test_times_without_a_place_are_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "path,date\na.jpg,2021-04-11 20:43:09\nb.jpg,2021-04-11 20:43:10\n"
    )
    found = read_sources([str(tmp_path / "t.csv")])
    assert any("2 images have a time and no place" in note for note in found.notes)


def test_files_over_the_limits_are_never_read(tmp_path: Path) -> None:
    (tmp_path / "large.jpg").write_bytes(b"x" * 2000)
    (tmp_path / "small.jpg").write_bytes(b"x")
    found = read_sources([str(tmp_path)], How(max_file_megabytes=0.001))
    assert found.annotations["image_path"].to_pylist() == ["small.jpg"]
    (failed,) = found.failures.to_pylist()
    assert "over the limit of 0 (sources.max_file_megabytes)" in failed["error"]
    (tmp_path / "t.csv").write_text("path\nsmall.jpg\n")
    for source in ("t.csv", "md.json"):
        (tmp_path / source).write_text("path\nsmall.jpg\n")
        with pytest.raises(InputError, match=r"\(sources\.max_table_megabytes\)"):
            read_sources([str(tmp_path / source)], How(max_table_megabytes=1e-6))


def test_sides_that_nobody_knows_are_a_warning_where_they_matter(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,species,side\na.jpg,lynx,left\nb.jpg,lynx,\nc.jpg,fox,\n")
    source = [str(tmp_path / "t.csv")]
    assert read_sources(source).warnings == []
    (warning,) = read_sources(source, How(flank_sensitive=("lynx", "bear"))).warnings
    assert warning.startswith("lynx: 1 of 2 images do not say which side they show")
    assert len(read_sources(source, How(flank_sensitive=("all",))).warnings) == 2
