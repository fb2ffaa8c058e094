"""Is this a matrix of unit rows?"""

import numpy as np

from reid.errors import InputError

# Rows that went through float16 are off by up to about 5e-5; anything worse was never normalised.
UNIT_TOLERANCE = 1e-4


def check_unit_rows(embeddings: np.ndarray, name: str = "embeddings", first_row: int = 0) -> None:
    """Raise unless `embeddings` is an (n, d) float32 matrix of finite rows of length 1 ± 1e-4.

    Args:
        embeddings: what should be (n, d) float32, d ≥ 1; n = 0 is fine.
        name: what to call it in the message.
        first_row: number of the first row in the message, for a block of a larger whole.

    Raises:
        InputError: wrong type or shape, or NaN, infinite, zero or non-unit rows; it says how many
            rows are bad and names the first.
    """
    if not isinstance(embeddings, np.ndarray) or embeddings.dtype != np.float32:
        found = getattr(embeddings, "dtype", type(embeddings).__name__)
        raise InputError(
            f"{name}: found {found}, needs a float32 array; convert it with .astype(numpy.float32)"
        )
    if embeddings.ndim != 2 or embeddings.shape[1] == 0:
        raise InputError(
            f"{name}: found shape {embeddings.shape}, needs (rows, dimensions) with one row an image"
        )
    with np.errstate(over="ignore", invalid="ignore"):
        length = np.sqrt(np.einsum("ij,ij->i", embeddings, embeddings))
    bad = np.flatnonzero(~(np.abs(length - 1) <= UNIT_TOLERANCE))  # NaN fails every comparison
    if bad.size == 0:
        return
    if not np.isfinite(length[bad]).all():
        bad = bad[~np.isfinite(length[bad])]
        problem, fix = "NaN or infinite", "drop these rows, or embed their images again"
    elif (length[bad] == 0).any():
        bad = bad[length[bad] == 0]
        problem, fix = "zero", "drop these rows: nothing is near to a zero vector"
    else:
        worst = length[bad[np.argmax(np.abs(length[bad] - 1))]]
        problem = f"not unit length (the worst is {worst:.6g}, allowed is 1 ± {UNIT_TOLERANCE:g})"
        fix = "divide each row by its Euclidean norm"
    first = ", ".join(map(str, bad[:5] + first_row)) + (", …" if bad.size > 5 else "")
    raise InputError(
        f"{name}: {bad.size} of {len(embeddings)} rows are {problem}: rows {first}; {fix}"
    )
