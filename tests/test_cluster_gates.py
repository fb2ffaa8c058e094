"""The gate of time and place, pair by pair."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.cluster.gates import Gate, passing
from reid.errors import InputError

START = np.datetime64("2026-05-31T12:00:00", "us")


def at(*seconds: float | None) -> np.ndarray:
    times = [
        np.datetime64("NaT") if s is None else START + np.timedelta64(round(s * 1e6), "us")
        for s in seconds
    ]
    return np.asarray(times, "datetime64[us]")


def test_by_hand() -> None:
    moments = at(0, 29, 200, None, 0)
    centres = np.asarray([[0, 0], [500, 0], [60, 60], [0, 0], [np.nan, np.nan]])
    edges = np.asarray([[0, 1], [0, 2], [1, 2], [0, 3], [0, 4], [2, 4]])
    both = Gate(seconds=30, pixels=100)
    assert passing(edges, both, moments=moments, centres=centres).tolist() == [
        True,  # 29 s apart
        True,  # 200 s, but 85 px
        False,  # 171 s, and 444 px
        False,  # no time
        True,  # 0 s
        False,  # 200 s, and no box
    ]
    assert passing(edges, Gate(seconds=30), moments=moments).tolist() == [
        True,
        *[False] * 3,
        True,
        False,
    ]
    places = np.asarray([0, 1, 0, 0, -1])
    found = passing(edges, both, moments=moments, centres=centres, places=places)
    assert found.tolist() == [False, True, False, False, True, False]
    assert passing(edges, Gate(), moments=moments).all()
    with pytest.raises(InputError, match="needs boxes in pixels"):
        passing(edges, both, moments=moments)


@given(st.lists(st.floats(0, 1000), min_size=2, max_size=8), st.floats(1, 500), st.floats(1, 500))
def test_a_wider_gate_lets_no_fewer_pass(seconds: list[float], one: float, other: float) -> None:
    narrow, wide = sorted((one, other))
    n = len(seconds)
    edges = np.stack(np.triu_indices(n, 1), axis=1)
    moments, centres = at(*seconds), np.random.default_rng(n).uniform(0, 400, (n, 2))
    few, many = (
        passing(edges, Gate(size, size, size), moments=moments, centres=centres)
        for size in (narrow, wide)
    )
    assert not (few & ~many).any()
