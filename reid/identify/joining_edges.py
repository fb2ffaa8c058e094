"""Edges that alone hold two parts of a graph together."""

import numpy as np
from numpy.typing import NDArray

from reid.identify.constrained_partition import minimum_links


def joining_edges(
    n: int, links: NDArray[np.integer], sizes: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The links whose removal cuts a component in two, and what lies on either side.

    Args:
        n: nodes.
        links: (m, 2) pairs of different nodes; a pair that is linked twice is no bridge.
        sizes: (n,) rows that a node stands for.

    Returns:
        places (k,) int64 of the bridges in `links`, rising, and (k, 2) int64 the rows on the sides
        of their first and their second node.

    Source:
        Tarjan 1974 (lowest number reachable), without recursion. Before it, two spanning forests one
        after the other keep every cut of less than two links (Nagamochi & Ibaraki 1992): at most
        2 n links are looked at one by one, however many there are.
    """
    pairs = links.astype(np.int64)
    forest = minimum_links(n, pairs)
    rest = np.setdiff1d(np.arange(len(pairs)), forest, assume_unique=True)
    kept = np.concatenate([forest, rest[minimum_links(n, pairs[rest])]])
    ends = pairs[kept]
    nodes = np.concatenate([ends[:, 0], ends[:, 1]])
    order = np.argsort(nodes, kind="stable")
    others = np.concatenate([ends[:, 1], ends[:, 0]])[order].tolist()
    names = np.tile(np.arange(len(kept)), 2)[order].tolist()
    begin = np.searchsorted(nodes[order], np.arange(n + 1)).tolist()

    number = [-1] * n
    low = [0] * n
    subtree_rows = sizes.tolist()  # of a node and all that was first reached through it
    tree_root = list(range(n))
    cursor = begin[:n]
    found: list[tuple[int, int, int]] = []  # place in kept, upper node, lower node
    count = 0
    for root in np.unique(nodes).tolist():
        if number[root] >= 0:
            continue
        number[root] = low[root] = count
        count += 1
        stack = [(root, -1)]
        while stack:
            node, came_by = stack[-1]
            if cursor[node] < begin[node + 1]:
                at = cursor[node]
                cursor[node] += 1
                other, link = others[at], names[at]
                if link == came_by:
                    continue
                if number[other] >= 0:
                    low[node] = min(low[node], number[other])
                else:
                    number[other] = low[other] = count
                    count += 1
                    tree_root[other] = root
                    stack.append((other, link))
                continue
            stack.pop()
            if stack:
                upper = stack[-1][0]
                low[upper] = min(low[upper], low[node])
                subtree_rows[upper] += subtree_rows[node]
                if low[node] > number[upper]:
                    found.append((came_by, upper, node))
    if not found:
        return np.empty(0, np.int64), np.empty((0, 2), np.int64)
    link, _, lower = np.asarray(found).T
    rows_of, root_of = np.asarray(subtree_rows), np.asarray(tree_root)
    lower_rows = rows_of[lower]
    upper_rows = rows_of[root_of[lower]] - lower_rows
    first_is_lower = ends[link, 0] == lower
    parts = np.stack(
        [
            np.where(first_is_lower, lower_rows, upper_rows),
            np.where(first_is_lower, upper_rows, lower_rows),
        ],
        axis=1,
    )
    places = kept[link]
    rising = np.argsort(places)
    return places[rising], parts[rising]
