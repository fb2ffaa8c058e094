"""Columns by the names that people and tools give them: letters' case, blanks and `_` do not matter."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from reid.errors import InputError

# Our name → other names for the same, in tiers: a column of an earlier tier is taken and those of
# later ones are not read; two of one tier are an error, unless they say the same.
NAMES: dict[str, tuple[tuple[str, ...], ...]] = {
    "image_path": (
        ("imagepath",),
        ("path", "filepath", "imagefile", "imagefilepath", "sourcefile", "fullpath"),
        ("filename", "file", "imagename", "image", "photo", "img"),
    ),
    "annotation_id": (("annotationid",),),
    "image_id": (("imageid",), ("mediaid",)),
    "species": (("species",), ("scientificname", "speciesname"), ("prediction",)),
    "identity": (
        ("identity",),
        (
            "individualid", "individual", "individualname", "animalid", "animal", "animalname", "name",
            "markedindividualindividualid",
        ),
    ),
    "encounter_id": (
        ("encounterid",),
        (
            "encounter", "eventid", "event", "sequenceid", "sequence", "seqid", "seqnum", "burstid",
            "burst", "sightingid", "sighting",
        ),
    ),
    "viewpoint": (("viewpoint",), ("orientation", "side", "flank", "view")),
    "timestamp": (
        ("timestamp",),
        ("datetimeoriginal", "datetime", "datetaken", "exifdatetimeoriginal", "captured", "capturedat"),
        ("date",),
    ),
    "utc_offset_minutes": (("utcoffsetminutes",), ("offsettimeoriginal",)),
    "location_id": (
        ("locationid",),
        ("location", "locationname", "station", "stationid", "site", "siteid", "placename"),
        ("deploymentid", "deployment"),
    ),
    "split": (("split",),),
    "bbox": (("bbox",), ("box", "boundingbox")),
    "bbox_unit": (("bboxunit",),),
    "dataset": (("dataset",),),
}  # fmt: skip
# Columns that give one field together.
FILES_IN_FOLDERS = (
    ("relativepath", "file"),
    ("relativepath", "filename"),
    ("directory", "filename"),
)
BOXES = (  # x, y, width, height
    ("bboxx", "bboxy", "bboxw", "bboxh"), ("bboxx", "bboxy", "bboxwidth", "bboxheight"),
    ("bbox1", "bbox2", "bbox3", "bbox4"), ("bboxleft", "bboxtop", "bboxwidth", "bboxheight"),
    ("boxx", "boxy", "boxw", "boxh"), ("x", "y", "w", "h"), ("x", "y", "width", "height"),
)  # fmt: skip
CORNERS = (  # left, top, right, bottom
    ("bboxleft", "bboxtop", "bboxright", "bboxbottom"), ("bboxxmin", "bboxymin", "bboxxmax", "bboxymax"),
    ("bboxx1", "bboxy1", "bboxx2", "bboxy2"), ("xmin", "ymin", "xmax", "ymax"),
    ("left", "top", "right", "bottom"), ("x1", "y1", "x2", "y2"),
)  # fmt: skip
PATH_KEYS = frozenset(name for tier in NAMES["image_path"] for name in tier) | {"relativepath"}

FIELDS = tuple(name for name in NAMES if name not in ("dataset",))


@dataclass
class Matched:
    """Which column is read as what.

    Attributes:
        fields: our name → numbers of the columns that give it: one; or folder and file of
            `image_path`, date and time of `timestamp`, four of `bbox`.
        corners: the four columns of `bbox` are left, top, right, bottom.
        unused: names of columns that are not read.
    """

    fields: dict[str, tuple[int, ...]] = field(default_factory=dict)
    corners: bool = False
    unused: list[str] = field(default_factory=list)


def column_key(name: str) -> str:
    """A column's name without what does not matter."""
    return re.sub(r"[\s_.\-/]+", "", name).lower()


