"""Folders and globs: every photograph once, litter never, all else counted."""

import fnmatch
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import InputError
from reid.sources.folders import Listing, list_images, listing_notes
from reid.sources.globs import matcher
from reid.sources.read import read_sources


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_files_of_other_kinds_are_counted_and_named(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.JPG", "b.heic", "c.HEIF", "d.avif", "e.jfif", "f.jpe", "g.mpo", "h.jp2", "i.gif",
        "r.DNG", "r2.dng", "r.CR2", "v.MP4", "notes.txt", "README",
    )  # fmt: skip
    found = list_images(str(tmp_path))
    assert len(found.paths) == 9
    (note,) = listing_notes("p", found)
    assert note == (
        "p: left out: 2 .dng, 1 .cr2 (raw: convert them first), 1 .mp4 (videos: extract frames first), "
        "1 without an ending, 1 .txt"
    )


def test_copies_that_storage_systems_keep_are_no_photographs(tmp_path: Path) -> None:
    touch(
        tmp_path, "a.jpg", "sub/b.jpg", "@eaDir/a.jpg/SYNOPHOTO_THUMB_S.jpg", "#recycle/a.jpg",
        "#snapshot/d/a.jpg", "$RECYCLE.BIN/S-1/$R1.jpg", "System Volume Information/a.jpg", ".thumbnails/a.jpg",
        ".Trashes/501/a.jpg", ".AppleDouble/a.jpg", "__MACOSX/a.jpg", "sub/._b.jpg", "Thumbs.db", ".hidden.jpg",
        "lost+found/a.jpg", "@Recycle/a.jpg",
    )  # fmt: skip
    found = list_images(str(tmp_path))
    assert found.paths == ["a.jpg", "sub/b.jpg"]
    assert found.litter.total() == 14
    assert not found.other
    (note,) = listing_notes("p", found)
    assert "as no photographs of yours" in note


def test_a_folder_that_is_asked_for_by_name_is_read_whatever_its_name(tmp_path: Path) -> None:
    touch(tmp_path, ".thumbnails/a.jpg")
    assert list_images(str(tmp_path / ".thumbnails")).paths == ["a.jpg"]


def test_links_lead_to_each_real_file_once(tmp_path: Path) -> None:
    top, other = tmp_path / "p", tmp_path / "other"
    touch(top, "a.jpg", "sub/b.jpg", ".store/c.jpg")
    touch(other, "d.jpg", "deep/e.jpg")
    for link, target in {
        "all": top, "up": tmp_path, "root": Path("/"), "sub/loop": top / "sub", "linked.jpg": top / "a.jpg",
        "annexed.jpg": top / ".store" / "c.jpg", "there": other, "there_too": other / "deep",
        "self": top / "self", "gone.jpg": top / "nothing.jpg",
    }.items():  # fmt: skip
        (top / link).symlink_to(target)
    found = list_images(str(top))
    real = sorted(os.path.realpath(top / path) for path in found.paths if path != "gone.jpg")
    assert real == sorted(
        str(path)
        for path in (
            top / "a.jpg", top / "sub/b.jpg", top / ".store/c.jpg", other / "d.jpg", other / "deep/e.jpg"
        )
    )  # fmt: skip
    assert "gone.jpg" in found.paths  # reported when it is embedded
    assert found.linked_twice == 6
    assert any("each real file is read once" in note for note in listing_notes("p", found))


def test_a_folder_that_may_not_be_listed_is_said_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    touch(tmp_path, "a.jpg", "private/b.jpg")
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("private"):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = read_sources([str(tmp_path)])
    assert found.annotations["image_path"].to_pylist() == ["a.jpg"]
    assert any(
        "1 folders cannot be listed" in n and "private (Permission denied)" in n
        for n in found.notes
    )
    with pytest.raises(InputError, match="cannot be listed"):
        list_images(str(tmp_path / "private"))


def test_sockets_and_pipes_of_other_names_are_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    touch(tmp_path, "a.jpg")
    assert list_images(str(tmp_path)).paths == ["a.jpg"]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("**/*.[jJ][pP][gG]", "ann/2.JPG", True),
        ("*/[!1].*", "ann/1.JPG", False),
        ("**/a/**/b/**/c.jpg", "x/a/y/b/z/c.jpg", True),
        ("**/a/**/b/**/c.jpg", "x/a/y/z/c.jpg", False),
        ("**.jpg", "a/b.jpg", True),
        ("**", "a/b", True),
        ("*.jpg", "a/b.jpg", False),
        ("a*b*c", "a--b--c", True),
        ("ab*b", "ab", False),
        ("[]]x", "]x", True),
        ("a[b", "a[b", True),
    ],
)
def test_globs(pattern: str, path: str, matches: bool) -> None:
    assert matcher(pattern)[0](path) is matches


def test_a_set_that_is_none_is_an_error() -> None:
    with pytest.raises(InputError, match=r"\[z-a\] is no set"):
        matcher("*[z-a].jpg")
    with pytest.raises(InputError, match="at most 4,096"):
        matcher("*" * 5000)


@pytest.mark.parametrize("pattern", ["*a*a*a*a*a*a*a*a*a*b", "**/" * 200 + "b", "*?" * 500 + "b"])
def test_no_glob_takes_long(pattern: str) -> None:
    """With backtracking the first alone would take longer than the universe has."""
    matches, _ = matcher(pattern)
    assert not matches("a" * 3000)
    assert not matches("/".join("a" * 3000))


@given(st.text("ab*?.", max_size=8), st.text("ab.", max_size=8))
def test_globs_of_one_name_are_those_of_the_shell(pattern: str, name: str) -> None:
    if "**" in pattern or not name or not pattern:
        return
    assert matcher(pattern)[0](name) == fnmatch.fnmatchcase(name, pattern)


def test_a_listing_starts_empty() -> None:
    assert listing_notes("p", Listing()) == []
