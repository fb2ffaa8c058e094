"""What a score of some individuals means among all images."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from reid.cluster import labels_at, noise_to_singletons, spanning_forest
from reid.neighbors import radius_graph
from reid.tune import find_individuals
from reid.tune.expected import expected_ari, expected_of_clusters, expected_of_forest


def test_where_all_rows_are_asked_it_is_the_ari() -> None:
    random = np.random.default_rng(0)
    identities, labels = random.integers(0, 9, 200), random.integers(-1, 12, 200)
    wanted = adjusted_rand_score(identities, noise_to_singletons(labels))
    assert expected_ari(labels, identities, np.arange(200)) == pytest.approx(wanted)


def test_by_hand() -> None:
    """Four rows of eight are asked, so each pair of two individuals counts twice."""
    identities = np.asarray([0, 0, 1, 1, -1, -1, -1, -1])
    labels = np.asarray([0, 0, 0, 1, -1, -1, -1, -1])
    # Joined rightly: (0, 1); wrongly: (0, 2), (1, 2), twice; missing: (2, 3); apart: (0, 3), (1, 3), twice.
    a, b, c, d = 1, 1, 2 * 2, 2 * 2
    wanted = 2 * (a * d - b * c) / ((a + b) * (b + d) + (a + c) * (c + d))
    assert expected_ari(labels, identities, np.arange(4)) == pytest.approx(wanted)


def test_no_pairs_are_no_errors() -> None:
    assert expected_ari(np.asarray([-1, -1]), np.asarray([0, 1]), np.arange(2)) == 1


def population(individuals: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    who = np.repeat(np.arange(individuals), 6)
    rows = random.normal(size=(individuals, 8))[who] + 0.5 * random.normal(size=(len(who), 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), who


def test_some_individuals_say_what_all_get() -> None:
    """Of 120 animals 40 are labelled: their own score flatters, what is expected does not."""
    rows, who = population(120)
    names = np.where(who < 40, who, -1)
    found = find_individuals(rows, np.where(names >= 0, names.astype(object), None))
    reached = adjusted_rand_score(who, noise_to_singletons(found.labels))
    assert found.threshold.expected is not None
    assert found.threshold.held_out is not None
    assert found.threshold.held_out[0] > reached + 0.1
    assert found.threshold.expected[0] == pytest.approx(reached, abs=0.1)


def test_it_is_the_same_twice() -> None:
    rows, who = population(12)
    forest = spanning_forest(radius_graph(rows, 0.8))
    first, second = (expected_of_forest(forest, who, 0.8, "ari") for _ in range(2))
    assert first == second


def test_clusters_that_no_label_has_shaped_are_scored_by_halves_of_the_labelled() -> None:
    """Of 120 animals 40 are labelled; the clusters are those of a threshold that nobody tuned."""
    rows, who = population(120)
    labels = labels_at(spanning_forest(radius_graph(rows, 0.1)), 0.08)
    reached = adjusted_rand_score(who, noise_to_singletons(labels))
    assert 0.1 < reached < 0.9
    found = expected_of_clusters(labels, np.where(who < 40, who, -1))
    assert found is not None
    assert found[0] == pytest.approx(reached, abs=0.1)
    assert 0 < found[1] < 0.15
    assert expected_of_clusters(labels, np.where(who < 3, who, -1)) is None, "too few for halves"
