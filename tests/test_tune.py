import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, pair_confusion_matrix

from reid.cluster import dbscan, labels_at, linkage_forest, noise_to_singletons, spanning_forest
from reid.errors import InputError
from reid.neighbors import Graph
from reid.tune import Sweep, best, sweep, sweep_forest
from tests.clumps import clumps


def graph_of(distances, radius=2.0):
    low, high = np.nonzero(np.triu(distances <= np.float32(radius), 1))
    edges = np.stack([low, high], axis=1).astype(np.int32)
    return Graph(len(distances), edges, distances[low, high].astype(np.float32))


def distance_matrix(embeddings):
    distances = np.maximum(1 - embeddings @ embeddings.T, 0)
    return np.maximum(distances, distances.T)


def expected_scores(truth, labels):
    """ARI, AMI and pairwise F1 from scikit-learn; a perfect AMI, which it rounds, set to 1."""
    (_, fp), (fn, tp) = pair_confusion_matrix(truth, labels).tolist()
    ari, ami = adjusted_rand_score(truth, labels), adjusted_mutual_info_score(truth, labels)
    if fp == fn == 0:
        return 1.0, 1.0, 1.0
    return ari, ami, 2 * tp / (2 * tp + fp + fn)


def check_against_clustering_again(result, truth, labels_at_threshold, ends):
    labelled = truth >= 0
    for k, end in enumerate(ends):
        for eps in {max(result.thresholds[k], 1e-7), (result.thresholds[k] + end) / 2}:
            labels = labels_at_threshold(eps)
            assert result.n_noise[k] == (labels == -1).sum()
            assert result.n_clusters[k] == labels.max(initial=-1) + 1
            scores = result.ari[k], result.ami[k], result.pairwise_f1[k]
            wanted = expected_scores(truth[labelled], noise_to_singletons(labels)[labelled])
            assert scores == pytest.approx(wanted, abs=1e-9)


def _coarse(n, steps):
    distances = np.zeros((n, n), dtype=np.float32)
    distances[np.triu_indices(n, 1)] = np.array(steps, dtype=np.float32) / 20
    return distances + distances.T


# Distances in steps of 0.05, zero included, so that many rows change at the same threshold.
coarse_cases = st.integers(2, 14).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(0, 30), min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2).map(
            lambda steps: _coarse(n, steps)
        ),
        st.lists(st.integers(-1, 3), min_size=n, max_size=n).map(np.array),
    )
)


@settings(max_examples=200)
@given(coarse_cases, st.integers(1, 6))
def test_a_sweep_equals_clustering_again_at_each_threshold(case, min_samples):
    distances, truth = case
    if (truth < 0).all():
        truth[0] = 0
    graph = graph_of(distances)
    result = sweep(graph, truth, min_samples, ceiling=1.6)
    ends = np.append(result.thresholds[1:], 1.6)
    labels = lambda eps: dbscan(graph, eps, min_samples)  # noqa: E731
    check_against_clustering_again(result, truth, labels, ends)


@pytest.mark.parametrize("min_samples", [1, 2, 3, 5, 8])
@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_of_real_valued_distances(min_samples, seed):
    embeddings, truth = clumps(seed, spread=[0.1, 0.25, 0.4][seed])
    truth[np.random.default_rng(seed).random(len(truth)) < 0.3] = -1
    graph = graph_of(distance_matrix(embeddings), 0.6)
    result = sweep(graph, truth, min_samples, ceiling=0.6)
    ends = np.append(result.thresholds[1:], 0.6)
    labels = lambda eps: dbscan(graph, eps, min_samples)  # noqa: E731
    check_against_clustering_again(result, truth, labels, ends)


def test_a_sweep_of_average_linkage():
    embeddings, truth = clumps(1, spread=0.3)
    forest = linkage_forest(graph_of(distance_matrix(embeddings), 0.8), embeddings, 0.8)
    result = sweep_forest(forest, truth, 0.8)
    ends = np.append(result.thresholds[1:], 0.8)
    check_against_clustering_again(result, truth, lambda eps: labels_at(forest, eps), ends)


