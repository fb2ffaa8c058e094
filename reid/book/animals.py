"""What is known of each individual: its sightings, sides, places, neighbours and history."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
import pandas as pd

from reid.book.why_here import reasons
from reid.catalogue.state import called
from reid.exports.meetings import encounter_keys
from reid.exports.sightings import in_doubt
from reid.identify.remarks import OF_INDIVIDUALS, Remark

NEAREST_SHOWN = 6


@dataclass(frozen=True, slots=True)
class KnownPicture:
    """One picture (annotation) of an individual.

    Attributes:
        annotation_id: its id.
        path: of the image, as the table has it.
        taken: by the camera's clock; None: unknown.
        place: where; empty: unknown.
        side: the viewpoint; empty: unknown.
        reasons: why it is here, in sentences.
        nearest: id of the picture that it is most like; empty: unknown.
        doubt: nobody is sure of it.
        confirmed: by whom and when; empty: by nobody.
        unusable: nobody can be told by it, as somebody said.
    """

    annotation_id: str
    path: str
    taken: datetime | None
    place: str
    side: str
    reasons: tuple[str, ...]
    nearest: str
    doubt: bool
    confirmed: str
    unusable: bool

    def told_of(self, whose: str) -> str:
        """Whose it is, when and where it was taken, and the side it shows, on one line."""
        when = f"{self.taken:%Y-%m-%d %H:%M}" if self.taken else ""
        return " · ".join(fact for fact in (whose, when, self.place, self.side) if fact)


@dataclass(frozen=True, slots=True)
class Sighting:
    """Pictures of one individual at one place and time."""

    taken: datetime | None
    place: str
    pictures: tuple[KnownPicture, ...]


@dataclass(frozen=True, slots=True)
class Near:
    """Another individual that looks alike.

    Attributes:
        identity_id: whose.
        distance: between the two pictures that are most alike.
        own, other: ids of these two.
    """

    identity_id: str
    distance: float
    own: str
    other: str


@dataclass(frozen=True, slots=True)
class Animal:
    """An individual.

    Attributes:
        identity_id: by which it goes.
        called: with the name that people gave it.
        name: that name alone; empty: none.
        species: its species.
        sightings: by time; those without a time come last.
        profile: the picture that stands for it.
        sides: side → pictures.
        places: place → sightings, the most first.
        said: kind → what people said of it, each with who and when: sex, age and notes.
        near: other individuals, the nearest first.
        history: time and sentence, the latest first.
    """

    identity_id: str
    called: str
    name: str
    species: str
    sightings: tuple[Sighting, ...]
    profile: KnownPicture
    sides: Mapping[str, int]
    places: Mapping[str, int]
    said: Mapping[str, Remark] = field(default_factory=dict)
    near: tuple[Near, ...] = ()
    history: tuple[tuple[datetime, str], ...] = ()

    @property
    def pictures(self) -> list[KnownPicture]:
        """All of them, by time."""
        return [one for sighting in self.sightings for one in sighting.pictures]

    @property
    def times(self) -> list[datetime]:
        """Of its sightings, as far as they are known."""
        return [one.taken for one in self.sightings if one.taken is not None]

    @property
    def doubt(self) -> bool:
        """Nobody is sure of any picture of it."""
        return all(one.doubt for one in self.pictures)

    @property
    def unusable(self) -> bool:
        """None of its pictures tells anybody."""
        return all(one.unusable for one in self.pictures)

    @property
    def confirmed(self) -> int:
        """Pictures that a person has confirmed."""
        return sum(bool(one.confirmed) for one in self.pictures)


def animals(
    frame: pd.DataFrame,
    *,
    said: Mapping[str, Mapping[str, Remark]] | None = None,
    near: Mapping[str, Sequence[Near]] | None = None,
    history: Mapping[str, Sequence[tuple[datetime, str]]] | None = None,
    only: Iterable[str] | None = None,
) -> dict[str, Animal]:
    """identity_id → individual, in order of their ids.

    Args:
        frame: of `reid.exports.sightings.sightings`, all individuals.
        said: annotation_id → kind → remark, of `reid.identify.remarks.remarks`.
        near: identity_id → its nearest others.
        history: identity_id → what happened to it.
        only: identity ids that are wanted; None: all.
    """
    said, near, history = said or {}, near or {}, history or {}
    doubt = in_doubt(frame)
    index = {one: place for place, one in enumerate(frame["annotation_id"])}
    names = {
        one: name
        for one, name in zip(frame["identity_id"], frame["name"], strict=True)
        if isinstance(name, str)
    }
    keys = _meetings(frame)
    wanted = None if only is None else frame["identity_id"].isin([*only]).to_numpy()
    places = np.arange(len(frame)) if wanted is None else np.flatnonzero(wanted)
    clean = _plain_rows(frame, places)
    near_rows = _plain_rows(
        frame,
        np.unique([index[one] for row in clean.values() if (one := row["nearest_id"]) in index]),
    )
    sizes = Counter(frame["identity_id"])
    pictures: dict[str, dict[str, list[KnownPicture]]] = {}
    for place, row in clean.items():
        nearest = near_rows.get(index.get(row["nearest_id"], -1))
        own = said.get(row["annotation_id"], {})
        confirmed = (
            f"{row['confirmed_by']}, {row['confirmed_at']:%Y-%m-%d}" if row["confirmed_by"] else ""
        )
        picture = KnownPicture(
            annotation_id=row["annotation_id"],
            path=row["image_path"],
            taken=row["timestamp"],
            place=row["location_id"] or "",
            side=row["viewpoint"] or "",
            reasons=tuple(
                reasons(
                    row,
                    nearest,
                    own,
                    lambda one: called(one, names),
                    alone=sizes[row["identity_id"]] == 1,
                )
            ),
            nearest="" if nearest is None else str(row["nearest_id"]),
            doubt=bool(doubt[place]),
            confirmed=confirmed,
            unusable="unusable" in own,
        )
        pictures.setdefault(row["identity_id"], {}).setdefault(keys[place], []).append(picture)
    best = _profiles(frame.iloc[places])
    species = dict(zip(frame["identity_id"], frame["species"], strict=True))
    return {
        one: _animal(
            one, called(one, names), names.get(one, ""), species[one], pictures[one], best[one],
            said, tuple(near.get(one, ()))[:NEAREST_SHOWN], tuple(history.get(one, ())),
        )
        for one in sorted(pictures)
    }  # fmt: skip


def _animal(
    identity_id: str,
    title: str,
    name: str,
    species: str,
    met: Mapping[str, list[KnownPicture]],
    best: str,
    said: Mapping[str, Mapping[str, Remark]],
    near: tuple[Near, ...],
    history: tuple[tuple[datetime, str], ...],
) -> Animal:
    last = datetime.max
    found = []
    for group in met.values():
        group.sort(key=lambda one: (one.taken or last, one.path))
        found.append(Sighting(group[0].taken, group[0].place, tuple(group)))
    found.sort(key=lambda one: (one.taken or last, one.place, one.pictures[0].path))
    everyone = [one for sighting in found for one in sighting.pictures]
    remarks: dict[str, Remark] = {}
    profile = best
    chosen: datetime | None = None
    for one in everyone:
        for kind, remark in said.get(one.annotation_id, {}).items():
            if kind in OF_INDIVIDUALS and (
                kind not in remarks or remarks[kind].timestamp < remark.timestamp
            ):
                remarks[kind] = remark
            if kind == "profile" and (chosen is None or remark.timestamp > chosen):
                profile, chosen = one.annotation_id, remark.timestamp
    sides = Counter(one.side for one in everyone if one.side)
    places = Counter(one.place for one in found if one.place)
    return Animal(
        identity_id=identity_id,
        called=title,
        name=name,
        species=species,
        sightings=tuple(found),
        profile=next(one for one in everyone if one.annotation_id == profile),
        sides=dict(sides.most_common()),
        places=dict(places.most_common()),
        said=remarks,
        near=near,
        history=history,
    )


def _meetings(frame: pd.DataFrame) -> list[str]:
    """(n,) a key of each row's sighting."""
    timed = frame["timestamp"].notna().to_numpy()
    keys = np.asarray([f"alone {one}" for one in frame["annotation_id"]], object)
    given = frame["encounter_id"].notna().to_numpy()
    keys[given] = ("given " + frame.loc[given, "encounter_id"].astype(str)).to_numpy(object)
    if timed.any():
        rows = frame[timed]
        keys[timed] = encounter_keys(rows, ["identity_id", "location_id"], "timestamp")
    return [str(one) for one in keys]


