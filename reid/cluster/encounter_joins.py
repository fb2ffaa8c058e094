"""Clusters that an encounter connects are one: a burst shows one animal, however it turns in it."""

import numpy as np
from numpy.typing import NDArray


def join_encounters(
    labels: NDArray[np.int64],
    encounters: NDArray[np.int64],
    images: NDArray[np.int64],
    identities: NDArray[np.int64] | None = None,
) -> tuple[NDArray[np.int64], int]:
    """Join the clusters of each encounter, but of those that show several animals.

    Args:
        labels: (n,) cluster of each row, −1 = noise, which is a cluster of its own here.
        encounters: (n,) number of each row's encounter, −1 for none.
        images: (n,) number of each row's image: two rows of one are two animals.
        identities: (n,) number of each row's known identity, −1 for none; two in an encounter are two
            animals. None: none is known.

    Returns:
        (n,) labels 0 … in order of their first rows, −1 for noise that nothing joins; and how many
        encounters of several rows were passed over as they show several animals.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    rows = np.flatnonzero(encounters >= 0)
    rows = rows[np.lexsort((images[rows], encounters[rows]))]
    same = encounters[rows][1:] == encounters[rows][:-1]
    twice = same & (images[rows][1:] == images[rows][:-1])
    mixed = np.unique(encounters[rows][1:][twice])
    if identities is not None:
        known = rows[identities[rows] >= 0]
        named = np.unique(np.stack([encounters[known], identities[known]], axis=1), axis=0)
        met, names = np.unique(named[:, 0], return_counts=True)
        mixed = np.union1d(mixed, met[names > 1])
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
