"""Words that stand for nothing, and the one spelling of a label."""

import pyarrow as pa
import pytest

from reid.sources.words import (
    Words,
    clean_labels,
    drop_filler_zeros,
    is_empty,
    join_spellings,
    known_identity,
    name_key,
    whole_numbers,
)

EMPTY = [
    "", " ", "NA", "N/A", "#N/A", "n/a", "nan", "null", "none", "<NA>", "-", "--", "?", "??", "UNK", "unknown",
    "Unidentified", "#REF!", "#VALUE!", "#NAME?", "#DIV/0!", "#NUM!", "#NULL!", "#WERT!", "NaT",
    "not available", " na ", "Not  Available", "\u00a0NA", "…", "–", "#NV", "\\N", "#¿NOMBRE?",
]  # fmt: skip


@pytest.mark.parametrize("word", EMPTY)
def test_words_for_nothing(word: str) -> None:
    assert is_empty(word)
    assert known_identity(word) is None
    assert clean_labels("x", pa.array([word]), Words()).to_pylist() == [None]


@pytest.mark.parametrize(
    "name", ["Nala", "Naan", "0", "12", "N", "Un", "A-1", "#12", "none of these", "x?"]
)
def test_names(name: str) -> None:
    assert not is_empty(name)
    assert clean_labels("x", pa.array([name]), Words()).to_pylist() == [name]


def test_one_spelling() -> None:
    column = pa.array([" Luna  Bella ", "e\u0301", "a\rb\nc", "\ufeffLuna", "NA", "na", None])
    found = Words()
    cleaned = clean_labels("identity", column, found)
    assert cleaned.to_pylist() == ["Luna Bella", "é", "a b c", "Luna", None, None, None]
    assert found.empty["identity"] == {"NA": 1, "na": 1}
    assert name_key("luna ") == name_key("LUNA") == name_key("Luna")


def test_a_word_can_be_kept() -> None:
    kept = clean_labels("x", pa.array(["Nan", "NA"]), Words(), keep_words=["nan"])
    assert kept.to_pylist() == ["Nan", None]


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        (["12", "12.0", None], ["12", "12", None]),
        (["1e+05", "7"], ["100000", "7"]),
        (["007", "12.0"], ["007", "12"]),
        (["12.5", "12.0"], ["12.5", "12.0"]),
        (["12.0", "Luna"], ["12.0", "Luna"]),
    ],
)
def test_whole_numbers_are_plain_in_columns_of_whole_numbers(
    given: list[str | None], plain: list[str | None]
) -> None:
    assert whole_numbers(pa.array(given, pa.string())).to_pylist() == plain


def test_capitals_make_no_other_animal() -> None:
    column, joined = join_spellings(pa.array(["luna", "Luna", "Luna", None, "Leo"]))
    assert column.to_pylist() == ["Luna", "Luna", "Luna", None, "Leo"]
    assert joined == [["Luna", "luna"]]


@pytest.mark.parametrize(
    ("encounters", "places", "rows"),
    [
        (["0", "0", "0"], None, 3),
        (["0", "0", "0", "0", "0", "1"], None, 5),
        (["0", "0", "1", "1"], None, 0),
        (["0", "1", "2"], None, 0),
        (["0", "0", "1", "1"], ["N1", "N2", "N1", "N1"], 2),
        (["0", "0", "1", "1"], ["N1", "N1", "N1", "N1"], 0),
    ],
)
def test_zero_as_a_filler(encounters: list[str], places: list[str] | None, rows: int) -> None:
    _, dropped = drop_filler_zeros(
        pa.array(encounters), None if places is None else pa.array(places)
    )
    assert dropped == rows
