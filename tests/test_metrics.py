import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score

from reid.errors import InputError
from reid.metrics import agreement, retrieval


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


@settings(max_examples=40, deadline=None)
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
    assert found.n_scored == 6


def test_agreement_of_a_perfect_clustering_is_one():
    labels = np.array([3, 3, 0, 0, -1, -1])
    found = agreement(labels, np.array(["a", "a", "b", "b", "c", "d"]))
    for name in found.__slots__:
        expected = 6 if name == "n_scored" else 1
        assert getattr(found, name) == pytest.approx(expected), name


def test_agreement_without_any_pair():
    found = agreement(np.array([-1, -1]), np.array(["a", "a"]))
    assert (found.pairwise_precision, found.pairwise_recall, found.pairwise_f1) == (1, 0, 0)


@settings(max_examples=50, deadline=None)
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


def test_input_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="identities: 2 values for 3 rows"):
        retrieval(unit_rows(0, 3), np.zeros(2, dtype=int))
    with pytest.raises(InputError, match="encounters: 2 values for 3 rows"):
        retrieval(unit_rows(0, 3), np.zeros(3, dtype=int), encounters=np.zeros(2))
    with pytest.raises(InputError, match="rows are zero"):
        retrieval(np.zeros((3, 4), dtype=np.float32), np.zeros(3, dtype=int))
    with pytest.raises(InputError, match="no row has an identity"):
        agreement(np.zeros(3, dtype=int), np.full(3, None))
