"""Sources of every kind become the same table; what cannot be read is a failure or one clear error."""

import os
from pathlib import Path

import pandas as pd
import pytest

from reid import schema
from reid.errors import InputError
from reid.manifest import read_annotations
from reid.sources import How, Reading, annotation_id, read_sources, source_key


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Images are not opened by the sources, so empty files serve."""
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
    assert [note.partition(": ")[2] for note in notes] == [
        "left out: 1 .txt",
        "left out, as no photographs of yours: 1 hidden files",
    ]


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
    assert any(
        "1 timestamps left empty: not understood (for example 'sometime')" in n for n in notes
    )
    assert any(
        "path as image_path, image_id, species, identity, orientation as viewpoint, date as timestamp"
        in n
        for n in notes
    )


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
    assert notes[-1] == "1 rows repeat an image and box already listed; kept once each"


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
        (
            "t.csv",
            "path,identity\n,y\n",
            "none of 1 rows can be read.*line 2: it has no image path",
        ),
        ("t.csv", "path,bbox\na.jpg,1 2 3\n", "line 2: bbox '1 2 3' is not four numbers"),
        ("t.csv", "path,identity\na.jpg,x,\nb.jpg,y,\n", "line 2: 3 cells where the header has 2"),
        (
            "t.csv",
            'path,identity\na.jpg,"x\nb.jpg,y\nc.jpg,z\n',
            "line 2: a quotation mark is opened",
        ),
        ("t.csv", "path,identity,identity\na.jpg,x,y\n", "2 columns are called 'identity'"),
        ("t.csv", "path,Identity,identity\na.jpg,x,y\n", "two columns are called"),
        (
            "t.csv",
            "path,individual,name\na.jpg,x,y\n",
            "'individual' and 'name' both mean identity",
        ),
        ("t.csv", "path,date\na.jpg,11/04/2021\n", "--date-order dmy|mdy"),
        ("t.csv", "path,bbox\na.jpg,0 0 1 .5\nb.jpg,9 9 60 60\n", "shares of the image.*row 1"),
        (
            "t.csv",
            "annotation_id,path\n1,a.jpg\n1,b.jpg\n",
            "'1' is given to two images.*line 2 and.*line 3",
        ),
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


def read(folder: Path, text: str | bytes, **how: object) -> Reading:
    table = folder / "t.csv"
    table.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_sources([str(table)], How(**how))  # type: ignore[arg-type]


def test_words_for_nothing_are_no_labels_and_are_counted(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "path,identity,encounter_id,viewpoint,location_id\n"
        "a.jpg,NA,#REF!,unknown,-\nb.jpg,N/A,?,left,N1\nc.jpg,luna,e1,,UNK\n",
    )
    rows = found.annotations.to_pydict()
    assert rows["identity"] == [None, None, "luna"]
    assert rows["encounter_id"] == [None, None, "e1"]
    assert rows["viewpoint"] == [None, "left", None]
    assert rows["location_id"] == [None, "N1", None]
    said = "column identity: 2 cells say that nothing is known (1 NA, 1 N/A)"
    assert any(said in note and "--keep-word 'NA'" in note for note in found.notes)
    kept = read(tmp_path, "path,identity\na.jpg,NA\nb.jpg,N/A\n", keep_words=("na",))
    assert kept.annotations["identity"].to_pylist() == ["NA", None]


def test_a_label_that_is_given_and_empty_is_told_from_one_that_is_not_given(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    (tmp_path / "b.jpg").touch()
    (tmp_path / "t.csv").write_text("path,identity\na.jpg,\n")
    found = read_sources([str(tmp_path), str(tmp_path / "t.csv")])
    rows = found.annotations["image_path"].to_pylist()
    assert rows == ["a.jpg", "b.jpg"]
    assert found.given["identity"].tolist() == [True, False]
    assert found.given["encounter_id"].tolist() == [False, False]


def test_zero_as_every_encounter_is_a_filler(tmp_path: Path) -> None:
    found = read(tmp_path, "path,encounter_id\na.jpg,0\nb.jpg,0\nc.jpg,0\n")
    assert found.annotations["encounter_id"].to_pylist() == [None] * 3
    assert any("3 rows have the encounter 0, which is taken as none" in n for n in found.notes)
    numbered = read(tmp_path, "path,encounter_id\na.jpg,0\nb.jpg,0\nc.jpg,1\nd.jpg,1\n")
    assert numbered.annotations["encounter_id"].to_pylist() == ["0", "0", "1", "1"]


def test_columns_are_named_in_a_note_as_in_the_file(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        "FilePath, individualID ,scientificName,bboxX,bboxY,bboxWidth,bboxHeight,remarks\n"
        "a.jpg,luna,Lynx lynx,0.1,0.1,0.4,0.5,\n",
    )
    (row,) = found.annotations.to_pylist()
    assert (row["identity"], row["species"], row["bbox_unit"]) == ("luna", "Lynx lynx", "relative")
    assert row["bbox"] == pytest.approx([0.1, 0.1, 0.4, 0.5])
    assert found.notes[0].endswith(
        "1 rows; columns read: FilePath as image_path, scientificName as species, individualID as "
        "identity, bboxX + bboxY + bboxWidth + bboxHeight as bbox; columns not used: remarks"
    )


def test_columns_of_any_name_by_the_users_word(tmp_path: Path) -> None:
    found = read(
        tmp_path, "foto,wer\na.jpg,luna\n", columns={"image_path": "foto", "identity": "wer"}
    )
    assert found.annotations["identity"].to_pylist() == ["luna"]
    with pytest.raises(
        InputError, match=r"--column identity=tier: no table .* has a column 'tier'"
    ):
        read(tmp_path, "path,wer\na.jpg,luna\n", columns={"identity": "tier"})
    with pytest.raises(InputError, match="there is no field individual; known: image_path"):
        read(tmp_path, "path,wer\na.jpg,luna\n", columns={"individual": "wer"})


def test_an_alias_beside_the_real_name_is_not_read_and_said(tmp_path: Path) -> None:
    found = read(tmp_path, "path,name,identity\na.jpg,x,y\n")
    assert found.annotations["identity"].to_pylist() == ["y"]
    assert "columns not used: name" in found.notes[0]


def test_an_id_of_images_is_no_id_of_boxes(tmp_path: Path) -> None:
    found = read(tmp_path, 'annotation_id,path,bbox\n1,a.jpg,"1,1,50,50"\n1,a.jpg,"160,60,90,90"\n')
    assert found.annotations["bbox"].to_pylist() == [[1, 1, 50, 50], [160, 60, 90, 90]]
    assert found.annotations["image_id"].to_pylist() == ["1", "1"]
    assert any("annotation_id names images" in note for note in found.notes)


def test_relative_boxes_keep_five_decimals_in_their_ids(tmp_path: Path) -> None:
    found = read(tmp_path, 'path,bbox\na.jpg,"0.10001,0.1,0.4,0.5"\na.jpg,"0.10002,0.1,0.4,0.5"\n')
    assert len(found.annotations) == 2
    assert annotation_id("a.jpg", [0, 0, 1, 1], "relative") != annotation_id("a.jpg", [0, 0, 1, 1])


def test_one_bad_row_does_not_stop_the_others(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        'path,bbox\na.jpg,"[1,1,50,50]"\nb.jpg,NA\nc.jpg,"[nan, nan, nan, nan]"\nd.jpg,[]\n'
        'e.jpg,1;2\n,\n,"1,1,9,9"\n/dev/null,"1,1,9,9"\nf\0.jpg,"1,1,9,9"\ng.jpg,"1,1,9,9"\nh.jpg,"1,1',
    )
    assert found.annotations["image_path"].to_pylist() == ["a.jpg", "g.jpg"]
    failed = {row["image_path"]: row["error"] for row in found.failures.to_pylist()}
    assert set(failed) == {"b.jpg", "c.jpg", "d.jpg", "e.jpg", "", "/dev/null", "f\0.jpg", "h.jpg"}
    assert set(found.failures["stage"].to_pylist()) == {"read"}
    assert len(set(found.failures["annotation_id"].to_pylist())) == len(found.failures)
    assert "line 3: the box says that there is none" in failed["b.jpg"]
    assert "line 6: bbox '1;2' is not four numbers" in failed["e.jpg"]
    assert "never closed" in failed["h.jpg"]
    assert any("1 empty rows are left out" in note for note in found.notes)


def test_a_table_without_any_box_is_of_whole_images(tmp_path: Path) -> None:
    found = read(tmp_path, "path,bbox\na.jpg,NA\nb.jpg,\n")
    assert found.annotations["bbox"].to_pylist() == [None, None]
    assert not len(found.failures)


@pytest.mark.parametrize(
    "text",
    [
        "path;identity\na.jpg;Muñoz\n".encode(),
        "path\tidentity\na.jpg\tMuñoz\n".encode(),
        "sep=;\npath;identity\na.jpg;Muñoz\n".encode(),
        "path,identity\na.jpg,Muñoz\n".encode("cp1252"),
        "path,identity\r\na.jpg,Muñoz\r\n".encode("utf-16"),
        "path,identity\na.jpg,Muñoz\n".encode("utf-8-sig"),
        "path,identity\na.jpg,Mun\u0303oz \n".encode(),
    ],
)
def test_tables_of_every_separator_and_encoding(tmp_path: Path, text: bytes) -> None:
    found = read(tmp_path, text)
    assert found.annotations["identity"].to_pylist() == ["Muñoz"]


def test_spellings_of_one_name_are_one_individual_and_said(tmp_path: Path) -> None:
    found = read(
        tmp_path, "path,identity\na.jpg,Luna\nb.jpg,luna \nc.jpg,Luna\nd.jpg,LUNA\ne.jpg,12\n"
    )
    assert found.annotations["identity"].to_pylist() == ["Luna"] * 4 + ["12"]
    assert any("LUNA, luna as Luna" in note for note in found.notes)
    numbers = read(tmp_path, "path,identity\na.jpg,12\nb.jpg,12.0\nc.jpg,\nd.jpg,1e+05\n")
    assert numbers.annotations["identity"].to_pylist() == ["12", "12", None, "100000"]


def test_species_that_look_alike_stay_apart_with_a_note(tmp_path: Path) -> None:
    found = read(tmp_path, "path,species\na.jpg,Lynx lynx\nb.jpg,Lynx_lynx\nc.jpg,bear\n")
    assert found.annotations["species"].to_pylist() == ["Lynx lynx", "Lynx_lynx", "bear"]
    assert any("Lynx lynx and Lynx_lynx" in note for note in found.notes)


def test_one_file_by_many_spellings_is_one_row(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(folder / "ann")
    (folder / "alias.jpg").symlink_to(folder / "ann" / "1.jpg")
    (folder / "t.csv").write_text(
        f"path,identity\n./ann/1.jpg,luna\nann//1.jpg,\nbob/../ann/1.jpg,\n{folder}/ann/1.jpg,\n"
        "ann\\1.jpg,\nalias.jpg,\n../link/1.jpg,\n"
    )
    found = read_sources([str(folder / "t.csv")])
    assert found.annotations["image_path"].to_pylist() == ["ann/1.jpg"]
    assert found.annotations["identity"].to_pylist() == ["luna"]
    assert "6 rows repeat an image and box already listed" in found.notes[-1]


def test_overlapping_inputs_are_read_once(folder: Path) -> None:
    found = read_sources([str(folder), str(folder / "ann"), f"{folder}/ann/1.jpg", f"{folder}/"])
    assert len(found.annotations) == 4


def test_a_table_beside_its_folder_gives_labels_and_boxes(folder: Path) -> None:
    (folder / "t.csv").write_text(
        'annotation_id,path,identity,bbox\nA1,ann/1.jpg,luna,\nA2,bob/3.Png,leo,"1,1,50,50"\n'
    )
    found = read_sources([str(folder), str(folder / "t.csv")])
    rows = {row["image_path"]: row for row in found.annotations.to_pylist()}
    assert len(rows) == len(found.annotations) == 4
    assert rows["ann/1.jpg"]["annotation_id"] == "A1"
    assert rows["ann/1.jpg"]["identity"] == "luna"
    assert rows["bob/3.Png"]["bbox"] == [1, 1, 50, 50]


def test_lists_in_the_encodings_of_windows(folder: Path) -> None:
    for encoding in ("utf-16", "utf-8-sig", "cp1252"):
        (folder / "l.txt").write_bytes("ann/1.jpg\r\nann\\füchse.jpg\r\n".encode(encoding))
        assert paths(folder / "l.txt") == ["ann/1.jpg", "ann/füchse.jpg"]


def test_a_bad_line_of_a_list_does_not_stop_the_others(folder: Path) -> None:
    (folder / "l.txt").write_bytes(b"ann/1.jpg\nnowhere\n/dev/zero\nn\0ul\n*.gone\n" + b"x" * 5000)
    found = read_sources([str(folder / "l.txt")])
    assert found.annotations["image_path"].to_pylist() == ["ann/1.jpg"]
    assert len(found.failures) == 5
    assert any("line 2" in row["error"] for row in found.failures.to_pylist())


def test_lists_that_name_each_other_in_a_circle_are_refused(folder: Path) -> None:
    (folder / "a.txt").write_text("b.txt\n")
    (folder / "b.txt").write_text("../photos/./a.txt\n")
    with pytest.raises(InputError, match="includes itself"):
        paths(folder / "a.txt")


def test_lists_that_name_lists_twice_are_read_once(folder: Path) -> None:
    """Each level names the next twice: without a memory that is 2^18 readings."""
    for level in range(18):
        (folder / f"{level}.txt").write_text(f"{level + 1}.txt\n./{level + 1}.txt\n")
    (folder / "18.txt").write_text("ann/1.jpg\n")
    assert paths(folder / "0.txt") == ["ann/1.jpg"]


def test_a_text_file_with_a_header_is_a_table(folder: Path) -> None:
    (folder / "t.txt").write_text("Path\tIdentity\nann/1.jpg\tluna\n")
    found = read_sources([str(folder / "t.txt")])
    assert found.annotations["identity"].to_pylist() == ["luna"]


def test_names_that_are_no_utf8_are_failures(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for name in (b"f\xfcchse.jpg", b"f\xfcchse.txt"):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    found = read_sources([str(tmp_path)])
    assert found.annotations["image_path"].to_pylist() == ["a.jpg"]
    (failed,) = found.failures.to_pylist()
    assert failed["image_path"] == "f\\xfcchse.jpg"
    assert "not UTF-8" in failed["error"]


def test_pipes_and_devices_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "a.jpg").touch()
    found = read_sources([str(tmp_path)])
    assert found.annotations["image_path"].to_pylist() == ["a.jpg"]
    assert found.failures["image_path"].to_pylist() == ["pipe.jpg"]
    with pytest.raises(InputError, match="never opened"):
        read_sources([str(tmp_path / "pipe.jpg")])


def test_the_shell_function_tells_failures_in_its_notes(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('path,bbox\na.jpg,"1,1,50,50"\nb.jpg,NA\n')
    table, notes = read_annotations([str(tmp_path / "t.csv")])
    assert len(table) == 1
    assert notes[-1].startswith("b.jpg: not read:")


def test_a_folder_whose_name_is_no_utf8_is_one_clear_error(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/f\xfc")
    Path(folder).mkdir()
    (Path(folder) / "a.jpg").touch()
    with pytest.raises(InputError, match=r"f\\xfc, is not UTF-8 text"):
        read_sources([folder])
    (Path(folder) / "b.t\udcfct").touch()  # an ending that is no text, in a note
    with pytest.raises(InputError, match="rename the folder"):
        read_sources([folder])
    (tmp_path / "good.jpg").touch()
    found = read_sources([str(tmp_path)])
    assert len(found.failures) == 1
    assert "\n".join(found.notes).encode()


def test_web_addresses_in_a_table_are_failures_of_their_own(tmp_path: Path) -> None:
    found = read(tmp_path, "path\na.jpg\nhttps://x.org/b.jpg\n")
    assert found.annotations["image_path"].to_pylist() == ["a.jpg"]
    assert found.failures["stage"].to_pylist() == ["web"]


def test_ids_and_keys_of_many_rows_are_those_of_single_ones(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"picture")
    text = 'path,bbox,bbox_unit\na.jpg,"1,2,30.5,40",px\na.jpg,"0.1,0.2,0.30001,0.4",relative\na.jpg,,\nb.jpg,,\n'
    for row in read(tmp_path, text).annotations.to_pylist():
        box = row["bbox"]
        if box is not None:
            box = [1, 2, 30.5, 40] if row["bbox_unit"] == "px" else [0.1, 0.2, 0.30001, 0.4]
        path = row["image_path"]
        assert row["annotation_id"] == annotation_id(path, box, row["bbox_unit"])
        assert row["source_key"] == source_key(str(tmp_path), path, box, row["bbox_unit"])
