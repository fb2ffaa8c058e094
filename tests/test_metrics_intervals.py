from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.errors import InputError
from reid.few_individuals import few_individuals
from reid.metrics import (
    IndividualShares,
    QueryScores,
    agreement,
    agreement_intervals,
    assignment_intervals,
    retrieval_intervals,
    summarise,
)
from reid.metrics.agreement import contingency, pair_scores


def scores_of(individuals, precision, first_hit=None):
    n = len(individuals)
    return QueryScores(
        rows=np.arange(n),
        individuals=np.asarray(individuals),
        average_precision=np.asarray(precision, dtype=float),
        first_hit=np.ones(n, dtype=np.int64) if first_hit is None else np.asarray(first_hit),
        inverse_negative_penalty=np.asarray(precision, dtype=float),
        skipped=0,
    )


def pairs_by_loop(labels, truth, times):
    """ARI, precision and recall over pairs of rows, copies of individuals written out."""
    rows = [(i, copy) for i in range(len(truth)) for copy in range(times[truth[i]])]
    right = together = true = every = 0
    for a, (i, first) in enumerate(rows):
        for j, second in rows[:a]:
            if truth[i] == truth[j] and first != second:
                continue  # two copies of one individual
            every += 1
            same, one = labels[i] == labels[j], truth[i] == truth[j]
            right, together, true = right + (same and one), together + same, true + one
    chance = together * true / every if every else 0
    spread = (together + true) / 2 - chance
    return {
        "ari": (right - chance) / spread if spread else 1,
        "pairwise_precision": right / together if together else 1,
        "pairwise_recall": right / true if true else 1,
    }


def b_cubed_by_loop(labels, truth, times):
    precision, recall = [], []
    for i in range(len(truth)):
        mine = sum(labels[j] == labels[i] for j in range(len(truth)) if truth[j] == truth[i])
        others = sum(
            times[truth[j]]
            for j in range(len(truth))
            if truth[j] != truth[i] and labels[j] == labels[i]
        )
        precision += [mine / (mine + others)] * times[truth[i]]
        recall += [mine / np.sum(truth == truth[i])] * times[truth[i]]
    return {"b_cubed_precision": np.mean(precision), "b_cubed_recall": np.mean(recall)}


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(2, 18))
def test_resampled_scores_equal_a_plain_loop_over_pairs(seed, n):
    rng = np.random.default_rng(seed)
    truth = np.unique(rng.integers(0, 5, n), return_inverse=True)[1]
    labels = rng.integers(0, 5, n)
    individuals = truth.max() + 1
    times = np.bincount(rng.integers(0, individuals, individuals), minlength=individuals)
    expected = pairs_by_loop(labels, truth, times) | b_cubed_by_loop(labels, truth, times)
    cells = contingency(labels, truth)
    # `contingency` numbers individuals as they come.
    order = np.unique(truth, return_index=True)[1].argsort()
    found = pair_scores(cells, times[order])
    for name, value in expected.items():
        assert found[name] == pytest.approx(value), name


def test_once_each_is_the_score_itself():
    rng = np.random.default_rng(0)
    labels, truth = rng.integers(-1, 6, 50), rng.integers(0, 8, 50)
    expected = asdict(agreement(labels, truth))
    for name, value in pair_scores(contingency(labels, truth), np.ones(8, dtype=int)).items():
        assert value == pytest.approx(expected[name])


def test_interval_of_a_mean_is_that_of_the_textbook():
    precision = np.random.default_rng(1).random(400)
    low, high = retrieval_intervals(scores_of(np.arange(400), precision), resamples=4000)[
        "mean_average_precision"
    ]
    error = 1.96 * precision.std() / np.sqrt(400)
    assert low == pytest.approx(precision.mean() - error, abs=error / 8)
    assert high == pytest.approx(precision.mean() + error, abs=error / 8)


