"""Local evidence: a second look at the pairs of the neighbour graph, and one probability for each.

Takes embeddings and keypoints, gives a graph with distance 1 − P(same individual), and the signed
log-odds of each pair. In the order of the data:

    candidates.py   which pairs are looked at
    shortlists.py   the best partners of each row, and how many animals those lists can find at all
    votes.py        a cheap first look at many: descriptors that are clearly each other's nearest
    matchers.py     names → which points two pictures share (`lightglue.py`: the network)
    affine.py       do they agree on one movement of the coat?
    evidence_rows.py     a pair's row of numbers (schema.PAIR_EVIDENCE)
    spacetime.py    pairs that are too far apart for the time between, or steps of one track
    features.py     rows of numbers → what the classifier is given
    classifier.py   features → log-odds, by individuals that were not trained on
    pair_calibration.py  raw log-odds → calibrated ones, and how far they are right
    graphs.py       log-odds → a neighbour graph
    mutex.py        log-odds → groups, people's word first
    mean_linkage.py log-odds → groups by the mean between them, at any cut
"""

from reid.pairs.candidates import (
    Candidates,
    comparable,
    find_candidates,
    nearest_comparable,
)
from reid.pairs.classifier import (
    PairModel,
    fit_pairs,
    stated_curve,
)
from reid.pairs.evidence_rows import match_pairs, vote_pairs
from reid.pairs.features import FEATURES, pair_features
from reid.pairs.graphs import pairs_graph
from reid.pairs.matchers import MATCHERS, Matches, extractor_of, load_matcher
from reid.pairs.mean_linkage import Merges, joined_rows, mean_linkage
from reid.pairs.mutex import Decided, mutex_watershed
from reid.pairs.pair_calibration import area_under_curve, calibration_error, probability
from reid.pairs.shortlists import has_mate, ranked_lists, shortlist_recall
from reid.pairs.spacetime import impossible, kilometres, linked, regions
from reid.pairs.votes import best_voted, over_usual, votes

__all__ = [
    "FEATURES",
    "MATCHERS",
    "Candidates",
    "Decided",
    "Matches",
    "Merges",
    "PairModel",
    "area_under_curve",
    "best_voted",
    "calibration_error",
    "comparable",
    "extractor_of",
    "find_candidates",
    "fit_pairs",
    "has_mate",
    "impossible",
    "joined_rows",
    "kilometres",
    "linked",
    "load_matcher",
    "match_pairs",
    "mean_linkage",
    "mutex_watershed",
    "nearest_comparable",
    "over_usual",
    "pair_features",
    "pairs_graph",
    "probability",
    "ranked_lists",
    "regions",
    "shortlist_recall",
    "stated_curve",
    "vote_pairs",
    "votes",
]
