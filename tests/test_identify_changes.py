"""Names that follow, and events that say what happened."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.identify.changes import derive_events
from reid.identify.constrained_partition import partition
from reid.identify.constraints import Constraints
from reid.identify.names import follow_names, identity_name, identity_number

NONE = np.empty((0, 2), np.int64)


def numbered(component: list[int]) -> np.ndarray:
    """The same parts, numbered by their smallest row."""
    seen: dict[int, int] = {}
    return np.asarray([seen.setdefault(k, len(seen)) for k in component], np.int64)


ROWS = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 3)), max_size=10)


@settings(max_examples=300)
@given(ROWS)
def test_as_many_rows_as_possible_keep_their_name(rows: list[tuple[int, int]]) -> None:
    before = np.asarray([old for old, _ in rows], np.int64)
    component = numbered([new for _, new in rows])
    after, next_number = follow_names(before, component, 10)
    # One name a component, one component a name; fresh names in the order of smallest rows.
    pairs = set(zip(component.tolist(), after.tolist(), strict=True))
    assert len(pairs) == len(set(component.tolist())) == len(set(after.tolist()))
    fresh = [name for _, name in sorted(pairs) if name >= 10]
    assert fresh == list(range(10, next_number))
    olds = sorted(set(before[before >= 0].tolist()))
    places = sorted(set(component.tolist())) + [-1] * len(olds)
    most = max(
        sum(
            int(((before == old) & (component == place)).sum())
            for old, place in zip(olds, chosen, strict=True)
        )
        for chosen in permutations(places, len(olds))
    )
    assert (before == after).sum() == most


@settings(max_examples=100)
@given(ROWS, st.randoms(use_true_random=False))
def test_parts_that_stay_keep_their_names(rows: list[tuple[int, int]], random) -> None:
    component = numbered([new for _, new in rows])
    shuffled = list(range(component.max(initial=-1) + 1))
    random.shuffle(shuffled)
    before = np.asarray(shuffled, np.int64)[component]
    after, next_number = follow_names(before, component, 10)
    np.testing.assert_array_equal(after, before)
    assert next_number == 10


def test_ties_go_to_the_older_identity_and_the_larger_overlap_wins() -> None:
    assert follow_names(np.array([7, 3]), np.array([0, 0]), 9)[0].tolist() == [3, 3]
    assert follow_names(np.array([7, 3, 7]), np.array([0, 0, 0]), 9)[0].tolist() == [7, 7, 7]
    # 5 + 0 rows or 4 + 4: identity 1 keeps fewer, so that both keep some.
    before = np.array([1] * 5 + [1] * 4 + [2] * 4)
    component = np.array([0] * 5 + [1] * 4 + [0] * 4)
    after, _ = follow_names(before, component, 9)
    assert after.tolist() == [2] * 5 + [1] * 4 + [2] * 4


def test_names() -> None:
    assert identity_name("lynx", 42) == "lynx-0042"
    assert identity_number("lynx", "lynx-0042") == 42
    assert identity_number("Lynx lynx-2", identity_name("Lynx lynx-2", 12345)) == 12345
    for wrong in ("lynx-42", "puma-0042", "lynx-0042x"):
        with pytest.raises(ValueError, match="is no name of species 'lynx'"):
            identity_number("lynx", wrong)


@st.composite
def changes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray, Constraints]:
    """Identities before, and a graph that parts the rows in some other way."""
    n = draw(st.integers(1, 12))
    before = np.asarray([draw(st.integers(-2, 3)) for _ in range(n)], np.int64).clip(-1)
    every = [(a, b) for a in range(n) for b in range(a + 1, n)]
    chosen = (
        sorted(draw(st.lists(st.sampled_from(every), unique=True, max_size=14))) if every else []
    )
    lengths = [draw(st.sampled_from([0.1, 0.2, 0.3, 0.4])) for _ in chosen]
    none = np.full(n, -1, np.int64)
    images = np.asarray([draw(st.integers(-6, 1)) for _ in range(n)], np.int64).clip(-1)
    edges = np.asarray(chosen, np.int64).reshape(-1, 2)
    return (
        before,
        edges,
        np.asarray(lengths, np.float32),
        Constraints(none, none, images, NONE, NONE),
    )


def test_a_merge_is_told_by_the_link_of_its_own_component() -> None:
    """0 and 1 meet in two components: over 0.1 where 1 is merged into 0, over 0.2 in the other."""
    before = np.asarray([0, 0, 1, 0, 1, 2, 2, 3])
    edges = np.asarray([[0, 1], [1, 2], [3, 4], [3, 5], [3, 6], [5, 7]])
    lengths = np.asarray([0.1, 0.1, 0.2, 0.1, 0.1, 0.1], np.float32)
    none = np.full(8, -1)
    images = np.asarray([0, -1, -1, 0, -1, -1, -1, -1])  # keeps the two apart
    made = Constraints(none, none, images, NONE, NONE)
    found = partition(8, edges, lengths, 0.35, made)
    after = follow_names(before, found.component, 10)[0]
    events = derive_events(before, after, found, edges, lengths, made)
    merge, _ = [event for event in events if event.event == "merge"]
    assert (merge.identity, merge.other, merge.rows.tolist()) == (0, 1, [2])
    assert merge.link is not None
    assert (merge.link.a, merge.link.b) == (1, 2)


@settings(max_examples=300)
@given(changes())
def test_events_replay_to_the_partition(change: tuple) -> None:
    before, edges, distances, made = change
    found = partition(len(before), edges, distances, 0.35, made)
    after, _ = follow_names(before, found.component, 10)
    events = derive_events(before, after, found, edges, distances, made)
    replayed = before.copy()
    for event in events:
        came_from = -1 if event.other is None else event.other
        assert (before[event.rows] == came_from).all()
        replayed[event.rows] = event.identity
        names_before, names_after = set(before.tolist()), set(after.tolist())
        if event.event == "new":
            assert not (before[after == event.identity] >= 0).any()
        elif event.event == "extend":
            assert (before[after == event.identity] >= 0).any()
            assert event.link is not None
            known = before[[event.link.a, event.link.b]] >= 0
            assert known.sum() == 1
        elif event.event == "merge":
            assert event.other not in names_after
            assert event.identity in names_before
            assert event.link is not None
            # Without its link and all weaker ones the two would be apart.
            joins = [
                (a, b) for (a, b), length in zip(found.joins.tolist(), found.distances, strict=True)
                if length < np.float32(event.link.distance)
            ]  # fmt: skip
            sides = [set(np.flatnonzero((before == k) & (after == event.identity)).tolist())
                     for k in (event.identity, event.other)]  # fmt: skip
            grew = True
            while grew:
                grew = False
                for a, b in joins:
                    if (a in sides[0]) != (b in sides[0]):
                        sides[0] |= {a, b}
                        grew = True
            assert not sides[0] & sides[1]
        else:
            assert event.event == "split"
            assert event.other in names_after or any(
                other.event == "merge" and other.other == event.other for other in events
            )
    np.testing.assert_array_equal(replayed, after)
