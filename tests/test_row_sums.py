"""What a table's sums are: whatever the order and the chunks, and of each value in its row."""

from datetime import datetime
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid import row_sums as sums

ROWS = pa.schema(
    [
        ("annotation_id", pa.string()),
        ("name", pa.string()),
        ("place", pa.float32()),
        ("minutes", pa.int16()),
        ("when", pa.timestamp("us")),
        ("sure", pa.bool_()),
        ("box", pa.list_(pa.float32(), 4)),
        ("others", pa.list_(pa.string())),
        ("raw", pa.large_binary()),
    ]
)
FLOATS = st.floats(width=32, allow_nan=False).map(lambda one: one + 0.0)  # no −0, which equals 0
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "name": st.text(max_size=40),
    "place": FLOATS,
    "minutes": st.integers(-700, 700),
    "when": st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)),
    "sure": st.booleans(),
    "box": st.lists(FLOATS, min_size=4, max_size=4),
    "others": st.lists(st.text(max_size=9), max_size=3),
    "raw": st.binary(max_size=20),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    ids = draw(st.lists(st.text(max_size=20), unique=True, max_size=12))
    rows = [
        {"annotation_id": one} | {name: draw(st.none() | how) for name, how in VALUES.items()}
        for one in ids
    ]
    return pa.Table.from_pylist(rows, schema=ROWS)


@given(tables(), st.data())
def test_order_chunks_and_slices_change_nothing(table: pa.Table, data: st.DataObject) -> None:
    expected = sums.row_sums(table)
    assert [*expected] == ROWS.names
    order = data.draw(st.permutations(range(len(table))))
    cut = data.draw(st.integers(0, len(table)))
    mixed = table.take(pa.array(order, pa.int64()))
    assert sums.row_sums(pa.concat_tables([mixed[cut:], mixed[:cut]])) == expected
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sums, "ROWS_AT_ONCE", 3)
        assert sums.row_sums(mixed) == expected
    assert sums.other_sums(expected, mixed.select(["box", "annotation_id"])) == []


@given(tables(), st.data())
def test_what_is_replaced_gives_the_sums_of_what_is_there_then(
    table: pa.Table, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(table)))
    old, kept = table[:cut], table[cut:]
    new = data.draw(tables())
    after = sums.sums_after(*(sums.row_sums(one) for one in (table, old, new)))
    assert after == sums.row_sums(pa.concat_tables([new, kept]))


@given(tables(), st.data())
def test_any_other_value_shows(table: pa.Table, data: st.DataObject) -> None:
    if not len(table):
        return
    name = data.draw(st.sampled_from([*VALUES]))
    row = data.draw(st.integers(0, len(table) - 1))
    values = table[name].to_pylist()
    values[row] = data.draw(st.none() | VALUES[name])
    other = table.set_column(
        ROWS.get_field_index(name), name, pa.array(values, ROWS.field(name).type)
    )
    same = other[name].to_pylist() == table[name].to_pylist()
    assert sums.other_sums(sums.row_sums(table), other) == ([] if same else [name])


def test_places_that_were_exchanged_show() -> None:
    names = pa.array(["ab", "", "a", None, "abcdefgh", "abcdefghi"])
    table = pa.table({"annotation_id": [*"uvwxyz"], "name": names})
    expected = sums.row_sums(table)
    for i, j in [(0, 1), (1, 3), (2, 3), (4, 5)]:
        order = np.arange(6)
        order[[i, j]] = j, i
        other = table.set_column(1, "name", names.take(pa.array(order)))
        assert sums.other_sums(expected, other) == ["name"]


def test_strings_with_a_dictionary_and_what_lies_below_nulls_are_as_without() -> None:
    plain = pa.array(["lion", None, "lynx", "lion"])
    hidden = pa.Array.from_buffers(
        pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([1, 7]).tobytes())]
    )
    ids = [*"abcd"]
    one, two = ({"annotation_id": ids, "a": own} for own in (plain, plain.dictionary_encode()))
    assert sums.row_sums(pa.table(one)) == sums.row_sums(pa.table(two))
    of_hidden, of_null = ({"annotation_id": ids[:2], "a": own} for own in (hidden, [1, None]))
    assert sums.row_sums(pa.table(of_hidden)) == sums.row_sums(pa.table(of_null))
