"""How well do clusters agree with known identities?"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.splits import checked_codes


@dataclass(frozen=True, slots=True)
class Agreement:
    """A clustering against known identities; all but ARI and AMI lie in [0, 1].

    Attributes:
        ari: adjusted Rand index.
        ami: adjusted mutual information (arithmetic mean).
        nmi: normalised mutual information (arithmetic mean).
        accuracy: rows that are right where each cluster is named after one individual at most, and no two
            after the same; of all such namings the best for this share (the Hungarian method finds it).
        mean_recall: of each individual, the share of its rows that this naming has right; the mean.
        pairwise_precision: pairs in one cluster that are one individual.
        pairwise_recall: pairs of one individual that are in one cluster.
        pairwise_f1: their harmonic mean.
        b_cubed_precision: for a row, the share of its cluster that is its individual; the mean.
        b_cubed_recall: for a row, the share of its individual that is in its cluster; the mean.
        b_cubed_f1: their harmonic mean.
        n_scored: rows with a known identity.
    """

    ari: float
    ami: float
    nmi: float
    accuracy: float
    mean_recall: float
    pairwise_precision: float
    pairwise_recall: float
    pairwise_f1: float
    b_cubed_precision: float
    b_cubed_recall: float
    b_cubed_f1: float
    n_scored: int


@dataclass(frozen=True, slots=True)
class Contingency:
    """How individuals and clusters share the rows of known identity.

    Attributes:
        individual, cluster: (m,) int64, numbers from 0, one pair for each that share rows.
        rows: (m,) int64, rows that they share.
        of_individual: (individuals,) int64, rows of each individual.
    """

    individual: NDArray[np.int64]
    cluster: NDArray[np.int64]
    rows: NDArray[np.int64]
    of_individual: NDArray[np.int64]


def agreement(labels: NDArray[np.int64], identities: NDArray[Any]) -> Agreement:
    """Score a clustering on the rows whose identity is known.

    With T pairs in one cluster, I pairs of one individual, R pairs that are both, and N pairs in all:

        precision = R / T        recall = R / I        F1 = 2 R / (T + I)
        ARI = (R − T I / N) / ((T + I) / 2 − T I / N)
        B³ precision = mean over rows of |its cluster ∩ its individual| / |its cluster|, recall / |its individual|
        NMI = M / ((H + K) / 2)        AMI = (M − E[M]) / ((H + K) / 2 − E[M])

    where M is the information that clusters and individuals share, H and K their entropies, and E[M] what
    chance alone would share.

    Args:
        labels: (n,) int64, cluster of each row; every -1 (noise) is a cluster of its own.
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.

    Returns:
        Agreement. With no pairs in a denominator (all singletons) a precision or recall is 1.

    Raises:
        InputError: numbers of rows that differ, or no row with an identity.

    Source:
        Hubert & Arabie 1985 (ARI); Vinh, Epps & Bailey 2010 (AMI); Bagga & Baldwin 1998 (B3).

    Example:
        Two pairs lie in one cluster, four are of one individual (three of a, one of b), one is both.

        >>> found = agreement(np.array([0, 0, 1, 1, -1]), np.array(["a", "a", "b", "a", "b"]))
        >>> found.pairwise_precision, found.pairwise_recall, round(found.pairwise_f1, 4)
        (0.5, 0.25, 0.3333)
        >>> round(found.ari, 4)  # (1 − 2 · 4 / 10) / (3 − 2 · 4 / 10)
        0.0909
        >>> round(found.b_cubed_precision, 4), round(found.b_cubed_recall, 4)
        (0.8, 0.5333)
        >>> found.accuracy, found.mean_recall  # the first cluster is a, the second b: 2 of 3, 1 of 2
        (0.6, 0.5833333333333333)
    """
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    cells = contingency(labels, identities)
    truth, predicted = cells.individual.repeat(cells.rows), cells.cluster.repeat(cells.rows)
    right = named_right(cells)
    return Agreement(
        accuracy=float(right.sum() / len(truth)),
        mean_recall=float((right / cells.of_individual).mean()),
        ami=float(adjusted_mutual_info_score(truth, predicted)),
        nmi=float(normalized_mutual_info_score(truth, predicted)),
        n_scored=len(truth),
        **pair_scores(cells, np.ones(len(cells.of_individual), dtype=np.int64)),
    )


def contingency(labels: NDArray[np.int64], identities: NDArray[Any]) -> Contingency:
    """Count the rows of each individual in each cluster; arguments and errors as of `agreement`."""
    identity = checked_codes(identities, len(labels), "identities")
    known = identity >= 0
    if not known.any():
        raise InputError("no row has an identity: there is nothing to compare the clusters with")
    truth = identity[known]
    predicted = np.where(labels < 0, labels.max(initial=0) + 1 + np.arange(len(labels)), labels)
    predicted = np.unique(predicted[known], return_inverse=True)[1]
    cell, rows = np.unique(np.stack([truth, predicted]), axis=1, return_counts=True)
    return Contingency(cell[0], cell[1], rows, np.bincount(truth))


def named_right(cells: Contingency) -> NDArray[np.int64]:
    """(individuals,) int64: rows of each in the cluster named after it; the best one-to-one naming of all.

    Only cells that hold rows are looked at, so thousands of individuals and clusters are no matter.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import min_weight_full_bipartite_matching

    n, clusters = len(cells.of_individual), int(cells.cluster.max()) + 1
    nobody = np.arange(n)  # a column of its own for each individual that no cluster is left for
    weight = np.concatenate([cells.rows + 1, np.ones(n, np.int64)]).astype(np.float64)
    places = (
        np.concatenate([cells.individual, nobody]),
        np.concatenate([cells.cluster, clusters + nobody]),
    )
    worth = coo_array((weight, places), shape=(n, clusters + n)).tocsr()
    individual, cluster = min_weight_full_bipartite_matching(worth, maximize=True)
    right = np.zeros(n, np.int64)
    right[individual] = worth[individual, cluster].astype(np.int64) - 1
    return right


