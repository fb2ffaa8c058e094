"""Everything that labels can say about one species' embeddings, ready for a table, JSON and a page."""

from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.metrics.agreement import agreement
from reid.metrics.assignment import open_set
from reid.metrics.intervals import (
    Interval,
    agreement_intervals,
    assignment_intervals,
    retrieval_intervals,
)
from reid.metrics.retrieval import Mask, QueryScores, query_scores, summarise, without_copies
from reid.splits import checked_codes, closed_set, time_aware

MAX_QUERIES = 10_000  # each is compared with all rows
MAX_OPEN_SET_ROWS = 20_000  # played through many times

# How a reader knows each score, and what it asks.
NAMES = {
    "mean_average_precision": ("mAP", "do all images of the individual come first?"),
    "balanced_average_precision": ("balanced mAP", "the same, each individual with equal weight"),
    "mean_inverse_negative_penalty": ("mINP", "how soon is the last of them found?"),
    "top_1": ("top-1", "the nearest image is right"),
    "top_5": ("top-5", "one of the nearest 5 is right"),
    "top_10": ("top-10", "one of the nearest 10 is right"),
    "baks": ("BAKS", "known individuals: named right"),
    "baus": ("BAUS", "new individuals: called new"),
    "score": ("√(BAKS · BAUS)", "both at once, as in AnimalCLEF"),
    "ari": ("ARI", "pairs of images judged right, above chance"),
    "ami": ("AMI", "information shared, above chance"),
    "nmi": ("NMI", "information shared; many small clusters raise it"),
    "pairwise_precision": ("pairwise precision", "pairs in one cluster: one individual?"),
    "pairwise_recall": ("pairwise recall", "pairs of one individual: in one cluster?"),
    "pairwise_f1": ("pairwise F1", "both at once"),
    "b_cubed_precision": ("B³ precision", "of an image's cluster: its individual?"),
    "b_cubed_recall": ("B³ recall", "of an image's individual: in its cluster?"),
    "b_cubed_f1": ("B³ F1", "both at once"),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """One score; `low` and `high` are None where it has no interval."""

    name: str
    meaning: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True)
class Part:
    """One question, how it was asked, and the scores, by their field names."""

    title: str
    how: str
    figures: dict[str, Figure]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What labels say about one species.

    Attributes:
        images, labelled, individuals: counts.
        parts: by name: retrieval, closed_set, time_aware, open_set, clusters; those that could be
            scored.
        notes: why a part is missing, and what a reader should know.
    """

    images: int
    labelled: int
    individuals: int
    parts: dict[str, Part] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The evaluation that `as_dict` wrote."""
        parts = {
            name: Part(
                part["title"],
                part["how"],
                {key: Figure(**figure) for key, figure in part["figures"].items()},
            )
            for name, part in values["parts"].items()
        }
        return cls(**{**values, "parts": parts})


