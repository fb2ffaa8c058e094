"""How alike is alike enough? A threshold from labels, from another species, or from the data alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid.cluster import Compared
from reid.errors import InputError
from reid.tune.heldout import MIN_INDIVIDUALS
from reid.tune.samples import search_ceiling, tuning_ceiling
from reid.tune.sweep import Criterion, encode_labels
from reid.tune.unlabelled import estimate_from_forest

Method = Literal["dbscan", "average", "complete", "hdbscan", "kmeans", "scan", "auto"]
WITHOUT_THRESHOLD = ("hdbscan", "kmeans", "scan")
Rerank = Literal["off", "on", "auto"]
# Neighbours that a row has on average within the largest threshold that an estimate looks at. The first
# ceiling nearly always says enough, at half of the edges; where it does not, the second is looked at.
UNLABELLED_NEIGHBOURS = (100, 200)


@dataclass(frozen=True)
class Clustering:
    """How rows shall become clusters, as far as somebody has said.

    Attributes:
        method: `auto` takes DBSCAN or average linkage, the better on held-out individuals; DBSCAN where
            `eps` is given, or nothing says which is better.
        eps: a given threshold; None: tuned on labels, lent by another species, or estimated.
        max_eps: end of the search for one; None: from the data.
        min_samples: images, itself included, that make a core point (DBSCAN).
        n_clusters: number of individuals (k-means, SCAN).
        self_label: SCAN learns on from what it is sure of.
        over_cluster: SCAN joins clusters that share nearest images; `n_clusters` is more than there are.
        criterion: what tuning maximises.
        rerank: `auto` keeps re-ranking where held-out individuals gain by more than the spread.
        k1: of re-ranking, where `eps` is given on its scale.
        jaccard_weight: of re-ranking.
        images_per_individual: fit the threshold to data of this density instead of to these rows, by
            thinning the labelled ones; for a threshold that shall serve sparser uploads.
        seed: of the estimate and of k-means.
        on_cuml: DBSCAN at the threshold is cuML's own.
    """

    method: Method = "dbscan"
    eps: float | None = None
    max_eps: float | None = None
    min_samples: int = 2
    n_clusters: int | None = None
    self_label: bool = False
    over_cluster: bool = False
    criterion: Criterion = "ari"
    rerank: Rerank = "off"
    k1: int | None = None
    jaccard_weight: float = 0.7
    images_per_individual: float | None = None
    seed: int = 0
    on_cuml: bool = False


@dataclass(frozen=True)
class Threshold:
    """How rows become clusters, and where that was learned.

    Attributes:
        eps: cosine distance, or re-ranked distance where `k1` is set; None where the method has none.
        source: `given`, `tuned` on labels, lent by a `fallback` species, `estimated` from the data
            alone, `none` where the method has none, or `pairs`: a cut through their probabilities instead.
        method: the clustering that `eps` belongs to.
        note: one sentence for the reader.
        k1: neighbours of re-ranking; None where it is off.
        criterion, score: what was maximised, and its value on the labels.
        held_out: mean and spread of the criterion on individuals that were not tuned on.
        expected: mean and spread of the ARI that their errors mean among all images, see `expected_ari`;
            None where the threshold is for data of another density.
        interval: where the threshold lies, for an estimate.
        thresholds, scores: (t,) the curve, thinned to a few hundred points.
        tried: what tuning tried, one dict a candidate.
        notes: what else a reader should know.
        at_edge, ceiling: see `reid.tune.best`: an optimum at the end of the range is none.
    """

    eps: float | None
    source: Literal["given", "tuned", "fallback", "estimated", "pairs", "none"]
    method: Method | Literal["mutex", "mean-linkage", "components", "threshold"]
    note: str
    k1: int | None = None
    criterion: str | None = None
    score: float | None = None
    held_out: tuple[float, float] | None = None
    expected: tuple[float, float] | None = None
    interval: tuple[float, float] | None = None
    thresholds: Sequence[float] = ()
    scores: Sequence[float] = ()
    tried: Sequence[dict[str, Any]] = ()
    notes: Sequence[str] = ()
    at_edge: Literal["low", "high"] | None = None
    ceiling: float | None = None


def can_tune(identities: NDArray[Any]) -> bool:
    """True if there are labels enough to tune on some individuals and judge on others."""
    codes = encode_labels(identities)
    sizes = np.bincount(codes[codes >= 0])
    return len(sizes) >= MIN_INDIVIDUALS and int(sizes.max()) >= 2


def settled(
    rows: int, identities: NDArray[Any], asked: Clustering, fallback: Threshold | None = None
) -> Threshold | None:
    """The threshold where no pair has to be compared to know it; None where it is to be found.

    Args:
        rows: that are to be clustered.
        identities: (n,) known identities, None where unknown.
        asked: what was asked for.
        fallback: another species' threshold, for a species that cannot be tuned.

    Raises:
        InputError: the settings do not fit together.
    """
    if asked.method in WITHOUT_THRESHOLD:
        return Threshold(None, "none", asked.method, f"{asked.method} uses no distance threshold")
    if asked.eps is not None:
        if asked.rerank == "auto" or (asked.rerank == "on" and asked.k1 is None):
            raise InputError(
                f"cluster.eps={asked.eps:g} is a distance on one scale: with it give rerank=off, or "
                "rerank.mode=on with rerank.k1"
            )
        k1 = asked.k1 if asked.rerank == "on" else None
        method = "dbscan" if asked.method == "auto" else asked.method
        return Threshold(asked.eps, "given", method, "given in the configuration", k1=k1)
    if can_tune(identities):
        return None
    if fallback is not None:
        return fallback
    if asked.rerank == "on":
        raise InputError(
            "rerank.mode=on without labels: the re-ranked scale needs a threshold of its own; give "
            "cluster.eps and rerank.k1, or label some images"
        )
    if rows < 2:
        return Threshold(None, "none", "dbscan", "one image: nothing to compare it with")
    return None


def search_range(
    vectors: NDArray[np.float32],
    identities: NDArray[Any],
    asked: Clustering,
    threshold: Threshold | None,
    *,
    farther: bool = False,
) -> float | None:
    """How far apart two rows may be for their distance to matter; None: no distance does.

    Args:
        vectors: (n, d) float32, unit rows.
        identities: (n,) known identities, None where unknown.
        asked: what was asked for.
        threshold: of `settled`.
        farther: without labels, as far as an estimate may look at most.
    """
    if threshold is not None:
        return threshold.eps if threshold.k1 is None else None
    if asked.max_eps is not None:
        return asked.max_eps
    if can_tune(identities):
        known = encode_labels(identities) >= 0
        every = bool(known.all())
        return tuning_ceiling(vectors if every else vectors[known], identities[known])
    return search_ceiling(vectors, UNLABELLED_NEIGHBOURS[farther], seed=asked.seed)


def estimated_threshold(asked: Clustering, compared: Compared) -> tuple[Threshold, bool]:
    """A threshold from the rows alone, and how sure it is.

    Args:
        asked: what was asked for.
        compared: the rows that will be clustered.

    Returns:
        The threshold, and whether a higher ceiling could not change it.
    """
    chosen: Method = "dbscan" if asked.method == "auto" else asked.method
    forest, ceiling = compared.forest, compared.ceiling
    if asked.min_samples == 1:  # an image alone is no individual that was found
        near = compared.nearest_distance <= np.float32(ceiling)  # NaN is not
        core = np.where(near, compared.nearest_distance, np.inf).astype(np.float32)
        forest = replace(forest, core=core)
    if not len(forest.merges):
        note = f"no labels, and no two images within {ceiling:.4g}: each stands alone"
        return Threshold(ceiling, "estimated", chosen, note), False
    guess = estimate_from_forest(forest, ceiling)
    found = Threshold(
        eps=guess.eps,
        source="estimated",
        method=chosen,
        note=guess.statement,
        interval=(guess.low, guess.high),
    )
    return found, guess.settled
