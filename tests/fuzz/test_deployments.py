"""Tables of deployments as nobody should write them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import ReidError
from reid.exports.deployments import read_stations
from reid.exports.effort import days_in_use, detector_table
from tests.fuzz.examples import fuzzed

WORDS = st.sampled_from(
    [
        "", "A", "A_1", "=B", "é", "\u2028", "2020-01-01", "2020-01-05T10:00:00+02:00", "05/01/2020",
        "13/01/2020", "01/13/2020", "0000-00-00", "2020-02-30", "9999-12-31", "soon", "51.2", "51,2",
        "-181", "1e308", "nan", "inf", "600000", "NA", "'", '"x', "2020-01-05 23:59", "00:00",
    ]
)  # fmt: skip
COLUMNS = st.lists(
    st.sampled_from(
        [
            "detector", "Station", "deploymentID", "locationID", "start", "end", "Setup_date",
            "Retrieval_date", "deploymentStart", "deploymentEnd", "lat", "lon", "x", "y", "utm_x",
            "utm_y", "Problem1_from", "Problem1_to", "Problem2_from", "other",
        ]
    ),
    min_size=1, max_size=9, unique=True,
)  # fmt: skip


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    columns = draw(st.one_of(COLUMNS, st.just(["detector", "start", "end", "lat", "lon"])))
    separator = draw(st.sampled_from([",", ";", "\t"]))
    rows = draw(
        st.lists(st.lists(WORDS, min_size=0, max_size=len(columns) + 1), min_size=0, max_size=6)
    )
    text = "\n".join(separator.join(row) for row in [columns, *rows])
    return draw(
        st.one_of(
            st.just(text.encode()),
            st.just(text.encode("utf-16")),
            st.binary(max_size=60).map(lambda tail: text.encode() + tail),
        )
    )


@pytest.mark.fuzz
@fuzzed
@given(data=tables())
def test_deployments_are_read_or_refused(data: bytes, tmp_path: Path) -> None:
    file = tmp_path / "deployments.csv"
    file.write_bytes(data)
    try:
        stations = read_stations(str(file))
        table, _, _ = detector_table(None, stations)
    except ReidError:
        return
    first = min(one.start for one in stations.deployments)
    usage = days_in_use(table, stations, first, 7, 3)
    assert usage.shape == (len(table), 3)
    assert np.isfinite(usage).all()
    assert (usage >= 0).all()
    assert (usage <= 7).all()
    assert table["detector"].is_unique
    for one in stations.deployments:
        assert one.first <= one.end <= one.last
