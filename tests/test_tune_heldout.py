import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import reid.tune.heldout as heldout
from reid.cluster import dbscan, linkage_labels, noise_to_singletons
from reid.errors import InputError
from reid.metrics import agreement
from reid.neighbors import radius_graph
from reid.neighbors.edge_arrays import join_edges
from reid.neighbors.stored_edges import edges_among
from reid.rerank import rerank
from reid.tune import (
    best,
    held_out_folds,
    mean_curve,
    score_at,
    search_ceiling,
    sweep,
    thin,
    tuning_ceiling,
)
from reid.tune import tune as tune_on
from tests.clumps import equal_clumps

clumps = partial(equal_clumps, individuals=20, images=6, d=16, spread=0.35)


def tune(rows, labels, ceiling=None, **options):
    ceiling = tuning_ceiling(rows, labels) if ceiling is None else ceiling
    return tune_on(rows, labels, radius_graph(rows, ceiling), ceiling, **options)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_folds_hold_out_each_individual_once(seed, folds):
    codes = np.random.default_rng(seed).integers(0, 9, size=50)
    held = []
    for tuned_on, tested_on in held_out_folds(codes, folds, seed):
        np.testing.assert_array_equal(np.sort(np.append(tuned_on, tested_on)), np.arange(50))
        assert not set(codes[tuned_on]) & set(codes[tested_on])
        held.append(tested_on)
    np.testing.assert_array_equal(np.sort(np.concatenate(held)), np.arange(50))


@pytest.mark.parametrize("wanted", [1.5, 3.0, 8.0])
def test_thinning_reaches_the_wanted_density(wanted):
    codes = np.repeat(np.arange(500), np.random.default_rng(0).integers(1, 40, size=500))
    rows = thin(codes, wanted, seed=3)
    sizes = np.bincount(codes[rows])
    assert sizes[sizes > 0].mean() == pytest.approx(wanted, rel=0.07)
    np.testing.assert_array_equal(rows, thin(codes, wanted, seed=3))
    assert len(np.setxor1d(rows, thin(codes, wanted, seed=4)))


def test_thinning_never_makes_denser():
    codes = np.repeat(np.arange(5), 3)
    for wanted in (None, 3.0, 10.0):
        np.testing.assert_array_equal(thin(codes, wanted, seed=0), np.arange(15))


def test_edges_among_rows_are_those_of_the_rows_alone():
    embeddings, _ = clumps(0)
    rows = np.flatnonzero(np.random.default_rng(0).random(len(embeddings)) < 0.4)
    edges, distances = join_edges(edges_among(radius_graph(embeddings, 0.5), rows))
    alone = radius_graph(embeddings[rows], 0.5)
    np.testing.assert_array_equal(edges, alone.edges)
    np.testing.assert_allclose(distances, alone.distances, atol=1e-6)


def test_the_ceiling_gives_the_wanted_number_of_neighbours():
    embeddings, _ = clumps(0)
    ceiling = search_ceiling(embeddings, 30)
    assert 2 * len(radius_graph(embeddings, ceiling).edges) / 120 == pytest.approx(30, rel=0.05)
    everything = search_ceiling(embeddings, 1000)
    assert len(radius_graph(embeddings, everything).edges) == 120 * 119 / 2


def test_the_mean_curve_is_the_mean_at_every_threshold():
    sweeps = [sweep(radius_graph(x, 0.6), y, ceiling=0.6) for x, y in (clumps(0), clumps(1))]
    curve = mean_curve(sweeps)
    for eps in np.linspace(0, 0.6, 50):
        for criterion in ("ari", "ami", "pairwise_f1"):
            expected = np.mean([score_at(one, eps, criterion) for one in sweeps])
            assert score_at(curve, eps, criterion) == pytest.approx(expected)
    assert mean_curve(sweeps[:1]) is sweeps[0]


def test_the_score_at_a_threshold_is_that_of_clustering_with_it():
    embeddings, identity = clumps(2)
    graph = radius_graph(embeddings, 0.6)
    result = sweep(graph, identity, ceiling=0.6)
    for eps in (0.05, 0.1, 0.2, 0.3, float(graph.distances[7])):
        assert score_at(result, eps) == pytest.approx(agreement(dbscan(graph, eps), identity).ari)


@pytest.mark.parametrize("criterion", ["ari", "ami", "pairwise_f1"])
def test_tuned_dbscan_is_the_best_threshold_of_the_sweep(criterion):
    embeddings, identity = clumps(1)
    found = tune(embeddings, identity, criterion=criterion, ceiling=0.9, seeds=(0, 1))
    expected = best(sweep(radius_graph(embeddings, 0.9), identity, ceiling=0.9), criterion)
    assert (found.eps, found.method, found.k1) == (expected.eps, "dbscan", None)
    assert found.at_edge is None
    assert 0.5 < found.held_out_mean <= 1
    assert json.loads(json.dumps(found.tried))[0]["chosen"]
    again = tune(embeddings, identity, criterion=criterion, ceiling=0.9, seeds=(0, 1))
    assert found.tried == again.tried


