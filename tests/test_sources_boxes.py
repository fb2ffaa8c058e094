"""Boxes: lists and columns, corners and sizes, pixels and shares."""

import numpy as np
import pyarrow as pa
import pytest

from reid.errors import InputError
from reid.sources.box_columns import Boxes, read_boxes


def boxes(*columns: list[object], **options: object) -> Boxes:
    return read_boxes([pa.array(column) for column in columns], **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "cell",
    [
        "[10.5, 20, 30, 40]",
        "10.5 20 30 40",
        "(10.5;20;30;40)",
        "[10,5; 20; 30; 40]",
        "10,5 20,0 30,0 40,0",
        "[1.05e1 20. 30. 40.]",
        "array([10.5, 20., 30., 40.])",
    ],
)
def test_texts_of_four_numbers(cell: str) -> None:
    found = boxes([cell])
    assert found.values.tolist() == [[10.5, 20, 30, 40]]
    assert not found.bad


def test_lists_and_columns() -> None:
    lists = read_boxes([pa.array([[10, 20, 30, 40], None], pa.list_(pa.int64()))])
    assert lists.values[0].tolist() == [10, 20, 30, 40]
    assert np.isnan(lists.values[1]).all()
    four = boxes(["10,5", ""], ["20", ""], ["30", ""], ["40", ""])
    assert four.values[0].tolist() == [10.5, 20, 30, 40]
    assert four.notes == ["1 rows have no box: their whole image is read"]
    corners = boxes(["10"], ["20"], ["40"], ["60"], corners=True)
    assert corners.values.tolist() == [[10, 20, 30, 40]]


@pytest.mark.parametrize(
    "cell",
    ["NA", "[]", "nan", "[nan, nan, nan, nan]", "1 2 3", "a,b,c,d", "[1, 2, 3, inf]", "1e40 2 3 4"],
)
def test_a_cell_that_is_no_box_is_a_bad_row_among_boxes(cell: str) -> None:
    found = boxes(["[1, 1, 50, 50]", cell])
    assert set(found.bad) == {1}
    assert np.isnan(found.values[1]).all()


def test_a_part_of_a_box_is_a_bad_row() -> None:
    found = boxes(["1", "1", "x"], ["2", "", "2"], ["3", "3", "3"], ["4", "4", "4"])
    assert set(found.bad) == {1, 2}
    turned = boxes(["50"], ["50"], ["10"], ["60"], corners=True)
    assert "right or bottom lies before" in turned.bad[0]


def test_shares_of_the_image_by_their_values() -> None:
    found = boxes(["[0.1, 0.2, 0.6, 0.5]", "[0, 0, 1, 1]", ""])
    assert found.relative.tolist() == [True, True, False]
    assert "2 boxes have no value over 1" in found.notes[-1]
    assert not boxes(["[1, 1, 50, 50]", "[0, 0, 0, 0]"]).relative.any()
    with pytest.raises(InputError, match=r"1 boxes look like shares.*row 2.*1 like pixels.*row 1"):
        boxes(["[1, 1, 50, 50]", "[0.1, 0.2, 0.6, 0.5]"])


def test_shares_of_the_image_by_a_column() -> None:
    unit = pa.array(["px", "relative", "acres"])
    found = boxes(["[1, 1, 50, 50]", "[0.1, 0.2, 0.6, 0.5]", "[1, 1, 2, 2]"], unit=unit)
    assert found.relative.tolist() == [False, True, False]
    assert "bbox_unit is 'acres'" in found.bad[2]
