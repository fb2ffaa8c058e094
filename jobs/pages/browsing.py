"""`reid browse`: look at what was given, before anything is computed."""

import time

from jobs.common.console import progress
from jobs.common.inputs import read_sources
from jobs.pages.known import picture_of
from jobs.pages.written import say_written
from reid.book import write_browser
from reid.book.pictures import LARGE_PX, SMALL_PX
from reid.config import Config
from reid.errors import InputError


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
    say_written(f"browse: {len(rows):,} given", written, rows, started, more=len(failures))
