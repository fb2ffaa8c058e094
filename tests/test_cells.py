"""Search within cells: what it finds is right, and what it says of itself too."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.errors import InputError
from reid.neighbors import cell_search, cells, knn, radius_graph
from tests.benchmarks.data import bench_rows

RADIUS = 0.4


def bursts(n: int, d: int, seed: int) -> np.ndarray:
    """Rows of which some are equal and some near."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((n // 4 + 1, d)), 4, axis=0)[:n]
    rows = rng.permutation(rows + rng.choice([0.0, 0.2, 0.6], (n, 1)) * rng.standard_normal((n, d)))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def joined(parts: list) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.concatenate([edges for edges, _ in parts])
    distances = np.concatenate([found for _, found in parts])
    order = np.lexsort(pairs.T[::-1])
    return pairs[order], distances[order]


@settings(max_examples=25)
@given(
    n=st.integers(3, 120),
    count=st.integers(1, 12),
    visits=st.integers(1, 12),
    seed=st.integers(0, 1000),
)
def test_a_pair_is_found_once_where_one_row_visits_the_others_cell(
    n: int, count: int, visits: int, seed: int
) -> None:
    rows = bursts(n, 12, seed)
    cut = cells.find_cells(rows, count=min(count, n), visits=min(visits, count, n))
    found, distances = joined(list(cells.edges_in_cells(rows, RADIUS, cut, cut.visits.shape[1])))
    exact = radius_graph(rows, RADIUS)
    i, j = exact.edges.T.astype(np.int64)
    reached = (cut.visits[i] == cut.visits[j, :1]).any(1) | (
        cut.visits[j] == cut.visits[i, :1]
    ).any(1)
    np.testing.assert_array_equal(found, exact.edges[reached])
    np.testing.assert_allclose(distances, exact.distances[reached], atol=1e-6)
    np.testing.assert_array_equal(cut.rank(i, j) <= cut.visits.shape[1], reached)


def test_with_all_cells_visited_nearest_rows_are_those_of_all() -> None:
    rows = bursts(150, 12, 5)
    cut = cells.find_cells(rows, count=6, visits=6)
    some = np.array([3, 0, 149, 77])
    for asked in (None, some):
        index, distance = cells.nearest_in_cells(rows, 3, cut, 6, rows=asked)
        _, wanted = knn(rows, 3, rows=asked)
        np.testing.assert_allclose(distance, wanted, atol=1e-6)
        assert (index != (np.arange(150) if asked is None else asked)[:, None]).all()


def test_it_finds_as_much_as_was_asked_for_and_says_how_much() -> None:
    rows, _ = bench_rows(6000, 64)
    search = cell_search(0.97, least_rows=0)
    found = joined(list(search.edges(rows, 0.3)))[0]
    exact = radius_graph(rows, 0.3)
    (measured,) = search.measured
    share = len(found) / len(exact.edges)
    assert share >= 0.97
    assert abs(measured.share - share) < 4 * measured.spread
    assert measured.compared < 0.2
    assert f"{measured.share:.2%} ± " in measured.sentence()
    assert "fewer than" not in measured.sentence()
    index, _ = search.nearest(rows, 1)
    assert (index[:, 0] == knn(rows, 1)[0][:, 0]).mean() > 0.8


def test_what_cannot_be_reached_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "MOST_VISITS", 2)
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((4000, 32)).astype(np.float32)  # no cell means anything
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    search = cell_search(0.99, least_rows=0)
    list(search.edges(rows, 0.6))
    assert search.measured[0].share < 0.9
    assert "fewer than the 99.0% asked for" in search.measured[0].sentence()


def test_a_sample_without_pairs_is_no_proof() -> None:
    search = cell_search(0.9, least_rows=0)
    assert sum(len(part[0]) for part in search.edges(np.eye(64, dtype=np.float32), 0.1)) == 0
    assert "none to check" in search.measured[0].sentence()


def test_few_rows_are_all_compared() -> None:
    rows = bursts(300, 12, 1)
    search = cell_search(0.9)
    np.testing.assert_array_equal(
        joined(list(search.edges(rows, RADIUS)))[0], radius_graph(rows, RADIUS).edges
    )
    assert not search.measured


def test_a_share_is_between_zero_and_one() -> None:
    with pytest.raises(InputError, match=r"recall: 1.0, needs a share between 0 and 1"):
        cell_search(1.0)
