import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.errors import InputError
from reid.pairs import mutex_watershed


def partitions(n):
    """All ways to group n rows, as labels."""
    if n == 0:
        yield ()
        return
    for rest in partitions(n - 1):
        for label in range(max(rest, default=-1) + 2):
            yield (*rest, label)


def brute_force(n, pairs, weights, together, apart):
    """The grouping whose broken pairs, surest first, come first in a dictionary; then the finest."""
    order = sorted(
        (i for i in range(len(pairs)) if weights[i]),
        key=lambda i: (-abs(weights[i]), min(pairs[i]), max(pairs[i])),
    )
    best = None
    for labels in partitions(n):
        if any(labels[a] != labels[b] for a, b in together):
            continue
        if any(labels[a] == labels[b] for a, b in apart):
            continue
        broken = tuple(
            (labels[pairs[i][0]] == labels[pairs[i][1]]) != (weights[i] > 0) for i in order
        )
        key = (broken, -len(set(labels)))
        if best is None or key < best[0]:
            best = (key, labels)
    return None if best is None else list(best[1])


def first_seen(labels):
    number = {}
    return [number.setdefault(label, len(number)) for label in labels]


@settings(max_examples=150)
@given(st.data())
def test_the_decision_is_that_of_brute_force_on_up_to_eight_rows(data):
    n = data.draw(st.integers(1, 8))
    every = list(itertools.combinations(range(n), 2))
    pairs = data.draw(st.lists(st.sampled_from(every), unique=True)) if every else []
    weights = data.draw(
        st.lists(st.integers(-5, 5).map(float), min_size=len(pairs), max_size=len(pairs))
    )
    said = data.draw(st.lists(st.sampled_from(every), unique=True, max_size=3)) if every else []
    cut = data.draw(st.integers(0, len(said)))
    together, apart = said[:cut], said[cut:]
    expected = brute_force(n, pairs, weights, together, apart)
    arguments = (n, np.array(pairs, int).reshape(-1, 2), np.array(weights))
    people = {
        "together": np.array(together, int).reshape(-1, 2),
        "apart": np.array(apart, int).reshape(-1, 2),
    }
    if expected is None:
        with pytest.raises(InputError, match="said to be one animal"):
            mutex_watershed(*arguments, **people)
        return
    found = mutex_watershed(*arguments, **people)
    assert found.labels.tolist() == first_seen(expected)
    broken = [
        i
        for i, (a, b) in enumerate(pairs)
        if weights[i] and (expected[a] == expected[b]) != (weights[i] > 0)
    ]
    assert found.contradicted.tolist() == broken


@given(st.integers(0, 10_000))
def test_the_order_of_rows_and_pairs_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    n = 12
    every = np.array(list(itertools.combinations(range(n), 2)))
    pairs = every[rng.random(len(every)) < 0.5]
    weights = rng.integers(-3, 4, len(pairs)).astype(float)
    names = np.array([f"id-{i}" for i in rng.permutation(n)])
    for lone in (None, 2.5):
        plain = mutex_watershed(n, pairs, weights, names=names, lone_log_odds=lone)
        rows, order = rng.permutation(n), rng.permutation(len(pairs))  # new number of each row
        other = mutex_watershed(
            n,
            rows[pairs][order][:, ::-1],
            weights[order],
            names=names[np.argsort(rows)],
            lone_log_odds=lone,
        )
        assert first_seen(other.labels[rows]) == plain.labels.tolist()
        assert len(other.doubtful) == len(plain.doubtful)


def test_a_sure_no_keeps_groups_apart_that_weaker_pairs_would_join():
    pairs = np.array([[0, 1], [2, 3], [1, 2], [0, 3]])
    found = mutex_watershed(4, pairs, np.array([3.0, 3.0, 1.0, -2.0]))
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.contradicted.tolist() == [2]


def test_people_outweigh_any_machine():
    pairs = np.array([[0, 1], [1, 2]])
    found = mutex_watershed(
        3, pairs, np.array([50.0, -50.0]), together=np.array([[1, 2]]), apart=np.array([[0, 1]])
    )
    assert found.labels.tolist() == [0, 1, 1]


def test_a_join_of_two_groups_that_hangs_on_one_unsure_pair_is_left_to_people():
    pairs = np.array([[0, 1], [2, 3], [1, 2]])
    odds = np.array([6.0, 6.0, 2.0])
    assert mutex_watershed(4, pairs, odds).labels.tolist() == [0, 0, 0, 0]
    found = mutex_watershed(4, pairs, odds, lone_log_odds=3.9)
    assert found.labels.tolist() == [0, 0, 1, 1]
    assert found.doubtful == [(1, 2)]
    # A second pair, a sure one, or a single row make it a join.
    more = np.concatenate([pairs, [[0, 3]]])
    assert mutex_watershed(4, more, np.append(odds, 1.0), lone_log_odds=3.9).labels.max() == 0
    sure = np.array([6.0, 6.0, 4.0])
    assert mutex_watershed(4, pairs, sure, lone_log_odds=3.9).labels.max() == 0
    assert mutex_watershed(4, pairs[[0, 2]], odds[[0, 2]], lone_log_odds=3.9).labels.tolist() == [
        0,
        0,
        0,
        1,
    ]


@pytest.mark.parametrize(
    ("pairs", "weights"), [([[0, 5]], [1.0]), ([[0, 1]], [np.nan]), ([[-1, 1]], [1.0])]
)
def test_rows_and_evidence_out_of_range_are_refused(pairs, weights):
    with pytest.raises(InputError, match="pairs:"):
        mutex_watershed(3, np.array(pairs), np.array(weights))


def test_no_rows_and_no_pairs():
    none = np.zeros((0, 2), int)
    assert mutex_watershed(0, none, np.zeros(0)).labels.tolist() == []
    assert mutex_watershed(2, none, np.zeros(0), lone_log_odds=1.0).labels.tolist() == [0, 1]
