"""What can this model tell apart, here? One verdict in words on the individuals of a species.

From labels where there are any: what the errors on individuals that it was not tuned on mean among all.
Without labels nobody knows how right clusters are, but much that shows them to be wrong can be seen: two
halves of the vector that find different individuals, one cluster that swallows the rest, bursts that do not
find themselves, two boxes of one picture that are called one animal. So without labels the best verdict there
is says that people should look at everything.

Limits were chosen on some sets and measured on others (`tests/benchmarks/verdict.py`). Margins between the
nearest row and the rest, and whether the nearest shows the same side, were tried there and told nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.metrics.intervals import few_individuals
from reid.tune import Clustering, find_individuals

Level = Literal["usable", "review everything", "not usable"]
LEVELS: tuple[Level, ...] = ("usable", "review everything", "not usable")

# ARI to be expected by individuals held out, less its spread. Above the first people mend what is wrong as they meet
# it; below the second there is nothing to mend.
USABLE_ARI, POOR_ARI = 0.6, 0.2
FEW_ROWS = 30  # below it a share says nothing

# Without labels: what speaks against the clusters.
LEAST_HALVES_ARI = 0.6
LARGEST_SHARE = 0.5
LEAST_ENCOUNTERS_NEAR = 0.3
LEAST_IMAGES_SPLIT = 0.5
SAMPLE = 800  # rows whose halves are compared
SPLITS = 4  # of the dimensions into halves: one alone is a throw of the dice


@dataclass(frozen=True)
class Signs:
    """What a clustering shows without labels; None where it cannot be known.

    Attributes:
        rows: how many rows there are.
        halves_ari: ARI between the clusters that either half of the vector finds; of many rows, those of
            some clusters, whole, as a draw of rows would thin every individual.
        largest: share of the rows that are in the largest cluster.
        encounters_near: of rows with others of their encounter and side, the share whose nearest is one
            of them.
        images_split: of pairs of boxes of one image, the share in different clusters, as all must be.
    """

    rows: int
    halves_ari: float | None = None
    largest: float | None = None
    encounters_near: float | None = None
    images_split: float | None = None


@dataclass(frozen=True)
class Learned:
    """What labels say.

    Attributes:
        expected: ARI that is to be expected among all images (`reid.tune.expected`), mean and spread.
        individuals: how many are labelled in two images and more.
        top_1: of labelled rows whose nearest labelled row is the same individual; None: not known.
        way: how that was found, in words that go before "an ARI of …".
    """

    expected: tuple[float, float]
    individuals: int
    top_1: float | None = None
    way: str = "by individuals held out"


@dataclass(frozen=True)
class Verdict:
    """A level, a sentence, and what they rest on.

    Attributes:
        level: `usable`, `review everything` or `not usable`.
        sentence: for people: what the model can tell apart here, and what to do.
        basis: `labels`, or `no labels`.
        figures: those that decided.
    """

    level: Level
    sentence: str
    basis: Literal["labels", "no labels"]
    figures: Mapping[str, float] = field(default_factory=dict)


def judge(signs: Signs, learned: Learned | None = None, *, general: str | None = None) -> Verdict:
    """The verdict on a clustering.

    Args:
        signs: of `read_signs`.
        learned: what labels say, where there are enough.
        general: what to know of a model that was not made for individuals; added where it matters.
    """
    found = _without_labels(signs) if learned is None else _from_labels(learned, signs)
    if general is None or found.level == "usable":
        return found
    return Verdict(found.level, f"{found.sentence} {general}.", found.basis, found.figures)


def _from_labels(learned: Learned, signs: Signs) -> Verdict:
    mean, spread = learned.expected
    figures = {"expected_ari": mean, "expected_spread": spread, "individuals": learned.individuals}
    reported = (
        f"{learned.way}, an ARI of {mean:.2f} ± {spread:.2f} is to be expected among all images "
        "(1: all right, 0: chance)"
    )
    if learned.top_1 is not None:
        figures["top_1"] = learned.top_1
        reported += f"; the nearest image shows the same individual for {learned.top_1:.0%}"
    few = few_individuals(learned.individuals)
    if few:
        reported += f"; that is {few}"
    low = mean - spread
    wrong = _called_one(signs)
    if wrong:
        return Verdict("not usable", f"Not usable: {wrong}; {reported}.", "labels", figures)
    if low >= USABLE_ARI and not few:
        return Verdict(
            "usable",
            f"Usable: {reported}. Look at what is unsure and at large clusters.",
            "labels",
            figures,
        )
    if low < POOR_ARI:
        return Verdict(
            "not usable",
            f"Not usable: {reported}. This model does not tell these animals apart.",
            "labels",
            figures,
        )
    return Verdict(
        "review everything",
        f"Review everything: {reported}. Clusters are a start for people, not an answer.",
        "labels",
        figures,
    )


def _without_labels(signs: Signs) -> Verdict:
    figures = {
        name: value for name, value in vars(signs).items() if name != "rows" and value is not None
    }
    against = _against(signs)
    if against:
        sentence = (
            f"Not usable: {'; '.join(against)}. Take another model, or label a dozen individuals to see how "
            "right it is."
        )
        return Verdict("not usable", sentence, "no labels", figures)
    sentence = (
        "Review everything: nothing speaks against these clusters, but without labels nobody knows how right "
        "they are. Label a dozen individuals to know."
    )
    return Verdict("review everything", sentence, "no labels", figures)


def _against(signs: Signs) -> list[str]:
    """What shows that the clusters are no individuals, in words; empty where nothing does."""
    found = [text for text in [_called_one(signs)] if text]
    if signs.rows < FEW_ROWS:
        found.append(f"{signs.rows} images are too few to see whether the model tells them apart")
    if signs.halves_ari is not None and signs.halves_ari < LEAST_HALVES_ARI:
        found.append(
            f"two halves of the same vectors find different individuals (ARI {signs.halves_ari:.2f})"
        )
    if signs.largest is not None and signs.largest > LARGEST_SHARE:
        found.append(f"one cluster holds {signs.largest:.0%} of all images")
    if signs.encounters_near is not None and signs.encounters_near < LEAST_ENCOUNTERS_NEAR:
        found.append(
            f"images of one encounter and side find each other in {signs.encounters_near:.0%} of cases only"
        )
    return found


def _called_one(signs: Signs) -> str:
    """Animals that stood side by side and were called one; nothing where they were told apart."""
    if signs.images_split is None or signs.images_split >= LEAST_IMAGES_SPLIT:
        return ""
    return f"{1 - signs.images_split:.0%} of the pairs of animals in one picture were called one animal"


def read_signs(
    vectors: NDArray[np.float32] | Callable[[NDArray[np.intp]], NDArray[np.float32]],
    labels: NDArray[np.int64],
    *,
    nearest: NDArray[np.int32] | None = None,
    encounters: NDArray[np.int64] | None = None,
    sides: NDArray[np.int64] | None = None,
    images: NDArray[np.int64] | None = None,
    halves: bool = True,
    seed: int = 0,
) -> Signs:
    """What the rows and their clusters show without labels.

    Args:
        vectors: (n, d) float32, unit rows; or what reads those of some rows, where they lie elsewhere.
        labels: (n,) int64 clusters, −1 = alone.
        nearest: (n,) int32, the nearest other row of each, −1 = none; for `encounters`.
        encounters: (n,) int64, −1 = unknown.
        sides: (n,) int64, the side that is seen, −1 = unknown.
        images: (n,) int64, which image a row is a box of, −1 = no matter.
        halves: compare what two halves of the vectors find, which takes longest.
        seed: of the sample of rows and of the halves.
    """
    n = len(labels)
    sizes = np.bincount(labels[labels >= 0], minlength=1)
    return Signs(
        rows=n,
        halves_ari=_halves_ari(vectors, labels, seed) if halves else None,
        largest=float(max(1, sizes.max()) / n) if n >= FEW_ROWS else None,
        encounters_near=_encounters_near(nearest, encounters, sides),
        images_split=_images_split(labels, images),
    )


def _halves_ari(
    vectors: NDArray[np.float32] | Callable[[NDArray[np.intp]], NDArray[np.float32]],
    labels: NDArray[np.int64],
    seed: int,
) -> float | None:
    """How alike are the clusters that two halves of the dimensions find, each with its own threshold?"""
    from sklearn.metrics import adjusted_rand_score

    n = len(labels)
    if n < FEW_ROWS:
        return None
    random = np.random.default_rng(seed)
    chosen, splits = np.arange(n), SPLITS
    if n > SAMPLE:
        chosen, splits = _some_clusters(labels, random), SPLITS // 2  # more rows, less chance
    rows = vectors(chosen) if callable(vectors) else vectors[chosen]
    d = rows.shape[1]
    if d < 2:
        return None
    scores = []
    for _ in range(splits):
        order = random.permutation(d)
        found = [_clusters(rows[:, part]) for part in (order[: d // 2], order[d // 2 :])]
        scores.append(float(adjusted_rand_score(*found)))
    return float(np.mean(scores))


def _some_clusters(labels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.intp]:
    """SAMPLE rows: all of some clusters and, as often as there are, of images that stand alone."""
    alone = labels.max(initial=-1) + 1 + np.arange(len(labels))
    group = np.where(labels < 0, alone, labels)
    turn = random.permutation(int(group.max()) + 1)
    return np.sort(np.argsort(turn[group], kind="stable")[:SAMPLE])


def _clusters(half: NDArray[np.float32]) -> NDArray[np.int64]:
    """The clusters of rows of any length, each row alone with a number of its own."""
    rows = half / np.maximum(np.linalg.norm(half, axis=1, keepdims=True), np.float32(1e-12))
    known = rows.any(axis=1)  # a row that is zero in this half is near nobody
    alone = len(rows) + np.arange(len(rows))
    nobody = np.full(int(known.sum()), None, dtype=object)
    try:
        labels = find_individuals(rows[known], nobody, Clustering(method="dbscan")).labels
    except InputError:  # no two rows are near each other
        return alone
    found = alone.copy()
    found[known] = np.where(labels < 0, alone[known], labels)
    return found


def _encounters_near(
    nearest: NDArray[np.int32] | None,
    encounters: NDArray[np.int64] | None,
    sides: NDArray[np.int64] | None,
) -> float | None:
    if nearest is None or encounters is None:
        return None
    shown = np.zeros_like(encounters) if sides is None else sides
    key = np.where((encounters < 0) | (shown < 0), -1, encounters * (shown.max() + 1) + shown)
    counts = np.bincount(key[key >= 0], minlength=1)
    asked = np.flatnonzero((key >= 0) & (counts[key] > 1) & (nearest >= 0))
    if len(asked) < FEW_ROWS:
        return None
    return float((key[nearest[asked]] == key[asked]).mean())


def _images_split(labels: NDArray[np.int64], images: NDArray[np.int64] | None) -> float | None:
    """Of pairs of boxes of one image: the share that are in different clusters."""
    if images is None:
        return None
    boxes = np.flatnonzero(images >= 0)
    _, image, sizes = np.unique(images[boxes], return_inverse=True, return_counts=True)
    pairs = _pairs(sizes)
    if not pairs:
        return None
    named = np.flatnonzero(labels[boxes] >= 0)
    keys = image[named] * (labels.max() + 1) + labels[boxes[named]]
    return 1 - _pairs(np.unique(keys, return_counts=True)[1]) / pairs


def _pairs(sizes: NDArray[np.int64]) -> int:
    return int((sizes * (sizes - 1) // 2).sum())
