"""A population's estimates with what is to be said of them: when to refuse, when to doubt."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.population.counted import Counted, count
from reid.population.estimates import Estimate, chao, chao_corrected, chapman, m0, mt

LEAST_INDIVIDUALS = 5  # below it no estimate is worth its name
LEAST_OCCASIONS = 2
MANY_ONCE = 0.6  # share of individuals seen once from which on names are to be doubted first
WIDE = 3.0  # upper over lower end


@dataclass(frozen=True, slots=True)
class Population:
    """What a capture history says of how many there are.

    Attributes:
        counted: the counts.
        estimates: Chapman's where there are two occasions; M0, Mt, Chao's (where somebody was seen
            exactly twice) and its small-sample form always.
        warnings: sentences to be read beside the numbers.
    """

    counted: Counted
    estimates: list[Estimate]
    warnings: list[str]

    def named(self, name: str) -> Estimate:
        """One of `estimates`, by its name."""
        return next(one for one in self.estimates if one.name == name)


def estimate_population(history: NDArray[np.bool_], *, level: float = 0.95) -> Population:
    """All estimates that a history allows, and what speaks against them.

    Args:
        history: (individuals, occasions) bool: one species, one flank, one period.
        level: of the intervals.

    Raises:
        InputError: fewer than two occasions, than five individuals, or nobody was seen again.
    """
    history = np.asarray(history)
    if history.ndim == 2 and history.shape[1] < LEAST_OCCASIONS:
        raise InputError(
            f"{history.shape[1]} occasion: an estimate needs animals that are seen again, so at least "
            f"{LEAST_OCCASIONS}; take shorter occasions"
        )
    counted = count(history)
    if counted.individuals < LEAST_INDIVIDUALS:
        raise InputError(
            f"{counted.individuals} individuals: too few to estimate from, at least {LEAST_INDIVIDUALS} are "
            "needed; say how many were seen, and add images or time"
        )
    estimates = [chapman(counted, level=level)] if counted.occasions == LEAST_OCCASIONS else []
    estimates += [m0(counted, level=level), mt(counted, level=level)]
    if counted.twice:
        estimates.append(chao(counted, level=level))
    estimates.append(chao_corrected(counted, level=level))
    return Population(counted, estimates, _warnings(counted, estimates))


def _warnings(counted: Counted, estimates: list[Estimate]) -> list[str]:
    warnings = []
    empty = np.flatnonzero(counted.seen == 0) + 1
    if len(empty):
        warnings.append(
            f"nobody was seen on {len(empty)} of {counted.occasions} occasions "
            f"({_listed(empty.tolist())}): were the cameras at work? M0 counts them as effort"
        )
    if not counted.twice:
        warnings.append(
            "nobody was seen on exactly two occasions: Chao's estimate is given in its small-sample "
            "form only, and rests on very little"
        )
    share = counted.once / counted.individuals
    if share > MANY_ONCE:
        warnings.append(
            f"{counted.once} of {counted.individuals} individuals ({share:.0%}) were seen once: ghosts (one "
            "animal under two names) or a low chance of being seen. Review single sightings first, "
            "`reid review` puts them in front: each false split is worth more than it looks, 6 % of "
            "them are +11 % in M0 and +18 % in Chao's"
        )
    plain = next(one for one in estimates if one.name == "m0")
    lower_bound = next(one for one in estimates if one.name == "chao_corrected")
    # An interval that has shrunk onto the number seen is said below.
    if lower_bound.abundance > plain.upper > counted.individuals:
        warnings.append(
            f"Chao's lower bound, {lower_bound.abundance:.0f}, lies above the whole interval of M0 "
            f"({plain.lower:.0f}–{plain.upper:.0f}): individuals differ in how easily they are seen, and M0 "
            "and Mt are too low (or single sightings are ghosts, and Chao's is too high)"
        )
    wide = [one for one in estimates if one.upper / one.lower > WIDE]
    if wide:
        warnings.append(
            f"the interval of {_listed([LABELS[one.name] for one in wide])} is wider than threefold: "
            "too few were seen again to say how many there are"
        )
    at_edge = [one for one in estimates if one.upper == counted.individuals]
    if at_edge:
        warnings.append(
            f"{_listed([LABELS[one.name] for one in at_edge])} says that all were seen, and then has no "
            "interval: no sign that nobody is missing"
        )
    return warnings


# Names of the estimates as people write them.
LABELS = {
    "chapman": "Chapman",
    "m0": "M0",
    "mt": "Mt",
    "chao": "Mh, Chao's lower bound",
    "chao_corrected": "Mh, Chao's, small-sample form",
}


def _listed(values: list[object] | list[str] | list[int]) -> str:
    words = [str(value) for value in values]
    shown = words[:8]
    return ", ".join(shown) + (f" and {len(words) - 8} more" if len(words) > 8 else "")
