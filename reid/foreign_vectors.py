"""Anybody's embeddings: a `.npy` array, or a Parquet table with a column `embedding`.

Rows must be of unit length, as distances are 1 − cos. Rows that were unit before somebody stored them
as float16 are accepted, and made unit again, once; any others are refused: to divide by the length
would hide that they came from somewhere else than one thinks.
"""

import io
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from reid import store
from reid.errors import InputError

TEXTS = (
    "annotation_id", "image_path", "identity", "encounter_id", "species", "viewpoint", "location_id", "split",
    "content_hash",
)  # fmt: skip
TIME = "timestamp"
OWN = ("width", "height")  # what an embedding store has beside them, and nobody needs here
# A row of d values that was rounded to float16 (11 significant bits) is off unit length by at most
# 2⁻¹¹, by Cauchy–Schwarz; small values, which float16 keeps less well, add as much again.
HALF_TOLERANCE = 2.0**-10
EXACT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class ForeignVectors:
    """What a file holds.

    Attributes:
        vectors: (n, d) float32.
        texts: those of TEXTS that it has, n values each.
        times: (n,) timestamp[us], the cameras' wall clocks; None where it has none.
        notes: what was done to them, and what was not read.
    """

    vectors: np.ndarray
    texts: Mapping[str, list[str | None]]
    times: pa.ChunkedArray | None
    notes: list[str]


def read_foreign(path: str) -> ForeignVectors:
    """Read a file of embeddings.

    Args:
        path: file or URI, `.npy` or `.parquet`.

    Raises:
        InputError: it is not there, is no such file, holds no (n, d) matrix of finite numbers with
            n, d ≥ 1, or rows that are not of unit length. Nothing is ever unpickled.
    """
    suffix = path.rpartition(".")[2].lower()
    if suffix not in ("npy", "parquet"):
        raise InputError(f"{path}: unknown ending .{suffix}; known: .npy, .parquet")
    try:
        data = store.read_bytes(path)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error}") from error
    texts: dict[str, list[str | None]] = {}
    times, notes = None, list[str]()
    if suffix == "npy":
        array = _npy(path, data)
    else:
        array, texts, times, notes = _parquet(path, data)
    if not array.shape[0] or not array.shape[1]:
        raise InputError(f"{path}: no {'values in its rows' if array.shape[0] else 'rows'}")
    vectors, note = _unit(path, array)
    return ForeignVectors(vectors, texts, times, [note, *notes] if note else notes)


def _npy(path: str, data: bytes) -> np.ndarray:
    if data[:2] == b"PK":
        raise InputError(
            f"{path}: this is a zip file (.npz?) and no .npy; save the array itself with numpy.save"
        )
    try:
        # The header is read by numpy without unpickling; its own errors are of many kinds.
        array = _array(data)
    except (ValueError, OSError, EOFError, TypeError, KeyError, SyntaxError, MemoryError,
            OverflowError, RecursionError, UnicodeError) as error:  # fmt: skip
        raise InputError(f"{path}: cannot be read as a .npy file: {str(error)[:300]}") from error
    if array.ndim != 2 or not np.issubdtype(array.dtype, np.floating):
        raise InputError(
            f"{path}: an array of shape {array.shape} and type {array.dtype}; expected (images, "
            "dimensions) of floats"
        )
    return array


def _array(data: bytes) -> np.ndarray:
    """The array of a .npy file where it lies: `numpy.load` would hold it twice.

    Raises:
        ValueError, and others of numpy's: it is none.
    """
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"a .npy file of version {version[0]}.{version[1]}")
    read_header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, in_columns, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are never unpickled")
    count = math.prod(shape)
    values = np.frombuffer(data, dtype, count, offset=file.tell())
    return values.reshape(shape, order="F" if in_columns else "C")


