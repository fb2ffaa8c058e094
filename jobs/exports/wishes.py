"""What was asked for on the command line, read: dates, times, names, sexes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import time

import pandas as pd

from reid.errors import InputError
from reid.exports.sheets import find_column, read_sheet


@dataclass(frozen=True, slots=True)
class Survey:
    """How sightings become a capture history; the same for `reid export` and `reid population`.

    Attributes:
        species, unsure: as of `reid.exports.sightings.choose`.
        deployments, date_order: as of `reid.exports.deployments.read_stations`; None: there are none.
        occasion_days, start, end, day_starts, flank: as of `reid.exports.histories.make_histories`,
            dates and times as they were written.
        individuals: a table of individuals with their sex; None: there is none.
    """

    species: str | None = None
    unsure: str = "drop"
    deployments: str | None = None
    date_order: str | None = None
    occasion_days: float = 7
    start: str | None = None
    end: str | None = None
    day_starts: str = "00:00"
    flank: str | None = None
    individuals: str | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What `reid export` was asked for beside the survey.

    Attributes:
        format: one of exporting.FORMATS; None: by the ending of `out`, or both tables.
        out: file or folder; None: in the catalogue or the run's folder.
        raw: text in CSV that a spreadsheet takes for a formula stays as it is.
        excel: the plain table as CSV begins with the byte order mark that Excel wants for UTF-8.
        detector: proximity or count.
        scientific_name: `NAME=Genus species`.
        images: link or copy; None: links in folders and packages, no pictures for Wildbook.
        package: Camtrap DP that came in.
        timezone: of a new Camtrap DP.
        title, contributor: of a new Camtrap DP.
        keep: which picture stands for a cluster, of `reid.exports.representatives.KEEP`.
        confirmed: only images that a person has confirmed.
    """

    format: str | None = None
    out: str | None = None
    raw: bool = False
    excel: bool = False
    detector: str = "proximity"
    scientific_name: Sequence[str] = field(default_factory=tuple)
    images: str | None = None
    package: str | None = None
    timezone: str | None = None
    title: str | None = None
    contributor: str | None = None
    keep: str = "sharpest"
    confirmed: bool = False


def parse_clock(text: str, option: str) -> time:
    """A time of day such as 12:00.

    Raises:
        InputError: it is none.
    """
    try:
        clock = time.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} {text}: write a time of day like 12:00") from None
    return clock.replace(tzinfo=None)


def scientific_names(given: Sequence[str], species: Sequence[str]) -> dict[str, str]:
    """`NAME=Genus species`, or `Genus species` alone where there is one species.

    Raises:
        InputError: a name without `=` among several species, or of a species that is not here.
    """
    found = {}
    for one in given:
        name, sign, scientific = one.partition("=")
        if not sign:
            if len(species) != 1:
                raise InputError(
                    f"--scientific-name {one}: there are several species ({', '.join(species)}); say "
                    f"'NAME={one}'"
                )
            name, scientific = species[0], one
        if name.strip() not in species:
            raise InputError(
                f"--scientific-name {one}: there is no species {name.strip()!r}; known: {', '.join(species)}"
            )
        found[name.strip()] = " ".join(scientific.split())
    return found


def read_sexes(path: str | None, frame: pd.DataFrame) -> dict[str, str]:
    """identity_id → sex, from a table of individuals named by their id or as people call them.

    Raises:
        InputError: the table has no such columns, or names nobody who is here.
    """
    if path is None:
        return {}
    sheet = read_sheet(path, "--individuals")
    who = find_column(
        sheet, ("identity_id", "identity", "individualID", "individual", "name", "id")
    )
    sex = find_column(sheet, ("sex",))
    if who is None or sex is None:
        raise InputError(
            f"--individuals {path}: columns {', '.join(map(str, sheet.columns))}; needed are `identity_id` "
            "(or `name`) and `sex`"
        )
    ids = set(frame["identity_id"])
    labelled = frame[frame["identity"].notna()]
    called = dict(zip(labelled["identity"], labelled["identity_id"], strict=True))
    found = {}
    for name, value in zip(sheet[who], sheet[sex], strict=True):
        identity = name if name in ids else called.get(name)
        if identity is not None and value:
            found[identity] = value
    if not found:
        raise InputError(
            f"--individuals {path}: none of its {len(sheet):,} lines is an individual that is here"
        )
    return found
