"""The `reid` command. Everything heavy is imported by the command that needs it.

| file | holds |
| --- | --- |
| `app.py`, `options.py` | the application; options that commands share |
| `results.py` | run, embed, match, cluster, report, evaluate, demo |
| `individuals.py` | identify, calibrate, review, history, undo, export, tidy |
| `training.py` | models, finetune |
| `machines.py` | submit, doctor |
"""

import sys
from collections.abc import Sequence

import typer

# Commands register as their modules are imported; `reid --help` lists them in this order.
from jobs.cli import results, individuals, training, machines  # isort: skip  # noqa: F401
from jobs.cli.app import app
from reid.errors import InputError, ReidError

__all__ = ["app", "main", "run_command"]

USAGE_ERROR = 2
INTERRUPTED = 130  # Ctrl-C


def run_command(name: str | None, argv: Sequence[str]) -> None:
    """Run a command line; a ReidError becomes one message and its exit code.

    Args:
        name: the command, or None where `argv` holds it.
        argv: its arguments.
    """
    arguments = [*([name] if name else []), *argv]
    try:
        app(arguments, prog_name="reid")
    except SystemExit as done:
        # The parser's own exit code for a wrong flag is 2, which here means too many failed images.
        if done.code == INTERRUPTED:
            typer.secho("stopped; run the same command again to go on from here", err=True)
        sys.exit(InputError.exit_code if done.code == USAGE_ERROR else done.code)
    except ReidError as error:
        if "--debug" in arguments:
            raise
        typer.secho(f"error: {error}", err=True, fg=typer.colors.RED)
        sys.exit(error.exit_code)


def main() -> None:
    """The console script."""
    run_command(None, sys.argv[1:])
