"""Individuals in the event rows of a Camtrap DP, so that counts still sum."""

from collections.abc import Mapping

from reid.exports.camtrap_package import Row
from reid.exports.camtrap_words import utc_of

MOST = 10**6  # animals of one event; what says more is no count


def number_of(text: str) -> float:
    """A number, also one that R has written as `1.0`; NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def event_of(row: Row, own: list[Row], media: Row, rows: list[Row]) -> str | None:
    """By eventID of the media's rows; only where they have none, by the time in the deployment."""
    for one in (row, *own):
        if one["eventID"]:
            return one["eventID"]
    moment = utc_of(media["timestamp"])
    for one in rows:
        if one["observationLevel"] == "event" and one["deploymentID"] == media["deploymentID"]:
            start, end = utc_of(one["eventStart"]), utc_of(one["eventEnd"])
            if moment and start and end and start <= moment <= end:
                return one["eventID"] or None
    return None


def split_events(
    rows: list[Row], seen: Mapping[tuple[str, str], list[str]], former: dict[str, set[str]]
) -> tuple[list[Row], int, list[str]]:
    """Event rows of count n with k individuals: k rows of one, and one of n − k."""
    events: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["observationLevel"] == "event" and row["observationType"] == "animal":
            events.setdefault((row["eventID"], row["scientificName"]), []).append(row)
    taken_ids = {row["observationID"] for row in rows}
    behind: dict[int, list[Row]] = {}
    more, several, split = [], 0, 0
    for key, members in seen.items():
        found = events.get(key, [])
        if not found:
            continue
        if len(found) > 1:
            several += (
                1  # two rows of one species differ in age or sex: which is whose is not known
            )
            continue
        (row,) = found
        count = number_of(row["count"] or str(len(members)))
        total = int(count) if abs(count) < MOST else len(members)
        if len(members) > total:
            more.append(row["eventID"])
        rest = total - len(members)
        template = dict(row)
        forget(row, former, members[0])
        row["individualID"], row["count"] = members[0], "1"
        extra = []
        for who in [*members[1:], *([None] if rest > 0 else [])]:
            number = 1
            while (identity := f"{template['observationID']}_reid_{number}") in taken_ids:
                number += 1
            taken_ids.add(identity)
            one = template | {"observationID": identity, "individualID": who or ""}
            one["count"] = "1" if who else str(rest)
            extra.append(one)
        split += bool(extra)
        behind[id(row)] = extra
    notes = []
    if more:
        notes.append(
            f"{len(more)} events hold more individuals than animals were counted ({', '.join(more[:3])})"
        )
    if several:
        notes.append(
            f"{several} events have several rows of one species; they stay as they are, as nobody says which "
            "animal is which"
        )
    return [one for row in rows for one in (row, *behind.get(id(row), ()))], split, notes


def forget(row: Row, former: dict[str, set[str]], who: str | None) -> None:
    """Take another name off a row, and remember whose it was; for nobody, as a tag."""
    old = row["individualID"]
    if old and old != who:
        if who is not None:
            former.setdefault(who, set()).add(old)
        else:
            keep_as_tag(row)
        row["individualID"] = ""


def keep_as_tag(row: Row) -> None:
    """Remember a row's individualID among its tags."""
    tag = f"formerIndividualID:{row['individualID']}"
    row["observationTags"] = " | ".join(filter(None, (row["observationTags"], tag)))
