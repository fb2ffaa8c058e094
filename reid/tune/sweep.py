"""Scores at every threshold from one pass over a spanning forest, and the best of them."""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reid.cluster import Forest, spanning_forest
from reid.errors import InputError
from reid.neighbors import Graph
from reid.tune.replay import replay
from reid.tune.scores import running_scores

Criterion = Literal["ari", "ami", "pairwise_f1"]
EDGE_SHARE = 0.02


@dataclass(frozen=True, slots=True)
class Sweep:
    """Scores of a clustering at every threshold at which it may change.

    Row k holds for thresholds[k] <= eps < thresholds[k + 1], the last one up to `ceiling`.

    Attributes:
        thresholds: (k,) float64, rising cosine distances; the first is 0.
        ari, ami, pairwise_f1: (k,) float64, over the labelled rows; noise counts as singletons.
        n_clusters: (k,) int64, clusters among all rows, noise not counted.
        n_noise: (k,) int64, noise rows among all rows.
        n_labelled: labelled rows, those that are scored.
        ceiling: the largest threshold that the graph can answer.
    """

    thresholds: NDArray[np.float64]
    ari: NDArray[np.float64]
    ami: NDArray[np.float64]
    pairwise_f1: NDArray[np.float64]
    n_clusters: NDArray[np.int64]
    n_noise: NDArray[np.int64]
    n_labelled: int
    ceiling: float


@dataclass(frozen=True, slots=True)
class Best:
    """The best threshold of a sweep.

    Attributes:
        eps: the middle of [low, high).
        score: at every threshold of [low, high).
        low, high: the widest range of thresholds with the best score.
        at_edge: "low" when merging nothing scores best, "high" when the best range reaches the
            end of what was searched (the last 2 %), so that the optimum may lie beyond; or None.
    """

    eps: float
    score: float
    low: float
    high: float
    at_edge: Literal["low", "high"] | None


def sweep(
    graph: Graph, labels: NDArray[Any], min_samples: int = 2, *, ceiling: float | None = None
) -> Sweep:
    """Score DBSCAN against known identities at every threshold, for the cost of one clustering.

    All rows take part in the merging; the labelled ones are scored. The result equals
    clustering again with `dbscan` at each threshold, noise made singletons, and scoring with
    scikit-learn, for every `min_samples`: border rows change cluster as they do there.

    Args:
        graph: every pair within `ceiling`.
        labels: (n,) identities: strings, objects or integers; None, NaN or -1 is "unlabelled".
        min_samples: as in `dbscan`.
        ceiling: the radius of the graph, the end of the search; its longest edge when not given.

    Raises:
        InputError: wrong number of labels, no labelled row, or `min_samples` below 1.
    """
    if ceiling is None:
        ceiling = float(graph.distances.max(initial=0))
    return sweep_forest(spanning_forest(graph, min_samples), labels, ceiling)


def sweep_forest(forest: Forest, labels: NDArray[Any], ceiling: float) -> Sweep:
    """As `sweep`, for a forest that is there already: of DBSCAN or of linkage.

    Args:
        forest: of `spanning_forest` or `linkage_forest`.
        labels: (n,) identities: strings, objects or integers; None, NaN or -1 is "unlabelled".
        ceiling: the largest threshold that the forest was built for.

    Raises:
        InputError: wrong number of labels, or no labelled row.
    """
    codes = encode_labels(labels)
    if len(codes) != forest.n:
        raise InputError(f"{len(codes)} labels for {forest.n} rows: one a row is needed")
    labelled = codes[codes >= 0]
    if not len(labelled):
        raise InputError(
            "no row has an identity, so no threshold can be scored: give cluster.eps, or let "
            "the threshold be estimated without labels"
        )
    # From here on a row is in a cluster or attached to one: the smaller of its two beginnings.
    found = forest.core.copy()
    np.minimum.at(found, forest.borders[:, 0], forest.border_weights)
    events = [forest.weights, forest.border_weights, forest.core[np.isfinite(forest.core)]]
    thresholds = np.unique(np.concatenate([np.zeros(1, dtype=np.float32), *events]))
    changes, change_weights = replay(forest, codes)
    done = np.searchsorted(change_weights, thresholds, side="right")
    ari, ami, f1 = running_scores(changes, np.bincount(labelled), done)
    cores = np.searchsorted(np.sort(forest.core), thresholds, side="right")
    merges = np.searchsorted(forest.weights, thresholds, side="right")
    return Sweep(
        thresholds=thresholds.astype(np.float64),
        ari=ari,
        ami=ami,
        pairwise_f1=f1,
        n_clusters=cores - merges,
        n_noise=forest.n - np.searchsorted(np.sort(found), thresholds, side="right"),
        n_labelled=len(labelled),
        ceiling=ceiling,
    )


