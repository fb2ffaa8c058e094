"""Words as numbers: what a column of strings says, in the place of strings."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


def numbered(words: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.StringArray]:
    """(n,) the place of each word among all of them, which come back too, sorted; −1 for null."""
    whole = words.combine_chunks() if isinstance(words, pa.ChunkedArray) else words
    coded = whole.dictionary_encode()
    order = pc.sort_indices(coded.dictionary)
    rank = np.full(len(order) + 1, -1, np.int64)  # −1, for null, is the last place
    rank[order.to_numpy()] = np.arange(len(order))
    codes = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    return rank[codes], coded.dictionary.take(order)
