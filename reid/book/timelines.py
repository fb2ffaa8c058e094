"""Sightings by time and place, and places on a map: HTML and SVG that need no script."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from markupsafe import Markup, escape

from reid.book.animals import Animal

ROWS = 12  # places with a line of their own; the rest share one
TICKS = 6
MAP = (480, 340)
PAD = 34
EDGE = 70
STEPS = (
    timedelta(hours=1), timedelta(hours=6), timedelta(days=1), timedelta(days=2), timedelta(days=4), timedelta(days=7),
    timedelta(days=14), timedelta(days=30), timedelta(days=61), timedelta(days=122), timedelta(days=182), timedelta(days=365),
    timedelta(days=730), timedelta(days=1826), timedelta(days=3652),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mark:
    """One sighting on a timeline: how far along (percent), what it says, and the number of its sighting."""

    at: float
    says: str
    number: int
    doubt: bool


@dataclass(frozen=True, slots=True)
class Timeline:
    """Sightings by time, a line a place.

    Attributes:
        ticks: percent along, and what it is called.
        rows: place → marks.
        untimed: sightings that have no time.
    """

    ticks: Sequence[tuple[float, str]]
    rows: Mapping[str, Sequence[Mark]]
    untimed: int


def timeline(animal: Animal) -> Timeline:
    """When and where an individual was seen."""
    times = animal.times
    untimed = len(animal.sightings) - len(times)
    if not times:
        return Timeline((), {}, untimed)
    first, last = min(times), max(times)
    if first == last:
        first, last = first - timedelta(hours=12), last + timedelta(hours=12)
    span = last - first
    own = {*list(animal.places)[:ROWS]}
    rows: dict[str, list[Mark]] = {place: [] for place in own}
    rows = {place: [] for place in animal.places if place in own}
    for number, one in enumerate(animal.sightings):
        if one.taken is None:
            continue
        row = one.place if one.place in own else ("other places" if one.place else "place unknown")
        at = 100 * ((one.taken - first) / span)
        count = len(one.pictures)
        says = f"{one.taken:%Y-%m-%d %H:%M}, {one.place or 'place unknown'}, {count} picture{'s' if count > 1 else ''}"
        doubt = all(picture.doubt for picture in one.pictures)
        rows.setdefault(row, []).append(Mark(round(at, 2), says, number, doubt))
    return Timeline(_ticks(first, last), {k: v for k, v in rows.items() if v}, untimed)


def _ticks(first: datetime, last: datetime) -> list[tuple[float, str]]:
    span = last - first
    step = next((one for one in STEPS if span / one <= TICKS), STEPS[-1])
    day = datetime(first.year, first.month, first.day)
    form = (
        "%H:%M" if step < timedelta(days=1) else "%d %b" if span < timedelta(days=330) else "%b %Y"
    )
    found = []
    moment = day
    while moment <= last:
        if moment >= first:
            found.append(
                (round(100 * ((moment - first) / span), 2), moment.strftime(form).lstrip("0"))
            )
        moment += step
    return found or [(0.0, first.strftime("%Y-%m-%d"))]


def place_map(
    seen: Mapping[str, int], places: Mapping[str, tuple[float, float]], *, geographic: bool
) -> Markup:
    """Where an individual was seen, among all places; empty where none of its places is known.

    Args:
        seen: place → sightings.
        places: place → longitude and latitude, or x and y in metres.
        geographic: whether they are degrees.
    """
    if not any(place in places for place in seen):
        return Markup("")
    middle = sum(y for _, y in places.values()) / len(places)
    shrink = math.cos(math.radians(middle)) if geographic else 1.0
    points = {name: (x * shrink, y) for name, (x, y) in places.items()}
    xs, ys = zip(*points.values(), strict=True)
    spread = max(max(xs) - min(xs), max(ys) - min(ys)) or 1.0
    width, most_high = MAP
    scale = min(
        (width - 2 * PAD) / max(max(xs) - min(xs), 0.35 * spread),
        (most_high - 2 * PAD) / max(max(ys) - min(ys), 0.35 * spread),
    )
    height = int(min(most_high, max(0.45 * most_high, (max(ys) - min(ys)) * scale + 3 * PAD)))
    middle_x, middle_y = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
    most = max(seen.values())
    names = ", ".join(f"{place} {count}" for place, count in seen.items())
    parts = [
        f'<svg class="place-map" viewBox="0 0 {width} {height}" role="img" aria-label="Map of sightings: {escape(names)}">'
    ]
    for name, (x, y) in sorted(points.items(), key=lambda one: seen.get(one[0], 0)):
        at = width / 2 + (x - middle_x) * scale, height / 2 - (y - middle_y) * scale
        share = seen.get(name, 0) / most
        parts.append(
            _dot(name, at, seen.get(name, 0), share, named=share > 0 or len(points) <= ROWS)
        )
    metres = 111_195.0 if geographic else 1.0
    bar = _round_length(width / 4 / scale * metres)
    length = bar / metres * scale
    called = f"{bar / 1000:g} km" if bar >= 1000 else f"{bar:g} m"
    foot = height - 12
    parts.append(
        f'<path class="scale-bar" d="M12 {foot - 5}v5h{length:.1f}v-5"/><text class="unseen" x="{18 + length:.1f}" y="{foot}">{called}</text></svg>'
    )
    return Markup("".join(parts))  # noqa: S704 numbers, and names escaped above


def _dot(name: str, at: tuple[float, float], count: int, share: float, *, named: bool) -> str:
    """A place on the map, as large as its share of the sightings, and its name below it."""
    radius = 5 + 15 * math.sqrt(share) if count else 4
    kind = "seen" if count else "unseen"
    says = escape(f"{name}: {count} sighting{'' if count == 1 else 's'}")
    dot = f'<circle class="{kind}" cx="{at[0]:.1f}" cy="{at[1]:.1f}" r="{radius:.1f}"><title>{says}</title></circle>'
    if not named:
        return dot
    # Names at the edges are written inwards.
    edge = "end" if at[0] > MAP[0] - EDGE else "start" if at[0] < EDGE else "middle"
    x = {"end": min(at[0] + radius, MAP[0] - 6), "start": max(at[0] - radius, 6), "middle": at[0]}[
        edge
    ]
    word = f"{escape(name)} · {count}" if count else escape(name)
    return f'{dot}<text class="{kind}" x="{x:.1f}" y="{at[1] + radius + 15:.1f}" text-anchor="{edge}">{word}</text>'


def _round_length(metres: float) -> float:
    power: float = 10.0 ** math.floor(math.log10(metres))
    return max(power * factor for factor in (1, 2, 5) if power * factor <= metres)
