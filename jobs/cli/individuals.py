"""Commands of the catalogue of individuals."""

from typing import Annotated, Any

import typer

from jobs.cli.app import app
from jobs.cli.options import OPTIONS, READING, Catalogue, Debug, RunOut, config_of, takes

PANEL = "A catalogue that grows"


PLACES: dict[str, Any] = {
    "results": Annotated[
        str | None,
        typer.Option(
            "--results", "-r", metavar="FOLDER", help="Output folder of `reid run`, instead."
        ),
    ],
    "deployments": Annotated[
        str | None,
        typer.Option("--deployments", "-d", metavar="FILE", help="Where cameras stood, for maps."),
    ],
    "date_order": OPTIONS["date_order"],
}


@app.command(rich_help_panel=PANEL)
@takes(
    "overrides", "input", "catalogue", "constraints", "out", "config", *READING, "model",
    "max_failures", "retry_failed", "excel", "address", "metrics", "seed",
    out=RunOut,
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
@takes("overrides", "catalogue", "results", "config", results=PLACES["results"])
def review(
    given: dict[str, Any],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE.html", help="The page.")
    ] = "review.html",
    species: Annotated[
        str | None,
        typer.Option("--species", metavar="NAME", help="Ask about this one. [default: all]"),
    ] = None,
    place: Annotated[
        list[str] | None,
        typer.Option(
            "--place", metavar="NAME", help="Only pairs with a picture of it. Several times."
        ),
    ] = None,
    first: Annotated[
        str | None,
        typer.Option("--from", metavar="DAY", help="Only pairs with a picture of it or later."),
    ] = None,
    last: Annotated[
        str | None,
        typer.Option("--to", metavar="DAY", help="Only pairs with a picture of it or earlier."),
    ] = None,
    individual: Annotated[
        list[str] | None,
        typer.Option(
            "--individual",
            metavar="NAME",
            help="Only pairs with a picture of it, by its id or name. Several times.",
        ),
    ] = None,
    error: Annotated[
        float,
        typer.Option(
            "--error",
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="Of images with the wrong individual: how many questions remain to it is said.",
        ),
    ] = 0.05,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Pairs at most.")] = 200,
) -> None:
    """The pairs most worth a look, on a page for any browser: match, no match, unknown, by keys.

    It needs no server, and gives a constraints.csv back: `reid identify --constraints` keeps to it, or for the folder
    of a run (`--results`) `reid cluster --constraints`.
    `report.max_megabytes=…` bounds its size; `pairs=on` looks at each pair closely, and draws the points
    that both pictures share. With --place, --from, --to and --individual one picture of a pair fits all of them.
    """
    results = given.pop("results")
    settings = config_of(**given)
    from jobs.common.days import parse_day
    from jobs.run import run_review
    from reid.review import Within

    within = Within(
        places=tuple(place or ()),
        start=parse_day(first, "--from"),
        end=parse_day(last, "--to"),
        individuals=tuple(individual or ()),
    )
    run_review(
        settings, out, results=results, species=species, limit=limit, within=within, error=error
    )


@app.command(rich_help_panel=PANEL)
@takes("overrides", "catalogue", "results", "deployments", "date_order", "config", **PLACES)
def serve(
    given: dict[str, Any],
    host: Annotated[
        str,
        typer.Option(
            "--host", metavar="ADDRESS", help="To listen on; by default this machine alone."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one.")] = 8765,
) -> None:
    """Individuals in a browser, and decisions in place: judge, merge, split, name, take back.

    The address that is printed holds a token: who has it may look and decide. Each act is a run of its own, which
    `reid history` shows and `reid undo` takes back; several people may work at once.
    """
    places = {name: given.pop(name) for name in ("results", "deployments", "date_order")}
    settings = config_of(**given)
    from jobs.pages.serving import serve as run_serve

    run_serve(settings, settings.identify.catalogue, host=host, port=port, **places)


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
    prometheus: Annotated[
        bool,
        typer.Option(
            "--prometheus",
            help="Instead, gauges for Prometheus: the last night that went through, images, individuals, verdict.",
        ),
    ] = False,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """What happened in a catalogue: who is new, who merged into whom, who split from whom, and why."""
    from jobs.catalogue.admin import catalogue_place, show_history

    if prometheus:
        from jobs.catalogue.gauges import show_gauges

        show_gauges(catalogue_place(catalogue))
        return
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
