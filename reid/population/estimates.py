"""Estimates of a closed population's size, each with its standard error and interval.

All take the counts of `count` and are plain formulas, or the highest point of a likelihood over one
number; that number is real, not whole, as in the packages secr and Rcapture.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from reid.errors import InputError
from reid.population.counted import Counted

MOST = 1e12  # animals; a likelihood that still rises there has no highest point


@dataclass(frozen=True, slots=True)
class Estimate:
    """One estimate.

    Attributes:
        name: chapman | m0 | mt | chao | chao_corrected.
        abundance: N̂, animals.
        standard_error: of N̂, animals.
        lower, upper: ends of the log-normal interval; lower is never below the number seen.
        level: of the interval, a share.
        detection: chance of being seen on one occasion, where the model has one for all; else NaN.
    """

    name: str
    abundance: float
    standard_error: float
    lower: float
    upper: float
    level: float = 0.95
    detection: float = float("nan")


def chapman(counted: Counted, *, level: float = 0.95) -> Estimate:
    """Lincoln and Petersen's estimate of two occasions, as Chapman mended it.

    Raises:
        InputError: there are not exactly two occasions.

    Source: Chapman 1951; variance of Seber 1970; Seber 1982, p. 60.
    """
    if counted.occasions != 2:
        raise InputError(
            f"chapman: {counted.occasions} occasions; it is for two, m0 and mt are for more"
        )
    first, second = (int(number) for number in counted.seen)
    both = counted.twice
    size = (first + 1) * (second + 1) / (both + 1) - 1
    product = (first + 1) * (second + 1) * (first - both) * (second - both)
    variance = product / ((both + 1) ** 2 * (both + 2))
    return _with_interval("chapman", counted.individuals, size, variance, level)


def m0(counted: Counted, *, level: float = 0.95) -> Estimate:
    """Everybody is equally likely to be seen, on every occasion alike.

    Raises:
        InputError: nobody was seen on two occasions, so the likelihood rises for ever.

    Source: Otis et al. 1978, p. 105.
    """
    k, n = counted.occasions, counted.sightings

    def slope(size: float) -> float:
        return _unseen_slope(size, counted.individuals) + k * _log_missed(n / (k * size))

    size = _highest(slope, counted)
    chance = n / (k * size)
    missed = 1 - chance
    variance = 0.0
    if missed > 0:
        variance = size / (missed**-k - k / missed + k - 1)
    return _with_interval("m0", counted.individuals, size, variance, level, detection=chance)


def mt(counted: Counted, *, level: float = 0.95) -> Estimate:
    """Everybody is equally likely to be seen, but occasions differ (Darroch).

    Raises:
        InputError: nobody was seen on two occasions, so the likelihood rises for ever.

    Source: Otis et al. 1978, pp. 106–107.
    """
    k = counted.occasions

    def slope(size: float) -> float:
        return _unseen_slope(size, counted.individuals) + sum(
            _log_missed(number / size) for number in counted.seen
        )

    size = _highest(slope, counted)
    missed = 1 - counted.seen / size
    variance = 0.0
    if (missed > 0).all():
        variance = size / (1 / float(np.prod(missed)) + k - 1 - float(np.sum(1 / missed)))
    return _with_interval("mt", counted.individuals, size, variance, level)


def chao(counted: Counted, *, level: float = 0.95) -> Estimate:
    """At least how many, if individuals differ in how easily they are seen (Mh).

    Raises:
        InputError: nobody was seen on exactly two occasions; `chao_corrected` can do without.

    Source: Chao 1987; the factor (K − 1)/K of Rivest and Baillargeon 2007.
    """
    once, twice = counted.once, counted.twice
    if not twice:
        raise InputError(
            "chao: nobody was seen on exactly two occasions, which this estimate divides by; take "
            "chao_corrected"
        )
    a, r = _factor(counted), once / twice
    size = counted.individuals + a * once**2 / (2 * twice)
    variance = twice * (a * r**2 / 2 + a**2 * r**3 + a**2 * r**4 / 4)
    return _with_interval("chao", counted.individuals, size, variance, level)


def chao_corrected(counted: Counted, *, level: float = 0.95) -> Estimate:
    """The same with less bias where few or none were seen on exactly two occasions.

    Source: Rivest and Lévesque 2001.
    """
    once, twice = counted.once, counted.twice
    a = _factor(counted)
    pairs = once * (once - 1)
    size = counted.individuals + a * pairs / (2 * (twice + 1))
    variance = a * pairs / (2 * (twice + 1))
    variance += (a**2 * pairs * (once**2 + 4 * once * twice + 3 * once - 6 * twice - 6)) / (
        4 * (twice + 1) ** 2 * (twice + 2)
    )
    return _with_interval("chao_corrected", counted.individuals, size, variance, level)


def _factor(counted: Counted) -> float:
    return (counted.occasions - 1) / counted.occasions


def _unseen_slope(size: float, individuals: int) -> float:
    """Slope of lnΓ(N+1) − lnΓ(N−M+1) in N."""
    from scipy.special import digamma

    return float(digamma(size + 1) - digamma(size - individuals + 1))


def _log_missed(chance: float) -> float:
    return float(np.log1p(-chance)) if chance < 1 else -np.inf


def _highest(slope: Callable[[float], float], counted: Counted) -> float:
    """Where a likelihood over N ≥ M that rises, then falls, is highest."""
    from scipy.optimize import brentq

    if counted.sightings == counted.individuals:
        raise InputError(
            f"{counted.individuals} individuals, each seen on one occasion: without anybody seen again "
            "any number of animals is possible. Take more or shorter occasions, or review the images: "
            "are sightings of one animal under two names?"
        )
    least = float(counted.individuals)
    if slope(least) <= 0:
        return least
    most = 2 * least
    while slope(most) > 0:
        most *= 2
        if most > MOST:
            raise InputError(
                f"the likelihood of {counted.individuals} individuals in {counted.sightings} sightings "
                f"still rises at {MOST:.0e} animals: too few were seen again"
            )
    return float(brentq(slope, least, most, xtol=1e-10, rtol=1e-14))


def _with_interval(
    name: str,
    individuals: int,
    size: float,
    variance: float,
    level: float,
    *,
    detection: float = float("nan"),
) -> Estimate:
    """Log-normal interval of the number that was never seen.

    Source: Chao 1987; Burnham et al. 1987.
    """
    from scipy.stats import norm

    if not 0 < level < 1:
        raise InputError(f"level: {level}; give a share above 0 and below 1, for example 0.95")
    unseen = size - individuals
    lower = upper = float(individuals)
    # With nobody unseen the interval shrinks onto the number seen.
    if unseen > 0:
        z = float(norm.ppf((1 + level) / 2))
        spread = float(np.exp(z * np.sqrt(np.log1p(variance / unseen**2))))
        lower, upper = individuals + unseen / spread, individuals + unseen * spread
    return Estimate(
        name, float(size), float(np.sqrt(variance)), lower, upper, level, float(detection)
    )
