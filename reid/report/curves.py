"""Line charts as SVG in the page itself: no script, and the colours of the page's theme."""

from collections.abc import Mapping, Sequence

import numpy as np
from markupsafe import Markup, escape

WIDTH, HEIGHT = 560, 240
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 12, 34
TICKS = 4
TONES = 3  # classes tone-0 … in the page's style


def line_chart(
    x: Sequence[float],
    lines: Mapping[str, Sequence[float | None]],
    *,
    label: str,
    x_label: str,
    mark: float | None = None,
) -> Markup:
    """A chart of one or a few lines over the same x.

    Args:
        x: (n,) rising.
        lines: name → (n,) values; None leaves a gap in no line: its neighbours are joined.
        label: what is drawn, for readers who cannot see it.
        x_label: under the axis.
        mark: an x to be marked by an upright line.
    """
    values = [v for line in lines.values() for v in line if v is not None and np.isfinite(v)]
    if not len(x) or not values:
        return Markup("")
    marks = ticks(min(values), max(values))
    low, high = marks[0], marks[-1]
    first, last = float(x[0]), float(x[-1])

    def across(value: float) -> float:
        share = (value - first) / (last - first) if last > first else 0.5
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def up(value: float) -> float:
        return TOP + (high - value) / (high - low) * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg class="lines" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">'
    ]
    for tick in marks:
        y = up(tick)
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:.3g}</text>'
        )
    whole = np.unique(np.linspace(first, last, 6).round().astype(int))
    parts += [
        f'<text x="{across(tick):.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{tick}</text>'
        for tick in whole
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(
        f'<text class="axis" x="{middle}" y="{HEIGHT - 3}" text-anchor="middle">{escape(x_label)}</text>'
    )
    if mark is not None:
        at = f"{across(mark):.1f}"
        parts.append(f'<line class="mark" x1="{at}" x2="{at}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for number, (name, line) in enumerate(lines.items()):
        points = [
            (across(float(a)), up(float(b)))
            for a, b in zip(x, line, strict=True)
            if b is not None and np.isfinite(b)
        ]
        tone = f"tone-{number % TONES}"
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(
            f'<polyline class="{tone}" points="{path}"><title>{escape(name)}</title></polyline>'
        )
        if len(points) <= 60:
            parts += [
                f'<circle class="{tone}" cx="{a:.1f}" cy="{b:.1f}" r="2.5"/>' for a, b in points
            ]
    return Markup("".join([*parts, "</svg>"]))  # noqa: S704 numbers, and names escaped above


def ticks(low: float, high: float) -> list[float]:
    """About TICKS round numbers from below the least value to above the largest."""
    spread = high - low or abs(high) or 1.0
    rough = max(
        spread / TICKS, np.finfo(float).tiny
    )  # the least number there is has no fourth part
    power = 10.0 ** np.floor(np.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    start, stop = np.floor(low / step), np.ceil(high / step)
    return [float(number * step) for number in np.arange(start, max(stop, start + 1) + 1)]
