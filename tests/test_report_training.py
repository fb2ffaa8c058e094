import re
import xml.etree.ElementTree as ET

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from reid.report.curves import HEIGHT, LEFT, WIDTH, line_chart
from reid.report.training_report import (
    BeforeAfter,
    Example,
    FoundPicture,
    TrainingReport,
    render_training_report,
)

EVIL = '<script>alert("x")</script>'


def points_of(chart: str) -> list[list[tuple[float, float]]]:
    lines = [e for e in ET.fromstring(chart).iter() if e.tag.endswith("polyline")]
    return [
        [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]  # type: ignore[misc]
        for line in lines
    ]


def test_a_line_rises_where_its_values_rise() -> None:
    (line,) = points_of(line_chart([1, 2, 3], {"a": [0.0, 1.0, 0.5]}, label="a", x_label="epoch"))
    across, up = zip(*line, strict=True)
    assert across[0] == LEFT
    assert list(across) == sorted(across)
    assert up[1] < up[2] < up[0], "SVG counts downwards"


def test_a_missing_value_is_skipped_and_nothing_at_all_draws_nothing() -> None:
    (line,) = points_of(line_chart([1, 2, 3], {"a": [1.0, None, 2.0]}, label="a", x_label="x"))
    assert len(line) == 2
    assert line_chart([1], {"a": [None]}, label="a", x_label="x") == ""
    assert line_chart([], {}, label="a", x_label="x") == ""


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30),
    st.one_of(st.none(), st.integers(1, 30)),
)
def test_every_point_lies_in_the_picture(values: list[float], mark: int | None) -> None:
    x = list(range(1, len(values) + 1))
    chart = line_chart(
        x, {"a": values}, label="a", x_label="x", mark=min(mark, len(x)) if mark else None
    )
    (line,) = points_of(chart)
    assert len(line) == len(values)
    for across, up in line:
        assert 0 <= across <= WIDTH
        assert 0 <= up <= HEIGHT


def test_names_in_a_chart_are_escaped() -> None:
    assert EVIL not in line_chart([1, 2], {EVIL: [0, 1]}, label=EVIL, x_label=EVIL)


@pytest.fixture
def page() -> str:
    data = TrainingReport(
        title=EVIL,
        verdict=f"better {EVIL}",
        better=True,
        facts={EVIL: 3, "images": 1234},
        figures=[
            BeforeAfter("mAP", 0.1, 0.25, "(0.05–0.15)", "(0.2–0.3)", decides=True),
            BeforeAfter("top-1", 0.2, 0.3),
        ],
        charts=[
            (
                "Loss",
                "It falls.",
                line_chart([1, 2], {"loss": [2, 1]}, label="loss", x_label="epoch"),
            )
        ],
        examples=[Example(0, EVIL, [FoundPicture(1, False, 0.5)], [FoundPicture(2, True, 0.25)])],
        captions={0: EVIL, 1: "one", 2: "two"},
        thumbnail=lambda row: None if row == 2 else Image.new("RGB", (40, 30), (row * 90, 80, 10)),
        notes=[EVIL],
        failures=pd.DataFrame({"image_path": [EVIL], "stage": ["embed"], "error": [EVIL]}),
        config_yaml=EVIL,
        versions={"torch": EVIL},
    )
    return render_training_report(data).decode()


def test_the_page_shows_figures_and_what_was_found(page: str) -> None:
    assert '0.100 <span class="range">(0.05–0.15)</span>' in page
    assert "+0.150" in page
    assert "1,234" in page
    assert page.count("data:image/webp") == 2, "a picture that cannot be read has an empty frame"
    assert re.search(r'class="shot wrong".*class="shot right"', page, re.DOTALL)


def test_nothing_from_outside_runs_or_is_fetched(page: str) -> None:
    assert "<script" not in page
    assert not re.findall(r"(?:src|href)=[\"']?(?!data:|#)[^\"'> ]+", page)


def test_a_page_over_runs_links_to_theirs() -> None:
    data = TrainingReport(
        title="folds",
        verdict="so so",
        better=False,
        runs=[["fold-0", "fold-0/report.html", "0.1", "0.2"]],
        run_columns=["fold", "before", "after"],
    )
    page = render_training_report(data).decode()
    assert '<a href="fold-0/report.html">fold-0</a>' in page
    assert 'class="verdict worse"' in page
