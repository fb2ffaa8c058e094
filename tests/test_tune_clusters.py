"""A species' threshold and clusters, by every way there is to them."""

from typing import Any

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from reid import cluster, neighbors
from reid.errors import InputError
from reid.tune import Clustering, Individuals, Threshold, can_tune, find_individuals


def population(
    individuals: int = 12, images: int = 6, spread: float = 0.25, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Unit rows around random directions, and who they are."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(individuals, 16))
    who = np.repeat(np.arange(individuals), images)
    rows = centres[who] + spread * random.normal(size=(len(who), 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), np.asarray([f"animal {k}" for k in who], dtype=object)


VECTORS, NAMES = population()
HALF = np.where(np.arange(len(NAMES)) % 2 == 0, NAMES, None)
NOBODY = np.full(len(NAMES), None, dtype=object)


def found_with(
    rows: np.ndarray, names: np.ndarray, *, collapsed: cluster.Collapsed | None = None,
    fallback: Threshold | None = None, **asked: Any,
) -> Individuals:  # fmt: skip
    return find_individuals(
        rows, names, Clustering(**asked), collapsed=collapsed, fallback=fallback
    )


def find_threshold(rows: np.ndarray, names: np.ndarray, **options: Any) -> Threshold:
    return found_with(rows, names, **options).threshold


def ari(labels: np.ndarray) -> float:
    return float(adjusted_rand_score(NAMES, cluster.noise_to_singletons(labels)))


@pytest.mark.parametrize("method", ["dbscan", "average", "complete", "auto"])
def test_labels_of_half_of_the_images_find_all_individuals(method: str) -> None:
    found = found_with(VECTORS, HALF, method=method)
    threshold = found.threshold
    assert threshold.source == "tuned"
    assert threshold.method in ("dbscan", "average", "complete")
    assert threshold.score == pytest.approx(1)
    assert len(threshold.thresholds) == len(threshold.scores) > 2
    assert ari(found.labels) == pytest.approx(1)


def test_the_threshold_is_fitted_among_all_rows() -> None:
    """Unlabelled rows halfway between two individuals chain them, and tuning must see that."""
    random = np.random.default_rng(1)
    vectors, names = population(individuals=8, images=4, spread=0.05, seed=2)
    halfway = vectors[:28] + vectors[4:]
    halfway /= np.linalg.norm(halfway, axis=1, keepdims=True)
    rows = np.concatenate([vectors, halfway.astype(np.float32)])
    labels = np.concatenate([names, np.full(28, None)])
    order = random.permutation(len(rows))
    alone = find_threshold(vectors, names).eps
    joint = found_with(rows[order], labels[order])
    among = joint.threshold
    assert alone is not None
    assert among.eps is not None
    assert among.eps < alone
    found = joint.labels
    known = np.flatnonzero(np.asarray([label is not None for label in labels[order]]))
    singles = cluster.noise_to_singletons(found)
    assert adjusted_rand_score(labels[order][known], singles[known]) > 0.99


def test_a_given_threshold_is_used_as_it_is() -> None:
    given = found_with(VECTORS, HALF, eps=0.123)
    threshold = given.threshold
    assert (threshold.eps, threshold.source) == (0.123, "given")
    expected = cluster.dbscan(neighbors.radius_graph(VECTORS, 0.123), 0.123, 2)
    np.testing.assert_array_equal(given.labels, expected)
    auto = found_with(VECTORS, HALF, eps=0.123, method="auto")
    assert auto.threshold.method == "dbscan"
    np.testing.assert_array_equal(auto.labels, expected)
    with pytest.raises(InputError, match=r"cluster\.eps=0\.1 is a distance on one scale"):
        found_with(VECTORS, HALF, eps=0.1, rerank="auto")


def test_without_labels_another_species_lends_or_the_data_tell() -> None:
    lender = Threshold(0.2, "tuned", "dbscan", "tuned elsewhere")
    assert find_threshold(VECTORS, NOBODY, fallback=lender) is lender
    assert find_threshold(VECTORS, HALF, fallback=lender).source == "tuned"
    unlabelled = found_with(VECTORS, NOBODY)
    guess = unlabelled.threshold
    assert guess.source == "estimated"
    assert guess.interval is not None
    assert guess.eps is not None
    assert guess.interval[0] <= guess.eps <= guess.interval[1]
    assert ari(unlabelled.labels) > 0.9


def test_few_labels_are_as_good_as_none() -> None:
    three = np.where(np.isin(NAMES, ["animal 0", "animal 1", "animal 2"]), NAMES, None)
    assert not can_tune(three)
    assert not can_tune(NOBODY)
    assert can_tune(HALF)
    assert find_threshold(VECTORS, three).source == "estimated"


@pytest.mark.parametrize("rerank", ["on", "auto"])
def test_reranking_is_tuned_on_its_own_scale(rerank: str) -> None:
    found = found_with(VECTORS, HALF, rerank=rerank)
    if rerank == "on":
        assert found.threshold.k1 is not None
    assert ari(found.labels) > 0.9


# SCAN is for many images of each individual: of six, its ten neighbours cannot all be right.
@pytest.mark.parametrize(("method", "least"), [("hdbscan", 0.8), ("kmeans", 0.8), ("scan", 0.5)])
def test_methods_without_a_threshold(method: str, least: float) -> None:
    found = found_with(VECTORS, HALF, method=method, n_clusters=12)
    assert found.threshold.eps is None
    assert ari(found.labels) > least


@pytest.mark.parametrize("method", ["kmeans", "scan"])
def test_some_methods_need_a_number(method: str) -> None:
    with pytest.raises(InputError, match=f"{method} needs"):
        found_with(VECTORS, HALF, method=method)


@pytest.mark.parametrize("min_samples", [1, 2, 3])
def test_collapsing_exact_duplicates_changes_nothing(min_samples: int) -> None:
    random = np.random.default_rng(3)
    copies = random.integers(0, len(VECTORS), 60)
    rows = np.concatenate([VECTORS, VECTORS[copies]])
    names = np.concatenate([HALF, HALF[copies]])
    hashes = [str(k) for k in [*range(len(VECTORS)), *copies]]
    collapsed = cluster.collapse(rows, hashes)
    assert len(collapsed.representatives) == len(VECTORS)
    expected = found_with(rows, names, min_samples=min_samples)
    found = found_with(rows, names, min_samples=min_samples, collapsed=collapsed)
    assert found.threshold.eps == pytest.approx(expected.threshold.eps)
    np.testing.assert_array_equal(found.labels, expected.labels)
    assert "60 duplicates collapsed" in found.notes[-1]


def test_what_near_duplicates_change_is_said() -> None:
    collapsed = cluster.collapse(VECTORS, None, 0.02)
    found = found_with(VECTORS, HALF, collapsed=collapsed)
    assert "against those without it" in found.notes[-1]


def test_guards_speak() -> None:
    assert "one cluster holds" in found_with(VECTORS, NOBODY, eps=1.9).warnings[0]
    assert "stand alone" in found_with(VECTORS, NOBODY, eps=1e-6).warnings[0]


def test_one_row_no_neighbour_and_rows_that_are_all_the_same() -> None:
    one = found_with(VECTORS[:1], NOBODY[:1])
    assert (one.labels.tolist(), one.nearest.tolist()) == ([-1], [-1])
    assert np.isnan(one.nearest_distance[0])
    same = np.repeat(VECTORS[:1], 5, axis=0)
    found = found_with(same, NOBODY[:5], eps=0.1)
    assert found.labels.tolist() == [0] * 5
    assert found.nearest_distance == pytest.approx(np.zeros(5), abs=1e-6)


def test_rows_that_are_not_unit_are_refused() -> None:
    with pytest.raises(InputError, match="unit"):
        found_with(2 * VECTORS, NOBODY, eps=0.1)


@pytest.mark.gpu
@pytest.mark.parametrize("min_samples", [1, 2, 5])
def test_cuml_gives_the_same_labels(min_samples: int) -> None:
    pytest.importorskip("cuml", reason="cuML is not installed")
    ours = found_with(VECTORS, NOBODY, eps=0.1, min_samples=min_samples)
    theirs = found_with(VECTORS, NOBODY, eps=0.1, min_samples=min_samples, on_cuml=True)
    np.testing.assert_array_equal(theirs.labels, ours.labels)


def test_collapsing_is_refused_where_images_are_not_counted() -> None:
    collapsed = cluster.collapse(VECTORS, None, 0.02)
    for method in ("hdbscan", "kmeans", "scan"):
        with pytest.raises(InputError, match="duplicates cannot be collapsed"):
            found_with(VECTORS, HALF, method=method, n_clusters=12, collapsed=collapsed)


def test_a_species_whose_images_are_all_far_apart_does_not_stop_the_others() -> None:
    found = found_with(np.eye(3, dtype=np.float32), NOBODY[:3], max_eps=0.3)
    assert (found.threshold.eps, found.threshold.source) == (0.3, "estimated")
    assert found.labels.tolist() == [-1] * 3


def test_auto_takes_dbscan_where_linkage_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = cluster.linkage_forest

    def small(graph: neighbors.Graph, *arguments: object, **options: object) -> cluster.Forest:
        if graph.n == len(VECTORS):
            raise InputError("average linkage: too many rows are connected")
        return whole(graph, *arguments, **options)

    monkeypatch.setattr("reid.tune.tuned_threshold.linkage_forest", small)
    vectors, names = population(spread=0.45, seed=1)
    half = np.where(np.arange(len(names)) % 2 == 0, names, None)
    threshold = find_threshold(vectors, half, method="auto")
    assert threshold.method == "dbscan"
    chosen = [row for row in threshold.tried if row["chosen"]]
    assert chosen[0]["method"] == "dbscan"


@pytest.mark.parametrize("method", ["dbscan", "average"])
def test_the_threshold_is_the_best_for_what_encounters_leave(method: str) -> None:
    """Half of each animal's images are one encounter, so that a low threshold is enough for the rest."""
    rows, names = population(spread=0.8, seed=3)
    encounters = np.where(np.arange(len(names)) % 6 < 3, np.arange(len(names)) // 6, -1)
    asked = Clustering(method=method)
    found = find_individuals(rows, names, asked, encounters=encounters)
    plain = find_individuals(rows, names, asked)

    def score(labels: np.ndarray) -> float:
        return float(adjusted_rand_score(names, cluster.noise_to_singletons(labels)))

    assert found.threshold.score == pytest.approx(score(found.labels))
    joined = cluster.join_encounters(plain.labels, encounters)
    assert score(found.labels) > score(joined) + 0.01
    assert found.before_encounters is not None
    assert found.before_encounters > len(np.unique(cluster.noise_to_singletons(found.labels)))


def test_an_encounter_with_two_known_animals_joins_nothing() -> None:
    encounters = np.full(len(NAMES), -1)
    encounters[[0, 6]] = 0
    found = find_individuals(VECTORS, NAMES, encounters=encounters)
    assert found.labels[0] != found.labels[6]
    unknown = find_individuals(VECTORS, NOBODY, encounters=encounters)
    assert unknown.labels[0] == unknown.labels[6]
