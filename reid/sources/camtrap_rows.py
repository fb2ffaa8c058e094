"""Camtrap DP's tables, joined: media, deployments and observations to annotations.

An observation of level media with a box is an annotation. One without a box is of the whole image, if
it is the image's only animal, or of a detector's boxes where there are some. Observations of level event
serve images that have none of their own. A person who says that a frame is blank is believed, whatever
its event shows.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import datetime

from reid import store
from reid.sources import places
from reid.sources.built_rows import Records, box_of, number_of
from reid.sources.camtrap_cells import Row, animals_of, count_of, event_of, moment_of, viewpoint_of
from reid.sources.detected_boxes import Detected, DetectedBoxes
from reid.sources.source_rows import Rows

BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


class Package:
    """The tables of a package, joined row by row into `records`.

    Args:
        records: where the annotations go.
        media, deployments, observations: rows of the tables, without empty cells.
        trusted: individualIDs are individuals.
        detected: boxes of a detector, for images of which the package has none.
    """

    def __init__(
        self,
        records: Records,
        media: Sequence[Row],
        deployments: Sequence[Row],
        observations: Sequence[Row],
        *,
        trusted: bool,
        detected: Rows | None = None,
    ) -> None:
        self.records, self.trusted, self.media = records, trusted, media
        self.deployments = {
            row["deploymentID"]: row for row in deployments if "deploymentID" in row
        }
        self.by_media: dict[str, list[Row]] = defaultdict(list)
        self.events: dict[tuple[str, str], list[Row]] = defaultdict(list)
        self.observation_ids = {row.get("observationID", "") for row in observations}
        self.untrusted: Counter[str] = Counter()
        self.orphans: Counter[str] = Counter()
        known = {row.get("mediaID", "") for row in media}
        for row in observations:
            if "mediaID" in row:
                if row["mediaID"] in known:
                    self.by_media[row["mediaID"]].append(row)
                else:
                    records.left_out["observations of media that the package lacks"] += 1
            else:
                self.events[row.get("deploymentID", ""), event_of(row)].append(row)
        self.windows = self._windows()
        self.boxes = DetectedBoxes(records, [self._path(image) for image in media], detected)
        self.detected: Counter[str] = Counter()
        self.several: list[int] = []  # observations of an image that nothing tells apart

    def add_all(self) -> None:
        """Every image of the package."""
        for image in self.media:
            self.records.images += 1
            path = self._path(image)
            if not image.get("fileMediatype", "image/").startswith("image/"):
                self.records.left_out[f"media of {image['fileMediatype']}"] += 1
                continue
            own = self.by_media.get(image.get("mediaID", ""), [])
            boxes = self.boxes.of(path)
            if boxes and self._wants_boxes(own):
                self._add_detected(image, path, own, boxes)
            elif own:
                self._add_own(image, path, own)
            else:
                self._add_by_event(image, path)
        self._say()

    def _path(self, image: Row) -> str:
        """Where an image lies; one behind a web address may lie below the root by its name."""
        path, name = image.get("filePath", ""), image.get("fileName", "")
        if path and "://" not in path:
            return path
        for local in (f"{image.get('deploymentID', '')}/{name}", name, f"media/{name}"):
            if name and places.look(store.join(self.records.root, local)) == "file":
                return local
        return path or name

    def _add_own(self, image: Row, path: str, own: Sequence[Row]) -> None:
        animals = animals_of(own)
        if not animals:
            self._leave_out(image, own)
        boxed = [row for row in animals if "bboxX" in row]
        for row in boxed:
            box = box_of([number_of(row.get(name)) for name in BOX])
            if box is None:
                self.records.fail(path, "the four numbers of its box are not all there")
            else:
                self._add(image, path, row, box, alone=len(animals) == 1)
        if animals and not boxed:
            if len(animals) == 1 and count_of(animals[0]) <= 1:
                self._add(image, path, animals[0], None)
            else:
                self.several.append(len(animals))
        elif len(boxed) < len(animals):
            self.several.append(len(animals) - len(boxed))

    def _leave_out(self, image: Row, own: Sequence[Row]) -> None:
        kind = own[0].get("observationType", "") or "unclassified"
        within = ""
        if kind == "blank" and self._event_of(image, own)[1]:
            within = " (single frames of events with an animal)"
        self.records.left_out[f"images that are {kind}{within}"] += 1

    def _add_by_event(self, image: Row, path: str) -> None:
        event, animals = self._event_of(image, ())
        if len(animals) == 1 and count_of(animals[0]) <= 1:
            self._add(image, path, animals[0], None, event)
        elif animals:
            self.records.left_out["images of events with several animals"] += 1
        else:
            self.records.left_out["images without an observation of an animal"] += 1

    def _wants_boxes(self, own: Sequence[Row]) -> bool:
        """Has the package no boxes of this image itself, and does it not say that people are on it?"""
        animals = animals_of(own)
        if any("bboxX" in row for row in animals):
            self.detected["kept"] += 1
            return False
        people = any(row.get("observationType") in ("human", "vehicle") for row in own)
        return bool(animals) or not people

    def _add_detected(
        self, image: Row, path: str, own: Sequence[Row], boxes: Sequence[Detected]
    ) -> None:
        """A detector's boxes, with what the package says of the image, or else of its event."""
        event, animals = self._event_of(image, own)
        animals = animals_of(own) or animals
        self.detected["images"] += 1
        self.detected["boxes"] += len(boxes)
        named = {row["scientificName"] for row in animals if "scientificName" in row}
        alone = len(animals) == 1 == len(boxes) and count_of(animals[0]) <= 1
        for box in boxes:
            row = dict(animals[0]) if alone else {}
            weight = None
            if len(named) == 1:
                row["scientificName"] = next(iter(named))
            elif box.species is not None:  # several kinds, or none: the machine says which
                row["scientificName"], weight = box.species, box.weight
            self._add(
                image,
                path,
                row,
                box.values,
                event,
                alone=alone,
                relative=box.relative,
                weight=weight,
            )

    def _event_of(self, image: Row, own: Sequence[Row]) -> tuple[str, list[Row]]:
        """The event of an image, by its name or else by its time, and the animals that were seen in it."""
        place = image.get("deploymentID", "")
        event = event_of(image) or next((name for row in own if (name := event_of(row))), "")
        if not event:
            taken = moment_of(image.get("timestamp"))
            event = next(
                (
                    name
                    for start, end, name in self.windows.get(place, ())
                    if taken and start <= taken <= end
                ),
                "",
            )
        rows = self.events.get((place, event), []) if event else []
        return event, animals_of(rows)

    def _windows(self) -> dict[str, list[tuple[datetime, datetime, str]]]:
        """For each deployment start, end and name of its events."""
        windows: dict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
        for (place, event), rows in self.events.items():
            starts = [moment_of(row.get("eventStart", row.get("timestamp"))) for row in rows]
            ends = [
                moment_of(row.get("eventEnd", row.get("eventStart", row.get("timestamp"))))
                for row in rows
            ]
            known = [one for one in starts if one], [one for one in ends if one]
            if event and known[0] and known[1]:
                windows[place].append((min(known[0]), max(known[1]), event))
        return windows

    def _add(
        self,
        image: Row,
        path: str,
        row: Row,
        box: Sequence[float] | None,
        event: str = "",
        *,
        alone: bool = True,
        relative: bool = True,
        weight: float | None = None,
    ) -> None:
        place = image.get("deploymentID", row.get("deploymentID", ""))
        event = event or event_of(row) or event_of(image)
        identity = self._identity(row)
        if identity is None and alone:  # the event's, where it is of one animal
            whole = [
                one
                for one in self.events.get((place, event), [])
                if one.get("observationType") == "animal"
            ]
            if len(whole) == 1 and count_of(whole[0]) <= 1:
                identity = self._identity(whole[0])
        self.records.add(
            path,
            box,
            relative,
            weight=weight,
            image_id=image.get("mediaID"),
            species=row.get("scientificName"),
            identity=identity,
            encounter_id=event or None,
            viewpoint=viewpoint_of(row),
            location_id=self._place(place),
            timestamp=image.get("timestamp"),
        )

    def _identity(self, row: Row) -> str | None:
        name = row.get("individualID")
        if name is None:
            return None
        if name in self.observation_ids:
            self.untrusted["equal the id of an observation"] += 1
            return None
        if not self.trusted:
            self.untrusted["stand in a package that says individualAnimals: false"] += 1
            return None
        return name

    def _place(self, deployment: str) -> str | None:
        row = self.deployments.get(deployment)
        if row is None:
            if deployment:
                self.orphans[deployment] += 1
            return deployment or None
        if "locationID" in row:
            return row["locationID"]
        latitude, longitude = number_of(row.get("latitude")), number_of(row.get("longitude"))
        if latitude is not None and longitude is not None:
            return f"{latitude:.4f},{longitude:.4f}"
        return deployment

    def _say(self) -> None:
        source = self.records.source
        if self.several:
            self.records.left_out[
                f"images of several animals ({sum(self.several):,} observations of several animals without "
                "boxes: run a detector, give its results as --detections)"
            ] = len(self.several)
        if self.detected:
            kept = self.detected["kept"]
            stay = f"; {kept:,} images have boxes in the package, which stay" if kept else ""
            self.records.notes.append(
                f"{source}: {self.detected['boxes']:,} boxes of the detector on {self.detected['images']:,} images are "
                f"read, with species, events and places of the package{stay}"
            )
        for why, count in self.untrusted.items():
            hint = "" if why.startswith("equal") else " (--trust-individual-ids reads them)"
            self.records.notes.append(
                f"{source}: {count:,} individualIDs are not read as individuals: they {why}{hint}"
            )
        if self.orphans:
            self.records.notes.append(
                f"{source}: {self.orphans.total():,} animals are of {len(self.orphans):,} deployments that the package "
                "lacks; their places are named by the deployments' ids"
            )
