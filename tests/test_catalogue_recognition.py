from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from reid import catalogue as cat
from reid import schema
from reid.sources.ids import key_of

FILE = {"uploads": "1 2", "moved": "1 2", "elsewhere": "3 4"}  # what lies below some roots


def key(row: Mapping[str, Any]) -> str:
    return key_of(FILE.get(row["root"], "5 6"), row["bbox"], row["bbox_unit"])


def rows(*found: dict[str, Any]) -> pa.Table:
    plain = []
    for row in found:
        whole = {
            "image_path": "i.jpg", "root": "uploads", "species": "lynx", "bbox": None, "bbox_unit": None,
            **row,
        }  # fmt: skip
        plain.append({**whole, "source_key": ""})
    table = pa.Table.from_pylist(plain, schema=schema.ANNOTATIONS)  # boxes are float32 now
    keys = pa.array([key(row) for row in table.to_pylist()])
    return table.set_column(table.column_names.index("source_key"), "source_key", keys)


def box(x: float, y: float = 0, w: float = 100, h: float = 100) -> list[float]:
    return [x, y, w, h]


def ids(stored: pa.Table, upload: pa.Table, **options: float) -> list[str]:
    found = cat.recognise(stored, upload, key, **options)
    assert found.annotations.schema == upload.schema
    known = dict(zip(stored["annotation_id"].to_pylist(), stored.to_pylist(), strict=True))
    for row in found.annotations.to_pylist():
        if row["annotation_id"] in known and row["root"] != "elsewhere":
            assert row["bbox"] == known[row["annotation_id"]]["bbox"], "the stored box stays"
            assert row["source_key"] == known[row["annotation_id"]]["source_key"]
    return found.annotations["annotation_id"].to_pylist()


def test_boxes_that_moved_keep_their_old_ids() -> None:
    stored = rows({"annotation_id": "a", "bbox": box(0)}, {"annotation_id": "b", "bbox": box(30)})
    moved = rows({"annotation_id": "x", "bbox": box(31)}, {"annotation_id": "y", "bbox": box(2)})
    found = cat.recognise(stored, moved, key)
    assert found.annotations["annotation_id"].to_pylist() == ["b", "a"]
    assert found.aliases == {"x": "b", "y": "a"}
    assert "2 boxes moved by up to 2 px" in found.notes[0]
    assert ids(stored, moved, same_box_iou=0.99) == ["x", "y"]


def test_a_box_too_many_is_a_new_animal() -> None:
    stored = rows({"annotation_id": "a", "bbox": box(0)})
    both = rows({"annotation_id": "x", "bbox": box(8)}, {"annotation_id": "y", "bbox": box(1)})
    assert ids(stored, both) == ["x", "a"]
    # What the upload names by its id is taken by that.
    assert ids(stored, rows({"annotation_id": "a", "bbox": box(0)}, {"annotation_id": "y", "bbox": box(1)})) == ["a", "y"]  # fmt: skip


def test_the_same_id_with_a_moved_box_is_known_and_with_another_box_is_not() -> None:
    stored = rows({"annotation_id": "a", "bbox": box(0)})
    near, far = (rows({"annotation_id": "a", "bbox": box(x)}) for x in (3, 60))
    assert cat.recognise(stored, near, key).annotations.equals(stored)
    assert cat.recognise(stored, far, key).annotations.equals(far)
    assert len(cat.compare(stored, far).failures) == 1


def test_whole_images() -> None:
    stored = rows({"annotation_id": "a"})
    assert ids(stored, rows({"annotation_id": "A1"})) == ["a"]
    assert ids(stored, rows({"annotation_id": "A1", "bbox": box(0)})) == ["A1"], "a part of it"
    named = rows({"annotation_id": "a", "identity": "Luna"})
    assert ids(named, rows({"annotation_id": "A1", "identity": "Luna"})) == ["a"]
    assert ids(named, rows({"annotation_id": "A1", "identity": "Leo"})) == ["A1"], "two animals"
    two = rows({"annotation_id": "A1", "identity": "Leo"}, {"annotation_id": "A2"})
    assert ids(named, two) == ["A1", "a"]


