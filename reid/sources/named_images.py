"""Which annotations does the table of somebody else mean by a name: an id, a path, or a file name?"""

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

KEYS = ("image_id", "image_path", "annotation_id", "file name")


class Named(NamedTuple):
    """What names mean.

    Attributes:
        key: of KEYS, what the names are.
        name: (m,) int64, position of the name, rising; a name of an image with k boxes is there k times.
        row: (m,) int64, the annotation that it means.
        unknown: (u,) int64, positions of the names that mean nothing here.
    """

    key: str
    name: NDArray[np.int64]
    row: NDArray[np.int64]
    unknown: NDArray[np.int64]


def find_named(names: Sequence[str], rows: pd.DataFrame) -> Named:
    """The annotations that each name means, by the key that knows most of the names.

    Args:
        names: as another table has them, in any order, also repeatedly.
        rows: annotations with image_id (may be null), image_path and annotation_id.
    """
    best: Named | None = None
    for key in KEYS:
        found = _by(key, names, rows)
        if best is None or len(found.unknown) < len(best.unknown):
            best = found
        if not len(best.unknown):
            break
    assert best is not None
    return best


def _by(key: str, names: Sequence[str], rows: pd.DataFrame) -> Named:
    if key == "file name":
        own = pd.Series([PurePosixPath(path).name for path in rows["image_path"]], dtype=object)
        asked = pd.Series([PurePosixPath(name).name for name in names], dtype=object)
    else:
        own = rows[key].reset_index(drop=True).astype(object)
        asked = pd.Series(list(names), dtype=object)
        if key == "image_path":
            asked = asked.str.replace("\\", "/").str.removeprefix("./")
    here = pd.DataFrame({"key": own, "row": np.arange(len(own))}).dropna()
    there = pd.DataFrame({"key": asked, "name": np.arange(len(asked))})
    both = there.merge(here, on="key", how="inner").sort_values(["name", "row"], kind="stable")
    unknown = np.setdiff1d(np.arange(len(asked)), both["name"])
    return Named(key, both["name"].to_numpy(np.int64), both["row"].to_numpy(np.int64), unknown)