def match_columns(
    header: Sequence[str],
    *,
    mapping: Mapping[str, str],
    agree: Callable[[Sequence[int]], int | None],
) -> Matched:
    """Say what each column is.

    Args:
        header: names as in the file.
        mapping: our name → a column of the file, where the user says so; columns that the file
            lacks are passed over.
        agree: of several columns that mean one thing the number of the one to read, where no two of
            them say different things; None where they do.

    Raises:
        InputError: two columns mean the same thing and differ. The message has no file name.
    """
    keys = [column_key(name) for name in header]
    _refuse_twins(header, keys)
    found = Matched(_as_mapped(mapping, header, keys))
    taken = {at for places in found.fields.values() for at in places}
    free = {key: at for at, key in enumerate(keys) if at not in taken and key}
    for name, tiers in NAMES.items():
        if name not in found.fields:
            places = _places_of(name, tiers, free, header, agree)
            if places:
                found.fields[name] = places
    _join_date_and_time(found, keys, free)
    _join_sides_of_box(found, free)
    used = {at for places in found.fields.values() for at in places}
    found.unused = [name or "(no name)" for at, name in enumerate(header) if at not in used]
    return found


def _refuse_twins(header: Sequence[str], keys: Sequence[str]) -> None:
    """Refuse two columns of one name, capitals and blanks aside, where the name means something."""
    known = {key for tiers in NAMES.values() for tier in tiers for key in tier}
    for at, key in enumerate(keys):
        if key in known and key in keys[:at]:
            raise InputError(
                f"two columns are called {header[keys.index(key)]!r} and {header[at]!r}; rename or remove "
                "one"
            )


def _as_mapped(
    mapping: Mapping[str, str], header: Sequence[str], keys: Sequence[str]
) -> dict[str, tuple[int, ...]]:
    """The columns that the user names: as spelled, or else by their key."""
    found: dict[str, tuple[int, ...]] = {}
    for name, column in mapping.items():
        if column in header:
            found[name] = (header.index(column),)
        elif column_key(column) in keys:
            found[name] = (keys.index(column_key(column)),)
    return found


def _join_date_and_time(found: Matched, keys: Sequence[str], free: Mapping[str, int]) -> None:
    """A column of dates alone gets its time of day from a column `time`."""
    date = found.fields.get("timestamp")
    if date and keys[date[0]] == "date" and "time" in free:
        found.fields["timestamp"] = (date[0], free["time"])


def _join_sides_of_box(found: Matched, free: Mapping[str, int]) -> None:
    """Four columns give a box where no single one does; width and height before corners."""
    if "bbox" in found.fields:
        return
    box, corners = _together(BOXES, free), _together(CORNERS, free)
    if box or corners:
        found.fields["bbox"] = box or corners
        found.corners = not box


def _places_of(
    name: str,
    tiers: Sequence[Sequence[str]],
    free: Mapping[str, int],
    header: Sequence[str],
    agree: Callable[[Sequence[int]], int | None],
) -> tuple[int, ...]:
    """Numbers of the columns that give a field: of the first tier that has some; none where none has."""
    for number, tier in enumerate(tiers):
        if name == "image_path" and number == 2:
            pair = _together(FILES_IN_FOLDERS, free)
            if pair:
                return pair
        here = [free[key] for key in tier if key in free]
        if not here:
            continue
        chosen = here[0] if len(here) == 1 else agree(here)
        if chosen is None:
            names = " and ".join(repr(header[at]) for at in here)
            raise InputError(
                f"columns {names} both mean {name}, and say different things; say which one to read: "
                f"--column {name}={header[here[0]]}"
            )
        return (chosen,)
    return ()


def check_mapping(mapping: Mapping[str, str]) -> None:
    """Refuse fields that there are not.

    Raises:
        InputError: with those that there are.
    """
    for name in mapping:
        if name not in FIELDS:
            close = difflib.get_close_matches(name, FIELDS, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise InputError(
                f"--column {name}={mapping[name]}: there is no field {name}; {hint}known: {', '.join(FIELDS)}"
            )


def in_words(header: Sequence[str], found: Matched) -> str:
    """What is read as what, and what is not read, with the columns' names as in the file."""
    read = []
    for name, places in found.fields.items():
        columns = " + ".join(header[at] for at in places)
        read.append(columns if columns == name else f"{columns} as {name}")
    unused = ", ".join(found.unused) or "none"
    return f"columns read: {', '.join(read)}; columns not used: {unused}"


def _together(sets: Sequence[tuple[str, ...]], free: Mapping[str, int]) -> tuple[int, ...]:
    """Numbers of the first set of columns that are all there; none where no set is."""
    for names in sets:
        if all(name in free for name in names):
            return tuple(free[name] for name in names)
    return ()
