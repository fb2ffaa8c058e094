"""Mistakes of a Camtrap DP that its own schemas do not find, or that would spread through us."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence

from reid.exports.camtrap_words import BOX, utc_of
from reid.exports.sheets import number_of

Rows = Sequence[Mapping[str, str]]
_WINDOWS = re.compile(r"^[A-Za-z]:|\\")
_OUTSIDE = re.compile(r"^[./~]|\.\.")
_ROUNDING = 2e-5
_OFFSET_WITHOUT_COLON = re.compile(r"[+-]\d{4}$")  # Python reads it, and the standard forbids it
_KEYS_AND_TIMES = {
    "deployments": ("deploymentID", ("deploymentStart", "deploymentEnd")),
    "media": ("mediaID", ("timestamp",)),
    "observations": ("observationID", ("eventStart", "eventEnd", "classificationTimestamp")),
}


def package_mistakes(deployments: Rows, media: Rows, observations: Rows) -> dict[str, list[str]]:
    """What is wrong: kind of mistake → ids of the rows.

    Args:
        deployments, media, observations: rows as they stand in the files.
    """
    sites = {row.get("deploymentID", "") for row in deployments}
    pictures = {row.get("mediaID", ""): row.get("deploymentID", "") for row in media}
    found: dict[str, list[str]] = {}

    def note(kind: str, row: str) -> None:
        found.setdefault(kind, []).append(row)

    tables = {"deployments": deployments, "media": media, "observations": observations}
    for name, rows in tables.items():
        key, times = _KEYS_AND_TIMES[name]
        for one in _twice(row.get(key, "") for row in rows):
            note(f"{name}: {key} twice", one)
        for row in rows:
            if any(_OFFSET_WITHOUT_COLON.search(row.get(column, "")) for column in times):
                note(f"{name}: offset such as +0100, which is to be +01:00", row.get(key, ""))
    for row in media:
        media_id = row.get("mediaID", "")
        if _WINDOWS.search(row.get("filePath", "")):
            note("media: filePath of Windows", media_id)
        elif _OUTSIDE.search(row.get("filePath", "")):
            note("media: filePath outside of the package", media_id)
        if row.get("deploymentID", "") not in sites:
            note("media: unknown deploymentID", media_id)
    for row in observations:
        for kind in _observation_mistakes(row, sites, pictures):
            note(f"observations: {kind}", row.get("observationID", ""))
    return found


def in_words(mistakes: Mapping[str, Sequence[str]]) -> list[str]:
    """A line a kind, with how many and the first three."""
    return [
        f"{kind}: {len(rows):,} ({', '.join(rows[:3])}{', …' if len(rows) > 3 else ''})"
        for kind, rows in mistakes.items()
    ]


def _observation_mistakes(
    row: Mapping[str, str], sites: set[str], pictures: Mapping[str, str]
) -> list[str]:
    level, media, count = (row.get(name, "") for name in ("observationLevel", "mediaID", "count"))
    site = row.get("deploymentID", "")
    wrong = {
        "of level media without mediaID": level == "media" and not media,
        "of level event without eventID": level == "event" and not row.get("eventID", ""),
        "unknown mediaID": bool(media) and media not in pictures,
        "unknown deploymentID": site not in sites,
        "of another deployment than its media": site in sites and pictures.get(media, site) != site,
        "tags parted by ; instead of |": ";" in row.get("observationTags", ""),
        "count that is no whole number above 0": bool(count) and not _is_count(count),
        "individualID of more than one animal": bool(row.get("individualID", ""))
        and count not in ("", "1"),
    }
    found = [kind for kind, is_so in wrong.items() if is_so]
    return found + list(filter(None, (_box_mistake(row), _time_mistake(row))))


def _is_count(text: str) -> bool:
    return text.isdecimal() and int(text) >= 1


def _box_mistake(row: Mapping[str, str]) -> str | None:
    box = [number_of(row.get(name, "")) for name in BOX]
    known = [value for value in box if math.isfinite(value)]
    if len(known) not in (0, 4):
        return "box with less than four numbers"
    if not known:
        return None
    x, y, w, h = known
    leaves = min(x, y) < 0 or min(w, h) <= 0 or max(x + w, y + h) > 1 + _ROUNDING
    return "box that leaves the picture" if leaves else None


def _time_mistake(row: Mapping[str, str]) -> str | None:
    start, end = (utc_of(row.get(name, "")) for name in ("eventStart", "eventEnd"))
    if start is None or end is None:
        return "eventStart or eventEnd without an offset from UTC"
    return "eventEnd before eventStart" if end < start else None


def _twice(ids: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [one for one in ids if one in seen or seen.add(one)]  # type: ignore[func-returns-value]
