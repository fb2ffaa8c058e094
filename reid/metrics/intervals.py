"""How far would a figure move with other individuals? Bootstrap over individuals.

Images of one individual are alike in how easy they are, so images must not be drawn one by one:
that makes the figures look far surer than they are. Individuals are drawn with replacement.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.metrics.agreement import contingency, pair_scores
from reid.metrics.assignment import IndividualShares
from reid.metrics.retrieval import QueryScores

MIN_INDIVIDUALS = 2


class Interval(NamedTuple):
    """A figure's likely range; NaN where fewer than two individuals were scored."""

    low: float
    high: float


def retrieval_intervals(
    scores: QueryScores, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Intervals of the shares of `Retrieval`, by field name.

    With n individuals, each sample draws n of them with replacement and takes the figure of their rows;
    the interval goes from the (1 − level) / 2 quantile of the samples' figures to the (1 + level) / 2 one.

    Args:
        scores: of `query_scores`.
        resamples: bootstrap samples.
        level: share of the samples inside the interval (percentile method).
        seed: of the samples.

    Differs:
        The rankings stay as they are: who asks is drawn again, not who is searched.

    Example:
        One of two individuals is found at once, the other never first: a sample holds the first never,
        once or twice, so that its top-1 is 0, 1/2 or 1.

        >>> ap, first = np.array([1.0, 0.5]), np.array([1, 2])
        >>> scores = QueryScores(np.arange(2), np.arange(2), ap, first, ap, skipped=0)
        >>> retrieval_intervals(scores)["top_1"]
        Interval(low=0.0, high=1.0)
    """
    individual = np.unique(scores.individuals, return_inverse=True)[1]
    n = int(individual.max(initial=-1)) + 1
    ones = np.ones(len(individual))
    queries = np.bincount(individual, minlength=n)
    columns = {
        "mean_average_precision": scores.average_precision,
        "mean_inverse_negative_penalty": scores.inverse_negative_penalty,
        **{f"top_{k}": np.where(scores.first_hit <= k, ones, 0) for k in (1, 5, 10)},
    }
    sums = {name: np.bincount(individual, values, n) for name, values in columns.items()}
    balanced = sums["mean_average_precision"] / np.maximum(queries, 1)

    def score(times: NDArray[np.int64]) -> dict[str, float]:
        count = times @ queries
        return {
            **{name: float(times @ of_individual / count) for name, of_individual in sums.items()},
            "balanced_average_precision": float(times @ balanced / n),
        }

    names = [*sums, "balanced_average_precision"]
    return _percentiles(names, (score(times) for times in _samples(n, resamples, seed)), level)


def agreement_intervals(
    labels: NDArray[np.int64],
    identities: NDArray[Any],
    *,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> dict[str, Interval]:
    """Intervals of ARI, pairwise and B-cubed scores, by field name of `Agreement`.

    Args:
        labels, identities: as of `agreement`. The clusters stay as they are.
        resamples, level, seed: as of `retrieval_intervals`.

    Differs:
        An individual drawn twice would share its clusters with its own copy, a mistake that was
        never made: pairs of rows in two copies of one individual do not count. AMI and NMI have
        no such pairs to leave out, and so no interval.

    Example:
        Whoever is drawn, clusters that are the individuals are right.

        >>> labels = np.array([0, 0, 1, 1, 2, 2])
        >>> agreement_intervals(labels, labels, resamples=100)["ari"]
        Interval(low=1.0, high=1.0)
    """
    cells = contingency(labels, identities)
    n = len(cells.of_individual)
    names = list(pair_scores(cells, np.ones(n, dtype=np.int64)))
    # Two different individuals are drawn together n / (n - 1) times less often than one is drawn.
    cross = n / max(n - 1, 1)
    samples = (pair_scores(cells, times, cross) for times in _samples(n, resamples, seed))
    return _percentiles(names, samples, level)


def assignment_intervals(
    shares: IndividualShares, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> dict[str, Interval]:
    """Intervals of BAKS, BAUS and their geometric mean, by field name of `Assignment`.

    Args:
        shares: of `open_set` or `individual_shares`.
        resamples, level, seed: as of `retrieval_intervals`.

    Example:
        Of two known individuals one is always named, the other never; the new one is always called new.

        >>> known = np.array([True, True, False])
        >>> shares = IndividualShares(np.arange(3), known, np.array([1.0, 0.0, 1.0]))
        >>> assignment_intervals(shares)
        {'baks': Interval(low=0.0, high=1.0), 'baus': Interval(low=1.0, high=1.0), 'score': Interval(low=0.0, high=1.0)}
    """
    individual = np.unique(shares.individuals, return_inverse=True)[1]
    n = int(individual.max(initial=-1)) + 1

    def score(times: NDArray[np.int64]) -> dict[str, float]:
        weight = times[individual]
        baks, baus = (
            float(weight[side] @ shares.right[side] / weight[side].sum())
            if weight[side].any()
            else float("nan")
            for side in (shares.known, ~shares.known)
        )
        return {"baks": baks, "baus": baus, "score": float(np.sqrt(baks * baus))}

    return _percentiles(
        ["baks", "baus", "score"], (score(times) for times in _samples(n, resamples, seed)), level
    )


def _samples(n: int, resamples: int, seed: int) -> Iterator[NDArray[np.int64]]:
    """How often each of n individuals was drawn; no sample where that would say nothing."""
    if resamples < 1:
        raise InputError(f"resamples: {resamples}; at least 1 is needed")
    rng = np.random.default_rng([seed, 6])
    for _ in range(resamples if n >= MIN_INDIVIDUALS else 0):
        yield np.bincount(rng.integers(0, n, n), minlength=n)


def _percentiles(
    names: list[str], samples: Iterator[dict[str, float]], level: float
) -> dict[str, Interval]:
    if not 0 < level < 1:
        raise InputError(f"level: {level}; give a share above 0 and below 1, for example 0.95")
    drawn = list(samples)
    found = {}
    for name in names:
        values = np.array([one[name] for one in drawn])
        values = values[np.isfinite(values)]  # a draw of known individuals alone has no BAUS
        tails = [(1 - level) / 2, (1 + level) / 2]
        low, high = np.quantile(values, tails) if len(values) else (np.nan, np.nan)
        found[name] = Interval(float(low), float(high))
    return found
