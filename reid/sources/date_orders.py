"""Dates such as 11/04/2021: which part is the day is proved by their column, never guessed."""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid.errors import InputError
from reid.sources.date_parts import days_of, full_year, number

Order = Literal["dmy", "mdy", "ymd"]
ORDERS: tuple[Order, ...] = ("dmy", "mdy", "ymd")


def ordered(parts: dict[str, pa.Array], order: Order) -> np.ndarray:
    """(n,) datetime64[D] of dates whose parts stand in this order; NaT where that is no date."""
    one, two, three = (number(parts[name]) for name in ("one", "two", "three"))
    short = np.asarray(pc.equal(pc.utf8_length(parts["three"]), 2).to_numpy(zero_copy_only=False))
    if order == "ymd":  # a year of four digits is last, whatever is said of the others
        days = days_of(full_year(one, np.ones_like(short)), two, three)
        return np.where(short, days, np.datetime64("NaT"))
    year = full_year(three, short)
    return days_of(year, two, one) if order == "dmy" else days_of(year, one, two)


def proved_order(parts: dict[str, pa.Array], text: pa.Array, rows: np.ndarray, what: str) -> Order:
    """The order in which every one of these dates is one, if there is one such order.

    Raises:
        InputError: there is none, or more than one.
    """
    possible = {order: ~np.isnat(ordered(parts, order)) for order in ORDERS}
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
