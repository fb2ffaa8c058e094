"""What a page draws and says of two pictures, by hand."""

import numpy as np
import pandas as pd
import pytest

from reid.keypoints import StoredKeypoints
from reid.keypoints.extractors import Keypoints
from reid.pairs import Matches
from reid.report.pair_evidence import MOST_DRAWN, PairEvidence, pair_evidence, sorted_measures


def stored(*xy: tuple[float, float], size: tuple[int, int] = (100, 50)) -> StoredKeypoints:
    n = len(xy)
    points = Keypoints(
        np.array(xy, np.float32), np.ones(n, np.float32), np.zeros((n, 128), np.uint8)
    )
    return StoredKeypoints(points, np.array(size, np.float32), 1.0)


FIRST = stored((49.5, 24.5), (0, 0))
SECOND = stored((-0.5, -0.5), (99.5, 49.5), (24.5, 24.5))
MATCHES = Matches(np.array([[0, 2], [1, 1]], np.int32), np.array([0.4, 0.9], np.float32))
OTHERS = sorted_measures(
    pd.DataFrame({"matches_50": range(100), "inliers": range(100), "votes": [0.5] * 100})
)


def seen(numbers: dict | None = None, window: object = None, **about: object) -> PairEvidence:
    ends = tuple({name: value[side] for name, value in about.items()} for side in (0, 1))
    return pair_evidence(MATCHES, (FIRST, SECOND), window, numbers or {}, OTHERS, ends)  # type: ignore[arg-type]


def test_points_are_shares_of_the_whole_crop_the_surest_first() -> None:
    """The middle of a window over the right half is three quarters to the right."""
    whole = seen()
    assert whole.confidence.tolist() == pytest.approx([0.9, 0.4])
    assert whole.points[1].tolist() == pytest.approx([0.5, 0.5, 0.25, 0.5])
    assert whole.points[0].tolist() == pytest.approx([0.005, 0.01, 1.0, 1.0])
    part = seen(window=(0.5, 0.2, 1.0, 0.6))
    assert part.points[1].tolist() == pytest.approx([0.75, 0.4, 0.625, 0.4])
    assert part.as_dict()["points"][1] == [750, 400, 625, 400, 40]


def test_what_few_pairs_reach_speaks_for_and_what_most_reach_against() -> None:
    told = seen({"matches_50": 97, "inliers": 10, "votes": np.nan})
    assert [text[:24] for text in told.speaks_for] == ["97 points matched with a"]
    assert told.speaks_for[0].endswith("only 3 % of the pairs reach that")
    assert [text[:10] for text in told.speaks_against] == ["10 of the "]
    assert told.speaks_against[0].endswith(": 90 % of the pairs reach that")
    middling = seen({"matches_50": 75})
    assert middling.speaks_for == middling.speaks_against == []
    assert any(text.startswith("75 points") for text in middling.beside)
    cut = seen({"matches_50": 97, "cut": "11 km in 5 min"})
    assert cut.speaks_against == ["it would be impossible: 11 km in 5 min"]


def test_sides_times_and_places_are_told() -> None:
    moments = (pd.Timestamp("2024-05-01 12:00"), pd.Timestamp("2024-05-04 13:00"))
    told = seen(viewpoint=("left", "left"), timestamp=moments, location_id=("A", "A"))
    assert told.beside == ["both show the left side", "taken 3 days apart", "both at A"]
    told = seen(viewpoint=("left", "right"), timestamp=moments[::-1], location_id=("A", "B"))
    assert told.speaks_against == ["one shows the left side, the other the right side"]
    assert told.beside == ["taken 3 days apart", "at A and at B"]
    told = seen(viewpoint=("left", None), timestamp=(pd.NaT, moments[0]), location_id=(None, "A"))
    assert told.beside == ["the side of one is not known"]


def test_of_many_matches_the_surest_are_drawn() -> None:
    n = MOST_DRAWN + 30
    one = stored(*((k % 100, k % 50) for k in range(n)))
    sure = np.linspace(0.1, 1, n, dtype=np.float32)
    every = Matches(np.stack([np.arange(n)] * 2, axis=1).astype(np.int32), sure)
    told = pair_evidence(every, (one, one), None, {}, {}, ({}, {}))
    assert told.more == 30
    assert told.confidence.tolist() == sure[::-1][:MOST_DRAWN].tolist()
    assert np.array_equal(told.points[:, :2], told.points[:, 2:])
