"""`reid population`: numbers, refusals, and the page in a browser."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from reid.verdict import Verdict
from tests.browser import CHROMIUM, Browser
from tests.jobs.test_exporting import keep
from tests.leopard_cats import frame

Reid = Callable[..., int]


def lynxes(history: np.ndarray, **columns: object) -> pd.DataFrame:
    """A sighting for each True, a day an occasion."""
    rows, occasions = np.nonzero(history)
    table = frame().iloc[[0] * len(rows)].reset_index(drop=True)
    names = [f"lynx-{row:04}" for row in rows]
    return table.assign(
        annotation_id=[f"{number:024x}" for number in range(len(rows))],
        image_path=[f"{number}.jpg" for number in range(len(rows))],
        species="lynx", identity_id=names, location_id="A",
        timestamp=pd.Timestamp("2026-05-01 12:00") + pd.to_timedelta(occasions, unit="D"),
    ).assign(**columns)  # fmt: skip


def doubting(history: np.ndarray) -> pd.DataFrame:
    """The same, where nobody is sure of five who were seen once: they are near to a sixth.

    Nor of one who was seen often, and is near to it too: that one counts as it is.
    """
    table = lynxes(history)
    times = history.sum(axis=1)
    often = np.flatnonzero(times > 2)
    doubtful = [*np.flatnonzero(times == 1)[:5], often[1]]
    near = table.loc[table["identity_id"] == f"lynx-{often[0]:04}", "annotation_id"].iloc[0]
    unsure = table["identity_id"].isin([f"lynx-{row:04}" for row in doubtful])
    table.loc[unsure, "decision"] = "unsure"
    table.loc[unsure, "nearest_id"] = near
    return table


@pytest.fixture(scope="module")
def survey() -> np.ndarray:
    found = np.random.default_rng(4).random((30, 6)) < 0.35
    return found[found.any(axis=1)]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    def read() -> str:
        captured = capsys.readouterr()
        return " ".join((captured.out + captured.err).split())

    return read


def numbers(place: Path) -> dict:
    return json.loads((place / "population" / "population.json").read_text())


def test_two_numbers_say_what_identification_does(
    reid: Reid, tmp_path: Path, survey: np.ndarray, said: Callable[[], str]
) -> None:
    table = doubting(survey)
    doubtful = table["decision"] == "unsure"
    keep(str(tmp_path), table)
    assert reid("population", "-C", tmp_path, "--occasion-days", "1") == 0
    text = said()
    found = numbers(tmp_path)
    decided, joined = found["as_decided"], found["doubts_joined"]
    assert decided["individuals"] == joined["individuals"] == len(survey) - 5
    assert joined["sightings"] >= decided["sightings"]
    assert [one["name"] for one in decided["estimates"]] == ["m0", "mt", "chao", "chao_corrected"]
    assert "M0, doubts joined" in text
    assert doubtful.sum() > 5
    assert "5 unsure images of individuals met once are left out" in text
    assert "1 individuals who were met several times are near to another one" in text
    assert "A closed population is assumed" in text
    assert "completeness (1 − f1/n)" in text
    assert (tmp_path / "population" / "matrix.csv").exists()


def test_without_doubts_there_is_one_number(
    reid: Reid, tmp_path: Path, survey: np.ndarray, said: Callable[[], str]
) -> None:
    keep(str(tmp_path), lynxes(survey))
    assert reid("population", "-C", tmp_path, "--occasion-days", "1") == 0
    assert "no single sighting is unsure, so identification gives one number" in said()
    assert numbers(tmp_path)["doubts_joined"] is None


def test_a_number_of_individuals_that_are_not_usable_says_so_first(
    reid: Reid, tmp_path: Path, survey: np.ndarray, said: Callable[[], str]
) -> None:
    verdict = Verdict("not usable", "Not usable: chance.", "no labels")
    keep(str(tmp_path), lynxes(survey), verdict=verdict)
    assert reid("population", "-C", tmp_path, "--occasion-days", "1") == 0
    sentence = "lynx: the verdict on these individuals is NOT USABLE"
    assert sentence in said()
    assert numbers(tmp_path)["as_decided"]["warnings"][0].startswith(sentence)
    assert sentence in (tmp_path / "population" / "population.html").read_text()


def test_sides_are_not_counted_together(
    reid: Reid, tmp_path: Path, survey: np.ndarray, said: Callable[[], str]
) -> None:
    table = lynxes(survey)
    odd = table["identity_id"].str[-1].astype(int) % 2
    keep(str(tmp_path), table.assign(viewpoint=np.where(odd, "left", "right")))
    command = ("population", "-C", tmp_path, "--occasion-days", "1")
    assert reid(*command) == 1
    assert "counted together, one animal that passed both ways is two" in said()
    assert reid(*command, "--flank", "both-sessions") == 1
    assert "an estimate is of one flank" in said()
    assert reid(*command, "--flank", "best") == 0
    assert "flank: right" in said()
    assert numbers(tmp_path)["as_decided"]["individuals"] < len(survey)


@pytest.mark.parametrize(
    ("rows", "options", "message"),
    [
        (slice(0, 4), (), "4 individuals: too few to estimate from"),
        (slice(None), ("--occasion-days", "30"), "1 occasion: an estimate needs animals that are"),
        (slice(None), ("--species", "cat"), "--species cat: there is no such species"),
    ],
)
def test_what_is_refused(
    reid: Reid, tmp_path: Path, survey: np.ndarray, said: Callable[[], str],
    rows: slice, options: tuple[str, ...], message: str,
) -> None:  # fmt: skip
    keep(str(tmp_path), lynxes(survey[rows]))
    assert reid("population", "-C", tmp_path, "--occasion-days", "1", *options) == 1
    assert message in said()
    assert not (tmp_path / "population").exists()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")
def test_the_page_opens_from_disk_and_shows_the_estimates(
    reid: Reid, tmp_path: Path, survey: np.ndarray
) -> None:
    table = doubting(survey)
    keep(str(tmp_path / "c"), table.assign(species="<b>lynx</b>"))
    assert reid("population", "-C", tmp_path / "c", "--occasion-days", "1") == 0
    with Browser(tmp_path / "browser", width=1100) as browser:
        browser.open(tmp_path / "c" / "population" / "population.html")
        assert browser.text("h1") == "<b>lynx</b>"
        assert browser.run("document.querySelectorAll('.dot').length") == 8
        assert browser.run("document.querySelectorAll('.whisker').length") == 8
        known = browser.run("document.querySelectorAll('.lines rect').length")
        assert 6 <= known <= 12
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        browser.resize(380, 800)
        assert browser.run("document.documentElement.scrollWidth <= innerWidth")
        assert browser.complaints == []
        browser.resize(1100, 900)
        folder = os.environ.get("REID_SCREENSHOTS")
        if folder:
            browser.screenshot(Path(folder) / "population.png", whole=True)
