"""A graph that grows is the graph of all rows, to the bit."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.errors import InputError
from reid.identify import (
    edges_table,
    extend_edges,
    make_nodes,
    pool,
    read_edges,
    sides,
)
from reid.identify.distances import pair_distances, row_sums
from reid.neighbors import radius_graph

RADIUS = 0.3


def unit_rows(n: int, d: int, seed: int) -> np.ndarray:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(4, d))[random.integers(0, 4, n)] + 0.3 * random.normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def joined(parts: list[tuple[np.ndarray, np.ndarray]]) -> dict[tuple[int, int], float]:
    return {
        (a, b): distance
        for edges, distances in parts
        for (a, b), distance in zip(edges.tolist(), distances.tolist(), strict=True)
    }


@settings(max_examples=40)
@given(
    st.integers(0, 60), st.integers(1, 40), st.integers(0, 99), st.integers(1, 30),
    st.sampled_from(["numpy", "torch"]), st.booleans(),
)  # fmt: skip
def test_night_by_night_is_all_at_once(
    n: int, d: int, seed: int, block: int, backend: str, sided: bool
) -> None:
    rows = unit_rows(n, d, seed)
    side = np.random.default_rng(seed).integers(-1, 2, n).astype(np.int8) if sided else None
    ids = [f"{k:03d}" for k in range(n)]
    order = np.random.default_rng(seed + 1).permutation(n)
    tables = [edges_table("s", [], (np.empty((0, 2), np.int32), np.empty(0, np.float32)))]
    cuts = sorted({0, n // 3, n // 2, n})
    for start, stop in pairwise(cuts):
        here = order[:stop]
        parts = extend_edges(
            rows[here], start, RADIUS, backend=backend, block_rows=block,
            shown=None if side is None else side[here],
        )  # fmt: skip
        names = [ids[k] for k in order[:stop]]
        tables += [edges_table("s", names, part) for part in parts]
    grown = pa.concat_tables(tables)
    assert len(grown) == len(grown.group_by(["a_id", "b_id"]).aggregate([]))
    edges, distances = read_edges(grown, ids)
    none = (np.empty((0, 2), np.int32), np.empty(0, np.float32))
    at_once = [none, *extend_edges(rows, 0, RADIUS, block_rows=n + 1, shown=side)]
    all_edges, all_distances = at_once[-1]
    np.testing.assert_array_equal(edges, all_edges)
    assert distances.tobytes() == all_distances.tobytes()
    if side is None and n:
        # And that is the radius graph, but for pairs at the radius itself.
        graph = radius_graph(rows, RADIUS)
        clear = np.abs(graph.distances - RADIUS) > 1e-5
        mine = joined([(edges, distances)])
        theirs = joined([(graph.edges[clear], graph.distances[clear])])
        assert {pair for pair in mine if abs(mine[pair] - RADIUS) > 1e-5} == set(theirs)
        for pair, distance in theirs.items():
            assert mine[pair] == pytest.approx(distance, abs=1e-6)


@settings(max_examples=40)
@given(st.integers(1, 600), st.integers(0, 99))
def test_a_distance_depends_on_its_two_rows_alone(d: int, seed: int) -> None:
    rows = unit_rows(40, d, seed)
    random = np.random.default_rng(seed)
    i, j = random.integers(0, 40, (2, 300))
    whole = pair_distances(rows, i, rows, j)
    assert whole.tobytes() == pair_distances(rows, j, rows, i).tobytes()
    single = [pair_distances(rows[[a]], [0], rows[[b]], [0])[0] for a, b in zip(i, j, strict=True)]
    assert whole.tobytes() == np.asarray(single, np.float32).tobytes()
    exact = ((rows[i].astype(np.float64) - rows[j]) ** 2).sum(axis=1) / 2
    np.testing.assert_allclose(whole, exact, rtol=1e-5, atol=1e-12)
    assert (whole[i == j] == 0).all()


def test_row_sums_add_every_value_once() -> None:
    for width in range(1, 70):
        values = np.eye(width, dtype=np.float64)
        assert row_sums(values * 3).tolist() == [3.0] * width


def test_no_known_rows_no_new_rows() -> None:
    rows = unit_rows(5, 4, 0)
    assert list(extend_edges(rows, 5, RADIUS)) == []
    (only,) = extend_edges(rows, 0, RADIUS)
    assert len(only[0]) > 0
    with pytest.raises(InputError, match=r"radius: 1\.99"):
        list(extend_edges(rows, 5, 1.99))


def test_sides() -> None:
    words = ["left", "Right", "frontleft", None, "front", "left-right", ""]
    found = sides(words, "same-side")
    assert found is not None
    assert found.tolist() == [-1, 1, -1, 0, 0, 0, 0]
    assert sides(words, "compare-all") is None
    with pytest.raises(InputError, match="known rules: compare-all, same-side"):
        sides(words, "both")


def test_garbage_of_killed_runs_changes_nothing() -> None:
    edges = (np.array([[0, 1], [1, 2]], np.int32), np.array([0.1, 0.2], np.float32))
    table = edges_table("s", ["b", "a", "c"], edges)
    assert table.select(["a_id", "b_id"]).to_pydict() == {"a_id": ["a", "a"], "b_id": ["b", "c"]}
    gone = edges_table("s", ["b", "gone", "c"], edges)
    pairs, distances = read_edges(pa.concat_tables([gone, table, table]), ["a", "b", "c"])
    assert pairs.tolist() == [[0, 1], [0, 2]]
    np.testing.assert_array_equal(distances, edges[1])


def nodes_of(encounters: list[str | None], viewpoints: list[str | None], **changed):
    n = len(encounters)
    none = np.full(n, -1, np.int64)
    options = {"images": none, "labels": none, "nomatch": np.empty((0, 2), np.int64)} | changed
    ids = [f"a{k}" for k in range(n)]
    return make_nodes(ids, encounters, viewpoints, mode="mean", **options)


def test_an_encounter_is_one_node_for_each_view() -> None:
    nodes = nodes_of(["e", "e", "e", None, "f"], ["left", "left", "right", "left", "left"])
    assert nodes.node[0] == nodes.node[1]
    assert len(set(nodes.node.tolist())) == 4
    assert nodes.ids.to_pylist() == sorted(nodes.ids.to_pylist())
    assert set(nodes.ids.to_pylist()) >= {"a2", "a3", "a4"}
    assert nodes.encounter.tolist() == [0, 0, 0, -1, 1]
    np.testing.assert_array_equal(nodes.first[nodes.node], [0, 0, 2, 3, 4])
    rows = unit_rows(5, 8, 0)
    pooled = pool(rows, nodes)
    mean = (rows[0] + rows[1]) / np.linalg.norm(rows[0] + rows[1])
    np.testing.assert_allclose(pooled[nodes.node[0]], mean, atol=1e-6)
    for row in (2, 3, 4):
        assert pooled[nodes.node[row]].tobytes() == rows[row].tobytes()
    # An encounter that has grown is another node; the others stay.
    grown = nodes_of(
        ["e", "e", "e", None, "f", "e"], ["left", "left", "right", "left", "left", "left"]
    )
    assert {*grown.ids.to_pylist()} & {*nodes.ids.to_pylist()} == {"a2", "a3", "a4"}
    with pytest.raises(InputError, match="opposite directions"):
        pool(np.concatenate([rows[:1], -rows[:1], rows[2:]]), nodes)


@pytest.mark.parametrize(
    "known",
    [{"images": np.array([4, 4])}, {"labels": np.array([0, 1])}, {"nomatch": np.array([[1, 0]])}],
)
def test_an_encounter_of_two_animals_joins_nothing(known: dict[str, np.ndarray]) -> None:
    nodes = nodes_of(["e", "e"], ["left", "left"], **known)
    assert nodes.broken == ["e"]
    assert nodes.encounter.tolist() == [-1, -1]
    assert nodes.ids.to_pylist() == ["a0", "a1"]
