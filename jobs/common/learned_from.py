"""The pictures that a tuned matcher has learned from, remembered beside the pairs that it has matched.

Among these it tells animals apart better than among all others, so that their pairs teach nothing of how likely two
pictures are one animal, and their labels choose no cut and judge nothing that was made of such pairs.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import store

LEARNED_FROM = "matcher-learned-from.json"  # in an output folder


def write_learned_from(out: str, pictures: list[str]) -> None:
    """Remember annotation ids beside the pairs of an output folder; none: as without a tuned matcher."""
    store.write_json(store.join(out, LEARNED_FROM), pictures)


def learned_from(out: str, ids: pa.Array) -> NDArray[np.bool_]:
    """(n,) which of some annotation ids the matcher of an output folder's pairs has learned from."""
    try:
        pictures = store.read_json(store.join(out, LEARNED_FROM))
    except FileNotFoundError:  # pairs of a version of before
        pictures = []
    found: NDArray[np.bool_] = pc.is_in(ids, value_set=pa.array(pictures, pa.string())).to_numpy(
        zero_copy_only=False
    )
    return found


def labels_that_judge(out: str, ids: pa.Array, identities: NDArray[Any]) -> NDArray[Any]:
    """(n,) identities, None for pictures that the matcher has learned from."""
    known = learned_from(out, ids)
    if not known.any():
        return identities
    judging = identities.astype(object)
    judging[known] = None
    return judging
