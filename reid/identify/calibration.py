"""From a distance to the probability that a link shows one animal."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError
from reid.identify.distances import pair_distances
from reid.neighbors import check_unit_rows

METHODS = ("auto", "isotonic", "logistic")
BLOCK_VALUES = 2**24  # similarities held at once
CURVE_POINTS = 512
BINS = 15
FEWEST_INDIVIDUALS = 5


@dataclass(frozen=True, slots=True)
class Calibration:
    """A falling curve from distance to the probability of "same individual".

    Attributes:
        distances: (k,) float64, rising knots; linear between, constant outside.
        probabilities: (k,) float64, falling, in (0, 1).
        method: `isotonic` or `logistic`.
        ece: expected calibration error on individuals that the curve had not seen.
        brier: mean squared error of the probability on the same.
        samples: links that it was fitted on.
        individuals: among which the links were looked for; see `for_gallery`.
    """

    distances: NDArray[np.float64]
    probabilities: NDArray[np.float64]
    method: str
    ece: float
    brier: float
    samples: int
    individuals: int

    def __call__(self, distances: NDArray[np.floating] | float) -> NDArray[np.float64]:
        """Probability of "same individual" at each distance; NaN stays NaN."""
        return np.asarray(np.interp(distances, self.distances, self.probabilities))

    def for_gallery(self, individuals: int) -> "Calibration":
        """The curve for a catalogue of another size, where strangers are nearer or farther.

        With r times as many individuals a nearest row at a given distance is r times as often a
        stranger's, while the chance that it is the animal's own stays: the odds are divided by r.
        On synthetic rows a curve of 120 individuals had an error (ECE) of 0.44 among 1,200 without
        this, and of 0.03 with it.
        """
        odds = self.probabilities / (1 - self.probabilities) * (self.individuals / individuals)
        return replace(self, probabilities=odds / (1 + odds), individuals=individuals)

    def as_dict(self) -> dict[str, Any]:
        """As JSON keeps it; `Calibration.from_dict` reads it to the bit."""
        kept = asdict(self)
        kept["distances"] = self.distances.tolist()
        kept["probabilities"] = self.probabilities.tolist()
        return kept

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Calibration":
        """Of `as_dict`."""
        curve = {name: np.asarray(stored[name]) for name in ("distances", "probabilities")}
        return cls(**{**stored, **curve})


def calibrate(
    vectors: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    sides: NDArray[np.int8] | None = None,
    encounters: NDArray[np.int64] | None = None,
    images: NDArray[np.int64] | None = None,
    method: str = "auto",
    new_share: float = 0.5,
    folds: int = 5,
    most_rows: int = 20_000,
    seed: int = 0,
) -> Calibration:
    """Learn from labelled rows how far a deciding link can be trusted.

    What decides on a new image is not a random pair but the nearest row, so that is what the curve
    is fitted on. Each labelled row is asked twice: as an animal that the catalogue knows (its
    nearest row of another encounter, right or wrong) and as one that it does not (its nearest row of
    another individual, always wrong), weighted by `new_share`. The curve holds for as many
    individuals as are labelled; `Calibration.for_gallery` carries it to more.

    Args:
        vectors: (n, d) float32, unit rows.
        labels: (n,) identity, −1 = unknown; unknown rows are left out.
        sides: of `reid.identify.sides`; links are made between comparable views only.
        encounters: (n,) encounter, −1 = none: two images of one burst prove nothing about two
            nights and are not linked.
        images: (n,) image, −1 = none: boxes in one image are not linked.
        method: `isotonic`, `logistic`, or `auto`: the better Brier score on held-out individuals.
        new_share: share of arriving images whose animal the catalogue does not know, 0 < share < 1.
        folds: individuals are held out in this many turns for `ece` and `brier`.
        most_rows: rows that are asked for their links, drawn at random where there are more.
        seed: of that draw and of the folds.

    Raises:
        InputError: too few labelled individuals with two images that can be linked, or an argument
            out of range.
    """
    if method not in METHODS:
        raise InputError(f"method: unknown {method!r}; known methods: {', '.join(METHODS)}")
    if not 0 < new_share < 1:
        raise InputError(f"new_share: {new_share}, needs a share between 0 and 1 (exclusive)")
    check_unit_rows(vectors)
    kept = np.flatnonzero(labels >= 0)
    none = np.full(len(labels), -1, np.int64)
    who = labels[kept]
    encounter, image = (
        np.where(group[kept] < 0, -1 - kept, group[kept])
        for group in (
            none if encounters is None else encounters,
            none if images is None else images,
        )
    )
    side = np.zeros(len(kept), np.int8) if sides is None else sides[kept]
    queries = np.arange(len(kept))
    if len(kept) > most_rows:
        queries = np.sort(np.random.default_rng(seed).choice(len(kept), most_rows, replace=False))
    same, different = _nearest_links(vectors[kept], queries, who, side, encounter, image)
    found = calibrate_links(
        same, different, who[queries], method=method, new_share=new_share, folds=folds, seed=seed
    )
    return replace(found, individuals=len(np.unique(who)))


def calibrate_links(
    same: NDArray[np.float64],
    different: NDArray[np.float64],
    who: NDArray[np.int64],
    *,
    method: str = "auto",
    new_share: float = 0.5,
    folds: int = 5,
    seed: int = 0,
) -> Calibration:
    """As `calibrate`, from the links themselves.

    Args:
        same, different: (q,) distance of each labelled row to the nearest of its own individual, in
            another encounter, and of another; inf where there is none.
        who: (q,) its individual.
        method, new_share, folds, seed: see `calibrate`.

    Raises:
        InputError: as `calibrate`.
    """
    known = np.flatnonzero(np.isfinite(same))
    individuals = len(np.unique(who[known]))
    if individuals < max(FEWEST_INDIVIDUALS, folds) or not np.isfinite(different).any():
        raise InputError(
            f"calibration: {individuals} labelled individuals have two images of different "
            f"encounters that can be compared; at least {max(FEWEST_INDIVIDUALS, folds)} are needed: "
            "label more images"
        )
    distance, truth, weight, group = _samples(same, different, who, new_share)
    tried = []
    for kind in METHODS[1:] if method == "auto" else (method,):
        predicted = _held_out(distance, truth, weight, group, kind, folds, seed)
        brier = float(np.average((predicted - truth) ** 2, weights=weight))
        tried.append((brier, kind, expected_calibration_error(predicted, truth, weight)))
    brier, kind, ece = min(tried)
    knots, probabilities = _fit(distance, truth, weight, kind)
    gallery = len(np.unique(who))
    return Calibration(knots, probabilities, kind, ece, brier, len(distance), gallery)


def thresholds(
    calibration: Calibration, known_probability: float = 0.9, new_probability: float = 0.1
) -> tuple[float, float]:
    """(known_distance, new_distance): up to the first P(same) ≥ `known_probability`; beyond the second
    P(same) ≤ `new_probability`.

    Raises:
        InputError: probabilities out of order, or the curve never reaches one of them.
    """
    if not 0 < new_probability < known_probability < 1:
        raise InputError(
            f"identify.new_probability={new_probability:g} and identify.known_probability="
            f"{known_probability:g}: needs 0 < new < known < 1"
        )
    knots, curve = calibration.distances, calibration.probabilities
    missed = []
    if curve[0] < known_probability:
        missed.append(f"identify.known_probability={known_probability:g}")
    if curve[-1] > new_probability:
        missed.append(f"identify.new_probability={new_probability:g}")
    if missed:
        raise InputError(
            f"the calibration runs from P(same) = {curve[0]:.3f} at distance {knots[0]:.4g} to "
            f"{curve[-1]:.3f} at {knots[-1]:.4g}, so it never reaches {' or '.join(missed)}: set what "
            "it reaches, label more images, or take a better model"
        )
    # np.interp wants rising values; on a plateau the far end is known, the near end new.
    last = int(np.flatnonzero(curve >= known_probability)[-1])
    first = int(np.flatnonzero(curve <= new_probability)[0])
    return (
        float(np.interp(-known_probability, -curve[last : last + 2], knots[last : last + 2])),
        float(
            np.interp(-new_probability, -curve[first - 1 : first + 1], knots[first - 1 : first + 1])
        ),
    )


def expected_calibration_error(
    probabilities: NDArray[np.float64], truth: NDArray[np.bool_], weight: NDArray[np.float64]
) -> float:
    """Mean gap between what was promised and what came true, over bins of equally many samples.

    Source:
        Naeini et al. 2015. Differs: equal-mass bins (Nixon et al. 2019), weighted samples.
    """
    order = np.argsort(probabilities, kind="stable")
    gaps = [
        abs(float((weight[part] * (probabilities[part] - truth[part])).sum()))
        for part in np.array_split(order, min(BINS, len(order)))
    ]
    return sum(gaps) / float(weight.sum())


def _nearest_links(
    vectors: NDArray[np.float32],
    queries: NDArray[np.int64],
    who: NDArray[np.int64],
    side: NDArray[np.int8],
    encounter: NDArray[np.int64],
    image: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distances from each asked row to the nearest of its own individual and of another; inf for none."""
    links = np.full((2, len(queries)), np.inf)
    block = max(1, BLOCK_VALUES // max(1, len(vectors)))
    for start in range(0, len(queries), block):
        rows = queries[start : start + block]
        likeness = vectors[rows] @ vectors.T
        likeness[side[rows, None] * side < 0] = -np.inf
        likeness[image[rows, None] == image] = -np.inf  # its own image, so itself too
        likeness[encounter[rows, None] == encounter] = -np.inf
        own = who[rows, None] == who
        for links_of, wanted in zip(links, (own, ~own), strict=True):
            best = np.where(wanted, likeness, -np.inf)
            nearest = best.argmax(axis=1)
            there = np.flatnonzero(np.isfinite(best[np.arange(len(rows)), nearest]))
            links_of[start + there] = pair_distances(vectors, rows[there], vectors, nearest[there])
    return links[0], links[1]


def _samples(
    same: NDArray[np.float64],
    different: NDArray[np.float64],
    who: NDArray[np.int64],
    new_share: float,
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.float64], NDArray[np.int64]]:
    """distance, whether it is one animal, weight, and individual of every deciding link."""
    known, new = np.flatnonzero(np.isfinite(same)), np.flatnonzero(np.isfinite(different))
    distance = np.concatenate([np.minimum(same, different)[known], different[new]])
    truth = np.concatenate([(same <= different)[known], np.zeros(len(new), np.bool_)])
    weight = np.concatenate(
        [np.full(len(known), (1 - new_share) / len(known)), np.full(len(new), new_share / len(new))]
    )
    return distance, truth, weight * len(distance), np.concatenate([who[known], who[new]])


