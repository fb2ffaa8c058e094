"""Camtrap DP packages, 0.1.6 and 1.x: media, deployments and observations to annotations.

An observation of level media with a box is an annotation. One without a box is of the whole image, if
it is the image's only animal. Observations of level event serve images that have none of their own.
"""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from reid import store
from reid.errors import InputError
from reid.sources import places
from reid.sources.built_rows import Records, box_of, mapping, mappings, number_of, text_of
from reid.sources.source_rows import How, Rows
from reid.sources.table_files import open_table
from reid.sources.words import is_empty

Row = Mapping[str, str]
BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")


def read_camtrap_dp(source: str, data: Mapping[str, Any], folder: str, how: How) -> Rows:
    """The annotations of a package.

    Args:
        source: as the user named it.
        data: the descriptor, datapackage.json.
        folder: absolute, where the descriptor lies; images are looked for below `how.root` too.
        how: what the user said.

    Raises:
        InputError: tables are missing, or none of the images is there.
    """
    tables = {str(text_of(one.get("name"))): one for one in mappings(data.get("resources"))}
    missing = [name for name in ("media", "deployments", "observations") if name not in tables]
    if missing:
        raise InputError(f"--input {source}: the package has no resource {', '.join(missing)}")
    media = _table(source, folder, tables["media"])
    deployments = {row["deploymentID"]: row for row in _table(source, folder, tables["deployments"])
                   if row.get("deploymentID")}  # fmt: skip
    observations = _table(source, folder, tables["observations"])
    records = Records(source, places.absolute(how.root or folder))
    trusted = (
        how.trust_individual_ids or mapping(data.get("project")).get("individualAnimals") is True
    )
    package = _Package(records, media, deployments, observations, trusted=trusted)
    package.add_all()
    described = f"Camtrap DP: {len(media):,} media, {len(observations):,} observations; {len(records):,} animals"
    return records.rows(how, described=described)


def _table(source: str, folder: str, resource: Mapping[str, Any]) -> list[Row]:
    """The rows of a resource; cells that say nothing are left out."""
    if isinstance(resource.get("data"), list):
        given = [
            {str(name): text_of(value) or "" for name, value in one.items()}
            for one in mappings(resource["data"])
        ]
    else:
        path = resource.get("path")
        path = text_of(path[0] if isinstance(path, list) and path else path) or ""
        plain = posixpath.normpath(path)
        if not path or "://" in path or plain.startswith(("/", "..")):
            raise InputError(
                f"--input {source}: the table {resource.get('name')} lies at {path!r}; a package's tables lie "
                "below its folder"
            )
        table = open_table(store.join(folder, plain))
        columns = [table.texts(at).to_pylist() for at in range(len(table.header))]
        given = [
            dict(zip(table.header, cells, strict=True)) for cells in zip(*columns, strict=True)
        ]
    return [
        {
            name: cell.strip()
            for name, cell in row.items()
            if cell and (name == "observationType" or not is_empty(cell))
        }
        for row in given
    ]


