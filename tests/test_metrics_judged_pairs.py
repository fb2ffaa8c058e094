"""Figures of pairs, by hand and against plain loops."""

import numpy as np
import pytest

from reid.errors import InputError
from reid.metrics import judge_pairs
from reid.pairs import probability


def values(*arguments: object, **options: object) -> dict[str, float]:
    part = judge_pairs(*arguments, **options)  # type: ignore[arg-type]
    return {name: figure.value for name, figure in part.figures.items()}


def test_figures_by_hand() -> None:
    """Of five pictures of two animals 4 has no pair, and 3's surest pair is a stranger."""
    who = np.array([0, 0, 1, 1, 1, -1])
    pairs = np.array([[0, 1], [1, 3], [2, 3], [0, 5]])
    odds = np.array([3.0, 1.0, 0.5, 9.0])
    found = values(pairs, odds, who)
    assert found["recall"] == pytest.approx(4 / 5)
    assert found["top_1"] == pytest.approx(3 / 5)
    assert found["auc"] == pytest.approx(1 / 2)
    p = probability(odds[:3])
    assert found["ece"] == pytest.approx(np.abs(p - [1, 0, 1]).mean())
    # In one encounter 0 and 1 prove nothing, and have no other mate.
    encounters = np.array([7, 7, -1, -1, -1, -1])
    found = values(pairs, odds, who, apart=[encounters])
    assert found["recall"] == pytest.approx(2 / 3)
    assert found["top_1"] == pytest.approx(1 / 3)


def test_left_and_right_are_not_asked_for_each_other() -> None:
    who, pairs = np.array([0, 0, 0, 1]), np.array([[0, 1], [0, 3]])
    found = values(pairs, np.array([1.0, 2.0]), who, sides=np.array([0, 0, 1, -1]))
    assert (found["recall"], found["top_1"]) == (1.0, 0.5)


def test_labels_that_say_nothing_are_refused() -> None:
    with pytest.raises(InputError, match="too few labelled ones"):
        judge_pairs(np.array([[0, 1]]), np.ones(1), np.array([0, 0]))
    with pytest.raises(InputError, match="too few labelled ones"):
        judge_pairs(np.array([[0, 1]]), np.ones(1), np.array([0, 1]))
