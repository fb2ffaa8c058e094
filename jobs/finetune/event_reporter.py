"""A worker's side of what is seen while it trains: steps are gathered, so that few messages are sent."""

import time
from collections.abc import Callable
from typing import Any

SECONDS_BETWEEN_STEPS = 0.5  # reported; a message costs little, but steps may take milliseconds

Event = dict[str, Any]


class EventReporter:
    """Reports what happens. Most events are reported by rank 0 alone."""

    def __init__(self, send: Callable[[Event], object], *, first: bool = True) -> None:
        """Report by `send`, which takes one event; `first`: this is rank 0."""
        self.send, self.first = send, first
        self._held: Event = {}
        self._reported_at = 0.0

    def event(self, kind: str, *, everyone: bool = False, **values: Any) -> None:
        """Tell something, after the steps before it."""
        self.flush()
        if self.first or everyone:
            self.send({"kind": kind, **values})

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
            self.send(self._held)
        self._held = {}
        self._reported_at = time.monotonic()
