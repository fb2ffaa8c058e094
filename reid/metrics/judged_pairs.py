"""What labels say about the probabilities of pairs."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.metrics.parts import Figure, Part
from reid.pairs import (
    area_under_curve,
    calibration_error,
    comparable,
    has_mate,
    probability,
    ranked_lists,
)

FIGURES = {
    "recall": ("mate in the list", "can the animal be found at all?"),
    "top_1": ("top-1", "the surest pair of an image is the animal"),
    "auc": ("AUC", "a pair of one animal is surer than one of two"),
    "ece": ("ECE", "how far P is off, on average; 0 is perfect"),
}


def judge_pairs(
    pairs: NDArray[np.signedinteger],
    log_odds: NDArray[np.floating],
    identities: NDArray[np.int64],
    *,
    sides: NDArray[np.signedinteger] | None = None,
    apart: Sequence[NDArray[np.signedinteger]] = (),
    names: Sequence[str] | None = None,
) -> Part:
    """Score the pairs of one species whose both ends are labelled.

        recall = images whose mate is among the pairs / images that have one
        top-1 = images whose likeliest pair shows their individual / images that have a mate
        AUC = P(a pair of one individual has higher odds than a pair of two)
        ECE = Σ over 15 bins of probability of |mean probability − share of one individual| · share of the pairs

    Args:
        pairs: (m, 2) rows that were looked at, each once.
        log_odds: (m,) of one individual; of labelled rows by a model that has not seen them.
        identities: (n,) −1 = unknown.
        sides, apart: what is never compared, see `reid.pairs.comparable`: its own photograph and
            encounter prove nothing.
        names: (n,) which decide ties.

    Returns:
        Part with `recall` and `top_1` of the images that have a mate which they may be compared with,
        and `auc` and `ece` of the pairs.

    Raises:
        InputError: no labelled image has a mate, or no labelled pairs of both kinds are there.

    Example:
        Two animals of two images. The second's two were not looked at together, and its first one takes a
        stranger for its mate.

        >>> pairs = np.array([[0, 1], [1, 2], [0, 2]])
        >>> part = judge_pairs(pairs, np.array([2.0, 1.0, -1.0]), np.array([0, 0, 1, 1]))
        >>> [part.figures[name].value for name in ("recall", "top_1", "auc")]
        [0.5, 0.5, 1.0]
    """
    fine = comparable(pairs, sides, apart) & (identities[pairs] >= 0).all(axis=1)
    kept, odds = pairs[fine], log_odds[fine]
    same = identities[kept[:, 0]] == identities[kept[:, 1]]
    queries = has_mate(identities, sides, apart)
    if not queries.any() or same.all() or not same.any():
        raise InputError("pairs: too few labelled ones of one animal, and of two, to judge them by")
    n = len(identities)
    best = ranked_lists(n, kept, odds, 1, names=names)[:, 0]
    right = (best >= 0) & (identities[best] == identities)
    found = np.zeros(n, np.bool_)
    found[kept[same].ravel()] = True
    values = {
        "recall": float(found[queries].mean()),
        "top_1": float(right[queries].mean()),
        "auc": area_under_curve(odds, same),
        "ece": calibration_error(probability(odds), same),
    }
    return Part(
        "Pairs that were looked at closely",
        f"{int(queries.sum()):,} labelled images that have a mate in another encounter ask, {len(kept):,} pairs with "
        "both ends labelled are judged, by models that had not seen their animals",
        {name: Figure(*FIGURES[name], value, None, None) for name, value in values.items()},
    )
