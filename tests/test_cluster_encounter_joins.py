"""Clusters that an encounter connects."""

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from reid.cluster import (
    encounters_of_one_animal,
    encounters_of_one_name,
    forest_with_encounters,
    join_encounters,
    labels_at,
    linkage_forest,
    seen_once,
    spanning_forest,
)
from reid.neighbors import Graph, radius_graph


def test_an_encounter_joins_its_clusters_and_its_noise() -> None:
    labels = np.asarray([0, 1, -1, 1, -1, 2])
    encounters = np.asarray([7, 7, 7, -1, -1, 5])
    assert join_encounters(labels, encounters).tolist() == [0, 0, 0, 0, -1, 1]


def test_two_boxes_of_one_image_are_two_animals() -> None:
    encounters, images = np.asarray([3, 3, 3, 4, -1, -1]), np.asarray([0, 0, 1, 2, 5, 5])
    single, mixed = encounters_of_one_animal(encounters, images)
    assert single.tolist() == [-1, -1, -1, 4, -1, -1]
    assert mixed == 1


def test_two_names_in_an_encounter_are_two_animals() -> None:
    encounters, named = np.asarray([3, 3, 3, 4, 4]), np.asarray([0, 1, -1, 5, -1])
    single, mixed = encounters_of_one_name(encounters, named)
    assert single.tolist() == [-1, -1, -1, 4, 4]
    assert mixed == 1


@given(
    rows=st.lists(
        st.tuples(st.integers(-1, 4), st.integers(-1, 4)),
        min_size=1,
        max_size=25,
    )
)
def test_as_joined_one_by_one(rows: list[tuple[int, int]]) -> None:
    labels, encounters = (np.asarray(column, np.int64) for column in zip(*rows, strict=True))
    joined = join_encounters(labels, encounters)
    # the oracle: sets that grow until nothing joins them
    groups = [{row} for row in range(len(rows))]

    def join(those: list[int]) -> None:
        touched = [group for group in groups if group & set(those)]
        groups[:] = [group for group in groups if group not in touched] + [set().union(*touched)]

    for numbers in (labels, encounters):
        for number in set(numbers.tolist()) - {-1}:
            join(np.flatnonzero(numbers == number).tolist())
    assert partition(joined) == {frozenset(group) for group in groups}
    assert all(labels[row] == -1 for row in np.flatnonzero(joined < 0))


def partition(labels: np.ndarray) -> set[frozenset[int]]:
    """The clusters as sets of rows, noise alone."""
    apart = np.where(labels < 0, labels.max(initial=0) + 1 + np.arange(len(labels)), labels)
    return {frozenset(np.flatnonzero(apart == name).tolist()) for name in set(apart.tolist())}


def made_up(seed: int, ceiling: float = 1.2) -> tuple[np.ndarray, Graph, np.ndarray]:
    random = np.random.default_rng(seed)
    rows = random.normal(size=(int(random.integers(2, 30)), 4)).astype(np.float32)
    rows[: len(rows) // 4] = rows[-1]  # distances of 0
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows, radius_graph(rows, ceiling), random.integers(-1, 6, size=len(rows))


@given(st.integers(0, 10**6), st.floats(0.001, 1.19), st.sampled_from([1, 2]))
def test_the_forest_joins_encounters_at_every_threshold(
    seed: int, eps: float, min_samples: int
) -> None:
    rows, graph, encounters = made_up(seed)
    for forest in (
        spanning_forest(graph, min_samples),
        linkage_forest(graph, rows, 1.2, "average"),
    ):
        after = join_encounters(labels_at(forest, eps), encounters)
        assert partition(labels_at(forest_with_encounters(forest, encounters), eps)) == partition(
            after
        )


@given(st.integers(0, 10**6), st.floats(0.001, 1.19))
def test_border_rows_join_no_less_in_the_forest(seed: int, eps: float) -> None:
    _, graph, encounters = made_up(seed)
    forest = spanning_forest(graph, 4)
    after = partition(join_encounters(labels_at(forest, eps), encounters))
    found = partition(labels_at(forest_with_encounters(forest, encounters), eps))
    assert all(any(group <= larger for larger in found) for group in after)


def test_a_burst_is_one_sighting() -> None:
    who = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    met = pa.chunked_array([["a", "a", "a", "b", "c"], [None, None, None]], pa.string())
    assert seen_once(who, met) == 2, "a burst, and an image alone; images of no encounter are two"
    assert seen_once(np.empty(0, np.int64), pa.chunked_array([], pa.string())) == 0


@given(
    st.lists(st.tuples(st.integers(0, 5), st.none() | st.sampled_from("abc"))),
    st.booleans(),
)
def test_seen_once_counts_sightings(rows: list[tuple[int, str | None]], named: bool) -> None:
    seen: dict[int, set[object]] = {}
    for place, (one, met) in enumerate(rows):
        seen.setdefault(one, set()).add(place if met is None else met)
    numbers = np.array([one for one, _ in rows], np.int64)
    names = pa.chunked_array([[f"lynx-{one}" for one, _ in rows]], pa.string())
    encounters = pa.chunked_array([[met for _, met in rows]], pa.string())
    once = seen_once(names if named else numbers, encounters)
    assert once == sum(len(sightings) == 1 for sightings in seen.values())
