"""`reid browse`: every picture that was given, with filters, as files that open from disk."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from tests.browser import CHROMIUM, Browser

Reid = Callable[..., int]
NASTY = "<img src=x onerror=alert(1)>"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two folders of five pictures, one of which is broken, and a table of them."""
    rows = []
    for number in range(5):
        folder = tmp_path / "photos" / ("north" if number < 3 else "south")
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{number}.jpg"
        Image.new("RGB", (400, 300), (40 * number, 90, 40)).save(path)
        rows.append({
            "path": str(path.relative_to(tmp_path)),
            "identity": NASTY if number == 0 else "Anna" if number < 3 else None,
            "species": "lynx",
            "viewpoint": "left" if number % 2 else "right",
            "timestamp": f"2026-05-0{5 - number} 10:00",
        })  # fmt: skip
    (tmp_path / "photos/south/4.jpg").write_bytes(b"no picture")
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path


@pytest.fixture
def browse(photographs: Path, reid: Reid) -> Reid:
    def run(*more: str) -> int:
        source = ("--input", photographs / "table.csv", "--root", photographs)
        return reid("browse", *source, "--to", photographs / "pages", *more)

    return run


def test_every_picture_is_shown_once(
    photographs: Path, browse: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    assert browse() == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(photographs / "pages/index.html")
    assert "5 given; pictures: 4 written, 0 there already, 1 not readable" in " ".join(err.split())
    page = (photographs / "pages/index.html").read_text()
    found = re.search(r'id="content">(.*?)</script>', page, re.S)
    assert found is not None
    shown = list(json.loads(found[1]).values())
    assert [Path(one["path"]).name for one in shown] == [f"{i}.jpg" for i in range(5)]
    assert [one["folder"] for one in shown] == ["photos/north"] * 3 + ["photos/south"] * 2
    for one in shown[:4]:
        for name in ("small", "src"):
            with Image.open(photographs / "pages" / one[name]) as picture:
                assert picture.format == "WEBP"
    assert "small" not in shown[4]
    assert "photos/south/4.jpg</b>: not an image" in page
    assert NASTY not in page
    assert (
        "5 pictures in 2 folders, 2026-05-01 to 2026-05-05: 3 with a known individual, of 2" in page
    )
    # Pictures that are there are not made again.
    assert browse("--large-px", "0") == 0
    assert "0 written, 4 there already" in " ".join(capsys.readouterr().err.split())


def test_nothing_to_show_is_said(
    tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert reid("browse", "--input", tmp_path / "empty", "--to", tmp_path / "x") == 1
    assert "empty" in " ".join(capsys.readouterr().err.split())


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_a_person_filters_enlarges_and_comes_back(photographs: Path, browse: Reid) -> None:
    assert browse() == 0
    names = "[...document.querySelectorAll('#pictures .shot .words')].map((one) => one.innerText)"
    with Browser(photographs / "browser") as browser:
        browser.open(photographs / "pages/index.html")
        assert len(browser.run(names)) == 5
        assert NASTY in browser.run(names)[0]
        browser.run("order.value = 'when'; order.dispatchEvent(new Event('input'))")
        assert "4.jpg" in browser.run(names)[0]
        browser.run("individual.selectedIndex = 3; individual.dispatchEvent(new Event('input'))")
        assert browser.text("#count") == "2 of 5 pictures"
        browser.reload()
        assert browser.text("#count") == "2 of 5 pictures"
        browser.run("individual.selectedIndex = 0; individual.dispatchEvent(new Event('input'))")
        browser.key("/")
        browser.type("south left")
        browser.run("search.dispatchEvent(new Event('input'))")
        assert [text.split()[0] for text in browser.run(names)] == ["not"]
        browser.click("#pictures .open")
        assert browser.run("viewer.open")
        assert "3.jpg" in browser.text("#stage figcaption")
        assert not browser.complaints
