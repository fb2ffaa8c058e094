"""What was learned of pairs, as plain numbers: functions that can be written down and read back to the bit."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.pairs.features import FEATURES, FEW

STEP_SLOPE = 1e-3
LEAST_CLEAR = 0.1  # added to the sum of clear matches: below it nothing is told apart


@dataclass(frozen=True, eq=False)
class Trees:
    """Sum of regression trees, all their nodes one after another.

    Attributes:
        roots: (t,) int64, first node of each tree.
        feature: (k,) int64, what a node looks at; −1: it is a leaf.
        threshold: (k,) up to here to the left.
        missing_left: (k,) bool: where the feature is not known.
        left, right: (k,) int64, nodes.
        value: (k,) of leaves.
        base: what every sum begins with.
        unknown: (f,) bool: features that taught nothing, and count as 0.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    missing_left: NDArray[np.bool_]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    base: float
    unknown: NDArray[np.bool_]

    @classmethod
    def of(cls, model: Any, unknown: NDArray[np.bool_]) -> "Trees":
        """Of a HistGradientBoostingClassifier for two classes, which has no public way to its trees."""
        trees = [stage[0].nodes for stage in model._predictors]
        roots = np.cumsum([0, *(len(tree) for tree in trees)])[:-1]
        nodes = np.concatenate(trees)
        first = np.repeat(roots, [len(tree) for tree in trees])
        leaf = nodes["is_leaf"].astype(bool)
        return cls(
            roots=roots.astype(np.int64),
            feature=np.where(leaf, -1, nodes["feature_idx"]).astype(np.int64),
            # A leaf's numbers are whatever lay in memory.
            threshold=np.where(leaf, 0.0, nodes["num_threshold"]),
            missing_left=nodes["missing_go_to_left"].astype(bool) & ~leaf,
            left=np.where(leaf, 0, first + nodes["left"]).astype(np.int64),
            right=np.where(leaf, 0, first + nodes["right"]).astype(np.int64),
            value=np.where(leaf, nodes["value"], 0.0),
            base=float(np.ravel(model._baseline_prediction)[0]),
            unknown=unknown,
        )

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) of (m, f) features."""
        x = np.where(self.unknown, 0.0, features)
        total = np.full(len(x), self.base)
        rows = np.arange(len(x))
        for root in self.roots:
            at = np.full(len(x), root)
            while (inner := self.feature[at] >= 0).any():
                value = x[rows, self.feature[at]]
                goes_left = np.where(
                    np.isnan(value), self.missing_left[at], value <= self.threshold[at]
                )
                at = np.where(inner, np.where(goes_left, self.left[at], self.right[at]), at)
            total += self.value[at]
        return total


@dataclass(frozen=True, eq=False)
class Logistic:
    """Few numbers, each with a weight that is not negative: log-odds of cosine, votes and clear matches.

    Attributes:
        middle, spread, slope: (3,) of each.
        base: log-odds in the middle.
    """

    middle: NDArray[np.float64]
    spread: NDArray[np.float64]
    slope: NDArray[np.float64]
    base: float

    @staticmethod
    def chosen(features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m, 3) what is weighted, of (m, f) features."""
        places = [list(FEATURES).index(name) for name in FEW]
        cosine, votes, clear = np.nan_to_num(features[:, places], nan=0.0).T
        return np.stack([cosine, np.log(0.01 + votes), np.log(0.01 + clear)], axis=1)

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) of (m, f) features."""
        few = (self.chosen(features) - self.middle) / self.spread
        value: NDArray[np.float64] = self.base + few @ self.slope
        return value


@dataclass(frozen=True, eq=False)
class Stated:
    """The curve for collections without labels; it looks at matches that are sure and clear alone."""

    base: float
    slope: float

    def __call__(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) of (m, f) features."""
        clear = np.nan_to_num(features[:, list(FEATURES).index("clear_sum")], nan=0.0)
        value: NDArray[np.float64] = self.base + self.slope * np.log(LEAST_CLEAR + clear)
        return value


@dataclass(frozen=True, eq=False)
class Line:
    """Raw log-odds → calibrated ones, by Platt."""

    base: float
    slope: float

    def __call__(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) of (m,) raw log-odds."""
        return self.base + self.slope * raw


@dataclass(frozen=True, eq=False)
class Steps:
    """Raw log-odds → calibrated ones, by isotonic regression.

    Attributes:
        raw: (k,) rising.
        p: (k,) rising, in (0, 1): linear between.
    """

    raw: NDArray[np.float64]
    p: NDArray[np.float64]

    def __call__(self, raw: NDArray[np.float64]) -> NDArray[np.float64]:
        """(m,) of (m,) raw log-odds."""
        p = np.interp(raw, self.raw, self.p)
        # On a step of the curve the raw scores still say which pair is the surer one.
        found: NDArray[np.float64] = np.log(p / (1 - p)) + STEP_SLOPE * raw
        return found


FORMS = {"trees": Trees, "logistic": Logistic, "stated": Stated, "line": Line, "steps": Steps}
Learned = Trees | Logistic | Stated | Line | Steps


def as_numbers(learned: Learned) -> dict[str, Any]:
    """As JSON keeps it, to the bit."""
    form = next(name for name, kind in FORMS.items() if type(learned) is kind)
    values = {one.name: getattr(learned, one.name) for one in fields(learned)}
    return {"form": form} | {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def from_numbers(stored: Mapping[str, Any]) -> Learned:
    """Of `as_numbers`; KeyError or TypeError for what is none."""
    values = {
        name: np.asarray(value) if isinstance(value, list) else value
        for name, value in stored.items()
        if name != "form"
    }
    made: Learned = FORMS[stored["form"]](**values)
    return made
