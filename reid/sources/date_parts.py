"""The parts of dates as texts have them: years, months, days, clocks and zones, a column at a time."""

import re
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

CLOCK = (
    r"(?:[T ,_-]+(?P<hour>\d{1,2})[:.h](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?)?"
)
ZONE = r"\s*(?P<zone>Z|z|UTC|GMT|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d{2})?)?"
YEAR_FIRST = rf"^(?P<year>\d{{4}})[-:/.](?P<month>\d{{1,2}})[-:/.](?P<day>\d{{1,2}}){CLOCK}{ZONE}$"
RUN_TOGETHER = (
    r"^(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"
    rf"(?:[T _-]?(?P<hour>\d{{2}})(?P<minute>\d{{2}})(?P<second>\d{{2}})?)?{ZONE}$"
)
YEAR_LAST = (
    rf"^(?P<one>\d{{1,2}})[/.\-](?P<two>\d{{1,2}})[/.\-](?P<three>\d{{4}}|\d{{2}}){CLOCK}{ZONE}$"
)
NAMED = (
    r"^(?:[A-Za-z]{2,9},?\s+)?(?P<day>\d{1,2})[ \-/.]+(?P<name>[A-Za-z]{3,9})\.?[ \-/.,]+(?P<year>\d{4})"
    rf"{CLOCK}{ZONE}$"
)
NAME_FIRST = (
    r"^(?:[A-Za-z]{2,9},?\s+)?(?P<name>[A-Za-z]{3,9})\.?[ \-](?P<day>\d{1,2}),?[ \-](?P<year>\d{4})"
    rf"{CLOCK}{ZONE}$"
)
SECONDS = r"^\d{9,10}(?:\.0*)?$"
TIME_ALONE = r"^\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s*[AaPp]\.?[Mm]\.?)?$"
NEVER_SET = r"^(?:0{4}[-:/.]0{1,2}[-:/.]0{1,2}.*|:+[ :]*)$"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")

NO_OFFSET = int(np.iinfo(np.int16).min)  # beside a clock that does not say how far it is from UTC


def plain_stamps(column: pa.Array) -> tuple[np.ndarray, np.ndarray]:
    """The dates that most programs write: `2021-04-11 20:43:09`, with `Z` or `+01:00` behind it or not.

    The separators of `2021:04:11` and of `T` are as good. A tenth of the time of a regular expression.

    Args:
        column: (n,) strings.

    Returns:
        (n,) datetime64[us], NaT for all other texts; and (n,) int16 minutes, NO_OFFSET for none.
    """
    moments = np.full(len(column), "NaT", "datetime64[us]")
    offsets = np.full(len(column), NO_OFFSET, np.int16)
    lengths = pc.fill_null(pc.binary_length(column), 0).to_numpy()
    for length in (19, 20, 25):
        rows = np.flatnonzero(lengths == length)
        if not len(rows):
            continue
        here = column if len(rows) == len(column) else column.take(pa.array(rows))
        cells = _bytes_of(here).reshape(-1, length)
        digits = cells - np.uint8(ord("0"))  # what is no digit is over 9
        good = _are(cells[:, [4, 7]], b"-:/.")
        good &= _are(cells[:, [10]], b" T") & _are(cells[:, [13, 16]], b":")
        good &= (digits[:, _DIGITS] <= 9).all(axis=1)
        year = _two(digits, 0) * 100 + _two(digits, 2)
        month, day, hour, minute, second = (_two(digits, at) for at in (5, 8, 11, 14, 17))
        good &= (hour < 24) & (minute < 60) & (second < 60)
        if length == 20:
            good &= _are(cells[:, [19]], b"Zz")
            offsets[rows] = np.where(good, 0, NO_OFFSET)
        elif length == 25:
            good &= _are(cells[:, [19]], b"+-") & _are(cells[:, [22]], b":")
            good &= (digits[:, [20, 21, 23, 24]] <= 9).all(axis=1)
            minutes = _two(digits, 20) * 60 + _two(digits, 23)
            signed = np.where(cells[:, 19] == ord("-"), -minutes, minutes)
            offsets[rows] = np.where(good, signed, NO_OFFSET)
        clock = ((hour * 60 + minute) * 60 + second).astype("timedelta64[s]")
        clock[~good] = np.timedelta64("NaT")
        moments[rows] = days_of(year, month, day).astype("datetime64[us]") + clock
    offsets[np.isnat(moments)] = NO_OFFSET
    return moments, offsets


