"""Commands of the catalogue of individuals."""

from typing import Annotated, Any

import typer

from jobs.cli.app import app
from jobs.cli.options import READING, Catalogue, Debug, RunOut, config_of, takes

PANEL = "A catalogue that grows"
Constraints = Annotated[
    list[str] | None,
    typer.Option(
        "--constraints",
        metavar="FILE",
        help="Reviewers' decisions, .csv: `a_id, b_id, decision (match, nomatch, unknown), reviewer, "
        "timestamp, note`. Kept in the catalogue. May be given several times.",
    ),
]


@app.command(rich_help_panel=PANEL)
@takes(
    "overrides", "input", "catalogue", "constraints", "out", "config", *READING, "model",
    "max_failures", "address", "metrics", "seed",
    constraints=Constraints, out=RunOut,
)  # fmt: skip
def identify(given: dict[str, Any]) -> None:
    """New images into a catalogue: known individual, new individual, or unsure.

    Run it every night on the same folder: what the catalogue has is left alone. A new catalogue
    learns its distances from labelled images (`reid calibrate`, or labels in the first upload), or
    takes `identify.known_distance=… identify.new_distance=…`. The run's id is printed.
    """
    settings = config_of(**given)
    from jobs.run import run_identify

    run_identify(settings)


@app.command(rich_help_panel=PANEL)
@takes(
    "overrides", "input", "catalogue", "out", "config", *READING, "model", "max_failures", "address",
    "seed",
    out=RunOut,
)  # fmt: skip
def calibrate(given: dict[str, Any]) -> None:
    """Learn a catalogue's distances from labelled images, and how far they can be trusted.

    The images do not come into the catalogue; without --input its own labelled ones are learned
    from. All that the catalogue holds follows the new rules at once, as a run that can be undone.
    This is also how to change rules, or the model: `identify.viewpoints=same-side`, `--model …`.
    """
    settings = config_of(**given)
    from jobs.run import run_calibrate

    run_calibrate(settings)


@app.command(rich_help_panel=PANEL)
@takes("overrides", "catalogue", "config")
def review(
    given: dict[str, Any],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE.html", help="The page.")
    ] = "review.html",
    species: Annotated[
        str | None,
        typer.Option("--species", metavar="NAME", help="Ask about this one. [default: all]"),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Pairs at most.")] = 200,
) -> None:
    """The pairs most worth a look, on a page for any browser: match, no match, unknown, by keys.

    It needs no server, and gives a constraints.csv back: `reid identify --constraints` keeps to it.
    `report.max_megabytes=…` bounds its size; `pairs=on` looks at each pair closely, and draws the points
    that both pictures share.
    """
    settings = config_of(**given)
    from jobs.run import run_review

    run_review(settings, out, species=species, limit=limit)


@app.command(rich_help_panel=PANEL)
def history(
    catalogue: Catalogue = None,
    run: Annotated[
        str | None, typer.Option("--run", metavar="RUN", help="All that this run did.")
    ] = None,
    identity: Annotated[
        str | None,
        typer.Option(
            "--identity",
            metavar="NAME",
            help="The history of one individual, by its id or the name that people gave it.",
        ),
    ] = None,
    last: Annotated[int, typer.Option("--last", min=1, help="Runs to show.")] = 20,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """What happened in a catalogue: who is new, who merged into whom, who split from whom, and why."""
    from jobs.catalogue.admin import show_history

    show_history(catalogue, run=run, identity=identity, most=last)


@app.command(rich_help_panel=PANEL)
def undo(
    run: Annotated[str, typer.Argument(metavar="RUN", help="As `reid history` names it.")],
    catalogue: Catalogue = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Take the latest run back: the catalogue as before it. Nothing is forgotten, names stay taken."""
    from jobs.catalogue.admin import undo_run

    undo_run(catalogue, run)


@app.command(rich_help_panel=PANEL)
def tidy(
    catalogue: Catalogue = None,
    keep_days: Annotated[
        int, typer.Option("--keep-days", min=1, help="Runs that are younger can still be undone.")
    ] = 30,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Fewer, larger files in a catalogue, for once a month; what it holds stays as it is."""
    from jobs.catalogue.admin import tidy_up

    tidy_up(catalogue, keep_days=keep_days)
