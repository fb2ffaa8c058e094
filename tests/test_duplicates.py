import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from reid.cluster import (
    collapse,
    dbscan,
    expand,
    expand_forest,
    labels_at,
    noise_to_singletons,
    spanning_forest,
)
from reid.errors import InputError
from reid.neighbors import Graph, radius_graph
from reid.tune import sweep, sweep_forest


def graph_of(distances):
    low, high = np.triu_indices(len(distances), 1)
    edges = np.stack([low, high], axis=1).astype(np.int32)
    return Graph(len(distances), edges, distances[low, high].astype(np.float32))


def _case(n, steps, of):
    distances = np.zeros((n, n), dtype=np.float32)
    distances[np.triu_indices(n, 1)] = np.array(steps, dtype=np.float32) / 20
    distances += distances.T
    return distances[np.ix_(of, of)], [f"hash-{k}" for k in of]


# Up to eight different images at distances in steps of 0.05, and up to 20 files that hold them.
files = st.integers(1, 8).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 20), min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2),
        st.lists(st.integers(0, n - 1), min_size=1, max_size=20),
    ).map(lambda drawn: _case(n, *drawn))
)


@settings(max_examples=150)
@given(files, st.integers(1, 7))
def test_exact_duplicates_leave_every_label_as_it_is(case, min_samples):
    distances, hashes = case
    n = len(hashes)
    collapsed = collapse(np.eye(n, 32, dtype=np.float32), hashes)
    rows = collapsed.representatives
    assert len(rows) == len(set(hashes))
    graph = graph_of(distances[np.ix_(rows, rows)])
    forest = spanning_forest(graph, min_samples, weights=collapsed.weights)
    whole = expand_forest(forest, collapsed)
    for eps in np.arange(1, 22) / 20 - 0.025:
        expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(distances)
        labels = dbscan(graph, eps, min_samples, weights=collapsed.weights)
        np.testing.assert_array_equal(expand(labels, collapsed), expected.labels_)
        np.testing.assert_array_equal(labels_at(forest, eps), labels)
        np.testing.assert_array_equal(labels_at(whole, eps), expected.labels_)


@settings(max_examples=50)
@given(files, st.integers(1, 6), st.integers(0, 100))
def test_a_sweep_of_the_expanded_forest_scores_every_row(case, min_samples, seed):
    distances, hashes = case
    truth = np.random.default_rng(seed).integers(0, 3, size=len(hashes))
    collapsed = collapse(np.eye(len(hashes), 32, dtype=np.float32), hashes)
    rows = collapsed.representatives
    forest = spanning_forest(
        graph_of(distances[np.ix_(rows, rows)]), min_samples, weights=collapsed.weights
    )
    found = sweep_forest(expand_forest(forest, collapsed), truth, 2.0)
    expected = sweep(graph_of(distances), truth, min_samples, ceiling=2.0)
    np.testing.assert_array_equal(found.thresholds, expected.thresholds)
    np.testing.assert_array_equal(found.n_clusters, expected.n_clusters)
    np.testing.assert_array_equal(found.n_noise, expected.n_noise)
    np.testing.assert_allclose(found.ari, expected.ari, atol=1e-9)
    np.testing.assert_allclose(found.ami, expected.ami, atol=1e-9)


def test_collapse_by_hand():
    collapsed = collapse(np.eye(6, dtype=np.float32), ["b", "a", "b", None, "a", None])
    assert collapsed.representatives.tolist() == [0, 1, 3, 5]
    assert collapsed.group.tolist() == [0, 1, 0, 2, 1, 3]
    assert collapsed.weights.tolist() == [2, 2, 1, 1]
    assert expand(np.array([7, -1, 4, 4]), collapsed).tolist() == [7, -1, 7, 4, -1, 4]


def test_without_hashes_or_threshold_nothing_is_collapsed():
    collapsed = collapse(np.eye(3, dtype=np.float32))
    assert collapsed.representatives.tolist() == [0, 1, 2]
    empty = collapse(np.empty((0, 3), np.float32), [])
    assert len(empty.representatives) == len(empty.group) == len(empty.weights) == 0


def bursts(seed, individuals=15, encounters=3, frames=10, d=32):
    """Frames of a burst differ by next to nothing, bursts of an individual visibly."""
    rng = np.random.default_rng(seed)
    scene = np.repeat(rng.normal(size=(individuals, d)), encounters, axis=0)
    scene = scene + 0.5 * rng.normal(size=scene.shape)
    rows = np.repeat(scene, frames, axis=0) + 0.02 * rng.normal(
        size=(individuals * encounters * frames, d)
    )
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    identity = np.repeat(np.arange(individuals), encounters * frames)
    order = rng.permutation(len(rows))
    return rows[order].astype(np.float32), identity[order]


def test_a_burst_of_near_duplicates_costs_one_row():
    embeddings, identity = bursts(0)
    collapsed = collapse(embeddings, near_duplicate_threshold=0.01)
    assert len(collapsed.representatives) == 45
    assert collapsed.weights.sum() == 450
    reduced = radius_graph(embeddings[collapsed.representatives], 0.35)
    labels = expand(dbscan(reduced, 0.35, weights=collapsed.weights), collapsed)
    # The difference that near-duplicates make, on bursts: none to speak of.
    whole = dbscan(radius_graph(embeddings, 0.35), 0.35)
    agreed = adjusted_rand_score(noise_to_singletons(whole), noise_to_singletons(labels))
    assert agreed > 0.9
    assert adjusted_rand_score(identity, noise_to_singletons(labels)) > 0.8


def test_exact_and_near_duplicates_collapse_together():
    embeddings, _ = bursts(1)
    doubled = np.concatenate([embeddings, embeddings])
    hashes = [f"file-{k % len(embeddings)}" for k in range(len(doubled))]
    collapsed = collapse(doubled, hashes, near_duplicate_threshold=0.01)
    once = collapse(embeddings, near_duplicate_threshold=0.01)
    np.testing.assert_array_equal(collapsed.representatives, once.representatives)
    np.testing.assert_array_equal(collapsed.weights, 2 * once.weights)


def test_what_does_not_fit_is_refused():
    embeddings = np.eye(3, dtype=np.float32)
    with pytest.raises(InputError, match="2 content hashes for 3 rows"):
        collapse(embeddings, ["a", "b"])
    with pytest.raises(InputError, match="between 0 and 2"):
        collapse(embeddings, near_duplicate_threshold=0)
    with pytest.raises(InputError, match="2 labels for 3 representatives"):
        expand(np.zeros(2, dtype=int), collapse(embeddings))
