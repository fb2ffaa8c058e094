import doctest
import importlib
import pkgutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, average_precision_score
from sklearn.metrics.cluster import pair_confusion_matrix

from reid import metrics
from reid.errors import InputError
from reid.metrics import agreement, evaluate, query_scores, retrieval
from reid.splits import closed_set


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def unit_rows(seed, n, d=6):
    rows = np.random.default_rng(seed).normal(size=(n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_retrieval_by_hand():
    # Row 0 meets a (2 degrees away), b, a: precision 1/1 and 2/3. Row 1 meets a, b, a: the same.
    # Row 3 meets b (5), a (13), a (15): 1/2, 2/3. Row 2 is the only b: it cannot ask.
    embeddings = on_circle(0, 2, 10, 15)
    found = retrieval(embeddings, np.array(["a", "a", "b", "a"]))
    precisions = [(1 + 2 / 3) / 2, (1 + 2 / 3) / 2, (1 / 2 + 2 / 3) / 2]
    assert found.mean_average_precision == pytest.approx(np.mean(precisions))
    assert found.top_1 == pytest.approx(2 / 3)
    assert (found.top_5, found.queries, found.skipped) == (1, 3, 1)


def test_balanced_precision_gives_every_individual_one_voice():
    # Individual a is found at once by its four rows, individual b only behind all of them.
    embeddings = on_circle(0, 0.5, 1, 1.5, 20, 340)
    found = retrieval(embeddings, np.array([0, 0, 0, 0, 1, 1]))
    assert found.mean_average_precision == pytest.approx((4 * 1 + 2 * 1 / 5) / 6)
    assert found.balanced_average_precision == pytest.approx((1 + 1 / 5) / 2)


def test_rows_of_the_same_encounter_are_not_in_the_ranking():
    embeddings = on_circle(0, 1, 30, 31)
    identities, encounters = np.array([7, 7, 9, 7]), np.array(["x", "x", "x", "y"])
    found = retrieval(embeddings, identities, encounters=encounters)
    # Rows 0 and 1 are left with row 3; row 3 meets row 2 first, then 1 and 0.
    assert found.mean_average_precision == pytest.approx((1 + 1 + (1 / 2 + 2 / 3) / 2) / 3)
    assert (found.queries, found.skipped) == (3, 1)
    unknown = retrieval(embeddings, identities, encounters=np.array([None] * 4))
    assert unknown == retrieval(embeddings, identities)


def test_unlabelled_rows_are_wrong_answers_that_do_not_ask():
    found = retrieval(on_circle(0, 1, 3), np.array(["a", None, "a"], dtype=object))
    assert found.mean_average_precision == pytest.approx(1 / 2)
    assert (found.queries, found.skipped) == (2, 0)


def test_identical_rows_score_nothing_by_luck():
    found = retrieval(np.repeat(on_circle(0), 4, axis=0), np.array([0, 1, 0, 1]))
    assert found.top_1 == 0
    assert found.mean_average_precision == pytest.approx(1 / 3)


@pytest.mark.parametrize("n", [0, 1])
def test_too_few_rows_to_ask(n):
    found = retrieval(unit_rows(0, n), np.zeros(n, dtype=int))
    assert np.isnan(found.mean_average_precision)
    assert np.isnan(found.top_1)
    assert (found.queries, found.skipped) == (0, n)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 8))
