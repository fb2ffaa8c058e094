"""How good are embeddings, clusters, and answers to "do we know this animal?" Shares in [0, 1].

retrieval.py   each row asks for its individual: mAP, top-k, mINP; open set, or queries and gallery
agreement.py   clusters against known identities: ARI, AMI, NMI, pairwise and B-cubed
assignment.py  known or new: BAKS, BAUS and their geometric mean
intervals.py   how far the figures would move with other individuals: bootstrap
parts.py       what an evaluation says, in words and numbers
evaluation.py  all of these for one species
judged_pairs.py  probabilities of pairs: can the animal be found, is it the surest, how far is P off
"""

from reid.metrics.agreement import Agreement, agreement
from reid.metrics.assignment import Assignment, IndividualShares, OpenSet, assignment, open_set
from reid.metrics.evaluation import evaluate, judge_clusters
from reid.metrics.intervals import (
    Interval,
    agreement_intervals,
    assignment_intervals,
    retrieval_intervals,
)
from reid.metrics.judged_pairs import judge_pairs
from reid.metrics.parts import NAMES, Evaluation, Figure, Part
from reid.metrics.retrieval import (
    QueryScores,
    Retrieval,
    query_scores,
    retrieval,
    summarise,
    without_copies,
)

__all__ = [
    "NAMES",
    "Agreement",
    "Assignment",
    "Evaluation",
    "Figure",
    "IndividualShares",
    "Interval",
    "OpenSet",
    "Part",
    "QueryScores",
    "Retrieval",
    "agreement",
    "agreement_intervals",
    "assignment",
    "assignment_intervals",
    "evaluate",
    "judge_clusters",
    "judge_pairs",
    "open_set",
    "query_scores",
    "retrieval",
    "retrieval_intervals",
    "summarise",
    "without_copies",
]
