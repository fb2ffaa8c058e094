"""Pairs that place and time make impossible, against plain loops and by hand."""

import math
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.common.whereabouts import cut_pairs, whereabouts
from reid import schema
from reid.config import Pairs, load_config
from reid.errors import InputError

START = datetime(2024, 5, 1, 12)
TABLE = """detector,start,end,lat,lon
A,2024-04-01,2024-06-01,0.0,10.0
B,2024-04-01,2024-06-01,0.0,10.1
M,2024-04-01,2024-04-20,0.0,10.0
M,2024-04-21,2024-06-01,1.0,10.0
"""


def rows(*pictures: dict[str, object]) -> pa.Table:
    empty = dict.fromkeys(schema.ANNOTATIONS.names)
    made = [
        empty
        | {"annotation_id": f"{k}", "image_path": f"{k}.jpg", "root": "/", "species": "lynx"}
        | one
        for k, one in enumerate(pictures)
    ]
    return pa.Table.from_pylist(made, schema=schema.ANNOTATIONS)


def at(seconds: float | None, place: str | None, **more: object) -> dict[str, object]:
    time = None if seconds is None else START + timedelta(seconds=seconds)
    return {"timestamp": time, "location_id": place, **more}


def cut(
    table: pa.Table,
    pairs: object,
    deployments: str | None = None,
    range_km: float | None = None,
    **settings: object,
) -> dict:
    asked = Pairs.model_validate({"deployments": deployments, **settings})
    where = whereabouts(table, deployments)
    numbers = np.asarray(pairs, np.int64).reshape(-1, 2)
    return dict(cut_pairs(asked, "lynx", where, numbers, range_km))


@pytest.fixture
def deployments(tmp_path: Path) -> str:
    path = tmp_path / "cameras.csv"
    path.write_text(TABLE)
    return str(path)


def test_pairs_faster_than_the_species_runs_are_cut(deployments: str) -> None:
    """A and B lie 11.1 km apart: 10 minutes would take 67 km/h, an hour 11."""
    table = rows(
        at(0, "A"), at(600, "B"), at(3600, "B"), at(None, "B"), at(600, None), at(600, "A")
    )
    pairs = [(0, k) for k in range(1, 6)]
    assert cut(table, pairs, deployments, max_speed_kmh={"lynx": 50}) == {0: "11.1 km in 10 min"}
    assert cut(table, pairs, deployments, max_speed_kmh={"lynx": 100}) == {}
    assert cut(table, pairs, deployments, max_speed_kmh={"ibex": 1}) == {}
    assert cut(table, pairs, deployments) == {}


def test_pairs_beyond_the_range_of_an_animal_are_cut(deployments: str) -> None:
    """A and B lie 11.1 km apart, and M was first at A and then 111 km from there."""
    table = rows(at(0, "A"), at(9e5, "B"), at(9e5, "M"), at(0, None))
    pairs = [(0, 1), (0, 2), (0, 3), (1, 2)]
    far = "of places more than 20 km apart"
    assert cut(table, pairs, deployments, range_km=20) == {1: far, 3: far}
    assert set(cut(table, pairs, deployments, range_km=5)) == {0, 1, 3}
    assert cut(table, pairs, deployments, range_km=120) == {}


@pytest.mark.parametrize("seed", range(5))
def test_cut_pairs_are_those_of_a_plain_loop(seed: int, deployments: str) -> None:
    rng = np.random.default_rng(seed)
    places = rng.choice(["A", "B", "elsewhere", None], 12).tolist()  # type: ignore[arg-type]
    times = rng.integers(0, 4000, 12).tolist()
    table = rows(*(at(time, place) for time, place in zip(times, places, strict=True)))
    pairs = [(i, j) for i in range(12) for j in range(i)]
    expected = set()
    for number, (i, j) in enumerate(pairs):
        seconds = abs(times[i] - times[j])
        if None in (places[i], places[j]) or places[i] == places[j]:
            continue
        if "elsewhere" in (places[i], places[j]):
            if seconds < 60:
                expected.add(number)
        elif 6371.0088 * math.radians(0.1) / (max(seconds, 60) / 3600) > 40:
            expected.add(number)
    assert expected
    assert set(cut(table, pairs, deployments, max_speed_kmh={"lynx": 40})) == expected


def test_without_coordinates_two_places_in_one_minute_are_cut() -> None:
    table = rows(at(0, "A"), at(59, "B"), at(60, "B"), at(5, "A"), at(0, None))
    found = cut(table, [(0, 1), (0, 2), (0, 3), (0, 4)], max_speed_kmh={"lynx": 50})
    assert found == {0: "at two places in one minute"}


def test_a_clock_of_another_zone_is_no_other_time() -> None:
    table = rows(
        at(0, "A", utc_offset_minutes=0),
        at(3600, "B", utc_offset_minutes=60),
        at(0, "B", utc_offset_minutes=60),
        at(0, "B"),
    )
    assert set(cut(table, [(0, 1), (0, 2), (0, 3)], max_speed_kmh={"lynx": 50})) == {0, 2}


def test_a_camera_that_was_moved_is_where_it_stood_then(deployments: str) -> None:
    early, late = -20 * 86400, 0  # 11 April, 1 May
    table = rows(at(early, "A"), at(early + 300, "M"), at(late, "A"), at(late + 300, "M"))
    found = cut(table, [(0, 1), (2, 3)], deployments, max_speed_kmh={"lynx": 50})
    assert found == {1: "111 km in 5 min"}


def test_only_steps_of_one_track_are_left() -> None:
    def box(x: float) -> list[float]:
        return [x, 0.0, 10.0, 10.0]

    table = rows(
        at(0, "A", bbox=box(0)),
        at(30, "A", bbox=box(500)),
        at(31, "A", bbox=box(500)),
        at(300, "A", bbox=box(100)),
        at(301, "A", bbox=box(0)),
        at(0, "B", bbox=box(0)),
        at(60, "A", bbox=[0.0, 0.0, 0.1, 0.1], bbox_unit="relative"),
    )
    pairs = [(0, k) for k in range(1, 7)]
    found = cut(table, pairs, tracks_only=True)
    assert found == dict.fromkeys([1, 3, 4, 5], "no step of one camera's track")
    assert cut(table, pairs) == {}
    assert set(cut(table, pairs, tracks_only=True, link_seconds=31, link_pixels=99)) == {2, 3, 4, 5}


def test_a_table_of_other_places_is_refused(deployments: str) -> None:
    with pytest.raises(InputError, match=r"pairs\.deployments .*none of its places"):
        whereabouts(rows(at(0, "river")), deployments)


def test_limits_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(InputError, match="link_seconds=400 is more than pairs"):
        load_config(None, ["pairs.link_seconds=400"])
