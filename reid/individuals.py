"""One species: unit vectors and whatever labels there are → a threshold, and clusters."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid import cluster, neighbors, tune
from reid.errors import InputError
from reid.tune.sweep import Criterion, encode_labels

Method = Literal["dbscan", "average", "complete", "hdbscan", "kmeans"]
Edges = tuple[NDArray[np.int32], NDArray[np.float32]]
# (vectors, radius) → edges in parts; the job puts the distributed search here.
EdgeSource = Callable[[NDArray[np.float32], float], Iterable[Edges]]

CURVE_POINTS = 400


@dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from.

    Attributes:
        eps: cosine distance.
        source: `given`, `tuned` on labels, taken from the `fallback` species, or `none` where the
            method has none.
        note: one sentence for the reader.
        criterion, score: what was maximised, and its value.
        thresholds, scores: (t,) the curve, thinned to a few hundred points.
        warnings: sentences with what to try.
    """

    eps: float | None
    source: Literal["given", "tuned", "fallback", "none"]
    note: str
    criterion: str | None = None
    score: float | None = None
    thresholds: Sequence[float] = ()
    scores: Sequence[float] = ()
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Individuals:
    """The clusters of one species.

    Attributes:
        labels: (n,) int64, −1 = noise.
        threshold: the one that was used.
        nearest: (n,) int64, the nearest other row; −1 where there is none.
        nearest_distance: (n,) float32; NaN where there is none.
        warnings: sentences for the reader.
    """

    labels: NDArray[np.int64]
    threshold: Threshold
    nearest: NDArray[np.int64]
    nearest_distance: NDArray[np.float32]
    warnings: list[str] = field(default_factory=list)


def can_tune(identities: NDArray[Any]) -> bool:
    """True if labels can tell a good threshold from a bad one: an identity twice, and another."""
    codes = encode_labels(identities)
    counts = np.bincount(codes[codes >= 0])
    return bool(len(counts) >= 2 and counts.max() >= 2)


def find_individuals(
    vectors: NDArray[np.float32],
    identities: NDArray[Any],
    *,
    method: Method = "dbscan",
    eps: float | None = None,
    fallback: Threshold | None = None,
    min_samples: int = 2,
    n_clusters: int | None = None,
    criterion: Criterion = "ari",
    max_eps: float = 0.6,
    seed: int = 0,
    edges: EdgeSource | None = None,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
) -> Individuals:
    """Cluster one species, at a given threshold or at the best one for its labels.

    Args:
        vectors: (n, d) float32, unit rows.
        identities: (n,) known identities, None where unknown.
        method: see `reid.cluster`.
        eps: cosine distance; None: tuned on `identities`, or else taken from `fallback`.
        fallback: another species' threshold, for a species that cannot be tuned.
        min_samples: rows, itself included, that make a core point (dbscan).
        n_clusters: number of individuals (kmeans).
        criterion: what tuning maximises.
        max_eps: ceiling of the search.
        seed: of kmeans.
        edges: where edges come from; default: `neighbors.stream_edges` in this process.
        backend, device, memory_bytes: of that search.

    Raises:
        InputError: rows that are not unit vectors, or no way to a threshold.
    """
    neighbors.check_unit_rows(vectors)
    nearest, distance = neighbors.nearest(vectors, device=device)
    if method in ("hdbscan", "kmeans"):
        labels = _without_threshold(vectors, method, min_samples, n_clusters, seed)
        threshold = Threshold(None, "none", f"{method} uses no distance threshold")
        return Individuals(labels, threshold, nearest, distance)
    known = eps is not None or not can_tune(identities)
    if known and eps is None and fallback is None:
        raise InputError(
            "no labels to tune a threshold on (an identity with two images, and another one, are the "
            "least): give cluster.eps, cluster.per_species_eps, or cluster.fallback_species"
        )
    given = eps if eps is not None else (fallback.eps if known and fallback else None)
    ceiling = max_eps if given is None else given
    if edges is None:

        def edges(rows: NDArray[np.float32], radius: float) -> Iterable[Edges]:
            return neighbors.stream_edges(
                rows, radius, backend=backend, device=device, memory_bytes=memory_bytes
            )

    forest = _forest(edges(vectors, ceiling), vectors, ceiling, method, min_samples)
    if given is None:
        threshold = _tuned(forest, identities, criterion, ceiling)
    elif eps is not None:
        threshold = Threshold(eps, "given", "given in the configuration")
    else:
        assert fallback is not None
        threshold = fallback
    assert threshold.eps is not None
    return Individuals(
        cluster.labels_at(forest, threshold.eps),
        threshold,
        nearest,
        distance,
        list(threshold.warnings),
    )


def _without_threshold(
    vectors: NDArray[np.float32], method: str, min_samples: int, n_clusters: int | None, seed: int
) -> NDArray[np.int64]:
    if method == "hdbscan":
        return cluster.hdbscan(vectors, max(2, min_samples))
    if n_clusters is None:
        raise InputError("kmeans needs cluster.n_clusters, the number of individuals")
    return cluster.kmeans(vectors, n_clusters, seed)


def _forest(
    parts: Iterable[Edges],
    vectors: NDArray[np.float32],
    ceiling: float,
    method: str,
    min_samples: int,
) -> cluster.Forest:
    n = len(vectors)
    if method == "dbscan":
        return cluster.streamed_forest(parts, n, min_samples)
    # Linkage only needs to know which rows are connected, and the forest says that.
    connected = cluster.streamed_forest(parts, n, 1)
    graph = neighbors.Graph(n, connected.merges, connected.weights)
    return cluster.linkage_forest(
        graph, vectors, ceiling, "average" if method == "average" else "complete"
    )


def _tuned(
    forest: cluster.Forest, identities: NDArray[Any], criterion: Criterion, ceiling: float
) -> Threshold:
    curve = tune.sweep_forest(forest, identities, ceiling)
    top = tune.best(curve, criterion)
    scores = getattr(curve, criterion)
    keep = _thinned(curve.thresholds, scores)
    warnings = []
    if top.at_edge == "low":
        warnings.append(
            f"The best threshold for {criterion} merges nothing: these embeddings do not bring images "
            "of one individual together. Try another model, or fine-tune one."
        )
    elif top.at_edge == "high":
        warnings.append(
            f"The best threshold, {top.eps:.3f}, lies at the end of the range searched ({ceiling:g}): "
            "raise cluster.max_eps."
        )
    return Threshold(
        eps=top.eps,
        source="tuned",
        note=f"best {criterion} on {curve.n_labelled} labelled images, over every threshold up to {ceiling:g}",
        criterion=criterion,
        score=top.score,
        thresholds=[float(value) for value in curve.thresholds[keep]],
        scores=[float(value) for value in scores[keep]],
        warnings=warnings,
    )


def _thinned(thresholds: NDArray[np.float64], scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of a few hundred points that draw the same curve, its maximum among them."""
    cells = np.linspace(thresholds[0], thresholds[-1], CURVE_POINTS)
    keep = np.searchsorted(thresholds, cells, side="right") - 1
    return np.unique(np.append(keep, int(scores.argmax())))
