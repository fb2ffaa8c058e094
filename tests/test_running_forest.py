"""A forest of pairs that come in any parts is the one that a plain Kruskal makes of all of them."""

import errno
import itertools
import tempfile
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.cluster import Forest, RunningForest, forest, running_forest, spanning_forest
from reid.errors import StorageError
from reid.neighbors import Graph, stored_edges
from reid.neighbors.edge_arrays import Edges, join_edges
from reid.neighbors.stored_edges import StoredEdges, edges_among


def plain_forest(graph: Graph, min_samples: int, weights: np.ndarray) -> Forest:
    """All of it by the definition, on the whole matrix of distances."""
    n = graph.n
    apart = np.full((n, n), np.inf, np.float32)
    apart[graph.edges[:, 0], graph.edges[:, 1]] = graph.distances
    apart = np.minimum(apart, apart.T)
    np.fill_diagonal(apart, 0)
    core = np.full(n, np.inf, np.float32)
    for row, lengths in enumerate(apart):
        enough = [d for d in sorted(lengths) if weights[lengths <= d].sum() >= min_samples]
        core[row] = enough[0] if enough else np.inf
    reached = np.maximum(apart, np.maximum(core[:, None], core))
    component = list(range(n))
    merges, lengths = [], []
    for d, i, j in sorted((reached[i, j], i, j) for i, j in graph.edges.tolist()):
        if d < np.inf and component[i] != component[j]:
            component = [component[i] if one == component[j] else one for one in component]
            merges.append((i, j))
            lengths.append(d)
    within = np.maximum(apart, core)  # of (row, other): from here on the other is core and in reach
    borders = np.argwhere(within < core[:, None])
    return Forest(
        n,
        np.array(merges, np.int32).reshape(-1, 2),
        np.array(lengths, np.float32),
        core,
        borders.astype(np.int32),
        within[borders[:, 0], borders[:, 1]],
    )


def assert_same(found: Forest, wanted: Forest) -> None:
    assert found.n == wanted.n
    for name in ("merges", "weights", "core", "borders", "border_weights"):
        mine, theirs = getattr(found, name), getattr(wanted, name)
        np.testing.assert_array_equal(mine, theirs, err_msg=name)
        assert mine.dtype == theirs.dtype, name


def some_graph(n: int, steps: int, share: float, seed: int) -> Graph:
    """Few different distances, 0 among them: ties and identical rows are common."""
    random = np.random.default_rng(seed)
    low, high = np.nonzero(np.triu(random.random((n, n)) < share, 1))
    edges = np.stack([low, high], axis=1).astype(np.int32)
    return Graph(n, edges, random.integers(0, steps, len(edges)).astype(np.float32) / 20)


def in_parts(graph: Graph, size: int, seed: int) -> Iterator[Edges]:
    order = np.random.default_rng(seed).permutation(len(graph.edges))
    for start in range(0, len(order), size):
        own = order[start : start + size]
        yield graph.edges[own], graph.distances[own]


graphs = st.builds(
    some_graph,
    n=st.integers(1, 30),
    steps=st.sampled_from([1, 3, 12, 1000]),
    share=st.sampled_from([0.05, 0.3, 1.0]),
    seed=st.integers(0, 9999),
)


@settings(max_examples=200)
@given(
    graph=graphs,
    min_samples=st.integers(1, 7),
    size=st.integers(1, 60),
    wait=st.sampled_from([0.1, 1, 4]),
    many=st.booleans(),
    seed=st.integers(0, 99),
)
def test_it_is_that_of_a_plain_kruskal(
    graph: Graph, min_samples: int, size: int, wait: float, many: bool, seed: int
) -> None:
    weights = np.ones(graph.n, np.int64)
    if many:
        weights = np.random.default_rng(seed).integers(1, 4, graph.n)
    wanted = plain_forest(graph, min_samples, weights)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running_forest, "EDGES_A_ROW", wait)
        patch.setattr(forest, "EDGES_AT_ONCE", seed % 3)
        running = RunningForest(graph.n, min_samples, weights if many else None)
        for part in in_parts(graph, size, seed):
            running.add(part)
        assert_same(running.forest(), wanted)
        links = running.links()
    assert_same(spanning_forest(graph, min_samples, weights=weights if many else None), wanted)
    one = spanning_forest(graph, 1)  # connects the same rows as all edges, at any distance
    assert_same(spanning_forest(links, 1), one)


@settings(max_examples=100)
@given(graph=graphs, min_samples=st.integers(1, 5), seed=st.integers(0, 99))
def test_what_one_part_needs_is_enough_beside_others(
    graph: Graph, min_samples: int, seed: int
) -> None:
    parts = []
    for part in in_parts(graph, 40, seed):
        alone = RunningForest(graph.n, min_samples)
        alone.add(part)
        needed = alone.needed(part)
        parts.append((part[0][needed], part[1][needed]))
    found = running_forest.streamed_forest(parts, graph.n, min_samples)
    assert_same(found, plain_forest(graph, min_samples, np.ones(graph.n, np.int64)))


@settings(max_examples=50)
@given(
    graph=graphs,
    size=st.integers(1, 60),
    held=st.integers(1, 100),
    min_samples=st.integers(1, 4),
    seed=st.integers(0, 99),
)
def test_edges_on_disk_are_those_in_memory(
    graph: Graph, size: int, held: int, min_samples: int, seed: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_edges, "HELD_EDGES", held)
        patch.setattr(stored_edges, "READ_EDGES", 7)
        stored = StoredEdges(graph.n)
        for part in in_parts(graph, size, seed):
            stored.add(part)
        for _ in range(2):  # read again, it is the same
            edges, distances = join_edges(stored.parts())
            order = np.lexsort((edges[:, 1], edges[:, 0]))
            np.testing.assert_array_equal(edges[order], graph.edges)
            np.testing.assert_array_equal(distances[order], graph.distances)
        rows = np.flatnonzero(np.random.default_rng(seed).random(graph.n) < 0.6)
        found, wanted = (
            running_forest.streamed_forest(edges_among(one, rows), len(rows), min_samples)
            for one in (stored, graph)
        )
    assert_same(found, wanted)


def test_runs_on_disk_hold_a_range_of_distances_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_edges, "HELD_EDGES", 50)
    graph = some_graph(40, 1000, 1.0, 0)
    stored = StoredEdges(graph.n)
    for part in in_parts(graph, 60, 0):
        stored.add(part)
    spans = [(distances.min(), distances.max()) for _, distances in stored.parts()]
    assert len(spans) > 20
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(spans))


def test_memory_is_that_of_the_rows_not_of_the_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    reduce = RunningForest._reduce

    def counted(self: RunningForest) -> None:
        reduce(self)
        seen.append(len(self._kept[0]))

    monkeypatch.setattr(RunningForest, "_reduce", counted)
    graph = some_graph(200, 1000, 1.0, 0)
    running_forest.streamed_forest(in_parts(graph, 300, 0), graph.n, 4)
    assert len(seen) > 2
    assert max(seen) < (4 - 1) * graph.n < len(graph.edges) / 10


def test_a_full_disk_is_said_with_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def seek(self, *_: int) -> None: ...
        def close(self) -> None: ...
        def write(self, _: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stored_edges, "HELD_EDGES", 50)
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    stored = StoredEdges(40)
    graph = some_graph(40, 1000, 1.0, 0)
    with pytest.raises(StorageError, match=r"No space left .* set TMPDIR"):
        stored.add((graph.edges, graph.distances))
