import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN, AgglomerativeClustering
from sklearn.metrics import adjusted_rand_score

from reid.cluster import (
    check_eps,
    dbscan,
    hdbscan,
    kmeans,
    labels_at,
    linkage_forest,
    linkage_labels,
    minimum_forest,
    noise_to_singletons,
    spanning_forest,
)
from reid.errors import InputError
from reid.neighbors import Graph
from tests.clumps import clumps


def distance_matrix(embeddings):
    """(n, n) float32 with an exact zero diagonal."""
    distances = np.maximum(1 - embeddings @ embeddings.T, 0)
    distances = np.maximum(distances, distances.T)
    np.fill_diagonal(distances, 0)
    return distances


def graph_of(distances, radius=2.0):
    low, high = np.nonzero(np.triu(distances <= np.float32(radius), 1))
    edges = np.stack([low, high], axis=1).astype(np.int32)
    return Graph(len(distances), edges, distances[low, high].astype(np.float32))


def graph_from_pairs(n, pairs):
    """Graph of n rows from {(i, j): distance}."""
    edges = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2)
    return Graph(n, edges, np.array([pairs[i, j] for i, j in edges.tolist()], dtype=np.float32))


def same_partition(a, b):
    return adjusted_rand_score(a, b) == 1.0


@pytest.mark.parametrize("min_samples", [1, 2, 3, 5, 9])
@pytest.mark.parametrize("seed", range(5))
def test_dbscan_gives_the_labels_of_scikit_learn(min_samples, seed):
    embeddings, _ = clumps(seed, spread=[0.1, 0.25, 0.3, 0.4, 0.6][seed])
    distances = distance_matrix(embeddings)
    graph = graph_of(distances)
    for eps in (0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.5, 0.8):
        expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(distances)
        labels = dbscan(graph, eps, min_samples)
        assert labels.dtype == np.int64
        np.testing.assert_array_equal(labels, expected.labels_)


def test_the_test_above_meets_borders_and_noise():
    graph = graph_of(distance_matrix(clumps(3, spread=0.4)[0]))
    forest = spanning_forest(graph, 5)
    assert len(forest.borders) > 20
    assert (dbscan(graph, 0.15, 5) == -1).any()


def test_dbscan_by_hand():
    # Two triangles, {3, 4, 5} and {0, 1, 6}, and row 2 beside row 3 and row 6. With four rows for
    # a core point only 3 and 6 are core; row 2 is in reach of both and takes the smaller.
    pairs = {(3, 4): 0.1, (3, 5): 0.1, (4, 5): 0.1, (0, 1): 0.1, (0, 6): 0.1, (1, 6): 0.1}
    graph = graph_from_pairs(8, pairs | {(2, 3): 0.2, (2, 6): 0.2})
    np.testing.assert_array_equal(dbscan(graph, 0.2, 4), [1, 1, 0, 0, 0, 0, 1, -1])
    np.testing.assert_array_equal(dbscan(graph, 0.1, 3), [0, 0, -1, 1, 1, 1, 0, -1])
    np.testing.assert_array_equal(dbscan(graph, 0.2, 2), [0, 0, 0, 0, 0, 0, 0, -1])


def test_eps_is_inclusive_in_the_precision_of_the_graph():
    graph = graph_from_pairs(2, {(0, 1): 0.3})
    np.testing.assert_array_equal(dbscan(graph, 0.3), [0, 0])
    np.testing.assert_array_equal(dbscan(graph, 0.29999), [-1, -1])


@pytest.mark.parametrize("n", [0, 1, 5])
def test_a_graph_without_edges_is_all_noise(n):
    graph = graph_from_pairs(n, {})
    np.testing.assert_array_equal(dbscan(graph, 0.3), np.full(n, -1))
    np.testing.assert_array_equal(dbscan(graph, 0.3, min_samples=1), np.arange(n))
    np.testing.assert_array_equal(labels_at(spanning_forest(graph), 0.3), np.full(n, -1))
    np.testing.assert_array_equal(labels_at(spanning_forest(graph, 4), 0.3), np.full(n, -1))
    rows = np.eye(max(n, 1), 8, dtype=np.float32)[:n]
    np.testing.assert_array_equal(linkage_labels(graph, rows, 0.3), np.arange(n))


@pytest.mark.parametrize("min_samples", [1, 2, 3, 12])
def test_identical_rows_are_one_cluster(min_samples):
    distances = np.zeros((12, 12), dtype=np.float32)
    graph = graph_of(distances)
    np.testing.assert_array_equal(dbscan(graph, 1e-6, min_samples), np.zeros(12))
    np.testing.assert_array_equal(
        labels_at(spanning_forest(graph, min_samples), 1e-6), np.zeros(12)
    )
    np.testing.assert_array_equal(dbscan(graph, 1e-6, 13), np.full(12, -1))
    np.testing.assert_array_equal(labels_at(spanning_forest(graph, 13), 1e-6), np.full(12, -1))


