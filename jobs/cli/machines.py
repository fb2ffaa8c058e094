"""Commands about machines: this one, and clusters."""

from typing import Annotated

import typer

from jobs.cli.app import app
from jobs.cli.options import ConfigFile, Debug

PANEL = "Machines"


@app.command(rich_help_panel=PANEL, context_settings={"ignore_unknown_options": True})
def submit(
    command: Annotated[
        str, typer.Argument(metavar="COMMAND", help="A `reid` command: run, embed, …")
    ],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[ARGS]...",
            help="What the command takes, as on this machine; behind `--` also options of the names below.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="ADDRESS",
            help="The cluster's job server, `http://HEAD:8265`. [default: RAY_API_SERVER_ADDRESS, "
            "RAY_ADDRESS, or the cluster on this machine]",
        ),
    ] = None,
    config: ConfigFile = None,
    working_dir: Annotated[
        str,
        typer.Option(
            "--working-dir", metavar="FOLDER", help="Uploaded; the job runs in it. Not for images."
        ),
    ] = ".",
    no_upload: Annotated[
        bool, typer.Option("--no-upload", help="The cluster's machines have `reid` installed.")
    ] = False,
    env: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="KEY=VALUE", help="For the job's processes. The dashboard shows them."
        ),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            metavar="NAME",
            help="A job of this name that still runs is followed; no second one is started.",
        ),
    ] = None,
    no_wait: Annotated[
        bool, typer.Option("--no-wait", help="Print the job's id and do not wait for its end.")
    ] = False,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Run a command on a Ray cluster: its log appears here, its exit code is this one's.

    The token is taken from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH. Ctrl-C stops watching, not the job.
    """
    from jobs.submit import submit as submit_job

    submit_job(
        command,
        arguments or [],
        commands=list(typer.main.get_group(app).commands),
        address=address,
        config=config,
        working_dir=None if no_upload else working_dir,
        env=env or [],
        name=name,
        wait=not no_wait,
    )


@app.command(rich_help_panel=PANEL)
def doctor(
    ray: Annotated[
        bool, typer.Option("--ray/--no-ray", help="Start Ray, and have it do a task.")
    ] = True,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """What this machine can do: memory, disk, GPU, FAISS, Ray, hub, and what to install for the rest."""
    from rich.table import Table
    from rich.text import Text

    from jobs.common.console import PlainConsole
    from jobs.doctor import examine

    table = Table("part", "", "found", "what to do")
    for finding in examine(start_ray=ray):
        mark = Text("yes", "green") if finding.works else Text("no", "yellow")
        table.add_row(finding.part, mark, finding.detail, finding.advice)
    PlainConsole().print(table)
