"""What lies beside every capture history: who is who, where, what was left out, and how to read it."""

from collections.abc import Iterable, Mapping, Sequence

import pandas as pd

from reid.errors import InputError
from reid.exports.flanks import row_sides
from reid.exports.histories import Histories, Session
from reid.exports.sheets import frame_rows, people_sheet

README = "README.txt"


def common_files(histories: Histories, how: str) -> dict[str, str]:
    """detectors.csv, individuals.csv, left_out.csv and README.txt.

    Args:
        histories: of `make_histories`.
        how: how the program's own files are read, for README.txt.

    Returns:
        name → text.
    """
    return {
        "detectors.csv": people_sheet(*_table(detectors(histories))),
        "individuals.csv": _individuals(histories),
        "left_out.csv": people_sheet(*_table(histories.left_out)),
        README: _readme(histories, how),
    }


def detectors(histories: Histories) -> pd.DataFrame:
    """The names that the files use, with the places that they stand for, and days in use."""
    first = histories.sessions[0]
    table = first.detectors
    if first.usage is not None:
        table = table.assign(days_in_use=[f"{days:g}" for days in first.usage.sum(axis=1)])
    if "x" not in table:
        return table
    return table.round({"x": 3, "y": 3}).assign(zone=histories.zone)


def with_coordinates(histories: Histories, program: str) -> None:
    """Refuse histories without places or effort, for a program that cannot do without.

    Raises:
        InputError: there were no deployments, or they have no coordinates.
    """
    first = histories.sessions[0]
    if first.usage is None:
        raise InputError(
            f"--format {program} needs to know when and where cameras stood: give --deployments a table"
        )
    if "x" not in first.detectors:
        raise InputError(
            f"--format {program} needs coordinates: add columns lat, lon (degrees) or x, y (metres) to the "
            "deployments"
        )


def file_of(session: Session, histories: Histories, stem: str, ending: str) -> str:
    """`stem.ending`, with the session's name in it where there are two."""
    if len(histories.sessions) == 1:
        return f"{stem}.{ending}"
    return f"{stem}_{session.name}.{ending}"


def sexes_of(histories: Histories, session: Session) -> list[str] | None:
    """Sex of each individual; None unless all are known."""
    found = [histories.sexes.get(identity, "") for identity in session.identities]
    return found if all(found) else None


def number(value: float) -> str:
    """A coordinate or an effort, to a millimetre or a tenth of a second, without idle zeros."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _individuals(histories: Histories) -> str:
    lines = []
    for session in histories.sessions:
        rows = session.rows.assign(side=row_sides(session.rows))
        for who, group in rows.groupby("individual"):
            side = group["side"]
            lines.append(
                (
                    session.name,
                    session.individuals[int(str(who))],
                    session.identities[int(str(who))],
                    " / ".join(sorted(set(group["identity"].dropna()))),
                    histories.sexes.get(session.identities[int(str(who))], ""),
                    len(group),
                    int(session.history[int(str(who))].sum()),
                    group["detector"].nunique(),
                    group["clock"].min(),
                    group["clock"].max(),
                    "+".join(
                        name for name, one in (("left", -1), ("right", 1)) if (side == one).any()
                    ),
                )
            )
    header = (
        "session", "individual", "identity_id", "name", "sex", "images", "occasions", "detectors", "first",
        "last", "sides",
    )  # fmt: skip
    return people_sheet(header, lines)


def _table(frame: pd.DataFrame) -> tuple[list[str], Iterable[Sequence[object]]]:
    return [str(name) for name in frame.columns], frame_rows(frame)


def _readme(histories: Histories, how: str) -> str:
    first = histories.sessions[0]
    calendar = first.calendar
    facts: Mapping[str, object] = {
        "species": histories.species,
        "sessions": ", ".join(
            f"{one.name} ({len(one.individuals)} individuals, {len(one.captures)} detections)"
            for one in histories.sessions
        ),
        "occasions": f"{calendar.count} of {calendar.days:g} days from {calendar.day1:%Y-%m-%d %H:%M} "
        "by the cameras' clocks",
        "detectors": len(first.detectors),
        "coordinates": histories.zone or "none",
        "left out": f"{len(histories.left_out)} images, each with its reason in left_out.csv",
    }
    lines = [f"{name}: {value}" for name, value in facts.items()]
    lines += [f"note: {note}" for note in histories.notes]
    lines += [
        "",
        "detectors.csv says which place each detector is, individuals.csv who each individual is.",
        "",
        how.rstrip(),
    ]
    return "\n".join(lines) + "\n"
