"""Commands around models: the list of them, and fine-tuning."""

from typing import Annotated, Any

import typer

from jobs.cli.app import app
from jobs.cli.options import READING, Debug, config_of, later_config_of, takes

PANEL = "Models"
StartModel = Annotated[
    str | None, typer.Option("--model", "-m", metavar="NAME", help="The model to start from.")
]


@app.command(rich_help_panel=PANEL)
def models(debug: Debug = False) -> None:  # noqa: ARG001
    """List the models that have a name: what they were made for, input size, dimension, licence, and what is available here."""
    from rich.table import Column, Table

    from jobs.common.console import PlainConsole
    from reid.models import availability, known_models

    name = Column("name", overflow="fold", no_wrap=False)  # to be typed: wrapped, never cut
    # Few columns: where eight share a line of 80, each is cut.
    table = Table(name, "made for", "here", Column("licence, size, note", ratio=1), expand=True)
    for spec in known_models():
        table.add_row(
            spec.name,
            spec.made_for,
            availability(spec),
            f"{spec.licence}. {spec.input_size} px in, {spec.dimension} numbers out. {spec.note}",
        )
    console = PlainConsole()
    console.print(table)
    console.print(
        "Also: timm:<name>, hf:<owner>/<repository>@<revision>, local-dir:<folder>, path/to/checkpoint; "
        "several, with commas, are an ensemble. classes:<model> takes what a classifier's head says (`reid classify`)."
    )


@app.command(rich_help_panel=PANEL)
@takes(
    "overrides", "input", "out", "config", *READING, "model", "max_failures", "address",
    "seed",
    model=StartModel,
)  # fmt: skip
def finetune(
    given: dict[str, Any],
    matcher: Annotated[
        bool,
        typer.Option(
            "--matcher",
            help="Train the matcher of `reid match` instead, on the labelled pairs of the folder --out.",
        ),
    ] = False,
) -> None:
    """Labelled images to a better model, proved on individuals that were held out.

    The settings are `finetune.…`, for example `finetune.epochs=24 finetune.hold_out=0.2`. Run it
    again to go on after an interruption. Then: `reid run --model OUT/checkpoint`.
    """
    if matcher:
        kept = {name: given[name] for name in ("overrides", "out", "config", "address", "seed")}
        for name, value in given.items():
            if name not in kept and value not in (None, False, (), []):
                raise typer.BadParameter(
                    f"--matcher learns from the pairs in --out; leave --{name} out"
                )
        settings = later_config_of(**kept)
        from jobs.run import run_finetune_matcher

        run_finetune_matcher(settings)
        return
    settings = config_of(**given)
    from jobs.run import run_finetune

    run_finetune(settings)