def test_more_images_of_the_same_individuals_make_nothing_surer():
    rng = np.random.default_rng(2)
    precision, hits = rng.random(40), rng.integers(1, 15, 40)
    once = retrieval_intervals(scores_of(np.arange(40), precision, hits))
    often = retrieval_intervals(
        scores_of(np.arange(40).repeat(9), precision.repeat(9), hits.repeat(9))
    )
    for name in once:
        assert often[name] == pytest.approx(once[name])


def test_intervals_hold_the_scores_of_every_field():
    rng = np.random.default_rng(3)
    scores = scores_of(rng.integers(0, 30, 200), rng.random(200), rng.integers(1, 15, 200))
    values = asdict(summarise(scores))
    found = retrieval_intervals(scores)
    assert set(found) == set(values) - {"queries", "skipped"}
    for name, interval in found.items():
        assert interval.low < values[name] < interval.high
    labels, truth = rng.integers(0, 12, 200), rng.integers(0, 30, 200)
    labels = np.where(rng.random(200) < 0.7, truth, labels)
    clusters = agreement_intervals(labels, truth)
    of_clusters = asdict(agreement(labels, truth))
    assert set(clusters) == set(of_clusters) - {
        "ami",
        "nmi",
        "n_scored",
        "accuracy",  # of one naming for all images, which no resample has to itself
        "mean_recall",
    }
    for name, interval in clusters.items():
        assert interval.low < of_clusters[name] < interval.high, name


def test_interval_of_ari_is_as_wide_as_the_scores_of_other_herds():
    def herd(seed):
        rng = np.random.default_rng(seed)
        truth = np.repeat(np.arange(40), rng.integers(2, 9, 40))
        merged = np.where(rng.random(40) < 0.4, rng.integers(0, 40, 40), np.arange(40))
        return np.where(rng.random(len(truth)) < 0.8, merged[truth], -1), truth

    scores = np.array([agreement(*herd(seed)).ari for seed in range(200)])
    widths = [
        interval.high - interval.low
        for interval in (
            agreement_intervals(*herd(seed), resamples=200)["ari"] for seed in range(20)
        )
    ]
    expected = np.subtract(*np.quantile(scores, [0.975, 0.025]))
    assert 0.7 < np.mean(widths) / expected < 1.4


def test_assignment_draws_an_individual_with_all_its_answers():
    shares = IndividualShares(
        np.array([0, 1, 2, 3, 0, 1]),
        np.array([1, 1, 0, 0, 1, 1], bool),
        np.array([1, 0, 1, 1, 1, 0.0]),
    )
    found = assignment_intervals(shares)
    assert found["baus"] == (1, 1)  # in every draw that has a new animal
    assert (found["baks"].low, found["baks"].high) == (0, 1)


def test_nothing_is_said_of_one_individual():
    for interval in retrieval_intervals(scores_of([4, 4, 4], [0.1, 0.5, 0.9])).values():
        assert np.isnan(interval).all()
    for interval in agreement_intervals(np.array([0, 1]), np.array([5, 5])).values():
        assert np.isnan(interval).all()
    for interval in retrieval_intervals(scores_of([], [])).values():
        assert np.isnan(interval).all()


def test_seed_decides():
    scores = scores_of(np.arange(20), np.linspace(0, 1, 20))
    assert retrieval_intervals(scores) == retrieval_intervals(scores)
    assert retrieval_intervals(scores) != retrieval_intervals(scores, seed=1)


def test_settings_out_of_range_are_refused():
    with pytest.raises(InputError, match="level: 95; give a share"):
        retrieval_intervals(scores_of([0, 1], [0, 1]), level=95)
    with pytest.raises(InputError, match="resamples: 0"):
        retrieval_intervals(scores_of([0, 1], [0, 1]), resamples=0)


def test_a_handful_of_individuals_is_named() -> None:
    assert few_individuals(10) == ""
    assert few_individuals(9) == "from only 9 individuals, and may be far off"
    assert few_individuals(1).startswith("from 1 individual,")
