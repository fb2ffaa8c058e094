"""What an export leaves out: said, and written beside it."""

from collections.abc import Mapping

import pandas as pd

from jobs.common.console import say
from reid.exports.sheets import frame_rows, people_sheet

LEFT_OUT = "left_out.csv"


def with_left_out(files: Mapping[str, str], left: pd.DataFrame) -> dict[str, str]:
    """The files and left_out.csv; how many images each reason leaves out is said."""
    for reason, number in left["reason"].value_counts().items():
        say(f"left out: {number:,} images: {reason}")
    text = people_sheet([str(name) for name in left.columns], frame_rows(left))
    return {**files, LEFT_OUT: text}
