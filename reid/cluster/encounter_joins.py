"""An encounter is one animal: clusters that it connects are one, at every threshold."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.cluster.forest import Forest, minimum_forest


def encounters_of_one_animal(
    encounters: NDArray[np.int64], images: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Leave out the encounters that show several animals, as two boxes of one image do.

    Args:
        encounters: (n,) number of each row's encounter, −1 for none.
        images: (n,) number of each row's image.

    Returns:
        (n,) the same numbers, −1 for the rows of encounters that were left out; and how many were.
    """
    met = np.flatnonzero(encounters >= 0)
    _, first = np.unique(
        np.stack([encounters[met], images[met]], axis=1), axis=0, return_index=True
    )
    again = np.ones(len(met), bool)
    again[first] = False
    mixed = np.unique(encounters[met][again])
    return np.where(np.isin(encounters, mixed), -1, encounters), len(mixed)


def encounters_of_one_name(
    encounters: NDArray[np.int64], identities: NDArray[np.int64]
) -> tuple[NDArray[np.int64], int]:
    """Leave out the encounters in which two individuals are known.

    Args:
        encounters: (n,) number of each row's encounter, −1 for none.
        identities: (n,) number of each row's known identity, −1 for none.

    Returns:
        As `encounters_of_one_animal`.
    """
    known = np.flatnonzero((encounters >= 0) & (identities >= 0))
    named = np.unique(np.stack([encounters[known], identities[known]], axis=1), axis=0)
    met, names = np.unique(named[:, 0], return_counts=True)
    mixed = met[names > 1]
    return np.where(np.isin(encounters, mixed), -1, encounters), len(mixed)


def join_encounters(labels: NDArray[np.int64], encounters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Join the clusters of each encounter.

    Args:
        labels: (n,) cluster of each row, −1 = noise, which is a cluster of its own here.
        encounters: (n,) number of each row's encounter, which is one animal; −1 for none.

    Returns:
        (n,) labels 0 … in order of their first rows, −1 for noise that nothing joins.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    noise = labels < 0
    nodes = labels.copy()
    nodes[noise] = labels.max(initial=-1) + 1 + np.arange(noise.sum())
    ends = nodes[encounter_links(encounters)]
    size = int(nodes.max(initial=-1)) + 1
    graph = coo_array((np.ones(len(ends), bool), (ends[:, 0], ends[:, 1])), shape=(size, size))
    joined = connected_components(graph, directed=False)[1][nodes]
    _, first, inverse, counts = np.unique(
        joined, return_index=True, return_inverse=True, return_counts=True
    )
    alone = (counts == 1) & noise[first]
    order = np.argsort(np.where(alone, len(labels), first), kind="stable")
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order))
    numbers[alone] = -1
    return numbers[inverse]


def forest_with_encounters(forest: Forest, encounters: NDArray[np.int64]) -> Forest:
    """The same merges, after each encounter has become one cluster at distance 0.

    Args:
        forest: of `spanning_forest` or `linkage_forest`.
        encounters: (n,) number of each row's encounter, which is one animal; −1 for none.

    Returns:
        Forest whose `labels_at(…, eps)` are those of `forest` after `join_encounters`, up to their
        numbers. Differs: with `min_samples` above 2, where a border row of an encounter takes its
        encounter to every cluster beside it, instead of to the one that it belongs to.
    """
    links = encounter_links(encounters)
    if not len(links):
        return forest
    first = np.arange(forest.n)
    linked = np.unique(links)
    _, start, group = np.unique(encounters[linked], return_index=True, return_inverse=True)
    first[linked] = linked[start][group]  # the row that stands for each of its encounter
    core = forest.core.copy()
    core[linked] = 0
    taken = np.isin(forest.borders[:, 0], linked)
    ends = first[np.concatenate([forest.merges, forest.borders[taken]])]
    ends.sort(axis=1)
    weights = np.concatenate([forest.weights, forest.border_weights[taken]])
    order = np.lexsort((weights, ends[:, 1], ends[:, 0]))
    ends, weights = ends[order], weights[order]
    new = np.append(True, (ends[1:] != ends[:-1]).any(axis=1))[: len(ends)] & (
        ends[:, 0] != ends[:, 1]
    )
    merges, merge_weights = minimum_forest(forest.n, ends[new].astype(np.int32), weights[new])
    return replace(
        forest,
        merges=np.concatenate([links.astype(np.int32), merges]),
        weights=np.concatenate([np.zeros(len(links), np.float32), merge_weights]),
        core=core,
        borders=forest.borders[~taken],
        border_weights=forest.border_weights[~taken],
    )


def encounter_links(encounters: NDArray[np.int64]) -> NDArray[np.int64]:
    """Pairs of rows that hold each encounter together.

    Args:
        encounters: (n,) number of each row's encounter, −1 for none.

    Returns:
        (c, 2) int64, rows that follow one another in an encounter.
    """
    rows = np.flatnonzero(encounters >= 0)
    rows = rows[np.argsort(encounters[rows], kind="stable")]
    steps = np.stack([rows[:-1], rows[1:]], axis=1)
    same = encounters[steps[:, 0]] == encounters[steps[:, 1]]
    return np.asarray(steps[same], np.int64)


def seen_once(individuals: pa.ChunkedArray | NDArray[np.int64], encounters: pa.ChunkedArray) -> int:
    """How many individuals were met a single time: twenty pictures of one burst are one sighting.

    Args:
        individuals: (n,) who each row shows.
        encounters: (n,) string of each row; null where none is known, which is a sighting of its own.
    """
    if isinstance(individuals, np.ndarray):
        who = individuals - individuals.min(initial=0)
    else:
        who = individuals.combine_chunks().dictionary_encode().indices.to_numpy()
    counts = np.bincount(who)
    alone = np.flatnonzero(encounters.is_null().to_numpy())
    # Who was seen alone and once more was seen twice; of all others the encounters decide.
    open_ones = counts > 1
    open_ones[who[alone]] = False
    some = np.flatnonzero(open_ones[who])
    met = encounters.take(pa.array(some)).combine_chunks().dictionary_encode().indices
    pairs = pa.table({"who": who[some], "met": met})
    several = pairs.group_by("who").aggregate([("met", "count_distinct")])
    in_bursts = pc.sum(pc.equal(several["met_count_distinct"], 1)).as_py() or 0
    return int(np.count_nonzero(counts == 1) + in_bursts)