def _held_out(
    distance: NDArray[np.float64],
    truth: NDArray[np.bool_],
    weight: NDArray[np.float64],
    group: NDArray[np.int64],
    kind: str,
    folds: int,
    seed: int,
) -> NDArray[np.float64]:
    """The probability of each sample by a curve fitted without its individual."""
    from sklearn.model_selection import GroupKFold

    predicted = np.empty(len(distance))
    turns = GroupKFold(folds, shuffle=True, random_state=seed).split(distance, groups=group)
    for seen, unseen in turns:
        knots, probabilities = _fit(distance[seen], truth[seen], weight[seen], kind)
        predicted[unseen] = np.interp(distance[unseen], knots, probabilities)
    return predicted


def _fit(
    distance: NDArray[np.float64],
    truth: NDArray[np.bool_],
    weight: NDArray[np.float64],
    kind: str,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Knots and probabilities of a falling curve that stays off 0 and 1 by what n samples can tell."""
    least = 1 / (len(distance) + 2)
    if kind == "isotonic":
        from sklearn.isotonic import IsotonicRegression

        model = IsotonicRegression(y_min=least, y_max=1 - least, increasing=False)
        model.fit(distance, truth, sample_weight=weight)
        return np.asarray(model.X_thresholds_, np.float64), np.asarray(
            model.y_thresholds_, np.float64
        )
    from sklearn.linear_model import LogisticRegression

    knots = np.linspace(0, 1.5 * distance.max(), CURVE_POINTS)
    if truth.all() or not truth.any():
        return knots, np.full(CURVE_POINTS, np.clip(float(truth.mean()), least, 1 - least))
    scale = distance.std() or 1.0
    model = LogisticRegression(C=1e3, max_iter=1000)
    model.fit(distance[:, None] / scale, truth, sample_weight=weight)
    curve = np.asarray(model.predict_proba(knots[:, None] / scale)[:, 1])
    # Where distance tells nothing the slope may come out rising; the mean is then all that is known.
    curve = (
        np.minimum.accumulate(curve) if model.coef_[0, 0] < 0 else np.full_like(curve, curve.mean())
    )
    return knots, np.clip(curve, least, 1 - least)
