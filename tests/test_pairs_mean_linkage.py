import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.errors import InputError
from reid.pairs import mean_linkage


def oracle(n, likeness, cut):
    """The two groups with the highest mean are joined, as long as it is not below the cut."""
    groups = [[row] for row in range(n)]
    while len(groups) > 1:
        means = {
            (a, b): likeness[np.ix_(groups[a], groups[b])].mean()
            for a in range(len(groups))
            for b in range(a + 1, len(groups))
        }
        a, b = max(means, key=lambda pair: means[pair])
        if means[a, b] < cut or means[a, b] == 0:
            break
        groups[a] += groups.pop(b)
    return {frozenset(group) for group in groups}


def as_sets(labels):
    return {frozenset(np.flatnonzero(labels == label).tolist()) for label in np.unique(labels)}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_groups_at_any_cut_are_those_of_plain_average_linkage(data):
    n = data.draw(st.integers(2, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    every = np.stack(np.triu_indices(n, 1), axis=1)
    pairs = every[rng.random(len(every)) < data.draw(st.sampled_from([0.3, 0.7, 1.0]))]
    odds = rng.normal(0, 2, len(pairs))
    likeness = np.zeros((n, n))
    likeness[pairs[:, 0], pairs[:, 1]] = likeness[pairs[:, 1], pairs[:, 0]] = 1 / (
        1 + np.exp(-odds)
    )
    merges = mean_linkage(n, pairs, odds)
    assert (np.diff(merges.likelihood) <= 1e-12).all()
    for cut in (0.9, 0.5, 0.2, 0.0):
        assert as_sets(merges.groups(cut)) == oracle(n, likeness, cut)
    # Rows in another order: the same groups of the same names.
    order = rng.permutation(n)
    names = np.array([f"id-{row}" for row in range(n)])
    mixed = mean_linkage(n, np.argsort(order)[pairs[::-1]], odds[::-1], names=names[order])
    for cut in (0.5, 0.2):
        found = mixed.groups(cut)
        again = {frozenset(order[list(group)].tolist()) for group in as_sets(found)}
        assert again == as_sets(merges.groups(cut))


def test_an_encounter_is_as_like_another_as_its_likeliest_pair():
    # Two encounters of two flanks each: right flanks agree, left ones were not compared.
    merges = mean_linkage(4, [[1, 3], [0, 2]], [2.0, -2.0], together=[[0, 1], [2, 3]])
    assert merges.likelihood.tolist() == pytest.approx([1, 1, 1 / (1 + np.exp(-2))])
    assert merges.groups(0.5).tolist() == [0, 0, 0, 0]
    assert merges.groups(0.95).tolist() == [0, 0, 1, 1]


def test_one_sure_pair_does_not_join_two_groups():
    chain = [[0, 1], [2, 3], [1, 2]]
    merges = mean_linkage(4, chain, [3.0, 3.0, 2.0])
    assert merges.groups(0.5).tolist() == [0, 0, 1, 1]
    assert merges.likelihood[-1] == pytest.approx(0.25 / (1 + np.exp(-2)))


def test_bad_evidence_is_refused():
    with pytest.raises(InputError, match="rows from 0 to 3"):
        mean_linkage(3, [[0, 3]], [1.0])
    with pytest.raises(InputError, match="not finite"):
        mean_linkage(3, [[0, 1]], [np.nan])