def test_retrieval_equals_average_precision_and_blocks_change_nothing(seed, n, individuals):
    embeddings = unit_rows(seed, n)
    identities = np.random.default_rng(seed).integers(-1, individuals, size=n)
    distances = 1 - embeddings.astype(np.float64) @ embeddings.T
    precisions, firsts = [], []
    for i in range(n):
        others = np.arange(n) != i
        right = (identities == identities[i])[others]
        if identities[i] >= 0 and right.any():
            precisions.append(average_precision_score(right, -distances[i, others]))
            firsts.append(right[np.argsort(distances[i, others])].argmax())
    found = retrieval(embeddings, identities)
    assert found.queries == len(precisions)
    assert retrieval(embeddings, identities, memory_bytes=8 * n) == found or not precisions
    if precisions:
        assert found.mean_average_precision == pytest.approx(np.mean(precisions))
        assert found.top_1 == pytest.approx(np.mean(np.array(firsts) == 0))
        assert found.top_5 == pytest.approx(np.mean(np.array(firsts) < 5))
        assert found.top_10 == pytest.approx(np.mean(np.array(firsts) < 10))


def test_agreement_by_hand():
    # Individuals aaa bb c; clusters {a a b} {a b} and c as noise. Pairs: 3 + 1 in clusters,
    # 3 + 1 true, 1 shared.
    found = agreement(np.array([0, 0, 1, 0, 1, -1]), np.array(list("aaabbc")))
    assert found.pairwise_precision == pytest.approx(1 / 4)
    assert found.pairwise_recall == pytest.approx(1 / 4)
    assert found.pairwise_f1 == pytest.approx(1 / 4)
    assert found.b_cubed_precision == pytest.approx((2 / 3 + 2 / 3 + 1 / 2 + 1 / 3 + 1 / 2 + 1) / 6)
    assert found.b_cubed_recall == pytest.approx((2 / 3 + 2 / 3 + 1 / 3 + 1 / 2 + 1 / 2 + 1) / 6)
    # The first cluster is a (2 of 3), the second b (1 of 2), the image on its own c.
    assert (found.accuracy, found.mean_recall) == pytest.approx((4 / 6, (2 / 3 + 1 / 2 + 1) / 3))
    assert found.n_scored == 6


def test_no_cluster_is_named_twice():
    found = agreement(np.zeros(5, dtype=np.int64), np.array(list("aaabb")))
    assert (found.accuracy, found.mean_recall) == (3 / 5, 1 / 2)


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 40), st.integers(1, 7), st.integers(1, 12))
def test_the_best_naming_is_that_of_scipy_on_the_whole_table(seed, n, individuals, clusters):
    rng = np.random.default_rng(seed)
    truth, labels = rng.integers(individuals, size=n), rng.integers(clusters, size=n)
    table = np.zeros((individuals, clusters))
    np.add.at(table, (truth, labels), 1)
    best = table[linear_sum_assignment(-table)].sum()
    assert agreement(labels, truth).accuracy == pytest.approx(best / n)


def test_agreement_of_a_perfect_clustering_is_one():
    labels = np.array([3, 3, 0, 0, -1, -1])
    found = agreement(labels, np.array(["a", "a", "b", "b", "c", "d"]))
    for name in found.__slots__:
        expected = 6 if name == "n_scored" else 1
        assert getattr(found, name) == pytest.approx(expected), name


def test_agreement_without_any_pair():
    found = agreement(np.array([-1, -1]), np.array(["a", "a"]))
    assert (found.pairwise_precision, found.pairwise_recall, found.pairwise_f1) == (1, 0, 0)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(-1, 4), st.integers(-1, 4)), min_size=1, max_size=25))
def test_agreement_equals_counting_pairs_and_rows(rows):
    labels, identities = np.array(rows).T
    if (identities < 0).all():
        identities[0] = 0
    found = agreement(labels, identities)
    known = np.flatnonzero(identities >= 0)
    same_cluster = lambda i, j: i == j or (labels[i] == labels[j] and labels[i] >= 0)  # noqa: E731
    precisions, recalls, together, true, both = [], [], 0, 0, 0
    for i in known:
        cluster = [j for j in known if same_cluster(i, j)]
        individual = [j for j in known if identities[i] == identities[j]]
        shared = len(set(cluster) & set(individual))
        precisions.append(shared / len(cluster))
        recalls.append(shared / len(individual))
        together, true, both = (
            together + len(cluster) - 1, true + len(individual) - 1, both + shared - 1,
        )  # fmt: skip
    assert found.b_cubed_precision == pytest.approx(np.mean(precisions))
    assert found.b_cubed_recall == pytest.approx(np.mean(recalls))
    assert found.pairwise_precision == pytest.approx(both / together if together else 1)
    assert found.pairwise_recall == pytest.approx(both / true if true else 1)


