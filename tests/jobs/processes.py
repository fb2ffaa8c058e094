"""A job that is killed: its processes are found by a mark in their environment."""

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

needs_proc = pytest.mark.skipif(
    not Path("/proc/self/environ").exists(), reason="finds processes in /proc"
)


def processes_marked(mark: str) -> list[int]:
    """Processes that inherited an environment with `mark` in it."""
    found = []
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if mark.encode() in environment.read_bytes():
                found.append(int(environment.parent.name))
        except OSError:  # gone, or not ours
            continue
    return found


def kill_marked(mark: str) -> None:
    for pid in processes_marked(mark):
        with contextlib.suppress(ProcessLookupError):  # it went by itself meanwhile
            os.kill(pid, signal.SIGKILL)


def wait_until(what: Callable[[], Any], seconds: float = 240) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.02)


def start_and_kill(command: Sequence[str], log: Path, when: Callable[[], bool]) -> None:
    """Start `python -m jobs …`, and kill it, and all that it started, as soon as `when` is true."""
    mark = f"REID_TEST_RUN={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")
    with log.open("wb") as stream:
        driver = subprocess.Popen(
            [sys.executable, "-m", "jobs", *command],
            env={**os.environ, name: value},
            stdout=stream,
            stderr=stream,
        )
        try:
            wait_until(lambda: when() or driver.poll() is not None)
            assert driver.poll() is None, log.read_text()
            driver.kill()
            driver.wait()
            # Left alone, its Ray takes up to a minute to notice; what it would write in that time is the
            # business of the store, which keeps the first of two rows.
            kill_marked(mark)
            wait_until(lambda: not processes_marked(mark))
        finally:
            kill_marked(mark)
