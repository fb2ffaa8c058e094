"""Dates as cameras, spreadsheets and databases write them. An order is proved, never guessed.

`timestamp` is the camera's wall clock and is never shifted; where a text says how far that clock is
from UTC, the minutes stand beside it. `11/04/2021` is read only where the column proves its order
(some part is over 12) or the user names it.
"""

import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid.errors import InputError
from reid.sources.words import empty_cells

Order = Literal["dmy", "mdy", "ymd"]
ORDERS: tuple[Order, ...] = ("dmy", "mdy", "ymd")
FIRST_YEAR = 1990  # before the first digital camera that anybody left in a forest
# Clocks start here when a battery was changed and nobody set them.
RESET_DAYS = (np.datetime64("2000-01-01"), np.datetime64("1970-01-01"))

_CLOCK = (
    r"(?:[T ,_-]+(?P<hour>\d{1,2})[:.h](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r"(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?)?"
)
_ZONE = r"\s*(?P<zone>Z|z|UTC|GMT|(?:UTC|GMT)?[+-]\d{1,2}(?::?\d{2})?)?"
_YEAR_FIRST = (
    rf"^(?P<year>\d{{4}})[-:/.](?P<month>\d{{1,2}})[-:/.](?P<day>\d{{1,2}}){_CLOCK}{_ZONE}$"
)
_RUN_TOGETHER = (
    r"^(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})"
    rf"(?:[T _-]?(?P<hour>\d{{2}})(?P<minute>\d{{2}})(?P<second>\d{{2}})?)?{_ZONE}$"
)
_YEAR_LAST = (
    rf"^(?P<one>\d{{1,2}})[/.\-](?P<two>\d{{1,2}})[/.\-](?P<three>\d{{4}}|\d{{2}}){_CLOCK}{_ZONE}$"
)
_NAMED = (
    r"^(?:[A-Za-z]{2,9},?\s+)?(?P<day>\d{1,2})[ \-/.]+(?P<name>[A-Za-z]{3,9})\.?[ \-/.,]+(?P<year>\d{4})"
    rf"{_CLOCK}{_ZONE}$"
)
_NAME_FIRST = (
    r"^(?:[A-Za-z]{2,9},?\s+)?(?P<name>[A-Za-z]{3,9})\.?[ \-](?P<day>\d{1,2}),?[ \-](?P<year>\d{4})"
    rf"{_CLOCK}{_ZONE}$"
)
_SECONDS = r"^\d{9,10}(?:\.0*)?$"
_TIME_ALONE = r"^\d{1,2}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?:\s*[AaPp]\.?[Mm]\.?)?$"
_NEVER_SET = r"^(?:0{4}[-:/.]0{1,2}[-:/.]0{1,2}.*|:+[ :]*)$"
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@dataclass(frozen=True)
class Times:
    """A column of dates, read.

    Attributes:
        timestamp: (n,) timestamp[us], the camera's wall clock; null where empty or not understood.
        offset: (n,) int16 minutes of that clock from UTC, null where the text does not say.
        order: how day, month and year stand where the year is last; None: nowhere.
        lost: reason → rows and an example, of cells that say something and are left empty.
        seconds: rows that count seconds since 1970, which are read as UTC.
    """

    timestamp: pa.Array
    offset: pa.Array
    order: Order | None = None
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)
    seconds: int = 0


