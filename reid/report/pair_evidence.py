"""What was found on two pictures: points to be drawn over both, and words for and against.

A number such as 31 matches says little by itself. It is told against the other pairs that were looked
at: what few of them reach speaks for one animal, what most of them reach against it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reid.keypoints import StoredKeypoints
from reid.layout import Window
from reid.pairs import Matches

MOST_DRAWN = 100  # matches of a pair; more hide the pictures
# At least this share of the other pairs says less: it speaks for one animal. At most: against it.
FOR, AGAINST = 0.9, 0.6
FINE = 1000  # coordinates are written as thousandths of a picture's sides
SIDE = "viewpoint"


@dataclass(frozen=True)
class PairEvidence:
    """Of two pictures.

    Attributes:
        points: (m, 4) float32: x, y in the first picture and x, y in the second, as shares of their
            sides; the surest match first, MOST_DRAWN at most.
        confidence: (m,) float32 in (0, 1].
        more: matches that are not drawn.
        speaks_for, speaks_against, beside: what is to be said.
    """

    points: NDArray[np.float32]
    confidence: NDArray[np.float32]
    more: int
    speaks_for: Sequence[str]
    speaks_against: Sequence[str]
    beside: Sequence[str]

    def as_dict(self) -> dict[str, Any]:
        """As the page's script reads it: short lists of whole numbers."""
        drawn = np.concatenate([self.points * FINE, self.confidence[:, None] * 100], axis=1)
        return {
            "points": np.rint(drawn).astype(int).tolist(),
            "more": self.more,
            "for": list(self.speaks_for),
            "against": list(self.speaks_against),
            "beside": list(self.beside),
        }


def pair_evidence(
    matches: Matches,
    stored: tuple[StoredKeypoints, StoredKeypoints],
    window: Window | None,
    numbers: Mapping[str, Any],
    others: Mapping[str, NDArray[np.floating]],
    about: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> PairEvidence:
    """Put together what a page shows of a pair.

    Args:
        matches: of the first picture's points to the second's.
        stored: keypoints of both.
        window: in which they were found; None: the whole crop, which is what the page shows.
        numbers: of MEASURES, and `cut` and `probability` where they are known.
        others: the numbers of the pairs that this one is compared with, sorted, by measure.
        about: viewpoint, timestamp and location_id of both annotations; may be null.
    """
    order = np.argsort(-matches.confidence, kind="stable")[:MOST_DRAWN]
    ends = [_shares(one, matches.points[order, side], window) for side, one in enumerate(stored)]
    speaks_for, speaks_against, beside = _measured(numbers, others)
    if numbers.get("cut"):
        speaks_against.insert(0, f"it would be impossible: {numbers['cut']}")
    _say_sides(about, beside, speaks_against)
    beside += _when_and_where(about)
    return PairEvidence(
        points=np.concatenate(ends, axis=1),
        confidence=matches.confidence[order],
        more=len(matches.confidence) - len(order),
        speaks_for=speaks_for,
        speaks_against=speaks_against,
        beside=beside,
    )


# Measure → what it is called; how many digits.
MEASURES: Mapping[str, tuple[str, int]] = {
    "matches_50": ("points matched with a confidence over 0.5", 0),
    "inliers": ("of the matched points move together as one coat would", 0),
    "votes": ("votes of descriptors that are clearly each other's nearest", 2),
    "cosine": ("cosine of the two embeddings", 3),
}


def sorted_measures(pairs: pd.DataFrame) -> dict[str, NDArray[np.float64]]:
    """The `others` of `pair_evidence`, of a table with the columns that are known of MEASURES."""
    return {
        name: np.sort(pairs[name].dropna().to_numpy(np.float64))
        for name in MEASURES
        if name in pairs and pairs[name].notna().any()
    }


def _shares(
    stored: StoredKeypoints, places: NDArray[np.int32], window: Window | None
) -> NDArray[np.float32]:
    """Points of the window as shares of the whole crop's sides."""
    left, top, right, bottom = window or (0.0, 0.0, 1.0, 1.0)
    # A point's whole number is the middle of its pixel.
    inside = (stored.keypoints.xy[places] + 0.5) / stored.size
    shares = np.array([left, top]) + inside * np.array([right - left, bottom - top])
    clipped: NDArray[np.float32] = np.clip(shares, 0, 1).astype(np.float32)
    return clipped


def _measured(
    numbers: Mapping[str, Any], others: Mapping[str, NDArray[np.floating]]
) -> tuple[list[str], list[str], list[str]]:
    sentences: tuple[list[str], list[str], list[str]] = [], [], []
    for name, (words, digits) in MEASURES.items():
        value = numbers.get(name)
        if value is None or np.isnan(value) or name not in others:
            continue
        below = float(np.searchsorted(others[name], value) / len(others[name]))
        said = f"{value:,.{digits}f} {words}"
        if below >= FOR:
            sentences[0].append(f"{said}: only {_percent(1 - below)} of the pairs reach that")
        elif below <= AGAINST:
            sentences[1].append(f"{said}: {_percent(1 - below)} of the pairs reach that")
        else:
            sentences[2].append(f"{said}: {_percent(1 - below)} of the pairs reach that")
    return sentences


def _percent(share: float) -> str:
    return f"{100 * share:.{1 if 0 < share < 0.01 else 0}f} %"


def _say_sides(
    about: tuple[Mapping[str, Any], Mapping[str, Any]], beside: list[str], against: list[str]
) -> None:
    first, second = (None if pd.isna(one.get(SIDE)) else one[SIDE] for one in about)
    if first is None or second is None:
        beside.append("the side of one is not known" if first or second else "no side is known")
    elif first == second:
        beside.append(f"both show the {first} side")
    else:
        against.append(f"one shows the {first} side, the other the {second} side")


def _when_and_where(about: tuple[Mapping[str, Any], Mapping[str, Any]]) -> list[str]:
    sentences = []
    times = [pd.Timestamp(one["timestamp"]) for one in about if not pd.isna(one.get("timestamp"))]
    if len(times) == 2:
        sentences.append(f"taken {_span(abs(times[0] - times[1]))} apart")
    places = [one.get("location_id") for one in about]
    if not any(pd.isna(place) for place in places):
        same = places[0] == places[1]
        sentences.append(f"both at {places[0]}" if same else f"at {places[0]} and at {places[1]}")
    return sentences


def _span(time: pd.Timedelta) -> str:
    seconds = time.total_seconds()
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {unit}"
    return f"{seconds:,.0f} seconds"
