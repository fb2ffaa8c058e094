"""What the cells of Camtrap DP's tables say."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from reid.sources.built_rows import number_of

Row = Mapping[str, str]


def event_of(row: Row) -> str:
    """The event of a row; "" where it has none."""
    return row.get("eventID", row.get("sequenceID", ""))


def count_of(row: Row) -> float:
    """How many animals an observation is of; 1 where it does not say."""
    return number_of(row.get("count")) or 1


def animals_of(rows: Sequence[Row]) -> list[Row]:
    """The animals that were seen, in the best opinion on them."""
    return _best_opinion([row for row in rows if row.get("observationType") == "animal"])


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


def viewpoint_of(row: Row) -> str | None:
    """Of tags such as `viewpoint:left | swimDirection:across`."""
    for part in row.get("observationTags", row.get("tags", "")).replace(",", "|").split("|"):
        name, colon, value = part.partition(":")
        if colon and name.strip().lower() == "viewpoint":
            return value.strip() or None
    return None


def moment_of(text: str | None) -> datetime | None:
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
