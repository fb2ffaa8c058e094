"""The page of a fine-tuning: is it better, how did it get there, what does it find?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd
from markupsafe import Markup

from reid.report.data import FAILURE_COLUMNS, Thumbnail
from reid.report.html import encoded, render
from reid.report.report_page import MAX_FAILURES
from reid.report.thumbnails import MIME, encode_thumbnails

PICTURE_BYTES = 8_000_000


@dataclass(frozen=True)
class FoundPicture:
    """A picture that a query found; `right` where it shows the query's individual."""

    row: int
    right: bool
    distance: float


@dataclass(frozen=True)
class Example:
    """A held-out query, and what it finds first with the start model and with the trained one."""

    row: int
    why: str
    before: Sequence[FoundPicture]
    after: Sequence[FoundPicture]


@dataclass(frozen=True)
class BeforeAfter:
    """A figure on held-out images; the ranges are shown behind the numbers."""

    name: str
    before: float
    after: float
    before_range: str = ""
    after_range: str = ""
    decides: bool = False


@dataclass(frozen=True)
class TrainingReport:
    """Everything the page shows. All text is untrusted and escaped when it is written.

    Attributes:
        title: heading of the page.
        verdict: one sentence: is the model better than its start?
        better: whether it is.
        facts: name → figure or text, for the head of the page.
        figures: on held-out images.
        charts: (heading, explanation, SVG of `line_chart`).
        runs: rows of a table over several runs (folds), each with a link to its own page.
        run_columns: their headings; the first column is the link's text, the second its target.
        examples: queries and what they find.
        captions: row → what is written under its picture.
        thumbnail: gives the picture of a row, see `ReportData`.
        notes: sentences to be read first.
        failures: FAILURE_COLUMNS.
        config_yaml, versions: as in `ReportData`.
    """

    title: str
    verdict: str
    better: bool
    facts: Mapping[str, int | float | str] = field(default_factory=dict)
    figures: Sequence[BeforeAfter] = ()
    charts: Sequence[tuple[str, str, Markup]] = ()
    runs: Sequence[Sequence[str]] = ()
    run_columns: Sequence[str] = ()
    examples: Sequence[Example] = ()
    captions: Mapping[int, str] = field(default_factory=dict)
    thumbnail: Callable[[int], Thumbnail] | None = None
    notes: Sequence[str] = ()
    failures: pd.DataFrame | None = None
    config_yaml: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)


def render_training_report(data: TrainingReport) -> bytes:
    """The page: one HTML file that opens from disk, with no script, no other file and no network."""
    rows = dict.fromkeys(
        row
        for example in data.examples
        for row in (example.row, *(f.row for f in (*example.before, *example.after)))
    )
    pictures: Mapping[int, str] = {}
    if data.thumbnail is not None:
        pictures = encode_thumbnails(data.thumbnail, list(rows), PICTURE_BYTES).base64_by_row
    failures = pd.DataFrame(columns=FAILURE_COLUMNS) if data.failures is None else data.failures
    page = render(
        "finetune.html",
        data=data,
        pictures=pictures,
        mime=MIME,
        failures=failures.head(MAX_FAILURES).to_dict("records"),
        failures_total=len(failures),
    )
    return encoded(page)
