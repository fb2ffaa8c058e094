"""Sources of every kind become the same table."""

import os
from pathlib import Path

import pandas as pd
import pytest

from reid import schema
from reid.errors import InputError
from reid.manifest import annotation_id, read_annotations, source_key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images are not opened by the manifest, so empty files serve."""
    for name in (
        "ann/1.jpg",
        "ann/2.JPG",
        "bob/3.Png",
        "bob/deep/4.webp",
        "bob/notes.txt",
        ".hidden.jpg",
    ):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "photos"


def paths(*inputs: object, **options: object) -> list[str]:
    table, _ = read_annotations([str(source) for source in inputs], **options)  # type: ignore[arg-type]
    return table["image_path"].to_pylist()


def test_a_folder_is_searched_recursively_in_any_case_of_letters(folder: Path) -> None:
    table, notes = read_annotations([str(folder)])
    assert table.schema == schema.ANNOTATIONS
    assert table["image_path"].to_pylist() == [
        "ann/1.jpg",
        "ann/2.JPG",
        "bob/3.Png",
        "bob/deep/4.webp",
    ]
    assert set(table["root"].to_pylist()) == {str(folder)}
    assert set(table["species"].to_pylist()) == {"unknown"}
    assert notes == []


def test_globs(folder: Path) -> None:
    assert paths(f"{folder}/*/*.jpg") == ["ann/1.jpg"]
    assert paths(f"{folder}/**/*.[jJ][pP][gG]") == ["ann/1.jpg", "ann/2.JPG"]
    assert paths(f"{folder}/b?b/**/*") == ["bob/3.Png", "bob/deep/4.webp"]
    assert paths(f"{folder}/*/[!1].*") == ["ann/2.JPG", "bob/3.Png"]


def test_a_relative_glob_and_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder.parent)
    assert paths("photos/ann/*.jpg") == ["1.jpg"]
    assert paths("photos") == paths(folder)
    monkeypatch.chdir(folder)
    assert paths("**/*.jpg") == ["ann/1.jpg"]
    assert paths(".") == paths(folder)


def test_a_list_may_name_images_globs_folders_and_lists(folder: Path) -> None:
    (folder / "inner.txt").write_text("bob/deep\n")
    (folder / "list.txt").write_text(
        "# night 1\nann/1.jpg\n\nbob/*.Png\ninner.txt\nann/missing.jpg\n"
    )
    assert sorted(paths(folder / "list.txt", root=str(folder))) == [
        "ann/1.jpg", "ann/missing.jpg", "bob/3.Png", "bob/deep/4.webp",
    ]  # fmt: skip


def test_a_list_that_includes_itself_is_refused(folder: Path) -> None:
    (folder / "list.txt").write_text("list.txt\n")
    with pytest.raises(InputError, match="includes itself"):
        paths(folder / "list.txt")


def test_ids_are_stable_and_depend_on_path_and_box(folder: Path) -> None:
    by_folder, _ = read_annotations([str(folder)])
    by_glob, _ = read_annotations([f"{folder}/**/*"], root=str(folder))
    assert by_folder["annotation_id"].to_pylist() == by_glob["annotation_id"].to_pylist()
    # printf 'ann/1.jpg\n' | b2sum -l 96
    assert annotation_id("ann/1.jpg", None) == "4aa8890050ba1260612344da"
    assert annotation_id("ann/1.jpg", [1, 2, 3, 4]) != annotation_id("ann/1.jpg", None)
    assert annotation_id("ann/1.jpg", [1, 2, 3, 4]) == annotation_id(
        "ann/1.jpg", [1.0, 2.0, 3.0, 4.0]
    )


def test_identity_from_parent(folder: Path) -> None:
    table, _ = read_annotations([str(folder)], identity_from_parent=True, species="lynx")
    assert table["identity"].to_pylist() == ["ann", "ann", "bob", "deep"]
    assert set(table["species"].to_pylist()) == {"lynx"}
    with pytest.raises(InputError, match="--identity-from-parent"):
        read_annotations([str(folder / "ann")], identity_from_parent=True)


def test_wildlife_datasets_columns(tmp_path: Path) -> None:
    (tmp_path / "metadata.csv").write_text(
        "image_id,identity,path,orientation,species,date,split,dataset,bbox\n"
        '7,lynx_1,a/1.jpg,left,lynx,2021-03-04,train,Lynx,"[1, 2, 30.5, 40]"\n'
        "8,unknown,a/2.jpg,,lynx,2021-03-04 05:06:07,train,Lynx,\n"
        "9,,a/3.jpg,right,,sometime,test,Salamander,\n"
    )
    table, notes = read_annotations([str(tmp_path / "metadata.csv")])
    rows = table.to_pylist()
    assert [row["identity"] for row in rows] == ["lynx_1", None, None]
    assert [row["species"] for row in rows] == ["lynx", "lynx", "Salamander"]
    assert [row["bbox"] for row in rows] == [[1, 2, 30.5, 40], None, None]
    assert [row["viewpoint"] for row in rows] == ["left", None, "right"]
    assert [row["image_id"] for row in rows] == ["7", "8", "9"]
    assert [str(row["timestamp"]) for row in rows] == [
        "2021-03-04 00:00:00",
        "2021-03-04 05:06:07",
        "None",
    ]
    assert len(notes) == 1
    assert "1 timestamps not understood (for example 'sometime')" in notes[0]


def test_parquet_and_csv_agree(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {"path": ["a.jpg", "b.jpg"], "identity": ["x", None], "bbox": [[1.0, 2.0, 3.0, 4.0], None]}
    )
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_csv(tmp_path / "t.csv", index=False)
    one, _ = read_annotations([str(tmp_path / "t.parquet")])
    two, _ = read_annotations([str(tmp_path / "t.csv")])
    assert one.equals(two)


def test_repeated_rows_are_kept_once_and_said(folder: Path) -> None:
    table, notes = read_annotations([f"{folder}/ann/1.jpg", f"{folder}/ann"], root=str(folder))
    assert table["image_path"].to_pylist() == ["ann/1.jpg", "ann/2.JPG"]
    assert notes == ["1 rows repeat an image and box already listed; kept once each"]


def test_rows_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("path,identity\na.jpg,x\na.jpg,y\n")
    with pytest.raises(InputError, match=r"a\.jpg.*different identity: 'x' and 'y'"):
        read_annotations([str(tmp_path / "t.csv")])


def test_the_same_path_in_two_collections_asks_for_a_root(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "ann"
    other.mkdir(parents=True)
    (other / "1.jpg").touch()
    with pytest.raises(InputError, match="give --root"):
        paths(folder, other.parent)
    assert len(paths(folder, other.parent, root=str(tmp_path))) == 5


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "identity\nx\n", "no column with the image's path.*found: identity"),
        ("t.csv", "path,identity\n", "no rows"),
        ("t.csv", "path,identity\na.jpg,x\n,y\n", "row 2 has no image path"),
        ("t.csv", "path,bbox\na.jpg,1 2 3\n", "row 1: bbox '1 2 3' is not four numbers"),
        ("t.parquet", "not parquet", "cannot be read as a table"),
        ("t.docx", "", "unknown kind of source '.docx'"),
    ],
)
def test_bad_tables(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_annotations([str(tmp_path / name)])


def test_nothing_found(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no input"):
        read_annotations([])
    with pytest.raises(InputError, match="no such file or folder"):
        read_annotations([str(tmp_path / "absent")])
    with pytest.raises(InputError, match="no image found"):
        read_annotations([str(tmp_path)])
    with pytest.raises(InputError, match="no image found"):
        read_annotations([f"{tmp_path}/*.jpg"])


def test_a_source_key_follows_the_file_and_not_its_place(tmp_path: Path) -> None:
    one, moved = tmp_path / "one", tmp_path / "moved"
    one.mkdir()
    (one / "a.jpg").write_bytes(b"picture")
    key = source_key(str(one), "a.jpg", None)
    one.rename(moved)
    assert source_key(str(moved), "a.jpg", None) == key
    assert source_key(str(moved), "a.jpg", [0, 0, 1, 1]) != key
    (moved / "a.jpg").write_bytes(b"another")
    os.utime(moved / "a.jpg", ns=(0, 0))
    assert source_key(str(moved), "a.jpg", None) != key
    places = {source_key(root, "a.jpg", None) for root in ("s3://a", "s3://b")}
    assert len(places) == 2


def test_numbers_keep_their_plain_form_beside_empty_cells(tmp_path: Path) -> None:
    pd.DataFrame({"path": ["a.jpg", "b.jpg"], "identity": [12, None]}).to_parquet(
        tmp_path / "t.parquet"
    )
    table, _ = read_annotations([str(tmp_path / "t.parquet")])
    assert table["identity"].to_pylist() == ["12", None]


def test_a_folder_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    folder = tmp_path / "night [2024]"
    folder.mkdir()
    (folder / "1.jpg").touch()
    assert paths(folder) == ["1.jpg"]
