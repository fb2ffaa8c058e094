"""Bars by occasion, and numbers with their intervals, as SVG in the page itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from reid.report.curves import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, ticks

ROW = 34  # pixels of a line of intervals
WIDE = 1060  # pixels of a chart over the whole page
NAMES = 292  # of them for the names
_LABELLED_BARS = 14  # more occasions than this are not all numbered


@dataclass(frozen=True, slots=True)
class Span:
    """A number with its interval: `name` stands before it, tone k is the page's class tone-k."""

    name: str
    value: float
    lower: float
    upper: float
    tone: int = 0


def stacked_bars(
    first: Sequence[int], second: Sequence[int], names: tuple[str, str], *, label: str, x_label: str
) -> Markup:
    """Two counts on top of each other for each place 1, 2, …; the first at the bottom.

    Args:
        first, second: (n,) counts.
        names: of the two, for who points at a bar.
        label: what is drawn, for readers who cannot see it.
        x_label: under the axis.
    """
    totals = [a + b for a, b in zip(first, second, strict=True)]
    lines = [tick for tick in ticks(0, max(totals)) if tick == round(tick)]
    high = lines[-1]
    inside = WIDTH - LEFT - RIGHT
    step = inside / len(totals)
    wide = min(46.0, step * 0.72)

    def up(value: float) -> float:
        return TOP + (high - value) / high * (HEIGHT - TOP - BOTTOM)

    parts = [_opened(WIDTH, HEIGHT, label)]
    parts += [
        f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{up(tick):.1f}" y2="{up(tick):.1f}"/>'
        f'<text x="{LEFT - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:.0f}</text>'
        for tick in lines
    ]
    every = -(-len(totals) // _LABELLED_BARS)
    for place, (low, more) in enumerate(zip(first, second, strict=True)):
        x = LEFT + (place + 0.5) * step
        for name, tone, begin, count in ((names[0], 0, 0, low), (names[1], 1, low, more)):
            if count:
                parts.append(
                    f'<rect class="bar-{tone}" x="{x - wide / 2:.1f}" width="{wide:.1f}" y="{up(begin + count):.1f}" '
                    f'height="{up(begin) - up(begin + count):.1f}"><title>{place + 1}: {count} {escape(name)}</title></rect>'
                )
        if place % every == 0:
            parts.append(
                f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{place + 1}</text>'
            )
    parts.append(_under(x_label, WIDTH, HEIGHT, LEFT))
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 numbers, and names escaped above


def intervals(spans: Sequence[Span], *, label: str, x_label: str, mark: float) -> Markup:
    """Numbers with their intervals, one below the other, on one axis.

    Args:
        spans: what is drawn, at least one; ends beyond ten times the largest number are cut.
        label: what is drawn, for readers who cannot see it.
        x_label: under the axis.
        mark: an upright line, for what is certain.
    """
    most = 10 * max(span.value for span in spans)
    ends = [min(span.upper, most) for span in spans]
    lines = ticks(min(mark, *(span.lower for span in spans)), max(ends))
    low, high = max(lines[0], 0.0), lines[-1]
    height = TOP + ROW * len(spans) + BOTTOM

    def across(value: float) -> float:
        share = (min(value, high) - low) / (high - low)
        return NAMES + share * (WIDE - NAMES - RIGHT - 8)

    foot = height - BOTTOM
    parts = [_opened(WIDE, height, label)]
    parts += [
        f'<line class="grid" x1="{across(tick):.1f}" x2="{across(tick):.1f}" y1="{TOP}" y2="{foot}"/>'
        f'<text x="{across(tick):.1f}" y="{foot + 17}" text-anchor="middle">{tick:g}</text>'
        for tick in lines
        if tick >= low
    ]
    at = f"{across(mark):.1f}"
    parts.append(f'<line class="mark" x1="{at}" x2="{at}" y1="{TOP}" y2="{foot}"/>')
    for place, span in enumerate(spans):
        y = TOP + (place + 0.5) * ROW
        tone = f"tone-{span.tone}"
        sentence = f"{span.name}: {span.value:.1f}, {span.lower:.1f} to {span.upper:.1f}"
        parts.append(
            f'<text x="{NAMES - 12}" y="{y + 4:.1f}" text-anchor="end">{escape(span.name)}</text>'
            f'<line class="whisker {tone}" x1="{across(span.lower):.1f}" x2="{across(span.upper):.1f}" y1="{y}" y2="{y}">'
            f"<title>{escape(sentence)}</title></line>"
            f'<circle class="{tone} dot" cx="{across(span.value):.1f}" cy="{y}" r="5"><title>{escape(sentence)}</title></circle>'
        )
    parts.append(_under(x_label, WIDE, height, NAMES))
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 numbers, and names escaped above


def _opened(width: float, height: float, label: str) -> str:
    return f'<svg class="lines" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}">'


def _under(x_label: str, width: float, height: float, left: float) -> str:
    middle = (left + width - RIGHT) / 2
    return f'<text class="axis" x="{middle}" y="{height - 3}" text-anchor="middle">{escape(x_label)}</text>'


def known_curve(known: Sequence[int]) -> tuple[list[float], list[float | None]]:
    """A discovery curve for `line_chart`: occasions from 0, and individuals known by then."""
    return [float(one) for one in np.arange(len(known) + 1)], [0.0, *map(float, known)]
