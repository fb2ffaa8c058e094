"""Which threshold? Scores at every one of them, held-out tuning, and an estimate without labels."""

from reid.cluster import labels_at, spanning_forest
from reid.tune.sweep import Best, Sweep, best, encode_labels, sweep, sweep_forest

__all__ = [
    "Best",
    "Sweep",
    "best",
    "encode_labels",
    "labels_at",
    "spanning_forest",
    "sweep",
    "sweep_forest",
]
