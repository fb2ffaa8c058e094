"""`reid book`: a page an individual, as files for a report or a park's office."""

import time

from jobs.common.console import progress
from jobs.pages.known import picture_of, read_known
from jobs.pages.written import say_written
from reid.book import animals, write_site
from reid.book.pictures import LARGE_PX, SMALL_PX
from reid.config import Images
from reid.errors import InputError


def book(
    catalogue: str | None,
    results: str | None,
    to: str,
    *,
    deployments: str | None = None,
    date_order: str | None = None,
    species: str | None = None,
    large_px: int = LARGE_PX,
    images: Images | None = None,
) -> None:
    """Write the site; what is said goes to stderr, its index to stdout.

    Raises:
        InputError: there is nothing to show.
        StorageError: storage failed.
    """
    started = time.perf_counter()
    known = read_known(catalogue, results, deployments=deployments, date_order=date_order)
    frame = known.frame
    if species is not None:
        there = sorted(frame["species"].unique())
        if species not in there:
            raise InputError(
                f"--species {species}: there is no such species; known: {', '.join(there)}"
            )
        frame = frame[frame["species"] == species].reset_index(drop=True)
    found = animals(frame, said=known.said, near=known.near, history=known.history)
    with progress("pictures", len(frame), "pictures") as advance:
        written = write_site(
            to,
            found,
            known.origin,
            picture_of(images or Images(), frame, large_px or SMALL_PX),
            dict(zip(frame["annotation_id"], frame["source_key"].fillna(""), strict=True)),
            large_px=large_px,
            advance=advance,
        )
    say_written(f"book: {len(found):,} individuals", written, frame, started)
