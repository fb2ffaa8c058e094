"""What the errors made on individuals held out mean among all images, where more animals look alike."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.cluster import Forest, labels_at, noise_to_singletons
from reid.tune.samples import held_out_folds
from reid.tune.sweep import Criterion, best, encode_labels, sweep_forest

SEEDS, FOLDS = (0, 1, 2), 2
FEWEST = 4  # individuals of which halves can be drawn
SMALLEST_EPS = 1e-7  # a threshold of 0 joins what has no distance


def expected_ari(
    labels: NDArray[np.integer], identities: NDArray[np.int64], rows: NDArray[np.int64]
) -> float:
    """The ARI of all rows, where some rows tell how often pairs of them are wrong.

    The chance that two individuals are taken for one says how many wrong pairs an image has for each
    image it is compared with, and it is compared with all. Scores of a few individuals flatter, as each
    meets only the others of the few: on the built-in herd, half of it labelled, by .12 on average over
    eight clusterings, where this was off by .05.

    Args:
        labels: (n,) clusters, −1 = noise.
        identities: (n,) numbers, −1 for unknown.
        rows: (r,) some rows with an identity, all of their individual; r at least 2.

    Returns:
        ARI, from −1 to 1; 1 where neither clusters nor identities have a pair, as in scikit-learn.

    Source:
        Hubert & Arabie 1985, by the counts of pairs.
        Differs: pairs of two individuals count n / r times. That takes the other images for those of
        other animals; if they show the same ones, it is too low.
    """
    apart, named = noise_to_singletons(labels)[rows], identities[rows]
    both = np.unique(np.stack([apart, named]), axis=1, return_counts=True)[1]
    right_joined = _ordered_pairs(both)
    joined, one = (
        _ordered_pairs(np.unique(group, return_counts=True)[1]) for group in (apart, named)
    )
    wrong_apart = one - right_joined
    # Pairs of two individuals are as many more as there are more images to meet.
    more = len(labels) / len(rows)
    wrong_joined = more * (joined - right_joined)
    right_apart = more * (len(rows) * (len(rows) - 1) - joined - one + right_joined)
    parts = (right_joined + wrong_apart) * (wrong_apart + right_apart) + (
        right_joined + wrong_joined
    ) * (wrong_joined + right_apart)
    if not parts:
        return 1.0
    return float(2 * (right_joined * right_apart - wrong_apart * wrong_joined) / parts)


def _ordered_pairs(sizes: NDArray[np.int64]) -> float:
    return float((sizes * (sizes - 1)).sum())


def expected_of_forest(
    forest: Forest, identities: NDArray[Any], ceiling: float, criterion: Criterion
) -> tuple[float, float]:
    """`expected_ari` of individuals that chose no threshold, while all rows take part.

    Args:
        forest: of all rows.
        identities: (n,) known identities, None where unknown, of four individuals and more.
        ceiling: the largest threshold that the forest was built for.
        criterion: what chooses the threshold.

    Returns:
        Mean, and spread over the seeds.
    """
    codes = encode_labels(identities)
    known = np.flatnonzero(codes >= 0)
    means = []
    for seed in SEEDS:
        scores = []
        for tuned_on, tested_on in held_out_folds(codes[known], FOLDS, seed):
            shown = np.full(len(codes), -1)
            shown[known[tuned_on]] = codes[known[tuned_on]]
            eps = best(sweep_forest(forest, shown, ceiling), criterion).eps
            labels = labels_at(forest, max(eps, SMALLEST_EPS))
            scores.append(expected_ari(labels, codes, known[tested_on]))
        means.append(float(np.mean(scores)))
    return float(np.mean(means)), float(np.std(means))


def expected_of_clusters(
    labels: NDArray[np.integer], identities: NDArray[np.int64]
) -> tuple[float, float] | None:
    """`expected_ari` of clusters that no identity has shaped, by the rows whose identity is known.

    Args:
        labels: (n,) clusters, −1 = noise.
        identities: (n,) numbers, −1 for unknown.

    Returns:
        Mean over halves of the individuals, and the spread between halves, which is about as far as the whole
        may be off for having just these individuals. None: fewer than four of them have two rows.
    """
    known = np.flatnonzero(identities >= 0)
    several = np.unique(identities[known], return_counts=True)[1] > 1
    if several.sum() < FEWEST:
        return None
    scores = [
        expected_ari(labels, identities, known[half])
        for seed in SEEDS
        for _, half in held_out_folds(identities[known], FOLDS, seed)
        if len(half) > 1
    ]
    return float(np.mean(scores)), float(np.std(scores))
