"""Searching region by region finds what comparing all pairs finds, without the pairs of two regions."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.cluster import compare_all, labels_at
from reid.errors import InputError
from reid.neighbors import (
    ANYWHERE,
    Search,
    cell_search,
    compared_share,
    knn,
    local_search,
    radius_graph,
    search_in_regions,
)
from reid.neighbors.edge_arrays import Edges
from reid.pairs import kilometres, regions

RADIUS = 0.5


def made_rows(n: int, seed: int) -> np.ndarray:
    """A few individuals, so that near pairs are many."""
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((max(1, n // 5), 8))[rng.integers(0, max(1, n // 5), n)]
    rows = rows + 0.2 * rng.standard_normal((n, 8))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def may_meet(region: np.ndarray, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    return (region[i] == region[j]) | (region[i] == ANYWHERE) | (region[j] == ANYWHERE)


@settings(max_examples=40)
@given(n=st.integers(1, 60), count=st.integers(0, 4), seed=st.integers(0, 1000))
def test_it_finds_the_pairs_that_may_meet_and_no_others(n: int, count: int, seed: int) -> None:
    rows, region = made_rows(n, seed), np.random.default_rng(seed).integers(-1, count, n)
    search = search_in_regions(local_search(), region)
    pairs, distances = (
        np.concatenate(one) for one in zip(*search.edges(rows, RADIUS), strict=True)
    )
    order = np.lexsort(pairs.T[::-1])
    exact = radius_graph(rows, RADIUS)
    kept = may_meet(region, *exact.edges.T)
    np.testing.assert_array_equal(pairs[order], exact.edges[kept])
    np.testing.assert_allclose(distances[order], exact.distances[kept], atol=1e-6)

    likeness = rows @ rows.T
    i, j = np.indices(likeness.shape)
    likeness[~may_meet(region, i, j) | (i == j)] = -np.inf
    index, distance = search.nearest(rows, 1)
    best = likeness.max(axis=1)
    np.testing.assert_allclose(
        distance[:, 0], np.where(np.isinf(best), np.nan, 1 - best), atol=1e-5
    )
    assert ((index[:, 0] == -1) == np.isinf(best)).all()
    some = np.arange(n)[::-3]
    np.testing.assert_array_equal(search.nearest(rows, 1, rows=some)[0], index[some])
    if n > 1:
        share = may_meet(region, *np.triu_indices(n, 1)).mean()
        assert compared_share(region) == pytest.approx(share)


def test_one_region_is_the_plain_search() -> None:
    rows = made_rows(50, 1)
    search = search_in_regions(local_search(), np.zeros(50, np.int64))
    for found, plain in zip(search.nearest(rows, 3), knn(rows, 3), strict=True):
        np.testing.assert_array_equal(found, plain)


def refining(search: Search) -> Search:
    """As a search by tasks: `refine` is sent to where edges are found."""

    def edges(vectors: np.ndarray, radius: float, *, refine: object = None, wanted: object = None):  # type: ignore[no-untyped-def]
        del wanted
        sent = pickle.loads(pickle.dumps(refine))
        part: Edges
        for part in search.edges(vectors, radius):
            yield part if sent is None else sent(part)

    return Search(edges, search.nearest)


@pytest.mark.parametrize("by_tasks", [False, True])
@pytest.mark.parametrize("min_samples", [2, 4])
def test_clusters_are_those_of_each_region_alone(by_tasks: bool, min_samples: int) -> None:
    rows, region = made_rows(120, 4), np.random.default_rng(4).integers(0, 3, 120)
    inner = refining(local_search()) if by_tasks else local_search()
    labelled = np.arange(120) % 2 == 0
    whole = compare_all(
        rows, RADIUS, search_in_regions(inner, region), min_samples=min_samples, labelled=labelled
    )
    found = labels_at(whole.forest, RADIUS)
    for number in range(3):
        own = np.flatnonzero(region == number)
        alone = compare_all(rows[own], RADIUS, local_search(), min_samples=min_samples)
        here, there = found[own], labels_at(alone.forest, RADIUS)
        assert len({*zip(here.tolist(), there.tolist(), strict=True)}) == len({*there.tolist()})
        assert ((here == -1) == (there == -1)).all()
        near = np.where(alone.nearest < 0, -1, own[alone.nearest])
        np.testing.assert_array_equal(whole.nearest[own], near)
    edges = radius_graph(rows[labelled], RADIUS).edges
    assert whole.labelled is not None
    kept = may_meet(region[labelled], *edges.T)
    assert sum(len(part[0]) for part in whole.labelled.parts()) == kept.sum()


def test_what_cells_miss_is_said_of_all_regions_together() -> None:
    rows, region = made_rows(900, 2), np.repeat([0, 1, 2], 300)
    search = search_in_regions(cell_search(0.9, least_rows=200), region)
    for _ in range(2):
        found = sum(len(edges) for edges, _ in search.edges(rows, 0.2))
    first, last = search.measured
    assert first == last
    exact = sum(len(radius_graph(rows[region == k], 0.2).edges) for k in range(3))
    assert abs(last.share - found / exact) < max(4 * last.spread, 0.02)
    assert last.compared < compared_share(region)


@given(
    places=st.lists(
        st.one_of(st.none(), st.tuples(st.floats(-89, 89), st.floats(-180, 180))), max_size=12
    ),
    range_km=st.floats(1, 20_000),
)
def test_regions_are_what_steps_within_the_range_connect(
    places: list[tuple[float, float] | None], range_km: float
) -> None:
    points = np.array([(np.nan, np.nan) if one is None else one for one in places]).reshape(-1, 2)
    found = regions(points, range_km)
    n = len(points)
    known = np.isfinite(points).all(axis=1)
    assert ((found == -1) == ~known).all()
    i, j = (one.ravel() for one in np.indices((n, n)))
    # Chords and arcs are rounded each in its way.
    apart = kilometres(points[i], points[j]).reshape(n, n)
    for slack, holds in ((0.999, np.less_equal), (1.001, np.greater_equal)):
        near = apart <= range_km * slack
        for _ in range(n):  # steps
            near = near | (near @ near)
        same = (found[:, None] == found) & known & known[:, None]
        assert holds(near & known & known[:, None], same).all()


def test_regions_in_metres_by_hand() -> None:
    """Cameras at 0, 4 and 8 km, another at 30 km, one that nobody knows, and one at a place twice."""
    points = np.array([[0, 0], [4000, 0], [8000, 0], [0, 30_000], [np.nan, 0], [0, 0]], float)
    found = regions(points, 5, metres=True)
    assert found[0] == found[1] == found[2] == found[5] != found[3]
    assert found[4] == -1
    assert len({*regions(points, 3, metres=True)[[0, 1, 2, 3]].tolist()}) == 4
    assert regions(np.full((2, 2), np.nan), 5).tolist() == [-1, -1]
    with pytest.raises(InputError, match="above 0"):
        regions(points, 0)
