"""Batches of hard pairs, as the network sees the training images when an epoch begins."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BLOCK_ROWS = 1024  # of the similarities of all training rows, which are never there at once


class HardPairs(NamedTuple):
    """Of each training row.

    Attributes:
        positive: (n,) int64, the least similar row of its identity; −1 where it is alone.
        negative: (n,) int64, the most similar row of another identity; −1 where there is none.
        violation: (n,) float32, how much more similar the stranger is than the own; −inf where one of
            them is missing.
    """

    positive: NDArray[np.int64]
    negative: NDArray[np.int64]
    violation: NDArray[np.float32]


def find_hard_pairs(vectors: NDArray[np.float32], codes: NDArray[np.int64]) -> HardPairs:
    """The hardest own and strange row of each.

    Args:
        vectors: (n, d) float32, unit rows; a row of NaN is an image that cannot be read, and in no pair.
        codes: (n,) int64, identities.
    """
    n = len(codes)
    usable = np.asarray(np.isfinite(vectors).all(axis=1))
    rows = np.where(usable[:, None], vectors, np.float32(0))
    positive, negative = np.full(n, -1), np.full(n, -1)
    violation = np.full(n, -np.inf, np.float32)
    for start in range(0, n, BLOCK_ROWS):
        own = np.arange(start, min(start + BLOCK_ROWS, n))
        similarity = rows[own] @ rows.T
        same = codes[own][:, None] == codes[None, :]
        friends = same & usable[None, :]
        friends[np.arange(len(own)), own] = False
        least = np.where(friends, similarity, np.inf).argmin(axis=1)
        most = np.where(~same & usable[None, :], similarity, -np.inf).argmax(axis=1)
        has_friend = friends.any(axis=1) & usable[own]
        has_stranger = (~same & usable[None, :]).any(axis=1) & usable[own]
        positive[own] = np.where(has_friend, least, -1)
        negative[own] = np.where(has_stranger, most, -1)
        place = np.arange(len(own))
        gap = similarity[place, most] - similarity[place, least]
        violation[own] = np.where(has_friend & has_stranger, gap, -np.inf)
    return HardPairs(positive, negative, violation)


def hard_batches(
    pairs: HardPairs,
    codes: NDArray[np.int64],
    *,
    steps: int,
    identities: int,
    images: int,
    seed: int,
    epoch: int,
    rank: int = 0,
    world: int = 1,
) -> NDArray[np.int64]:
    """Batches of P identities × K images that hold the hardest pairs, the hardest first.

    An anchor's group is the anchor, its hardest image and others of its identity; beside it stands the
    group of the stranger that it is most often taken for. An identity is in a batch once; where hard
    pairs run out, or do not fit, random identities fill it.

    Args:
        pairs: of `find_hard_pairs`.
        codes: (n,) int64, the identity of each row.
        steps: how many batches.
        identities, images: P and K.
        seed, epoch: of what is drawn.
        rank, world: this worker, and the number of workers.

    Returns:
        (steps, P·K) int64 row numbers: this rank's. Fewer steps where no pair is hard: none.
    """
    rng = np.random.default_rng([seed, epoch, 1])
    anchors = np.argsort(-pairs.violation, kind="stable")
    anchors = anchors[np.isfinite(pairs.violation[anchors])]
    if not len(anchors):
        return np.empty((0, identities * images), np.int64)
    names, where = np.unique(codes, return_inverse=True)
    rows_of = np.split(np.argsort(where, kind="stable"), np.cumsum(np.bincount(where))[:-1])
    batches: list[list[NDArray[np.int64]]] = [[] for _ in range(steps * world)]
    taken: list[set[int]] = [set() for _ in batches]

    def group(first: int) -> NDArray[np.int64]:
        """K rows of one identity: this one, its hardest, and others."""
        others = rng.permutation(rows_of[where[first]])
        hardest = pairs.positive[first]
        chosen = [first, *([hardest] if hardest >= 0 else []), *others]
        return np.resize(np.asarray(list(dict.fromkeys(chosen))[:images]), images)

    used: set[int] = set()
    for anchor in anchors.tolist():  # dealt to the batches in turn, so that all get hard ones
        stranger = int(pairs.negative[anchor])
        both = {int(where[anchor]), int(where[stranger])}
        if anchor in used or stranger in used:
            continue
        fits = [
            i
            for i, batch in enumerate(batches)
            if len(batch) + 2 <= identities and not both & taken[i]
        ]
        if not fits:
            if all(len(batch) + 2 > identities for batch in batches):
                break
            continue
        place = min(fits, key=lambda i: len(batches[i]))
        batches[place] += [group(anchor), group(stranger)]
        taken[place] |= both
        used |= {anchor, stranger}
    for batch, inside in zip(batches, taken, strict=True):
        free = [i for i in rng.permutation(len(names)).tolist() if i not in inside]
        while len(batch) < identities:
            name = free.pop() if free else int(rng.integers(len(names)))
            batch.append(group(int(rng.choice(rows_of[name]))))
    plan = np.stack([np.concatenate(batch) for batch in batches])
    return plan.reshape(steps, world, -1)[:, rank]