def _plain_rows(frame: pd.DataFrame, places: "np.ndarray[Any, Any]") -> dict[int, dict[str, Any]]:
    """Origin in the frame → the row, None where nothing is known."""
    columns = (
        "annotation_id", "image_path", "identity_id", "identity", "decision", "confidence", "nearest_id",
        "nearest_distance", "timestamp", "location_id", "viewpoint", "confirmed_by", "confirmed_at",
    )  # fmt: skip
    lists = []
    for name in columns:
        column = frame[name].iloc[places] if name in frame else pd.Series([None] * len(places))
        values = column.astype(object).where(column.notna().to_numpy(), None).tolist()
        lists.append(values)
    rows = zip(*lists, strict=True)
    return {
        int(place): dict(zip(columns, row, strict=True))
        for place, row in zip(places.tolist(), rows, strict=True)
    }


def _profiles(frame: pd.DataFrame) -> dict[str, str]:
    """identity_id → the picture that stands for it: usable, confirmed, large, near to another."""
    boxes = frame["bbox"] if "bbox" in frame else pd.Series([None] * len(frame))
    area = np.array([np.inf if box is None else float(box[2]) * float(box[3]) for box in boxes])
    near = (
        pd.to_numeric(frame["nearest_distance"]).fillna(np.inf).to_numpy()
        if "nearest_distance" in frame
        else np.zeros(len(frame))
    )
    rank = pd.Series(-area).rank().to_numpy() + pd.Series(near).rank().to_numpy()
    confirmed = frame["confirmed_by"].notna().to_numpy()
    order = np.lexsort(
        (frame["image_path"].to_numpy(str), rank, ~confirmed, frame["unusable"].to_numpy(np.bool_))
    )
    found: dict[str, str] = {}
    ids, who = frame["annotation_id"].tolist(), frame["identity_id"].tolist()
    for place in order.tolist():
        found.setdefault(who[place], ids[place])
    return found
