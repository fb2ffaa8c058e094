"""Columns by the names that people and tools give them."""

import pytest

from reid.errors import InputError
from reid.sources.columns import check_mapping, in_words, match_columns


def read_as(*header: str, **mapping: str) -> dict[str, str]:
    found = match_columns(header, mapping=mapping, agree=lambda _: None)
    return {name: " + ".join(header[at] for at in places) for name, places in found.fields.items()}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (["Image Path", "INDIVIDUAL"], {"image_path": "Image Path", "identity": "INDIVIDUAL"}),
        (["RelativePath", "File", "DateTime"], {"image_path": "RelativePath + File", "timestamp": "DateTime"}),
        (["Directory", "FileName", "Station"], {"image_path": "Directory + FileName", "location_id": "Station"}),
        (["filename", "date", "seqnum"], {"image_path": "filename", "timestamp": "date", "encounter_id": "seqnum"}),
        (["path", "Date", "Time"], {"image_path": "path", "timestamp": "Date + Time"}),
        (
            ["path", "DateTimeOriginal", "Date", "Time"],
            {"image_path": "path", "timestamp": "DateTimeOriginal"},
        ),
        (["path", "bbox_x", "bbox_y", "bbox_w", "bbox_h"], {"bbox": "bbox_x + bbox_y + bbox_w + bbox_h"}),
        (["path", "bbox1", "bbox2", "bbox3", "bbox4"], {"bbox": "bbox1 + bbox2 + bbox3 + bbox4"}),
        (["path", "xmin", "ymin", "xmax", "ymax"], {"bbox": "xmin + ymin + xmax + ymax"}),
        (["path", "bbox", "x", "y", "w", "h"], {"bbox": "bbox"}),
        (["path", "bbox_x", "bbox_y"], {}),
        (["path", "locationID", "deploymentID"], {"location_id": "locationID"}),
    ],
)  # fmt: skip
def test_names_of_the_fields_tools(header: list[str], expected: dict[str, str]) -> None:
    found = read_as(*header)
    assert found["image_path"]
    assert {name: found.get(name) for name in expected} == expected
    assert ("bbox" in found) == ("bbox" in expected)


def test_the_users_word_comes_first() -> None:
    found = read_as("path", "individual", "name", identity="name")
    assert found["identity"] == "name"
    assert read_as("Path", "Tier Nr.", identity="tier_nr")["identity"] == "Tier Nr."
    with pytest.raises(InputError, match="known: image_path, annotation_id"):
        check_mapping({"nose": "x"})


def test_two_columns_for_one_thing_are_refused() -> None:
    with pytest.raises(InputError, match="--column identity=individual"):
        read_as("path", "individual", "name")
    with pytest.raises(InputError, match="two columns are called 'Species' and 'species'"):
        read_as("path", "Species", "species")


def test_what_is_not_read_is_said() -> None:
    header = ["path", "remarks", ""]
    found = match_columns(header, mapping={}, agree=lambda _: None)
    assert (
        in_words(header, found)
        == "columns read: path as image_path; columns not used: remarks, (no name)"
    )
