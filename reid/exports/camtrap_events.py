"""Individuals in the event rows of a Camtrap DP, so that counts still sum."""

from collections.abc import Mapping, Sequence, Sized

from reid.exports.camtrap_package import Row
from reid.exports.camtrap_words import utc_of, with_tags
from reid.exports.sheets import number_of

# Event and species → individuals met there, each with tags for its row, or None.
Members = dict[tuple[str, str], dict[str, Mapping[str, str | None] | None]]

MOST = 10**6  # animals of one event; what says more is no count


def event_of(media: Sequence[Row], rows: list[Row]) -> str | None:
    """The event of a picture: by the first eventID of its rows; only where they have none, by time.

    Args:
        media: its observations, and last its row of the media table.
        rows: all observations.
    """
    for one in media:
        if one.get("eventID"):
            return one["eventID"]
    moment = utc_of(media[-1]["timestamp"])
    for one in rows:
        if one["observationLevel"] == "event" and one["deploymentID"] == media[-1]["deploymentID"]:
            start, end = utc_of(one["eventStart"]), utc_of(one["eventEnd"])
            if moment and start and end and start <= moment <= end:
                return one["eventID"] or None
    return None


def animal_event(rows: list[Row], event: str, species: str) -> Row | None:
    """The row of level event of an animal: the only one of its event, else of its species there."""
    found = [
        row
        for row in rows
        if row["eventID"] == event
        and row["observationLevel"] == "event"
        and row["observationType"] == "animal"
    ]
    if len(found) > 1:
        found = [row for row in found if row["scientificName"] == species]
    return found[0] if len(found) == 1 else None


def split_events(
    rows: list[Row], seen: Members, former: dict[str, set[str]]
) -> tuple[list[Row], int, list[str]]:
    """Event rows of count n with k individuals: k rows of one, and one of n − k.

    Args:
        rows: all observations; those that are named change.
        seen: who was met in each event.
        former: individual → names that it had; grows.

    Returns:
        the rows with those that are new behind their first, how many rows became several, and notes.
    """
    events: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row["observationLevel"] == "event" and row["observationType"] == "animal":
            events.setdefault((row["eventID"], row["scientificName"]), []).append(row)
    taken_ids = {row["observationID"] for row in rows}
    behind: dict[int, list[Row]] = {}
    more, several = [], 0
    for key, members in seen.items():
        found = events.get(key, [])
        if len(found) > 1:  # they differ in age or sex, and which is whose is not known
            several += 1
        elif found:
            if len(members) > _count(found[0], members):
                more.append(key[0])
            behind[id(found[0])] = _split(found[0], members, former, taken_ids)
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
    split = sum(map(bool, behind.values()))
    return [one for row in rows for one in (row, *behind.get(id(row), ()))], split, notes


def unused_id(base: str, taken_ids: set[str]) -> str:
    """An id that no row has, and that is taken now."""
    number = 1
    while (identity := f"{base}_reid_{number}") in taken_ids:
        number += 1
    taken_ids.add(identity)
    return identity


def _count(row: Row, members: Sized) -> int:
    """Animals of an event by its row; as many as were told apart where it does not say."""
    count = number_of(row["count"] or str(len(members)))
    return int(count) if abs(count) < MOST else len(members)


def _split(
    row: Row,
    members: Mapping[str, Mapping[str, str | None] | None],
    former: dict[str, set[str]],
    taken_ids: set[str],
) -> list[Row]:
    """Name the row for the first of them; rows for the others, and for those whom nobody named."""
    rest = _count(row, members) - len(members)
    template = dict(row)
    first, *others = members
    forget(row, former, first)
    named = {first: row} | {
        who: template | {"observationID": unused_id(template["observationID"], taken_ids)}
        for who in others
    }
    for who, one in named.items():
        one["individualID"], one["count"] = who, "1"
        one["observationTags"] = with_tags(one["observationTags"], members[who] or {})
    if rest > 0:
        unnamed = unused_id(template["observationID"], taken_ids)
        named[""] = template | {"observationID": unnamed, "individualID": "", "count": str(rest)}
    return list(named.values())[1:]


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
