"""A screen of 8-bit integers: twice the rate of bfloat16 on a GPU, half of its memory, sums that are exact.

A row x is turned by a random rotation, y = Rᵀx, so that no coordinate of it stands out, and stored as
whole numbers q with a scale: y ≈ s·q, |q| ≤ 127. The score of two rows is s_a · s_b · (q_a · q_b). The
sum is of integers and has no error; neither the rotation nor the numbers need be good for the bound to hold:

|a·b − y_a·y_b| ≤ ‖RRᵀ − I‖ ‖a‖ ‖b‖, and by Cauchy–Schwarz, as in `screen.py`,
|y_a·y_b − s_a q_a · s_b q_b| ≤ ‖y_a − s_a q_a‖ ‖y_b‖ + ‖s_a q_a‖ ‖y_b − s_b q_b‖.

‖y − s·q‖ is measured in float64, about 0.008 in 512 dimensions and up to 0.011; `error` is the largest of
them and the rotation's defect. Two of those are what `score_error` then allows, 0.022, where a screen in
bfloat16 allows 0.004: a few more pairs are measured.
"""

import functools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WHOLE = 127
ROUNDING = 1e-12  # more than float64 rounds the products of a unit row and a rotation by
PADDING = 128  # columns; what the kernel takes at a time


@functools.cache
def rotation(d: int, device: str) -> "tuple[torch.Tensor, float]":
    """A random rotation (d, d) float64, the same each time, and ‖RRᵀ − I‖ as it is stored."""
    import torch

    random = torch.Generator().manual_seed(0)
    turn = torch.linalg.qr(torch.randn(d, d, generator=random, dtype=torch.float64))[0]
    defect = float(torch.linalg.matrix_norm(turn @ turn.T - torch.eye(d, dtype=torch.float64)))
    return turn.to(device), defect


def quantise(exact: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor, float]":
    """Whole numbers for unit rows.

    Args:
        exact: (b, d) float32.

    Returns:
        (b, d rounded up to PADDING) int8, zeros behind; scales (b,) float32; and the error, as `Rows`
        has them.
    """
    import torch

    d = exact.shape[1]
    turn, defect = rotation(d, str(exact.device))
    turned = exact.double() @ turn
    scales = (turned.abs().amax(dim=1) / WHOLE).clamp(min=1e-30).float()
    steps = scales.double()[:, None]
    whole = (turned / steps).round_().clamp_(-WHOLE, WHOLE)
    missed = torch.linalg.vector_norm(turned - steps * whole, dim=1)
    width = math.ceil(d / PADDING) * PADDING
    low = torch.zeros(len(exact), width, dtype=torch.int8, device=exact.device)
    low[:, :d] = whole
    largest = float(missed.max()) if len(exact) else 0.0
    return low, scales, largest + defect + ROUNDING
