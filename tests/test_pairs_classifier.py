import numpy as np
import pyarrow as pa
import pytest

from reid import schema
from reid.errors import InputError
from reid.pairs import (
    FEATURES,
    area_under_curve,
    calibration_error,
    fit_pairs,
    pair_features,
    probability,
)
from reid.pairs.classifier import MOST_LOG_ODDS, _folds


def made_up(seed, individuals=40, images=6, pairs=3000, evidence=1.2):
    """Pairs with evidence whose strength does not depend on who is shown, and their individuals."""
    rng = np.random.default_rng(seed)
    who = np.repeat(np.arange(individuals), images)
    rows = rng.integers(len(who), size=(pairs, 2))
    near = rng.random(pairs) < 0.25  # a shortlist holds more mates than chance
    rows[near, 1] = rows[near, 0] // images * images + rng.integers(images, size=near.sum())
    rows = rows[rows[:, 0] != rows[:, 1]]
    people = who[rows]
    same = people[:, 0] == people[:, 1]
    features = np.full((len(rows), len(FEATURES)), np.nan)
    for name in ("cosine", "votes", "clear_sum", "matches_80", "inliers"):
        place = list(FEATURES).index(name)
        features[:, place] = np.exp(rng.normal(size=len(rows)) + evidence * same)
    return features, people, same


@pytest.fixture(scope="module")
def trees():
    features, people, same = made_up(0)
    model, odds = fit_pairs(features, people, folds=4)
    return features, people, same, model, odds


def test_probabilities_of_unseen_individuals_are_calibrated_and_tell_pairs_apart(trees):
    _, _, same, model, odds = trees
    assert model.kind == "trees"
    assert model.auc > 0.9
    assert model.ece < 0.06
    fresh, _, same_fresh = made_up(1)
    found = model.log_odds(fresh)
    assert area_under_curve(found, same_fresh) > 0.9
    assert calibration_error(probability(found), same_fresh) < 0.06
    assert np.abs(odds).max() <= MOST_LOG_ODDS
    assert model.auc == pytest.approx(area_under_curve(odds, same), abs=0.01)


def test_more_evidence_never_makes_one_animal_less_likely(trees):
    features, _, _, model, _ = trees
    some = features[:200]
    for name, sign in FEATURES.items():
        place = list(FEATURES).index(name)
        if not sign or np.isnan(some[:, place]).all():
            continue
        more = some.copy()
        more[:, place] += sign * 2.0
        assert (model.log_odds(more) >= model.log_odds(some) - 1e-9).all(), name


def test_no_pair_is_judged_by_a_model_that_knew_one_of_its_individuals():
    # Evidence is a name tag: who has seen the individual knows all, who has not knows nothing.
    features, people, same = made_up(2, evidence=0.0)
    tag = list(FEATURES).index("source_pixels")
    features[:, tag] = people.min(axis=1) * 1000 + people.max(axis=1)
    _, odds = fit_pairs(features, people, folds=3)
    assert area_under_curve(odds, same) < 0.6


def test_folds_hold_every_individual_once():
    who = np.array([[0, 3], [3, 9], [9, 0], [5, 5]])
    fold = _folds(who, 3, seed=0)
    assert sorted(fold[[0, 3, 5, 9]].tolist()) == [0, 0, 1, 2]
    assert (fold[[1, 2, 4]] == -1).all()


def test_pairs_with_an_unknown_individual_teach_nothing_and_get_the_final_models_odds(trees):
    features, people, _, model, odds = trees
    more, _, _ = made_up(3, pairs=50)
    unknown = np.full((len(more), 2), -1)
    other, found = fit_pairs(
        np.concatenate([features, more]), np.concatenate([people, unknown]), folds=4
    )
    assert np.array_equal(found[: len(odds)], odds)
    assert other.positives == model.positives
    assert found[len(odds) :] == pytest.approx(model.log_odds(more))


def test_few_labels_take_a_logistic_and_fewer_a_stated_curve():
    features, people, same = made_up(4)
    some = np.concatenate([np.flatnonzero(same)[:120], np.flatnonzero(~same)[:900]])
    model, odds = fit_pairs(features[some], people[some])
    assert model.kind == "logistic"
    assert model.auc > 0.8
    few = np.concatenate([np.flatnonzero(same)[:20], np.flatnonzero(~same)[:900]])
    model, odds = fit_pairs(features[few], people[few])
    assert model.kind == "stated"
    assert "20 labelled pairs" in model.note
    assert model.as_dict()["auc"] is None
    total = features[few][:, list(FEATURES).index("clear_sum")]
    assert (np.diff(odds[np.argsort(total)]) >= 0).all()
    model, odds = fit_pairs(features[:0], people[:0])
    assert model.kind == "stated"
    assert len(odds) == 0


def test_area_and_calibration_by_hand():
    assert area_under_curve(np.array([3.0, 2, 2, 1]), np.array([True, True, False, False])) == 0.875
    assert np.isnan(area_under_curve(np.array([1.0]), np.array([True])))
    p, same = np.array([0.9, 0.9, 0.1, 0.1]), np.array([True, False, False, False])
    assert calibration_error(p, same) == pytest.approx((0.4 * 2 + 0.1 * 2) / 4)
    assert np.isnan(calibration_error(np.zeros(0), np.zeros(0, bool)))


def evidence(**values):
    row = dict.fromkeys(schema.PAIR_EVIDENCE.names, 0) | {
        "a_id": "a",
        "b_id": "b",
        "a_key": None,
        "b_key": None,
        **values,
    }
    return pa.Table.from_pylist([row], schema=schema.PAIR_EVIDENCE)


def test_features_by_hand():
    table = evidence(
        a_keypoints=100, b_keypoints=50, matches_10=20, matches_50=10, inliers=5, stretch=0.5
    )
    found = pair_features(
        table,
        cosine=np.array([0.7]),
        ranks=np.array([[4, 2]]),
        shared=np.array([0.25]),
        days_between=np.array([0.5]),
        kilometres=np.array([6.0]),
    )[0]
    value = dict(zip(FEATURES, found, strict=True))
    assert value["best_rank"] == 2
    assert value["worst_rank"] == 4
    assert value["matches_10_share"] == 0.4
    assert value["inlier_share"] == 0.25
    assert value["unlike_scale"] == pytest.approx(np.log(2))
    assert value["needed_kmh"] == 0.5
    assert np.isnan(value["votes"])
    with pytest.raises(InputError, match="2 values of cosine for 1 pairs"):
        pair_features(table, cosine=np.zeros(2), ranks=np.ones((1, 2), int), shared=np.zeros(1))


def test_features_of_the_wrong_shape_are_refused():
    with pytest.raises(InputError, match="pairs: features of shape"):
        fit_pairs(np.zeros((3, 2)), np.zeros((3, 2), int))
