"""What Ray's workers report to the driver while they train: an actor that holds events until they are read."""

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from jobs.finetune.event_reporter import Event
from reid import errors
from reid.errors import ReidError


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
