"""How alike is alike enough? A threshold from labels, from another species, or from the data alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid import cluster, neighbors
from reid.cluster import Collapsed
from reid.errors import InputError
from reid.individuals.graphs import EdgeSource, connected, reranked
from reid.tune import Sweep, Tuning, best, search_ceiling, sweep_forest, tune
from reid.tune.heldout import MIN_INDIVIDUALS
from reid.tune.sweep import Criterion, encode_labels
from reid.tune.unlabelled import estimate_from_forest

Method = Literal["dbscan", "average", "complete", "hdbscan", "kmeans", "auto"]
Rerank = Literal["off", "on", "auto"]
CURVE_POINTS = 400
UNLABELLED_NEIGHBOURS = 200  # within the largest threshold that an estimate looks at, on average


@dataclass(frozen=True)
class Threshold:
    """How rows become clusters, and where that was learned.

    Attributes:
        eps: cosine distance, or re-ranked distance where `k1` is set; None where the method has none.
        source: `given`, `tuned` on labels, lent by a `fallback` species, `estimated` from the data
            alone, or `none`.
        method: the clustering that `eps` belongs to.
        note: one sentence for the reader.
        k1: neighbours of re-ranking; None where it is off.
        criterion, score: what was maximised, and its value on the labels.
        held_out: mean and spread of the criterion on individuals that were not tuned on.
        interval: where the threshold lies, for an estimate.
        thresholds, scores: (t,) the curve, thinned to a few hundred points.
        tried: what tuning tried, one dict a candidate.
        notes: what else a reader should know.
        at_edge, ceiling: see `reid.tune.best`: an optimum at the end of the range is none.
    """

    eps: float | None
    source: Literal["given", "tuned", "fallback", "estimated", "none"]
    method: Method
    note: str
    k1: int | None = None
    criterion: str | None = None
    score: float | None = None
    held_out: tuple[float, float] | None = None
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


def find_threshold(
    vectors: NDArray[np.float32],
    identities: NDArray[Any],
    *,
    method: Method = "dbscan",
    eps: float | None = None,
    fallback: Threshold | None = None,
    rerank: Rerank = "off",
    k1: int | None = None,
    jaccard_weight: float = 0.7,
    min_samples: int = 2,
    criterion: Criterion = "ari",
    max_eps: float | None = None,
    images_per_individual: float | None = None,
    seed: int = 0,
    edges: EdgeSource | None = None,
    collapsed: Collapsed | None = None,
    device: str = "cpu",
) -> Threshold:
    """The threshold given, or the best one for the labels, or another species', or an estimate.

    Args:
        vectors: (n, d) float32, unit rows.
        identities: (n,) known identities, None where unknown.
        method: `auto` takes DBSCAN or average linkage, the better on held-out individuals.
        eps: a given threshold.
        fallback: another species' threshold, for a species that cannot be tuned.
        rerank: `auto` keeps re-ranking where held-out individuals gain by more than the spread.
        k1: of re-ranking, where `eps` is given on its scale.
        jaccard_weight: of re-ranking.
        min_samples: of DBSCAN.
        criterion: what tuning maximises.
        max_eps: end of the search; from the data if not given.
        images_per_individual: fit the threshold to data of this density instead of to these rows, by
            thinning the labelled ones; for a threshold that shall serve sparser uploads.
        seed: of the estimate.
        edges: where edges come from, see `find_individuals`.
        collapsed: duplicates that will be clustered as one.
        device: of the neighbour search.

    Raises:
        InputError: the settings do not fit together.
    """
    if method == "hdbscan" or method == "kmeans":
        return Threshold(None, "none", method, f"{method} uses no distance threshold")
    if eps is not None:
        if method == "auto" or rerank == "auto" or (rerank == "on" and k1 is None):
            raise InputError(
                f"cluster.eps={eps:g} is a distance for one method: with it give cluster.method "
                "(not auto), and rerank=off, or rerank.mode=on with rerank.k1"
            )
        on = k1 if rerank == "on" else None
        return Threshold(eps, "given", method, "given in the configuration", k1=on)
    source = edges or partial(neighbors.stream_edges, device=device)
    if can_tune(identities):
        known = np.asarray(encode_labels(identities) >= 0)

        def tune_with(
            kind: Literal["dbscan", "average", "complete", "auto"], mode: Rerank
        ) -> Tuning:
            return tune(
                vectors[known],
                identities[known],
                method=kind,
                rerank=mode,
                criterion=criterion,
                min_samples=min_samples,
                jaccard_weight=jaccard_weight,
                images_per_individual=images_per_individual,
                ceiling=max_eps,
                device=device,
            )

        def joint_curve(tuned: Tuning) -> Sweep:
            return _joint_curve(
                vectors, identities, tuned, min_samples, jaccard_weight, source, collapsed
            )

        tuned = tune_with(method, rerank)
        curve = tuned.curve
        if images_per_individual is None and (collapsed is not None or not known.all()):
            # Unlabelled rows chain labelled ones together, so the threshold is fitted among them:
            # on the built-in herd that lost nothing against the truth, where labelled rows alone did.
            try:
                curve = joint_curve(tuned)
            except InputError as error:  # too many connected rows for linkage
                if method != "auto" or tuned.method == "dbscan":
                    raise
                note = f"{tuned.method} linkage did better on held-out individuals, but: {error}"
                tuned = tune_with("dbscan", "off")
                tuned = replace(tuned, notes=[note, *tuned.notes])
                curve = joint_curve(tuned)
        return _from_curve(tuned, curve, criterion)
    if fallback is not None:
        return fallback
    return _estimated(vectors, method, rerank, min_samples, max_eps, seed, source)


def _joint_curve(
    vectors: NDArray[np.float32],
    identities: NDArray[Any],
    tuned: Tuning,
    min_samples: int,
    jaccard_weight: float,
    edges: EdgeSource,
    collapsed: Collapsed | None,
) -> Sweep:
    """Scores of the labelled rows at every threshold, with all rows taking part in the merging."""
    ceiling = tuned.curve.ceiling
    rows = vectors if collapsed is None else vectors[collapsed.representatives]
    weights = None if collapsed is None else collapsed.weights
    if tuned.k1 is not None:
        graph = reranked(rows, tuned.k1, jaccard_weight)
        forest = cluster.spanning_forest(graph, min_samples, weights=weights)
    elif tuned.method == "dbscan":
        parts = edges(rows, ceiling)
        forest = cluster.streamed_forest(parts, len(rows), min_samples, weights=weights)
    else:
        graph = connected(edges(rows, ceiling), len(rows))
        forest = cluster.linkage_forest(graph, rows, ceiling, tuned.method)
    if collapsed is not None:
        forest = cluster.expand_forest(forest, collapsed)
    return sweep_forest(forest, identities, ceiling)


def _from_curve(tuned: Tuning, curve: Sweep, criterion: Criterion) -> Threshold:
    found = best(curve, criterion)
    scores = getattr(curve, criterion)
    keep = _thinned(curve, scores)
    return Threshold(
        eps=found.eps,
        source="tuned",
        method=tuned.method,
        note=f"best {criterion} over every threshold, on {curve.n_labelled} labelled images; on "
        f"individuals held out {tuned.held_out_mean:.2f} ± {tuned.held_out_spread:.2f}",
        k1=tuned.k1,
        criterion=criterion,
        score=found.score,
        held_out=(tuned.held_out_mean, tuned.held_out_spread),
        thresholds=[float(value) for value in curve.thresholds[keep]],
        scores=[float(value) for value in scores[keep]],
        tried=tuned.tried,
        notes=[note for note in tuned.notes if not tuned.at_edge or note != tuned.notes[-1]],
        at_edge=found.at_edge,
        ceiling=curve.ceiling,
    )


def _estimated(
    vectors: NDArray[np.float32],
    method: Literal["dbscan", "average", "complete", "auto"],
    rerank: Rerank,
    min_samples: int,
    max_eps: float | None,
    seed: int,
    edges: EdgeSource,
) -> Threshold:
    if rerank == "on":
        raise InputError(
            "rerank.mode=on without labels: the re-ranked scale needs a threshold of its own; give "
            "cluster.eps and rerank.k1, or label some images"
        )
    chosen: Method = "dbscan" if method == "auto" else method
    if len(vectors) < 2:
        return Threshold(None, "none", "dbscan", "one image: nothing to compare it with")
    ceiling = max_eps or search_ceiling(vectors, UNLABELLED_NEIGHBOURS, seed=seed)
    forest = cluster.streamed_forest(edges(vectors, ceiling), len(vectors), max(2, min_samples))
    if not len(forest.merges):
        note = f"no labels, and no two images within {ceiling:.4g}: each stands alone"
        return Threshold(ceiling, "estimated", chosen, note)
    guess = estimate_from_forest(forest, ceiling)
    return Threshold(
        eps=guess.eps,
        source="estimated",
        method=chosen,
        note=guess.statement,
        interval=(guess.low, guess.high),
    )


def _thinned(curve: Sweep, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of a few hundred points that draw the same curve, its maximum among them."""
    cells = np.linspace(curve.thresholds[0], curve.thresholds[-1], CURVE_POINTS)
    keep = np.searchsorted(curve.thresholds, cells, side="right") - 1
    return np.unique(np.append(keep, int(scores.argmax())))
