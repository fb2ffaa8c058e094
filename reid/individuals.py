"""One species: unit vectors and whatever labels there are → a threshold, and clusters."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid import cluster, neighbors
from reid.errors import InputError
from reid.rerank import rerank as rerank_graph
from reid.tune import Sweep, Tuning, best, search_ceiling, sweep, sweep_forest, tune
from reid.tune.heldout import MIN_INDIVIDUALS
from reid.tune.sweep import Criterion, encode_labels
from reid.tune.unlabelled import estimate_from_forest

Method = Literal["dbscan", "average", "complete", "hdbscan", "kmeans", "auto"]
Rerank = Literal["off", "on", "auto"]
Edges = tuple[NDArray[np.int32], NDArray[np.float32]]
# (vectors, radius) → edges in parts; the job puts the distributed search here.
EdgeSource = Callable[[NDArray[np.float32], float], Iterable[Edges]]

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
        warnings: sentences with what to try.
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
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Individuals:
    """The clusters of one species.

    Attributes:
        labels: (n,) int64, −1 = noise.
        threshold: the one that was used.
        nearest: (n,) int32, the nearest other row; −1 where there is none.
        nearest_distance: (n,) float32, cosine distance; NaN where there is none.
        warnings: sentences for the reader.
    """

    labels: NDArray[np.int64]
    threshold: Threshold
    nearest: NDArray[np.int32]
    nearest_distance: NDArray[np.float32]
    warnings: list[str] = field(default_factory=list)


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
        edges: where its edges come from, see `find_individuals`.
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
    if can_tune(identities):
        known = np.asarray(encode_labels(identities) >= 0)
        tuned = tune(
            vectors[known],
            identities[known],
            method=method,
            rerank=rerank,
            criterion=criterion,
            min_samples=min_samples,
            jaccard_weight=jaccard_weight,
            images_per_individual=images_per_individual,
            ceiling=max_eps,
            device=device,
        )
        curve = tuned.curve
        if images_per_individual is None and not known.all():
            # Unlabelled rows chain labelled ones together, so the threshold is fitted among them:
            # on the built-in herd that lost nothing against the truth, where labelled rows alone did.
            source = edges or neighbors.stream_edges
            curve = _joint_curve(vectors, identities, tuned, min_samples, jaccard_weight, source)
        return _from_curve(tuned, curve, criterion)
    if fallback is not None:
        return fallback
    return _estimated(vectors, method, rerank, min_samples, max_eps, seed, edges)


def _joint_curve(
    vectors: NDArray[np.float32],
    identities: NDArray[Any],
    tuned: Tuning,
    min_samples: int,
    jaccard_weight: float,
    edges: EdgeSource,
) -> Sweep:
    """Scores of the labelled rows at every threshold, with all rows taking part in the merging."""
    ceiling = tuned.curve.ceiling
    if tuned.k1 is not None:
        graph = _reranked(vectors, tuned.k1, jaccard_weight)
        return sweep(graph, identities, min_samples, ceiling=ceiling)
    parts = edges(vectors, ceiling)
    if tuned.method == "dbscan":
        forest = cluster.streamed_forest(parts, len(vectors), min_samples)
    else:
        forest = cluster.linkage_forest(
            _connected(parts, len(vectors)), vectors, ceiling, tuned.method
        )
    return sweep_forest(forest, identities, ceiling)


def _from_curve(tuned: Tuning, curve: Sweep, criterion: Criterion) -> Threshold:
    found = best(curve, criterion)
    scores = getattr(curve, criterion)
    keep = _thinned(curve, scores)
    warnings = []
    if found.at_edge == "low":
        warnings.append(
            "the best threshold merges nothing: these embeddings do not tell the labelled individuals "
            "apart. Try another model, fine-tune one, or check the labels"
        )
    elif found.at_edge == "high":
        warnings.append(
            f"the best threshold, {found.eps:.3f}, lies at the end of the range searched, so a better one "
            "may lie beyond: give a larger cluster.max_eps, and check that the labels belong to these images"
        )
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
        warnings=warnings,
    )


def _estimated(
    vectors: NDArray[np.float32],
    method: Literal["dbscan", "average", "complete", "auto"],
    rerank: Rerank,
    min_samples: int,
    max_eps: float | None,
    seed: int,
    edges: EdgeSource | None,
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
    forest = cluster.streamed_forest(
        (edges or neighbors.stream_edges)(vectors, ceiling), len(vectors), max(2, min_samples)
    )
    guess = estimate_from_forest(forest, ceiling)
    return Threshold(
        eps=guess.eps,
        source="estimated",
        method=chosen,
        note=guess.statement,
        interval=(guess.low, guess.high),
        warnings=[guess.statement],
    )


def find_individuals(
    vectors: NDArray[np.float32],
    threshold: Threshold,
    *,
    min_samples: int = 2,
    n_clusters: int | None = None,
    jaccard_weight: float = 0.7,
    seed: int = 0,
    edges: EdgeSource | None = None,
    device: str = "cpu",
    memory_bytes: int | None = None,
) -> Individuals:
    """Cluster the rows of one species.

    Args:
        vectors: (n, d) float32, unit rows.
        threshold: of `find_threshold`.
        min_samples: rows, itself included, that make a core point (dbscan).
        n_clusters: number of individuals (kmeans).
        jaccard_weight: of re-ranking.
        seed: of kmeans.
        edges: where edges come from; default: `neighbors.stream_edges` in this process.
        device, memory_bytes: of the neighbour search.

    Raises:
        InputError: rows that are not unit vectors, or a component too large for linkage.
    """
    neighbors.check_unit_rows(vectors)
    nearest, distance = neighbors.nearest(vectors, device=device)
    eps = threshold.eps
    if threshold.method == "hdbscan":
        labels = cluster.hdbscan(vectors, max(2, min_samples))
    elif threshold.method == "kmeans":
        if n_clusters is None:
            raise InputError("kmeans needs cluster.n_clusters, the number of individuals")
        labels = cluster.kmeans(vectors, n_clusters, seed)
    elif eps is None:
        labels = np.full(len(vectors), -1, dtype=np.int64)  # a row that is alone
    elif threshold.k1 is not None:
        labels = cluster.dbscan(_reranked(vectors, threshold.k1, jaccard_weight), eps, min_samples)
    else:
        if edges is None:
            parts: Iterable[Edges] = neighbors.stream_edges(
                vectors, eps, device=device, memory_bytes=memory_bytes
            )
        else:
            parts = edges(vectors, eps)
        labels = _from_edges(parts, vectors, eps, threshold.method, min_samples)
    return Individuals(labels, threshold, nearest, distance, list(threshold.warnings))


def _from_edges(
    parts: Iterable[Edges], vectors: NDArray[np.float32], eps: float, method: str, min_samples: int
) -> NDArray[np.int64]:
    n = len(vectors)
    if method == "dbscan":
        return cluster.labels_at(cluster.streamed_forest(parts, n, min_samples), eps)
    return cluster.linkage_labels(
        _connected(parts, n), vectors, eps, "average" if method == "average" else "complete"
    )


def _connected(parts: Iterable[Edges], n: int) -> neighbors.Graph:
    """A graph with the components of the whole one: all that linkage needs to know of it."""
    forest = cluster.streamed_forest(parts, n, 1)
    return neighbors.Graph(n, forest.merges, forest.weights)


def _reranked(vectors: NDArray[np.float32], k1: int, jaccard_weight: float) -> neighbors.Graph:
    return rerank_graph(vectors, k1, max(1, round(0.3 * k1)), jaccard_weight)


def _thinned(curve: Sweep, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of a few hundred points that draw the same curve, its maximum among them."""
    cells = np.linspace(curve.thresholds[0], curve.thresholds[-1], CURVE_POINTS)
    keep = np.searchsorted(curve.thresholds, cells, side="right") - 1
    return np.unique(np.append(keep, int(scores.argmax())))
