"""ARI, AMI and pairwise F1 of a clustering that changes by merges, from the merges alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClusterChanges:
    """Merges and splits of clusters of labelled rows, in order; all rows start as singletons.

    Attributes:
        sign: (c,) int64, +1 where two clusters merge, -1 where one splits.
        size_a, size_b: (c,) int64, labelled rows on the two sides.
        shared_change: (s,) int64, rising: the change during which the two sides share a label.
        shared_a, shared_b: (s,) int64, rows of that label on the two sides.
    """

    sign: Ints
    size_a: Ints
    size_b: Ints
    shared_change: Ints
    shared_a: Ints
    shared_b: Ints


def running_scores(
    changes: ClusterChanges, class_sizes: Ints, done: Ints
) -> tuple[Floats, Floats, Floats]:
    """ARI, AMI and pairwise F1 after each of some numbers of changes.

    Every score is a function of four sums: pairs that share a cluster, pairs that share cluster
    and label, and the sums of n log n over the cells of the contingency table and over the
    clusters. A merge of clusters of a and b rows adds a b pairs to the first, so the sums are
    cumulative sums over the changes. The chance term of AMI is a sum over clusters as well: of
    a function of the cluster's size alone.

    Args:
        changes: of `c` merges and splits.
        class_sizes: (classes,) labelled rows of each label, all at least 1.
        done: (k,) int64, the number of changes made at each point of interest, 0 .. c.

    Returns:
        Three (k,) float64 arrays. A clustering equal to the labels scores 1 in all of them; AMI
        is 0 where there is one class or one cluster only, as in scikit-learn.

    Source:
        Hubert & Arabie 1985, eq. 5 (ARI); Vinh, Epps & Bailey 2010, eq. 24a (the chance term).
    """
    n = int(class_sizes.sum())
    true_pairs = float((class_sizes * (class_sizes - 1) // 2).sum())
    all_pairs = n * (n - 1) / 2
    sign, size_a, size_b = changes.sign, changes.size_a, changes.size_b
    cluster_pairs = _running(sign * size_a * size_b, done).astype(np.float64)
    shared_sign = sign[changes.shared_change]
    shared = np.zeros(len(sign), dtype=np.int64)
    np.add.at(shared, changes.shared_change, shared_sign * changes.shared_a * changes.shared_b)
    agreed_pairs = _running(shared, done).astype(np.float64)
    exact = (agreed_pairs == true_pairs) & (agreed_pairs == cluster_pairs)

    total = true_pairs + cluster_pairs
    f1 = np.divide(2 * agreed_pairs, total, out=np.ones_like(total), where=total > 0)
    expected = true_pairs * cluster_pairs / max(all_pairs, 1)
    ari = np.divide(
        agreed_pairs - expected, total / 2 - expected, out=np.ones_like(total), where=~exact
    )

    n_log_n = _x_log_x(n)
    cells = np.zeros(len(sign))
    np.add.at(
        cells,
        changes.shared_change,
        shared_sign * _merge_gain(n_log_n, changes.shared_a, changes.shared_b),
    )
    mutual = _running(cells, done) / n  # entropies in nats; each is log n minus one of the sums
    own = _running(sign * _merge_gain(n_log_n, size_a, size_b), done) / n
    truth = n_log_n[class_sizes].sum() / n
    information = mutual + np.log(n) - truth - own
    chance = _running_chance(changes, class_sizes, done)
    limit = np.log(n) - (truth + own) / 2 - chance
    clusters = n - _running(sign, done)
    trivial = (clusters == 1) | (len(class_sizes) == 1)
    tiny = np.finfo(np.float64).eps
    ami = (information - chance) / np.where(np.abs(limit) < tiny, tiny, limit)
    ami = np.where(exact, 1.0, np.where(trivial, 0.0, ami))
    return ari, ami, f1


def _running(steps: NDArray[np.int64] | Floats, done: Ints) -> NDArray[np.int64] | Floats:
    """The sum of the first `done` steps, for each entry of `done`."""
    return np.concatenate([np.zeros(1, dtype=steps.dtype), np.cumsum(steps)])[done]


def _x_log_x(largest: int) -> Floats:
    x = np.arange(largest + 1, dtype=np.float64)
    x[0] = 1  # 0 log 0 = 0
    table: Floats = x * np.log(x)
    return table


def _merge_gain(table: Floats, a: Ints, b: Ints) -> Floats:
    gain: Floats = table[a + b] - table[a] - table[b]
    return gain


def _running_chance(changes: ClusterChanges, class_sizes: Ints, done: Ints) -> Floats:
    """The mutual information expected by chance, after each number of changes."""
    n = int(class_sizes.sum())
    together = changes.size_a + changes.size_b
    sizes, where = np.unique(
        np.concatenate([[1], together, changes.size_a, changes.size_b]), return_inverse=True
    )
    of_one, *rest = np.split(
        _chance(sizes, class_sizes)[where], np.cumsum([1, *[len(together)] * 3])[:3]
    )
    gain = changes.sign * (rest[0] - rest[1] - rest[2])
    result: Floats = n * of_one[0] + _running(gain, done)
    return result


def _chance(cluster_sizes: Ints, class_sizes: Ints, max_cells: int = 2_000_000) -> Floats:
    """What one cluster of each size adds to the expected mutual information.

    The overlap of a cluster of b rows with a class of a rows, by chance, is hypergeometric
    with mean a b / n. Overlaps more than 12 standard deviations from the mean weigh less than
    float64 can show, and are skipped.
    """
    n = int(class_sizes.sum())
    logs = np.log(np.maximum(np.arange(n + 1), 1))
    log_factorial = np.cumsum(logs)
    result = np.zeros(len(cluster_sizes))
    for a, count in zip(*np.unique(class_sizes, return_counts=True), strict=True):
        for start in range(0, len(cluster_sizes), step := max(1, max_cells // int(a))):
            b = cluster_sizes[start : start + step]
            mean = a * b / n
            reach = 12 * np.sqrt(mean) + 30
            lowest = np.maximum(np.maximum(2, a + b - n), np.floor(mean - reach)).astype(np.int64)
            highest = np.minimum(np.minimum(a, b), np.ceil(mean + reach)).astype(np.int64)
            width = max(0, int((highest - lowest).max(initial=-1)) + 1)
            k = lowest[:, None] + np.arange(width)
            inside = k <= highest[:, None]
            k = np.minimum(k, highest[:, None].clip(min=0))
            log_p = (
                (log_factorial[b] + log_factorial[n - b])[:, None]
                + (log_factorial[a] + log_factorial[n - a] - log_factorial[n])
                - log_factorial[k]
                - log_factorial[a - k]
                - log_factorial[b[:, None] - k]
                - log_factorial[n - a - b[:, None] + k]
            )
            k_log_k = (np.exp(log_p) * (k * logs[k]) * inside).sum(axis=1)
            result[start : start + step] += (
                count / n * (k_log_k + mean * (logs[n] - logs[a] - logs[b]))
            )
    return result
