"""Everything that labels can say about one species' embeddings."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.few_individuals import few_individuals
from reid.metrics.agreement import agreement
from reid.metrics.assignment import open_set
from reid.metrics.intervals import agreement_intervals, assignment_intervals, retrieval_intervals
from reid.metrics.parts import Evaluation, Figure, Part, named_figures
from reid.metrics.retrieval import Mask, QueryScores, query_scores, summarise, without_copies
from reid.splits import checked_codes, closed_set, time_aware

MAX_QUERIES = 10_000  # each is compared with all rows
MAX_OPEN_SET_ROWS = 20_000  # played through many times


def evaluate(
    embeddings: NDArray[np.float32],
    identities: NDArray[Any],
    *,
    encounters: NDArray[Any] | None = None,
    timestamps: NDArray[np.datetime64] | None = None,
    split: tuple[Mask, Mask] | None = None,
    photographs: NDArray[Any] | None = None,
    copies: NDArray[Any] | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score embeddings against known identities.

    Args:
        embeddings: (n, d) float32, unit rows of one species.
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.
        encounters: (n,) in the same forms; None: no image has one.
        timestamps: (n,) datetime64, NaT where unknown; None: none is known.
        split: two (n,) bool, rows that ask and rows that are searched in a split of the data set's own.
        photographs: (n,) file of each row, for that split: boxes in one image are never compared.
        copies: (n,) equal for rows that hold the same picture; None: it is not known. Of such rows
            one asks and is searched, as a picture that finds itself proves nothing.
        resamples: bootstrap samples of the intervals.
        seed: of splits and samples.

    Returns:
        Evaluation. A part that these labels cannot be asked for is left out, with a note.

    Raises:
        InputError: no individual with two images, rows that are not unit, or numbers that differ.

    Example:
        The formulas are those of `query_scores`, `summarise` and `assignment`.

        >>> rows, who = np.eye(4, dtype=np.float32).repeat(3, axis=0), np.arange(4).repeat(3)
        >>> found = evaluate(rows, who, resamples=10)
        >>> found.parts["retrieval"].figures["mean_average_precision"].value
        1.0
    """
    everyone = checked_codes(identities, len(embeddings), "identities")
    kept = without_copies(copies, everyone)
    result = Evaluation(len(kept), int((everyone >= 0).sum()), int(everyone.max(initial=-1)) + 1)
    rows = _Labelled(
        embeddings,
        everyone,
        result.individuals,
        encounters,
        timestamps,
        photographs,
        split,
        resamples,
        seed,
    )
    rows = _known_only(rows if kept.all() else _at(rows, kept))
    again = int((~kept).sum())
    several = int((np.bincount(rows.identity[rows.named]) > 1).sum())
    if not several:
        raise InputError(
            f"{result.labelled} of {len(kept)} images have an identity, and no individual has two "
            f"{'different ' if again else ''}images: there is nothing to find; give labels (column "
            "`identity`, or --labels)"
        )
    if few := few_individuals(several):
        result.notes.append(f"figures and intervals are {few}")
    if again:
        result.notes.append(
            f"{again:,} images are copies of others here, to the last pixel; a copy asks nothing and answers "
            "nothing, as a picture that finds itself proves nothing"
        )
    result.parts["retrieval"] = _retrieval_part(rows)
    if rows.encounters is not None:
        result.notes.append(
            "with images of the same encounter as answers the scores would read "
            f"{_flattered(rows)}: compare these with figures that were taken so, and do not trust them"
        )
    if rows.split is not None:
        result.parts["split"] = _split_part(rows, rows.split)
    questions: dict[str, Callable[[_Labelled], Part]] = {"closed_set": _closed_set_part}
    if rows.timestamps is not None:
        questions["time_aware"] = _time_aware_part
    questions["open_set"] = _open_set_part
    for name, ask in questions.items():
        try:
            result.parts[name] = ask(rows)
        except InputError as error:
            result.notes.append(f"no {name.replace('_', '-')} score: {error}")
    return result


