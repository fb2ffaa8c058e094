"""The individuals of one species by the probabilities of its pairs, where these do better than distances."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid.pairs import mutex_watershed
from reid.tune.clusters import Individuals
from reid.tune.guards import warnings
from reid.tune.samples import held_out_folds
from reid.tune.sweep import encode_labels
from reid.tune.threshold import Threshold, can_tune

FOLDS = 5


def individuals_by_pairs(
    distances: Individuals,
    pairs: NDArray[np.signedinteger],
    log_odds: NDArray[np.floating],
    identities: NDArray[Any],
    *,
    names: Sequence[str],
    together: NDArray[np.signedinteger] | None = None,
    lone_log_odds: float | None = None,
    mode: Literal["on", "auto"] = "on",
    learned: bool = True,
    seed: int = 0,
) -> Individuals:
    """Groups that break as little as can be of the surest evidence, or what distances gave.

    Args:
        distances: what `find_individuals` made of the same rows.
        pairs: (m, 2) rows that were looked at.
        log_odds: (m,) of "one individual"; of labelled rows by a model that has not seen them.
        identities: (n,) known identities, None where unknown. They judge, and join nothing.
        names: (n,) ids, which decide between pairs that are equally sure.
        together: (c, 2) rows known to be one animal, say of one encounter.
        lone_log_odds: see `mutex_watershed`.
        mode: `auto` keeps pairs only where individuals held out gain by more than the spread of what
            distances give, and where their probabilities were `learned`.
        learned: False for a stated curve.
        seed: of the folds.

    Returns:
        Individuals; its notes say which it is, and why.
    """
    decided = mutex_watershed(
        len(names),
        pairs,
        log_odds,
        together=together,
        names=np.asarray(names),
        lone_log_odds=lone_log_odds,
    )
    said = f"Mutex Watershed over the probabilities of {len(pairs):,} pairs"
    doubtful = (
        f"{len(decided.doubtful):,} joins hang on one pair and are left to people"
        if decided.doubtful
        else ""
    )
    held_out = _held_out(decided.labels, identities, seed)
    if mode == "auto":
        reason = _why_not(distances.threshold.held_out, held_out, learned)
        if reason:
            return replace(distances, notes=[*distances.notes, f"pairs are left aside: {reason}"])
    if held_out is not None:
        said += f"; on individuals held out {held_out[0]:.2f} ± {held_out[1]:.2f}"
    threshold = Threshold(None, "none", "mutex", said, held_out=held_out)
    return replace(
        distances,
        labels=decided.labels,
        threshold=threshold,
        warnings=warnings(decided.labels, eps=None, ceiling=None, at_edge=None),
        notes=[said, *filter(None, [doubtful])],
    )


def _held_out(
    labels: NDArray[np.int64], identities: NDArray[Any], seed: int
) -> tuple[float, float] | None:
    """Mean and spread of the ARI among the individuals of each fold; None without labels enough."""
    from sklearn.metrics import adjusted_rand_score

    if not can_tune(identities):
        return None
    codes = encode_labels(identities)
    rows = np.flatnonzero(codes >= 0)
    scores = [
        adjusted_rand_score(codes[rows[fold]], labels[rows[fold]])
        for _, fold in held_out_folds(codes[rows], FOLDS, seed)
        if len(fold)
    ]
    return float(np.mean(scores)), float(np.std(scores))


def _why_not(
    distances: tuple[float, float] | None, pairs: tuple[float, float] | None, learned: bool
) -> str:
    if not learned:
        return "there are too few labelled pairs to learn their probabilities from"
    if distances is None or pairs is None:
        return "nothing says whether they do better: give labels, or pairs.mode=on"
    if pairs[0] <= distances[0] + distances[1]:
        return (
            f"on individuals held out they give {pairs[0]:.2f}, distances {distances[0]:.2f} ± "
            f"{distances[1]:.2f}"
        )
    return ""
