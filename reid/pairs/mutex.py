"""One consistent decision over all pairs: the Mutex Watershed."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError


@dataclass(frozen=True)
class Decided:
    """Groups of rows, and what was left to people.

    Attributes:
        labels: (n,) int64, groups numbered by their smallest row.
        doubtful: joins that were not made because they hang on one pair: its two rows each.
        contradicted: pairs whose evidence the decision goes against, by number.
    """

    labels: NDArray[np.int64]
    doubtful: list[tuple[int, int]] = field(default_factory=list)
    contradicted: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))


def mutex_watershed(
    n: int,
    pairs: NDArray[np.signedinteger],
    log_odds: NDArray[np.floating],
    *,
    together: NDArray[np.signedinteger] | None = None,
    apart: NDArray[np.signedinteger] | None = None,
    names: NDArray[np.str_] | None = None,
    lone_log_odds: float | None = None,
) -> Decided:
    """Groups such that the surest evidence holds first.

    What people said comes first: `together` joins, `apart` keeps groups from being joined. Then one pass
    over the pairs by falling |log-odds|: a positive pair joins its groups unless something keeps
    them apart, a negative one keeps its groups apart unless they are one already. The result breaks
    as little of the surest evidence as can be: of all ways to group the rows it is the one whose list
    of broken pairs, surest first, is the smallest in the order of a dictionary; and among those that
    break the same, the one with the smallest groups.

    Args:
        n: rows.
        pairs: (m, 2) rows; a pair may occur once.
        log_odds: (m,) log(P / (1 − P)); 0 says nothing. However sure, none comes before what people said.
        together, apart: (c, 2) rows that a person, or a label, joined or told apart.
        names: (n,) of the rows; pairs that are equally sure are taken in the order of their names, so
            that the order of the rows changes nothing. By row number if not given.
        lone_log_odds: two groups of two rows or more that are connected by one positive pair only, less
            sure than this, are not joined but doubtful; None joins them.

    Raises:
        InputError: a row out of range, evidence that is not finite, or a pair in both `together` (by
            whatever chain) and `apart`.

    Source:
        Wolf, Pape, Bailoni et al., ECCV 2018.
    """
    pairs, weights = checked_evidence(n, pairs, log_odds)
    groups = _Groups(n)
    _take_word(groups, checked_rows(n, together), checked_rows(n, apart), names)
    unsure = np.zeros(len(pairs), np.bool_)
    if lone_log_odds is not None:
        unsure = weights < lone_log_odds
        for a, b in pairs[weights > 0]:
            groups.count(int(a), int(b))
    broken: list[int] = []
    doubtful: list[tuple[int, int]] = []
    for index in _order(pairs, weights, names):
        a, b = (int(row) for row in pairs[index])
        first, second = groups.root(a), groups.root(b)
        if weights[index] < 0:
            if first == second:
                broken.append(int(index))
            else:
                groups.part(first, second)
        elif second in groups.mutex[first]:
            broken.append(int(index))
        elif unsure[index] and groups.are_held_by_one_pair(first, second):
            doubtful.append((a, b))
        else:
            groups.join(first, second)
    labels = numbered_from_zero([groups.root(row) for row in range(n)])
    return Decided(labels, doubtful, np.array(sorted(broken), np.int64))


def checked_evidence(
    n: int, pairs: NDArray[np.signedinteger], log_odds: NDArray[np.floating]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of rows and their log-odds; InputError for a row that is not there, and what is not finite."""
    weights = np.asarray(log_odds, np.float64)
    if not np.isfinite(weights).all():
        raise InputError("pairs: log-odds that are not finite; a pair without evidence has 0")
    return checked_rows(n, pairs), weights


def checked_rows(n: int, given: NDArray[np.signedinteger] | None) -> NDArray[np.int64]:
    """Pairs of rows, (m, 2) int64; none where none are given; InputError for a row that is not there."""
    if given is None:
        return np.zeros((0, 2), np.int64)
    rows = np.asarray(given, np.int64).reshape(-1, 2)
    if len(rows) and not (rows.min() >= 0 and rows.max() < n):
        raise InputError(f"pairs: rows from {rows.min()} to {rows.max()}, there are {n}")
    return rows


def _take_word(
    groups: "_Groups",
    together: NDArray[np.int64],
    apart: NDArray[np.int64],
    names: NDArray[np.str_] | None,
) -> None:
    """Join and keep apart what people said; InputError where they say both of two rows."""
    for a, b in together:
        groups.join(groups.root(int(a)), groups.root(int(b)))
    for a, b in apart:
        first, second = groups.root(int(a)), groups.root(int(b))
        if first == second:
            said = f"rows {a} and {b}" if names is None else f"{names[a]} and {names[b]}"
            raise InputError(f"{said} were said to be one animal, by a chain of links, and two")
        groups.part(first, second)


def numbered_from_zero(roots: Sequence[int]) -> NDArray[np.int64]:
    """Labels from 0, by each group's smallest row."""
    number: dict[int, int] = {}
    return np.array([number.setdefault(root, len(number)) for root in roots], np.int64)


def _order(
    pairs: NDArray[np.int64], weights: NDArray[np.float64], names: NDArray[np.str_] | None
) -> NDArray[np.int64]:
    """Pairs by falling certainty, then by the names of their rows; those that say nothing are left out."""
    place = pairs
    if names is not None:
        order = np.argsort(np.asarray(names, dtype=str), kind="stable")
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        place = rank[pairs] if len(pairs) else pairs
    by = np.lexsort((place.max(axis=1), place.min(axis=1), -np.abs(weights)))
    found: NDArray[np.int64] = by[weights[by] != 0]
    return found


class _Groups:
    """Groups of rows that can be joined, the groups each must stay apart from, and pairs between them."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))
        self.size = [1] * n
        self.mutex: list[set[int]] = [set() for _ in range(n)]
        self.between: list[dict[int, int]] = [{} for _ in range(n)]  # positive pairs, by group

    def root(self, row: int) -> int:
        parent = self.parent
        while parent[row] != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    def part(self, first: int, second: int) -> None:
        self.mutex[first].add(second)
        self.mutex[second].add(first)

    def count(self, a: int, b: int) -> None:
        first, second = self.root(a), self.root(b)
        if first != second:
            self.between[first][second] = self.between[first].get(second, 0) + 1
            self.between[second][first] = self.between[first][second]

    def are_held_by_one_pair(self, first: int, second: int) -> bool:
        """Two groups of two rows or more, not yet one, with one positive pair between them."""
        return (
            min(self.size[first], self.size[second]) > 1 and self.between[first].get(second, 0) == 1
        )

    def join(self, first: int, second: int) -> None:
        """The group that knows fewer others goes into the other one."""
        if first == second:
            return
        if self._known(first) < self._known(second):
            first, second = second, first
        self.parent[second] = first
        self.size[first] += self.size[second]
        for other in self.mutex[second]:
            self.mutex[other].discard(second)
            self.part(other, first)
        self.between[first].pop(second, None)
        for other, pairs in self.between[second].items():
            if other == first:
                continue
            del self.between[other][second]
            self.between[first][other] = self.between[first].get(other, 0) + pairs
            self.between[other][first] = self.between[first][other]
        self.mutex[second], self.between[second] = set(), {}

    def _known(self, group: int) -> int:
        return len(self.mutex[group]) + len(self.between[group]) + self.size[group]
