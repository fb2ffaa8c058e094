"""The individuals of one species by the probabilities of its pairs, where these do better than distances."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid.pairs import Decided, joined_rows, mean_linkage, mutex_watershed, probability
from reid.tune.clusters import Individuals
from reid.tune.expected import expected_ari
from reid.tune.guards import warnings
from reid.tune.samples import held_out_folds
from reid.tune.sweep import encode_labels
from reid.tune.threshold import Threshold, can_tune

FOLDS = 5
Way = Literal["mutex", "mean-linkage", "components"]
WAYS: dict[Way, str] = {
    "mutex": "Mutex Watershed",
    "mean-linkage": "average linkage",
    "components": "DBSCAN",
}
# Probabilities. Mutex Watershed is done anew at each; a mean over groups of which most pairs were not
# looked at is low where a pair's probability is high.
CUTS: dict[Way, tuple[float, ...]] = {
    "mutex": (0.2, 0.35, 0.5, 0.65, 0.8),
    "mean-linkage": tuple(np.round(np.arange(0.02, 0.8, 0.02), 2).tolist()),
    "components": tuple(np.round(np.arange(0.2, 1, 0.05), 2).tolist()),
}

# What is taken where no label chooses. Wherever labels did, on the nyala, it was this way, at 0.08 to 0.16; and
# without labels, by the stated curve, 0.1 to 0.14 gave 36 of these animals an ARI of 0.51 to 0.52, Mutex Watershed
# at one half 0.18 (docs/benchmarks/pairs.json).
UNLABELLED: tuple[Way, float] = ("mean-linkage", 0.12)


def individuals_by_pairs(
    distances: Individuals,
    pairs: NDArray[np.signedinteger],
    log_odds: NDArray[np.floating],
    identities: NDArray[Any],
    *,
    names: Sequence[str],
    together: NDArray[np.signedinteger] | None = None,
    lone_log_odds: float | None = None,
    mode: Literal["on", "auto"] = "on",
    learned: bool = True,
    ways: Sequence[Way] = ("mutex", "mean-linkage", "components"),
    seed: int = 0,
) -> Individuals:
    """Groups by the probabilities of pairs, or what distances gave.

    Mutex Watershed, average linkage and DBSCAN on 1 − P are compared on the labelled rows, and the best
    of them, at its best cut, is taken; what is said of it is of individuals that chose neither.

    Args:
        distances: what `find_individuals` made of the same rows.
        pairs: (m, 2) rows that were looked at.
        log_odds: (m,) of "one individual"; of labelled rows by a model that has not seen them.
        identities: (n,) known identities, None where unknown. They judge, and join nothing.
        names: (n,) ids, which decide between pairs that are equally sure.
        together: (c, 2) rows known to be one animal, say of one encounter.
        lone_log_odds: see `mutex_watershed`, which alone leaves joins to people.
        mode: `auto` keeps pairs only where individuals held out gain by more than the spread of what
            distances give, and where their probabilities were `learned`.
        learned: False for a stated curve.
        ways: that are compared; without labels it is UNLABELLED, whatever is here.
        seed: of the folds.

    Returns:
        Individuals; its notes say which it is, and why.
    """
    made = _Ways(len(names), pairs, log_odds, together, np.asarray(names), lone_log_odds)
    way, cut, held_out, expected = _tuned(made, ways, identities, seed)
    labels = made.labels(way, cut)
    said = f"{WAYS[way]} over the probabilities of {len(pairs):,} pairs, cut at {cut:.2f}"
    left = len(made.doubtful(cut)) if way == "mutex" else 0
    doubtful = f"{left:,} joins hang on one pair and are left to people" if left else ""
    if mode == "auto":
        reason = _why_not(distances.threshold.held_out, held_out, learned)
        if reason:
            return replace(distances, notes=[*distances.notes, f"pairs are left aside: {reason}"])
    if held_out is not None:
        said += f"; on individuals held out {held_out[0]:.2f} ± {held_out[1]:.2f}"
    threshold = Threshold(None, "pairs", way, said, held_out=held_out, expected=expected)
    return replace(
        distances,
        labels=labels,
        before_encounters=None,
        threshold=threshold,
        warnings=warnings(labels, eps=None, ceiling=None, at_edge=None),
        notes=[said, *filter(None, [doubtful])],
    )


class _Ways:
    """What groups the same pairs give, by way and cut; each is made once."""

    def __init__(
        self,
        n: int,
        pairs: NDArray[np.signedinteger],
        log_odds: NDArray[np.floating],
        together: NDArray[np.signedinteger] | None,
        names: NDArray[np.str_],
        lone_log_odds: float | None,
    ) -> None:
        self.n, self.pairs, self.names, self.together = n, pairs, names, together
        self.log_odds = np.asarray(log_odds, np.float64)
        self.lone = lone_log_odds
        self._merges = mean_linkage(n, pairs, self.log_odds, together=together, names=names)
        self._decided: dict[float, Decided] = {}

    def labels(self, way: Way, cut: float) -> NDArray[np.int64]:
        """(n,) groups at a probability."""
        if way == "mean-linkage":
            return self._merges.groups(cut)
        if way == "mutex":
            return self._mutex(cut).labels
        joined = self.pairs[probability(self.log_odds) >= cut]
        said = np.zeros((0, 2), np.int64) if self.together is None else self.together
        return joined_rows(self.n, np.concatenate([joined, said]))

    def doubtful(self, cut: float) -> list[tuple[int, int]]:
        return self._mutex(cut).doubtful

    def _mutex(self, cut: float) -> Decided:
        if cut not in self._decided:
            shift = float(np.log(cut / (1 - cut)))
            self._decided[cut] = mutex_watershed(
                self.n,
                self.pairs,
                self.log_odds - shift,
                together=self.together,
                names=self.names,
                lone_log_odds=None if self.lone is None else self.lone - shift,
            )
        return self._decided[cut]


def _tuned(
    made: _Ways, ways: Sequence[Way], identities: NDArray[Any], seed: int
) -> tuple[Way, float, tuple[float, float] | None, tuple[float, float] | None]:
    """The way and cut with the best ARI of labelled rows; ARI, and what it means among all rows, of
    individuals that chose neither.

    Without labels enough: UNLABELLED, and None.
    """
    from sklearn.metrics import adjusted_rand_score

    if not can_tune(identities):
        return *UNLABELLED, None, None
    codes = encode_labels(identities)
    rows = np.flatnonzero(codes >= 0)
    known = codes[rows]
    choices: list[tuple[Way, float]] = [(way, cut) for way in ways for cut in CUTS[way]]
    every = [made.labels(*choice) for choice in choices]
    labels = [one[rows] for one in every]

    def best(of: NDArray[np.int64]) -> int:
        return int(np.argmax([adjusted_rand_score(known[of], found[of]) for found in labels]))

    scores = []
    for kept, held in held_out_folds(known, FOLDS, seed):
        if len(held):
            chosen = best(kept)
            own = adjusted_rand_score(known[held], labels[chosen][held])
            scores.append((own, expected_ari(every[chosen], codes, rows[held])))
    way, cut = choices[best(np.arange(len(rows)))]
    (mean, among_all), (spread, other) = np.mean(scores, axis=0), np.std(scores, axis=0)
    return way, cut, (float(mean), float(spread)), (float(among_all), float(other))


def _why_not(
    distances: tuple[float, float] | None, pairs: tuple[float, float] | None, learned: bool
) -> str:
    if not learned:
        return "there are too few labelled pairs to learn their probabilities from"
    if distances is None or pairs is None:
        return "nothing says whether they do better: give labels, or pairs.mode=on"
    if pairs[0] <= distances[0] + distances[1]:
        return (
            f"on individuals held out they give {pairs[0]:.2f}, distances {distances[0]:.2f} ± "
            f"{distances[1]:.2f}"
        )
    return ""
