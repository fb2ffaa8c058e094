"""`reid population`: a number with an interval, and what it rests on."""

from dataclasses import asdict, dataclass, replace
from typing import Any

from rich.table import Table

from jobs.common.console import PlainConsole, print_result, say
from jobs.exports.history_exports import survey_histories, tell_left_out
from jobs.exports.holdings import Holdings, doubt, read_holdings
from jobs.exports.wishes import Survey
from reid import store
from reid.errors import InputError
from reid.exports.flanks import mixed
from reid.exports.histories import Histories
from reid.exports.history_files import common_files
from reid.exports.matrix import matrix_files
from reid.exports.sightings import choose, single_doubts
from reid.population import LABELS, Population, estimate_population
from reid.report.population_page import PopulationPage, render_population

PAGE, NUMBERS = "population.html", "population.json"


@dataclass(frozen=True, slots=True)
class _Answer:
    histories: Histories
    decided: Population
    joined: Population | None
    joined_refused: str


def population(catalogue: str | None, results: str | None, out: str | None, survey: Survey) -> None:
    """Estimate, and write the page, the numbers, and the history that they were made of.

    Raises:
        InputError: sides that would count one animal twice, or too few sightings.
    """
    holdings = read_holdings(catalogue, results)
    if survey.flank == "both-sessions":
        raise InputError(
            "--flank both-sessions: an estimate is of one flank; say left, right or best. Both sides go into "
            "one model in secr: reid export --format secr --flank both-sessions"
        )
    answer = _answer(holdings, survey)
    histories, decided = answer.histories, answer.decided
    (session,) = histories.sessions
    calendar, counted = session.calendar, decided.counted
    facts: dict[str, int | float | str] = {
        "species": histories.species,
        "flank": histories.side or "none chosen",
        "period": f"{calendar.day1:%Y-%m-%d %H:%M} to {calendar.end:%Y-%m-%d %H:%M}, cameras' clocks",
        "occasions": f"{calendar.count} of {calendar.days:g} day{'' if calendar.days == 1 else 's'}",
        "detectors": len(session.detectors),
        "individuals seen (M)": counted.individuals,
        "sightings (individuals × occasions, n)": counted.sightings,
        "seen once": f"{counted.once} ({counted.once / counted.individuals:.0%})",
        "completeness (1 − f1/n)": f"{counted.completeness:.1%}",
        "individuals known from both sides": histories.joined,
        "images left out": len(histories.left_out),
        "source": holdings.described,
    }
    left_out = {
        str(reason): int(number)
        for reason, number in histories.left_out["reason"].value_counts().items()
    }
    title = histories.species + (f", seen from the {histories.side}" if histories.side else "")
    doubts = doubt(holdings, [histories.species])
    decided = replace(decided, warnings=[*doubts, *decided.warnings])
    page = PopulationPage(
        title, facts, decided, answer.joined, histories.notes, left_out, answer.joined_refused
    )
    place = out or store.join(holdings.place, "population")
    files = matrix_files(histories)
    files |= common_files(histories, "matrix.csv is the history behind population.json.")
    for name in sorted(files):
        store.write_text(store.join(place, name), files[name])
    store.write_json(store.join(place, NUMBERS), _numbers(page))
    store.write_bytes(store.join(place, PAGE), render_population(page))
    _tell(page, histories, holdings)
    print_result(store.join(place, PAGE))


def _answer(holdings: Holdings, survey: Survey) -> _Answer:
    """The estimate as decided, and with doubts joined where there are any."""
    if survey.flank is None:
        rows = choose(holdings.frame, species=survey.species, unsure="drop-singles").rows
        if mixed(rows):
            raise InputError(
                "some individuals are known from the left alone and others from the right alone; counted "
                "together, one animal that passed both ways is two (on one-sided data that doubled the "
                "estimate, 35 to 70). Say --flank left, right or best"
            )
    histories, _ = survey_histories(holdings, replace(survey, unsure="drop-singles"))
    decided = estimate_population(histories.sessions[0].history)
    of_species = holdings.frame[holdings.frame["species"] == histories.species]
    if not single_doubts(of_species.reset_index(drop=True)).any():
        return _Answer(histories, decided, None, "")
    try:
        # The same side, also where the other has more individuals now.
        asked = replace(survey, unsure="join-singles", flank=histories.side or survey.flank)
        other, _ = survey_histories(holdings, asked)
        joined = estimate_population(other.sessions[0].history)
    except InputError as error:
        return _Answer(histories, decided, None, str(error))
    return _Answer(histories, decided, joined, "")


def _numbers(page: PopulationPage) -> dict[str, Any]:
    """All of it, for other programs."""
    found: dict[str, Any] = {"facts": dict(page.facts), "left_out": dict(page.left_out)}
    for name, one in (("as_decided", page.decided), ("doubts_joined", page.joined)):
        if one is None:
            found[name] = None
            continue
        counted = one.counted
        found[name] = {
            "individuals": counted.individuals,
            "occasions": counted.occasions,
            "sightings": counted.sightings,
            "seen": counted.seen.tolist(),
            "first_seen": counted.first_seen.tolist(),
            "known": counted.known.tolist(),
            "times_seen": counted.times.tolist(),
            "completeness": counted.completeness,
            # JSON has no NaN.
            "estimates": [
                {key: value for key, value in asdict(estimate).items() if value == value}
                for estimate in one.estimates
            ],
            "warnings": one.warnings,
        }
    return found


def _tell(page: PopulationPage, histories: Histories, holdings: Holdings) -> None:
    for note in histories.notes:
        say(f"note: {note}")
    tell_left_out(histories)
    for warning in page.decided.warnings:
        say(f"warning: {warning}")
    if page.joined is None:
        say(
            f"note: no second number with doubts joined: {page.joined_refused}"
            if page.joined_refused
            else "note: no single sighting is unsure, so identification gives one number"
            if holdings.is_catalogue
            else "note: a run's folder knows no doubts; `reid identify` does, and then a second number says "
            "what they are worth"
        )
    table = Table("estimate", "animals", "s.e.", "95 % interval", title=page.title)
    for heading, one in (("", page.decided), (", doubts joined", page.joined)):
        for estimate in one.estimates if one is not None else ():
            table.add_row(
                LABELS[estimate.name] + heading,
                f"{estimate.abundance:.1f}",
                f"{estimate.standard_error:.1f}",
                f"{estimate.lower:.1f} – {estimate.upper:.1f}",
            )
    console = PlainConsole()
    for name, value in page.facts.items():
        console.print(f"{name}: {value}")
    console.print(table)
    console.print(
        "A closed population is assumed: nobody was born, died, came or went meanwhile. No density: the area "
        "is not known; reid export --format secr writes the files for that."
    )
