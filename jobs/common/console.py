"""What a job tells the person, or the log, that watches it."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG_WIDTH = 110  # columns of a table where there is no terminal to ask

console = Console(stderr=True, highlight=False, soft_wrap=True)
if not console.is_terminal:
    console.width = LOG_WIDTH

SECONDS_BETWEEN_LOG_LINES = 15.0


def say(message: str) -> None:
    """One line for the person who watches; results go to stdout, this goes to stderr."""
    console.print(message, markup=False)


class Advance(Protocol):
    """Count finished items."""

    def __call__(self, items: int, note: str = "") -> None:
        """Advance by `items`; `note` is shown behind the bar."""


@contextmanager
def progress(stage: str, total: int, unit: str = "images") -> Iterator[Advance]:
    """A bar with rate and time left; in a log file a line now and then.

    Args:
        stage: what is being done.
        total: items there are.
        unit: what an item is.
    """
    started = time.perf_counter()
    if not console.is_terminal:
        done, printed = 0, started

        def log(items: int, note: str = "") -> None:
            nonlocal done, printed
            done += items
            now = time.perf_counter()
            if now - printed >= SECONDS_BETWEEN_LOG_LINES and done < total:
                printed = now
                rate = done / (now - started)
                left = (total - done) / rate if rate else float("inf")
                say(
                    f"{stage}: {done:,} of {total:,} {unit}, {rate:,.0f}/s, {left:,.0f} s left {note}".rstrip()
                )

        yield log
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " {task.fields[rate]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, transient=False) as bar:
        task = bar.add_task(stage, total=total, rate="", note="")

        def draw(items: int, note: str = "") -> None:
            bar.advance(task, items)
            rate = bar.tasks[task].completed / max(1e-9, time.perf_counter() - started)
            bar.update(task, rate=f"{rate:,.0f}/s", note=note)

        yield draw