@pytest.mark.parametrize("method", ["average", "complete"])
def test_identical_rows_are_one_cluster_of_linkage_and_kmeans(method):
    rows = np.repeat(clumps(0)[0][:1], 12, axis=0)
    graph = graph_of(np.zeros((12, 12), dtype=np.float32))
    np.testing.assert_array_equal(linkage_labels(graph, rows, 1e-4, method), np.zeros(12))
    assert len(set(kmeans(rows, 1, seed=0).tolist())) == 1


@pytest.mark.parametrize("eps", [0, -0.1, 2, 3.5, float("nan")])
def test_eps_out_of_range_is_refused(eps):
    graph = graph_from_pairs(2, {(0, 1): 0.3})
    with pytest.raises(InputError, match="between 0 and 2"):
        dbscan(graph, eps)
    with pytest.raises(InputError, match="between 0 and 2"):
        labels_at(spanning_forest(graph), eps)
    with pytest.raises(InputError, match="between 0 and 2"):
        linkage_labels(graph, np.eye(2, dtype=np.float32), eps)


def test_eps_past_the_radius_is_refused():
    check_eps(0.3, radius=0.3)
    with pytest.raises(InputError, match=r"0\.4 lies past the graph's radius 0\.3"):
        check_eps(0.4, radius=0.3)


@pytest.mark.parametrize("min_samples", [0, -2])
def test_min_samples_below_one_is_refused(min_samples):
    graph = graph_from_pairs(2, {(0, 1): 0.3})
    with pytest.raises(InputError, match="at least 1"):
        dbscan(graph, 0.3, min_samples)
    with pytest.raises(InputError, match="at least 1"):
        spanning_forest(graph, min_samples)


def test_noise_to_singletons():
    labels = np.array([-1, 1, 0, -1, 1])
    np.testing.assert_array_equal(noise_to_singletons(labels), [2, 1, 0, 3, 1])
    np.testing.assert_array_equal(labels, [-1, 1, 0, -1, 1])  # the argument stays as it was
    np.testing.assert_array_equal(noise_to_singletons(np.full(3, -1)), [0, 1, 2])
    assert noise_to_singletons(np.empty(0, dtype=np.int64)).shape == (0,)


# Distances in steps of 0.05, zero included, make ties and identical images common.
coarse_graphs = st.integers(1, 14).flatmap(
    lambda n: st.lists(
        st.integers(0, 30), min_size=n * (n - 1) // 2, max_size=n * (n - 1) // 2
    ).map(lambda steps: _coarse(n, steps))
)


def _coarse(n, steps):
    distances = np.zeros((n, n), dtype=np.float32)
    distances[np.triu_indices(n, 1)] = np.array(steps, dtype=np.float32) / 20
    return distances + distances.T


@settings(max_examples=150)
@given(coarse_graphs, st.integers(1, 6))
def test_a_forest_holds_the_labels_at_every_threshold(distances, min_samples):
    graph = graph_of(distances)
    forest = spanning_forest(graph, min_samples)
    assert len(forest.merges) < graph.n
    for eps in np.arange(1, 32) / 20 - 0.025:
        expected = DBSCAN(eps=eps, min_samples=min_samples, metric="precomputed").fit(distances)
        np.testing.assert_array_equal(dbscan(graph, eps, min_samples), expected.labels_)
        np.testing.assert_array_equal(labels_at(forest, eps), expected.labels_)


@settings(max_examples=50)
@given(coarse_graphs, st.integers(1, 5), st.randoms(use_true_random=False))
def test_row_order_changes_nothing_but_label_names(distances, min_samples, random):
    order = list(range(len(distances)))
    random.shuffle(order)
    labels = dbscan(graph_of(distances), 0.6, min_samples)
    shuffled = dbscan(graph_of(distances[np.ix_(order, order)]), 0.6, min_samples)
    np.testing.assert_array_equal(shuffled == -1, labels[order] == -1)
    if min_samples <= 2:  # a border point between two clusters may take the other one
        assert same_partition(noise_to_singletons(labels)[order], noise_to_singletons(shuffled))


@settings(max_examples=50)
@given(coarse_graphs)
def test_forests_of_parts_join_to_the_forest_of_the_whole(distances):
    graph = graph_of(distances)
    half = len(graph.edges) // 2
    part, part_weights = minimum_forest(graph.n, graph.edges[:half], graph.distances[:half])
    joined = minimum_forest(
        graph.n,
        np.concatenate([part, graph.edges[half:]]),
        np.concatenate([part_weights, graph.distances[half:]]),
    )
    whole = minimum_forest(graph.n, graph.edges, graph.distances)
    np.testing.assert_array_equal(joined[1], whole[1])


