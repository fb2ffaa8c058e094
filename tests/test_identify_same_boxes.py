import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reid.identify.same_boxes import overlap, pair_up, told_apart

SIDE = st.integers(0, 20).map(float)
BOX = st.tuples(SIDE, SIDE, SIDE, SIDE)


def test_overlap_by_hand() -> None:
    assert overlap((0, 0, 2, 2), (1, 0, 2, 2)) == 2 / 6
    assert overlap((0, 0, 2, 2), (2, 0, 2, 2)) == 0
    assert overlap((0, 0, 4, 4), (1, 1, 2, 2)) == 4 / 16
    assert overlap((0, 0, 0, 2), (0, 0, 0, 2)) == 0, "without an area nothing is the same"


@given(BOX, BOX)
def test_overlap_is_a_share_whoever_is_first(
    one: tuple[float, ...], other: tuple[float, ...]
) -> None:
    assert 0 <= overlap(one, other) <= 1
    assert overlap(one, other) == overlap(other, one)
    assert overlap(one, one) == (one[2] * one[3] > 0)


def test_boxes_meet_one_to_one_by_greatest_overlap() -> None:
    stored = [(0, 0, 10, 10), (3, 0, 10, 10)]
    # The first is near both; the second is nearer to the first stored one.
    found = [(1, 0, 10, 10), (0, 0, 10, 10), (50, 0, 10, 10)]
    assert [(i, j) for i, j, _ in pair_up(stored, found, 0.5)] == [(0, 1), (1, 0)]
    assert pair_up(stored, found, 1.0) == [(0, 1, 1.0)]
    assert pair_up([], found, 0.5) == pair_up(stored, [], 0.5) == []


def test_what_two_boxes_in_one_image_say() -> None:
    images = np.array([0, 0, 0, 1, 1, 2, 2, 3, -1, -1])
    left, moved, right = (0.0, 0.0, 9.0, 9.0), (1.0, 0.0, 9.0, 9.0), (20.0, 0.0, 9.0, 9.0)
    boxes = [left, moved, right, None, left, None, None, left, left, right]
    assert told_apart(images, boxes).tolist() == [0, -1, 0, -1, 1, 2, 2, 3, -1, -1]
    assert images.tolist() == [0, 0, 0, 1, 1, 2, 2, 3, -1, -1], "the argument is as it was"
