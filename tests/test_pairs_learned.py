"""Learned functions as plain numbers, against the library that learned them."""

import json

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.isotonic import IsotonicRegression

from reid.errors import InputError
from reid.pairs import fit_pairs
from reid.pairs.classifier import read_model, stored_model
from reid.pairs.features import FEATURES
from reid.pairs.learned import Steps, Trees

PLACE = {name: place for place, name in enumerate(FEATURES)}


def labelled(m: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of 40 individuals, a third of them of one, and features that know a little of it."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 40, m)
    second = np.where(rng.random(m) < 0.35, first, rng.integers(0, 40, m))
    x = np.full((m, len(FEATURES)), np.nan)
    for name in ("cosine", "votes", "matches_80", "clear_sum", "inliers"):
        x[:, PLACE[name]] = rng.gamma(2, 3, m) + 4 * (first == second)
    x[rng.random(m) < 0.2, PLACE["inliers"]] = np.nan
    return x, np.stack([first, second], axis=1)


def test_trees_say_what_their_classifier_says_to_the_bit() -> None:
    x, who = labelled(900)
    unknown = np.isnan(x).all(axis=0)
    model = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8, random_state=0)
    model.fit(np.where(unknown, 0.0, x), who[:, 0] == who[:, 1])
    other, _ = labelled(500, seed=1)
    other[::7, PLACE["cosine"]] = np.nan  # known of all pairs while it was learned
    expected = model.decision_function(np.where(unknown, 0.0, other))
    assert np.array_equal(Trees.of(model, unknown)(other), expected)


def test_steps_are_those_of_isotonic_regression() -> None:
    rng = np.random.default_rng(0)
    raw = rng.normal(size=200)
    model = IsotonicRegression(y_min=0.01, y_max=0.99, out_of_bounds="clip")
    model.fit(raw, rng.random(200) < 1 / (1 + np.exp(-raw)))
    asked = np.linspace(-9, 9, 300)
    p = model.predict(asked)
    steps = Steps(model.X_thresholds_, model.y_thresholds_)
    assert np.allclose(steps(asked), np.log(p / (1 - p)) + 1e-3 * asked, atol=1e-9)


@pytest.mark.parametrize(("m", "kind"), [(900, "trees"), (400, "logistic"), (30, "stated")])
def test_a_model_is_read_back_to_the_bit(m: int, kind: str) -> None:
    model, _ = fit_pairs(*labelled(m), seed=3)
    assert model.kind == kind
    again = read_model(json.loads(json.dumps(stored_model(model))))
    other, _ = labelled(300, seed=2)
    assert np.array_equal(again.log_odds(other), model.log_odds(other))
    assert again.as_dict() == model.as_dict()


def test_what_is_no_model_or_another_versions_is_refused() -> None:
    stored = stored_model(fit_pairs(*labelled(30))[0])
    with pytest.raises(InputError, match="weighed other features"):
        read_model({**stored, "features": ["cosine"]})
    with pytest.raises(InputError, match="no model of pairs: KeyError: 'score'"):
        read_model({name: value for name, value in stored.items() if name != "score"})
    with pytest.raises(InputError, match="no model of pairs"):
        read_model({**stored, "score": {"form": "oracle"}})
