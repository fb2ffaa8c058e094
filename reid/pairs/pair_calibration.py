"""Raw log-odds → calibrated ones, and how far they are right on pairs that they were not fitted on."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from reid.pairs.learned import Learned, Line, Steps

BINS = 15


def probability(log_odds: NDArray[np.floating]) -> NDArray[np.float64]:
    """P of log(P / (1 − P))."""
    values: NDArray[np.float64] = 1 / (1 + np.exp(-np.asarray(log_odds, np.float64)))
    return values


def _platt(raw: NDArray[np.float64], y: NDArray[np.bool_]) -> Learned:
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=1e6).fit(raw[:, None], y)
    return Line(float(model.intercept_[0]), max(float(model.coef_[0, 0]), 0.0))


def _isotonic(raw: NDArray[np.float64], y: NDArray[np.bool_]) -> Learned:
    from sklearn.isotonic import IsotonicRegression

    least = 1 / (len(y) + 2)
    model = IsotonicRegression(y_min=least, y_max=1 - least, out_of_bounds="clip").fit(raw, y)

    return Steps(model.X_thresholds_, model.y_thresholds_)


CALIBRATIONS: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.bool_]], Learned]] = {
    "platt": _platt,
    "isotonic": _isotonic,
}


def choose_calibration(
    raw: NDArray[np.float64], y: NDArray[np.bool_], fold: NDArray[np.int64], folds: int
) -> tuple[str, NDArray[np.float64]]:
    """The curve with the better Brier score on pairs that it was not fitted on, and their log-odds."""
    best = ("platt", raw, np.inf)
    for name, make in CALIBRATIONS.items():
        held_out = np.zeros(len(y))
        for first in range(folds):
            for second in range(first, folds):
                here = (fold.min(axis=1) == first) & (fold.max(axis=1) == second)
                seen = ~np.isin(fold, [first, second]).any(axis=1)
                if here.any() and y[seen].any() and not y[seen].all():
                    held_out[here] = make(raw[seen], y[seen])(raw[here])
        brier = float(((probability(held_out) - y) ** 2).mean())
        if brier < best[2]:
            best = (name, held_out, brier)
    return best[0], best[1]


def area_under_curve(scores: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    """Chance that a pair of one animal scores above one of two; ties count half. NaN without both."""
    from scipy.stats import rankdata

    positives = int(same.sum())
    negatives = len(same) - positives
    if not positives or not negatives:
        return float("nan")
    ranks = rankdata(scores)[same].sum()
    return float((ranks - positives * (positives + 1) / 2) / (positives * negatives))


def calibration_error(p: NDArray[np.floating], same: NDArray[np.bool_]) -> float:
    """ECE: mean distance of P from the share of pairs that are one animal, over bins of P."""
    if not len(p):
        return float("nan")
    bins = np.minimum((np.asarray(p) * BINS).astype(int), BINS - 1)
    counts = np.bincount(bins, minlength=BINS)
    gap = np.abs(
        np.bincount(bins, weights=p, minlength=BINS)
        - np.bincount(bins, weights=same, minlength=BINS)
    )
    return float(gap.sum() / counts.sum())