def _parquet(
    path: str, data: bytes
) -> tuple[np.ndarray, dict[str, list[str | None]], pa.ChunkedArray | None, list[str]]:
    try:
        with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            wanted = [name for name in ("embedding", *TEXTS, TIME) if names.count(name) == 1]
            table = file.read(columns=wanted) if "embedding" in wanted else None
    except (pa.ArrowException, OSError, ValueError, MemoryError) as error:
        raise InputError(f"{path}: cannot be read as Parquet: {str(error)[:300]}") from error
    if table is None:
        raise InputError(
            f"{path}: {'several columns' if 'embedding' in names else 'no column'} `embedding`; found: "
            f"{', '.join(names[:20]) or 'none'}"
        )
    try:
        vectors = _lists(path, table["embedding"].combine_chunks())
        texts = {
            name: _text(path, name, table[name]) for name in TEXTS if name in table.column_names
        }
        times = _times(path, table[TIME]) if TIME in table.column_names else None
        unread = [name for name in dict.fromkeys(names) if name not in (*wanted, *OWN)]
        notes = [f"{path}: columns that are not read: {', '.join(unread[:20])}"] if unread else []
        return vectors, texts, times, notes
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be used: {str(error)[:300]}") from error


def _lists(path: str, column: pa.Array) -> np.ndarray:
    if isinstance(column, pa.ExtensionArray):  # Ray's and pandas' tensors are lists below
        column = column.storage
    kind = column.type
    is_list = (
        pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind) or pa.types.is_large_list(kind)
    )
    if not is_list or not pa.types.is_floating(kind.value_type):
        raise InputError(f"{path}: `embedding` is {kind}; expected lists of floats")
    if column.null_count:
        raise InputError(f"{path}: {column.null_count:,} rows have no embedding (null)")
    lengths = pc.unique(pc.list_value_length(column)).to_pylist()
    if len(lengths) > 1:
        raise InputError(
            f"{path}: rows of different lengths ({', '.join(map(str, lengths[:5]))}); one file holds "
            "embeddings of one recipe"
        )
    flat = column.flatten()
    if flat.null_count:
        raise InputError(f"{path}: {flat.null_count:,} values of `embedding` are null")
    values: np.ndarray = flat.to_numpy(zero_copy_only=False)
    return values.reshape(len(column), lengths[0] if lengths else 0)


def _times(path: str, column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_null(column.type):
        return column.cast(pa.timestamp("us"))
    if not pa.types.is_timestamp(column.type) or column.type.tz is not None:
        raise InputError(
            f"{path}: column {TIME} is {column.type}; expected the cameras' wall clock, a timestamp without a time zone"
        )
    return column.cast(pa.timestamp("us"), safe=False)


def _text(path: str, name: str, column: pa.ChunkedArray) -> list[str | None]:
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_floating(kind):  # pandas writes whole numbers so where one is missing
        return [_plain_number(value) for value in column.to_pylist()]
    if pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        raise InputError(f"{path}: column {name} is {kind}; expected text")
    texts: list[str | None] = column.cast(pa.string()).to_pylist()
    return texts


def _plain_number(value: float | None) -> str | None:
    if value is None or math.isnan(value):
        return None
    return str(int(value)) if math.isfinite(value) and value.is_integer() else str(value)


def _unit(path: str, array: np.ndarray) -> tuple[np.ndarray, str]:
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = np.ascontiguousarray(array, dtype=np.float32)
        lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    bad = np.flatnonzero(~np.isfinite(lengths))
    if bad.size:
        raise InputError(
            f"{path}: {bad.size:,} of {len(vectors):,} rows hold NaN or infinite values (the first: row "
            f"{bad[0]}); drop these rows, or embed their images again"
        )
    off = np.abs(lengths - 1)
    if off.max() <= EXACT_TOLERANCE and array.dtype != np.float16:
        return vectors, ""
    if off.max() <= HALF_TOLERANCE and (array.dtype == np.float16 or _was_half(vectors)):
        vectors = vectors / lengths[:, None].astype(np.float32)
        return vectors, f"{path}: rows were rounded to float16, and are made unit length again"
    worst = int(off.argmax())
    raise InputError(
        f"{path}: {int((off > EXACT_TOLERANCE).sum()):,} of {len(vectors):,} rows are not of unit length (row "
        f"{worst}: {lengths[worst]:.6g}); divide each row by its Euclidean norm, if cosine distances are "
        "what these embeddings are made for"
    )


def _was_half(vectors: np.ndarray) -> bool:
    """Is every value one that float16 has?"""
    with np.errstate(over="ignore", under="ignore"):
        return bool((vectors.astype(np.float16).astype(np.float32) == vectors).all())
