"""Partition under constraints: against plain Python, and its promises for any input."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.errors import InputError
from reid.identify.constrained_partition import Partition, components, minimum_links, partition
from reid.identify.constraints import ENCOUNTER, LABEL, MATCH, Constraints, conflicted
from reid.identify.contradictions import find_contradictions

KNOWN = 0.5


def constraints(
    n: int,
    *,
    labels: list[int] | None = None,
    encounters: list[int] | None = None,
    images: list[int] | None = None,
    match: list[tuple[int, int]] | None = None,
    nomatch: list[tuple[int, int]] | None = None,
) -> Constraints:
    def group(values: list[int] | None) -> np.ndarray:
        return np.asarray([-1] * n if values is None else values, np.int64).reshape(n)

    def pairs(values: list[tuple[int, int]] | None) -> np.ndarray:
        return np.asarray(values or [], np.int64).reshape(-1, 2)

    return Constraints(
        group(labels), group(encounters), group(images), pairs(match), pairs(nomatch)
    )


@st.composite
def problems(draw: st.DrawFn) -> tuple[int, np.ndarray, np.ndarray, Constraints]:
    """Rows, edges with many ties, and constraints that may contradict each other."""
    n = draw(st.integers(1, 14))
    every = list(combinations(range(n), 2))
    chosen = draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    lengths = [draw(st.sampled_from([0.0, 0.1, 0.2, 0.3, 0.5, 0.7])) for _ in chosen]
    few = st.lists(st.sampled_from(every), max_size=3, unique=True) if every else st.just([])

    def groups(rare: int) -> list[int]:
        return [draw(st.integers(-rare, 3)) for _ in range(n)]

    made = constraints(
        n,
        labels=[max(-1, k) for k in groups(8)],
        encounters=[max(-1, k) for k in groups(8)],
        images=[max(-1, k) for k in groups(6)],
        match=draw(few),
        nomatch=draw(few),
    )
    edges = np.asarray(sorted(chosen), np.int64).reshape(-1, 2)
    order = sorted(range(len(chosen)), key=lambda k: chosen[k])
    return n, edges, np.asarray(lengths, np.float32)[order], made


def must_pairs(c: Constraints) -> list[tuple[int, int, int]]:
    """Every must-link, groups as cliques."""
    n = len(c.labels)
    pairs = [(a, b, MATCH) for a, b in c.match.tolist()]
    for group, kind in ((c.labels, LABEL), (c.encounters, ENCOUNTER)):
        pairs += [(a, b, kind) for a, b in combinations(range(n), 2) if group[a] == group[b] >= 0]
    return pairs


def cannot_pairs(c: Constraints) -> set[tuple[int, int]]:
    n = len(c.labels)
    told = {(min(a, b), max(a, b)) for a, b in c.nomatch.tolist()}
    boxes = {(a, b) for a, b in combinations(range(n), 2) if c.images[a] == c.images[b] >= 0}
    named = {
        (a, b)
        for a, b in combinations(range(n), 2)
        if min(c.labels[a], c.labels[b]) >= 0 and c.labels[a] != c.labels[b]
    }
    return told | boxes | named


def oracle(n: int, edges: np.ndarray, distances: np.ndarray, c: Constraints) -> list[set[int]]:
    """Components as sets; join must-links, then edges in order unless a pair is forbidden."""
    of = {row: {row} for row in range(n)}
    forbidden = cannot_pairs(c)

    def join(a: int, b: int) -> None:
        both = of[a] | of[b]
        for row in both:
            of[row] = both

    for a, b, _ in must_pairs(c):
        join(a, b)
    links = sorted(zip(distances.tolist(), edges.tolist(), strict=True))
    for distance, (a, b) in links:
        pairs = {(min(x, y), max(x, y)) for x in of[a] for y in of[b]}
        if distance <= np.float32(KNOWN) and (of[a] is of[b] or not pairs & forbidden):
            join(a, b)
    return [of[row] for row in range(n)]


def as_sets(component: np.ndarray) -> list[set[int]]:
    return [set(np.flatnonzero(component == k).tolist()) for k in component]


def contradicts(c: Constraints) -> bool:
    n = len(c.labels)
    of = components(n, np.asarray([pair[:2] for pair in must_pairs(c)], np.int64).reshape(-1, 2))
    return any(of[a] == of[b] for a, b in cannot_pairs(c))


@settings(max_examples=300)
@given(problems())
def test_it_is_kruskal_with_refusals(problem: tuple) -> None:
    n, edges, distances, c = problem
    if contradicts(c):
        with pytest.raises(InputError, match="contradict"):
            partition(n, edges, distances, KNOWN, c)
        assert find_contradictions(c)
        return
    assert not find_contradictions(c)
    found = partition(n, edges, distances, KNOWN, c)
    assert as_sets(found.component) == oracle(n, edges, distances, c)
    # Must-links and cannot-links hold.
    assert all(found.component[a] == found.component[b] for a, b, _ in must_pairs(c))
    assert all(found.component[a] != found.component[b] for a, b in cannot_pairs(c))
    # Components are numbered by their smallest row, and the joins alone make them.
    _, first = np.unique(found.component, return_index=True)
    assert (np.diff(first) > 0).all()
    assert len(found.joins) == n - len(first)
    np.testing.assert_array_equal(components(n, found.joins), found.component)
    assert (np.diff(found.distances[found.kinds == 0]) >= 0).all()


@settings(max_examples=200)
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_edges_and_decisions_changes_nothing(problem: tuple, random) -> None:
    n, edges, distances, c = problem
    if contradicts(c):
        return
    order = list(range(len(edges)))
    random.shuffle(order)
    flipped = edges[order].copy()
    flipped[::2] = flipped[::2, ::-1]
    mixed = Constraints(
        c.labels, c.encounters, c.images, c.match[::-1, ::-1], c.nomatch[::-1, ::-1]
    )
    one = partition(n, edges, distances, KNOWN, c)
    two = partition(n, flipped, distances[order], KNOWN, mixed)
    for name in ("component", "distances"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    by_distance = one.kinds == 0
    np.testing.assert_array_equal(one.joins[by_distance], two.joins[by_distance])


def test_six_points_on_paper() -> None:
    # 0 – 1 – 2 – 3 – 4 in a line, 5 alone; 1 and 3 are two boxes of one image.
    edges = np.array([[0, 1], [1, 2], [2, 3], [3, 4]])
    distances = np.array([0.1, 0.2, 0.2, 0.1], np.float32)
    free = partition(6, edges, distances, KNOWN, constraints(6))
    assert free.component.tolist() == [0, 0, 0, 0, 0, 1]
    boxes = constraints(6, images=[-1, 7, -1, 7, -1, -1])
    # 2 is as near to 1 as to 3: the pair (1, 2) comes first.
    held = partition(6, edges, distances, KNOWN, boxes)
    assert held.component.tolist() == [0, 0, 0, 1, 1, 2]
    assert held.joins.tolist() == [[0, 1], [3, 4], [1, 2]]


@settings(max_examples=200)
@given(problems())
def test_every_contradiction_has_a_shortest_chain(problem: tuple) -> None:
    n, _, _, c = problem
    must = must_pairs(c)
    kinds = {(a, b, kind) for x, y, kind in must for a, b in ((x, y), (y, x))}
    steps = np.full((n, n), np.inf)
    np.fill_diagonal(steps, 0)
    for a, b, _ in kinds:
        steps[a, b] = 1
    for k in range(n):  # Floyd–Warshall
        steps = np.minimum(steps, steps[:, k, None] + steps[k])
    found = find_contradictions(c)
    for one in found:
        assert [one.chain[0][0], one.chain[-1][1]] == [one.a, one.b]
        assert all(x[1] == y[0] for x, y in zip(one.chain, one.chain[1:], strict=False))
        assert set(one.chain) <= kinds
        assert (min(one.a, one.b), max(one.a, one.b)) in cannot_pairs(c)
        inner = [c.labels[row] for _, row, _ in one.chain[:-1]]
        if one.forbidden != "label":
            assert len(one.chain) == steps[one.a, one.b]
        elif not any(label >= 0 for label in inner):
            ends = c.labels[[one.a, one.b]]
            first, second = (np.flatnonzero(c.labels == label) for label in ends)
            others = (c.labels >= 0) & ~np.isin(c.labels, ends)
            if not others.any():  # no third label that a shorter chain could go through
                assert len(one.chain) == steps[np.ix_(first, second)].min()
    told = {(one.a, one.b) for one in found if one.forbidden == "nomatch"}
    assert told == {
        (min(a, b), max(a, b)) for a, b in c.nomatch.tolist() if np.isfinite(steps[a, b])
    }
    boxed = {(one.a, one.b) for one in found if one.forbidden == "image"}
    assert boxed == {
        (a, b)
        for a, b in combinations(range(n), 2)
        if c.images[a] == c.images[b] >= 0 and np.isfinite(steps[a, b])
    }
    # Labels that share a component are connected by the reported pairs.
    of = components(n, np.asarray([pair[:2] for pair in must], np.int64).reshape(-1, 2))
    pairs = [c.labels[[one.a, one.b]] for one in found if one.forbidden == "label"]
    top = int(c.labels.max(initial=0)) + 1
    linked = components(top, np.asarray(pairs, np.int64).reshape(-1, 2))
    for a, b in combinations(np.flatnonzero(c.labels >= 0).tolist(), 2):
        if of[a] == of[b]:
            assert linked[c.labels[a]] == linked[c.labels[b]]


def test_a_chain_is_read_from_end_to_end() -> None:
    # 0 and 4 are told apart; 0 = 1 (match), 1 = 2 (one label), 2 = 4 (one encounter).
    made = constraints(
        5,
        labels=[-1, 3, 3, -1, -1],
        encounters=[-1, -1, 0, -1, 0],
        match=[(0, 1)],
        nomatch=[(0, 4)],
    )
    (found,) = find_contradictions(made)
    assert (found.forbidden, found.a, found.b) == ("nomatch", 0, 4)
    assert found.chain == [(0, 1, MATCH), (1, 2, LABEL), (2, 4, ENCOUNTER)]


@settings(max_examples=100)
@given(problems())
def test_minimum_links_is_the_first_spanning_forest(problem: tuple) -> None:
    n, edges, _, _ = problem
    links = np.concatenate([edges[::-1], edges[:, ::-1]])
    of = list(range(n))
    first = []
    for place, (a, b) in enumerate(links.tolist()):
        if of[a] != of[b]:
            first.append(place)
            of = [of[b] if k == of[a] else k for k in of]
    assert minimum_links(n, links).tolist() == first


def test_conflicts_are_seen_by_component() -> None:
    made = constraints(4, labels=[0, 1, -1, -1], images=[-1, -1, 5, 5], nomatch=[(0, 3)])
    assert conflicted(np.array([0, 0, 1, 1]), made).tolist() == [True, True]
    assert conflicted(np.array([0, 1, 0, 1]), made).tolist() == [False, False]
    assert conflicted(np.array([0, 1, 2, 0]), made).tolist() == [True, False, False]


def test_no_rows() -> None:
    found = partition(0, np.empty((0, 2), np.int64), np.empty(0, np.float32), KNOWN, constraints(0))
    assert isinstance(found, Partition)
    assert len(found.component) == len(found.joins) == 0
