"""Lists of pairs with a score each, as verification competitions want them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError

SCALES = ("clip", "affine", "calibrated")
MOST_LABELLED = 2_000  # rows whose pairs a curve is learned from
FEWEST_INDIVIDUALS = 5


def clipped(cosine: NDArray[np.floating]) -> NDArray[np.float64]:
    """max(cos, 0): unlike pairs are all equally unlike."""
    return np.clip(np.asarray(cosine, np.float64), 0, 1)


def affine(cosine: NDArray[np.floating]) -> NDArray[np.float64]:
    """(cos + 1) / 2, which keeps every order."""
    return np.clip((np.asarray(cosine, np.float64) + 1) / 2, 0, 1)


def pair_similarity(
    vectors: NDArray[np.float32], pairs: NDArray[np.integer], scale: str = "affine"
) -> NDArray[np.float64]:
    """(p,) similarity in [0, 1] of each pair of rows.

    Args:
        vectors: (n, d) float32, unit rows.
        pairs: (p, 2) row numbers.
        scale: `clip`, max(cos, 0), or `affine`, (cos + 1) / 2.

    Raises:
        InputError: another scale; `calibrated` needs labels, and has a function of its own.
    """
    if scale not in ("clip", "affine"):
        raise InputError(f"scale {scale}: known: clip, affine")
    low, high = np.asarray(pairs).reshape(-1, 2).T
    cosine = np.einsum("pd,pd->p", vectors[low], vectors[high], dtype=np.float32)
    return clipped(cosine) if scale == "clip" else affine(cosine)


def calibrated(
    cosine: NDArray[np.floating],
    vectors: NDArray[np.float32],
    identities: Sequence[str | None],
    encounters: Sequence[str | None],
    *,
    seed: int = 0,
) -> NDArray[np.float64]:
    """P(same individual) of pairs that are drawn as the labelled ones are: a logistic curve over cosine.

    Args:
        cosine: (p,) of the pairs that are asked for.
        vectors: (n, d) float32, unit rows.
        identities: (n,) identity, None where unknown.
        encounters: (n,) encounter, None where there is none; pairs inside one teach nothing.
        seed: which rows are taken where more than MOST_LABELLED are labelled.

    Raises:
        InputError: fewer than FEWEST_INDIVIDUALS labelled individuals have two images of different
            encounters.
    """
    from sklearn.linear_model import LogisticRegression

    names = np.asarray([one or "" for one in identities], dtype=object).astype(str)
    rows = np.flatnonzero(names != "")
    if len(rows) > MOST_LABELLED:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_LABELLED, replace=False))
    low, high = np.triu_indices(len(rows), 1)
    met = np.asarray([one or f"\0{i}" for i, one in enumerate(encounters)], dtype=object)[rows]
    apart = met[low] != met[high]
    low, high = low[apart], high[apart]
    same = names[rows[low]] == names[rows[high]]
    individuals = len(set(names[rows[low[same]]]))
    if individuals < FEWEST_INDIVIDUALS or same.all():
        raise InputError(
            f"scale calibrated: {individuals} labelled individuals have two images of different encounters, "
            f"{FEWEST_INDIVIDUALS} are needed; take --scale affine, or label more"
        )
    own = vectors[rows]
    known = (own @ own.T)[low, high].astype(np.float64)
    curve = LogisticRegression(C=1e6).fit(known[:, None], same)
    probability: NDArray[np.float64] = curve.predict_proba(np.asarray(cosine, np.float64)[:, None])[
        :, 1
    ]
    return probability


def identity_balanced_map(
    similarity: NDArray[np.floating],
    queries: Sequence[str],
    same: NDArray[np.bool_],
    identities: Sequence[str],
) -> tuple[float, int, int]:
    """Mean average precision in which every individual weighs the same, however often it was photographed.

    AP(q) is taken over the gallery of query q; mAP = mean over individuals of the mean of AP(q) over
    the queries q of an individual. Queries whose gallery does not have their individual have no AP.

    Args:
        similarity: (p,) of each pair.
        queries: (p,) the query of each pair.
        same: (p,) True where both show one individual.
        identities: (p,) individual of the query of each pair.

    Returns:
        The mean, the number of queries that count, and of individuals.

    Raises:
        InputError: no query has its individual in its gallery.

    Example:
        Anna's two queries have an AP of 1 and 0.5, Bo's one of 0.5; the plain mean would be 0.667.

        >>> same = np.array([True, False, False, True, False, True])
        >>> score = np.array([0.9, 0.1, 0.9, 0.1, 0.9, 0.1])
        >>> who = ["Anna"] * 4 + ["Bo"] * 2
        >>> identity_balanced_map(score, ["a", "a", "b", "b", "c", "c"], same, who)
        (0.625, 3, 2)
    """
    import pandas as pd
    from sklearn.metrics import average_precision_score

    pairs = pd.DataFrame(
        {"score": similarity, "query": queries, "same": same, "identity": identities}
    )
    found = [
        (own["identity"].iloc[0], average_precision_score(own["same"], own["score"]))
        for _, own in pairs.groupby("query", sort=False)
        if own["same"].any()
    ]
    if not found:
        raise InputError("no query has its individual among the images that it is compared with")
    by_individual = pd.DataFrame(found, columns=["identity", "ap"]).groupby("identity")["ap"].mean()
    return float(by_individual.mean()), len(found), len(by_individual)
