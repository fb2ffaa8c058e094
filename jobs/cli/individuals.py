"""Commands of the catalogue of individuals."""

from typing import Annotated

import typer

from jobs.cli.app import app
from jobs.cli.options import (
    Address,
    AsFolder,
    Catalogue,
    Column,
    ConfigFile,
    DateOrder,
    Debug,
    Detections,
    FromParent,
    Input,
    KeepWord,
    MaxFailures,
    Metrics,
    Model,
    Overrides,
    Root,
    RunOut,
    Seed,
    Species,
    TrustIds,
    config_of,
)

PANEL = "A catalogue that grows"


@app.command(rich_help_panel=PANEL)
def identify(
    overrides: Overrides = None,
    input: Input = None,  # noqa: A002
    catalogue: Catalogue = None,
    constraints: Annotated[
        list[str] | None,
        typer.Option(
            "--constraints",
            metavar="FILE",
            help="Reviewers' decisions, .csv: `a_id, b_id, decision (match, nomatch, unknown), reviewer, "
            "timestamp, note`. Kept in the catalogue. May be given several times.",
        ),
    ] = None,
    out: RunOut = None,
    config: ConfigFile = None,
    root: Root = None,
    species: Species = None,
    identity_from_parent: FromParent = None,
    column: Column = None,
    date_order: DateOrder = None,
    keep_word: KeepWord = None,
    detections: Detections = None,
    trust_individual_ids: TrustIds = False,
    as_folder: AsFolder = False,
    model: Model = None,
    max_failures: MaxFailures = None,
    address: Address = None,
    metrics: Metrics = None,
    seed: Seed = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """New images into a catalogue: known individual, new individual, or unsure.

    Run it every night on the same folder: what the catalogue has is left alone. A new catalogue
    learns its distances from labelled images (`reid calibrate`, or labels in the first upload), or
    takes `identify.known_distance=… identify.new_distance=…`. The run's id is printed.
    """
    settings = config_of(
        config, overrides, model=model, input=input, out=out, root=root, species=species,
        identity_from_parent=identity_from_parent, column=column, date_order=date_order,
        keep_word=keep_word, detections=detections, trust_individual_ids=trust_individual_ids,
        as_folder=as_folder, max_failures=max_failures, address=address,
        metrics=metrics, seed=seed, catalogue=catalogue, constraints=constraints,
    )  # fmt: skip
    from jobs.run import run_identify

    run_identify(settings)


@app.command(rich_help_panel=PANEL)
def calibrate(
    overrides: Overrides = None,
    input: Input = None,  # noqa: A002
    catalogue: Catalogue = None,
    out: RunOut = None,
    config: ConfigFile = None,
    root: Root = None,
    species: Species = None,
    identity_from_parent: FromParent = None,
    column: Column = None,
    date_order: DateOrder = None,
    keep_word: KeepWord = None,
    detections: Detections = None,
    trust_individual_ids: TrustIds = False,
    as_folder: AsFolder = False,
    model: Model = None,
    max_failures: MaxFailures = None,
    address: Address = None,
    seed: Seed = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Learn a catalogue's distances from labelled images, and how far they can be trusted.

    The images do not come into the catalogue; without --input its own labelled ones are learned
    from. All that the catalogue holds follows the new rules at once, as a run that can be undone.
    This is also how to change rules, or the model: `identify.viewpoints=same-side`, `--model …`.
    """
    settings = config_of(
        config, overrides, model=model, input=input, out=out, root=root, species=species,
        identity_from_parent=identity_from_parent, column=column, date_order=date_order,
        keep_word=keep_word, detections=detections, trust_individual_ids=trust_individual_ids,
        as_folder=as_folder, max_failures=max_failures, address=address,
        seed=seed, catalogue=catalogue,
    )  # fmt: skip
    from jobs.run import run_calibrate

    run_calibrate(settings)


@app.command(rich_help_panel=PANEL)
def review(
    overrides: Overrides = None,
    catalogue: Catalogue = None,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="FILE.html", help="The page.")
    ] = "review.html",
    species: Annotated[
        str | None,
        typer.Option("--species", metavar="NAME", help="Ask about this one. [default: all]"),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="Pairs at most.")] = 200,
    config: ConfigFile = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """The pairs most worth a look, on a page for any browser: match, no match, unknown, by keys.

    It needs no server, and gives a constraints.csv back: `reid identify --constraints` keeps to it.
    `report.max_megabytes=…` bounds its size.
    """
    settings = config_of(config, overrides, catalogue=catalogue)
    from jobs.catalogue.reviewing import review as run_review

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
