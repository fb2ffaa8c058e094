"""Times from file names: what is found, what is refused, and what they do to annotations."""

from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import InputError
from reid.sources import How, read_sources
from reid.sources.named_times import name_pattern, time_in

PLAIN = "%Y%m%d_%H%M%S"


@pytest.mark.parametrize(
    ("name", "time_format", "expected"),
    [
        ("IMG_20260531_140509.jpg", PLAIN, datetime(2026, 5, 31, 14, 5, 9)),
        ("cam1-2026-05-31 14h05 (3).jpg", "%Y-%m-%d %Hh%M", datetime(2026, 5, 31, 14, 5)),
        ("31.05.26_crop7.png", "%d.%m.%y", datetime(2026, 5, 31)),
        ("9920260531_140509.jpg", PLAIN, None),  # the digits before it belong to it
        ("20261331_140509_20260102_030405.jpg", PLAIN, datetime(2026, 1, 2, 3, 4, 5)),
        ("IMG_0001.jpg", PLAIN, None),
    ],
)
def test_what_a_name_tells(name: str, time_format: str, expected: datetime | None) -> None:
    assert time_in(name, name_pattern(time_format), time_format) == expected


@given(
    st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1)),
    st.text("abcXYZ_-() ", max_size=6),
    st.text("abcXYZ_-() ", max_size=6),
)
def test_a_time_is_read_as_it_was_written(moment: datetime, before: str, behind: str) -> None:
    name = f"{before}{moment.strftime(PLAIN)}{behind}.jpg"
    assert time_in(name, name_pattern(PLAIN), PLAIN) == moment.replace(microsecond=0)


@pytest.mark.parametrize(
    ("time_format", "expected"),
    [("%Y%m%d_%Q", "%Q is not known"), ("%H%M", "no year, month and day"), ("%", "% is not known")],
)
def test_formats_that_are_none(time_format: str, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        name_pattern(time_format)


def test_names_give_times_and_times_give_encounters(tmp_path: Path) -> None:
    names = ("20260531_140509.jpg", "20260531_140520.jpg", "20260531_160000.jpg", "x.jpg")
    for name in names:
        (tmp_path / "A1").mkdir(exist_ok=True)
        (tmp_path / "A1" / name).touch()
    found = read_sources([str(tmp_path)], How(time_format=PLAIN, encounter_gap_seconds=30))
    rows = found.annotations.to_pandas().set_index("image_path")
    met = rows["encounter_id"]
    assert met[f"A1/{names[0]}"] == met[f"A1/{names[1]}"] != met[f"A1/{names[2]}"]
    assert rows["timestamp"].isna().tolist() == [False, False, False, True]
    assert any("3 images have their time from the file's name" in note for note in found.notes)
    assert any("1 file names have no time" in note for note in found.notes)
    with pytest.raises(InputError, match="no file name has such a time, for example"):
        read_sources([str(tmp_path)], How(time_format="%d-%m-%Y"))
