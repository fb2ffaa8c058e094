"""Dates: an order is proved, never guessed; clocks are never shifted."""

from datetime import date, datetime

import pyarrow as pa
import pytest

from reid.errors import InputError
from reid.sources.dates import date_notes, read_dates, read_moments, read_offsets


def wall(*texts: str | None, **options: object) -> list[datetime | None]:
    return read_dates(pa.array(texts, pa.string()), **options).timestamp.to_pylist()  # type: ignore[arg-type]


MOMENT = datetime(2021, 4, 11, 20, 43, 9)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("2021:04:11 20:43:09", None),
        ("2021-04-11T20:43:09+01:00", 60),
        ("2021-04-11T20:43:09Z", 0),
        ("2021-04-11 20:43:09", None),
        (" 2021-04-11 20:43:09 ", None),
        ("2021/04/11 20:43:09", None),
        ("2021-04-11T20:43:09-05:00", -300),
        ("2021-04-11T20:43:09+0530", 330),
        ("2021-04-11 08:43:09 PM", None),
        ("20210411204309", None),
        ("20210411_204309", None),
        ("11 Apr 2021 20:43:09", None),
        ("Sun, April 11, 2021 20:43:09", None),
    ],
)
def test_forms_that_say_one_thing(text: str, offset: int | None) -> None:
    times = read_dates(pa.array([text, None]))
    assert times.timestamp.to_pylist() == [MOMENT, None]
    assert times.offset.to_pylist() == [offset, None]
    assert times.offset.type == pa.int16()


def test_counts_of_seconds_are_utc() -> None:
    times = read_dates(pa.array(["1618166589"]))
    assert times.timestamp.to_pylist() == [datetime(2021, 4, 11, 18, 43, 9)]
    assert times.offset.to_pylist() == [0]
    assert "read as UTC" in date_notes(times, "t")[0]


def test_fractions_and_dates_without_a_time() -> None:
    assert wall("2021-04-11 20:43:09.5", "2021-04-11T20:43:09.123456789", "2021-04-11") == [
        datetime(2021, 4, 11, 20, 43, 9, 500_000),
        datetime(2021, 4, 11, 20, 43, 9, 123_456),
        datetime(2021, 4, 11),
    ]


@pytest.mark.parametrize(
    ("texts", "days"),
    [
        (["03/04/2023 10:00", "13/04/2023 10:00", "05/01/13"], [(4, 3), (4, 13), (1, 5)]),
        (["5/5/19 17:21", "5/25/19"], [(5, 5), (5, 25)]),
        (["11.04.2021 20:43", "28.04.2021"], [(4, 11), (4, 28)]),
    ],
)
def test_a_column_proves_its_order(texts: list[str], days: list[tuple[int, int]]) -> None:
    assert [(one.month, one.day) for one in wall(*texts) if one] == days


@pytest.mark.parametrize(
    "texts",
    [
        ["04/05/2021 20:43"],
        ["5/4/21 20:43", "11.04.2021 20:43"],
        ["21/04/11"],  # a year first, or last
        ["05/11/20", "06/12/21"],
    ],
)
def test_without_proof_the_user_is_asked(texts: list[str]) -> None:
    with pytest.raises(InputError, match="--date-order"):
        wall(*texts)
    read = [one for one in wall(*texts, order="dmy") if one]
    assert len(read) == len(texts)


def test_a_column_in_two_orders_is_refused_with_both() -> None:
    with pytest.raises(InputError, match=r"several orders: '13/04/2021' \(dmy\) and '04/13/2021'"):
        wall("13/04/2021", "04/13/2021")
    assert wall("13/04/2021", "04/13/2021", order="mdy") == [None, datetime(2021, 4, 13)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("22:15:03", "a time without a date"),
        ("1970-01-01 00:00:00", "was not set"),
        ("2000-01-01 00:03:11", "was not set"),
        ("0000:00:00 00:00:00", "was not set"),
        ("1980:01:01 10:00:00", "before 1990"),
        ("0001-04-11", "before 1990"),
        ("2021-06-03", "after tomorrow"),
        ("2021-02-30", "not a date of the calendar"),
        ("2021-04-11 25:00", "not a date of the calendar"),
        ("45/45/2021", "not a date of the calendar"),
        ("sometime", "not understood"),
    ],
)
def test_what_is_no_time_is_left_empty_and_said(text: str, reason: str) -> None:
    times = read_dates(pa.array([text, "2021-05-01", "NA", ""]), today=date(2021, 6, 1))
    assert times.timestamp.to_pylist() == [None, datetime(2021, 5, 1), None, None]
    (note,) = date_notes(times, "t")
    assert reason in note
    assert repr(text) in note
    assert "1 timestamps" in note


def test_offsets_beside_clocks_without_one_are_said() -> None:
    times = read_dates(pa.array(["2021-04-11T20:43:09Z", "2021-04-11 20:43:09"]))
    assert times.timestamp.to_pylist() == [MOMENT, MOMENT]
    assert "1 of 2 times say how far they are from UTC" in date_notes(times, "t")[0]


def test_typed_columns_keep_the_local_clock() -> None:
    utc = pa.array([datetime(2021, 4, 11, 18, 43, 9), None], pa.timestamp("ms", "Europe/Brussels"))
    times = read_moments(utc)
    assert times.timestamp.to_pylist() == [MOMENT, None]
    assert times.offset.to_pylist() == [120, None]
    plain = read_moments(pa.array([date(2021, 4, 11), date(1970, 1, 1)]))
    assert plain.timestamp.to_pylist() == [datetime(2021, 4, 11), None]


def test_offsets_of_their_own_column() -> None:
    found = read_offsets(pa.array(["+02:00", "60", "Z", "-90", "", None, "x", "120.0"]))
    assert found.to_pylist() == [120, 60, 0, -90, None, None, None, 120]