def test_minp_by_hand():
    # Row 0 finds its last a at rank 3 of 2 right ones, row 1 too, row 3 as well: 2 / 3 each.
    found = retrieval(on_circle(0, 2, 10, 15), np.array(["a", "a", "b", "a"]))
    assert found.mean_inverse_negative_penalty == pytest.approx(2 / 3)
    # With the b at the end, rows 0 and 1 find both others first; row 2 meets the b (4) first.
    found = retrieval(on_circle(0, 2, 10, 14), np.array(["a", "a", "a", "b"]))
    assert found.mean_inverse_negative_penalty == pytest.approx((1 + 1 + 2 / 3) / 3)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(6, 40))
def test_minp_equals_a_plain_loop(seed, n):
    embeddings = unit_rows(seed, n)
    identities = np.random.default_rng(seed).integers(0, 4, size=n)
    expected = []
    for query in range(n):
        others = np.delete(np.arange(n), query)
        order = others[np.argsort(-(embeddings[others] @ embeddings[query]), kind="stable")]
        ranks = np.flatnonzero(identities[order] == identities[query]) + 1
        if len(ranks):
            expected.append(len(ranks) / ranks[-1])
    found = retrieval(embeddings, identities)
    assert found.mean_inverse_negative_penalty == pytest.approx(np.mean(expected))


def test_queries_ask_the_gallery_alone_by_hand():
    embeddings = on_circle(0, 1, 2, 30, 31, 60)
    identities = np.array(["a", "b", "a", "b", "b", "c"])
    query = np.array([True, True, False, False, False, True])
    # Gallery: a at 2, b at 30, b at 31. Row 0 finds a at once; row 1 a first, then b and b.
    found = retrieval(embeddings, identities, queries=query, gallery=~query)
    assert (found.queries, found.skipped) == (2, 1)  # nobody knows c
    assert found.top_1 == pytest.approx(1 / 2)
    assert found.mean_average_precision == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    rows = query_scores(embeddings, identities, queries=query, gallery=~query)
    assert rows.rows.tolist() == [0, 1]
    assert rows.first_hit.tolist() == [1, 2]


@settings(max_examples=15)
@given(st.integers(0, 10**6))
def test_queries_and_gallery_equal_pytorch_metric_learning(seed):
    import torch
    from pytorch_metric_learning.distances import CosineSimilarity
    from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
    from pytorch_metric_learning.utils.inference import CustomKNN

    embeddings = unit_rows(seed, 60)
    identities = np.random.default_rng(seed).integers(0, 7, size=60)
    query = closed_set(identities, seed=seed)
    calculator = AccuracyCalculator(
        include=("precision_at_1", "mean_average_precision"),
        k=None,
        knn_func=CustomKNN(CosineSimilarity()),
        device=torch.device("cpu"),
    )
    sides = [
        torch.from_numpy(part)
        for side in (query, ~query)
        for part in (embeddings[side], identities[side])
    ]
    expected = calculator.get_accuracy(*sides)
    found = retrieval(embeddings, identities, queries=query, gallery=~query)
    assert found.top_1 == pytest.approx(expected["precision_at_1"])
    assert found.mean_average_precision == pytest.approx(expected["mean_average_precision"])


