"""Which images are one meeting with one animal, where the source does not say."""

from collections.abc import Sequence
from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

SECONDS = 60  # images of one animal at one place this near in time are one meeting


def encounter_keys(rows: pd.DataFrame, same: Sequence[str], clock: str) -> NDArray[np.object_]:
    """(n,) each row's encounter: as given, else rows that agree in `same` within a minute of each other.

    Args:
        rows: columns encounter_id, those of `same`, and `clock`.
        same: columns of the animal and the place.
        clock: the column of times; none of them NaT.
    """
    order = rows.assign(row=np.arange(len(rows))).sort_values([*same, clock], kind="stable")
    agree = np.ones(len(order), np.bool_)
    for name in same:
        agree &= (order[name] == order[name].shift()).to_numpy()
    agree &= (order[clock].diff() <= timedelta(seconds=SECONDS)).to_numpy()
    made = np.cumsum(~agree).astype(str)
    given = order["encounter_id"]
    words = np.where(given.notna(), "given " + given.astype(str), np.char.add("made ", made))
    found = np.empty(len(rows), object)
    found[order["row"].to_numpy()] = words
    return found
