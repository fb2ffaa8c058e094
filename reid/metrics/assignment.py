"""Known or new? Answers to "which of the animals we know is this, if any?"."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from reid.errors import InputError
from reid.neighbors import check_unit_rows
from reid.splits import checked_codes, closed_set, held_out_individuals

CALIBRATIONS = 5  # draws whose mean curve gives the threshold


@dataclass(frozen=True, slots=True)
class Assignment:
    """Open-set assignment; shares in [0, 1].

    Attributes:
        baks: balanced accuracy on known samples: mean over known individuals of the share of
            their rows that got the right identity.
        baus: balanced accuracy on unknown samples: mean over unknown individuals of the share of
            their rows that were said to be new.
        score: the geometric mean of both.
    """

    baks: float
    baus: float
    score: float


@dataclass(frozen=True, slots=True)
class IndividualShares:
    """How each individual's rows were answered; an individual may be here once a draw.

    Attributes:
        individuals: (m,) int64, one number for each individual.
        known: (m,) bool, True where it is in the gallery.
        right: (m,) float64, share of its rows with the right answer.
    """

    individuals: NDArray[np.int64]
    known: NDArray[np.bool_]
    right: NDArray[np.float64]

    def summarise(self) -> Assignment:
        """Means over individuals; NaN where there are none to score."""
        baks, baus = (
            float(self.right[side].mean()) if side.any() else float("nan")
            for side in (self.known, ~self.known)
        )
        return Assignment(baks, baus, float(np.sqrt(baks * baus)))


@dataclass(frozen=True, slots=True)
class OpenSet:
    """What simulated encounters with known and new animals gave.

    Attributes:
        shares: of every draw.
        thresholds: (draws,) float64, cosine distance from which an animal was called new.
        known_queries, new_queries: rows that asked, in all draws together.
    """

    shares: IndividualShares
    thresholds: NDArray[np.float64]
    known_queries: int
    new_queries: int


@dataclass(frozen=True, slots=True)
class Answers:
    """The nearest gallery row of each query, in one draw.

    Attributes:
        rows: (q,) int64, the queries.
        nearest: (q,) int64, the gallery's nearest row of each.
        distances: (q,) float32, cosine distance to it.
        known: (q,) bool, True where the individual is in the gallery.
    """

    rows: NDArray[np.int64]
    nearest: NDArray[np.int64]
    distances: NDArray[np.float32]
    known: NDArray[np.bool_]


def assignment(
    predicted: NDArray[Any], truth: NDArray[Any], known: NDArray[np.bool_]
) -> Assignment:
    """Score answers to "who is this?" where some animals have never been seen before.

        BAKS = mean over known individuals of (rows named right / rows)
        BAUS = mean over new individuals of (rows called new / rows)
        score = √(BAKS · BAUS)

    Args:
        predicted: (q,) identities; None, NaN or -1 says "new".
        truth: (q,) identities, all given.
        known: (q,) bool, True where the individual is in the gallery.

    Returns:
        Assignment; NaN where there is no row to score.

    Raises:
        InputError: numbers of rows that differ, a row without a true identity, or an individual
            that is both known and not.

    Source:
        AnimalCLEF 2025: the score is sqrt(BAKS x BAUS).

    Example:
        Of a's two rows one is named right, b's one is, and c, which is new, is called new.

        >>> predicted = np.array(["a", None, "b", None])
        >>> truth, known = np.array(["a", "a", "b", "c"]), np.array([True, True, True, False])
        >>> found = assignment(predicted, truth, known)
        >>> found.baks, found.baus, round(found.score, 4)
        (0.75, 1.0, 0.866)
    """
    n = len(truth)
    new = checked_codes(predicted, n, "predicted identities") < 0
    unnamed = checked_codes(truth, n, "true identities") < 0
    both = np.concatenate([np.asarray(truth, object), np.asarray(predicted, object)])
    codes = np.where(np.concatenate([unnamed, new]), -1, checked_codes(both, 2 * n, "identities"))
    return individual_shares(codes[n:], codes[:n], known).summarise()


def individual_shares(
    predicted: NDArray[np.int64], truth: NDArray[np.int64], known: NDArray[np.bool_]
) -> IndividualShares:
    """As `assignment`, for codes (-1 is "new"), and not yet averaged over individuals."""
    if len(known) != len(truth):
        raise InputError(f"known: {len(known)} values for {len(truth)} rows: one a row is needed")
    if (truth < 0).any():
        raise InputError(
            f"{int((truth < 0).sum())} rows have no true identity; leave them out: they cannot be scored"
        )
    frame = pd.DataFrame(
        {
            "individual": truth,
            "known": known,
            "right": np.where(known, predicted == truth, predicted < 0),
        }
    )
    shares = frame.groupby(["individual", "known"], as_index=False)["right"].mean()
    repeated = int(shares["individual"].duplicated().sum())
    if repeated:
        raise InputError(f"{repeated} individuals are both known and unknown; each is one of them")
    return IndividualShares(
        shares["individual"].to_numpy(np.int64),
        shares["known"].to_numpy(np.bool_),
        shares["right"].to_numpy(np.float64),
    )


def open_set(
    embeddings: NDArray[np.float32],
    identities: NDArray[Any],
    *,
    encounters: NDArray[Any] | None = None,
    share_new: float = 0.2,
    share_queries: float = 0.2,
    draws: int = 5,
    seed: int = 0,
) -> OpenSet:
    """Play it through on labelled rows: some individuals are new, of the others some rows ask.

    Each query is given the identity of the nearest gallery row, or called new where that row is
    farther than a threshold. The threshold is fitted on the gallery alone, by playing the same
    there: no query, and no row of a new individual, has a say in it.

    Args:
        embeddings: (n, d) float32, unit rows.
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled and left out.
        encounters: (n,) in the same forms; never on both sides.
        share_new: of the individuals, that are in no gallery.
        share_queries: of the others' rows.
        draws: times that it is played.
        seed: of the draws.

    Returns:
        OpenSet.

    Raises:
        InputError: too few labelled individuals, or images of them, to play it.

    Example:
        Ten individuals with four equal pictures each, a fifth of them new in each draw.

        >>> found = open_set(np.eye(10, dtype=np.float32).repeat(4, axis=0), np.arange(10).repeat(4))
        >>> found.shares.summarise()
        Assignment(baks=1.0, baus=1.0, score=1.0)
        >>> found.new_queries  # 5 draws of 2 individuals with 4 rows
        40
    """
    check_unit_rows(embeddings)
    n = len(embeddings)
    identity = checked_codes(identities, n, "identities")
    encounter = np.full(n, -1) if encounters is None else checked_codes(encounters, n, "encounters")

    def play(among: NDArray[np.bool_], seed_of_draw: int) -> tuple[Answers, NDArray[np.bool_]]:
        taking_part = np.where(among, identity, -1)
        new = held_out_individuals(taking_part, share_new, encounters=encounter, seed=seed_of_draw)
        old = np.where(new, -1, taking_part)
        query = closed_set(old, share_queries, encounters=encounter, seed=seed_of_draw)
        gallery = (old >= 0) & ~query
        rows = np.flatnonzero(query | new)
        return nearest_answers(embeddings, rows, np.flatnonzero(gallery), ~new[rows]), gallery

    found: list[IndividualShares] = []
    thresholds: list[float] = []
    known_queries = new_queries = 0
    for draw in range(draws):
        first = seed + draw * (CALIBRATIONS + 1)
        answers, gallery = play(identity >= 0, first)
        trials = [play(gallery, first + 1 + trial)[0] for trial in range(CALIBRATIONS)]
        threshold = best_threshold(trials, identity)
        predicted = np.where(answers.distances <= threshold, identity[answers.nearest], -1)
        found.append(individual_shares(predicted, identity[answers.rows], answers.known))
        thresholds.append(threshold)
        known_queries += int(answers.known.sum())
        new_queries += int((~answers.known).sum())
    shares = IndividualShares(
        np.concatenate([one.individuals for one in found]),
        np.concatenate([one.known for one in found]),
        np.concatenate([one.right for one in found]),
    )
    return OpenSet(shares, np.asarray(thresholds), known_queries, new_queries)


def nearest_answers(
    embeddings: NDArray[np.float32],
    rows: NDArray[np.int64],
    gallery: NDArray[np.int64],
    known: NDArray[np.bool_],
    *,
    memory_bytes: int = 256 * 2**20,
) -> Answers:
    """Compare each query with the gallery, block by block.

    Args:
        embeddings: (n, d) float32, unit rows.
        rows: (q,) int64, the queries.
        gallery: (g,) int64, rows that are searched, at least one.
        known: (q,) bool, True where the individual is in the gallery.
        memory_bytes: for the block of similarities.
    """
    nearest = np.empty(len(rows), dtype=np.int64)
    distances = np.empty(len(rows), dtype=np.float32)
    targets = embeddings[gallery]
    block = max(1, memory_bytes // (4 * len(gallery)))
    for start in range(0, len(rows), block):
        similarity = embeddings[rows[start : start + block]] @ targets.T
        best = similarity.argmax(axis=1)
        nearest[start : start + block] = gallery[best]
        distances[start : start + block] = 1 - similarity[np.arange(len(best)), best]
    return Answers(rows, nearest, distances, known)


def best_threshold(trials: list[Answers], identity: NDArray[np.int64]) -> float:
    """The distance with the best geometric mean of BAKS and BAUS over the trials.

    Walking up the distances, every known query that has the right neighbour is a gain for BAKS,
    every new one a loss for BAUS: one sorted pass gives both at every threshold.

    Args:
        trials: each with known and new queries.
        identity: (n,) int64, individual of every row.
    """
    distances: list[NDArray[np.float32]] = []
    gains: list[NDArray[np.float64]] = []
    losses: list[NDArray[np.float64]] = []
    for one in trials:
        truth = identity[one.rows]
        shares = 1 / np.bincount(truth)[truth]  # of one row in its individual
        right = one.known & (identity[one.nearest] == truth)
        for side, hit, into in ((one.known, right, gains), (~one.known, ~one.known, losses)):
            weight = np.where(hit, shares, 0.0)
            into.append(weight / shares[side].sum())  # shares of a side add up to its individuals
        distances.append(one.distances)
    order = np.argsort(np.concatenate(distances), kind="stable")
    distance = np.concatenate(distances)[order].astype(np.float64)
    baks = np.cumsum(np.concatenate(gains)[order]) / len(trials)
    baus = 1 - np.cumsum(np.concatenate(losses)[order]) / len(trials)
    ends = np.append(np.diff(distance) > 0, True)  # equal distances are taken or left together
    best = int(np.where(ends, baks * np.clip(baus, 0, None), -1.0).argmax())
    return float(distance[best : best + 2].mean())
