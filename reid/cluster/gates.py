"""Which pairs place and time allow: for small animals, of which a camera sees hundreds that look alike."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError


@dataclass(frozen=True)
class Gate:
    """A pair passes within `seconds`; or with centres within `pixels`, within `pixels_seconds`.

    Attributes:
        seconds: None: time alone lets no pair pass.
        pixels: of the pictures as they are; None: places in the picture say nothing.
        pixels_seconds: how long an animal that sits still is the same.
    """

    seconds: float | None = None
    pixels: float | None = None
    pixels_seconds: float = 300.0

    @property
    def is_open(self) -> bool:
        """Every pair passes."""
        return self.seconds is None and self.pixels is None


def passing(
    edges: NDArray[np.integer],
    gate: Gate,
    *,
    moments: NDArray[np.datetime64],
    centres: NDArray[np.floating] | None = None,
    places: NDArray[np.integer] | None = None,
) -> NDArray[np.bool_]:
    """(m,) bool: the pairs that the gate lets pass. What is not known lets no pair pass.

    Args:
        edges: (m, 2) row numbers.
        gate: see there.
        moments: (n,) datetime64, NaT where unknown.
        centres: (n, 2) pixels, NaN where unknown; needed where the gate has pixels.
        places: (n,) number of the camera's place, −1 where unknown: rows of two places never pass, and
            of rows without a place it is not held against them.

    Raises:
        InputError: centres are needed.
    """
    if gate.is_open:
        return np.ones(len(edges), np.bool_)
    low, high = np.asarray(edges).T
    # NaT becomes NaN, which is near to nothing.
    apart = np.abs((moments[low] - moments[high]) / np.timedelta64(1, "s")).astype(np.float64)
    passes = np.zeros(len(edges), np.bool_)
    if gate.seconds is not None:
        passes |= apart < gate.seconds
    if gate.pixels is not None:
        if centres is None:
            raise InputError(
                "cluster.gate_pixels needs boxes in pixels, and these images have none"
            )
        distance = np.hypot(*(centres[low] - centres[high]).astype(np.float64).T)
        passes |= (distance < gate.pixels) & (apart < gate.pixels_seconds)
    if places is not None:
        passes &= (places[low] == places[high]) | (places[low] < 0) | (places[high] < 0)
    return passes
