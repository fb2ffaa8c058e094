"""Which media, and which row, of a Camtrap DP a sighting is of."""

from collections.abc import Callable, Mapping
from typing import Any

from reid import store
from reid.exports.camtrap_package import CamtrapPackage, Row
from reid.exports.camtrap_words import BOX, Teller, relative_box
from reid.exports.sheets import number_of

NEAR = 1e-3  # two boxes this near in all four numbers are one

Box = tuple[float, ...] | None


def media_finder(package: CamtrapPackage) -> Callable[[Mapping[str, Any]], tuple[str | None, str]]:
    """Which media a sighting is of: by its id, else by its path, as far as that is one's alone."""
    ids = {row["mediaID"] for row in package.media}
    by_path: dict[str, set[str]] = {}
    for row in package.media:
        parts = [
            part for part in row["filePath"].replace("\\", "/").split("/") if part not in ("", ".")
        ]
        for start in range(len(parts)):
            by_path.setdefault("/".join(parts[start:]), set()).add(row["mediaID"])
        if row.get("fileName"):
            by_path.setdefault(row["fileName"], set()).add(row["mediaID"])

    def find(sighting: Mapping[str, Any]) -> tuple[str | None, str]:
        own = sighting.get("image_id")
        if isinstance(own, str) and own in ids:
            return own, ""
        parts = str(store.join(sighting["root"], sighting["image_path"])).split("/")
        # The longest tail of its path that the package has.
        for start in range(len(parts)):
            found = by_path.get("/".join(parts[start:]))
            if found is not None and len(found) == 1:
                return next(iter(found)), ""
            if found is not None:
                return None, f"{len(found)} media of the package are called so"
        return None, "is no media of the package"

    return find


def box_of(sighting: Mapping[str, Any], teller: Teller) -> tuple[Box, str]:
    """The box as shares of its picture; None where there is none; or why it cannot be told."""
    if sighting.get("bbox") is None:
        return None, ""
    path = store.join(sighting["root"], sighting["image_path"])
    box = relative_box(sighting["bbox"], sighting.get("bbox_unit"), teller.sizes.get(path))
    return box, "" if box else "has a box in pixels, and its picture cannot be opened"


def row_of(own: list[Row], box: Box, taken: set[int]) -> tuple[Row | None, str]:
    """The row that says that this animal is here, or why none can be told."""
    animals = [row for row in own if row["observationType"] == "animal" and id(row) not in taken]
    boxed = [row for row in animals if row["bboxX"]]
    plain = [row for row in animals if not row["bboxX"]]
    if box is not None:
        same = next((row for row in boxed if _is_at(row, box)), None)
        if same is not None:
            return same, ""
    elif len(animals) > 1 or (len(plain) == 1 and not _single(plain[0])):
        return None, "several animals are in the picture, and this one has no box"
    elif len(boxed) == 1:
        return boxed[0], ""
    if len(plain) == 1 and _single(plain[0]):
        return plain[0], ""
    return None, ""


def _is_at(row: Row, box: tuple[float, ...]) -> bool:
    return all(
        abs(number_of(row[name]) - value) <= NEAR for name, value in zip(BOX, box, strict=True)
    )


def _single(row: Row) -> bool:
    return number_of(row["count"] or "1") <= 1


def sighting_tags(sighting: Mapping[str, Any]) -> dict[str, str | None]:
    """How sure it is, from which side, and who confirmed it."""
    sure, viewpoint = sighting.get("confidence"), sighting.get("viewpoint")
    by = sighting.get("confirmed_by")
    return {
        "individualIDProbability": None if sure is None or sure != sure else f"{sure:.3f}",
        "individualIDDecision": sighting["decision"],
        "individualIDConfirmedBy": by if isinstance(by, str) else None,
        "viewpoint": viewpoint if isinstance(viewpoint, str) else None,
    }
