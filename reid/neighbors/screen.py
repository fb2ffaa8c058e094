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
import importlib.util
import time
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from reid.errors import InputError
from reid.neighbors.quantised import quantise
from reid.neighbors.unit_rows import UNIT_TOLERANCE

if TYPE_CHECKING:
    import torch

BACKENDS = ("auto", "torch", "numpy", "prefix", "faiss", "faiss-gpu", "triton", "int8")
PADDING = 64  # columns; what the fused kernel takes at a time

# float32 distances of unit rows are good to about 2e-7; the screen must not be sharper than that.
DISTANCE_ERROR = 1e-6

EMULATED = 4  # times slower than float32 is no measuring error


@functools.cache
def _bfloat16_is_faster() -> bool:
    """Whether this CPU multiplies bfloat16 faster than NumPy multiplies float32; about 30 ms, once.

    Measured because no public query covers x86 (AVX512-BF16, AMX) and ARM in every torch version,
    and because torch falls back to slow emulation without a word. It cannot change a result.
    """
    import torch

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
        if seconds["torch"] > EMULATED * seconds["numpy"]:  # each turn would be as slow
            break
    return seconds["torch"] < seconds["numpy"]


def choose_graph_backend(n: int, d: int, device: str = "cpu", backend: str = "auto") -> str:
    """`choose_backend` for a radius graph: `auto` is the fused kernel on the GPUs it has been seen on.

    That is NVIDIA's Hopper (capability 9.x), with the package triton; on others it is `torch`.
    """
    import torch

    chosen = choose_backend(n, d, device, backend)
    if backend != "auto" or is_cpu(device) or not torch.cuda.is_available():
        return chosen
    hopper = torch.cuda.get_device_capability(torch.device(device))[0] == 9
    return "triton" if hopper and importlib.util.find_spec("triton") else chosen


def choose_backend(n: int, d: int, device: str = "cpu", backend: str = "auto") -> str:
    """The backend that will run: `backend` itself, or what `auto` means for this problem.

    Args:
        n: rows.
        d: dimensions.
        device: "cpu", "cuda", "cuda:1", …
        backend: `auto`, or one of `torch` (bfloat16 screen, float32 distances), `numpy` (float32
            screen, CPU), `prefix` (a few coordinates, CPU, radius graph only: see `prefix.py`, which
            a radius graph on `auto` takes too where it pays), `triton` and `int8` (fused kernel on
            bfloat16 or whole numbers, CUDA, radius graph only), `faiss` and `faiss-gpu` (k nearest only).

    Raises:
        InputError: unknown backend, or one that cannot run on this device.
    """
    import torch

    if backend not in BACKENDS:
        raise InputError(f"backend: unknown {backend!r}; known backends: {', '.join(BACKENDS)}")
    on_cpu = torch.device(device).type == "cpu"
    if not on_cpu and backend in ("numpy", "prefix", "faiss"):
        raise InputError(f"backend: {backend} runs on the CPU, device is {device!r}; use torch")
    if on_cpu and backend in ("triton", "int8", "faiss-gpu"):
        raise InputError(f"backend: {backend} needs a CUDA device, device is {device!r}")
    if backend != "auto":
        return backend
    if not on_cpu:
        return "torch"
    # Small problems are over before the measurement would be.
    return "torch" if n * n * d > 1e9 and _bfloat16_is_faster() else "numpy"


@dataclass(frozen=True, slots=True)
class ScreenedRows:
    """A block of rows, ready to be screened: exact, low precision, and how far apart they are."""

    exact: "torch.Tensor"  # (b, d) float32
    low: "torch.Tensor"  # (b, ≥ d) bfloat16 or int8, or `exact` itself, or (b, k + 1) of `prefix_rows`
    error: float  # the largest ‖exact row − low row‖; of a prefix as defined there
    columns: "torch.Tensor | None" = None  # `low` transposed: see `with_columns`
    step: float = (
        0.0  # what one is worth in `low`, where it holds whole numbers: see `quantised.py`
    )


def is_cpu(device: str) -> bool:
    """Whether a torch device, by name, is the CPU."""
    return device.partition(":")[0] == "cpu"


