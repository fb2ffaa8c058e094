"""How a command ends: what Ray's workers raised as the error that it was, and signals."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reid.errors import InputError, InternalError, ReidError, StorageError

TERMINATED = 128 + signal.SIGTERM  # as shells count: 143
REPORT = (
    "this is a fault of the program, and trying again does not help; `--debug` shows where it is: please "
    "report that"
)


@dataclass
class Termination:
    """Whether somebody asked the process to end."""

    asked: bool = False


@contextmanager
def orderly_termination() -> Iterator[Termination]:
    """Let SIGTERM, as schedulers send it before they kill, end the process as Ctrl-C does.

    What is open is closed, and what is half done is dropped. It is a KeyboardInterrupt, as Ray turns any
    other exception of a signal's handler into one of its own; the exit code is up to who asks `asked`.
    """
    termination = Termination()
    if threading.current_thread() is not threading.main_thread():
        yield termination
        return

    def interrupt(*_: object) -> None:
        termination.asked = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield termination
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def own_signals() -> Iterator[None]:
    """Keep the handler of SIGTERM through code that sets one of its own (`ray.init`)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before: Callable[..., Any] | int | None = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None:
            signal.signal(signal.SIGTERM, before)


def as_reid_error(error: BaseException, what: str) -> ReidError:
    """What a worker raised, as the error that it was.

    Args:
        error: of Ray, with its cause.
        what: what stopped, for the message.

    Returns:
        The worker's own ReidError; StorageError for a lost worker or node and for storage that failed;
        InputError where memory was too small; InternalError for anything else that our code raised.
    """
    chain = list(_causes(error))
    for cause in chain:
        # Ray's own error is made to look like its cause, and says it with a traceback.
        if isinstance(cause, ReidError) and not _is_ray(cause):
            return cause
    own = next((cause for cause in chain if not _is_ray(cause)), None)
    if own is None:  # no code of ours failed: a worker or a node was lost
        return StorageError(f"{what}: {error}; run the same command again to go on from here")
    said = f"{type(own).__name__}: {own}".strip().splitlines()[0][:500]
    if isinstance(own, OSError):
        return StorageError(f"{what}: {said}; run the same command again to go on from here")
    if isinstance(own, MemoryError) or "OutOfMemory" in type(own).__name__:
        return InputError(
            f"{what}: out of memory ({said}); give a smaller embed.batch_size or cluster.memory_gb, fewer "
            "workers, or a larger machine"
        )
    return InternalError(f"{what}: {said}; {REPORT}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        nested = getattr(cause, "cause", None)
        cause = nested if isinstance(nested, BaseException) else cause.__cause__


def _is_ray(error: BaseException) -> bool:
    """Is it Ray that speaks, and not code that ran in it? RayTaskError is made to look like its cause."""
    from ray.exceptions import RayError

    return isinstance(error, RayError) or type(error).__module__.partition(".")[0] == "ray"
