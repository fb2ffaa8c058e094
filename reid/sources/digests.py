"""Digests of many short texts, and the texts of many boxes, a column at a time.

The texts are what Python's own formatting gives, to the digit: ids that were made of them stay.
"""

import hashlib
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

_LARGEST = 1e12  # scaled; up to here a product's error is far below what `_NEAR_TIE` allows
_NEAR_TIE = 1e-3
_PLAIN = (1e-4, 1e16)  # Python writes numbers outside with an exponent


def hex_digests(texts: pa.Array, size: int) -> pa.Array:
    """(n,) strings of 2 × size hex digits: blake2b of (n,) strings without nulls."""
    digest = hashlib.blake2b
    made = b"".join(
        [digest(text, digest_size=size).digest() for text in texts.cast(pa.binary()).to_pylist()]
    )
    starts = np.arange(len(texts) + 1, dtype=np.int32) * (2 * size)
    return pa.StringArray.from_buffers(
        len(texts), pa.py_buffer(starts), pa.py_buffer(made.hex().encode())
    )


def fixed_texts(values: NDArray[np.float64], decimals: int) -> pa.Array:
    """(n,) numbers as `%.3f` writes them, with that many decimals."""
    scaled = values * 10.0**decimals
    nearest = np.rint(scaled)
    # A tie of the product may be none of the number itself, and -0.0001 is written -0.000.
    tie = np.abs(np.abs(scaled - nearest) - 0.5) < _NEAR_TIE
    odd = tie | np.signbit(values) | ~(scaled < _LARGEST)
    whole, part = np.divmod(np.where(odd, 0, nearest).astype(np.int64), 10**decimals)
    if part.any():
        parts = _parts(decimals).take(pa.array(part.astype(np.int32)))
    else:
        parts = pa.scalar("." + "0" * decimals)
    texts = pc.binary_join_element_wise(pa.array(whole).cast(pa.string()), parts, "")
    return _with(texts, odd, [f"{value:.{decimals}f}" for value in values[odd].tolist()])


@cache
def _parts(decimals: int) -> pa.Array:
    return pa.array([f".{part:0{decimals}d}" for part in range(10**decimals)], pa.string())


def number_texts(values: NDArray[np.float64]) -> pa.Array:
    """(n,) numbers as Python's `repr` writes them."""
    size = np.abs(values)
    whole = (values == np.rint(values)) & (size < _PLAIN[1])
    odd = ~whole & ~((size >= _PLAIN[0]) & (size < _PLAIN[1]))
    odd |= (values == 0) & np.signbit(values)
    if whole.all():
        texts = pa.array(values.astype(np.int64)).cast(pa.string())
    else:
        texts = pa.array(values).cast(pa.string())
    ends = pa.array(["", ".0"]).take(pa.array(whole.astype(np.int8)))
    texts = pc.binary_join_element_wise(texts, ends, "")
    return _with(texts, odd, [repr(value) for value in values[odd].tolist()])


def _with(texts: pa.Array, rows: NDArray[np.bool_], other: list[str]) -> pa.Array:
    if not other:
        return texts
    return pc.replace_with_mask(texts, pa.array(rows), pa.array(other, pa.string()))
