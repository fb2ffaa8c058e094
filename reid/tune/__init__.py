"""Which threshold, and which individuals? Scores at every one of them, held-out tuning, and an estimate without labels.

replay.py           how the clusters of labelled rows change along a forest
scores.py           ARI, AMI and pairwise F1 from those changes
sweep.py            scores at every threshold, and the best
samples.py          thinned samples, individuals held out, how far a search looks
heldout.py          tune: threshold, method and re-ranking, judged on held-out individuals
unlabelled.py       an estimate of the threshold where there are no labels
guards.py           warnings about clusterings that look wrong
threshold.py        what is asked, and what came out: given, lent by another species, or estimated
clustered_rows.py   the rows that become clusters: compared, re-ranked, labelled
tuned_threshold.py  the threshold that does best on known identities
expected.py         what errors on individuals held out mean among all images
clusters.py         the individuals of one species: one comparison of all pairs, threshold, clusters
by_pairs.py         the same by the probabilities of pairs, where these do better
"""

from reid.cluster import labels_at, spanning_forest
from reid.tune.by_pairs import individuals_by_pairs
from reid.tune.clusters import Individuals, find_individuals
from reid.tune.guards import warnings
from reid.tune.heldout import Tuning, tune
from reid.tune.samples import held_out_folds, search_ceiling, thin, tuning_ceiling
from reid.tune.sweep import (
    Best,
    Sweep,
    best,
    encode_labels,
    mean_curve,
    score_at,
    sweep,
    sweep_forest,
)
from reid.tune.threshold import WITHOUT_THRESHOLD, Clustering, Threshold, can_tune
from reid.tune.unlabelled import ThresholdEstimate, estimate_from_forest, estimate_threshold

__all__ = [
    "WITHOUT_THRESHOLD",
    "Best",
    "Clustering",
    "Individuals",
    "Sweep",
    "Threshold",
    "ThresholdEstimate",
    "Tuning",
    "best",
    "can_tune",
    "encode_labels",
    "estimate_from_forest",
    "estimate_threshold",
    "find_individuals",
    "held_out_folds",
    "individuals_by_pairs",
    "labels_at",
    "mean_curve",
    "score_at",
    "search_ceiling",
    "spanning_forest",
    "sweep",
    "sweep_forest",
    "thin",
    "tune",
    "tuning_ceiling",
    "warnings",
]
