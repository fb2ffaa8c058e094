"""What a job tells the person, or the log, that watches it.

Names of files and species come from anywhere. What is printed goes through here, where characters that
a terminal obeys become visible, and brackets in a name stay brackets.
"""

import logging
import re
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

LOG_WIDTH = 110  # columns of a table where there is no terminal to ask

# Escape sequences move the cursor, change titles and answer questions; others turn the direction of
# writing round, or break lines where none is seen. A line feed and a tab are what they say.
_OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


def printable(text: str) -> str:
    """`text` with every character that a terminal obeys written out, as `\\x1b` and `\\u202e`."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


class PlainConsole(Console):
    """Prints tables and lines of names that are not ours: nothing in them is markup or a command."""

    def __init__(self, **options: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **options)
        if not self.is_terminal:
            self.width = LOG_WIDTH

    def render_str(self, text: str, **options: Any) -> Text:
        """As a table's cell, which then has the width of what is seen."""
        return super().render_str(printable(text), **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Whatever else was put together from names."""
        for segment in super().render(renderable, options):
            if segment.control:
                yield segment
            else:
                yield Segment(printable(segment.text), segment.style)


class PlainFormatter(logging.Formatter):
    """For what libraries log of names."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, or a few."""
        return printable(super().format(record))


console = PlainConsole(stderr=True, soft_wrap=True)

SECONDS_BETWEEN_LOG_LINES = 15.0


def say(message: str) -> None:
    """One line for the person who watches; results go to stdout, this goes to stderr."""
    console.print(message)


def print_result(text: str) -> None:
    """A line of stdout. A program that reads it gets it as it is; a terminal, without commands."""
    if not sys.stdout.isatty():
        try:
            print(text)  # noqa: T201
            return
        except UnicodeEncodeError:
            pass  # a name that no encoding has
    print(printable(text))  # noqa: T201


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
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit + " {task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=console, transient=False) as bar:
        task = bar.add_task(stage, total=total, rate="", note="")

        def draw(items: int, note: str = "") -> None:
            bar.advance(task, items)
            rate = bar.tasks[task].completed / max(1e-9, time.perf_counter() - started)
            bar.update(task, rate=f"{rate:,.0f}/s", note=note)

        yield draw
