"""A matcher learns which two pictures show one animal: pairs that it takes for each other wrongly, set right."""

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reid.errors import TrainingDivergedError

if TYPE_CHECKING:
    import torch

MARGIN = 0.5
RATE = 1e-5
# Anchor, another picture of the same individual, a picture of another one.
Triplet = tuple[int, int, int]
# Two rows' points → (1, n, m) confidences that two points are the same.
Confidences = Callable[[int, int], "torch.Tensor"]


def hard_triplets(
    pairs: NDArray[np.signedinteger],
    log_odds: NDArray[np.floating],
    individuals: NDArray[np.signedinteger],
) -> list[Triplet]:
    """For each pair of one animal and each of its ends, the stranger that is taken for it most surely.

    Args:
        pairs: (m, 2) rows of a shortlist.
        log_odds: (m,) of one individual.
        individuals: (m, 2) of both ends, −1: not known, or not to be learned from.

    Returns:
        Triplets of rows, those whose stranger is taken for the animal most surely first; none of rows
        without a stranger in the shortlist.
    """
    known = (individuals >= 0).all(axis=1)
    same = known & (individuals[:, 0] == individuals[:, 1])
    hardest: dict[int, tuple[float, int]] = {}
    for (a, b), odds in zip(pairs[known & ~same].tolist(), log_odds[known & ~same], strict=True):
        for anchor, other in ((a, b), (b, a)):
            # Of equally sure ones the lower row: no order of the pairs decides.
            best = hardest.get(anchor, (-np.inf, -1))
            if (odds, -other) > (best[0], -best[1]):
                hardest[anchor] = (float(odds), other)
    found = [
        (hardest[anchor][0], (anchor, mate, hardest[anchor][1]))
        for pair in pairs[same].tolist()
        for anchor, mate in (pair, pair[::-1])
        if anchor in hardest
    ]
    found.sort(key=lambda one: (-one[0], one[1]))
    return [triplet for _, triplet in found]


def judged_pairs(
    pairs: NDArray[np.signedinteger],
    individuals: NDArray[np.signedinteger],
    most: int,
    *,
    seed: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pairs that a matcher is judged by: of one animal, and as many of two, drawn by chance.

    Not the hardest strangers: those are hard for the matcher that the shortlist was ordered by, and any other
    would look better than it.

    Args:
        pairs: (m, 2) rows of a shortlist.
        individuals: (m, 2) of both ends, −1: not known, or not to be judged by.
        most: pairs in all.
        seed: of the draw.

    Returns:
        (k, 2) pairs in the order given, and (k,) whether they are of one animal.
    """
    known = (individuals >= 0).all(axis=1)
    same = individuals[:, 0] == individuals[:, 1]
    mates, strangers = np.flatnonzero(known & same), np.flatnonzero(known & ~same)
    count = min(len(mates), len(strangers), most // 2)
    rng = np.random.default_rng(seed)
    drawn = np.sort(np.concatenate([rng.permutation(some)[:count] for some in (mates, strangers)]))
    return pairs[drawn].astype(np.int64), same[drawn]


def relaxed_score(confidences: "torch.Tensor") -> "torch.Tensor":
    """How much two pictures share, in [0, 1], with a gradient everywhere: () of (1, n, m).

    Half the mean of each point's surest partner, seen from one picture, and half seen from the other.
    """
    best_of_rows = confidences.amax(dim=2).mean()
    best_of_columns = confidences.amax(dim=1).mean()
    return (best_of_rows + best_of_columns) / 2


def matcher_optimizer(
    parameters: Sequence["torch.nn.Parameter"], rate: float = RATE
) -> "torch.optim.Optimizer":
    """AdamW for `train_matcher`; parameters that have no part in the confidences stay as they are."""
    import torch

    return torch.optim.AdamW(parameters, lr=rate)


def train_matcher(
    confidences: Confidences,
    optimizer: "torch.optim.Optimizer",
    triplets: Sequence[Triplet],
    *,
    batch: int = 8,
    margin: float = MARGIN,
    share_gradients: Callable[[Sequence["torch.nn.Parameter"]], None] = lambda _: None,
) -> Iterator[float]:
    """Steps over triplets in their order; gives the mean loss of each step once it is done.

    Args:
        confidences: of two rows, with gradients to what the optimizer moves.
        optimizer: of `matcher_optimizer`.
        triplets: of `hard_triplets`, or this worker's share of them.
        batch: triplets a step.
        margin: by which a mate must score above a stranger.
        share_gradients: called before each step, to average gradients with other workers.

    Raises:
        TrainingDivergedError: the loss is no number any more.

    Source:
        Relaxed score and triplet loss as published for LightGlue tuned on animals' coats (mean of the
        largest confidences, both ways; margin 0.5; AdamW 1e-5). After 320 triplets of the nyala five times that rate
        had gone four times as far by this score, and lost by the evidence that pairs are judged by.
    """
    import torch

    parameters = [one for group in optimizer.param_groups for one in group["params"]]
    for start in range(0, len(triplets), batch):
        part = triplets[start : start + batch]
        optimizer.zero_grad(set_to_none=True)
        total = 0.0
        for anchor, mate, stranger in part:
            mates = relaxed_score(confidences(anchor, mate))
            strangers = relaxed_score(confidences(anchor, stranger))
            loss = torch.relu(margin - mates + strangers) / len(part)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        if not np.isfinite(total):
            raise TrainingDivergedError(
                f"the matcher's loss is {total} after {start:,} triplets; take a lower finetune.matcher_rate"
            )
        share_gradients(parameters)
        optimizer.step()
        yield total
