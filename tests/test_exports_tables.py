"""The plain table, Wildbook's lines, ids for Wildlife Insights, and folders of pictures."""

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reid.errors import InputError
from reid.exports.insights_ids import insights_files
from reid.exports.picture_folders import picture_folders, target_names
from reid.exports.who_is_who import WHO_IS_WHO, who_is_who
from reid.exports.wildbook import wildbook_files
from tests.leopard_cats import frame

NAMES = {"leopard cat": "Prionailurus bengalensis"}


def dicts(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_plain_table_has_time_place_and_who_confirmed() -> None:
    table = frame(viewpoint="left", confidence=0.9)
    table.loc[0, "identity"] = "Luna"
    table.loc[0, ["confirmed_by", "confirmed_at"]] = ["anna", pd.Timestamp("2026-01-02", tz="UTC")]
    table["confirmed_at"] = pd.to_datetime(table["confirmed_at"], utc=True)
    found = who_is_who(table)
    assert found.schema == WHO_IS_WHO
    first = found.to_pylist()[0]
    assert (first["name"], first["identity_id"], first["confirmed_by"]) == ("Luna", "1", "anna")
    assert (str(first["timestamp"]), first["location_id"]) == ("2009-05-07 17:11:00", "A")
    assert found["utc_offset_minutes"].null_count == len(table), "where the catalogue has none"


# ── Wildbook ──────────────────────────────────────────────────────────────────────────────────────


def test_wildbook_has_a_line_an_encounter_and_no_empty_column() -> None:
    found = wildbook_files(frame(), NAMES)
    lines = dicts(found.files["encounters_1.csv"])
    assert len(lines) == found.encounters == 18
    bursts = [line for line in lines if line["Encounter.mediaAsset1"]]
    names = ("Encounter.mediaAsset0", "Encounter.mediaAsset1")
    assert ["IMG 0013.JPG", "IMG 0014.JPG"] in [[line[name] for name in names] for line in bursts]
    assert len(bursts) == 3
    first = lines[0]
    assert (first["Encounter.genus"], first["Encounter.specificEpithet"]) == (
        "Prionailurus",
        "bengalensis",
    )
    assert first["Encounter.year"] == "2009"
    assert first["Encounter.verbatimLocality"] in "ABC"
    assert "Encounter.decimalLatitude" not in first
    assert "Encounter.sightingID" not in first
    assert {line["MarkedIndividual.individualID"] for line in lines} == {"1", "2", "3"}
    assert {line["Encounter.state"] for line in lines} == {"unapproved"}


def test_wildbook_never_names_an_animal_that_nobody_is_sure_of() -> None:
    table = frame()
    table.loc[0, "decision"] = "unsure"
    lines = dicts(wildbook_files(table, NAMES).files["encounters_1.csv"])
    (unsure,) = [line for line in lines if line["Encounter.mediaAsset0"] == "IMG 0000.JPG"]
    assert unsure["MarkedIndividual.individualID"] == ""
    table.loc[1, "confirmed_by"], table.loc[2, "identity"] = "anna", "Luna"
    lines = dicts(wildbook_files(table, NAMES).files["encounters_1.csv"])
    approved = [
        line["Encounter.mediaAsset0"] for line in lines if line["Encounter.state"] == "approved"
    ]
    assert sorted(approved) == ["IMG 0001.JPG", "IMG 0002.JPG"], "people have looked at these"
    everybody = wildbook_files(frame(decision="unsure"), NAMES).files["encounters_1.csv"]
    assert "MarkedIndividual.individualID" not in everybody.splitlines()[0]
    assert "NA" not in everybody.replace("NAME", "")


def test_wildbook_names_are_letters_digits_and_few_signs() -> None:
    table = frame(image_path="cam/Pictüre_01(2).JPG", encounter_id="tour 3/a.b")
    table["image_path"] = [f"{number}/Pictüre_01(2).JPG" for number in range(len(table))]
    table["identity_id"] = "Tom.2 & Tim"
    table.loc[3:, "encounter_id"] = None
    found = wildbook_files(table, NAMES, {"A": (5.4, 117.2)})
    lines = dicts(found.files["encounters_1.csv"])
    media = [
        value for line in lines for name, value in line.items() if "mediaAsset" in name and value
    ]
    assert len({name.lower() for name in media}) == len(table)
    assert all(re.fullmatch(r"[A-Za-z0-9. ]+", name) for name in media)
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9_-]+", line["MarkedIndividual.individualID"])
        assert re.fullmatch(r"[A-Za-z0-9_-]*", line["Encounter.sightingID"])
    assert {line["Encounter.sightingID"] for line in lines} == {"tour-3-a-b", ""}
    assert {line["Encounter.decimalLatitude"] for line in lines} == {"5.4", ""}
    named = {line["file_name"]: line["image_path"] for line in dicts(found.files["images.csv"])}
    assert sorted(named.values()) == sorted(table["image_path"])


