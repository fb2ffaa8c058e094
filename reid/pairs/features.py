"""A pair's evidence as a row of numbers for the classifier, each with the way it may only point."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid.errors import InputError

# Name → +1: more of it never makes "same individual" less likely; −1: never more; 0: either.
FEATURES: Mapping[str, int] = {
    "cosine": 1,
    "best_rank": -1,
    "worst_rank": -1,
    "shared_neighbours": 1,
    "votes": 1,
    "votes_over_usual": 1,
    "votes_best_rank": -1,
    "votes_worst_rank": -1,
    "matches_10": 1,
    "matches_30": 1,
    "matches_50": 1,
    "matches_80": 1,
    "confidence_sum": 1,
    "clear_sum": 1,
    "matches_10_share": 1,
    "matches_30_share": 1,
    "matches_50_share": 1,
    "matches_80_share": 1,
    "confidence_share": 1,
    "inliers": 1,
    "inlier_share": 1,
    "residual": -1,
    "area": 1,
    "unlike_scale": -1,
    "shear": -1,
    "fewer_keypoints": 0,
    "source_pixels": 0,
    "same_side": 0,
    "days_between": 0,
    "kilometres": 0,
    "needed_kmh": -1,
}
COUNTS = ("matches_10", "matches_30", "matches_50", "matches_80")
# What a logistic regression is given, where labels are few.
FEW = ("cosine", "votes", "clear_sum")


def pair_features(
    evidence: pa.Table,
    *,
    cosine: NDArray[np.floating],
    ranks: NDArray[np.integer],
    shared: NDArray[np.floating],
    votes: NDArray[np.floating] | None = None,
    votes_over_usual: NDArray[np.floating] | None = None,
    votes_ranks: NDArray[np.integer] | None = None,
    same_side: NDArray[np.bool_] | None = None,
    days_between: NDArray[np.floating] | None = None,
    kilometres: NDArray[np.floating] | None = None,
) -> NDArray[np.float64]:
    """The features of pairs: (m, len(FEATURES)) float64, NaN where something is not known.

    Args:
        evidence: schema.PAIR_EVIDENCE, m rows.
        cosine: (m,) cosine of the embeddings.
        ranks: (m, 2) of `Candidates`.
        shared: (m,) of `Candidates`.
        votes: (m,) of `reid.pairs.votes`.
        votes_over_usual: (m,) of `reid.pairs.over_usual`.
        votes_ranks: (m, 2) places of each in the other's list by votes, from 1.
        same_side: (m,) both sides are known and the same.
        days_between, kilometres: (m,) between the two photographs, NaN where not known.

    Raises:
        InputError: arrays of different lengths.
    """
    m = len(evidence)
    columns: dict[str, Any] = {
        name: evidence[name].to_numpy().astype(np.float64)
        for name in (*COUNTS, "confidence_sum", "clear_sum", "inliers", "residual", "area", "shear")
    }
    fewer = np.minimum(
        evidence["a_keypoints"].to_numpy(), evidence["b_keypoints"].to_numpy()
    ).astype(np.float64)
    least = np.maximum(fewer, 1)
    columns["cosine"] = cosine
    columns["best_rank"], columns["worst_rank"] = _ordered(ranks)
    columns["shared_neighbours"] = shared
    columns["votes"] = votes
    columns["votes_over_usual"] = votes_over_usual
    if votes_ranks is not None:
        columns["votes_best_rank"], columns["votes_worst_rank"] = _ordered(votes_ranks)
    for name in COUNTS:
        columns[f"{name}_share"] = columns[name] / least
    columns["confidence_share"] = columns["confidence_sum"] / least
    matched = np.maximum(columns["matches_10"], 1)
    columns["inlier_share"] = columns["inliers"] / matched
    stretch = evidence["stretch"].to_numpy().astype(np.float64)
    columns["unlike_scale"] = np.abs(np.log(stretch, where=stretch > 0, out=np.full(m, np.nan)))
    columns["fewer_keypoints"] = fewer
    columns["source_pixels"] = evidence["source_pixels"].to_numpy()
    columns["same_side"] = same_side
    columns["days_between"] = days_between
    columns["kilometres"] = kilometres
    if days_between is not None and kilometres is not None:
        hours = np.maximum(np.asarray(days_between) * 24, 1 / 60)
        columns["needed_kmh"] = np.asarray(kilometres) / hours
    made = np.full((m, len(FEATURES)), np.nan)
    for place, name in enumerate(FEATURES):
        values = columns.get(name)
        if values is None:
            continue
        if len(values) != m:
            raise InputError(f"pairs: {len(values)} values of {name} for {m} pairs")
        made[:, place] = values
    return made


def _ordered(ranks: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    return ranks.min(axis=1), ranks.max(axis=1)
