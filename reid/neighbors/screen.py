"""Low-precision scores with a proven error bound, and float32 distances of what passes them.

Nearly all pairs are far apart, and a bfloat16 product is enough to say so. A pair is dropped only
when its score is below the threshold by more than the rounding can explain; all others are scored
again in float32. So the answer is exact, at the speed of the low precision.

The bound, for rows a, b stored as a' and b': a·b − a'·b' = (a − a')·b + a'·(b − b'), hence
|a·b − a'·b'| ≤ ‖a − a'‖ ‖b‖ + ‖a'‖ ‖b − b'‖ (Cauchy–Schwarz). ‖a − a'‖ is measured, not assumed:
about 0.0017 for bfloat16, a quarter of the worst case. To it comes the error of summing d products
in float32, at most d · 2⁻²³. Rounding the score itself to bfloat16 is monotone, so comparing with
the threshold rounded to bfloat16, down or to nearest, loses nothing.
"""

import functools
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from reid.errors import InputError
from reid.neighbors.rows import UNIT_TOLERANCE

BACKENDS = ("auto", "torch", "numpy", "faiss", "faiss-gpu", "triton")

# float32 distances of unit rows are good to about 2e-7; the screen must not be sharper than that.
DISTANCE_ERROR = 1e-6


@functools.cache
def _bfloat16_is_faster() -> bool:
    """Whether this CPU multiplies bfloat16 faster than NumPy multiplies float32; about 30 ms, once.

    Measured because no public query covers x86 (AVX512-BF16, AMX) and ARM in every torch version,
    and because torch falls back to slow emulation without a word. It cannot change a result.
    """
    exact = np.full((1024, 512), 1 / 512, np.float32)
    low = torch.full((1024, 512), 1 / 512, dtype=torch.bfloat16)
    seconds = {"numpy": float("inf"), "torch": float("inf")}
    for _ in range(3):
        start = time.perf_counter()
        np.matmul(exact, exact.T)
        middle = time.perf_counter()
        torch.mm(low, low.T)
        end = time.perf_counter()
        seconds["numpy"] = min(seconds["numpy"], middle - start)
        seconds["torch"] = min(seconds["torch"], end - middle)
    return seconds["torch"] < seconds["numpy"]


