"""`reid browse`: look at what was given, before anything is computed."""

import time

from jobs.common.console import print_result, progress, say
from jobs.common.inputs import read_sources
from jobs.pages.known import picture_of
from reid.book import write_browser
from reid.book.pictures import LARGE_PX, SMALL_PX
from reid.config import Config
from reid.errors import InputError

REASONS = 3  # on the screen; the page has all


def browse(config: Config, to: str, *, large_px: int = LARGE_PX) -> None:
    """Write the pages; what is said goes to stderr, the page to open to stdout.

    Raises:
        InputError: a source cannot be read, or holds nothing to show.
        StorageError: storage failed.
    """
    started = time.perf_counter()
    reading = read_sources(config)
    rows = reading.annotations.to_pandas()
    if not len(rows):
        raise InputError("--input: there is no picture to show")
    failures = reading.failures.select(["image_path", "error"]).to_pylist()
    with progress("pictures", len(rows), "pictures") as advance:
        written = write_browser(
            to,
            rows,
            picture_of(config.images, rows, large_px or SMALL_PX),
            described=f"Read from {', '.join(config.input)}",
            failures=[(row["image_path"], row["error"]) for row in failures],
            large_px=large_px,
            advance=advance,
        )
    for path, why in list(written.unreadable.items())[:REASONS]:
        say(f"no picture of {path}: {why}")
    if len(written.unreadable) > REASONS:
        say(f"and of {len(written.unreadable) - REASONS:,} more; the page has all of them")
    say(
        f"browse: {len(rows):,} pictures, {written.pictures:,} written, {written.there:,} there already, "
        f"{len(written.unreadable) + len(failures):,} not readable ({time.perf_counter() - started:.1f} s)"
    )
    print_result(written.index)
