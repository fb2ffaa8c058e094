"""What a capture history says without any model."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError


@dataclass(frozen=True, slots=True)
class Counted:
    """The counts that every estimate is made of.

    Attributes:
        individuals: M, that were seen at all.
        occasions: K.
        sightings: n, individuals summed over occasions.
        seen: (K,) int64, n_j: individuals seen on occasion j.
        first_seen: (K,) int64, u_j: seen on j and never before.
        known: (K,) int64, M_j: seen on j or before.
        times: (K,) int64, f_i: individuals seen on exactly i occasions, from i = 1.
        completeness: 1 − f₁/n, the share of the population's sightings that belong to individuals
            who are known (Good 1953).
    """

    individuals: int
    occasions: int
    sightings: int
    seen: NDArray[np.int64]
    first_seen: NDArray[np.int64]
    known: NDArray[np.int64]
    times: NDArray[np.int64]
    completeness: float

    @property
    def once(self) -> int:
        """f₁, individuals seen on one occasion only."""
        return int(self.times[0])

    @property
    def twice(self) -> int:
        """f₂, individuals seen on two occasions."""
        return int(self.times[1]) if len(self.times) > 1 else 0


def count(history: NDArray[np.bool_]) -> Counted:
    """Count a capture history.

    Args:
        history: (individuals, occasions) bool, True where seen; rows without any True are left out,
            as nobody saw that animal.

    Raises:
        InputError: not two-dimensional, not made of truth values, or nobody was seen.

    Source: Otis et al. 1978, Wildlife Monographs 62; Good 1953, Biometrika 40.
    """
    history = np.asarray(history)
    if history.ndim != 2:
        raise InputError(
            f"history: {history.ndim} dimensions; give a row an individual and a column an occasion"
        )
    if history.dtype != np.bool_:
        if not np.isin(history, (0, 1)).all():
            raise InputError(
                f"history: values of {history.dtype} other than 0 and 1; give True where an individual "
                "was seen on an occasion, however often"
            )
        history = history.astype(np.bool_)
    history = history[history.any(axis=1)]
    if not history.size:
        raise InputError(
            "history: no individual was seen on any occasion; nothing to estimate from"
        )
    individuals, occasions = history.shape
    seen = history.sum(axis=0)
    first = np.bincount(history.argmax(axis=1), minlength=occasions)
    times = np.bincount(history.sum(axis=1), minlength=occasions + 1)[1:]
    return Counted(
        individuals=individuals,
        occasions=occasions,
        sightings=int(seen.sum()),
        seen=seen.astype(np.int64),
        first_seen=first.astype(np.int64),
        known=np.cumsum(first).astype(np.int64),
        times=times.astype(np.int64),
        completeness=1 - int(times[0]) / int(seen.sum()),
    )
