"""How fast people answer, and how many more questions there are to a stated share of wrong images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid.identify.remarks import about_pairs
from reid.review.questions import Asked

ERROR_SHARE = 0.05  # of images with the wrong individual, at which people may stop
PAUSE_SECONDS = 300  # between two answers of one person: longer is no work
FEWEST_ANSWERS = 10  # timed ones, for a rate

ASSUMES = (
    "This takes the probabilities that labels taught for right, also among these animals; every wrong image for one "
    "that a single question puts right; and every answer for right."
)


@dataclass(frozen=True, slots=True)
class Workload:
    """What is left to do, under what ASSUMES says.

    Attributes:
        images: that are asked about.
        wrong: images expected to have the wrong individual now.
        unseen: those of them that no pair shows, and so no answer puts right.
        share: of wrong images that is wanted.
        questions: the best ones, that bring it to that; None: all of them do not.
        every: how many there are in all.
    """

    images: int
    wrong: float
    unseen: float
    share: float
    questions: int | None
    every: int


def workload(asked: Iterable[Asked], share: float = ERROR_SHARE) -> Workload | None:
    """How many more questions there are to a share of wrong images.

    On made-up animals whose truth is known, of which a tenth of the images was wrong, the number was within a factor
    of two of the answers that it took (`tests/test_review_workload.py`). With a fifth wrong it was too low, by
    five and more: probabilities learned on a few dozen other animals are then further off.

    Args:
        asked: of each species.
        share: of images with the wrong individual, 0 ≤ share < 1.

    Returns:
        None where no labels taught probabilities, or there is no image.
    """
    parts = list(asked)
    images = sum(one.images for one in parts)
    if not images or not all(one.learned for one in parts):
        return None
    expected = np.sort(np.concatenate([one.expected for one in parts]))[::-1]
    unseen = sum(one.unseen for one in parts)
    # After none, one, two, … answers.
    left = np.append(expected[::-1].cumsum()[::-1], 0.0) + unseen
    enough = np.flatnonzero(left <= share * images)
    questions = int(enough[0]) if len(enough) else None
    return Workload(images, float(left[0]), unseen, share, questions, len(expected))


def answers_an_hour(decisions: pa.Table) -> float | None:
    """How many pairs a person judges in an hour of work, by the times of their decisions.

    Pauses of more than PAUSE_SECONDS are left out, and decisions of one moment are one act.

    Args:
        decisions: `reid.schema.DECISIONS`.

    Returns:
        None where fewer than FEWEST_ANSWERS can be timed.
    """
    judged = about_pairs(decisions).select(["reviewer", "timestamp"])
    answers, seconds = 0, 0.0
    for who in pc.unique(judged["reviewer"]).to_pylist():
        own = judged.filter(pc.equal(judged["reviewer"], who))["timestamp"]
        moments = np.unique(own.to_numpy().astype("datetime64[us]"))
        between = np.diff(moments) / np.timedelta64(1, "s")
        worked = between[between <= PAUSE_SECONDS]
        answers, seconds = answers + len(worked), seconds + float(worked.sum())
    return 3600 * answers / seconds if answers >= FEWEST_ANSWERS and seconds else None


def in_words(found: Workload | None, rate: float | None) -> Sequence[str]:
    """Sentences for people; few where little is known.

    Args:
        found: of `workload`.
        rate: of `answers_an_hour`.
    """
    said = []
    if found is None:
        said.append(
            "How many questions remain is not known: no labels have taught how likely a pair is one animal."
        )
    else:
        now = (
            f"About {_share(found.wrong / found.images)} of {found.images:,} images are expected to have the wrong "
            "individual"
        )
        wanted = _share(found.share)
        if found.questions == 0:
            said.append(f"{now}: no more questions are needed for {wanted}.")
        elif found.questions is None:
            said.append(
                f"{now}; all {found.every:,} questions bring that to {_share(found.unseen / found.images)}, and not to "
                f"{wanted}, as no pair of near images shows the rest."
            )
        else:
            takes = "" if rate is None else f", about {_duration(found.questions / rate)} of work"
            many = "s bring" if found.questions > 1 else " brings"
            said.append(f"{now}; {found.questions:,} question{many} that to {wanted}{takes}.")
    if rate is not None:
        said.append(f"So far {rate:,.0f} questions were answered an hour, pauses left out.")
    if found is not None:
        said.append(ASSUMES)
    return said


def _share(value: float) -> str:
    return f"{value:.0%}" if value >= 0.1 else f"{value:.1%}".replace(".0%", "%")


def _duration(hours: float) -> str:
    minutes = max(1, round(60 * hours))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