def test_large_clusters_keep_the_scores_exact():
    # One merge of 3,000 rows: the chance term of AMI skips overlaps of negligible weight.
    truth = np.repeat([0, 1, 2], [2000, 900, 100])
    n = len(truth)
    order = np.random.default_rng(0).permutation(n).astype(np.int32)
    chain = np.sort(np.stack([order[:-1], order[1:]], axis=1), axis=1)
    distances = np.linspace(0.1, 0.2, n - 1, dtype=np.float32)
    graph = Graph(n, chain, distances)
    result = sweep(graph, truth)
    for k in (1, 1500, 2700, 2998, len(result.thresholds) - 1):
        labels = noise_to_singletons(dbscan(graph, result.thresholds[k]))
        scores = result.ari[k], result.ami[k], result.pairwise_f1[k]
        assert scores == pytest.approx(expected_scores(truth, labels), abs=1e-9)


def test_labels_may_be_strings_objects_or_numbers():
    graph = graph_of(distance_matrix(clumps(0)[0]))
    truth = np.random.default_rng(0).integers(-1, 4, size=60)
    names = np.array([None if code < 0 else f"lynx-{code}" for code in truth], dtype=object)
    nans = np.array([np.nan if code < 0 else float(code) for code in truth])
    for labels in (names, nans, names.tolist()):
        np.testing.assert_array_equal(sweep(graph, labels).ari, sweep(graph, truth).ari)
    strings = np.array([f"lynx-{code}" for code in truth])
    np.testing.assert_array_equal(sweep(graph, strings).ari, sweep(graph, truth + 1).ari)


def test_labels_that_cannot_be_used_are_refused():
    graph = graph_of(distance_matrix(clumps(0, n=5)[0]))
    with pytest.raises(InputError, match="4 labels for 5 rows"):
        sweep(graph, np.zeros(4, dtype=int))
    with pytest.raises(InputError, match="no row has an identity"):
        sweep(graph, np.full(5, None))
    with pytest.raises(InputError, match="min_samples = 0"):
        sweep(graph, np.zeros(5, dtype=int), 0)


def test_one_row_has_one_obvious_score():
    result = sweep(Graph(1, np.empty((0, 2), np.int32), np.empty(0, np.float32)), np.array([0]))
    assert (result.ari[0], result.n_clusters[0], result.n_noise[0]) == (1, 0, 1)


def hand_made(ari, thresholds, ceiling):
    ari = np.array(ari)
    count = np.zeros(len(ari), dtype=np.int64)
    return Sweep(np.array(thresholds), ari, ari, ari, count, count, 4, ceiling)


def test_best_lies_in_the_middle_of_the_widest_best_range():
    found = best(hand_made([0, 0.8, 0.8, 0.1, 0.8, 0.2], [0, 0.1, 0.15, 0.3, 0.4, 0.5], 1.0))
    assert (found.low, found.high, found.score) == (0.1, 0.3, 0.8)
    assert found.eps == pytest.approx(0.2)
    assert found.at_edge is None


def test_best_says_when_the_optimum_is_at_an_edge():
    assert best(hand_made([0.9, 0.5, 0.1], [0, 0.1, 0.2], 0.5)).at_edge == "low"
    assert best(hand_made([0.1, 0.5, 0.9], [0, 0.1, 0.2], 0.5)).at_edge == "high"
    near_the_end = hand_made([0.1, 0.5, 0.9, 0.8], [0, 0.1, 0.494, 0.499], 0.5)
    assert best(near_the_end).at_edge == "high"


def test_best_keeps_to_its_own_side_of_the_next_merge():
    low = np.float32(0.25)
    high = np.nextafter(low, np.float32(1))
    found = best(hand_made([0.1, 0.9, 0.5], [0, float(low), float(high)], 0.5))
    assert low <= np.float32(found.eps) < high


def test_best_threshold_gives_the_best_score_when_clustering_with_it():
    embeddings, truth = clumps(2, n=80, spread=0.3)
    graph = graph_of(distance_matrix(embeddings))
    for min_samples in (1, 2, 4):
        forest = spanning_forest(graph, min_samples)
        found = best(sweep(graph, truth, min_samples, ceiling=2.0))
        labels = noise_to_singletons(labels_at(forest, found.eps))
        assert adjusted_rand_score(truth, labels) == pytest.approx(found.score)


def test_unknown_criterion_is_refused():
    with pytest.raises(InputError, match="known criteria are ari, ami, pairwise_f1"):
        best(hand_made([0.1], [0.0], 0.5), "nmi")
