"""Individuals as pages: what is said of them, and files that open from disk."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from reid.book import Near, Origin, PicturesWritten, animals, write_site
from reid.book.timelines import place_map, timeline
from reid.identify.remarks import Remark
from tests.leopard_cats import frame

NASTY = "<script>alert('x')</script>\"&"


def sightings(**columns: object) -> pd.DataFrame:
    table = frame(**columns)
    table["confirmed_at"] = pd.to_datetime(table["confirmed_at"], utc=True)
    return table.assign(name=None, unusable=False, nearest_distance=columns.get("nearest_distance"))


def said(kind: str, value: str, day: int = 1, who: str = "anna") -> dict[str, Remark]:
    return {kind: Remark(value, who, datetime(2026, 1, day, tzinfo=UTC))}


def picture(_: str) -> Image.Image:
    return Image.new("RGB", (640, 480), (120, 90, 40))


def write(to: Path, table: pd.DataFrame, **known: Any) -> PicturesWritten:
    found = animals(table, **known)
    origin = Origin("cats", "made up", {"A": (526000, 604000), "B": (523000, 606000)}, False)
    keys = dict.fromkeys(table["annotation_id"], "a key")
    return write_site(str(to), found, origin, picture, keys)


def content(page: Path) -> Any:
    text = page.read_text(encoding="utf-8")
    script = re.search(r'<script type="application/json" id="content">(.*?)</script>', text, re.S)
    assert script is not None
    return json.loads(script[1])


def test_sightings_are_pictures_of_one_place_and_minute() -> None:
    found = animals(sightings())
    assert {one: (len(a.pictures), len(a.sightings)) for one, a in found.items()} == {
        "1": (10, 8),  # two bursts of two at C
        "2": (8, 8),
        "3": (3, 2),
    }
    assert found["1"].places == {"C": 4, "B": 3, "A": 1}
    assert [f"{one:%m-%d}" for one in found["3"].times] == ["04-25", "05-07"]


def test_why_each_picture_is_here() -> None:
    table = sightings(nearest_distance=0.1, viewpoint="left")
    ids = table["annotation_id"].tolist()
    table.loc[0, ["nearest_id", "confidence"]] = [ids[4], 0.93]  # of the same individual
    table.loc[1, ["decision", "nearest_id"]] = ["unsure", ids[0]]
    table.loc[2, ["decision", "identity"]] = ["new", "Luna"]
    table.loc[3, "confirmed_by"] = "ben"
    table.loc[3, "confirmed_at"] = pd.Timestamp("2026-01-02", tz="UTC")
    found = animals(table, said={ids[4]: said("unusable", "dark") | said("sex", "female")})
    why = {p.annotation_id: p.reasons for one in found.values() for p in one.pictures}
    assert why[ids[0]] == ("Looks like B/IMG_0004.JPG (distance 0.100), 93 % sure",)
    assert why[ids[1]][0].startswith(
        "Near A/IMG_0000.JPG (distance 0.100), of 1, yet not near enough"
    )
    assert why[ids[2]] == ("Labelled Luna when it came",)
    assert why[ids[3]][0] == "Confirmed by ben, 2026-01-02"
    assert why[ids[4]][0].startswith("Marked as unusable by anna, 2026-01-01")
    assert found["1"].said["sex"].value == "female"
    assert found["1"].profile.annotation_id != ids[4]
    chosen = animals(table, said={ids[7]: said("profile", "yes")})
    assert found["2"].sides == {"left": 8}
    assert ids[7] in {one.profile.annotation_id for one in chosen.values()}


def test_a_timeline_runs_from_the_first_sighting_to_the_last() -> None:
    found = timeline(animals(sightings())["1"])
    marks = sorted(one.at for row in found.rows.values() for one in row)
    assert (marks[0], marks[-1], len(marks)) == (0, 100, 8)
    assert list(found.rows) == ["C", "B", "A"]
    assert found.ticks[0][1] in ("7 Apr", "13 Apr")
    assert timeline(animals(sightings(timestamp=pd.NaT))["1"]).untimed == 10


def test_a_map_has_all_places_and_marks_those_of_the_animal() -> None:
    places = {"A": (36.80, -1.2), NASTY: (36.83, -1.2), "far": (36.9, -1.25)}
    drawn = place_map({"A": 3}, places, geographic=True)
    assert drawn.count("<circle") == 3
    assert "A: 3 sightings" in drawn
    assert "2 km" in drawn
    assert "<script>" not in drawn
    assert place_map({"B": 3}, places, geographic=True) == ""


def test_a_book_is_files_that_need_no_network(tmp_path: Path) -> None:
    table = sightings(image_path=NASTY)
    ids = table["annotation_id"].tolist()
    near = {"1": [Near("2", 0.2, ids[0], ids[1])]}
    told = {"1": [(datetime(2026, 1, 1, tzinfo=UTC), NASTY)]}
    written = write(tmp_path, table, said={ids[0]: said("note", NASTY)}, near=near, history=told)
    assert (written.made, written.there) == (21, 0)
    entries = content(tmp_path / "index.html")
    assert [(one["id"], one["pictures"], one["seen"]) for one in entries] == [
        ("1", 10, 8),
        ("2", 8, 8),
        ("3", 3, 2),
    ]
    for one in entries:
        assert (tmp_path / one["href"]).exists()
        assert (tmp_path / one["src"]).exists()
    page = tmp_path / "individuals/1.html"
    text = page.read_text(encoding="utf-8")
    assert 'href="2.html"' in text
    assert "at distance 0.200" in text
    for html in tmp_path.rglob("*.html"):
        whole = html.read_text(encoding="utf-8")
        assert "<script>alert" not in whole
        assert not re.search(r"""(src|href)=["']?(https?:)?//""", whole)
        assert "form-action 'none'" in whole
    for one in content(page).values():
        assert (page.parent / one["src"]).exists()
    with Image.open(page.parent / content(page)[ids[1]]["src"]) as large:
        assert large.size == (640, 480), "never larger than it is"


def test_a_book_is_brought_up_to_date(tmp_path: Path) -> None:
    write(tmp_path, sightings())
    table = sightings()
    table["identity_id"] = table["identity_id"].replace("3", "2")
    again = write(tmp_path, table)
    assert (again.made, again.there) == (0, 21)
    assert sorted(page.name for page in (tmp_path / "individuals").iterdir()) == [
        "1.html",
        "2.html",
    ]


def test_pictures_that_cannot_be_read_are_told_and_an_unusable_animal_is_listed_apart(
    tmp_path: Path,
) -> None:
    table = sightings()
    lone = table["annotation_id"][table["identity_id"] == "3"].tolist()

    def broken(one: str) -> Image.Image:
        if one == lone[0]:
            raise OSError("gone")
        return picture(one)

    found = animals(table, said={one: said("unusable", "yes") for one in lone})
    written = write_site(
        str(tmp_path), found, Origin("cats", ""), broken, dict.fromkeys(table["annotation_id"], "")
    )
    assert list(written.lost.values()) == ["gone"]
    assert "no picture" in (tmp_path / "individuals/3.html").read_text(encoding="utf-8")
    assert [one["id"] for one in content(tmp_path / "index.html")] == ["1", "2"]
    assert "Unusable pictures" in (tmp_path / "index.html").read_text(encoding="utf-8")


def test_without_anybody_there_is_an_empty_index(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        animals(sightings())["nobody"]
    write(tmp_path, sightings().iloc[:0])
    assert content(tmp_path / "index.html") == []
