"""What workers report to the driver while they train: an actor that holds events until they are read."""

import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from reid import errors
from reid.errors import ReidError

SECONDS_BETWEEN_STEPS = 0.5  # reported; a message costs little, but steps may take milliseconds

Event = dict[str, Any]


class EventQueue:
    """The actor: events in the order in which they came."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.failure: tuple[str, str] | None = None

    def tell(self, event: Event) -> None:
        """Add an event."""
        self.events.append(event)

    def take(self) -> list[Event]:
        """The events since the last call."""
        events, self.events = self.events, []
        return events

    def fail(self, kind: str, message: str) -> None:
        """Note an error that would come back; the first one stays."""
        self.failure = self.failure or (kind, message)

    def failed(self) -> tuple[str, str] | None:
        """That error: the name of its class, and its message."""
        return self.failure


def open_event_queue() -> Any:
    """A queue for one run, on the driver's machine: no other one takes it along when it dies.

    It ends with its handle.
    """
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(EventQueue).remote()


def raise_failure(queue: Any) -> None:
    """Raise the error that a worker noted, as the class that it was."""
    failure = ray.get(queue.failed.remote())
    if failure is None:
        return
    kind, message = failure
    known = getattr(errors, kind, ReidError)
    raise known(message)


class EventReporter:
    """A worker's side of the queue. Most events are reported by rank 0 alone."""

    def __init__(self, queue: Any, *, first: bool) -> None:
        self.queue, self.first = queue, first
        self._held: Event = {}
        self._reported_at = 0.0

    def event(self, kind: str, *, everyone: bool = False, **values: Any) -> None:
        """Tell something, after the steps before it."""
        self.flush()
        if self.first or everyone:
            self.queue.tell.remote({"kind": kind, **values})

    def decoded(self, images: int, total: int) -> None:
        """So many more images are decoded, of `total`."""
        self._add("decode", images, total=total)

    def step(self, images: int, loss: float) -> None:
        """A step is done."""
        self._add("step", images, loss=loss)

    def _add(self, kind: str, images: int, **latest: float) -> None:
        if self._held.get("kind", kind) != kind:
            self.flush()
        images += self._held.get("images", 0)
        self._held = {"kind": kind, "images": images, **latest}
        if time.monotonic() - self._reported_at >= SECONDS_BETWEEN_STEPS:
            self.flush()

    def flush(self) -> None:
        """Report what was held back."""
        if self._held and self.first:
            self.queue.tell.remote(self._held)
        self._held = {}
        self._reported_at = time.monotonic()

    def end(self) -> None:
        """Report what was held back; returns when the queue has all that this worker reported."""
        self.flush()
        ray.get(self.queue.failed.remote())  # behind all that was reported before it

    def fail(self, error: ReidError) -> None:
        """Note an error that would come back; returns when it is noted."""
        ray.get(self.queue.fail.remote(type(error).__name__, str(error)))

    def failed(self) -> bool:
        """True where a worker noted such an error."""
        return ray.get(self.queue.failed.remote()) is not None
