"""The files of reid/ and jobs/ that one image enters, in order: `python tests/files_entered.py run|identify`.

Functions that are called in this process count; code that runs while a module is imported does not, nor does
what Ray's workers do in processes of their own.
"""

import inspect
import sys
import tempfile
import threading
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from PIL import Image

ROOT = Path.cwd()
OURS = (f"{ROOT}/reid/", f"{ROOT}/jobs/")
COMMANDS: dict[str, list[str]] = {
    "run": ["--out", "{home}/out"],
    "identify": [
        "--catalogue", "{home}/catalogue", "identify.known_distance=0.2", "identify.new_distance=0.3",
    ],
}  # fmt: skip


def entered(arguments: Sequence[str]) -> list[str]:
    """The file of each call of a function, in order, while the command runs."""
    from jobs.cli import main

    files: list[str] = []

    def notice(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(OURS) and not importing(frame):
            files.append(path.removeprefix(f"{ROOT}/"))

    sys.argv = ["reid", *arguments]
    threading.setprofile(notice)
    sys.setprofile(notice)
    try:
        main()
    except SystemExit as done:
        if done.code:
            raise
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return files


def importing(frame: FrameType) -> bool:
    """Whether a module of ours is being executed, a class body included."""
    at: FrameType | None = frame
    while at is not None:
        code = at.f_code
        if code.co_filename.startswith(OURS) and not code.co_flags & inspect.CO_OPTIMIZED:
            return True
        at = at.f_back
    return False


def main(command: str) -> None:
    with tempfile.TemporaryDirectory() as home:
        pixels = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
        (Path(home) / "photos").mkdir()
        Image.fromarray(pixels).save(Path(home) / "photos" / "one.jpg")
        options = [option.format(home=home) for option in COMMANDS[command]]
        files = entered([command, "--input", f"{home}/photos", *options])
    changes = sum(a != b for a, b in pairwise(files))
    first = list(dict.fromkeys(files))
    print(f"reid {command}: {len(first)} files, {changes} changes of file")
    print(*first, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
