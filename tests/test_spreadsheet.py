import csv
import io
from importlib import resources

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid import spreadsheet
from reid.spreadsheet import (
    encode,
    guard,
    guard_note,
    guard_table,
    unguard,
    unguard_column,
    write_rows,
    write_text_table,
)

TEXT = st.text(alphabet=st.sampled_from("'=+-@\t\r\n,\"ab é"), max_size=6)


@given(TEXT)
def test_nothing_is_lost(text: str) -> None:
    assert unguard(guard(text)) == text
    assert not guard(text).startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


@pytest.mark.parametrize("text", ["", "Luna", "O'Hara", "'Luna'", "a=b", "x-1"])
def test_other_texts_stay(text: str) -> None:
    assert guard(text) == unguard(text) == text


@given(st.lists(st.tuples(TEXT, st.one_of(st.none(), TEXT), st.integers(-9, 9)), max_size=5))
def test_a_csv_is_read_back(rows: list[tuple[str, str | None, int]]) -> None:
    text, guarded = write_rows(("a", "b", "n"), rows)
    found = list(csv.reader(io.StringIO(text, newline="")))[1:]
    assert [[unguard(cell) for cell in row[:2]] for row in found] == [
        [a, b or ""] for a, b, _ in rows
    ]
    assert [row[2] for row in found] == [str(n) for _, _, n in rows], "numbers are numbers"
    table = pa.table({"a": pa.array([a for a, _, _ in rows], pa.string()), "b": pa.array([b for _, b, _ in rows], pa.string())})  # fmt: skip
    by_table, count = guard_table(table)
    assert count == guarded
    back = unguard_column(by_table["a"].combine_chunks())
    assert back.to_pylist() == table["a"].to_pylist()
    assert by_table["a"].to_pylist() == [guard(a) for a, _, _ in rows]
    assert by_table["b"].to_pylist() == [None if b is None else guard(b) for _, b, _ in rows]
    raw, none = write_rows(("a", "b", "n"), rows, raw=True)
    assert none == 0
    assert [row[0] for row in csv.reader(io.StringIO(raw, newline=""))][1:] == [
        a for a, _, _ in rows
    ]


@given(st.lists(st.tuples(TEXT, st.one_of(st.none(), TEXT)), max_size=9), st.booleans())
def test_a_table_of_texts_is_written_as_its_rows_are(
    rows: list[tuple[str, str | None]], raw: bool
) -> None:
    columns = [pa.array([row[k] for row in rows], pa.string()) for k in (0, 1)]
    table = pa.table(columns, names=["a", 'b,"'])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spreadsheet, "LINES_AT_ONCE", 2)
        assert write_text_table(table, raw=raw) == write_rows(table.column_names, rows, raw=raw)


def test_the_note_says_how_to_have_them_raw() -> None:
    assert guard_note(0, "--raw") == ""
    assert guard_note(1, "--raw").startswith("1 cell begins like")
    assert guard_note(1200, "--raw").startswith("1,200 cells begin like")


def test_the_page_of_pairs_guards_by_the_same_rule() -> None:
    script = (resources.files("reid") / "templates" / "review.js").read_text("utf-8")
    assert f"/^{spreadsheet._FORMULA.pattern}/.test(text)" in script


def test_a_column_of_nulls_alone_is_empty_cells() -> None:
    table = pa.table({"image": ["one.jpg"], "nearest": pa.nulls(1)})
    assert write_text_table(table) == ("image,nearest\none.jpg,\n", 0)


def test_excel_gets_its_mark_and_others_none() -> None:
    assert encode("é\n", excel=True) == b"\xef\xbb\xbf\xc3\xa9\n"
    assert encode("é\n", excel=False) == b"\xc3\xa9\n"