class _Package:
    """The tables of a package, joined row by row into `records`."""

    def __init__(
        self,
        records: Records,
        media: Sequence[Row],
        deployments: Mapping[str, Row],
        observations: Sequence[Row],
        *,
        trusted: bool,
    ) -> None:
        self.records, self.deployments, self.trusted = records, deployments, trusted
        self.media = media
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
                self.events[row.get("deploymentID", ""), _event(row)].append(row)

    def add_all(self) -> None:
        """Every image of the package."""
        windows = self._windows()
        for image in self.media:
            self.records.images += 1
            path = self._path(image)
            if not image.get("fileMediatype", "image/").startswith("image/"):
                self.records.left_out[f"media of {image['fileMediatype']}"] += 1
                continue
            own = self.by_media.get(image.get("mediaID", ""), [])
            if own:
                self._add_own(image, path, own)
            else:
                self._add_by_event(image, path, windows)
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
        animals = _best_opinion([row for row in own if row.get("observationType") == "animal"])
        if not animals:
            kind = own[0].get("observationType", "") or "unclassified"
            self.records.left_out[f"images that are {kind}"] += 1
        boxed = [row for row in animals if "bboxX" in row]
        for row in boxed:
            box = box_of([number_of(row.get(name)) for name in BOX])
            if box is None:
                self.records.fail(path, "the four numbers of its box are not all there")
            else:
                self._add(image, path, row, box)
        if animals and not boxed:
            if len(animals) == 1 and _count(animals[0]) <= 1:
                self._add(image, path, animals[0], None)
            else:
                self.records.left_out[_SEVERAL] += len(animals)
        elif len(boxed) < len(animals):
            self.records.left_out[_SEVERAL] += len(animals) - len(boxed)

    def _add_by_event(
        self, image: Row, path: str, windows: Mapping[str, list[tuple[datetime, datetime, str]]]
    ) -> None:
        place = image.get("deploymentID", "")
        event = _event(image)
        if not event:
            taken = _moment(image.get("timestamp"))
            event = next(
                (
                    name
                    for start, end, name in windows.get(place, ())
                    if taken and start <= taken <= end
                ),
                "",
            )
        rows = self.events.get((place, event), []) if event else []
        animals = _best_opinion([row for row in rows if row.get("observationType") == "animal"])
        if len(animals) == 1 and _count(animals[0]) <= 1:
            self._add(image, path, animals[0], None, event)
        elif animals:
            self.records.left_out["images of events with several animals"] += 1
        else:
            self.records.left_out["images without an observation of an animal"] += 1

    def _windows(self) -> dict[str, list[tuple[datetime, datetime, str]]]:
        """For each deployment start, end and name of its events."""
        windows: dict[str, list[tuple[datetime, datetime, str]]] = defaultdict(list)
        for (place, event), rows in self.events.items():
            starts = [_moment(row.get("eventStart", row.get("timestamp"))) for row in rows]
            ends = [
                _moment(row.get("eventEnd", row.get("eventStart", row.get("timestamp"))))
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
    ) -> None:
        place = image.get("deploymentID", row.get("deploymentID", ""))
        event = event or _event(row) or _event(image)
        identity = self._identity(row)
        if identity is None:  # the event's, where it is of one animal
            whole = [
                one
                for one in self.events.get((place, event), [])
                if one.get("observationType") == "animal"
            ]
            if len(whole) == 1 and _count(whole[0]) <= 1:
                identity = self._identity(whole[0])
        self.records.add(
            path,
            box,
            image_id=image.get("mediaID"),
            species=row.get("scientificName"),
            identity=identity,
            encounter_id=event or None,
            viewpoint=_viewpoint(row),
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


_SEVERAL = "observations of several animals without boxes (run a detector, give its results as --detections)"


def _event(row: Row) -> str:
    return row.get("eventID", row.get("sequenceID", ""))


def _count(row: Row) -> float:
    return number_of(row.get("count")) or 1


def _best_opinion(rows: list[Row]) -> list[Row]:
    """What people say goes before what machines say, and the latest machine before older ones."""
    human = [row for row in rows if row.get("classificationMethod") == "human"]
    if human:
        return human
    by = {row.get("classifiedBy", "") for row in rows}
    if len(by) < 2:
        return rows
    latest = max(rows, key=lambda row: row.get("classificationTimestamp", ""))
    return [row for row in rows if row.get("classifiedBy", "") == latest.get("classifiedBy", "")]


def _viewpoint(row: Row) -> str | None:
    """Of tags such as `viewpoint:left | swimDirection:across`."""
    for part in row.get("observationTags", row.get("tags", "")).replace(",", "|").split("|"):
        name, colon, value = part.partition(":")
        if colon and name.strip().lower() == "viewpoint":
            return value.strip() or None
    return None


def _moment(text: str | None) -> datetime | None:
    """In UTC; a time without an offset counts as UTC."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None


def is_package(folder: str) -> bool:
    """Is a folder a Camtrap DP package?"""
    return places.look(store.join(folder, "datapackage.json")) == "file"