def choose_backend(n: int, d: int, device: str = "cpu", backend: str = "auto") -> str:
    """The backend that will run: `backend` itself, or what `auto` means for this problem.

    Args:
        n: rows.
        d: dimensions.
        device: "cpu", "cuda", "cuda:1", …
        backend: `auto`, or one of `torch` (bfloat16 screen, float32 distances), `numpy` (float32
            screen, CPU), `triton` (fused kernel, CUDA, radius graph only), `faiss` and `faiss-gpu`
            (k nearest only).

    Raises:
        InputError: unknown backend, or one that cannot run on this device.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend: unknown {backend!r}; known backends: {', '.join(BACKENDS)}")
    on_cpu = torch.device(device).type == "cpu"
    if not on_cpu and backend in ("numpy", "faiss"):
        raise InputError(f"backend: {backend} runs on the CPU, device is {device!r}; use torch")
    if on_cpu and backend in ("triton", "faiss-gpu"):
        raise InputError(f"backend: {backend} needs a CUDA device, device is {device!r}")
    if backend != "auto":
        return backend
    if not on_cpu:
        return "torch"
    # Small problems are over before the measurement would be.
    return "torch" if n * n * d > 1e10 and _bfloat16_is_faster() else "numpy"


@dataclass(frozen=True, slots=True)
class Rows:
    """A block of rows, ready to be screened: exact, low precision, and how far apart they are."""

    exact: torch.Tensor  # (b, d) float32
    low: torch.Tensor  # (b, d) bfloat16, or `exact` itself
    error: float  # the largest ‖exact row − low row‖


def budget_bytes(device: str, memory_bytes: int | None) -> int:
    """`memory_bytes`, or by default 512 MiB, on a GPU half of what is free there."""
    if memory_bytes is not None:
        if memory_bytes < 2**20:
            raise InputError(f"memory_bytes: {memory_bytes}, needs at least {2**20} (1 MiB)")
        return memory_bytes
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(torch.device(device))[0] // 2
    return 2**29


def as_tensor(rows: np.ndarray) -> torch.Tensor:
    """`rows` as a tensor that shares its memory and is only read."""
    with warnings.catch_warnings():
        # Arrays from Ray's object store and memory maps are read-only; nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(rows))


def prepare(rows: np.ndarray, backend: str, device: str) -> Rows:
    """`rows` (b, d) float32 on `device`, with its low-precision copy and the measured error."""
    exact = as_tensor(rows).to(device)
    if backend == "numpy":
        return Rows(exact, exact, 0.0)
    low = exact.to(torch.bfloat16)
    error = float(torch.linalg.vector_norm(exact - low, dim=1).max()) if len(rows) else 0.0
    return Rows(exact, low, error)


def score_error(a: Rows, b: Rows) -> float:
    """The most by which a screened score of these blocks can differ from −distance + 1."""
    longest = 1 + UNIT_TOLERANCE
    rounding = a.error * longest + (longest + a.error) * b.error
    summing = a.exact.shape[1] * 2.0**-23 * (longest + a.error) * (longest + b.error)
    # The distance is ‖a − b‖²/2, which is 1 − a·b only when the rows are exactly unit.
    return rounding + summing + 2 * UNIT_TOLERANCE + UNIT_TOLERANCE**2 + DISTANCE_ERROR


def scores(a: Rows, b_columns: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """Screened scores (len(a.low), c) of rows against the columns of `b_columns` (d, c)."""
    if a.low.dtype == torch.float32 and a.low.device.type == "cpu":
        # NumPy's OpenBLAS ran at twice the speed of torch's float32 matmul where it was measured.
        np.matmul(a.low.numpy(), b_columns.numpy(), out=out.numpy())
        return out
    return torch.mm(a.low, b_columns, out=out)


def as_keys(values: torch.Tensor) -> np.ndarray:
    """Scores on the CPU as an array, without a copy, that compares fast.

    float32 stays. bfloat16 becomes the int16 of the same bits, whose order is that of the scores
    among scores ≥ 0, with all negative scores below; `sort_keys` puts those in order too.
    """
    return values.view(torch.int16).numpy() if values.dtype == torch.bfloat16 else values.numpy()


def sort_keys(keys: np.ndarray) -> np.ndarray:
    """Give int16 keys of negative scores their order, in place; float32 keys are left alone."""
    if keys.dtype == np.int16:
        keys ^= (keys >> 15) & np.int16(0x7FFF)
    return keys


def threshold_keys(thresholds: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """Float32 thresholds as keys, rounded down, in the order of `sort_keys`."""
    if dtype != np.int16:
        return thresholds
    bits = thresholds.view(np.int32)
    magnitude = (bits & 0x7FFFFFFF) >> 16
    # Cutting bits off rounds towards zero: down for positive numbers, up for negative ones.
    negative = -1 - (magnitude + ((bits & 0xFFFF) != 0))
    return np.where(bits >= 0, magnitude, negative).astype(np.int16)


def keys_as_scores(keys: np.ndarray) -> np.ndarray:
    """Float32 scores of keys that are in the order of `sort_keys`."""
    if keys.dtype != np.int16:
        return keys
    bits = np.where(keys >= 0, keys, keys ^ np.int16(0x7FFF))
    return (bits.astype(np.int32) << 16).view(np.float32)


def true_positions(mask: np.ndarray) -> np.ndarray:
    """Flat positions of the True cells of a mostly False array; eight cells a look."""
    flat = mask.ravel()
    whole = flat.size // 8 * 8
    words = np.flatnonzero(flat[:whole].view(np.uint64))
    word, byte = np.nonzero(flat[:whole].reshape(-1, 8)[words])
    return np.concatenate([words[word] * 8 + byte, whole + np.flatnonzero(flat[whole:])])


def hits_cpu(screened: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, columns) of scores that reach `threshold`; `screened` is used up."""
    keys = as_keys(screened)
    limit = threshold_keys(np.array([threshold], np.float32), keys.dtype)[0]
    if limit <= 0:
        sort_keys(keys)
    row, column = np.divmod(true_positions(keys >= limit), screened.shape[1])
    return torch.from_numpy(row), torch.from_numpy(column)


