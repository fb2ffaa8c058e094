"""The threshold that does best on known identities, judged on individuals held out."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid.cluster import (
    Collapsed,
    Compared,
    Forest,
    expand_forest,
    forest_with_encounters,
    linkage_forest,
    spanning_forest,
)
from reid.errors import InputError
from reid.neighbors.stored_edges import StoredEdges
from reid.tune.clustered_rows import ClusteredRows
from reid.tune.expected import expected_of_forest
from reid.tune.heldout import Tuning, tune
from reid.tune.sweep import Criterion, Sweep, best, encode_labels, sweep_forest
from reid.tune.threshold import Rerank, Threshold

CURVE_POINTS = 400


def tuned_threshold(
    vectors: NDArray[np.float32],
    identities: NDArray[Any],
    task: ClusteredRows,
    compared: Compared,
    collapsed: Collapsed | None = None,
    encounters: NDArray[np.int64] | None = None,
) -> Threshold:
    """The best threshold for the labels, and the method that does best on held-out individuals.

    Args:
        vectors: (n, d) float32, unit rows.
        identities: (n,) known identities, None where unknown.
        task: the rows that will be clustered: these, or the representatives of duplicates.
        compared: all pairs of those.
        collapsed: duplicates that will be clustered as one.
        encounters: (n,) of `encounters_of_one_animal`, each of which is one cluster; None: off.

    Raises:
        InputError: too few labels, settings that do not fit, too many connected rows for linkage.
    """
    asked, search = task.asked, task.search
    known = np.asarray(encode_labels(identities) >= 0)
    labelled = vectors if known.all() else vectors[known]
    ceiling = compared.ceiling
    graph = compared.labelled
    if graph is None:  # copies among the labelled images are no rows of their own in `compared`
        graph = StoredEdges(len(labelled))
        for part in search.edges(labelled, ceiling):
            graph.add(part)

    method = asked.method
    if method == "hdbscan" or method == "kmeans" or method == "scan":
        raise InputError(f"cluster.method={method} has no threshold to tune")

    def tune_with(kind: Literal["dbscan", "average", "complete", "auto"], mode: Rerank) -> Tuning:
        return tune(
            labelled,
            identities[known],
            graph,
            ceiling,
            method=kind,
            rerank=mode,
            criterion=asked.criterion,
            min_samples=asked.min_samples,
            jaccard_weight=asked.jaccard_weight,
            images_per_individual=asked.images_per_individual,
            encounters=None if encounters is None else encounters[known],
            nearest=search.nearest,
        )

    def all_rows(tuned: Tuning) -> Forest:
        forest = _joint_forest(task, tuned, compared, collapsed)
        return forest if encounters is None else forest_with_encounters(forest, encounters)

    tuned = tune_with(method, asked.rerank)
    if asked.images_per_individual is not None:
        return _from_curve(tuned, tuned.curve, asked.criterion)
    try:
        forest = all_rows(tuned)
    except InputError as error:  # too many connected rows for linkage
        if method != "auto" or tuned.method == "dbscan":
            raise
        note = f"{tuned.method} linkage did better on held-out individuals, but: {error}"
        tuned = tune_with("dbscan", "off")
        tuned = replace(tuned, notes=[note, *tuned.notes])
        forest = all_rows(tuned)
    curve, ceiling = tuned.curve, tuned.curve.ceiling
    if collapsed is not None or not known.all():
        # Unlabelled rows chain labelled ones together, so the threshold is fitted among them:
        # on the built-in herd that lost nothing against the truth, where labelled rows alone did.
        curve = sweep_forest(forest, identities, ceiling)
    expected = expected_of_forest(forest, identities, ceiling, asked.criterion)
    return replace(_from_curve(tuned, curve, asked.criterion), expected=expected)


def _joint_forest(
    task: ClusteredRows, tuned: Tuning, compared: Compared, collapsed: Collapsed | None
) -> Forest:
    """All rows take part in the merging, labelled or not."""
    if tuned.k1 is not None:
        graph = task.reranked(tuned.k1)
        forest = spanning_forest(graph, task.asked.min_samples, weights=task.weights)
    elif tuned.method == "dbscan":
        forest = compared.forest
    else:
        forest = linkage_forest(compared.links, task.rows, compared.ceiling, tuned.method)
    return forest if collapsed is None else expand_forest(forest, collapsed)


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


def _thinned(curve: Sweep, scores: NDArray[np.float64]) -> NDArray[np.int64]:
    """Indices of a few hundred points that draw the same curve, its maximum among them."""
    cells = np.linspace(curve.thresholds[0], curve.thresholds[-1], CURVE_POINTS)
    keep = np.searchsorted(curve.thresholds, cells, side="right") - 1
    return np.unique(np.append(keep, int(scores.argmax())))
