"""How many animals are there? Estimates for a closed population from who was seen when.

Input is a capture history: a row an individual, a column an occasion (a night, a week), True where it
was seen. The estimates assume that nobody was born, died, came or went between the first and the
last occasion, and that the individuals are told apart rightly.

counted.py    what a history says without any model: seen, seen once, seen on each occasion
estimates.py  Chapman, M0, Mt and Chao's Mh, with their intervals
judged.py     all of it at once: refusals, estimates, warnings
doubts.py     the same sightings with every unsure one joined to its nearest
"""

from reid.population.counted import Counted, count
from reid.population.doubts import joined_to_nearest
from reid.population.estimates import Estimate, chao, chao_corrected, chapman, m0, mt
from reid.population.judged import LABELS, LEAST_INDIVIDUALS, Population, estimate_population

__all__ = [
    "LABELS",
    "LEAST_INDIVIDUALS",
    "Counted",
    "Estimate",
    "Population",
    "chao",
    "chao_corrected",
    "chapman",
    "count",
    "estimate_population",
    "joined_to_nearest",
    "m0",
    "mt",
]