def pair_scores(
    cells: Contingency, times: NDArray[np.int64], cross: float = 1.0
) -> dict[str, float]:
    """Pairwise scores, ARI and B-cubed where individual i is there times[i] times.

    A pair of rows inside an individual counts times[i] times, a pair of two individuals
    times[i] x times[j], and a pair in two copies of one individual not at all.

    Args:
        cells: of `contingency`.
        times: (individuals,) int64; all 1 for the data as they are.
        cross: weight of pairs of two individuals, see `agreement_intervals`.

    Returns:
        Values by field name of `Agreement`.
    """
    i, k, rows = cells.individual, cells.cluster, cells.rows.astype(np.float64)
    of_one = cells.of_individual.astype(np.float64)
    drawn = times[i]
    in_cluster = np.bincount(k, drawn * rows)
    total = float(times @ of_one)
    right = float(drawn @ (rows * (rows - 1))) / 2
    true = float(times @ (of_one * (of_one - 1))) / 2
    mixed = float(in_cluster @ in_cluster - ((drawn * rows) ** 2).sum()) / 2
    apart = float(total**2 - ((times * of_one) ** 2).sum()) / 2
    together, every = right + cross * mixed, true + cross * apart
    chance = _share(together * true, every, 0.0)
    around = in_cluster[k] - (drawn - 1) * rows  # rows in the cluster of one copy
    here = drawn > 0
    b_precision = float((drawn[here] * rows[here] ** 2 / around[here]).sum()) / total
    b_recall = float((drawn * rows**2 / of_one[i]).sum()) / total
    return {
        "ari": _share(right - chance, (together + true) / 2 - chance, 1.0),
        "pairwise_precision": _share(right, together, 1.0),
        "pairwise_recall": _share(right, true, 1.0),
        "pairwise_f1": _share(2 * right, together + true, 1.0),
        "b_cubed_precision": b_precision,
        "b_cubed_recall": b_recall,
        "b_cubed_f1": 2 * b_precision * b_recall / (b_precision + b_recall),
    }


def _share(part: float, whole: float, otherwise: float) -> float:
    return part / whole if whole else otherwise
