"""Packages with any cell, and any descriptor, are read, given back, or refused."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import ReidError
from reid.exports.camtrap_back import give_back
from reid.exports.camtrap_checks import package_mistakes
from reid.exports.camtrap_package import read_package
from reid.exports.camtrap_words import MEDIA, OBSERVATIONS, Teller
from tests.fuzz.examples import fuzzed
from tests.test_exports_camtrap import BOXED, NOW, packed, seen, sighted

CELLS = st.sampled_from(
    [
        "", "m1", "m2", "d1", "ev1", "media", "event", "animal", "blank", "Lynx lynx", "1", "1.0", "0",
        "-3", "x", "0.1", "0.2", "0.3", "0.4", "NaN", "inf", "2020-04-02T08:00:00Z", "2020-04-02",
        "a|b", "viewpoint:left", "\u2028", "=1", "media/IMG_1.JPG", "..\\x", "o1",
    ]
)  # fmt: skip


@pytest.mark.fuzz
@fuzzed
@given(
    rows=st.lists(
        st.dictionaries(st.sampled_from(OBSERVATIONS), CELLS, max_size=12), min_size=1, max_size=5
    ),
    media=st.lists(st.dictionaries(st.sampled_from(MEDIA), CELLS, max_size=6), max_size=3),
    project=st.one_of(
        st.none(), st.integers(), st.lists(st.text(max_size=3), max_size=2),
        st.dictionaries(st.sampled_from(["individualAnimals", "x"]), st.booleans()),
    ),
    sources=st.one_of(st.none(), st.just("x"), st.just([1]), st.just([{"title": "Agouti"}])),
)  # fmt: skip
def test_any_package_is_given_back_or_refused(
    rows: list, media: list, project: object, sources: object, tmp_path: Path
) -> None:
    observations = [dict.fromkeys(OBSERVATIONS, "") | row for row in rows]
    folder = packed(tmp_path / "in", observations)
    if media:
        sink = io.StringIO()
        writer = csv.DictWriter(sink, MEDIA, restval="")
        writer.writeheader()
        writer.writerows(media)
        (folder / "media.csv").write_text(sink.getvalue(), newline="")
    descriptor = json.loads((folder / "datapackage.json").read_text())
    descriptor |= {"project": project, "sources": sources}
    (folder / "datapackage.json").write_text(json.dumps(descriptor))
    table = sighted(
        seen("media/IMG_1.JPG", "lynx-1", bbox=[float(value) for value in BOXED.values()]),
        seen("media/IMG_1.JPG", "lynx-2"),
        seen("media/IMG_2.JPG", "lynx-2", decision="unsure"),
    )
    try:
        package = read_package(str(folder))
        given_back = give_back(package, table, Teller(str, NOW, "1"))
    except ReidError:
        return
    assert len(given_back.observations) >= len(package.observations)
    assert given_back.named + len(given_back.left_out) <= len(table)
    json.loads(given_back.files["datapackage.json"])
    again = list(csv.DictReader(io.StringIO(given_back.files["observations.csv"])))
    assert len(again) == len(given_back.observations)
    package_mistakes(package.deployments, package.media, given_back.observations)
