"""Evidence → one calibrated probability a pair, learned on individuals other than those it is judged on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from reid.errors import InputError
from reid.pairs.features import FEATURES
from reid.pairs.learned import (
    Learned,
    Line,
    Logistic,
    Stated,
    Trees,
    as_numbers,
    from_numbers,
)
from reid.pairs.pair_calibration import (
    CALIBRATIONS,
    area_under_curve,
    calibration_error,
    choose_calibration,
    probability,
)

FEWEST_FOR_TREES = 200  # pairs of one animal
FEWEST_FOR_LOGISTIC = 50
# Two folds are left out for a pair of two animals, so that with 5 a model sees 0.36 of the pairs, with 10 0.64:
# on 1,127 pairs of the nyala's gallery AUC .736 and .764, Brier score .122 and .111 (logistic regression).
FOLDS, FEWEST_FOLDS = 10, 5
MOST_LOG_ODDS = (
    6.9  # P = 0.999: labels cannot tell more; people come before any machine all the same
)
# Where there are too few labels: log-odds = base + slope · log(0.1 + `clear_sum`), as 1,494 pairs of the nyala's gallery
# had it, the eight best voted of 200 pictures: of two strangers 0.15 is typical (P = 0.07), of mates 0.7 (0.37). Groups
# by it had an ARI of 0.33 there, by the sum of confidences 0.28, at the same cut.
STATED_BASE, STATED_SLOPE = -0.13, 1.8


_PLAIN = ("kind", "calibration", "positives", "negatives", "auc", "ece", "brier", "note")


@dataclass(frozen=True)
class PairModel:
    """From features to the log-odds that a pair shows one individual.

    Attributes:
        kind: `trees`, `logistic` or `stated`.
        calibration: `platt`, `isotonic` or `none`.
        positives, negatives: pairs that it was learned from.
        auc, ece, brier: on pairs neither of whose individuals it had seen; NaN for `stated`.
        note: one sentence on how far to trust it.
    """

    kind: str
    calibration: str
    positives: int
    negatives: int
    auc: float
    ece: float
    brier: float
    note: str
    score: Learned = field(repr=False)
    calibrate: Learned = field(repr=False)

    def log_odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) calibrated log-odds within ± MOST_LOG_ODDS."""
        if not len(features):
            return np.zeros(0)
        return np.clip(self.calibrate(self.score(features)), -MOST_LOG_ODDS, MOST_LOG_ODDS)

    def as_dict(self) -> dict[str, Any]:
        """What a summary says of it; NaN is None."""
        values = {name: getattr(self, name) for name in _PLAIN}
        return {
            name: None if isinstance(value, float) and np.isnan(value) else value
            for name, value in values.items()
        }


def stored_model(model: PairModel) -> dict[str, Any]:
    """A model as JSON keeps it; `read_model` gives the same one to the bit."""
    plain = {name: getattr(model, name) for name in _PLAIN}
    return {
        **{name: None if value != value else value for name, value in plain.items()},
        "features": list(FEATURES),
        "score": as_numbers(model.score),
        "calibrate": as_numbers(model.calibrate),
    }


def read_model(stored: Mapping[str, Any]) -> PairModel:
    """Of `stored_model`.

    Raises:
        InputError: it is none, or weighs other features than this version gives.
    """
    try:
        plain = {name: stored[name] for name in _PLAIN}
        plain |= {name: np.nan for name in ("auc", "ece", "brier") if plain[name] is None}
        score, calibrate = (from_numbers(stored[name]) for name in ("score", "calibrate"))
        features = stored["features"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"no model of pairs: {type(error).__name__}: {error}") from error
    if features != list(FEATURES):
        raise InputError(
            "this model of pairs was learned by another version, which weighed other features; learn it again"
        )
    return PairModel(**plain, score=score, calibrate=calibrate)


