"""The page of `reid population`: who was seen when, and how many there are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from reid.population import LABELS, Population
from reid.report.curves import line_chart
from reid.report.html import encoded, render
from reid.report.spans import Span, intervals, known_curve, stacked_bars


@dataclass(frozen=True, slots=True)
class PopulationPage:
    """What the page shows.

    Attributes:
        title: species, and flank.
        facts: name → value: period, occasions, individuals, …
        decided: as the catalogue decides, unsure single sightings left out.
        joined: the same with every unsure single sighting joined to its nearest; None: there are none.
        notes: sentences on what was left out and why.
        left_out: reason → images.
        joined_refused: why there is no second number, where there are unsure sightings.
    """

    title: str
    facts: Mapping[str, int | float | str]
    decided: Population
    joined: Population | None = None
    notes: Sequence[str] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    joined_refused: str = ""


def render_population(page: PopulationPage) -> bytes:
    """One HTML file that opens from disk, with no script, no other file and no network."""
    counted = page.decided.counted
    again = (counted.seen - counted.first_seen).tolist()
    bars = stacked_bars(
        counted.first_seen.tolist(), again, ("seen for the first time", "seen before"),
        label="Individuals seen on each occasion", x_label="occasion",
    )  # fmt: skip
    x, y = known_curve(counted.known.tolist())
    curve = line_chart(
        x,
        {"individuals known": y},
        label="Individuals known after each occasion",
        x_label="occasion",
    )
    spans = [
        Span(LABELS[one.name], one.abundance, one.lower, one.upper)
        for one in page.decided.estimates
    ]
    if page.joined is not None:
        spans += [
            Span(f"{LABELS[one.name]}, doubts joined", one.abundance, one.lower, one.upper, 1)
            for one in page.joined.estimates
        ]
    chart = intervals(
        spans, label="Estimates with their intervals", x_label="animals", mark=counted.individuals
    )
    text = render(
        "population.html",
        page=page,
        bars=bars,
        curve=curve,
        chart=chart,
        labels=LABELS,
    )
    return encoded(text)