@pytest.mark.parametrize("method", ["average", "complete"])
@pytest.mark.parametrize("seed", range(4))
def test_linkage_equals_scikit_learn(method, seed):
    embeddings, _ = clumps(seed, spread=[0.1, 0.25, 0.4, 0.6][seed])
    distances = distance_matrix(embeddings)
    forest = linkage_forest(graph_of(distances, 0.9), embeddings, 0.9, method)
    for threshold in (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8):
        model = AgglomerativeClustering(
            None, metric="precomputed", linkage=method, distance_threshold=threshold
        )
        expected = model.fit(distances.astype(np.float64)).labels_
        graph = graph_of(distances, threshold)
        labels = linkage_labels(graph, embeddings, threshold, method)
        assert same_partition(labels, expected)
        assert same_partition(labels_at(forest, threshold), expected)
        first_seen = labels[np.sort(np.unique(labels, return_index=True)[1])]
        np.testing.assert_array_equal(first_seen, np.arange(labels.max() + 1))


def test_linkage_by_hand():
    # On a circle: 0 and 1 are 10 degrees apart, 2 is 20 degrees further on.
    angles = np.radians([0, 10, 30, 90])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    graph = graph_of(distance_matrix(embeddings), 0.5)
    average = ((1 - np.cos(np.radians(30))) + (1 - np.cos(np.radians(20)))) / 2
    assert linkage_labels(graph, embeddings, average - 0.001).tolist() == [0, 0, 1, 2]
    assert linkage_labels(graph, embeddings, average + 0.001).tolist() == [0, 0, 0, 1]
    complete = 1 - np.cos(np.radians(30))
    assert linkage_labels(graph, embeddings, complete - 0.001, "complete").tolist() == [0, 0, 1, 2]
    assert linkage_labels(graph, embeddings, complete + 0.001, "complete").tolist() == [0, 0, 0, 1]


def test_a_component_too_large_names_its_size_the_limit_and_the_ways_out():
    embeddings, _ = clumps(0)
    graph = graph_of(distance_matrix(embeddings))
    with pytest.raises(
        InputError, match=r"60 rows .* limit is 59 .*Lower .*cluster\.method=dbscan"
    ):
        linkage_labels(graph, embeddings, 1.9, max_component=59)


def test_rows_that_do_not_fit_are_refused():
    graph = graph_from_pairs(2, {(0, 1): 0.3})
    with pytest.raises(InputError, match="3 embeddings for a graph of 2 rows"):
        linkage_labels(graph, np.eye(3, dtype=np.float32), 0.5)
    for rows in (np.full((2, 3), np.nan, np.float32), np.zeros((2, 3), np.float32)):
        with pytest.raises(InputError, match="2 of 2 rows"):
            linkage_labels(graph, rows, 0.5)
        with pytest.raises(InputError, match="2 of 2 rows"):
            kmeans(rows, 1, seed=0)
        with pytest.raises(InputError, match="2 of 2 rows"):
            hdbscan(rows)


def test_unknown_linkage_is_refused():
    with pytest.raises(InputError, match="known methods are average, complete"):
        linkage_labels(graph_from_pairs(1, {}), np.eye(1, 4, dtype=np.float32), 0.2, "ward")


def test_kmeans_finds_separate_individuals():
    embeddings, identity = clumps(0, n=200, spread=0.02, individuals=5)
    labels = kmeans(embeddings, 5, seed=1)
    assert same_partition(labels, identity)
    np.testing.assert_array_equal(labels, kmeans(embeddings, 5, seed=1))


@pytest.mark.parametrize("n_clusters", [0, 61])
def test_kmeans_refuses_an_impossible_number(n_clusters):
    with pytest.raises(InputError, match="at most the number of rows, 60"):
        kmeans(clumps(0)[0], n_clusters, seed=0)


def test_hdbscan_finds_separate_individuals():
    embeddings, identity = clumps(1, n=120, spread=0.02, individuals=5)
    assert same_partition(hdbscan(embeddings, min_cluster_size=5), identity)
    np.testing.assert_array_equal(hdbscan(embeddings[:3], min_cluster_size=5), [-1, -1, -1])
    with pytest.raises(InputError, match="min_cluster_size = 1"):
        hdbscan(embeddings, min_cluster_size=1)
    with pytest.raises(InputError, match="min_samples = 0"):
        hdbscan(embeddings, min_samples=0)
