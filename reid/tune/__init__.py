"""Which threshold? Scores at every one of them, held-out tuning, and an estimate without labels.

replay.py     how the clusters of labelled rows change along a forest
scores.py     ARI, AMI and pairwise F1 from those changes
sweep.py      scores at every threshold, and the best
samples.py    thinned samples, individuals held out
heldout.py    tune: threshold, method and re-ranking, judged on held-out individuals
    unlabelled.py an estimate of the threshold where there are no labels
    guards.py     warnings about clusterings that look wrong
"""

from reid.cluster import labels_at, spanning_forest
from reid.tune.guards import warnings
from reid.tune.heldout import Tuning, mean_curve, tune
from reid.tune.samples import held_out_folds, search_ceiling, thin
from reid.tune.sweep import Best, Sweep, best, encode_labels, score_at, sweep, sweep_forest
from reid.tune.unlabelled import Estimate, estimate_from_forest, estimate_threshold

__all__ = [
    "Best",
    "Estimate",
    "Sweep",
    "Tuning",
    "best",
    "encode_labels",
    "estimate_from_forest",
    "estimate_threshold",
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
    "warnings",
]
