"""The command that lists settings."""

from typing import Annotated

import typer

from jobs.cli.app import app
from jobs.cli.options import Debug


@app.command(rich_help_panel="Settings")
def settings(
    section: Annotated[
        str | None,
        typer.Argument(
            metavar="[SECTION]",
            help="embed, cluster, …; a setting, cluster.eps; `all` for every one. [default: what people change first]",
            show_default=False,
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="All of them, as the page of the docs.")
    ] = False,
    debug: Debug = False,  # noqa: ARG001
) -> None:
    """Every setting: default, values, and what it means. `key=value` sets it, for any command."""
    from rich.table import Column, Table

    from jobs.common.console import PlainConsole
    from reid.config import described
    from reid.errors import InputError
    from reid.spelling import did_you_mean

    if markdown:
        typer.echo(described.in_markdown(), nl=False)
        return
    names = described.section_names()
    keys = [one.key for one in described.settings()]
    if section not in (None, "all", "basic", *names, *keys):
        near = did_you_mean(str(section), [*names, *keys])
        hint = f"; did you mean {near}?" if near else "."
        raise InputError(f"settings: unknown section {section}{hint} Sections: {', '.join(names)}")
    table = Table(Column("setting", overflow="fold"), "default", "values", "meaning")
    chosen = None if section == "all" else section or "basic"
    for one in described.settings(chosen):
        table.add_row(one.key, one.default, one.range, one.description)
    console = PlainConsole()
    console.print(table)
    if section is None:
        console.print(f"More: `reid settings SECTION` of {', '.join(names)}; `reid settings all`")