def fit_pairs(
    features: NDArray[np.float64],
    individuals: NDArray[np.signedinteger],
    *,
    folds: int = FOLDS,
    seed: int = 0,
) -> tuple[PairModel, NDArray[np.float64]]:
    """Learn from labelled pairs of the shortlist that will be decided on.

    Each pair also gets log-odds from a model that has seen neither of its individuals: what tuning and
    figures must use, as the final model knows these pairs.

    Args:
        features: (m, f) of `pair_features`.
        individuals: (m, 2) individual of both rows, −1 = unknown; pairs with an unknown one teach
            nothing, and their log-odds are the final model's.
        folds: of individuals, at least 3; fewer, down to 5, where individuals with two pictures are few.
        seed: of the folds.

    Returns:
        The model, and (m,) log-odds of the pairs.

    Raises:
        InputError: shapes that do not fit.
    """
    if features.shape != (len(individuals), len(FEATURES)):
        raise InputError(
            f"pairs: features of shape {features.shape} for {len(individuals)} pairs of {len(FEATURES)} features"
        )
    known = (individuals >= 0).all(axis=1)
    same = known & (individuals[:, 0] == individuals[:, 1])
    positives, negatives = int(same.sum()), int((known & ~same).sum())
    parts = len(np.unique(individuals[same])) if positives else 0
    folds = min(folds, max(FEWEST_FOLDS, parts // 2))
    if positives < FEWEST_FOR_LOGISTIC or negatives < FEWEST_FOR_LOGISTIC or parts < 2 * folds:
        model = stated_curve(positives, negatives)
        return model, model.log_odds(features)
    kind = "trees" if positives >= FEWEST_FOR_TREES else "logistic"
    fit = _fit_trees if kind == "trees" else _fit_logistic
    rows = np.flatnonzero(known)
    x, y, who = features[rows], same[rows], individuals[rows]
    fold = _folds(who, folds, seed)[who]  # (m, 2)
    raw = _unseen(x, y, fold, folds, fit)
    calibration, held_out = choose_calibration(raw, y, fold, folds)
    held_out = np.clip(held_out, -MOST_LOG_ODDS, MOST_LOG_ODDS)
    curve = CALIBRATIONS[calibration](raw, y)
    # One curve for all: each fold's own would shift its pairs against those of others. What it may have
    # learned from these very pairs is not in the figures, which are of each fold's own.
    out_of_fold = np.clip(curve(raw), -MOST_LOG_ODDS, MOST_LOG_ODDS)
    model = PairModel(
        kind=kind,
        calibration=calibration,
        positives=positives,
        negatives=negatives,
        auc=area_under_curve(raw, y),
        ece=calibration_error(probability(held_out), y),
        brier=float(((probability(held_out) - y) ** 2).mean()),
        note=f"learned from {positives:,} pairs of one animal and {negatives:,} of two; figures are of "
        "pairs neither of whose animals was trained on",
        score=fit(x, y),
        calibrate=curve,
    )
    log_odds = np.empty(len(features))
    log_odds[rows] = out_of_fold
    others = np.flatnonzero(~known)
    log_odds[others] = model.log_odds(features[others])
    return model, log_odds


def stated_curve(positives: int = 0, negatives: int = 0) -> PairModel:
    """The curve for collections without labels enough; it looks at sure and clear matches alone."""
    nan = float("nan")
    return PairModel(
        kind="stated",
        calibration="none",
        positives=positives,
        negatives=negatives,
        auc=nan,
        ece=nan,
        brier=nan,
        note=f"{positives} labelled pairs of one animal are too few to learn from ({FEWEST_FOR_LOGISTIC} "
        "are needed): a curve set on another species, good for an order, not for its probabilities",
        score=Stated(STATED_BASE, STATED_SLOPE),
        calibrate=Line(0.0, 1.0),
    )


def _folds(who: NDArray[np.signedinteger], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each individual, by number."""
    rng = np.random.default_rng([seed, 11])
    count = int(who.max()) + 1
    fold = np.full(count, -1, np.int64)
    present = np.unique(who)
    fold[rng.permutation(present)] = np.arange(len(present)) % folds
    return fold


def _unseen(
    x: NDArray[np.float64],
    y: NDArray[np.bool_],
    fold: NDArray[np.int64],
    folds: int,
    fit: Callable[[NDArray[np.float64], NDArray[np.bool_]], Learned],
) -> NDArray[np.float64]:
    """Raw log-odds of each pair by a model that has seen neither of its two individuals."""
    raw = np.full(len(y), np.nan)
    for first in range(folds):
        for second in range(first, folds):
            here = (fold.min(axis=1) == first) & (fold.max(axis=1) == second)
            if not here.any():
                continue
            seen = ~np.isin(fold, [first, second]).any(axis=1)
            if y[seen].all() or not y[seen].any():
                raw[here] = 0.0  # nothing to learn from: says nothing
                continue
            raw[here] = fit(x[seen], y[seen])(x[here])
    return raw


def _fit_trees(x: NDArray[np.float64], y: NDArray[np.bool_]) -> Learned:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        learning_rate=0.06,
        max_iter=150,
        max_leaf_nodes=8,
        min_samples_leaf=20,
        l2_regularization=1.0,
        early_stopping=False,
        monotonic_cst=list(FEATURES.values()),
        random_state=0,
    )
    # A feature that is known of no pair teaches nothing; constant, it is never split on.
    empty = np.asarray(np.isnan(x).all(axis=0))
    # Some thousand rows: threads would wait for each other longer than they work.
    with threadpool_limits(limits=1, user_api="openmp"):
        model.fit(np.where(empty, 0.0, x), y)

    return Trees.of(model, empty)


def _fit_logistic(x: NDArray[np.float64], y: NDArray[np.bool_]) -> Learned:
    from sklearn.linear_model import LogisticRegression

    few = Logistic.chosen(x)
    middle, spread = few.mean(axis=0), np.maximum(few.std(axis=0), 1e-9)
    model = LogisticRegression(C=1.0).fit((few - middle) / spread, y)
    # None of the three may speak against what it shows.
    slope = np.maximum(model.coef_[0], 0)
    return Logistic(middle, spread, slope, float(model.intercept_[0]))
