"""Counters of a running job at Ray's Prometheus endpoint, where `metrics` (`--metrics`) asks for them.

Prometheus finds them as `ray_reid_<name>_total`. They show how far a long job is; what a finished job
did is in its summary.json.
"""

from functools import cache
from typing import TYPE_CHECKING

from jobs.common.session import is_open
from reid.config import Config

if TYPE_CHECKING:
    from ray.util.metrics import Counter


# Counters only: Ray exports the sum of a histogram as that of its buckets' middles.
COUNTERS = {
    "images": ("Images that a stage is done with.", ("stage", "outcome")),
    "seconds": ("Seconds that a stage took.", ("stage",)),
}
OF_ALL = ("catalogue",)  # a tag of each, of the settings: empty for a run without one


def count(config: Config, name: str, amount: float, **tags: str) -> None:
    """Add to a counter; nothing where `config.metrics` is off or the stage does without Ray.

    Args:
        config: the resolved configuration.
        name: one of COUNTERS.
        amount: what to add; not negative.
        tags: a value for each of the counter's tags.
    """
    if config.metrics and amount and is_open():
        own = {"catalogue": config.identify.catalogue or ""}
        _counter(name).inc(amount, tags=own | tags)


@cache
def _counter(name: str) -> "Counter":
    """One object a name and process, as Ray wants it."""
    from ray.util.metrics import Counter

    description, tags = COUNTERS[name]
    return Counter(f"reid_{name}", description=description, tag_keys=tags + OF_ALL)