def test_wildbook_files_hold_200_lines_at_most() -> None:
    table = pd.concat([frame()] * 30, ignore_index=True)
    table["timestamp"] += pd.to_timedelta(np.arange(len(table)), unit="D")
    found = wildbook_files(table, NAMES)
    sizes = [len(dicts(text)) for name, text in found.files.items() if name != "images.csv"]
    assert max(sizes) <= 200
    assert sum(sizes) == found.encounters


def test_wildbook_leaves_out_what_it_would_refuse() -> None:
    table = frame()
    table.loc[0, "timestamp"] = pd.NaT
    table.loc[1, "location_id"] = None
    found = wildbook_files(table, NAMES)
    assert found.left_out["reason"].tolist() == [
        "has no time, and Wildbook needs at least the year",
        "has no place, which Wildbook needs",
    ]
    with pytest.raises(InputError, match="--scientific-name 'leopard cat=Genus species'"):
        wildbook_files(frame(), {})
    with pytest.raises(InputError, match="none of 21 images has both a time and a place"):
        wildbook_files(frame(location_id=None), NAMES)


# ── Wildlife Insights ─────────────────────────────────────────────────────────────────────────────


def test_insights_gets_an_id_for_each_image_and_individual() -> None:
    table = frame(image_id=[f"wi-{number // 2}" for number in range(21)])
    table.loc[20, "image_id"] = None
    table.loc[0, "decision"] = "unsure"
    files, out = insights_files(table)
    lines = dicts(files["individuals.csv"])
    assert list(lines[0]) == ["image_id", "individual_id"]
    assert {"image_id": "wi-0", "individual_id": "2"} in lines
    assert {"image_id": "wi-0", "individual_id": "1"} not in lines
    assert len(lines) == len({tuple(line.values()) for line in lines})
    assert out["reason"].tolist() == [
        "nobody is sure who this is",
        "has no image_id of Wildlife Insights",
    ]
    with pytest.raises(InputError, match="no image has an image_id"):
        insights_files(frame())


# ── Folders ───────────────────────────────────────────────────────────────────────────────────────


def pictures(folder: Path, table: pd.DataFrame) -> pd.DataFrame:
    for name in table["image_path"]:
        (folder / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "photos" / name).write_bytes(name.encode())
    return table.assign(root=str(folder / "photos"))


@pytest.mark.parametrize("how", ["link", "copy"])
def test_a_folder_an_individual(tmp_path: Path, how: str) -> None:
    table = frame()
    table.loc[0, ["identity_id", "decision"]] = ["9", "unsure"]
    table.loc[1, ["identity_id", "decision"]] = ["8", "new"]
    table = pictures(tmp_path, table)
    (tmp_path / "photos/C/IMG_0020.JPG").unlink()
    written, out = picture_folders(table, str(tmp_path / "out"), how=how)
    assert written == 20
    assert out["reason"].tolist() == ["the file is not there"]
    found = sorted(
        str(file.relative_to(tmp_path / "out"))
        for file in (tmp_path / "out").rglob("*")
        if not file.is_dir()
    )
    assert len(found) == 20
    assert {name.rpartition("/")[0] for name in found} == {
        "unmatched", "clusters/1", "clusters/2", "clusters/3",
    }  # fmt: skip
    assert {name for name in found if name.startswith("unmatched")} == {
        "unmatched/001_IMG_0000.JPG",
        "unmatched/002_IMG_0001.JPG",
    }
    file = tmp_path / "out" / "clusters/1/001_IMG_0004.JPG"
    assert file.read_bytes() == b"B/IMG_0004.JPG"
    assert file.is_symlink() == (how == "link")
    with pytest.raises(InputError, match="is there already: remove it, or give another --out"):
        picture_folders(table, str(tmp_path / "out"))


def test_best_picture_comes_first() -> None:
    table = frame().iloc[1:4].reset_index(drop=True)
    table["bbox"] = [[0, 0, 10, 10], [0, 0, 90, 90], [0, 0, 50, 50]]
    table["nearest_distance"] = [0.1, 0.1, 0.1]
    assert target_names(table) == [
        "clusters/2/003_IMG_0001.JPG",
        "clusters/2/001_IMG_0002.JPG",
        "clusters/2/002_IMG_0003.JPG",
    ]
    table.loc[0, "confirmed_by"] = "anna"
    assert target_names(table)[0] == "clusters/2/001_IMG_0001.JPG"


def test_links_are_for_local_disks(tmp_path: Path, bucket: str) -> None:
    table = pictures(tmp_path, frame())
    with pytest.raises(InputError, match="say --images copy"):
        picture_folders(table, f"{bucket}/out")
    written, _ = picture_folders(table, f"{bucket}/out", how="copy")
    assert written == 21
    with pytest.raises(InputError, match="--images move: known: link, copy"):
        picture_folders(table, str(tmp_path / "out"), how="move")
