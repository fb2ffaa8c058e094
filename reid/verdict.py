"""What can this model tell apart, here? One verdict in words on the individuals of a species.

From labels where there are any: what the errors on individuals that it was not tuned on mean among all.
Without labels nobody knows how right clusters are, but much that shows them to be wrong can be seen: two
halves of the vector that find different individuals, one cluster that swallows the rest, bursts that do not
find themselves, two boxes of one picture that are called one animal. So without labels the best verdict there
is says that people should look at everything.

Limits were chosen on some sets and measured on others (`tests/benchmarks/verdict.py`). Margins between the
nearest row and the rest, and whether the nearest shows the same side, were tried there and told nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from reid.few_individuals import few_individuals

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
            "the two halves of what the model says of each picture give different individuals (they agree by "
            f"{signs.halves_ari:.2f}; 1 is fully, 0 is chance)"
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
