from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.value_digests import differing, table_digests, value_digest, whole_digest

TABLE = pa.table(
    {
        "text": ["x", None, "yy", ""],
        "large": pa.array(["x", None, "yy", ""], pa.large_string()),
        "box": pa.array([[1, 2, 3, 4], None, [5, 6, 7, 8], None], pa.list_(pa.float32(), 4)),
        "names": pa.array([["a"], None, [], ["b", None]], pa.list_(pa.string())),
        "time": pa.array([datetime(2020, 1, 1), None, None, datetime(2021, 1, 1)]),
        "flag": [True, None, False, True],
        "number": [1.5, None, float("nan"), 0.0],
        "kind": pa.array(["a", "b", "a", None]).dictionary_encode(),
    }
)


def test_chunks_slices_and_a_file_change_nothing(tmp_path: Any) -> None:
    digests = table_digests(TABLE)
    assert set(digests) == set(TABLE.column_names)
    assert table_digests(pa.concat_tables([TABLE[:1], TABLE[1:3], TABLE[3:]])) == digests
    assert table_digests(pa.concat_tables([TABLE, TABLE])[4:]) == digests
    pq.write_table(TABLE, tmp_path / "t.parquet")
    assert table_digests(pq.read_table(tmp_path / "t.parquet")) == digests


@pytest.mark.parametrize("name", TABLE.column_names)
def test_any_other_value_shows(name: str) -> None:
    column = TABLE[name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(pa.string())
    turned = pa.chunked_array([column.combine_chunks()[::-1]])
    table = TABLE.set_column(TABLE.column_names.index(name), name, turned)
    assert differing(table_digests(TABLE), table) == [name]
    assert whole_digest(table) != whole_digest(TABLE)


@given(
    st.lists(st.one_of(st.none(), st.text()), max_size=8),
    st.lists(st.one_of(st.none(), st.text()), max_size=8),
)
def test_columns_agree_where_their_values_do(
    one: list[str | None], other: list[str | None]
) -> None:
    first, second = (pa.table({"a": pa.array(each, pa.string())}) for each in (one, other))
    assert (table_digests(first) == table_digests(second)) == (one == other)


WORDS = st.lists(st.sampled_from(["", "a", "b", "bb", "ß"]), min_size=1, max_size=8)


@given(WORDS, WORDS, st.permutations(["", "a", "b", "bb", "ß", "never"]), st.data())
def test_strings_with_a_dictionary_agree_whatever_the_dictionary(
    words: list[str], others: list[str], order: list[str], data: st.DataObject
) -> None:
    """Other orders, words that no row has, and chunks change nothing; other rows do."""
    cut = data.draw(st.integers(0, len(words)))
    plain = pa.chunked_array([words], pa.string())
    numbers = pa.array([order.index(word) for word in words], pa.int32())
    shuffled = pa.DictionaryArray.from_arrays(numbers, pa.array(order))
    halves = pa.chunked_array([shuffled[:cut], plain.chunk(0)[cut:].dictionary_encode()])
    written = table_digests(pa.table({"a": plain.dictionary_encode()}))
    assert table_digests(pa.table({"a": halves})) == written
    assert not differing(written, pa.table({"a": plain}))
    other = pa.table({"a": pa.array(others, pa.string())})
    for table in (other, pa.table({"a": other["a"].dictionary_encode()})):
        assert (differing(written, table) == []) == (others == words)
        # A file of before, whose strings are now read with a dictionary.
        assert (differing(table_digests(pa.table({"a": plain})), table) == []) == (others == words)


def test_nulls_hide_what_lies_below_them() -> None:
    hidden = pa.array([1, 2], pa.int64(), mask=__import__("numpy").array([False, True]))
    assert table_digests(pa.table({"a": hidden})) == table_digests(pa.table({"a": [1, None]}))


def test_keys_of_json_have_no_order() -> None:
    assert value_digest({"a": 1, "b": [2]}) == value_digest({"b": [2], "a": 1})
    assert value_digest({"a": 1}) != value_digest({"a": 2})
