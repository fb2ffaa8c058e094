"""What labels say of the stage: how much the shortlist can find, and how often the best pair is right."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reid.pairs import has_mate, nearest_comparable, ranked_lists, shortlist_recall

LONGEST = 250


@dataclass(frozen=True)
class FigureRows:
    """What figures need to know of the rows of one species; −1 is unknown or none everywhere."""

    ids: list[str]
    vectors: np.ndarray
    identities: np.ndarray
    sides: np.ndarray | None
    encounters: np.ndarray
    photographs: np.ndarray
    split: tuple[np.ndarray, np.ndarray] | None  # of `reid.splits.column_split`


def figures(
    rows: FigureRows,
    *,
    wide: tuple[np.ndarray, np.ndarray],
    matched: tuple[np.ndarray, dict[str, np.ndarray]],
    device: str,
) -> dict[str, Any]:
    """Recall of the shortlist and top-1 by each score, own encounter and own photograph left out.

    Where a column `split` names queries and a gallery, queries ask and the gallery answers.

    Args:
        rows: of the species.
        wide: pairs (m, 2) that were voted on, and their votes.
        matched: pairs (p, 2) that were matched, and their scores by name.
        device: of the neighbour search.

    Returns:
        Empty where no labelled row has a mate that it may be compared with.
    """
    n = len(rows.ids)
    split = rows.split is not None
    asking, answering = rows.split or (np.ones(n, bool), np.ones(n, bool))
    apart = [rows.photographs, rows.encounters]
    counted = has_mate(rows.identities, rows.sides, apart, answering) & asking
    if not counted.any():
        return {}
    k = min(LONGEST, n - 1)
    near, _ = nearest_comparable(
        rows.vectors, k, sides=rows.sides, apart=apart, answering=answering, device=device
    )

    def recall(pairs: np.ndarray, scores: np.ndarray) -> dict[int, float]:
        fine = np.ones(len(pairs), bool)
        for group in apart:
            fine &= (group[pairs[:, 0]] != group[pairs[:, 1]]) | (group[pairs[:, 0]] < 0)
        lists = ranked_lists(
            n, pairs[fine], scores[fine], k, names=rows.ids, asking=asking, answering=answering
        )
        return shortlist_recall(lists, rows.identities, counted)

    pairs, scores = matched
    by_cosine = shortlist_recall(near, rows.identities, counted)
    recalls = {"cosine": by_cosine, "votes": recall(*wide)}
    top = {f"top_1_{name}": recalls[name].get(1, 0.0) for name in recalls}
    top |= {f"top_1_{name}": recall(pairs, score).get(1, 0.0) for name, score in scores.items()}
    every = np.zeros(len(pairs))
    return {
        "asked": int(counted.sum()),
        "split": split,
        "shortlist_recall": recalls,
        "matched_recall": max(recall(pairs, every).values(), default=0.0),
        **top,
    }
