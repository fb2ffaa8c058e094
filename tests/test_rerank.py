from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.cluster import dbscan
from reid.errors import InputError
from reid.rerank import rerank
from tests.clumps import clumps as drawn_clumps

clumps = partial(drawn_clumps, n=80, d=16, individuals=12, spread=0.5)


def dense_reranking(embeddings, k1, k2, jaccard_weight):
    """Zhong et al. on full matrices in float64, as their code does it; symmetrised at the end."""
    rows = embeddings.astype(np.float64)
    n = len(rows)
    distances = np.maximum(1 - rows @ rows.T, 0)
    np.fill_diagonal(distances, 0)
    distances /= distances.max(axis=1, keepdims=True)
    keys = distances.copy()
    np.fill_diagonal(keys, -1)
    rank = np.argsort(keys, axis=1, kind="stable")

    def reciprocal(i, k):
        forward = rank[i, : k + 1]
        return forward[[i in rank[j, : k + 1] for j in forward]]

    encoding = np.zeros((n, n))
    for i in range(n):
        near = reciprocal(i, k1)
        expanded = near
        for j in near:
            candidates = reciprocal(j, int(np.around(k1 / 2)))
            if len(np.intersect1d(candidates, near)) > 2 / 3 * len(candidates):
                expanded = np.append(expanded, candidates)
        expanded = np.unique(expanded)
        weight = np.exp(-distances[i, expanded])
        encoding[i, expanded] = weight / weight.sum()
    if k2 > 1:
        encoding = np.array([encoding[rank[i, :k2]].mean(axis=0) for i in range(n)])
    shared = np.array([np.minimum(encoding[i], encoding).sum(axis=1) for i in range(n)])
    jaccard = 1 - shared / (2 - shared)
    final = jaccard_weight * jaccard + (1 - jaccard_weight) * distances
    return (final + final.T) / 2, shared > 0


def as_matrix(graph):
    matrix = np.full((graph.n, graph.n), np.nan)
    matrix[graph.edges[:, 0], graph.edges[:, 1]] = graph.distances
    return matrix


@pytest.mark.parametrize(("k1", "k2"), [(1, 1), (1, 2), (3, 1), (3, 4), (7, 2), (20, 1), (20, 6)])
@pytest.mark.parametrize("jaccard_weight", [0.3, 0.7, 1.0])
def test_stored_pairs_equal_the_dense_algorithm_and_no_near_pair_is_missing(k1, k2, jaccard_weight):
    embeddings, _ = clumps(k1 + k2)
    expected, _ = dense_reranking(embeddings, k1, k2, jaccard_weight)
    for radius in (0.5 * jaccard_weight, 0.95 * jaccard_weight, 0.999 * jaccard_weight):
        graph = rerank(embeddings, k1, k2, jaccard_weight, radius=radius)
        stored = as_matrix(graph)
        upper = np.triu(np.ones_like(expected, dtype=bool), 1)
        within = upper & (expected <= radius)
        undecided = np.abs(expected - radius) < 1e-5
        np.testing.assert_array_equal(~np.isnan(stored) | undecided, within | undecided)
        pairs = ~np.isnan(stored)
        np.testing.assert_allclose(stored[pairs], expected[pairs], atol=1e-5)


@pytest.mark.parametrize("jaccard_weight", [0.3, 0.7])
def test_pairs_that_share_no_neighbour_follow_the_rule(jaccard_weight):
    embeddings, _ = clumps(0)
    expected, overlap = dense_reranking(embeddings, 5, 2, jaccard_weight)
    distances = np.maximum(1 - embeddings.astype(np.float64) @ embeddings.T, 0)
    np.fill_diagonal(distances, 0)
    scaled = distances / distances.max(axis=1, keepdims=True)
    rule = jaccard_weight + (1 - jaccard_weight) * (scaled + scaled.T) / 2
    assert (~overlap).sum() > 1000
    np.testing.assert_allclose(expected[~overlap], rule[~overlap])
    assert (expected[~overlap] >= jaccard_weight).all()


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 12), st.integers(1, 100_000))
def test_blocks_change_nothing(seed, n, k1, memory_bytes):
    embeddings, _ = clumps(seed, n=n)
    whole = rerank(embeddings, k1, k2=2)
    blocks = rerank(embeddings, k1, k2=2, memory_bytes=memory_bytes)
    np.testing.assert_array_equal(whole.edges, blocks.edges)
    np.testing.assert_array_equal(whole.distances, blocks.distances)


def test_edges_are_sorted_and_in_range():
    graph = rerank(clumps(3)[0], 8, 3)
    low, high = graph.edges.T
    assert graph.edges.dtype == np.int32
    assert graph.distances.dtype == np.float32
    assert (low < high).all()
    np.testing.assert_array_equal(np.lexsort((high, low)), np.arange(len(low)))
    assert graph.distances.min() >= 0


def test_a_triangle_by_hand():
    # Three rows near each other and three far away, k1 = 2: within a triangle all descriptions
    # have the same members; across, none.
    angles = np.radians([0, 1, 2, 90, 91, 92])
    embeddings = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    graph = rerank(embeddings, k1=2, k2=1, jaccard_weight=1.0)
    expected = [[0, 1], [0, 2], [1, 2], [3, 4], [3, 5], [4, 5]]
    np.testing.assert_array_equal(graph.edges, expected)
    assert graph.distances.max() < 0.001
    np.testing.assert_array_equal(dbscan(graph, 0.5), [0, 0, 0, 1, 1, 1])


@pytest.mark.parametrize("n", [0, 1])
def test_fewer_than_two_rows_have_no_edges(n):
    graph = rerank(clumps(0)[0][:n])
    assert (graph.n, graph.edges.shape, graph.distances.shape) == (n, (0, 2), (0,))


def test_more_neighbours_than_rows_means_all_rows():
    embeddings, _ = clumps(0, n=10)
    few, many = rerank(embeddings, 18, 3), rerank(embeddings, 19, 3)
    np.testing.assert_array_equal(few.edges, many.edges)


@pytest.mark.parametrize(("k1", "k2"), [(1, 2), (5, 2), (10, 3), (20, 6)])
def test_k2_follows_from_k1(k1, k2):
    embeddings, _ = clumps(0)
    np.testing.assert_array_equal(rerank(embeddings, k1).edges, rerank(embeddings, k1, k2).edges)


def test_identical_rows_are_at_distance_zero():
    graph = rerank(np.repeat(clumps(0)[0][:1], 5, axis=0), k1=4, k2=2)
    assert len(graph.edges) == 10
    np.testing.assert_allclose(graph.distances, 0, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k1": 0}, "k1 = 0, at least 1"),
        ({"k2": 0}, "k2 = 0, between 1"),
        ({"k1": 3, "k2": 5}, r"k2 = 5, between 1 and k1 \+ 1 = 4"),
        ({"jaccard_weight": 0}, "jaccard_weight = 0"),
        ({"jaccard_weight": 1.2}, "jaccard_weight = 1.2"),
        ({"radius": 0.7}, "radius = 0.7, above 0 and below jaccard_weight = 0.7"),
        ({"radius": 0.0}, "radius = 0.0"),
    ],
)
def test_arguments_out_of_range_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        rerank(clumps(0)[0], **arguments)


def test_rows_that_are_not_unit_are_refused():
    with pytest.raises(InputError, match="not unit"):
        rerank(clumps(0)[0] * 2)