def read_dates(
    column: pa.Array,
    *,
    order: Order | None = None,
    what: str = "timestamp",
    today: date | None = None,
) -> Times:
    """Read a column of texts.

    Args:
        column: (n,) strings as in the file.
        order: of dates such as 11/04/2021; None: the column must prove it.
        what: names the column in errors.
        today: a date after tomorrow is no date; default: this machine's.

    Raises:
        InputError: the column has dates such as 11/04/2021, and neither it nor `order` says which
            part is the day.
    """
    n = len(column)
    text = pc.replace_substring_regex(
        pc.utf8_trim_whitespace(column), pattern=r"^'+|(?:\[[A-Za-z_/+-]+\])$", replacement=""
    )
    waiting = np.asarray(pc.invert(empty_cells(text)).to_numpy(zero_copy_only=False), dtype=bool)
    moments = np.full(n, "NaT", "datetime64[us]")
    offsets = np.full(n, np.iinfo(np.int16).min, np.int16)
    lost: dict[str, tuple[int, str]] = {}

    def take(pattern: str) -> tuple[np.ndarray, dict[str, pa.Array]]:
        """Rows, of those that wait, that have this form; and its parts."""
        rows = np.flatnonzero(waiting)
        if not len(rows):
            return rows, {}
        here = text if len(rows) == n else text.take(pa.array(rows))
        found = pc.extract_regex(here, pattern=pattern)
        hit = np.asarray(found.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
        if not hit.any():
            return rows[:0], {}
        parts = found if hit.all() else found.filter(pa.array(hit))
        waiting[rows[hit]] = False
        fields = [parts.type.field(i).name for i in range(parts.type.num_fields)]
        return rows[hit], dict(zip(fields, parts.flatten(), strict=True))

    def leave(rows: np.ndarray, reason: str) -> None:
        if len(rows):
            before, example = lost.get(reason, (0, text[int(rows[0])].as_py()))
            lost[reason] = (before + len(rows), example)

    def put(rows: np.ndarray, parts: dict[str, pa.Array], days: np.ndarray) -> None:
        moments[rows] = days.astype("datetime64[us]") + _clock(parts, len(rows))
        if "zone" in parts:
            offsets[rows] = _zone(parts["zone"])
        leave(rows[np.isnat(moments[rows])], "not a date of the calendar")

    rows, _ = take(_NEVER_SET)
    leave(rows, "the camera's clock was not set")
    for pattern in (_YEAR_FIRST, _RUN_TOGETHER):
        rows, parts = take(pattern)
        if len(rows):
            put(rows, parts, _days(*(_number(parts[name]) for name in ("year", "month", "day"))))
    rows, parts = take(_YEAR_LAST)
    found: Order | None = None
    if len(rows):
        found = order or _proved_order(parts, text, rows, what)
        put(rows, parts, _ordered(parts, found))
        found = None if np.isnat(moments[rows]).all() else found
    for pattern in (_NAMED, _NAME_FIRST):
        rows, parts = take(pattern)
        if len(rows):
            month = _month_numbers(parts["name"])
            put(rows, parts, _days(_number(parts["year"]), month, _number(parts["day"])))
    rows, _ = take(_TIME_ALONE)
    leave(rows, "a time without a date")
    seconds, _ = take(_SECONDS)
    if len(seconds):
        values = pc.cast(text.take(pa.array(seconds)), pa.float64()).to_numpy().astype(np.int64)
        moments[seconds] = values.astype("datetime64[s]")
        offsets[seconds] = 0
    leave(np.flatnonzero(waiting), "not understood")
    return _plausible(moments, offsets, text, found, lost, len(seconds), today)


def read_moments(column: pa.Array, *, today: date | None = None) -> Times:
    """Dates of a typed column (Arrow timestamps, with or without a zone, and dates)."""
    kind = column.type
    lost: dict[str, tuple[int, str]] = {}
    offsets = np.full(len(column), np.iinfo(np.int16).min, np.int16)
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        utc = column.cast(pa.timestamp("us", kind.tz), safe=False)
        local = pc.local_timestamp(utc)
        gap = pc.subtract(local.cast(pa.int64()), utc.cast(pa.int64()))
        known = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
        minutes = pc.fill_null(gap, 0).to_numpy() // 60_000_000
        offsets[known] = minutes[known].astype(np.int16)
        column = local
    moments = column.cast(pa.timestamp("us"), safe=False).to_numpy(zero_copy_only=False)
    text = column.cast(pa.string())
    return _plausible(moments.astype("datetime64[us]").copy(), offsets, text, None, lost, 0, today)


def read_offsets(column: pa.Array) -> pa.Array:
    """Minutes from UTC, int16: from whole numbers, or from texts such as `+02:00` and `Z`."""
    text = pc.utf8_trim_whitespace(column)
    zones = pc.match_substring_regex(text, pattern=rf"^{_ZONE}$".replace("?P<zone>", "?:"))
    zones = pc.and_(zones, pc.match_substring_regex(text, pattern="[:+Zz]|UTC|GMT"))
    numbers = pc.match_substring_regex(text, pattern=r"^[+-]?\d{1,3}(?:\.0*)?$")
    out = np.full(len(column), np.iinfo(np.int16).min, np.int16)
    named = np.asarray(pc.fill_null(zones, False).to_numpy(zero_copy_only=False), dtype=bool)
    whole = np.asarray(pc.fill_null(numbers, False).to_numpy(zero_copy_only=False), dtype=bool)
    whole &= ~named
    out[named] = _zone(text.filter(pa.array(named)))
    out[whole] = pc.cast(text.filter(pa.array(whole)), pa.float64()).to_numpy().astype(np.int16)
    return _with_nulls(out)


def _plausible(
    moments: np.ndarray,
    offsets: np.ndarray,
    text: pa.Array,
    order: Order | None,
    lost: dict[str, tuple[int, str]],
    seconds: int,
    today: date | None,
) -> Times:
    """Without the years that no camera trap has seen."""
    end = np.datetime64((today or date.today()) + timedelta(days=2))
    days = moments.astype("datetime64[D]")
    reset = np.isin(days, RESET_DAYS)
    early = (days < np.datetime64(f"{FIRST_YEAR}-01-01")) & ~reset
    for wrong, reason in (
        (reset, "the camera's clock was not set"),
        (early, f"before {FIRST_YEAR}"),
        (days >= end, "after tomorrow"),
    ):
        rows = np.flatnonzero(wrong)
        if len(rows):
            before, example = lost.get(reason, (0, text[int(rows[0])].as_py()))
            lost[reason] = (before + len(rows), example)
        moments[rows] = np.datetime64("NaT")
    offsets[np.isnat(moments)] = np.iinfo(np.int16).min
    timestamp = pa.array(moments, pa.timestamp("us"), from_pandas=True)
    return Times(timestamp, _with_nulls(offsets), order, lost, seconds)


def _with_nulls(offsets: np.ndarray) -> pa.Array:
    return pa.array(offsets, pa.int16(), mask=offsets == np.iinfo(np.int16).min)


def _number(part: pa.Array, default: int = 0) -> np.ndarray:
    """(n,) int64; an empty part is `default`."""
    filled = pc.if_else(pc.equal(part, ""), str(default), part)
    numbers: np.ndarray = pc.cast(filled, pa.int64()).to_numpy(zero_copy_only=False)
    return numbers


def _days(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> np.ndarray:
    """(n,) datetime64[D]; NaT for the 31st of February and such."""
    good = (year > 0) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    months = (np.where(good, year, 1970) - 1970) * 12 + np.where(good, month, 1) - 1
    first = months.astype("datetime64[M]")
    days = first.astype("datetime64[D]") + (np.where(good, day, 1) - 1)
    good &= days.astype("datetime64[M]") == first
    return np.where(good, days, np.datetime64("NaT"))


def _clock(parts: dict[str, pa.Array], n: int) -> np.ndarray:
    """(n,) timedelta64[us] since midnight; NaT where there is no such time."""
    if "hour" not in parts:
        return np.zeros(n, "timedelta64[us]")
    hour, minute = _number(parts["hour"]), _number(parts["minute"])
    second = _number(parts["second"])
    good = (hour < 24) & (minute < 60) & (second < 60)
    if "half" in parts and pc.any(pc.not_equal(parts["half"], "")).as_py():
        half = pc.utf8_lower(parts["half"]).to_numpy(zero_copy_only=False)
        halved = half != ""
        good &= ~halved | ((hour >= 1) & (hour <= 12))
        hour = np.where(halved, hour % 12 + 12 * (half == "p"), hour)
    micros = np.zeros(n, np.int64)
    if "part" in parts and pc.any(pc.not_equal(parts["part"], "")).as_py():
        padded = pc.utf8_slice_codeunits(pc.utf8_rpad(parts["part"], 6, "0"), 0, 6)
        micros = _number(padded)
    total = ((hour * 60 + minute) * 60 + second) * 1_000_000 + micros
    clock: np.ndarray = np.where(good, total, 0).astype("timedelta64[us]")
    clock[~good] = np.timedelta64("NaT")
    return clock


def _zone(zone: pa.Array) -> np.ndarray:
    """(n,) int16 minutes, the least int16 where there is none. A column has few zones."""
    unique = pc.unique(zone)
    values = np.asarray([_minutes(text) for text in unique.to_pylist()], np.int16)
    found: np.ndarray = values[pc.index_in(zone, value_set=unique).to_numpy()]
    return found


def _minutes(text: str) -> int:
    if not text:
        return int(np.iinfo(np.int16).min)
    found = re.search(r"([+-])(\d{1,2}):?(\d{2})?$", text)
    if found is None:
        return 0  # Z, UTC, GMT
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    return -minutes if found[1] == "-" else minutes


def _month_numbers(names: pa.Array) -> np.ndarray:
    """(n,) 1 … 12; 0 for a name that is no month."""
    unique = pc.unique(names)
    values = [
        _MONTHS.index(name[:3].lower()) + 1 if name[:3].lower() in _MONTHS else 0
        for name in unique.to_pylist()
    ]
    found: np.ndarray = np.asarray(values)[pc.index_in(names, value_set=unique).to_numpy()]
    return found


def _full_year(year: np.ndarray, short: np.ndarray) -> np.ndarray:
    """Two digits are of this century up to next year, of the last one above."""
    this_year = date.today().year % 100
    return np.where(short, year + np.where(year > this_year + 1, 1900, 2000), year)


def _ordered(parts: dict[str, pa.Array], order: Order) -> np.ndarray:
    one, two, three = (_number(parts[name]) for name in ("one", "two", "three"))
    short = np.asarray(pc.equal(pc.utf8_length(parts["three"]), 2).to_numpy(zero_copy_only=False))
    if order == "ymd":  # a year of four digits is last, whatever is said of the others
        days = _days(_full_year(one, np.ones_like(short)), two, three)
        return np.where(short, days, np.datetime64("NaT"))
    year = _full_year(three, short)
    return _days(year, two, one) if order == "dmy" else _days(year, one, two)


def _proved_order(parts: dict[str, pa.Array], text: pa.Array, rows: np.ndarray, what: str) -> Order:
    """The order in which every one of these dates is one, if there is one such order.

    Raises:
        InputError: there is none, or more than one.
    """
    possible = {order: ~np.isnat(_ordered(parts, order)) for order in ORDERS}
    fits = [order for order in ORDERS if possible[order].all()]
    if len(fits) == 1:
        return fits[0]

    def shown(at: int) -> str:
        return repr(text[int(rows[at])].as_py())

    if fits:
        names = " or ".join(fits)
        raise InputError(
            f"{what}: {len(rows):,} dates such as {shown(0)} may be {names} (d day, m month, y year), and "
            f"none of them proves which; say it: --date-order {'|'.join(fits)}"
        )
    # Dates that no order can read are no proof of disorder.
    some = [order for order in ORDERS if possible[order].any()]
    if not some:
        return "dmy"  # all of them are left empty, and said
    usable = np.any([possible[order] for order in ORDERS], axis=0)
    fits = [order for order in ORDERS if possible[order][usable].all()]
    if len(fits) == 1:
        return fits[0]
    if fits:
        at = int(np.flatnonzero(usable)[0])
        raise InputError(
            f"{what}: dates such as {shown(at)} may be {' or '.join(fits)}, and none of them proves "
            f"which; say it: --date-order {'|'.join(fits)}"
        )
    only = {order: np.flatnonzero(possible[order] & ~_others(possible, order)) for order in some}
    examples = " and ".join(
        f"{shown(int(at[0]))} ({order})" for order, at in only.items() if len(at)
    )
    raise InputError(
        f"{what}: the dates of this column are written in several orders: {examples or shown(0)}; write "
        "them in one, best as 2021-04-11 20:43, or name the one that holds with --date-order dmy|mdy, "
        "and the others are left empty"
    )


def _others(possible: dict[Order, np.ndarray], order: Order) -> np.ndarray:
    found: np.ndarray = np.any([possible[name] for name in possible if name != order], axis=0)
    return found


def date_notes(times: Times, what: str) -> list[str]:
    """What a reader of the table must know about its dates."""
    notes = []
    if times.order is not None:
        notes.append(f"{what}: dates such as 11/04/2021 are read as {times.order}")
    if times.seconds:
        notes.append(f"{what}: {times.seconds:,} counts of seconds since 1970 are read as UTC")
    known = len(times.timestamp) - times.timestamp.null_count
    with_offset = len(times.offset) - times.offset.null_count
    if 0 < with_offset < known:
        notes.append(
            f"{what}: {with_offset:,} of {known:,} times say how far they are from UTC, the others do not; "
            "clocks are kept as they are"
        )
    reasons = Counter({reason: rows for reason, (rows, _) in times.lost.items()})
    notes += [
        f"{what}: {rows:,} timestamps left empty: {reason} (for example {times.lost[reason][1]!r})"
        for reason, rows in reasons.most_common()
    ]
    return notes
