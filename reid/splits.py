"""Which labelled rows are held back to judge with? An encounter is never on both sides.

held_out_individuals   individuals never seen: is the model better on animals that are new to it?
identity_folds         the same, each individual held out once
closed_set             known individuals, photographs never seen
time_aware             everything from a moment on: the past is known, the future asks
column_split           as the data set's own column says

One species at a time: identities of different species may share names. Rows without an identity
take no part and are on neither side.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from reid.errors import InputError
from reid.tune import encode_labels

# Words of a column `split`, in any case of letters.
QUERY_WORDS = ("query", "probe", "test")
GALLERY_WORDS = ("gallery", "database", "train")

MIN_EACH_SIDE = 2  # one individual alone is always found, and there is nothing to tell it from


def held_out_individuals(
    identities: NDArray[Any],
    share: float = 0.2,
    *,
    encounters: NDArray[Any] | None = None,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Hold out individuals with all their rows.

    Individuals seen together in an encounter stay together, so the share may be exceeded a little.

    Args:
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.
        share: of the individuals, above 0 and below 1; at least two on each side.
        encounters: (n,) in the same forms; unlabelled rows have no encounter with others.
        seed: of the draw.

    Returns:
        (n,) bool, True for a row held out; False for an unlabelled row too.

    Raises:
        InputError: share out of range, fewer than four individuals, or encounters that tie so many
            of them together that no two can be held out.
    """
    _check_share(share)
    identity = checked_codes(identities, len(identities), "identities")
    groups = _groups_of_individuals(identity, encounters)
    n = len(groups)
    _check_individuals(n, 2 * MIN_EACH_SIDE)
    wanted = int(np.clip(round(share * n), MIN_EACH_SIDE, n - MIN_EACH_SIDE))
    sizes = np.bincount(groups)  # individuals of each group
    held: list[int] = []
    count = 0
    for group in np.random.default_rng([seed, 3]).permutation(len(sizes)):
        if count < wanted and count + sizes[group] <= n - MIN_EACH_SIDE:
            held.append(int(group))
            count += int(sizes[group])
    if count < MIN_EACH_SIDE:
        raise InputError(
            f"encounters tie {int(sizes.max())} of {n} individuals together, so that {MIN_EACH_SIDE} "
            "cannot be held out; check encounter_id, or split without it"
        )
    return np.where(identity >= 0, np.isin(groups, held)[identity], False)