def test_another_file_or_species_is_another_animal() -> None:
    stored = rows({"annotation_id": "a", "bbox": box(0)})
    for other in ({"root": "elsewhere"}, {"image_path": "j.jpg"}, {"species": "fox"}):
        assert ids(stored, rows({"annotation_id": "x", "bbox": box(0), **other})) == ["x"]
    # A collection that moved, with the same file in it.
    assert ids(stored, rows({"annotation_id": "x", "bbox": box(0), "root": "moved"})) == ["a"]


def test_boxes_in_other_units_are_not_compared() -> None:
    stored = rows({"annotation_id": "a", "bbox": [0.1, 0.1, 0.5, 0.5], "bbox_unit": "relative"})
    upload = {"annotation_id": "x", "bbox": [0.1, 0.1, 0.5, 0.51]}
    assert ids(stored, rows({**upload, "bbox_unit": "relative"})) == ["a"]
    assert ids(stored, rows({**upload, "bbox_unit": "px"})) == ["x"]


def test_a_file_is_one_below_whatever_root() -> None:
    stored = rows({"annotation_id": "a", "root": "/x/uploads"}, {"annotation_id": "b", "root": "/x/uploads", "image_path": "k/j.jpg"})  # fmt: skip
    upload = rows(
        {"annotation_id": "A1", "root": "/x/", "image_path": "uploads/i.jpg"},
        {"annotation_id": "A2", "root": "/x/uploads/k", "image_path": "j.jpg"},
        {"annotation_id": "A3", "root": "/x", "image_path": "/x/uploads/l.jpg"},
    )
    assert cat.recognise(stored, upload, key).annotations["annotation_id"].to_pylist() == ["a", "b", "A3"]  # fmt: skip


def test_ids_that_a_detector_gave_to_other_boxes_say_nothing() -> None:
    stored = rows(
        {"annotation_id": "i-1", "bbox": box(0)}, {"annotation_id": "i-2", "bbox": box(300)}
    )
    swapped = rows(
        {"annotation_id": "i-1", "bbox": box(302)}, {"annotation_id": "i-2", "bbox": box(1)}
    )
    assert ids(stored, swapped) == ["i-2", "i-1"]
    # One animal more, found first: all numbers have moved on.
    more = rows(
        {"annotation_id": "i-1", "bbox": box(600)}, {"annotation_id": "i-2", "bbox": box(2)},
        {"annotation_id": "i-3", "bbox": box(299)},
    )  # fmt: skip
    found = cat.recognise(stored, more, key)
    new, *known = found.annotations["annotation_id"].to_pylist()
    assert known == ["i-1", "i-2"]
    assert new not in ("i-1", "i-2", "i-3")
    assert not len(cat.compare(stored, found.annotations).failures)


def test_aliases_are_remembered(tmp_path: Path) -> None:
    place = str(tmp_path)
    assert cat.read_aliases(place) == {}
    cat.write_aliases(place, {"x": "a", "y": "b"})
    cat.write_aliases(place, {"x": "a"})
    cat.write_aliases(place, {"z": "a"})
    assert cat.read_aliases(place) == {"x": "a", "y": "b", "z": "a"}
    assert len(list((tmp_path / "aliases").iterdir())) == 2


def test_decisions_by_another_id_are_about_the_one_that_is_known() -> None:
    said = pa.table(
        {"a_id": ["x", "a", "c", "x"], "b_id": ["y", "x", "x", "stranger"], "n": [1, 2, 3, 4]}
    )
    known = pa.array(["a", "b", "c"])
    found, changed = cat.with_known_ids(said, known, {"x": "a", "y": "b", "c": "b"})
    assert found.to_pylist() == [
        {"a_id": "a", "b_id": "b", "n": 1},
        {"a_id": "a", "b_id": "c", "n": 3},  # c is known by that name
        {"a_id": "a", "b_id": "stranger", "n": 4},
    ]
    assert changed == 4
