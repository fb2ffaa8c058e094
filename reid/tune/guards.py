"""Warnings about a clustering that looks wrong, in plain words and with what to try."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

LARGEST_SHARE = 0.5
SINGLETON_SHARE = 0.9
FEW_ROWS = 10  # below this, one cluster of half of the images is nothing strange


def warnings(
    labels: NDArray[np.int64],
    *,
    eps: float | None = None,
    ceiling: float | None = None,
    at_edge: Literal["low", "high"] | None = None,
) -> list[str]:
    """Sanity warnings about these clusters.

    Args:
        labels: (n,) int64, every -1 (noise) is a singleton.
        eps: the threshold, if there is one.
        ceiling: the end of the range in which it was searched.
        at_edge: of the tuning, see `Best`.

    Returns:
        Sentences; empty when nothing stands out.
    """
    found = []
    n = len(labels)
    sizes = np.bincount(labels[labels >= 0]) if n else np.zeros(0, dtype=np.int64)
    largest = int(sizes.max(initial=0))
    alone = int((labels < 0).sum() + (sizes == 1).sum())
    at = "" if eps is None else f" at threshold {eps:.4g}"
    if n >= FEW_ROWS and largest > LARGEST_SHARE * n:
        found.append(
            f"one cluster holds {largest:,} of {n:,} images ({largest / n:.0%}){at}: different "
            "individuals have probably merged. Try a lower threshold (cluster.eps), "
            "cluster.method=average, which does not chain, or a better model; if it is one "
            "individual indeed, ignore this"
        )
    if n >= FEW_ROWS and alone > SINGLETON_SHARE * n:
        found.append(
            f"{alone:,} of {n:,} images ({alone / n:.0%}) stand alone{at}: images of one individual "
            "have probably not found each other. Try a higher threshold (cluster.eps), crops that "
            "show the animal only, or a better model; if hardly any individual was seen twice, "
            "ignore this"
        )
    if at_edge == "high":
        end = "" if ceiling is None else f" ({ceiling:.4g})"
        found.append(
            f"the best threshold lies at the upper end of the range searched{end}: a better one may "
            "lie beyond. Raise the ceiling, and check that the labels belong to these images"
        )
    elif at_edge == "low":
        found.append(
            "the best threshold merges nothing (encounters apart): the embeddings do not tell the labelled individuals "
            "apart. Try another model or fine-tune one, and check the labels"
        )
    return found
