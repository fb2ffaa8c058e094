"""From the unit vectors of one species to individuals.

threshold.py  how alike is alike enough: given, tuned, lent by another species, or estimated
clusters.py   the clusters at that threshold, and what looks odd about them
graphs.py     where the edges come from
"""

from reid.individuals.clusters import Individuals, find_individuals
from reid.individuals.graphs import Edges, EdgeSource
from reid.individuals.threshold import Threshold, can_tune, find_threshold

__all__ = [
    "EdgeSource",
    "Edges",
    "Individuals",
    "Threshold",
    "can_tune",
    "find_individuals",
    "find_threshold",
]
