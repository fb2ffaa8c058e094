"""`reid export` to the programs of capture–recapture."""

from collections.abc import Callable

from jobs.common.console import say
from jobs.common.days import parse_day
from jobs.exports.holdings import Holdings
from jobs.exports.wishes import Survey, parse_clock, read_sexes
from reid.exports.camtrapr import camtrapr_files
from reid.exports.deployments import Stations, read_stations
from reid.exports.flanks import TOGETHER
from reid.exports.histories import Histories, make_histories
from reid.exports.mark import mark_files
from reid.exports.matrix import matrix_files
from reid.exports.multimark import multimark_files
from reid.exports.oscr import oscr_files
from reid.exports.rmark import rmark_files
from reid.exports.secr import secr_files
from reid.exports.sightings import choose
from reid.exports.spacecap import spacecap_files

Files = dict[str, str]
PLAIN: dict[str, Callable[[Histories], Files]] = {
    "oscr": oscr_files,
    "mark": mark_files,
    "rmark": rmark_files,
    "spacecap": spacecap_files,
    "multimark": multimark_files,
    "matrix": matrix_files,
}
HISTORY_FORMATS = ("secr", "oscr", "mark", "rmark", "camtrapr", "spacecap", "multimark", "matrix")


def survey_histories(
    holdings: Holdings, survey: Survey, *, both_sides: bool = False
) -> tuple[Histories, Stations | None]:
    """The capture histories that were asked for.

    Args:
        holdings: what is known.
        survey: what was asked.
        both_sides: keep all sightings of both sides in one session, for a model that takes care of it.

    Raises:
        InputError: see `choose`, `read_stations` and `make_histories`.
    """
    stations = None
    if survey.deployments is not None:
        stations = read_stations(survey.deployments, date_order=survey.date_order)
    chosen = choose(holdings.frame, species=survey.species, unsure=survey.unsure)
    histories = make_histories(
        chosen,
        stations,
        occasion_days=survey.occasion_days,
        start=parse_day(survey.start, "--start"),
        end=parse_day(survey.end, "--end"),
        day_starts=parse_clock(survey.day_starts, "--day-starts"),
        flank=TOGETHER if both_sides and survey.flank is None else survey.flank,
        sexes=read_sexes(survey.individuals, holdings.frame),
    )
    return histories, stations


def history_files(holdings: Holdings, kind: str, survey: Survey, *, detector: str) -> Files:
    """The files of one program, and what was said about them.

    Args:
        holdings: what is known.
        kind: one of HISTORY_FORMATS.
        survey: what was asked.
        detector: proximity or count, for secr.

    Raises:
        InputError: what was asked cannot be made.
    """
    histories, stations = survey_histories(holdings, survey, both_sides=kind == "multimark")
    for note in histories.notes:
        say(f"note: {note}")
    if kind == "secr":
        files = secr_files(histories, detector=detector)
    elif kind == "camtrapr":
        files = camtrapr_files(histories, stations)
    else:
        files = PLAIN[kind](histories)
    for session in histories.sessions:
        say(
            f"export: {session.name}: {len(session.individuals):,} individuals, {len(session.captures):,} "
            f"detections on {session.calendar.count} occasions of {session.calendar.days:g} days at "
            f"{len(session.detectors):,} detectors"
        )
    tell_left_out(histories)
    return files


def tell_left_out(histories: Histories) -> None:
    """Say how many images do not count, and why."""
    for reason, number in histories.left_out["reason"].value_counts().items():
        say(f"left out: {number:,} images: {reason}")
