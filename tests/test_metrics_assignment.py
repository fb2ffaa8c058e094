import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import recall_score

from reid.errors import InputError
from reid.metrics import assignment, open_set
from reid.metrics.assignment import Answers, best_threshold, nearest_answers


def animals(seed, individuals, images, spread, d=16):
    """Rows around a direction of each individual; the smaller the spread, the easier."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(individuals), images)
    rows = rng.normal(size=(individuals, d))[identity] + spread * rng.normal(
        size=(len(identity), d)
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), identity


def test_assignment_by_hand():
    truth = np.array(["a", "a", "a", "b", "x", "x", "y"], dtype=object)
    known = np.array([True, True, True, True, False, False, False])
    predicted = np.array(["a", "a", None, "a", None, "b", None], dtype=object)
    found = assignment(predicted, truth, known)
    assert found.baks == pytest.approx((2 / 3 + 0) / 2)
    assert found.baus == pytest.approx((1 / 2 + 1) / 2)
    assert found.score == pytest.approx(np.sqrt(1 / 3 * 3 / 4))


def test_a_side_that_nobody_is_on_is_not_scored():
    truth = np.array([0, 1])
    assert assignment(truth, truth, np.array([True, True])).baks == 1
    assert np.isnan(assignment(truth, truth, np.array([True, True])).score)
    assert np.isnan(assignment(truth, truth, np.array([False, False])).baks)


@settings(max_examples=50)
@given(st.integers(0, 10**6), st.integers(2, 60))
def test_both_sides_are_macro_recalls_of_scikit_learn(seed, n):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 10, n)
    known = truth < 6
    predicted = np.where(rng.random(n) < 0.5, truth, rng.integers(-1, 6, n))
    found = assignment(predicted, truth, known)
    if known.any():
        names = np.unique(truth[known])
        expected = recall_score(
            truth[known], predicted[known], labels=names, average="macro", zero_division=0
        )
        assert found.baks == pytest.approx(expected)
    if (~known).any():
        each = [np.mean(predicted[truth == name] == -1) for name in np.unique(truth[~known])]
        assert found.baus == pytest.approx(np.mean(each))


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_nearest_row_of_the_gallery_block_by_block(seed):
    embeddings, _ = animals(seed, 6, 5, 1.0)
    rows, gallery = np.arange(0, 30, 3), np.setdiff1d(np.arange(30), np.arange(0, 30, 3))
    found = nearest_answers(embeddings, rows, gallery, np.ones(10, dtype=bool), memory_bytes=200)
    distance = 1 - embeddings[rows] @ embeddings[gallery].T
    np.testing.assert_array_equal(found.nearest, gallery[distance.argmin(axis=1)])
    np.testing.assert_allclose(found.distances, distance.min(axis=1), atol=1e-6)


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 3))
def test_threshold_is_as_good_as_the_best_of_all(seed, trials):
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(8), 5)  # 0 to 4 are known
    draws = []
    for _ in range(trials):
        rows = np.concatenate([rng.choice(25, 8, replace=False), rng.integers(25, 40, 6)])
        distances = rng.integers(1, 12, len(rows)).astype(np.float32) / 10  # with equal ones
        draws.append(Answers(rows, rng.integers(0, 25, len(rows)), distances, identity[rows] < 5))

    def score(threshold):
        sides = []
        for one in draws:
            predicted = np.where(one.distances <= threshold, identity[one.nearest], -1)
            found = assignment(predicted, identity[one.rows], one.known)
            sides.append((found.baks, found.baus))
        baks, baus = np.mean(sides, axis=0)
        return baks * baus

    best = max(score(t) for t in np.arange(0.05, 1.3, 0.05))
    assert score(best_threshold(draws, identity)) == pytest.approx(best)


def test_animals_that_are_easy_to_tell_apart_are_known_or_new():
    embeddings, identity = animals(0, 20, 6, 0.02)
    found = open_set(embeddings, identity).shares.summarise()
    assert (found.baks, found.baus) == (1, 1)


def test_chance_scores_little():
    embeddings, identity = animals(1, 20, 6, 50.0)
    found = open_set(embeddings, identity).shares.summarise()
    assert found.baks < 0.2
    assert found.score < 0.4


def test_the_queries_have_no_say_in_the_threshold():
    embeddings, identity = animals(2, 20, 6, 0.4)
    before = open_set(embeddings, identity, draws=1)
    # The individuals of this draw that are new, moved elsewhere: the gallery is what it was.
    new = np.isin(identity, before.shares.individuals[~before.shares.known])
    moved = embeddings.copy()
    moved[new] = -moved[new]
    after = open_set(moved, identity, draws=1)
    np.testing.assert_array_equal(before.thresholds, after.thresholds)
    assert new.sum() == before.new_queries == after.new_queries


def test_unlabelled_rows_change_nothing_and_seeds_do():
    embeddings, identity = animals(3, 15, 6, 0.5)
    noise, _ = animals(4, 10, 3, 0.5)
    plain = open_set(embeddings, identity)
    more = open_set(
        np.concatenate([embeddings, noise]), np.concatenate([identity, np.full(30, -1)])
    )
    np.testing.assert_array_equal(plain.shares.right, more.shares.right)
    other = open_set(embeddings, identity, seed=1)
    assert plain.shares.individuals.tolist() != other.shares.individuals.tolist()


def test_answers_that_do_not_fit_are_refused():
    truth, known = np.array(["a", "b"]), np.array([True, False])
    with pytest.raises(InputError, match="predicted identities: 1 values for 2 rows"):
        assignment(truth[:1], truth, known)
    with pytest.raises(InputError, match="known: 1 values for 2 rows"):
        assignment(truth, truth, known[:1])
    with pytest.raises(InputError, match="1 rows have no true identity"):
        assignment(truth, np.array(["a", None], dtype=object), known)
    with pytest.raises(InputError, match="1 individuals are both known and unknown"):
        assignment(truth, np.array(["a", "a"]), known)
    embeddings, identity = animals(0, 3, 4, 0.1)
    with pytest.raises(InputError, match="3 labelled individuals, and this split needs 4"):
        open_set(embeddings, identity)
