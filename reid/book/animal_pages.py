"""The index of individuals, and a page each: the same for a folder of files and for a server."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from reid.book.animals import Animal, KnownPicture
from reid.book.timelines import place_map, timeline
from reid.report.html import json_for_script, render


@dataclass(frozen=True, slots=True)
class Links:
    """Where things are, seen from the page that is made.

    Attributes:
        home: the index.
        animal: identity_id → its page.
        small, large: annotation_id → its picture; empty: there is none.
        pictures_from: what the page may load pictures from (Content-Security-Policy).
        served: whether there is a server behind the page, which takes decisions.
    """

    home: str
    animal: Callable[[str], str]
    small: Callable[[str], str]
    large: Callable[[str], str]
    pictures_from: str = "'self' file:"
    served: bool = False


@dataclass(frozen=True, slots=True)
class Origin:
    """Where pages come from, and what is known of places.

    Attributes:
        title: of the catalogue or run.
        described: what it is, for the reader.
        locations: place → longitude, latitude; or x, y in metres.
        geographic: whether these are degrees.
        notes: sentences for the index.
    """

    title: str
    described: str
    locations: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    geographic: bool = True
    notes: Sequence[str] = ()


def render_index(found: Mapping[str, Animal], links: Links, origin: Origin, **served: Any) -> str:
    """The page that lists all individuals: searched, sorted and turned over by its own script.

    Args:
        found: identity_id → individual.
        links: from the index.
        origin: where they come from.
        served: what a server adds, see `book_index.html`.
    """
    shown = [one for one in found.values() if not one.unusable]
    times = [moment for one in shown for moment in one.times]
    entries = [_entry(one, links) for one in shown]
    return render(
        "book_index.html",
        links=links,
        place=origin,
        animals=shown,
        pictures=sum(len(one.pictures) for one in shown),
        twice=sum(len(one.sightings) > 1 for one in shown),
        doubtful=sum(one.doubt for one in shown),
        confirmed=sum(one.confirmed for one in shown),
        unusable=[p for one in found.values() for p in one.pictures if p.unusable],
        species=sorted({one.species for one in shown}),
        first=min(times, default=None),
        last=max(times, default=None),
        content=json_for_script(entries),
        **{"acts": None, **served},
    )


def _entry(one: Animal, links: Links) -> dict[str, Any]:
    times = one.times
    return {
        "id": one.identity_id,
        "name": one.name,
        "species": one.species,
        "href": links.animal(one.identity_id),
        "src": links.small(one.profile.annotation_id),
        "pictures": len(one.pictures),
        "seen": len(one.sightings),
        "first": f"{min(times):%Y-%m-%d}" if times else "",
        "last": f"{max(times):%Y-%m-%d}" if times else "",
        "places": list(one.places)[:4],
        "sides": list(one.sides),
        "doubt": one.doubt,
        "confirmed": one.confirmed,
    }


Pictures = Mapping[str, tuple[KnownPicture, Animal]]


def all_pictures(found: Mapping[str, Animal]) -> dict[str, tuple[KnownPicture, Animal]]:
    """annotation_id → the picture, and whose it is."""
    return {
        picture.annotation_id: (picture, one) for one in found.values() for picture in one.pictures
    }


def render_animal(
    one: Animal,
    found: Mapping[str, Animal],
    pictures: Pictures,
    links: Links,
    origin: Origin,
    **served: Any,
) -> str:
    """The page of one individual.

    Args:
        one: the individual.
        found: others that may be linked to, by identity_id.
        pictures: of `all_pictures`: what is said of pictures of others beside its own.
        links: from this page.
        origin: where it comes from.
        served: what a server adds, see `book_animal.html`.
    """
    return render(
        "book_animal.html",
        links=links,
        place=origin,
        animal=one,
        others={
            each.identity_id: found[each.identity_id]
            for each in one.near
            if each.identity_id in found
        },
        timeline=timeline(one),
        map=place_map(one.places, origin.locations, geographic=origin.geographic),
        about_pictures=json_for_script(_about(one, pictures, links)),
        **{"acts": None, **served},
    )


def _about(one: Animal, pictures: Pictures, links: Links) -> dict[str, dict[str, str]]:
    """What the viewer says of each picture that it may show."""
    ids = [
        name
        for picture in one.pictures
        for name in (picture.annotation_id, picture.nearest)
        if name
    ]
    ids += [name for near in one.near for name in (near.own, near.other)]
    found = {}
    for name in dict.fromkeys(ids):
        if name not in pictures:
            continue
        picture, owner = pictures[name]
        words = picture.told_of(owner.called)
        why = "; ".join(picture.reasons) if owner is one else ""
        found[name] = {
            "src": links.large(name),
            "path": picture.path,
            "words": f"{words}. {why}" if why else words,
        }
    return found
