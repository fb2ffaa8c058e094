"""Clusters that an encounter connects are one: a burst shows one animal, however it turns in it."""

import numpy as np
from numpy.typing import NDArray


def join_encounters(
    labels: NDArray[np.int64], encounters: NDArray[np.int64], images: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Join the clusters of each encounter, but of those with several animals in one image.

    Args:
        labels: (n,) cluster of each row, −1 = noise, which is a cluster of its own here.
        encounters: (n,) number of each row's encounter, −1 for none.
        images: (n,) number of each row's image: two rows of one are two animals.

    Returns:
        (n,) labels 0 … in order of their first rows, −1 for noise that nothing joins; and how many
        encounters of several rows were passed over for their images of several animals.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.flatnonzero(encounters >= 0)
    rows = rows[np.lexsort((images[rows], encounters[rows]))]
    same = encounters[rows][1:] == encounters[rows][:-1]
    twice = same & (images[rows][1:] == images[rows][:-1])
    mixed = np.unique(encounters[rows][1:][twice])
    same &= ~np.isin(encounters[rows][1:], mixed)
    noise = labels < 0
    nodes = labels.copy()
    nodes[noise] = labels.max(initial=-1) + 1 + np.arange(noise.sum())
    ends = nodes[rows[:-1][same]], nodes[rows[1:][same]]
    size = int(nodes.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(ends[0]), bool), ends), shape=(size, size))
    joined = connected_components(graph, directed=False)[1][nodes]
    _, first, inverse, counts = np.unique(
        joined, return_index=True, return_inverse=True, return_counts=True
    )
    alone = (counts == 1) & noise[first]
    order = np.argsort(np.where(alone, len(labels), first), kind="stable")
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order))
    numbers[alone] = -1
    return numbers[inverse], len(mixed)