def budget_bytes(device: str, memory_bytes: int | None) -> int:
    """`memory_bytes`, or by default 512 MiB, on a GPU half of what is free there."""
    import torch

    if memory_bytes is not None:
        if memory_bytes < 2**20:
            raise InputError(f"memory_bytes: {memory_bytes}, needs at least {2**20} (1 MiB)")
        return memory_bytes
    if torch.device(device).type == "cuda":
        return torch.cuda.mem_get_info(torch.device(device))[0] // 2
    return 2**29


def as_tensor(rows: np.ndarray) -> "torch.Tensor":
    """`rows` as a tensor that shares its memory and is only read."""
    import torch

    with warnings.catch_warnings():
        # Arrays from Ray's object store and memory maps are read-only; nothing here writes to them.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(np.ascontiguousarray(rows))


def prepare(
    rows: np.ndarray, backend: str, device: str, error: float | None = None
) -> ScreenedRows:
    """`rows` (b, d) float32 on `device`, with its low-precision copy and the measured error.

    The measuring costs ten times the copying: whoever makes the copy again gives the `error` of before.
    """
    return lowered(as_tensor(rows).to(device), backend, error)


def lowered(exact: "torch.Tensor", backend: str, error: float | None = None) -> ScreenedRows:
    """`prepare` for rows that are where they are screened."""
    import torch

    if backend in ("numpy", "prefix"):  # `prefix` without a basis: no rows to find one on
        return ScreenedRows(exact, exact, 0.0)
    if backend == "int8":
        low, step, error = quantise(exact)
        return ScreenedRows(exact, low, error, step=step)
    low = exact.to(torch.bfloat16)
    if error is None:
        error = float(torch.linalg.vector_norm(exact - low, dim=1).max()) if len(exact) else 0.0
    if backend == "triton":
        low = torch.nn.functional.pad(low, (0, -low.shape[1] % PADDING))
    return ScreenedRows(exact, low, error)


def with_columns(rows: ScreenedRows) -> ScreenedRows:
    """A block that is multiplied by several others, transposed once for all of them.

    A right operand that is contiguous by rows multiplies 1.6 times faster than a transposed view.
    """
    return replace(rows, columns=rows.low.T.contiguous())


def score_error(a: ScreenedRows, b: ScreenedRows) -> float:
    """The most by which a screened score of these blocks can be below 1 − distance.

    But for prefixes it is the most by which the two differ.
    """
    longest = 1 + UNIT_TOLERANCE
    rounding = a.error * longest + (longest + a.error) * b.error
    # Whole numbers are summed without an error.
    summing = 0 if a.step else a.low.shape[1] * 2.0**-23 * (longest + a.error) * (longest + b.error)
    # The distance is ‖a − b‖²/2, which is 1 − a·b only when the rows are exactly unit.
    return rounding + summing + 2 * UNIT_TOLERANCE + UNIT_TOLERANCE**2 + DISTANCE_ERROR


def least_distance(score: "torch.Tensor", error: float, rounded: bool) -> np.ndarray:
    """No more than the float32 distances of pairs with these screened scores.

    Args:
        score: (m,) float32 on a CPU.
        error: of `score_error`.
        rounded: whether the scores were stored in bfloat16.
    """
    found: np.ndarray = np.float32(1 - error - DISTANCE_ERROR) - score.numpy()
    if rounded:  # by half a unit in the last place at most
        found -= np.abs(score.numpy()) * np.float32(2**-8)
    return found


def scores(a: ScreenedRows, b_columns: "torch.Tensor", out: "torch.Tensor") -> "torch.Tensor":
    """Screened scores (len(a.low), c) of rows against the columns of `b_columns` (d, c)."""
    import torch

    if a.low.dtype == torch.float32 and a.low.device.type == "cpu":
        # NumPy's OpenBLAS ran at twice the speed of torch's float32 matmul where it was measured.
        np.matmul(a.low.numpy(), b_columns.numpy(), out=out.numpy())
        return out
    if a.low.device.type == "cuda":
        # By default cuBLAS may add parts of a product up in bfloat16, which the bound does not cover.
        torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    return torch.mm(a.low, b_columns, out=out)