def hits_grouped(
    screened: torch.Tensor, threshold: float, group: int = 64
) -> tuple[torch.Tensor, torch.Tensor]:
    """The same in torch operations, for a device where reading the scores twice is the cost.

    The maximum of each group of columns is read first, and only groups that hold a hit again.
    """
    whole = screened.shape[1] // group * group
    grouped = screened[:, :whole].reshape(len(screened), -1, group)
    row, block = (grouped.amax(2) >= threshold).nonzero(as_tuple=True)
    hit, inside = (grouped[row, block] >= threshold).nonzero(as_tuple=True)
    tail_row, tail_column = (screened[:, whole:] >= threshold).nonzero(as_tuple=True)
    return (
        torch.cat([row[hit], tail_row]),
        torch.cat([block[hit] * group + inside, tail_column + whole]),
    )


def hits(screened: torch.Tensor, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """(rows, columns) of scores that reach `threshold`, on the device they are on."""
    on_cpu = screened.device.type == "cpu"
    return (hits_cpu if on_cpu else hits_grouped)(screened, threshold)


def distances(a: torch.Tensor, i: torch.Tensor, b: torch.Tensor, j: torch.Tensor) -> torch.Tensor:
    """Cosine distances (m,) float32 of rows a[i] and b[j], as ‖a − b‖²/2.

    For unit rows that is 1 − cos, without its cancellation: identical rows are at exactly 0, and
    the last bits do not depend on which row comes first or on how the work was cut into blocks.
    """
    if a.device.type == "cpu":
        return torch.from_numpy(distances_cpu(a.numpy(), i.numpy(), b.numpy(), j.numpy()))
    return distances_torch(a, i, b, j)


def distances_torch(
    a: torch.Tensor, i: torch.Tensor, b: torch.Tensor, j: torch.Tensor
) -> torch.Tensor:
    """`distances` in torch operations, few and large, as a GPU wants them."""
    result = torch.empty(len(i), dtype=torch.float32, device=a.device)
    chunk = max(1, 2**27 // a.shape[1])
    for start in range(0, len(i), chunk):
        part = slice(start, start + chunk)
        difference = a.index_select(0, i[part]).sub_(b.index_select(0, j[part]))
        result[part] = torch.linalg.vector_norm(difference, dim=1)
    return result.square_().mul_(0.5).clamp_(max=2)


def distances_cpu(a: np.ndarray, i: np.ndarray, b: np.ndarray, j: np.ndarray) -> np.ndarray:
    """`distances` in plain threads over chunks that stay in a core's cache.

    Thousands of small torch operations, each waiting for all OpenMP threads, took 50 times longer
    than this as soon as another process wanted a core.
    """
    result = np.empty(len(i), np.float32)
    chunk = max(1, 2**17 // a.shape[1])
    threads = min(torch.get_num_threads(), -(-len(i) // (8 * chunk)))

    def measure(first: int, last: int) -> None:
        left = np.empty((min(chunk, last - first), a.shape[1]), np.float32)
        right = np.empty_like(left)
        for start in range(first, last, chunk):
            part = slice(start, min(start + chunk, last))
            rows = part.stop - start
            # mode="clip" skips a copy that the bounds check would make; the indices are in range.
            np.take(a, i[part], axis=0, out=left[:rows], mode="clip")
            np.take(b, j[part], axis=0, out=right[:rows], mode="clip")
            left[:rows] -= right[:rows]
            np.einsum("ij,ij->i", left[:rows], left[:rows], out=result[part])

    if threads <= 1:
        measure(0, len(i))
    else:
        cuts = np.linspace(0, len(i), threads + 1).astype(int).tolist()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(measure, cuts[:-1], cuts[1:]))
    result *= 0.5
    return np.minimum(result, 2, out=result)
