"""What happened in a catalogue, in words for people who know animals rather than tables."""

from collections.abc import Mapping
from typing import Any

from reid.catalogue import called


def in_words(
    event: Mapping[str, Any], pictures: Mapping[str, str], names: Mapping[str, str] | None = None
) -> str:
    """One sentence for an event.

    Args:
        event: a row of schema.CHANGES or schema.EVENTS.
        pictures: annotation_id → what to call its picture; ids that are not in it stay ids.
        names: identity_id → what people call the individual.
    """
    who, rows = called(event["identity_id"], names), images(event["rows"])
    others = ", ".join(called(other, names) for other in event["other_ids"] or [])
    why = _why(event, pictures)
    sentences = {
        "new": f"{who} is new, with {rows}",
        "extend": f"{who} has {rows} more{why}",
        "merge": f"{others} merged into {who}, with {rows}{why}",
        "split": f"{who} split from {others}, with {rows}{why}",
        "confirm": f"{who} {'is not ' + others if others else 'stays as it is'}{why}",
    }
    about = f"{event['species']}: " if event["species"] else ""
    return sentences.get(event["event"], f"{about}{event['reason']}")


def images(count: int) -> str:
    """`1 image`, `1,200 images`."""
    return "1 image" if count == 1 else f"{count:,} images"


def _why(event: Mapping[str, Any], pictures: Mapping[str, str]) -> str:
    a, b = event["a_id"], event["b_id"]
    if a is None or b is None:
        return ""
    sign = (
        "≁"
        if event["event"] == "split" or (event["other_ids"] and event["event"] == "confirm")
        else "~"
    )
    pair = f": {pictures.get(a, a)} {sign} {pictures.get(b, b)}"
    reason = event["reason"] or ""
    if reason.startswith("distance"):  # said by the number
        reason = ""
    distance = "" if event["distance"] is None else f" at {event['distance']:.3f}"
    return f"{pair}{distance}{' (' + reason + ')' if reason else ''}"
