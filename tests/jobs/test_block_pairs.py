import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.neighbours import block_pairs
from jobs.neighbours.block_pairs import nearest_by_tasks, stream_edges_by_tasks
from reid import cluster, neighbors
from reid.errors import InputError, StorageError
from reid.neighbors.edge_arrays import Edges, join_edges, sort_edges

pytestmark = pytest.mark.usefixtures("local_ray")


def bursts(n: int, d: int = 24, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((n // 4 + 1, d)), 4, axis=0)[:n]
    rows = rng.permutation(rows + rng.choice([0.0, 0.1, 0.5], (n, 1)) * rng.standard_normal((n, d)))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def graph_by_tasks(rows: np.ndarray, radius: float, **options: Any) -> neighbors.Graph:
    return graph_of(stream_edges_by_tasks(rows, radius, **options), len(rows))


def graph_of(parts: Iterable[Edges], n: int) -> neighbors.Graph:
    return neighbors.Graph(n, *join_edges(parts))


def assert_same(found: neighbors.Graph, wanted: neighbors.Graph) -> None:
    assert found.n == wanted.n
    assert len(wanted.edges) > 0
    np.testing.assert_array_equal(found.edges, wanted.edges)
    np.testing.assert_array_equal(found.distances, wanted.distances)


@pytest.mark.parametrize("block_rows", [64, 100, 1000])
def test_it_is_the_graph_of_one_process(block_rows: int) -> None:
    rows = bursts(330)
    assert_same(graph_by_tasks(rows, 0.4, block_rows=block_rows), neighbors.radius_graph(rows, 0.4))


def test_tasks_share_the_basis_of_a_prefix_screen() -> None:
    rows = bursts(330)
    found = graph_by_tasks(rows, 0.4, block_rows=100, backend="prefix")
    assert_same(found, neighbors.radius_graph(rows, 0.4))


def test_only_pairs_with_a_new_row() -> None:
    rows = bursts(200)
    whole = neighbors.radius_graph(rows, 0.4)
    new = whole.edges[:, 1] >= 130
    found = graph_by_tasks(rows, 0.4, block_rows=60, new_from=130)
    assert_same(found, neighbors.Graph(200, whole.edges[new], whole.distances[new]))


@pytest.mark.parametrize("k", [1, 5])
def test_the_nearest_are_those_of_one_process(k: int) -> None:
    rows = bursts(230)  # with copies, whose ties fall to the lower index
    some = np.asarray([0, 7, 150, 229])
    for asked in ({}, {"rows": some}, {"queries": -rows[:40]}):
        found = nearest_by_tasks(rows, k, block_rows=64, **asked)
        wanted = neighbors.knn(rows, k, **asked)
        np.testing.assert_array_equal(found[0], wanted[0])
        np.testing.assert_array_equal(found[1], wanted[1])
    lonely = nearest_by_tasks(rows[:1], 2)
    assert (lonely[0].tolist(), np.isnan(lonely[1]).all()) == ([[-1, -1]], True)


def dies_once(marker: Path) -> block_pairs.RefinePair:
    def refine(a: np.ndarray, b: np.ndarray, a_start: int, b_start: int, part: Edges) -> Edges:
        # In the middle of the work, not its start.
        if a_start >= 120:
            try:
                marker.touch(exist_ok=False)
            except FileExistsError:
                return part
            os._exit(1)
        return part

    return refine


def test_a_worker_that_dies_changes_nothing(tmp_path: Path) -> None:
    rows = bursts(300)
    marker = tmp_path / "died"
    found = graph_by_tasks(rows, 0.4, block_rows=60, refine=dies_once(marker))
    assert marker.exists(), "the worker did die"
    assert_same(found, neighbors.radius_graph(rows, 0.4))


def test_a_worker_that_always_dies_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refine(a: np.ndarray, b: np.ndarray, a_start: int, b_start: int, part: Edges) -> Edges:
        os._exit(1)

    monkeypatch.setattr(block_pairs, "MAX_RETRIES", 0)
    with pytest.raises(StorageError, match="the neighbour search stopped: "):
        graph_by_tasks(bursts(20), 0.4, refine=refine)


def test_a_cluster_that_grows_gets_more_to_do(growing_cluster: Callable[[str], list[int]]) -> None:
    waited = growing_cluster("jobs.neighbours.block_pairs")
    rows = bursts(300)
    assert_same(graph_by_tasks(rows, 0.4, block_rows=50), neighbors.radius_graph(rows, 0.4))
    assert waited[:2] == [2, 2], "twice what there is room for"
    assert max(waited) == 8


def test_progress_counts_every_block_pair_once() -> None:
    seen: list[None] = []
    graph_by_tasks(bursts(200), 0.4, block_rows=50, progress=lambda: seen.append(None))
    assert len(seen) == 10


def test_a_comparison_by_tasks_leaves_what_one_in_this_process_does() -> None:
    rows = bursts(400)
    labelled = np.arange(400) % 3 == 0
    travelled = []

    def edges(vectors: np.ndarray, radius: float, *, refine: Any = None, wanted: Any = None) -> Any:
        del wanted
        there = None if refine is None else lambda a, b, i, j, part: refine(part)
        for part in stream_edges_by_tasks(vectors, radius, block_rows=100, refine=there):
            travelled.append(len(part[0]))
            yield part

    by_tasks = neighbors.Search(edges, nearest_by_tasks)
    for min_samples in (1, 2, 3):
        travelled.clear()
        found, alone = (
            cluster.compare_all(rows, 0.6, search, min_samples=min_samples, labelled=labelled)
            for search in (by_tasks, neighbors.local_search())
        )
        for eps in (0.05, 0.2, 0.45, 0.6):
            np.testing.assert_array_equal(
                cluster.labels_at(found.forest, eps), cluster.labels_at(alone.forest, eps)
            )
        np.testing.assert_array_equal(found.nearest, alone.nearest)
        np.testing.assert_array_equal(found.nearest_distance, alone.nearest_distance)
        theirs, ours = (
            neighbors.Graph(one.labelled.n, *sort_edges(one.labelled.parts()))
            for one in (found, alone)
            if one.labelled is not None
        )
        assert_same(theirs, ours)
        assert sum(travelled) < len(neighbors.radius_graph(rows, 0.6).edges)


@pytest.mark.parametrize("n", [0, 1])
def test_no_row_and_one_row(n: int) -> None:
    found = graph_by_tasks(bursts(4)[:n], 0.4)
    assert (found.n, found.edges.shape, found.distances.shape) == (n, (0, 2), (0,))


def test_bad_input_is_refused_with_the_reason() -> None:
    with pytest.raises(InputError, match=r"radius: 2\.5"):
        graph_by_tasks(bursts(20), 2.5)
    with pytest.raises(InputError, match="k: 0"):
        nearest_by_tasks(bursts(20), 0)
