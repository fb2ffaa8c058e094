"""Times that file names tell, by a format that the user knows."""

import re
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from reid.errors import InputError
from reid.sources.stacked import Stacked

# strptime's directives, as a pattern each.
DIRECTIVES = {
    "%Y": r"\d{4}", "%y": r"\d{2}", "%m": r"\d{2}", "%d": r"\d{2}", "%H": r"\d{2}", "%I": r"\d{2}",
    "%M": r"\d{2}", "%S": r"\d{2}", "%f": r"\d{1,6}", "%j": r"\d{3}", "%p": r"[AaPp][Mm]", "%%": "%",
}  # fmt: skip
_DAY = ({"%Y", "%m", "%d"}, {"%y", "%m", "%d"}, {"%Y", "%j"}, {"%y", "%j"})


def name_pattern(time_format: str) -> re.Pattern[str]:
    """What finds such a time in a name; digits that go on before or behind it are another number's.

    Raises:
        InputError: an unknown directive, or no whole date.
    """
    found = re.findall(r"%.?", time_format)
    unknown = [one for one in found if one not in DIRECTIVES]
    if unknown or not any(day <= {*found} for day in _DAY):
        why = f"{unknown[0]} is not known" if unknown else "it has no year, month and day"
        raise InputError(
            f"sources.time_format={time_format}: {why}; for IMG_20260531_140509.jpg write %Y%m%d_%H%M%S "
            f"(known: {' '.join(DIRECTIVES)})"
        )
    parts = re.split(r"(%.)", time_format)
    text = "".join(DIRECTIVES.get(part, re.escape(part)) for part in parts)
    return re.compile(rf"(?<!\d){text}(?!\d)")


def time_in(name: str, pattern: re.Pattern[str], time_format: str) -> datetime | None:
    """The first time in a file's name that is one; None: there is none."""
    for match in pattern.finditer(name):
        try:
            return datetime.strptime(match[0], time_format)
        except ValueError:
            continue
    return None


def fill_times_from_names(stacked: Stacked, time_format: str, notes: list[str]) -> None:
    """Give rows without a time the one in their file's name, and say how many have none.

    Raises:
        InputError: the format is none, or no name has such a time.
    """
    pattern = name_pattern(time_format)
    before = stacked.column("timestamp")
    paths = stacked.column("image_path")
    names = [path.rpartition("/")[2] for path in paths.to_pylist()]
    told = {name: time_in(name, pattern, time_format) for name in dict.fromkeys(names)}
    found = pa.array([told[name] for name in names], pa.timestamp("us")).cast(before.type)
    if found.null_count == len(found) and before.null_count:
        raise InputError(
            f"sources.time_format={time_format}: no file name has such a time, for example {names[0]}"
        )
    stacked.set("timestamp", pc.coalesce(before, found))
    filled = before.null_count - stacked.column("timestamp").null_count
    notes.append(f"{filled:,} images have their time from the file's name ({time_format})")
    without = [name for name, own in told.items() if own is None]
    if without:
        notes.append(
            f"{len(without):,} file names have no time {time_format}, for example {without[0]}"
        )
