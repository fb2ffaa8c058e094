"""float32 or bfloat16 for a network: what was asked for, or what this processor is faster with.

A CPU without units for bfloat16 computes in it all the same, without a word and at a twentieth of the
speed of float32. So `auto` measures. What it measures is a product of matrices and not the network: that
is over in a moment, and tells CPUs with such units from those without, whatever else the machine is doing.
"""

import functools
import time
from typing import Literal

Precision = Literal["fp32", "bf16"]
AskedPrecision = Literal["auto", "fp32", "bf16"]

# CPUs with units for bfloat16 came to 2 to 4, those without stay below 1.
LEAST_GAIN = 1.3
TRIES = 5


def choose_precision(asked: AskedPrecision, device: str) -> tuple[Precision, str]:
    """What a network is computed in.

    Args:
        asked: `fp32` and `bf16` are taken as they are.
        device: `cpu`, `cuda` or `cuda:<n>`.

    Returns:
        The precision, and a sentence for the log: what was measured where `auto` was asked for, a
        warning where bf16 was asked for and is slow; empty where there is nothing to say.
    """
    if asked == "fp32":
        return "fp32", ""
    if device.startswith("cuda"):
        import torch

        if torch.cuda.is_bf16_supported(including_emulation=False):
            return "bf16", "precision bf16: this GPU has units for it" if asked == "auto" else ""
        reason = "this GPU has no units for bf16"
    else:
        gain = bfloat16_gain()
        reason = f"this CPU multiplies {gain:.1f} times as fast in bf16 as in fp32 (measured)"
        if gain >= LEAST_GAIN:
            return "bf16", f"precision bf16: {reason}" if asked == "auto" else ""
    if asked == "bf16":
        return "bf16", f"precision bf16 as asked for, but {reason}; fp32 or auto may be faster"
    return "fp32", f"precision fp32: {reason}"


@functools.cache
def bfloat16_gain() -> float:
    """How many times as fast this CPU multiplies matrices in bfloat16; some 50 ms, once.

    Measured, because no query covers x86 (AVX512-BF16, AMX) and ARM in every version of torch.
    """
    import torch

    exact = torch.full((512, 512), 1 / 512)
    seconds = {torch.float32: float("inf"), torch.bfloat16: float("inf")}
    for _ in range(1 + TRIES):  # the first one warms up
        for kind in seconds:
            rows = exact.to(kind)
            started = time.perf_counter()
            torch.mm(rows, rows)
            seconds[kind] = min(seconds[kind], time.perf_counter() - started)
    return seconds[torch.float32] / seconds[torch.bfloat16]