_DIGITS = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18]


def _bytes_of(column: pa.Array) -> np.ndarray:
    """All bytes of (n,) strings without nulls, one behind the other."""
    starts = np.frombuffer(column.buffers()[1], np.int32)[column.offset :][: len(column) + 1]
    cells = np.frombuffer(column.buffers()[2], np.uint8)
    return cells[int(starts[0]) : int(starts[-1])]


def _are(cells: np.ndarray, signs: bytes) -> NDArray[np.bool_]:
    """(n,) bool: is every one of these bytes among the signs?"""
    among = np.isin(cells, np.frombuffer(signs, np.uint8))
    return np.asarray(among.all(axis=1), bool)


def _two(digits: np.ndarray, at: int) -> np.ndarray:
    """(n,) int64 of two digits."""
    number: np.ndarray = digits[:, at].astype(np.int64) * 10 + digits[:, at + 1]
    return number


def number(part: pa.Array, default: int = 0) -> np.ndarray:
    """(n,) int64; an empty part is `default`."""
    filled = pc.if_else(pc.equal(part, ""), str(default), part)
    numbers: np.ndarray = pc.cast(filled, pa.int64()).to_numpy(zero_copy_only=False)
    return numbers


def days_of(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """(n,) datetime64[D]; NaT for the 31st of February and such."""
    good = (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = (np.where(good, year, 1970) - 1970) * 12 + np.where(good, month, 1) - 1
    first = months.astype("datetime64[M]")
    days = first.astype("datetime64[D]") + (np.where(good, day, 1) - 1)
    good &= days.astype("datetime64[M]") == first
    return np.where(good, days, np.datetime64("NaT"))


def clock_of(parts: dict[str, pa.Array], n: int) -> np.ndarray:
    """(n,) timedelta64[us] since midnight; NaT where there is no such time."""
    if "hour" not in parts:
        return np.zeros(n, "timedelta64[us]")
    hour, minute = number(parts["hour"]), number(parts["minute"])
    second = number(parts["second"])
    good = (hour < 24) & (minute < 60) & (second < 60)
    if "half" in parts and pc.any(pc.not_equal(parts["half"], "")).as_py():
        half = pc.utf8_lower(parts["half"]).to_numpy(zero_copy_only=False)
        halved = half != ""
        good &= ~halved | ((hour >= 1) & (hour <= 12))
        hour = np.where(halved, hour % 12 + 12 * (half == "p"), hour)
    micros = np.zeros(n, np.int64)
    if "part" in parts and pc.any(pc.not_equal(parts["part"], "")).as_py():
        padded = pc.utf8_slice_codeunits(pc.utf8_rpad(parts["part"], 6, "0"), 0, 6)
        micros = number(padded)
    total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros
    clock: np.ndarray = np.where(good, total, 0).astype("timedelta64[us]")
    clock[~good] = np.timedelta64("NaT")
    return clock


def zone_of(zone: pa.Array) -> np.ndarray:
    """(n,) int16 minutes, the least int16 where there is none. A column has few zones."""
    unique = pc.unique(zone)
    values = np.asarray([_minutes(text) for text in unique.to_pylist()], np.int16)
    found: np.ndarray = values[pc.index_in(zone, value_set=unique).to_numpy()]
    return found


def _minutes(text: str) -> int:
    if not text:
        return NO_OFFSET
    found = re.search(r"([+-])(\d{1,2}):?(\d{2})?$", text)
    if found is None:
        return 0  # Z, UTC, GMT
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    return -minutes if found[1] == "-" else minutes


def month_numbers(names: pa.Array) -> np.ndarray:
    """(n,) 1 … 12; 0 for a name that is no month."""
    unique = pc.unique(names)
    values = [
        _MONTHS.index(name[:3].lower()) + 1 if name[:3].lower() in _MONTHS else 0
        for name in unique.to_pylist()
    ]
    found: np.ndarray = np.asarray(values)[pc.index_in(names, value_set=unique).to_numpy()]
    return found


def full_year(year: np.ndarray, short: np.ndarray) -> np.ndarray:
    """Two digits are of this century up to next year, of the last one above."""
    this_year = date.today().year % 100
    return np.where(short, year + np.where(year > this_year + 1, 1900, 2000), year)
