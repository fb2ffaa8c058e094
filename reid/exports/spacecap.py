"""Capture histories for SPACECAP: whole numbers without gaps, and what they stand for."""

from reid.exports.histories import Histories
from reid.exports.history_files import common_files, file_of, number, with_coordinates
from reid.exports.sheets import program_sheet


def spacecap_files(histories: Histories) -> dict[str, str]:
    """animals.csv (`LOC_ID, ANIMAL_ID, SO`), traps.csv (`LOC_ID, X_COORD, Y_COORD`, 1 … K), numbers.csv.

    Args:
        histories: with deployments and coordinates.

    Returns:
        name → text.
    """
    with_coordinates(histories, "spacecap")
    files: dict[str, str] = {}
    for session in histories.sessions:
        captures = [
            (place + 1, who + 1, occasion + 1)
            for who, occasion, place, _ in session.captures.itertuples(index=False)
        ]
        assert session.usage is not None
        traps = [
            (row + 1, number(x), number(y), *(int(one > 0) for one in days))
            for row, (x, y, days) in enumerate(
                zip(session.detectors["x"], session.detectors["y"], session.usage, strict=True)
            )
        ]
        meaning = [("animal", row + 1, who) for row, who in enumerate(session.identities)]
        meaning += [
            ("location", row + 1, place)
            for row, place in enumerate(session.detectors["location_id"])
        ]
        occasions = map(str, range(1, session.calendar.count + 1))
        named = {
            "animals": program_sheet(("LOC_ID", "ANIMAL_ID", "SO"), captures),
            "traps": program_sheet(("LOC_ID", "X_COORD", "Y_COORD", *occasions), traps),
            "numbers": program_sheet(("what", "number", "name"), meaning),
        }
        files |= {file_of(session, histories, name, "csv"): text for name, text in named.items()}
    how = """\
In SPACECAP: animals.csv is the Animal Capture Details File, traps.csv the Trap Deployment Details File;
numbers.csv says who and where each number is. The State-space Details File, the grid of possible centres
of activity around the traps, is yours to make: only you know which ground is habitat.
"""
    return {**files, **common_files(histories, how)}
