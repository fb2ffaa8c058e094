"""Camtrap DP: columns, times, tags and boxes as its tables want them."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reid.errors import InputError

VERSION = "1.0.2"
SCHEMAS = f"https://raw.githubusercontent.com/tdwg/camtrap-dp/{VERSION}"
OBSERVATIONS = (
    "observationID", "deploymentID", "mediaID", "eventID", "eventStart", "eventEnd",
    "observationLevel", "observationType", "cameraSetupType", "scientificName", "count", "lifeStage",
    "sex", "behavior", "individualID", "individualPositionRadius", "individualPositionAngle",
    "individualSpeed", "bboxX", "bboxY", "bboxWidth", "bboxHeight", "classificationMethod",
    "classifiedBy", "classificationTimestamp", "classificationProbability", "observationTags",
    "observationComments",
)  # fmt: skip
MEDIA = (
    "mediaID", "deploymentID", "captureMethod", "timestamp", "filePath", "filePublic", "fileName",
    "fileMediatype", "exifData", "favorite", "mediaComments",
)  # fmt: skip
DEPLOYMENTS = (
    "deploymentID", "locationID", "locationName", "latitude", "longitude", "coordinateUncertainty",
    "deploymentStart", "deploymentEnd", "setupBy", "cameraID", "cameraModel", "cameraDelay",
    "cameraHeight", "cameraDepth", "cameraTilt", "cameraHeading", "detectionDistance",
    "timestampIssues", "baitUse", "featureType", "habitat", "deploymentGroups", "deploymentTags",
    "deploymentComments",
)  # fmt: skip
BOX = ("bboxX", "bboxY", "bboxWidth", "bboxHeight")
SEXES = {"f": "female", "female": "female", "m": "male", "male": "male"}
OUR_TAGS = (
    "individualIDProbability",
    "individualIDDecision",
    "individualIDConfirmedBy",
    "viewpoint",
)
SOFTWARE = "reid-engine"


@dataclass(frozen=True, slots=True)
class Teller:
    """Who says what is written into a package.

    Attributes:
        classified_by: species → who says so, of rows that no person has confirmed.
        now: the time, as a stamp in UTC.
        version: of this software.
        sizes: path of a picture (root and image_path joined) → its size, for boxes in pixels.
        scientific_names: species as it is called here → scientific name.
        sexes: identity → female or male.
    """

    classified_by: Callable[[str], str]
    now: str
    version: str
    sizes: Mapping[str, tuple[int, int] | None] = field(default_factory=dict)
    scientific_names: Mapping[str, str] = field(default_factory=dict)
    sexes: Mapping[str, str] = field(default_factory=dict)

    def species(self, name: str) -> str:
        """The scientific name, as far as it is known."""
        return self.scientific_names.get(name, name)


_OFFSET = re.compile(r"(?:UTC|GMT)?([+-])(\d{1,2})(?::?(\d{2}))?", re.IGNORECASE)


def read_zone(text: str) -> tzinfo:
    """A time zone: `+02:00`, `UTC` or a name such as `Europe/Brussels`.

    Raises:
        InputError: it is none.
    """
    if text.strip().upper() in ("Z", "UTC", "GMT"):
        return timezone.utc  # noqa: UP017  the name of the class is what is meant
    if match := _OFFSET.fullmatch(text.strip()):
        minutes = int(match[2]) * 60 + int(match[3] or 0)
        if minutes <= 14 * 60:
            return timezone(timedelta(minutes=minutes if match[1] == "+" else -minutes))
    try:
        return ZoneInfo(text.strip())
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(
            f"--timezone {text}: write an offset like +02:00, or a name like Europe/Brussels"
        ) from None


def stamp(clock: datetime, zone: tzinfo, offset_minutes: int | None = None) -> str:
    """A wall clock as `2020-05-30T04:57:37+02:00`; its own offset wins over the zone's."""
    if offset_minutes is not None:
        zone = timezone(timedelta(minutes=offset_minutes))
    return clock.replace(microsecond=0, tzinfo=zone).isoformat()


def utc_of(text: str) -> datetime | None:
    """The moment of a stamp with an offset; None where it is none."""
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return None if moment.tzinfo is None else moment.astimezone(timezone.utc)  # noqa: UP017


def with_tags(existing: str, tags: Mapping[str, str | None]) -> str:
    """observationTags with ours in it: `a | key:value | …`; what we said before is replaced."""
    kept = [one.strip() for one in existing.split("|") if one.strip()]
    kept = [one for one in kept if one.partition(":")[0] not in OUR_TAGS]
    ours = [
        f"{name}:{re.sub(r'[|;:]+', '-', value)}"
        for name, value in tags.items()
        if value is not None
    ]
    return " | ".join([*kept, *ours])


def relative_box(
    box: Sequence[float], unit: str | None, size: tuple[int, int] | None
) -> tuple[float, float, float, float] | None:
    """x, y, w, h as shares of the picture, inside it; None where its size is needed and unknown."""
    x, y, w, h = (float(value) for value in box)
    if unit != "relative":
        if size is None:
            return None
        x, y, w, h = x / size[0], y / size[1], w / size[0], h / size[1]
    left, top = (round(min(max(value, 0.0), 0.99999), 5) for value in (x, y))
    right, bottom = (round(min(max(value, 0.0), 1.0), 5) for value in (x + w, y + h))
    width, height = (max(round(value, 5), 1e-5) for value in (right - left, bottom - top))
    return left, top, width, height


def box_words(box: Sequence[float] | None) -> dict[str, str]:
    """The four cells of a box."""
    if box is None:
        return dict.fromkeys(BOX, "")
    return {
        name: f"{value:.5f}".rstrip("0").rstrip(".") or "0"
        for name, value in zip(BOX, box, strict=True)
    }