def test_auto_takes_the_method_that_does_better_on_held_out_individuals():
    embeddings, identity = clumps(4, individuals=40, spread=0.55)
    found = tune(embeddings, identity, method="auto", seeds=(0, 1, 2))
    means = {row["method"]: row["held_out_mean"] for row in found.tried}
    assert means["average"] > means["dbscan"] + 0.02  # else the test tests nothing
    assert found.method == "average"
    assert found.held_out_mean == means["average"]
    labels = linkage_labels(radius_graph(embeddings, 0.9), embeddings, found.eps)
    assert agreement(labels, identity).ari == pytest.approx(found.curve.ari.max())


def test_reranking_is_kept_where_it_pays_and_its_threshold_is_on_its_own_scale():
    embeddings, identity = clumps(4, individuals=40, images=8, spread=0.6)
    found = tune(embeddings, identity, rerank="auto", seeds=(0, 1, 2))
    plain, reranked = found.tried
    gain = reranked["held_out_mean"] - plain["held_out_mean"]
    assert gain > max(plain["held_out_spread"], reranked["held_out_spread"])
    assert found.k1 == 8
    labels = noise_to_singletons(dbscan(rerank(embeddings, 8, 2, 0.7), found.eps))
    assert agreement(labels, identity).ari == pytest.approx(found.curve.ari.max())


def test_reranking_is_dropped_where_it_gains_less_than_the_spread():
    embeddings, identity = clumps(0, spread=0.05)
    found = tune(embeddings, identity, rerank="auto", seeds=(0, 1))
    assert found.held_out_mean == 1
    assert (found.k1, len(found.tried)) == (None, 2)
    assert tune(embeddings, identity, rerank="on", seeds=(0,)).k1 == 6


def test_rows_are_thinned_to_the_density_asked_for():
    embeddings, identity = clumps(5, individuals=80, images=10, d=32, spread=0.3)
    found = tune(embeddings, identity, images_per_individual=2.5, seeds=(0, 1))
    assert found.images_per_individual == 2.5
    assert found.tried[0]["rows"] < 300
    assert not found.notes


def test_an_optimum_at_the_end_of_the_range_is_flagged():
    embeddings, identity = clumps(1)
    found = tune(embeddings, identity, ceiling=0.04, seeds=(0,))
    assert found.at_edge == "high"
    assert "raise the ceiling" in found.notes[-1]


def test_an_optimum_that_merges_nothing_is_flagged():
    embeddings, identity = clumps(1, spread=0.1)
    order = np.argsort(identity, kind="stable")
    crossed = np.empty(120, dtype=int)
    crossed[order] = np.arange(120) % 6  # rows of one clump all bear different names
    found = tune(embeddings, crossed, ceiling=0.1, seeds=(0,))
    assert found.at_edge == "low"
    assert "merges nothing" in found.notes[-1]


def test_linkage_on_too_large_a_component_is_said(monkeypatch):
    def too_large(*arguments):
        raise InputError("120 rows are connected")

    monkeypatch.setattr(heldout, "linkage_forest", too_large)
    embeddings, identity = clumps(1)
    found = tune(embeddings, identity, method="auto", seeds=(0,))
    assert found.method == "dbscan"
    assert found.tried[1] == {
        "method": "average",
        "chosen": False,
        "note": "120 rows are connected",
    }
    assert "average linkage was not tried: 120 rows" in found.notes[0]
    with pytest.raises(InputError, match="120 rows are connected"):
        tune(embeddings, identity, method="average", seeds=(0,))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "ward"}, "known are dbscan, average, complete, auto"),
        ({"rerank": "yes"}, "known are off, on, auto"),
        ({"rerank": "on", "method": "average"}, "linkage needs the distance of every pair"),
        ({"folds": 1}, "at least 2 folds"),
        ({"seeds": ()}, "1 seed"),
        ({"criterion": "nmi"}, "known criteria"),
        ({"min_samples": 0}, "min_samples = 0"),
        ({"ceiling": 2.5}, "between 0 and 2"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, message):
    embeddings, identity = clumps(0)
    with pytest.raises(InputError, match=message):
        tune(embeddings, identity, **arguments)


def test_too_few_labels_are_refused():
    embeddings, identity = clumps(0)
    with pytest.raises(InputError, match="3 labelled individuals: at least 4"):
        tune(embeddings[identity < 3], identity[identity < 3])
    with pytest.raises(InputError, match="6 of 120 rows have no label"):
        tune(embeddings, np.where(identity < 1, -1, identity), 0.5)
    with pytest.raises(InputError, match="no labelled individual has two images"):
        tune(embeddings, np.arange(120))
    with pytest.raises(InputError, match="119 labels and a graph of 120 for 120 rows"):
        tune(embeddings, identity[1:])
    with pytest.raises(InputError, match="not unit"):
        tune(2 * embeddings, identity)
