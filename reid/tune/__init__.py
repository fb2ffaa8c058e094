"""Which threshold? Scores at every one of them, held-out tuning, and an estimate without labels.

replay.py     how the clusters of labelled rows change along a forest
scores.py     ARI, AMI and pairwise F1 from those changes
sweep.py      scores at every threshold, and the best
samples.py    thinned samples, individuals held out
heldout.py    tune: threshold, method and re-ranking, judged on held-out individuals
"""

from reid.cluster import labels_at, spanning_forest
from reid.tune.heldout import Tuning, mean_curve, tune
from reid.tune.samples import held_out_folds, search_ceiling, thin
from reid.tune.sweep import Best, Sweep, best, encode_labels, score_at, sweep, sweep_forest

__all__ = [
    "Best",
    "Sweep",
    "Tuning",
    "best",
    "encode_labels",
    "held_out_folds",
    "labels_at",
    "mean_curve",
    "score_at",
    "search_ceiling",
    "spanning_forest",
    "sweep",
    "sweep_forest",
    "thin",
    "tune",
]
