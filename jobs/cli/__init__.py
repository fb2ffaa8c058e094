"""The `reid` command. Everything heavy is imported by the command that needs it.

| file | holds |
| --- | --- |
| `app.py`, `options.py` | the application; options that commands share |
| `results.py` | run, browse, embed, classify, foreground, match, cluster, report, evaluate, figures, compare, demo |
| `individuals.py` | identify, calibrate, review, serve, history, undo, tidy |
| `sharing.py` | export, book, population |
| `competitions.py` | submission, score |
| `model_commands.py` | models, finetune |
| `settings_list.py` | settings |
| `machines.py` | submit, doctor |
"""

import logging
import sys
from collections.abc import Sequence

import typer

# Commands register as their modules are imported; `reid --help` lists them in this order.
from jobs.cli import results, individuals, sharing, competitions  # isort: skip  # noqa: F401
from jobs.cli import model_commands, settings_list, machines  # isort: skip  # noqa: F401
from jobs.cli.app import app
from jobs.common.endings import REPORT, TERMINATED, Termination, as_reid_error, orderly_termination
from reid.errors import InputError, InternalError, ReidError, StorageError

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
    _tame_logs()
    debug = "--debug" in arguments
    termination = Termination()
    try:
        with orderly_termination() as termination:
            app(arguments, prog_name="reid")
    except SystemExit as done:
        # The parser's own exit code for a wrong flag is 2, which here means too many failed images.
        if done.code == INTERRUPTED:
            typer.secho("stopped; run the same command again to go on from here", err=True)
        if termination.asked and done.code:
            sys.exit(TERMINATED)
        sys.exit(InputError.exit_code if done.code == USAGE_ERROR else done.code)
    except Exception as error:
        if debug:
            raise
        from jobs.common.console import printable

        failure = _in_words(error)
        typer.secho(printable(f"error: {failure}"), err=True, fg=typer.colors.RED)
        sys.exit(TERMINATED if termination.asked else failure.exit_code)


def _in_words(error: Exception) -> ReidError:
    """The error for the user; of Ray's workers, of the machine, or of this program as well."""
    if type(error).__module__.partition(".")[0] == "ray":
        return as_reid_error(error, "stopped")
    if isinstance(error, ReidError):
        return error
    if isinstance(error, OSError):
        return StorageError(f"{error}; run the same command again to go on from here")
    return InternalError(f"{type(error).__name__}: {error}; {REPORT}")


def _tame_logs() -> None:
    """What libraries log of names that are not ours must not command the terminal."""
    from jobs.common.console import PlainFormatter

    if logging.lastResort is not None:
        logging.lastResort.setFormatter(PlainFormatter())


def main() -> None:
    """The console script."""
    run_command(None, sys.argv[1:])