def judge_clusters(
    clusters: NDArray[np.int64],
    identities: NDArray[Any],
    *,
    source: str = "",
    resamples: int = 1000,
    seed: int = 0,
) -> Part:
    """Score clusters of one species against known identities.

    Args:
        clusters: (n,) cluster of each row, -1 is noise.
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.
        source: a sentence on where the clusters come from.
        resamples: bootstrap samples of the intervals.
        seed: of the samples.

    Raises:
        InputError: no row has an identity, or numbers that differ.

    Example:
        The formulas are those of `agreement`.

        >>> who = np.arange(4).repeat(3)
        >>> judge_clusters(who, who, resamples=10).figures["ari"].value
        1.0
    """
    values = asdict(agreement(clusters, identities))
    del values["n_scored"]
    found = len(np.unique(clusters[clusters >= 0])) + int((clusters < 0).sum())
    return Part(
        "Do the clusters repeat the identities?",
        f"{found:,} clusters and images on their own; {source}".rstrip("; "),
        named_figures(
            values, agreement_intervals(clusters, identities, resamples=resamples, seed=seed)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Labelled:
    """What `evaluate` is given, with identities as codes; −1 is unlabelled."""

    embeddings: NDArray[np.float32]
    identity: NDArray[np.int64]
    individuals: int
    encounters: NDArray[Any] | None
    timestamps: NDArray[np.datetime64] | None
    photographs: NDArray[Any] | None
    split: tuple[Mask, Mask] | None
    resamples: int
    seed: int

    @property
    def named(self) -> Mask:
        return self.identity >= 0

    def scores(self, asking: Mask, gallery: Mask | None = None) -> QueryScores:
        """Of each asking row, those of its own encounter left out."""
        return query_scores(
            self.embeddings,
            self.identity,
            encounters=self.encounters,
            queries=asking,
            gallery=gallery,
        )

    def some(self, mask: Mask) -> Mask:
        """At most MAX_QUERIES of the rows in `mask`, drawn with equal chances."""
        rows = np.flatnonzero(mask)
        if len(rows) <= MAX_QUERIES:
            return mask
        drawn = np.zeros_like(mask)
        random = np.random.default_rng([self.seed, 8])
        drawn[random.choice(rows, MAX_QUERIES, replace=False)] = True
        return drawn


def _at(rows: _Labelled, kept: Mask) -> _Labelled:
    """Some of the rows."""

    def part(values: NDArray[Any] | None) -> NDArray[Any] | None:
        return None if values is None else values[kept]

    return replace(
        rows,
        embeddings=rows.embeddings[kept],
        identity=rows.identity[kept],
        encounters=part(rows.encounters),
        timestamps=part(rows.timestamps),
        photographs=part(rows.photographs),
        split=None if rows.split is None else (rows.split[0][kept], rows.split[1][kept]),
    )


def _known_only(rows: _Labelled) -> _Labelled:
    """Without a column that says nothing of any row."""
    encounters, timestamps = rows.encounters, rows.timestamps
    if encounters is not None:
        unknown = checked_codes(encounters, len(rows.identity), "encounters") < 0
        encounters = None if unknown.all() else encounters
    if timestamps is not None and np.isnat(timestamps).all():
        timestamps = None
    return replace(rows, encounters=encounters, timestamps=timestamps)


def _retrieval_part(rows: _Labelled) -> Part:
    asking = rows.some(rows.named)
    scores = rows.scores(asking)
    could = int(rows.named.sum())
    drawn = "" if asking.sum() == could else f", drawn from {could:,},"
    apart = "" if rows.encounters is None else "; images of one encounter are never compared"
    lonely = f"; {scores.skipped:,} have no other image to find" if scores.skipped else ""
    return Part(
        "Does an image find its individual?",
        f"{len(scores.rows):,} images{drawn} ask, each among all others{apart}{lonely}",
        _retrieval_figures(rows, scores),
    )


def _flattered(rows: _Labelled) -> str:
    """The leading scores where encounters are not kept apart."""
    together = replace(rows, encounters=None)
    every = summarise(together.scores(rows.some(rows.named)))
    sentence = f"mAP {every.mean_average_precision:.3f}, top-1 {every.top_1:.3f}"
    try:
        query = closed_set(rows.identity, seed=rows.seed)
    except InputError:  # too few individuals
        return sentence
    closed = summarise(together.scores(rows.some(query), rows.named & ~query))
    return f"{sentence}, closed-set top-1 {closed.top_1:.3f}"


def _closed_set_part(rows: _Labelled) -> Part:
    query = closed_set(rows.identity, encounters=rows.encounters, seed=rows.seed)
    title = "Known individuals: is the nearest image the right one?"
    return _side_part(rows, title, query, "drawn at random")


def _time_aware_part(rows: _Labelled) -> Part:
    assert rows.timestamps is not None
    query = time_aware(rows.identity, rows.timestamps, encounters=rows.encounters)
    title = "Known individuals, later: is the nearest earlier image the right one?"
    return _side_part(rows, title, query, "the latest")


def _side_part(rows: _Labelled, title: str, query: Mask, which: str) -> Part:
    """The query rows ask among the other labelled ones."""
    gallery = rows.named & ~query
    scores = rows.scores(rows.some(query), gallery)
    new = f"; {scores.skipped:,} more show individuals that are not there" if scores.skipped else ""
    return Part(
        title,
        f"{len(scores.rows):,} images ({which}, {query.sum() / rows.named.sum():.0%} of the labelled) "
        f"ask among the other {int(gallery.sum()):,}{new}",
        _retrieval_figures(rows, scores, ("top_1", "top_5", "top_10")),
    )


def _split_part(rows: _Labelled, split: tuple[Mask, Mask]) -> Part:
    """The data set's own queries and gallery; a query's own encounter and photograph are left out."""
    n = len(rows.identity)
    apart = np.full(n, -1)
    if rows.encounters is not None:
        apart = checked_codes(rows.encounters, n, "encounters")
    if rows.photographs is not None:
        files = checked_codes(rows.photographs, n, "photographs")
        apart = np.where(apart >= 0, apart, apart.max(initial=-1) + 1 + files)
    query, gallery = (side & rows.named for side in split)
    scores = replace(rows, encounters=apart).scores(rows.some(query), gallery)
    every = len(scores.rows) + scores.skipped
    return Part(
        "The data set's own split: is the nearest image of the gallery the right one?",
        f"{len(scores.rows):,} of {every:,} queries have an image of their individual among the "
        f"{int(gallery.sum()):,} of the gallery that is not of their own encounter or photograph; "
        "those alone are counted",
        _retrieval_figures(rows, scores, ("mean_average_precision", "top_1", "top_5", "top_10")),
    )


def _open_set_part(rows: _Labelled) -> Part:
    sizes = np.bincount(rows.identity[rows.named], minlength=rows.individuals)
    order = np.random.default_rng([rows.seed, 7]).permutation(rows.individuals)
    fitting = order[np.cumsum(sizes[order]) <= MAX_OPEN_SET_ROWS]
    part = np.where(np.isin(rows.identity, fitting), rows.identity, -1)
    played = open_set(rows.embeddings, part, encounters=rows.encounters, seed=rows.seed)
    low, high = played.thresholds.min(), played.thresholds.max()
    fewer = (
        ""
        if len(fitting) == rows.individuals
        else f"; only {len(fitting):,} individuals take part, so that it is easier than with all"
    )
    return Part(
        "Is it one we know, and which, or a new one?",
        f"{len(played.thresholds)} draws, a fifth of the individuals unknown in each, "
        f"{played.known_queries:,} known and {played.new_queries:,} new images asked in all; new from "
        f"distance {low:.3f}-{high:.3f}, fitted on the gallery{fewer}",
        named_figures(
            asdict(played.shares.summarise()),
            assignment_intervals(played.shares, resamples=rows.resamples, seed=rows.seed),
        ),
    )


def _retrieval_figures(
    rows: _Labelled, scores: QueryScores, names: tuple[str, ...] | None = None
) -> dict[str, Figure]:
    """All of them, or those of `names` that could be computed."""
    values = asdict(summarise(scores))
    del values["queries"], values["skipped"]
    figures = named_figures(
        values, retrieval_intervals(scores, resamples=rows.resamples, seed=rows.seed)
    )
    return {name: figures[name] for name in names or figures if name in figures}
