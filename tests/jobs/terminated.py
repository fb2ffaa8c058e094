"""`reid` command lines that are asked to end at a moment, by a real SIGTERM: one process that forks for each.

    python terminated.py FOLDER

reads FOLDER/asked.json, a list of [moment, arguments, whether vectors are made up], and writes FOLDER/ended.json: the exit code of each and
what it said. A moment is `module:function`, which sends the signal before it does its work; with `+` behind
it, after; null: never. All that commands need is imported once.
"""

import importlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jobs.catalogue.identification
import jobs.cli
import jobs.cluster.clustering
import jobs.cluster.reporting
import jobs.embed.embed_driver
import jobs.run
from tests.jobs.made_up import stand_in


def arm(moment: str) -> None:
    after = moment.endswith("+")
    where, _, name = moment.removesuffix("+").partition(":")
    *outer, name = name.split(".")
    owner: Any = importlib.import_module(where)
    for one in outer:
        owner = getattr(owner, one)
    work: Callable[..., Any] = getattr(owner, name)

    def interrupted(*arguments: Any, **named: Any) -> Any:
        if not after:
            os.kill(os.getpid(), signal.SIGTERM)
        done = work(*arguments, **named)
        os.kill(os.getpid(), signal.SIGTERM)
        return done

    setattr(owner, name, interrupted)


def run(folder: Path, moment: str | None, arguments: list[str], made: bool) -> dict[str, Any]:
    said = folder / "said.txt"
    child = os.fork()
    if not child:
        stream = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        code = 99
        try:
            if made:
                stand_in(setattr)
            if moment is not None:
                arm(moment)
            jobs.cli.run_command(None, arguments)
        except SystemExit as ended:
            code = int(ended.code or 0)
        except BaseException as error:  # noqa: BLE001  what no user may see
            os.write(2, f"Traceback: {error!r}".encode())
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status), "said": said.read_text(errors="replace")}


def main(folder: Path) -> None:
    asked = json.loads((folder / "asked.json").read_text())
    ended = [run(folder, *one) for one in asked]
    (folder / "ended.json").write_text(json.dumps(ended))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
