"""Dates as cameras, spreadsheets and databases write them. An order is proved, never guessed.

`timestamp` is the camera's wall clock and is never shifted; where a text says how far that clock is
from UTC, the minutes stand beside it. `11/04/2021` is read only where the column proves its order
(some part is over 12) or the user names it.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid.sources import date_parts
from reid.sources.date_orders import Order, ordered, proved_order
from reid.sources.date_parts import NO_OFFSET, clock_of, days_of, number, zone_of
from reid.sources.words import empty_cells

FIRST_YEAR = 1990  # before the first digital camera that anybody left in a forest
# Clocks start here when a battery was changed and nobody set them.
RESET_DAYS = (np.datetime64("2000-01-01"), np.datetime64("1970-01-01"))
_NEVER_SET = "the camera's clock was not set"


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

    timestamp: pa.Array = field(default_factory=lambda: pa.nulls(0, pa.timestamp("us")))
    offset: pa.Array = field(default_factory=lambda: pa.nulls(0, pa.int16()))
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
    moments, offsets = date_parts.plain_stamps(column)
    odd = np.flatnonzero(np.isnat(moments))
    if not len(odd):
        return _plausible(moments, offsets, column, Times(), today)
    rest = column if len(odd) == len(column) else column.take(pa.array(odd))
    moments[odd], offsets[odd], reported = _read_odd(rest, order, what)
    return _plausible(moments, offsets, column, reported, today)


@dataclass
class _Texts:
    """Texts of which each is taken once, by the first pattern that it has the form of."""

    text: pa.Array
    rows: np.ndarray
    moments: np.ndarray
    offsets: np.ndarray
    lost: dict[str, tuple[int, str]] = field(default_factory=dict)

    def take(self, pattern: str) -> tuple[np.ndarray, dict[str, pa.Array]]:
        """Rows, of those that wait, that have this form; and its parts."""
        if not len(self.rows):
            return self.rows, {}
        every = len(self.rows) == len(self.text)
        here = self.text if every else self.text.take(pa.array(self.rows))
        found = pc.extract_regex(here, pattern=pattern)
        hit = np.asarray(found.is_valid().to_numpy(zero_copy_only=False), dtype=bool)
        taken, self.rows = self.rows[hit], self.rows[~hit]
        if not len(taken):
            return taken, {}
        parts = found if hit.all() else found.filter(pa.array(hit))
        fields = [parts.type.field(i).name for i in range(parts.type.num_fields)]
        return taken, dict(zip(fields, parts.flatten(), strict=True))

    def put(self, rows: np.ndarray, parts: dict[str, pa.Array], days: np.ndarray) -> None:
        """Days, with the clock and the zone of the parts."""
        self.moments[rows] = days.astype("datetime64[us]") + clock_of(parts, len(rows))
        self.offsets[rows] = zone_of(parts["zone"])
        self.leave(rows[np.isnat(self.moments[rows])], "not a date of the calendar")

    def leave(self, rows: np.ndarray, reason: str) -> None:
        """Rows that say something and are left empty."""
        _count(self.lost, reason, self.text, rows)


def _read_odd(
    column: pa.Array, order: Order | None, what: str
) -> tuple[np.ndarray, np.ndarray, "Times"]:
    """Moments and offsets of texts in any notation, and what is to be said of them."""
    text = pc.replace_substring_regex(
        pc.utf8_trim_whitespace(column), pattern=r"^'+|(?:\[[A-Za-z_/+-]+\])$", replacement=""
    )
    said = np.asarray(pc.invert(empty_cells(text)).to_numpy(zero_copy_only=False), dtype=bool)
    waiting = _Texts(
        text,
        np.flatnonzero(said),
        np.full(len(text), "NaT", "datetime64[us]"),
        np.full(len(text), NO_OFFSET, np.int16),
    )
    moments = waiting.moments
    rows, _ = waiting.take(date_parts.NEVER_SET)
    waiting.leave(rows, _NEVER_SET)
    for pattern in (date_parts.YEAR_FIRST, date_parts.RUN_TOGETHER):
        rows, parts = waiting.take(pattern)
        if len(rows):
            days = days_of(*(number(parts[name]) for name in ("year", "month", "day")))
            waiting.put(rows, parts, days)
    rows, parts = waiting.take(date_parts.YEAR_LAST)
    found: Order | None = None
    if len(rows):
        found = order or proved_order(parts, text, rows, what)
        waiting.put(rows, parts, ordered(parts, found))
        found = None if np.isnat(moments[rows]).all() else found
    for pattern in (date_parts.NAMED, date_parts.NAME_FIRST):
        rows, parts = waiting.take(pattern)
        if len(rows):
            month = date_parts.month_numbers(parts["name"])
            waiting.put(rows, parts, days_of(number(parts["year"]), month, number(parts["day"])))
    rows, _ = waiting.take(date_parts.TIME_ALONE)
    waiting.leave(rows, "a time without a date")
    seconds, _ = waiting.take(date_parts.SECONDS)
    if len(seconds):
        values = pc.cast(text.take(pa.array(seconds)), pa.float64()).to_numpy().astype(np.int64)
        moments[seconds] = values.astype("datetime64[s]")
        waiting.offsets[seconds] = 0
    waiting.leave(waiting.rows, "not understood")
    reported = Times(order=found, lost=waiting.lost, seconds=len(seconds))
    return moments, waiting.offsets, reported


def read_moments(column: pa.Array, *, today: date | None = None) -> Times:
    """Dates of a typed column (Arrow timestamps, with or without a zone, and dates)."""
    kind = column.type
    offsets = np.full(len(column), NO_OFFSET, np.int16)
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
    return _plausible(moments.astype("datetime64[us]").copy(), offsets, text, Times(), today)


def read_offsets(column: pa.Array) -> pa.Array:
    """Minutes from UTC, int16: from whole numbers, or from texts such as `+02:00` and `Z`."""
    text = pc.utf8_trim_whitespace(column)
    zones = pc.match_substring_regex(
        text, pattern=rf"^{date_parts.ZONE}$".replace("?P<zone>", "?:")
    )
    zones = pc.and_(zones, pc.match_substring_regex(text, pattern="[:+Zz]|UTC|GMT"))
    numbers = pc.match_substring_regex(text, pattern=r"^[+-]?\d{1,3}(?:\.0*)?$")
    out = np.full(len(column), NO_OFFSET, np.int16)
    named = np.asarray(pc.fill_null(zones, False).to_numpy(zero_copy_only=False), dtype=bool)
    whole = np.asarray(pc.fill_null(numbers, False).to_numpy(zero_copy_only=False), dtype=bool)
    whole &= ~named
    out[named] = zone_of(text.filter(pa.array(named)))
    out[whole] = pc.cast(text.filter(pa.array(whole)), pa.float64()).to_numpy().astype(np.int16)
    return _with_nulls(out)


def _plausible(
    moments: np.ndarray,
    offsets: np.ndarray,
    text: pa.Array,
    reported: Times,
    today: date | None,
) -> Times:
    """Without the years that no camera trap has seen."""
    end = np.datetime64((today or date.today()) + timedelta(days=2))
    days = moments.astype("datetime64[D]")
    reset = np.isin(days, RESET_DAYS)
    early = (days < np.datetime64(f"{FIRST_YEAR}-01-01")) & ~reset
    lost = dict(reported.lost)
    for wrong, reason in (
        (reset, _NEVER_SET),
        (early, f"before {FIRST_YEAR}"),
        (days >= end, "after tomorrow"),
    ):
        rows = np.flatnonzero(wrong)
        _count(lost, reason, text, rows)
        moments[rows] = np.datetime64("NaT")
    offsets[np.isnat(moments)] = NO_OFFSET
    timestamp = pa.array(moments, pa.timestamp("us"), from_pandas=True)
    return Times(timestamp, _with_nulls(offsets), reported.order, lost, reported.seconds)


def _count(lost: dict[str, tuple[int, str]], reason: str, text: pa.Array, rows: np.ndarray) -> None:
    """Count rows that say something and are left empty; the first is the example."""
    if len(rows):
        before, example = lost.get(reason, (0, text[int(rows[0])].as_py()))
        lost[reason] = (before + len(rows), example)


def _with_nulls(offsets: np.ndarray) -> pa.Array:
    return pa.array(offsets, pa.int16(), mask=offsets == NO_OFFSET)


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