def identity_folds(
    identities: NDArray[Any],
    folds: int,
    *,
    encounters: NDArray[Any] | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Split the individuals into folds of about as many rows each.

    Args:
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.
        folds: at least 2.
        encounters: (n,) in the same forms; individuals seen together are in one fold.
        seed: of the draw.

    Returns:
        (n,) int64, fold of each row, 0 ... folds - 1; -1 for an unlabelled row.

    Raises:
        InputError: fewer than two folds, or than two individuals (or groups of individuals that
            were seen together) a fold.
    """
    if folds < 2:
        raise InputError(f"folds: {folds}; at least 2 are needed")
    identity = checked_codes(identities, len(identities), "identities")
    groups = _groups_of_individuals(identity, encounters)
    _check_individuals(len(groups), MIN_EACH_SIDE * folds)
    rows = np.bincount(groups[identity[identity >= 0]])  # of each group
    if len(rows) < folds:
        raise InputError(
            f"encounters tie {len(groups)} individuals into {len(rows)} groups, too few for {folds} "
            "folds; take fewer folds, or check encounter_id"
        )
    order = np.random.default_rng([seed, 4]).permutation(len(rows))
    order = order[np.argsort(-rows[order], kind="stable")]
    fold_of, filled = np.empty(len(rows), dtype=np.int64), np.zeros(folds, dtype=np.int64)
    for group in order:  # the largest first, each where there is most room
        fold_of[group] = np.argmin(filled)
        filled[fold_of[group]] += rows[group]
    return np.where(identity >= 0, fold_of[groups[identity]], -1)


def closed_set(
    identities: NDArray[Any],
    share: float = 0.2,
    *,
    encounters: NDArray[Any] | None = None,
    seed: int = 0,
) -> NDArray[np.bool_]:
    """Draw queries among the images, so that every query's individual is in the gallery.

    Args:
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.
        share: of the labelled rows, above 0 and below 1. There are fewer queries where too few
            individuals have a second encounter to stay in the gallery.
        encounters: (n,) in the same forms; a row without one is an encounter of its own.
        seed: of the draw.

    Returns:
        (n,) bool, True for a query. The gallery is every other labelled row.

    Raises:
        InputError: share out of range, one individual only, or none with two encounters.
    """
    _check_share(share)
    identity = checked_codes(identities, len(identities), "identities")
    _check_individuals(int(identity.max(initial=-1)) + 1, 2)
    rows = np.flatnonzero(identity >= 0)
    units = _units(encounters, len(identity))[rows]
    members = np.split(
        rows[np.argsort(units, kind="stable")], np.cumsum(np.unique(units, return_counts=True)[1])
    )[:-1]
    wanted = max(1, round(share * len(rows)))
    left = np.bincount(identity[rows])  # in the gallery, of each individual
    query = np.zeros(len(identity), dtype=bool)
    taken = 0
    for number in np.random.default_rng([seed, 5]).permutation(len(members)):
        unit = members[number]
        leaves = np.bincount(identity[unit], minlength=len(left))
        if taken + len(unit) <= wanted and (left > leaves)[leaves > 0].all():
            query[unit] = True
            left -= leaves
            taken += len(unit)
    if not taken:
        raise InputError(
            "no query can be drawn: none of the individuals has two encounters (or two images, "
            f"where there are no encounters), or all encounters have more than {wanted} images "
            f"(share {share}); give more labelled images, or a larger share"
        )
    return query


def time_aware(
    identities: NDArray[Any],
    timestamps: NDArray[Any],
    share: float = 0.2,
    *,
    encounters: NDArray[Any] | None = None,
) -> NDArray[np.bool_]:
    """Take everything from a moment on as queries: the past is known, the future asks.

    An encounter is where it began. Individuals that first appear among the queries are in no
    gallery, as new animals are in real use: closed-set scores skip them, open-set scores count them.

    Args:
        identities: (n,) strings, objects or integers; None, NaN or -1 is unlabelled.
        timestamps: (n,) datetime64, or numbers that rise with time; NaT or NaN is unknown.
        share: of the labelled rows, above 0 and below 1; met as nearly as encounters and equal
            timestamps allow.
        encounters: (n,) as `identities`; a row without a timestamp takes its encounter's.

    Returns:
        (n,) bool, True for a query. The gallery is every other labelled row.

    Raises:
        InputError: share out of range, a labelled row whose time is not known, all of one moment,
            or no individual on both sides.
    """
    _check_share(share)
    identity = checked_codes(identities, len(identities), "identities")
    _check_individuals(int(identity.max(initial=-1)) + 1, 2)
    known = identity >= 0
    began = _beginnings(timestamps, _units(encounters, len(identity)), len(identity))
    lost = int(np.isnan(began[known]).sum())
    if lost:
        raise InputError(
            f"{lost} of {int(known.sum())} labelled rows have no timestamp; give their time, leave "
            "them out, or split by individuals"
        )
    moments, first = np.unique(np.sort(began[known]), return_index=True)
    if len(moments) < 2:
        raise InputError(
            "all labelled rows are of one moment, so none is later; split by individuals"
        )
    later = known.sum() - first[1:]  # rows from each possible moment on
    cut = moments[1:][np.argmin(np.abs(later - share * known.sum()))]
    query: NDArray[np.bool_] = known & (began >= cut)
    if not np.isin(identity[query], identity[known & ~query]).any():
        raise InputError(
            f"no individual was seen both before and after the latest {share:.0%} of images; "
            "change the share, or split by individuals"
        )
    return query


def checked_codes(values: NDArray[Any], n: int, name: str) -> NDArray[np.int64]:
    """Codes 0, 1, ... of labels, -1 where there is none.

    Raises:
        InputError: not one value a row; the message begins with `name`.
    """
    if len(values) != n:
        raise InputError(f"{name}: {len(values)} values for {n} rows: one a row is needed")
    return encode_labels(values)


def _check_share(share: float) -> None:
    if not 0 < share < 1:
        raise InputError(f"share: {share}; give a share above 0 and below 1")


def _check_individuals(found: int, needed: int) -> None:
    if found < needed:
        raise InputError(
            f"{found} labelled individuals, and this split needs {needed}: label more images"
        )


def _units(encounters: NDArray[Any] | None, n: int) -> NDArray[np.int64]:
    """Encounter of each row; a row without one is a unit of its own."""
    if encounters is None:
        return np.arange(n)
    codes = checked_codes(encounters, n, "encounters")
    return np.where(codes >= 0, codes, codes.max(initial=-1) + 1 + np.arange(n))


def _groups_of_individuals(
    identity: NDArray[np.int64], encounters: NDArray[Any] | None
) -> NDArray[np.int64]:
    """For each individual the number of its group: those that any chain of encounters joins."""
    individuals = int(identity.max(initial=-1)) + 1
    units = _units(encounters, len(identity))
    known = identity >= 0
    size = individuals + int(units.max(initial=-1)) + 1
    seen = coo_array(
        (np.ones(int(known.sum()), dtype=bool), (identity[known], individuals + units[known])),
        shape=(size, size),
    )
    found = connected_components(seen, directed=False)[1][:individuals]
    return np.unique(found, return_inverse=True)[1].astype(np.int64)


def _beginnings(timestamps: NDArray[Any], units: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """When the encounter of each row began, NaN where unknown."""
    if len(timestamps) != n:
        raise InputError(f"timestamps: {len(timestamps)} values for {n} rows: one a row is needed")
    times = np.asarray(timestamps)
    if np.issubdtype(times.dtype, np.datetime64):
        moments = times.astype("datetime64[us]").astype(np.float64)
        moments[np.isnat(times)] = np.nan
    else:
        moments = times.astype(np.float64)
    first = np.full(int(units.max(initial=-1)) + 1, np.inf)
    np.fmin.at(first, units, moments)
    began = first[units]
    return np.where(np.isinf(began), np.nan, began)


def column_split(
    words: Sequence[str | None],
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Queries and gallery as a column of the table has them.

    Args:
        words: n words, see QUERY_WORDS and GALLERY_WORDS; None and others are on neither side.

    Returns:
        Two (n,) bool, rows that ask and rows that are searched; None where one of them is empty.
    """
    plain = [(word or "").strip().lower() for word in words]
    query, gallery = (
        np.fromiter((word in known for word in plain), np.bool_, len(plain))
        for known in (QUERY_WORDS, GALLERY_WORDS)
    )
    return (query, gallery) if query.any() and gallery.any() else None
