"""Mistakes of a Camtrap DP that its own schemas do not find, or that would spread through us."""

import re
from collections.abc import Iterable, Mapping, Sequence

from reid.exports.camtrap_words import BOX, utc_of

Rows = Sequence[Mapping[str, str]]
_WINDOWS = re.compile(r"^[A-Za-z]:|\\")
_OUTSIDE = re.compile(r"^[./~]|\.\.")
_ROUNDING = 2e-5


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

    for name, rows, key in (
        ("deployments", deployments, "deploymentID"),
        ("media", media, "mediaID"),
        ("observations", observations, "observationID"),
    ):
        for one in _twice(row.get(key, "") for row in rows):
            note(f"{name}: {key} twice", one)
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
    wrong = []
    level, media = row.get("observationLevel", ""), row.get("mediaID", "")
    if level == "media" and not media:
        wrong.append("of level media without mediaID")
    if level == "event" and not row.get("eventID", ""):
        wrong.append("of level event without eventID")
    if media and media not in pictures:
        wrong.append("unknown mediaID")
    if row.get("deploymentID", "") not in sites:
        wrong.append("unknown deploymentID")
    elif media in pictures and pictures[media] != row.get("deploymentID", ""):
        wrong.append("of another deployment than its media")
    box = [_number(row.get(name, "")) for name in BOX]
    known = [value for value in box if value is not None]
    if len(known) not in (0, 4):
        wrong.append("box with less than four numbers")
    elif len(known) == 4:
        x, y, w, h = known
        if min(known) < 0 or w == 0 or h == 0 or x + w > 1 + _ROUNDING or y + h > 1 + _ROUNDING:
            wrong.append("box that leaves the picture")
    if ";" in row.get("observationTags", ""):
        wrong.append("tags parted by ; instead of |")
    start, end = (utc_of(row.get(name, "")) for name in ("eventStart", "eventEnd"))
    if start is None or end is None:
        wrong.append("eventStart or eventEnd without an offset from UTC")
    elif end < start:
        wrong.append("eventEnd before eventStart")
    count = row.get("count", "")
    if count and not (count.isdigit() and int(count) >= 1):
        wrong.append("count that is no whole number above 0")
    if row.get("individualID", "") and count not in ("", "1"):
        wrong.append("individualID of more than one animal")
    return wrong


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _twice(ids: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [one for one in ids if one in seen or seen.add(one)]  # type: ignore[func-returns-value]
