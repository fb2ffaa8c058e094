"""The verdict on a species of a catalogue, of what a night has at hand: nothing is compared for it again."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from jobs.catalogue.stored_vectors import read_vectors
from jobs.common.verdicts import general_of
from reid.catalogue import SpeciesRules, embeddings_path
from reid.identify import Unaided
from reid.signs import read_signs
from reid.tune.expected import expected_of_clusters
from reid.verdict import Learned, Verdict, judge

HALVES_IMAGES = "halves_images"  # that there were when two halves of the vectors were compared
WAY = "by labelled and confirmed images, grouped as if nobody had named them"


def judge_night(
    path: str,
    rules: SpeciesRules,
    some_rows: Callable[[NDArray[np.intp]], pa.Table],
    by_rising_id: Callable[[NDArray[np.intp]], NDArray[np.intp]],
    who: NDArray[np.integer],
    alone: Unaided,
    before: Mapping[str, Any] | None,
    *,
    seed: int,
) -> Verdict:
    """What can this model tell apart among the images of a catalogue?

    Individuals of a catalogue obey its labels, so that the verdict is on those that distances and encounters
    alone make of it. Without labels two halves of the vectors are compared once, and again when rules change or the
    images have doubled.

    Args:
        path: of the catalogue.
        rules: of the species.
        some_rows: annotation_id and source_key of some of its rows, by their numbers.
        by_rising_id: the numbers of some rows in the order of their annotation_id.
        who: (n,) numbers that tell their individuals apart.
        alone: what the model alone makes of them.
        before: the verdict under the same rules (JSON values of `Verdict`); None: there is none.
        seed: of what is sampled.
    """
    n = len(who)
    expected = _expected(by_rising_id, who, alone)
    learned = None
    if expected is not None:
        learned = Learned(*expected, way=WAY)
    folder = embeddings_path(path, rules.recipe)
    figures = (before or {}).get("figures") or {}
    # What a few images said is not what many say; catalogues of before did not note how many there were.
    doubled = n >= 2 * figures.get(HALVES_IMAGES, 0)
    known = None if doubled else figures.get("halves_ari")
    halves = learned is None and known is None
    cluster, image, order = alone.cluster, alone.image, np.empty(0, np.intp)
    if halves:  # some rows are drawn by their places, and by the numbers of their clusters
        order = by_rising_id(np.arange(n))
        cluster, image = cluster[order], image[order]
        cluster = _with_alone(np.where(cluster < 0, -1, pd.factorize(cluster)[0]))
    signs = read_signs(
        lambda some: read_vectors(path, rules.recipe, some_rows(order[some])),
        cluster,
        images=image,
        halves=halves,
        seed=seed,
    )
    if learned is None and known is not None:
        signs = replace(signs, halves_ari=known)
    verdict = judge(signs, learned, general=general_of(folder))
    if learned is not None or signs.halves_ari is None:
        return verdict
    compared = n if known is None else figures[HALVES_IMAGES]
    return replace(verdict, figures={**verdict.figures, HALVES_IMAGES: compared})


def _expected(
    by_rising_id: Callable[[NDArray[np.intp]], NDArray[np.intp]],
    who: NDArray[np.integer],
    alone: Unaided,
) -> tuple[tuple[float, float], int] | None:
    """The ARI that is expected by images that people vouch for, and of how many individuals there are several of these."""
    told = np.flatnonzero(alone.told & (alone.cluster >= 0))
    if not len(told):
        return None
    # Individuals by the first row of each, so that halves of them do not depend on names, nor on how rows are numbered.
    told = by_rising_id(told)
    codes = np.full(len(who), -1, np.int64)
    codes[told] = pd.factorize(who[told])[0]
    expected = expected_of_clusters(alone.cluster, codes)
    return None if expected is None else (expected, int((np.bincount(codes[told]) > 1).sum()))


def _with_alone(cluster: NDArray[np.int64]) -> NDArray[np.int64]:
    """Clusters of two rows and more; −1 for rows that are alone."""
    sizes = np.bincount(cluster[cluster >= 0], minlength=1)
    return np.where((cluster >= 0) & (sizes[cluster] > 1), cluster, -1)
