"""What is said at the end of a command that wrote pages with pictures."""

import time

import pandas as pd

from jobs.common.console import print_result, say
from reid.book import PicturesWritten

REASONS = 3  # on the screen


def say_written(
    what: str, written: PicturesWritten, frame: pd.DataFrame, started: float, *, more: int = 0
) -> None:
    """Which pictures could not be read, what was written, and the page to open.

    Args:
        what: the command, and what it shows.
        written: what came out.
        frame: columns annotation_id and image_path.
        started: of the command, by `time.perf_counter`.
        more: pictures that could not be read, beside those that the pages tried.
    """
    lost = frame[frame["annotation_id"].isin(list(written.lost)[:REASONS])]
    for one, path in zip(lost["annotation_id"], lost["image_path"], strict=True):
        say(f"no picture of {path}: {written.lost[one]}")
    if len(written.lost) > REASONS:
        say(f"and of {len(written.lost) - REASONS:,} more")
    say(
        f"{what}; pictures: {written.made:,} written, {written.there:,} there already, "
        f"{len(written.lost) + more:,} not readable ({time.perf_counter() - started:.1f} s)"
    )
    print_result(written.index)
