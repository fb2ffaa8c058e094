"""A screen of 8-bit integers: twice the rate of bfloat16 on a GPU, half of its memory, sums that are exact.

A row x is turned by a random rotation, y = Rᵀx, so that no coordinate of it stands out, and stored as whole
numbers q of one step s for all rows: y ≈ s·q, |q| ≤ 127. The score of two rows is s² · (q_a · q_b). The sum
is of integers and has no error; neither the rotation nor the numbers need be good for the bound to hold:

|a·b − y_a·y_b| ≤ ‖RRᵀ − I‖ ‖a‖ ‖b‖, and by Cauchy–Schwarz, as in `screen.py`,
|y_a·y_b − s² q_a · q_b| ≤ ‖y_a − s q_a‖ ‖y_b‖ + ‖s q_a‖ ‖y_b − s q_b‖.

The coordinates of a turned unit row are spread like a normal distribution with deviation 1/√d, so a step of
6/√d/127 leaves hardly one in a billion cut off. ‖y − s·q‖ is measured in float64, what is cut off
included, about 0.014; `error` is the largest and the rotation's defect. Two of those are what `score_error`
then allows, 0.028, where a screen in bfloat16 allows 0.004: a few more pairs are measured. A step of each
row's own would allow 0.022, and on an H100 cost more than all of the product: every score has to be
multiplied then, where now a sum is compared with a whole number.
"""

import functools
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

WHOLE = 127
DEVIATIONS = 6.0  # of a coordinate, which are still told apart
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


def quantise(exact: "torch.Tensor") -> "tuple[torch.Tensor, float, float]":
    """Whole numbers for unit rows.

    Args:
        exact: (b, d) float32.

    Returns:
        (b, d rounded up to PADDING) int8, zeros behind; the step, the same for all rows of d
        dimensions; and the error, as `ScreenedRows` has them.
    """
    import torch

    d = exact.shape[1]
    turn, defect = rotation(d, str(exact.device))
    turned = exact.double() @ turn
    step = min(1.0, DEVIATIONS / math.sqrt(d)) / WHOLE
    whole = (turned / step).round_().clamp_(-WHOLE, WHOLE)
    missed = torch.linalg.vector_norm(turned - step * whole, dim=1)
    width = math.ceil(d / PADDING) * PADDING
    low = torch.zeros(len(exact), width, dtype=torch.int8, device=exact.device)
    low[:, :d] = whole
    largest = float(missed.max()) if len(exact) else 0.0
    return low, step, largest + defect + ROUNDING
