from dataclasses import replace

import numpy as np
import pytest

from reid.tune import find_individuals, individuals_by_pairs


@pytest.fixture(scope="module")
def herd():
    """Twelve individuals whose vectors say little and whose pairs say all, but for a few."""
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(12), 5)
    vectors = rng.normal(size=(12, 8))[who] + 1.2 * rng.normal(size=(60, 8))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    every = np.stack(np.triu_indices(60, 1), axis=1)
    pairs = every[rng.random(len(every)) < 0.4]
    same = who[pairs[:, 0]] == who[pairs[:, 1]]
    odds = np.where(same, 2.0, -2.0) + 0.8 * rng.normal(size=len(pairs))
    names = [f"id-{i:02d}" for i in range(60)]
    identities = np.array([f"i{code}" for code in who], dtype=object)
    return find_individuals(vectors, identities), pairs, odds, identities, names


def test_pairs_that_do_better_on_individuals_held_out_are_kept(herd):
    distances, pairs, odds, identities, names = herd
    found = individuals_by_pairs(distances, pairs, odds, identities, names=names, mode="auto")
    assert found.threshold.method in ("mutex", "mean-linkage", "components")
    assert found.by_pairs
    assert not distances.by_pairs
    assert found.threshold.held_out[0] > distances.threshold.held_out[0]
    assert "over the probabilities of" in found.notes[0]
    assert np.array_equal(found.nearest, distances.nearest)


@pytest.mark.parametrize("reason", ["worse", "not learned", "no labels"])
def test_pairs_that_do_no_better_leave_what_distances_gave(herd, reason):
    distances, pairs, odds, identities, names = herd
    if reason == "worse":
        odds = -odds
    if reason == "no labels":
        identities = np.full(len(identities), None, dtype=object)
    found = individuals_by_pairs(
        distances,
        pairs,
        odds,
        identities,
        names=names,
        mode="auto",
        learned=reason != "not learned",
    )
    assert np.array_equal(found.labels, distances.labels)
    assert found.threshold == distances.threshold
    assert "pairs are left aside" in found.notes[-1]


def test_an_encounter_is_one_animal_where_that_is_asked_for(herd):
    distances, pairs, odds, identities, names = herd
    apart = np.full(len(odds), -3.0)
    identities = np.full(len(identities), None, dtype=object)
    plain = individuals_by_pairs(distances, pairs, apart, identities, names=names)
    assert len(np.unique(plain.labels)) == 60
    together = np.array([[0, 7], [7, 30]])
    found = individuals_by_pairs(
        replace(distances), pairs, apart, identities, names=names, together=together
    )
    assert found.labels[0] == found.labels[7] == found.labels[30]
    assert len(np.unique(found.labels)) == 58


def test_of_three_ways_the_one_that_labels_favour_is_taken(herd):
    distances, _, _, identities, names = herd
    who = np.repeat(np.arange(12), 5)
    every = np.stack(np.triu_indices(60, 1), axis=1)
    same = who[every[:, 0]] == who[every[:, 1]]
    # Individuals hold together, but each of the first eight is joined to the next by two pairs, and
    # no other pair of two animals was looked at.
    looked = same.copy()
    for animal in range(8):
        for step in (0, 1):
            looked |= (every == (5 * animal + step, 5 * animal + 5 + step)).all(axis=1)
    every, odds = every[looked], np.where(same, 2.0, 1.5)[looked]
    found = individuals_by_pairs(distances, every, odds, identities, names=names)
    assert found.threshold.method == "mean-linkage"
    assert np.array_equal(found.labels, who)
    hidden = np.full(len(identities), None, dtype=object)
    plain = individuals_by_pairs(distances, every, odds, hidden, names=names)
    assert plain.threshold.method == "mean-linkage"
    assert plain.threshold.held_out is None
    assert np.array_equal(plain.labels, who)