@settings(max_examples=30)
@given(st.integers(0, 10**6))
def test_a_gallery_of_everyone_else_is_the_open_set(seed):
    rng = np.random.default_rng(seed)
    embeddings, identities = unit_rows(seed, 30), rng.integers(-1, 5, 30)
    encounters, everyone = rng.integers(-1, 6, 30), np.ones(30, dtype=bool)
    plain = retrieval(embeddings, identities, encounters=encounters)
    masked = retrieval(
        embeddings, identities, encounters=encounters, queries=everyone, gallery=everyone,
        memory_bytes=1000,
    )  # fmt: skip
    assert np.array_equal(list(_values(plain)), list(_values(masked)), equal_nan=True)


def _values(found):
    return (getattr(found, name) for name in found.__slots__)


def test_masks_that_do_not_fit_are_refused():
    embeddings, identities = unit_rows(0, 4), np.zeros(4, dtype=int)
    with pytest.raises(InputError, match=r"queries: bool values of shape \(3,\) for 4 rows"):
        retrieval(embeddings, identities, queries=np.ones(3, dtype=bool))
    with pytest.raises(InputError, match="gallery: int64 values"):
        retrieval(embeddings, identities, gallery=np.arange(4))


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 40), st.integers(1, 8), st.integers(1, 8))
def test_pairs_are_those_of_scikit_learn(seed, n, individuals, clusters):
    rng = np.random.default_rng(seed)
    truth, labels = rng.integers(0, individuals, n), rng.integers(0, clusters, n)
    found = agreement(labels, truth)
    (_, together), (apart, both) = pair_confusion_matrix(truth, labels)
    assert found.ari == pytest.approx(adjusted_rand_score(truth, labels))
    assert found.pairwise_precision == pytest.approx(
        both / (both + together) if both + together else 1
    )
    assert found.pairwise_recall == pytest.approx(both / (both + apart) if both + apart else 1)


def test_input_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="identities: 2 values for 3 rows"):
        retrieval(unit_rows(0, 3), np.zeros(2, dtype=int))
    with pytest.raises(InputError, match="encounters: 2 values for 3 rows"):
        retrieval(unit_rows(0, 3), np.zeros(3, dtype=int), encounters=np.zeros(2))
    with pytest.raises(InputError, match="rows are zero"):
        retrieval(np.zeros((3, 4), dtype=np.float32), np.zeros(3, dtype=int))
    with pytest.raises(InputError, match="no row has an identity"):
        agreement(np.zeros(3, dtype=int), np.full(3, None))


def test_a_split_of_the_data_sets_own_leaves_out_own_encounter_and_photograph():
    angles = np.radians([0, 1, 2, 20, 21, 90, 91, 50])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    identities = np.array(["a", "a", "b", "a", "b", "b", "b", "c"])
    encounters = np.array(["one", "one", None, None, None, None, "x", None], dtype=object)
    photographs = np.array(["1", "2", "3", "3", "4", "5", "6", "7"])
    query = np.array([True, False, True, False, False, False, True, True])
    found = evaluate(
        rows,
        identities,
        encounters=encounters,
        split=(query, ~query),
        photographs=photographs,
        resamples=10,
    ).parts["split"]
    # Row 0 may not find row 1 (its encounter), and finds row 3; row 2 may not find row 3 (its
    # photograph), and finds row 1, a stranger; row 6 finds row 5; row 7 has nobody to find.
    assert found.figures["top_1"].value == pytest.approx(2 / 3)
    assert found.how.startswith("3 of 4 queries")


def test_the_worked_examples_of_public_metrics():
    modules = [
        importlib.import_module(f"reid.metrics.{found.name}")
        for found in pkgutil.iter_modules(metrics.__path__)
    ]
    shown = set()
    for module in modules:
        for case in doctest.DocTestFinder().find(module):
            shown |= {case.name.rpartition(".")[2]} if case.examples else set()
        assert doctest.testmod(module).failed == 0
    functions = {name for name in metrics.__all__ if callable(getattr(metrics, name))}
    classes = {name for name in functions if isinstance(getattr(metrics, name), type)}
    assert functions - classes <= shown, "a formula and an example each"
