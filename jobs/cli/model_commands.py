"""Commands around models: the list of them, and fine-tuning."""

from typing import Annotated

import typer

from jobs.cli.app import app
from jobs.cli.options import (
    Address,
    AsFolder,
    Column,
    ConfigFile,
    DateOrder,
    Debug,
    Detections,
    FromParent,
    Input,
    KeepWord,
    MaxFailures,
    Out,
    Overrides,
    Root,
    Seed,
    Species,
    TrustIds,
    config_of,
)

PANEL = "Models"


@app.command(rich_help_panel=PANEL)
def models(debug: Debug = False) -> None:  # noqa: ARG001
    """List the models that have a name: input size, dimension, licence, and what is available here."""
    from rich.table import Column, Table

    from jobs.common.console import PlainConsole
    from reid.models import availability, known_models

    name = Column("name", no_wrap=True)  # to be copied, so never cut
    table = Table(name, "input", "dimension", "licence", "here", "note")
    for spec in known_models():
        table.add_row(
            spec.name,
            f"{spec.input_size} px",
            str(spec.dimension),
            spec.licence,
            availability(spec),
            spec.note,
        )
    console = PlainConsole()
    console.print(table)
    console.print(
        "Also: timm:<name>, hf:<owner>/<repository>@<revision>, local-dir:<folder>, path/to/checkpoint; "
        "several, with commas, are an ensemble."
    )


@app.command(rich_help_panel=PANEL)
def finetune(
    overrides: Overrides = None,
    input: Input = None,  # noqa: A002
    out: Out = None,
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
    model: Annotated[
        str | None, typer.Option("--model", "-m", metavar="NAME", help="The model to start from.")
    ] = None,
    max_failures: MaxFailures = None,
    address: Address = None,
    seed: Seed = None,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Labelled images to a better model, proved on individuals that were held out.

    The settings are `finetune.…`, for example `finetune.epochs=24 finetune.hold_out=0.2`. Run it
    again to go on after an interruption. Then: `reid run --model OUT/checkpoint`.
    """
    settings = config_of(
        config, overrides, model=model, input=input, out=out, root=root, species=species,
        identity_from_parent=identity_from_parent, column=column, date_order=date_order,
        keep_word=keep_word, detections=detections, trust_individual_ids=trust_individual_ids,
        as_folder=as_folder, max_failures=max_failures, address=address,
        seed=seed,
    )  # fmt: skip
    from jobs.run import run_finetune

    run_finetune(settings)