def best(result: Sweep, criterion: Criterion = "ari") -> Best:
    """The threshold with the best score, in the middle of the range where that score holds.

    A clustering stays the same between two merges, so any threshold in between is as good on
    these rows; the middle leaves the largest margin to new ones. Of several ranges with the
    same score the widest is taken.

    Args:
        result: of `sweep`.
        criterion: "ari", "ami" or "pairwise_f1".

    Raises:
        InputError: unknown criterion.
    """
    if criterion not in ("ari", "ami", "pairwise_f1"):
        raise InputError(f"criterion {criterion!r}: known criteria are ari, ami, pairwise_f1")
    scores = getattr(result, criterion)
    ends = np.append(result.thresholds[1:], max(result.ceiling, result.thresholds[-1]))
    top = scores.max()
    is_best = scores >= top - 1e-12  # sums in another order may differ in the last digits
    starts = np.flatnonzero(is_best & ~np.append(False, is_best[:-1]))
    stops = np.flatnonzero(is_best & ~np.append(is_best[1:], False))
    widest = int(np.argmax(ends[stops] - result.thresholds[starts]))
    first, last = starts[widest], stops[widest]
    low, high = float(result.thresholds[first]), float(ends[last])
    eps = (low + high) / 2
    if np.float32(eps) >= np.float32(high):
        eps = low  # two neighbouring float32 numbers have no middle
    at_edge: Literal["low", "high"] | None = None
    if last == len(scores) - 1 or eps > (1 - EDGE_SHARE) * result.ceiling:
        at_edge = "high"
    elif first == 0:
        at_edge = "low"
    return Best(eps, float(top), low, high, at_edge)


def score_at(result: Sweep, eps: float, criterion: Criterion = "ari") -> float:
    """The score at one threshold, 0 <= eps <= ceiling."""
    # In float32, the precision in which `labels_at` compares.
    k = int(np.searchsorted(result.thresholds, np.float64(np.float32(eps)), side="right")) - 1
    return float(getattr(result, criterion)[k])


def mean_curve(sweeps: list[Sweep]) -> Sweep:
    """The mean of several sweeps at every threshold at which one of them changes."""
    if len(sweeps) == 1:
        return sweeps[0]
    thresholds = np.unique(np.concatenate([one.thresholds for one in sweeps]))
    at = [np.searchsorted(one.thresholds, thresholds, side="right") - 1 for one in sweeps]

    def mean(name: str) -> NDArray[np.float64]:
        values = [getattr(one, name)[k] for one, k in zip(sweeps, at, strict=True)]
        result: NDArray[np.float64] = np.mean(values, axis=0)
        return result

    return replace(
        sweeps[0],
        thresholds=thresholds,
        ari=mean("ari"),
        ami=mean("ami"),
        pairwise_f1=mean("pairwise_f1"),
        n_clusters=mean("n_clusters").round().astype(np.int64),
        n_noise=mean("n_noise").round().astype(np.int64),
        n_labelled=round(np.mean([one.n_labelled for one in sweeps])),
    )


def encode_labels(labels: NDArray[Any]) -> NDArray[np.int64]:
    """Identities as numbers 0, 1, ...; None, NaN and -1 become -1.

    Args:
        labels: (n,) strings, objects or integers.
    """
    values = np.asarray(labels)
    if values.dtype.kind in "iuf":
        values = np.where(values == -1, np.nan, values)
    codes, _ = pd.factorize(values, use_na_sentinel=True)
    return np.asarray(codes, dtype=np.int64)