def evaluate(
    embeddings: NDArray[np.float32],
    identities: NDArray[Any],
    *,
    encounters: NDArray[Any] | None = None,
    timestamps: NDArray[np.datetime64] | None = None,
    split: tuple[Mask, Mask] | None = None,
    photographs: NDArray[Any] | None = None,
    copies: NDArray[Any] | None = None,
    clusters: NDArray[np.int64] | None = None,
    clusters_from: str = "",
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score embeddings, and clusters if there are any, against known identities.

    Args:
        embeddings: (n, d) float32, unit rows of one species.
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.
        encounters: (n,) in the same forms; None: no image has one.
        timestamps: (n,) datetime64, NaT where unknown; None: none is known.
        split: two (n,) bool, rows that ask and rows that are searched in a split of the data set's own.
        photographs: (n,) file of each row, for that split: boxes in one image are never compared.
        copies: (n,) equal for rows that hold the same picture; None: it is not known. Of such rows
            one asks and is searched, as a picture that finds itself proves nothing.
        clusters: (n,) cluster of each row, -1 is noise.
        clusters_from: a sentence on where the clusters come from.
        resamples: bootstrap samples of the intervals.
        seed: of splits and samples.

    Returns:
        Evaluation. A part that these labels cannot be asked for is left out, with a note.

    Raises:
        InputError: no individual with two images, rows that are not unit, or numbers that differ.

    Example:
        The formulas are those of `query_scores`, `summarise`, `assignment` and `agreement`.

        >>> rows, who = np.eye(4, dtype=np.float32).repeat(3, axis=0), np.arange(4).repeat(3)
        >>> found = evaluate(rows, who, clusters=who, resamples=10)
        >>> found.parts["retrieval"].figures["mean_average_precision"].value
        1.0
        >>> found.parts["clusters"].figures["ari"].value
        1.0
    """
    n = len(embeddings)
    everyone = identity = checked_codes(identities, n, "identities")
    labelled, individuals = int((identity >= 0).sum()), int(identity.max(initial=-1)) + 1
    kept = without_copies(copies, identity)
    if not kept.all():
        embeddings, identity = embeddings[kept], identity[kept]
        encounters = None if encounters is None else encounters[kept]
        timestamps = None if timestamps is None else timestamps[kept]
        again = int(n - kept.sum())
        n -= again
    else:
        again = 0
    if not (np.bincount(identity[identity >= 0]) > 1).any():
        raise InputError(
            f"{labelled} of {len(kept)} images have an identity, and no individual has two "
            f"{'different ' if again else ''}images: there is nothing to find; give labels (column "
            "`identity`, or --labels)"
        )
    if encounters is not None and (checked_codes(encounters, n, "encounters") < 0).all():
        encounters = None
    result = Evaluation(len(kept), labelled, individuals)
    if again:
        result.notes.append(
            f"{again:,} images are copies of others here, to the last pixel; a copy asks nothing and answers "
            "nothing, as a picture that finds itself proves nothing"
        )
    apart = "" if encounters is None else "; images of one encounter are never compared"
    options: dict[str, Any] = {"resamples": resamples, "seed": seed}

    asking = _some(identity >= 0, MAX_QUERIES, seed)
    scores = query_scores(embeddings, identity, encounters=encounters, queries=asking)
    could = int((identity >= 0).sum())
    drawn = "" if asking.sum() == could else f", drawn from {could:,},"
    lonely = f"; {scores.skipped:,} have no other image to find" if scores.skipped else ""
    result.parts["retrieval"] = Part(
        "Does an image find its individual?",
        f"{len(scores.rows):,} images{drawn} ask, each among all others{apart}{lonely}",
        _retrieval_figures(scores, options),
    )
    if encounters is not None:
        result.notes.append(
            "with images of the same encounter as answers the scores would read "
            f"{_flattered(embeddings, identity, asking, seed)}: compare these with figures that were "
            "taken so, and do not trust them"
        )
    if split is not None:
        result.parts["split"] = _split_part(
            embeddings, identity, encounters, photographs, split, options
        )
    try:
        query = closed_set(identity, encounters=encounters, seed=seed)
        result.parts["closed_set"] = Part(
            "Known individuals: is the nearest image the right one?",
            *_sides(embeddings, identity, encounters, query, "drawn at random", options),
        )
    except InputError as error:
        result.notes.append(f"no closed-set score: {error}")
    if timestamps is not None and not np.isnat(timestamps).all():
        try:
            query = time_aware(identity, timestamps, encounters=encounters)
            result.parts["time_aware"] = Part(
                "Known individuals, later: is the nearest earlier image the right one?",
                *_sides(embeddings, identity, encounters, query, "the latest", options),
            )
        except InputError as error:
            result.notes.append(f"no time-aware score: {error}")
    try:
        result.parts["open_set"] = _open_set_part(embeddings, identity, encounters, result, options)
    except InputError as error:
        result.notes.append(f"no open-set score: {error}")
    if clusters is not None:
        values = asdict(agreement(clusters, everyone))
        del values["n_scored"]
        found = len(np.unique(clusters[clusters >= 0])) + int((clusters < 0).sum())
        result.parts["clusters"] = Part(
            "Do the clusters repeat the identities?",
            f"{found:,} clusters and images on their own; {clusters_from}".rstrip("; "),
            _figures(values, agreement_intervals(clusters, everyone, **options)),
        )
    return result


def _flattered(
    embeddings: NDArray[np.float32], identity: NDArray[np.int64], asking: Mask, seed: int
) -> str:
    """The leading scores where encounters are not kept apart."""
    every = summarise(query_scores(embeddings, identity, queries=asking))
    sentence = f"mAP {every.mean_average_precision:.3f}, top-1 {every.top_1:.3f}"
    try:
        query = closed_set(identity, seed=seed)
    except InputError:  # too few individuals
        return sentence
    gallery = (identity >= 0) & ~query
    closed = summarise(
        query_scores(embeddings, identity, queries=_some(query, MAX_QUERIES, seed), gallery=gallery)
    )
    return f"{sentence}, closed-set top-1 {closed.top_1:.3f}"


def _sides(
    embeddings: NDArray[np.float32],
    identity: NDArray[np.int64],
    encounters: NDArray[Any] | None,
    query: Mask,
    which: str,
    options: dict[str, Any],
) -> tuple[str, dict[str, Figure]]:
    """How a query and gallery split was asked, and its scores."""
    gallery = (identity >= 0) & ~query
    asking = _some(query, MAX_QUERIES, options["seed"])
    scores = query_scores(
        embeddings, identity, encounters=encounters, queries=asking, gallery=gallery
    )
    new = f"; {scores.skipped:,} more show individuals that are not there" if scores.skipped else ""
    how = (
        f"{len(scores.rows):,} images ({which}, {query.sum() / (identity >= 0).sum():.0%} of the labelled) "
        f"ask among the other {int(gallery.sum()):,}{new}"
    )
    figures = _retrieval_figures(scores, options)
    return how, {name: figures[name] for name in ("top_1", "top_5", "top_10") if name in figures}


def _split_part(
    embeddings: NDArray[np.float32],
    identity: NDArray[np.int64],
    encounters: NDArray[Any] | None,
    photographs: NDArray[Any] | None,
    split: tuple[Mask, Mask],
    options: dict[str, Any],
) -> Part:
    """The data set's own queries and gallery; a query's own encounter and photograph are left out."""
    n = len(identity)
    apart = np.full(n, -1) if encounters is None else checked_codes(encounters, n, "encounters")
    if photographs is not None:
        files = checked_codes(photographs, n, "photographs")
        apart = np.where(apart >= 0, apart, apart.max(initial=-1) + 1 + files)
    query, gallery = split
    asking = _some(query & (identity >= 0), MAX_QUERIES, options["seed"])
    scores = query_scores(
        embeddings, identity, encounters=apart, queries=asking, gallery=gallery & (identity >= 0)
    )
    every = len(scores.rows) + scores.skipped
    figures = _retrieval_figures(scores, options)
    return Part(
        "The data set's own split: is the nearest image of the gallery the right one?",
        f"{len(scores.rows):,} of {every:,} queries have an image of their individual among the "
        f"{int((gallery & (identity >= 0)).sum()):,} of the gallery that is not of their own encounter or photograph; "
        "those alone are counted",
        {
            name: figures[name]
            for name in ("mean_average_precision", "top_1", "top_5", "top_10")
            if name in figures
        },
    )


def _open_set_part(
    embeddings: NDArray[np.float32],
    identity: NDArray[np.int64],
    encounters: NDArray[Any] | None,
    result: Evaluation,
    options: dict[str, Any],
) -> Part:
    order = np.random.default_rng([options["seed"], 7]).permutation(result.individuals)
    sizes = np.bincount(identity[identity >= 0])
    fitting = order[np.cumsum(sizes[order]) <= MAX_OPEN_SET_ROWS]
    part = np.where(np.isin(identity, fitting), identity, -1)
    played = open_set(embeddings, part, encounters=encounters, seed=options["seed"])
    draws = len(played.thresholds)
    fewer = (
        ""
        if len(fitting) == result.individuals
        else f"; only {len(fitting):,} individuals take part, so that it is easier than with all"
    )
    low, high = played.thresholds.min(), played.thresholds.max()
    return Part(
        "Is it one we know, and which, or a new one?",
        f"{draws} draws, a fifth of the individuals unknown in each, {played.known_queries:,} known and "
        f"{played.new_queries:,} new images asked in all; new from distance {low:.3f}-{high:.3f}, fitted "
        f"on the gallery{fewer}",
        _figures(asdict(played.shares.summarise()), assignment_intervals(played.shares, **options)),
    )


def _some(mask: Mask, limit: int, seed: int) -> Mask:
    """At most `limit` of the rows in `mask`, drawn with equal chances."""
    rows = np.flatnonzero(mask)
    if len(rows) <= limit:
        return mask
    drawn = np.zeros_like(mask)
    drawn[np.random.default_rng([seed, 8]).choice(rows, limit, replace=False)] = True
    return drawn


def _retrieval_figures(scores: QueryScores, options: dict[str, Any]) -> dict[str, Figure]:
    values = asdict(summarise(scores))
    del values["queries"], values["skipped"]
    return _figures(values, retrieval_intervals(scores, **options))


def _figures(values: dict[str, float], intervals: dict[str, Interval]) -> dict[str, Figure]:
    """Scores by field name; those that could not be computed are left out."""
    figures = {}
    for name, value in values.items():
        low, high = intervals.get(name, Interval(np.nan, np.nan))
        known = bool(np.isfinite(low))
        if np.isfinite(value):
            figures[name] = Figure(
                *NAMES[name], value, low if known else None, high if known else None
            )
    return figures
