"""Tune the threshold, the method and re-ranking on labels, judged on individuals held out."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid.cluster import (
    Forest,
    RunningForest,
    forest_with_encounters,
    linkage_forest,
    spanning_forest,
)
from reid.errors import InputError
from reid.neighbors import Graph, knn
from reid.neighbors.search import FindNearest
from reid.neighbors.stored_edges import StoredEdges, edges_among
from reid.rerank import rerank as rerank_graph
from reid.tune.samples import Rows, held_out_folds, thin
from reid.tune.sweep import (
    Best,
    Criterion,
    Sweep,
    best,
    encode_labels,
    mean_curve,
    score_at,
    sweep_forest,
)

Method = Literal["dbscan", "average", "complete"]
MIN_INDIVIDUALS = 4
K1_RANGE = (5, 30)  # fewer neighbours than 5 say too little, more cost much and gained nothing
RERANK_CEILING = 0.95  # x jaccard_weight: pairs are stored up to there


@dataclass(frozen=True, slots=True)
class Tuning:
    """What was chosen, how well it does on individuals that it was not fitted on, and what else was tried.

    Attributes:
        eps: threshold, on the scale of cosine distance, or of re-ranking where k1 is set.
        method: "dbscan", "average" or "complete".
        k1: of re-ranking; None where it is off.
        criterion: "ari", "ami" or "pairwise_f1".
        held_out_mean, held_out_spread: the criterion on held-out individuals, mean and standard
            deviation over the seeds.
        at_edge: see `Best`; the threshold is not to be trusted where this is not None.
        images_per_individual: of the samples that were tuned on.
        curve: mean scores of the chosen method over the samples of all seeds.
        tried: one dict a candidate, ready for JSON, the chosen one marked.
        notes: in plain words, what a reader should know.
    """

    eps: float
    method: Method
    k1: int | None
    criterion: Criterion
    held_out_mean: float
    held_out_spread: float
    at_edge: Literal["low", "high"] | None
    images_per_individual: float
    curve: Sweep
    tried: list[dict[str, Any]]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class _Candidate:
    method: Method
    k1: int | None
    ceiling: float
    forest_of: Callable[[Rows], Forest]


@dataclass(frozen=True, slots=True)
class _Trial:
    candidate: _Candidate
    found: Best
    curve: Sweep
    held_out: NDArray[np.float64]  # one mean a seed
    fitted: NDArray[np.float64]  # thresholds, one a seed and fold


def tune(
    vectors: NDArray[np.float32],
    labels: NDArray[Any],
    graph: Graph | StoredEdges,
    ceiling: float,
    *,
    method: Method | Literal["auto"] = "dbscan",
    rerank: Literal["off", "on", "auto"] = "off",
    criterion: Criterion = "ari",
    min_samples: int = 2,
    jaccard_weight: float = 0.7,
    images_per_individual: float | None = None,
    encounters: NDArray[np.int64] | None = None,
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
    folds: int = 2,
    nearest: FindNearest = knn,
) -> Tuning:
    """Fit the threshold on labelled rows, and measure it where it was not fitted.

    For each seed the rows are thinned to the density asked for, and their individuals split into
    folds: the threshold fitted on some is scored on the others. These held-out scores choose between
    methods. The threshold itself is then the best of the mean curve over all individuals, since it
    depends on how many of them there are.

    Args:
        vectors: (n, d) float32, unit rows (seen by the caller).
        labels: (n,) identities: strings, objects or integers; each row has one.
        graph: every pair of these rows within `ceiling`.
        ceiling: largest threshold tried, see `tuning_ceiling`.
        method: "auto" tries DBSCAN and average linkage.
        rerank: "on" re-ranks; "auto" does where it betters the held-out score by more than the
            spread over the seeds. k1 is the images per individual, between 5 and 30. DBSCAN only.
        criterion: "ari", "ami" or "pairwise_f1".
        min_samples: of DBSCAN.
        jaccard_weight: of re-ranking.
        images_per_individual: of the data to be clustered, where they are sparser than these rows.
        encounters: (n,) of `encounters_of_one_animal`: each is one cluster at every threshold. None: off.
        seeds: of thinning and splitting.
        folds: at least 2.
        nearest: how re-ranking looks for neighbours.

    Returns:
        Tuning. An optimum at the edge of the range is flagged in `at_edge` and said in `notes`.

    Raises:
        InputError: arguments that do not fit together, rows without a label, fewer than 4
            individuals, or none with two images.
    """
    codes = encode_labels(labels)
    if len(codes) != len(vectors) or graph.n != len(vectors):
        raise InputError(
            f"{len(codes)} labels and a graph of {graph.n} for {len(vectors)} rows: one a row is needed"
        )
    _check(codes, method, rerank, folds, seeds)
    sizes = np.bincount(codes)
    notes: list[str] = []
    wanted = min(images_per_individual or np.inf, float(sizes.mean()))

    def joined(forest: Forest, rows: Rows) -> Forest:
        return forest if encounters is None else forest_with_encounters(forest, encounters[rows])

    def plain(kind: Method) -> _Candidate:
        def forest_of(rows: Rows) -> Forest:
            running = RunningForest(len(rows), min_samples if kind == "dbscan" else 1)
            for part in edges_among(graph, rows):
                running.add(part)
            if kind == "dbscan":
                return joined(running.forest(), rows)
            return joined(linkage_forest(running.links(), vectors[rows], ceiling, kind), rows)

        return _Candidate(kind, None, ceiling, forest_of)

    def reranked() -> _Candidate:
        k1 = int(np.clip(round(wanted), *K1_RANGE))

        def forest_of(rows: Rows) -> Forest:
            part = rerank_graph(vectors[rows], k1, jaccard_weight=jaccard_weight, nearest=nearest)
            return joined(spanning_forest(part, min_samples), rows)

        return _Candidate("dbscan", k1, RERANK_CEILING * jaccard_weight, forest_of)

    kinds: list[Method] = ["dbscan", "average"] if method == "auto" else [method]
    candidates = [plain(kind) for kind in kinds] if rerank != "on" else []
    candidates += [reranked()] if rerank != "off" else []
    trials, tried = [], []
    for candidate in candidates:
        try:
            trial = _try(candidate, codes, images_per_individual, criterion, seeds, folds)
        except InputError as error:  # a component too large for linkage: said, not hidden
            if len(candidates) == 1:
                raise
            tried.append({"method": candidate.method, "chosen": False, "note": str(error)})
            notes.append(f"{candidate.method} linkage was not tried: {error}")
            continue
        trials.append(trial)
        tried.append(_row(trial, criterion, seeds, folds, wanted))
    chosen = _choose(trials)
    for row in tried:
        row["chosen"] = (row["method"], row.get("k1")) == (
            chosen.candidate.method,
            chosen.candidate.k1,
        )
    if chosen.found.at_edge:
        notes.append(_edge_note(chosen))
    return Tuning(
        eps=chosen.found.eps,
        method=chosen.candidate.method,
        k1=chosen.candidate.k1,
        criterion=criterion,
        held_out_mean=float(chosen.held_out.mean()),
        held_out_spread=float(chosen.held_out.std()),
        at_edge=chosen.found.at_edge,
        images_per_individual=float(wanted),
        curve=chosen.curve,
        tried=tried,
        notes=notes,
    )


def _check(
    codes: NDArray[np.int64], method: str, rerank: str, folds: int, seeds: tuple[int, ...]
) -> None:
    if method not in ("dbscan", "average", "complete", "auto"):
        raise InputError(f"method {method!r}: known are dbscan, average, complete, auto")
    if rerank not in ("off", "on", "auto"):
        raise InputError(f"rerank {rerank!r}: known are off, on, auto")
    if rerank == "on" and method in ("average", "complete"):
        raise InputError(
            f"rerank = on with method = {method}: linkage needs the distance of every pair, and "
            "re-ranking stores near ones only; use method = dbscan"
        )
    if folds < 2 or not seeds:
        raise InputError(
            f"folds = {folds}, seeds = {seeds}: at least 2 folds and 1 seed are needed"
        )
    if (codes < 0).any():
        raise InputError(f"{int((codes < 0).sum())} of {len(codes)} rows have no label")
    sizes = np.bincount(codes)
    if len(sizes) < max(MIN_INDIVIDUALS, folds):
        raise InputError(
            f"{len(sizes)} labelled individuals: at least {max(MIN_INDIVIDUALS, folds)} are needed "
            "to fit a threshold on some and check it on others; label more, or give cluster.eps"
        )
    if sizes.max() < 2:
        raise InputError(
            "no labelled individual has two images, so no threshold can be fitted; label more "
            "images, or give cluster.eps"
        )


def _try(
    candidate: _Candidate,
    codes: NDArray[np.int64],
    density: float | None,
    criterion: Criterion,
    seeds: tuple[int, ...],
    folds: int,
) -> _Trial:
    def sweep_of(rows: Rows) -> Sweep:
        return sweep_forest(candidate.forest_of(rows), codes[rows], candidate.ceiling)

    held_out, fitted = [], []
    samples: dict[bytes, Sweep] = {}  # without thinning every seed has the same sample
    for seed in seeds:
        sample = thin(codes, density, seed)
        if sample.tobytes() not in samples:
            samples[sample.tobytes()] = sweep_of(sample)
        scores = []
        for tuned_on, tested_on in held_out_folds(codes[sample], folds, seed):
            eps = best(sweep_of(sample[tuned_on]), criterion).eps
            fitted.append(eps)
            scores.append(score_at(sweep_of(sample[tested_on]), eps, criterion))
        held_out.append(np.mean(scores))
    curve = mean_curve(list(samples.values()))
    return _Trial(candidate, best(curve, criterion), curve, np.array(held_out), np.array(fitted))


def _choose(trials: list[_Trial]) -> _Trial:
    """The best on held-out individuals; re-ranking must win by more than the spread over seeds."""
    plain = [trial for trial in trials if trial.candidate.k1 is None]
    reranked = [trial for trial in trials if trial.candidate.k1 is not None]
    if not plain:
        return reranked[0]
    # An optimum at the edge is no optimum, so any other comes before it.
    top = max(plain, key=lambda trial: (trial.found.at_edge is None, trial.held_out.mean()))
    for trial in reranked:
        gain = trial.held_out.mean() - top.held_out.mean()
        spread = max(trial.held_out.std(), top.held_out.std())
        if trial.found.at_edge is None and gain > spread:
            top = trial
    return top


def _row(
    trial: _Trial, criterion: str, seeds: tuple[int, ...], folds: int, density: float
) -> dict[str, Any]:
    return {
        "method": trial.candidate.method,
        "k1": trial.candidate.k1,
        "criterion": criterion,
        "eps": trial.found.eps,
        "score": trial.found.score,
        "held_out_mean": float(trial.held_out.mean()),
        "held_out_spread": float(trial.held_out.std()),
        "eps_of_folds_low": float(trial.fitted.min()),
        "eps_of_folds_high": float(trial.fitted.max()),
        "at_edge": trial.found.at_edge,
        "ceiling": trial.candidate.ceiling,
        "seeds": list(seeds),
        "folds": folds,
        "rows": trial.curve.n_labelled,
        "images_per_individual": float(density),
    }


def _edge_note(trial: _Trial) -> str:
    if trial.found.at_edge == "low":
        return (
            "the best threshold merges nothing (encounters apart): these embeddings do not tell the labelled "
            "individuals apart. Try another model, fine-tune one, or check the labels"
        )
    return (
        f"the best threshold, {trial.found.eps:.4g}, lies at the end of the range searched "
        f"({trial.candidate.ceiling:.4g}), so a better one may lie beyond: raise the ceiling of "
        "the tuning, and check that the labels belong to these images"
    )
