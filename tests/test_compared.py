"""One comparison of all pairs says what several did."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.cluster import compared, dbscan, labels_at, running_forest, streamed_forest
from reid.neighbors import Search, knn, local_search, nearest, radius_graph, stream_edges
from reid.neighbors import graph as graph_module
from reid.neighbors.edge_arrays import sort_edges
from reid.tune import find_individuals


@settings(max_examples=25)
@given(
    n=st.integers(2, 60),
    block=st.integers(1, 20),
    min_samples=st.integers(1, 4),
    at_once=st.integers(1, 50),
    seed=st.integers(0, 9999),
)
def test_labels_are_those_of_dbscan_at_every_threshold(
    n: int, block: int, min_samples: int, at_once: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(max(2, n // 4), 6))[random.integers(0, max(2, n // 4), n)]
    rows = (rows + 0.3 * random.normal(size=rows.shape)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    graph = radius_graph(rows, 0.8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_forest, "EDGES_A_ROW", at_once / n)
        forest = streamed_forest(stream_edges(rows, 0.8, block_rows=block), n, min_samples)
    for eps in (0.01, 0.1, 0.25, 0.5, 0.8):
        np.testing.assert_array_equal(labels_at(forest, eps), dbscan(graph, eps, min_samples))


def unit_rows(n: int, seed: int) -> np.ndarray:
    """Clumps of rows, some of them identical, and a few that are far from everybody."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(2, n // 4), 5))
    rows = centres[random.integers(0, len(centres), n)]
    rows = rows + random.choice([0.0, 0.2, 2.0], (n, 1)) * random.normal(size=rows.shape)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60)
@given(
    n=st.integers(1, 60),
    min_samples=st.integers(1, 5),
    ceiling=st.sampled_from([0.02, 0.3, 1.2]),
    block=st.integers(1, 25),
    seed=st.integers(0, 9999),
)
def test_it_leaves_what_separate_searches_find(
    n: int, min_samples: int, ceiling: float, block: int, seed: int
) -> None:
    rows = unit_rows(n, seed)
    labelled = np.random.default_rng(seed).random(n) < 0.5
    search = Search(
        # As a worker does, small parts are refined where they are found.
        lambda vectors, radius, *, refine=None, wanted=None: map(
            refine or (lambda part: part), stream_edges(vectors, radius, block_rows=block)
        ),
        knn,
    )
    found = compared.compare_all(rows, ceiling, search, min_samples=min_samples, labelled=labelled)
    assert_is_complete(found, rows, ceiling, min_samples, labelled)


@settings(max_examples=100)
@given(
    n=st.integers(1, 80),
    min_samples=st.integers(1, 5),
    ceiling=st.sampled_from([0.02, 0.3, 1.2]),
    block=st.integers(1, 25),
    some=st.booleans(),
    backend=st.sampled_from(["numpy", "torch", "prefix"]),
    seed=st.integers(0, 9999),
)
def test_pairs_that_are_not_measured_change_nothing(
    n: int, min_samples: int, ceiling: float, block: int, some: bool, backend: str, seed: int
) -> None:
    rows = unit_rows(n, seed)
    labelled = np.random.default_rng(seed).random(n) < 0.5 if some else None

    def edges(vectors: np.ndarray, radius: float, *, refine: object = None, **wanted: Any) -> Any:
        return stream_edges(vectors, radius, block_rows=block, backend=backend, **wanted)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_forest, "EDGES_A_ROW", 0.2)
        search = Search(edges, knn)
        found = compared.compare_all(
            rows, ceiling, search, min_samples=min_samples, labelled=labelled
        )
    assert_is_complete(found, rows, ceiling, min_samples, labelled)


def test_most_pairs_within_the_ceiling_are_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = []
    near_pairs = graph_module.near_pairs_cpu

    def counted(a: Any, b: Any, i: Any, *rest: Any) -> Any:
        measured.append(len(i))
        return near_pairs(a, b, i, *rest)

    monkeypatch.setattr(graph_module, "near_pairs_cpu", counted)
    rows = unit_rows(3000, 0)
    for wanted in (True, False):
        search = Search(
            lambda v, r, wanted=None, refine=None, use=wanted: stream_edges(
                v, r, block_rows=300, wanted=wanted if use else None
            ),
            knn,
        )
        compared.compare_all(rows, 0.3, search)
    half = len(measured) // 2
    assert sum(measured[:half]) < 0.4 * sum(measured[half:])


def assert_is_complete(
    found: compared.Compared,
    rows: np.ndarray,
    ceiling: float,
    min_samples: int,
    labelled: np.ndarray | None,
) -> None:
    """`found` says what separate searches find."""
    graph = radius_graph(rows, ceiling)
    for eps in np.linspace(0.01, ceiling, 5):
        np.testing.assert_array_equal(labels_at(found.forest, eps), dbscan(graph, eps, min_samples))
        np.testing.assert_array_equal(dbscan(found.links, eps, 1), dbscan(graph, eps, 1))
    index, distance = nearest(rows)
    np.testing.assert_array_equal(found.nearest, index)
    np.testing.assert_array_equal(found.nearest_distance, distance)
    if labelled is None:
        assert found.labelled is None
        return
    alone = radius_graph(rows[labelled], ceiling)
    assert found.labelled is not None
    edges, distances = sort_edges(found.labelled.parts())
    np.testing.assert_array_equal(edges, alone.edges)
    np.testing.assert_array_equal(distances, alone.distances)
    assert found.labelled.n == labelled.sum()


def test_pairs_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = unit_rows(400, 0)
    asked: list[float] = []
    local = local_search()

    def edges(vectors: np.ndarray, radius: float, **options: object) -> object:
        asked.append(radius)
        return local.edges(vectors, radius, **options)

    names = np.asarray([f"animal {k % 40}" for k in range(400)], dtype=object)
    for identities in (names, np.where(np.arange(400) % 2 == 0, names, None), names[:0]):
        who = identities if len(identities) else np.full(400, None, dtype=object)
        find_individuals(rows, who, search=Search(edges, lambda *a, **o: knn(*a, **o)))
        assert len(asked) == 1, "threshold, clusters and nearest come out of one search"
        asked.clear()


def test_a_few_rows_find_their_nearest_in_blocks_of_the_gallery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = unit_rows(120, 3)  # with copies, whose ties fall to the lower row
    asked = np.asarray([0, 5, 64, 119])
    monkeypatch.setattr("reid.neighbors.search.GALLERY_ROWS", 25)
    for k in (1, 4):
        found, wanted = local_search().nearest(rows, k, rows=asked), knn(rows, k, rows=asked)
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])


def test_pairs_that_were_compared_are_told_once_and_all_of_them() -> None:
    rows = np.random.default_rng(0).normal(size=(70, 16)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    told: list[int] = []
    for block, new_from in ((16, 0), (16, 40), (70, 0)):
        del told[:]
        parts = stream_edges(rows, 0.5, block_rows=block, new_from=new_from, compared=told.append)
        assert len([*parts]) == len(told)
        assert sum(told) == 70 * 69 // 2 - new_from * (new_from - 1) // 2

    @contextmanager
    def watch(n: int) -> Iterator[Callable[[int], object]]:
        assert n == len(rows)
        yield told.append

    del told[:]
    found = [*local_search(watch=watch).edges(rows, 0.5)]
    assert len(found) > 0
    assert sum(told) == 70 * 69 // 2
