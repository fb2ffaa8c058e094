"""Similarities of pair lists, and the mAP in which every individual weighs the same."""

import numpy as np
import pytest

from reid.errors import InputError
from reid.metrics.scored_pairs import affine, calibrated, clipped, identity_balanced_map


def test_scales_by_hand() -> None:
    cosine = np.asarray([-1.0, -0.5, 0.0, 0.5, 1.0])
    assert clipped(cosine).tolist() == [0, 0, 0, 0.5, 1]
    assert affine(cosine).tolist() == [0, 0.25, 0.5, 0.75, 1]


def test_every_individual_weighs_the_same() -> None:
    # Anna's queries: AP 1 (right before wrong) and 1/2; Bo's: right at place 4 of 4, AP 1/4.
    queries = ["a1"] * 2 + ["a2"] * 2 + ["b"] * 4
    similarity = np.asarray([0.9, 0.1, 0.1, 0.9, 0.1, 0.2, 0.3, 0.4])
    same = np.asarray([True, False, True, False, True, False, False, False])
    who = ["Anna"] * 4 + ["Bo"] * 4
    value, counted, individuals = identity_balanced_map(similarity, queries, same, who)
    assert value == pytest.approx((0.75 + 0.25) / 2)
    assert (counted, individuals) == (3, 2)


def test_queries_without_their_individual_do_not_count() -> None:
    with pytest.raises(InputError, match="no query"):
        identity_balanced_map(np.ones(2), ["a", "a"], np.zeros(2, np.bool_), ["Anna", "Anna"])


def animals(individuals: int) -> tuple[np.ndarray, list[str | None]]:
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(individuals), 4)
    rows = rng.normal(size=(individuals, 8))[who] + 0.5 * rng.normal(size=(len(who), 8))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), [f"animal {i}" for i in who]


def test_a_learned_probability_rises_with_cosine_and_has_the_share_of_pairs_as_mean() -> None:
    vectors, who = animals(20)
    alone: list[str | None] = [None] * len(who)
    told = calibrated(np.linspace(-1, 1, 9), vectors, who, alone)
    assert (np.diff(told) > 0).all()
    assert ((told > 0) & (told < 1)).all()
    low, high = np.triu_indices(len(who), 1)
    all_pairs = calibrated((vectors @ vectors.T)[low, high], vectors, who, alone)
    share = np.mean([who[a] == who[b] for a, b in zip(low, high, strict=True)])
    assert all_pairs.mean() == pytest.approx(share, rel=0.02)  # as of any logistic regression


def test_pairs_of_one_encounter_teach_nothing() -> None:
    vectors, who = animals(20)
    with pytest.raises(InputError, match="0 labelled individuals have two images"):
        calibrated(np.zeros(1), vectors, who, who)
