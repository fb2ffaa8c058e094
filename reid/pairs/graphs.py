"""Probabilities of pairs as a neighbour graph: the scale that everything behind it works on."""

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.neighbors import Graph
from reid.pairs.pair_calibration import probability


def pairs_graph(n: int, pairs: NDArray[np.signedinteger], log_odds: NDArray[np.floating]) -> Graph:
    """The graph with distance 1 − P(same individual) on every pair that was looked at.

    Args:
        n: rows.
        pairs: (m, 2) rows, each pair once, in any order and direction.
        log_odds: (m,) of P.

    Returns:
        Graph of n rows. A pair that is not in it was not looked at; it is no nearer than 1.

    Raises:
        InputError: a row out of range, a pair of one row, or a pair twice.
    """
    low, high = pairs.min(axis=1, initial=n), pairs.max(axis=1, initial=-1)
    if len(pairs) and (low.min() < 0 or high.max() >= n or (low == high).any()):
        raise InputError(f"pairs: rows must be two different ones of 0 to {n - 1}")
    order = np.lexsort((high, low))
    edges = np.stack([low[order], high[order]], axis=1).astype(np.int32)
    if (np.diff(edges.astype(np.int64), axis=0) == 0).all(axis=1).any():
        raise InputError("pairs: a pair is given twice")
    distances = (1 - probability(np.asarray(log_odds)[order])).astype(np.float32)
    return Graph(n, edges, distances)
