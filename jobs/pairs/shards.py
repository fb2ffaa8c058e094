"""Work in numbered pieces by Ray actors; a piece whose actor dies is done again by another."""

from collections.abc import Callable, Sequence
from typing import Any

import ray

from reid.errors import ReidError, StorageError

ATTEMPTS = 3


def run_shards(
    make_actor: Callable[[], Any],
    method: str,
    shards: Sequence[int],
    workers: int,
    on_done: Callable[[Any], None],
) -> None:
    """Have every piece done once.

    Args:
        make_actor: starts an actor.
        method: of the actor, takes a piece's number.
        shards: numbers of the pieces.
        workers: most actors at once.
        on_done: called here with what the method returned, piece by piece, in no order.

    Raises:
        ReidError: what a worker raised.
        StorageError: an actor died ATTEMPTS times over one piece.
    """
    waiting = list(reversed(shards))
    tries: dict[int, int] = {}
    busy: dict[Any, tuple[Any, int]] = {}
    idle = [make_actor() for _ in range(min(workers, len(shards)))]
    try:
        while waiting or busy:
            while waiting and idle:
                actor, shard = idle.pop(), waiting.pop()
                tries[shard] = tries.get(shard, 0) + 1
                busy[getattr(actor, method).remote(shard)] = (actor, shard)
            ready, _ = ray.wait(list(busy), num_returns=1)
            actor, shard = busy.pop(ready[0])
            try:
                on_done(ray.get(ready[0]))
                idle.append(actor)
            except ray.exceptions.RayActorError as error:
                if tries[shard] >= ATTEMPTS:
                    raise StorageError(
                        f"pairs: workers died {ATTEMPTS} times over the same piece of work: {error}; "
                        "run the same command again to go on from here"
                    ) from error
                waiting.append(shard)
                idle.append(make_actor())
            except ray.exceptions.RayTaskError as error:
                cause = error.cause
                if isinstance(cause, ReidError):
                    raise cause from error
                raise
    finally:
        for actor in [*idle, *(one for one, _ in busy.values())]:
            ray.kill(actor)
