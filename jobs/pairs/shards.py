"""Work in numbered pieces by Ray actors; a piece whose actor dies is done again by another."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from reid.errors import ReidError, StorageError

ATTEMPTS = 3


class Workers:
    """Actors that stay from one kind of work to the next; made by `open_workers`."""

    def __init__(self, make_actor: Callable[[], Any], most: int) -> None:
        self._make, self._most = make_actor, most
        self._idle: list[Any] = []
        self._all: list[Any] = []

    def run(
        self, method: str, shards: Sequence[int], on_done: Callable[[Any], None], *arguments: Any
    ) -> None:
        """Have every piece done once.

        Args:
            method: of the actor; takes a piece's number and `arguments`.
            shards: numbers of the pieces.
            on_done: called here with what the method returned, piece by piece, in no order.
            arguments: the same for all pieces.

        Raises:
            ReidError: what a worker raised.
            StorageError: an actor died ATTEMPTS times over one piece.
        """
        import ray

        while len(self._idle) < min(self._most, len(shards)):
            self._idle.append(self._start())
        waiting = list(reversed(shards))
        tries: dict[int, int] = {}
        busy: dict[Any, tuple[Any, int]] = {}
        while waiting or busy:
            while waiting and self._idle:
                actor, shard = self._idle.pop(), waiting.pop()
                tries[shard] = tries.get(shard, 0) + 1
                busy[getattr(actor, method).remote(shard, *arguments)] = (actor, shard)
            ready, _ = ray.wait(list(busy), num_returns=1)
            actor, shard = busy.pop(ready[0])
            try:
                on_done(ray.get(ready[0]))
                self._idle.append(actor)
            except ray.exceptions.RayActorError as error:
                if tries[shard] >= ATTEMPTS:
                    raise StorageError(
                        f"pairs: workers died {ATTEMPTS} times over the same piece of work: {error}; "
                        "run the same command again to go on from here"
                    ) from error
                waiting.append(shard)
                self._idle.append(self._start())
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, ReidError):
                    raise cause from error
                raise

    def _start(self) -> Any:
        actor = self._make()
        self._all.append(actor)
        return actor

    def end(self) -> None:
        """Give back what the actors hold."""
        import ray

        for actor in self._all:
            ray.kill(actor)


@contextmanager
def open_workers(make_actor: Callable[[], Any], most: int) -> Iterator[Workers]:
    """Actors for as long as there is work.

    Args:
        make_actor: starts an actor.
        most: at once; as many as there are pieces are started.
    """
    workers = Workers(make_actor, most)
    try:
        yield workers
    finally:
        workers.end()
