"""Why a picture is with its individual, in words for people."""

from collections.abc import Callable, Mapping
from typing import Any

from reid.identify.remarks import Remark


def reasons(
    row: Mapping[str, Any],
    nearest: Mapping[str, Any] | None,
    said: Mapping[str, Remark],
    called: Callable[[str], str],
    *,
    alone: bool = False,
) -> list[str]:
    """Sentences, the strongest reason first.

    Args:
        row: of `reid.exports.sightings.sightings`, None where nothing is known.
        nearest: the row of its nearest picture, where it is known.
        said: kind → what people said of this picture.
        called: identity_id → what to call the individual.
        alone: it is the only picture of its individual.
    """
    found = []
    if "unusable" in said:
        one = said["unusable"]
        found.append(
            f"Marked as unusable by {one.reviewer}, {one.timestamp:%Y-%m-%d}: it links nobody and counts for nobody"
        )
    if row["confirmed_by"]:
        found.append(f"Confirmed by {row['confirmed_by']}, {row['confirmed_at']:%Y-%m-%d}")
    if row["identity"]:
        found.append(f"Labelled {row['identity']} when it came")
    if "viewpoint" in said:
        one = said["viewpoint"]
        found.append(f"Its side was set by {one.reviewer}, {one.timestamp:%Y-%m-%d}")
    by_people = bool(row["confirmed_by"] or row["identity"])
    if by_people and row["decision"] != "known":
        return found
    found.append(_by_looks(row, nearest, called, alone))
    if row["confidence"] is not None and not by_people:
        found[-1] += f", {_percent(row['confidence'])} sure"
    return found


def _by_looks(
    row: Mapping[str, Any],
    nearest: Mapping[str, Any] | None,
    called: Callable[[str], str],
    alone: bool,
) -> str:
    distance = (
        "" if row["nearest_distance"] is None else f" (distance {row['nearest_distance']:.3f})"
    )
    # With its folder: cameras count from IMG_0001 each.
    near = "" if nearest is None else f"{'/'.join(nearest['image_path'].split('/')[-2:])}{distance}"
    same = nearest is not None and nearest["identity_id"] == row["identity_id"]
    whose = "" if nearest is None or same else f", of {called(nearest['identity_id'])}"
    if row["decision"] == "unsure":
        return f"Near {near}{whose}, yet not near enough to be one" if near else "Nobody is sure"
    if row["decision"] == "new":
        first = "Unlike all others" if alone else "One of the first pictures of this individual"
        return (
            f"{first}; of others {near}{whose}, was the nearest"
            if near
            else f"{first}; nobody else was near"
        )
    if same:
        return f"Looks like {near}"
    if near:
        return f"Joined by way of others; its nearest picture is {near}{whose}"
    return "Of one encounter with others here, or put here by people"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %" if share > 0.99 else f"{100 * share:.0f} %"
