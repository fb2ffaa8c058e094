"""Too many clusters, joined to fewer: how many individuals there are, where nobody knows."""

import numpy as np
from numpy.typing import NDArray


def join_clusters(
    labels: NDArray[np.int64], neighbours: NDArray[np.signedinteger]
) -> NDArray[np.int64]:
    """Join the clusters that share more nearest images than chance would give them.

    With s(a, b) the share of all links, from an image to one of its nearest, that go from cluster a to b or back,
    halved, and s(a) the sum over b, joining a and b raises the modularity of the graph by 2 (s(a, b) − s(a) s(b)).
    The pair that raises it most is joined, again and again, until no pair does.

    Args:
        labels: (n,) int64, cluster of each row, all at least 0.
        neighbours: (n, k) int, the nearest rows of each row, −1 where there are none.

    Returns:
        (n,) int64, numbers from 0 in the order in which clusters first appear.

    Source:
        Newman 2004, "Fast algorithm for detecting community structure in networks", starting from the clusters
        given in place of single rows.
    """
    _, cluster = np.unique(labels, return_inverse=True)
    count = int(cluster.max(initial=-1)) + 1
    row, place = np.nonzero(neighbours >= 0)
    links = np.zeros((count, count))
    np.add.at(links, (cluster[row], cluster[neighbours[row, place]]), 1)
    shared = (links + links.T) / max(2 * len(row), 1)
    now = np.arange(count)
    while True:
        own = shared.sum(axis=1)
        gain = np.triu(shared - np.outer(own, own), 1)
        best = int(gain.argmax()) if gain.size else 0
        if not gain.size or gain.flat[best] <= 0:
            break
        kept, gone = divmod(best, count)
        shared[kept] += shared[gone]
        shared[:, kept] += shared[:, gone]
        shared[gone] = shared[:, gone] = 0
        now[now == gone] = kept
    _, first, joined = np.unique(now[cluster], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[joined].astype(np.int64)
