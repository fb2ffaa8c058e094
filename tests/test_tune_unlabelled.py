from functools import partial

import numpy as np
import pytest

from reid.cluster import dbscan, noise_to_singletons
from reid.errors import InputError
from reid.metrics import agreement
from reid.neighbors import Graph, radius_graph
from reid.tune import best, estimate_threshold, search_ceiling, sweep, warnings
from tests.clumps import equal_clumps

clumps = partial(equal_clumps, individuals=60, images=6, d=32, spread=0.4)


def graph_from_pairs(n, pairs):
    edges = np.array(sorted(pairs), dtype=np.int32).reshape(-1, 2)
    return Graph(n, edges, np.array([pairs[i, j] for i, j in edges.tolist()], dtype=np.float32))


@pytest.mark.parametrize(("seed", "spread", "images"), [(0, 0.4, 6), (1, 0.6, 8), (2, 0.7, 3)])
@pytest.mark.parametrize("min_samples", [1, 2, 3])
def test_little_is_lost_against_the_tuned_threshold(seed, spread, images, min_samples):
    embeddings, identity = clumps(seed, spread=spread, images=images)
    ceiling = search_ceiling(embeddings, 100)
    graph = radius_graph(embeddings, ceiling)
    found = estimate_threshold(graph, min_samples, ceiling=ceiling)
    tuned = best(sweep(graph, identity, min_samples, ceiling=ceiling))
    labels = noise_to_singletons(dbscan(graph, found.eps, min_samples))
    assert agreement(labels, identity).ari > tuned.score - 0.1
    assert found.low < found.eps < found.high


def test_the_estimate_by_hand():
    # Three pairs form by 0.1, 0.12 and 0.14 and merge at 0.4 and 0.5: the peak is three clusters.
    pairs = {(0, 1): 0.1, (2, 3): 0.12, (4, 5): 0.14, (1, 2): 0.4, (3, 4): 0.5}
    found = estimate_threshold(graph_from_pairs(6, pairs))
    assert (found.low, found.high) == pytest.approx((0.14, 0.4))
    assert found.eps == pytest.approx(0.27)
    assert "its peak, 3." in found.statement


def test_a_gap_is_seen_and_noise_has_none():
    embeddings, _ = clumps(0, spread=0.1)
    clear = estimate_threshold(radius_graph(embeddings, 0.7), ceiling=0.7)
    assert clear.gap == "clear"
    noise = np.random.default_rng(0).normal(size=(400, 256))
    noise = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    nothing = estimate_threshold(radius_graph(noise, 0.9), ceiling=0.9)
    assert nothing.gap == "none"
    assert "hardly more than a guess" in nothing.statement
    assert nothing.stability < clear.stability


def test_a_peak_at_the_end_of_the_graph_is_not_trusted():
    embeddings, _ = clumps(0, spread=0.4)
    assert estimate_threshold(radius_graph(embeddings, 0.06), ceiling=0.06).gap == "none"


def test_identical_rows_have_an_obvious_answer():
    pairs = {(i, j): 0.0 for i in range(4) for j in range(i + 1, 4)}
    found = estimate_threshold(graph_from_pairs(4, pairs), ceiling=0.5)
    assert (dbscan(graph_from_pairs(4, pairs), found.eps) == 0).all()


@pytest.mark.parametrize("n", [0, 1, 5])
def test_no_pair_at_all_is_refused(n):
    with pytest.raises(InputError, match="no two of"):
        estimate_threshold(graph_from_pairs(n, {}), ceiling=0.5)
    with pytest.raises(InputError, match="min_samples = 0"):
        estimate_threshold(graph_from_pairs(n, {}), 0)


def test_a_sound_clustering_gives_no_warning():
    assert warnings(np.repeat(np.arange(10), 3), eps=0.2, ceiling=0.5) == []
    assert warnings(np.empty(0, dtype=np.int64)) == []
    assert warnings(np.array([0, 0])) == []  # two images of one individual are nothing strange


def test_one_large_cluster_is_said():
    (text,) = warnings(np.array([0] * 11 + [1, 1] * 4), eps=0.31)
    assert "one cluster holds 11 of 19 images (58%) at threshold 0.31" in text
    assert "cluster.method=average" in text
    assert warnings(np.array([0] * 10 + [1, 1] * 5)) == []  # exactly half is not over half


def test_many_singletons_are_said_whether_noise_or_not():
    for alone in (np.full(28, -1), np.arange(5, 33)):
        (text,) = warnings(np.append(alone, [0, 0]))
        assert "28 of 30 images (93%) stand alone" in text
        assert "higher threshold" in text
    assert warnings(np.append(np.full(27, -1), [0, 0, 0])) == []  # exactly 90 %


def test_an_optimum_at_an_edge_is_said():
    sound = np.repeat(np.arange(10), 3)
    (text,) = warnings(sound, at_edge="high", ceiling=0.6)
    assert "upper end of the range searched (0.6)" in text
    (text,) = warnings(sound, at_edge="low")
    assert "merges nothing" in text
