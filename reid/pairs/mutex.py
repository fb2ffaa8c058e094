"""One consistent decision over all pairs: the Mutex Watershed."""

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
    pairs = np.asarray(pairs, np.int64).reshape(-1, 2)
    weights = np.asarray(log_odds, np.float64)
    must, cannot = (
        np.zeros((0, 2), np.int64) if given is None else np.asarray(given, np.int64).reshape(-1, 2)
        for given in (together, apart)
    )
    for given in (pairs, must, cannot):
        if len(given) and not (given.min() >= 0 and given.max() < n):
            raise InputError(f"pairs: rows from {given.min()} to {given.max()}, there are {n}")
    if not np.isfinite(weights).all():
        raise InputError("pairs: log-odds that are not finite; a pair without evidence has 0")
    groups = _Groups(n)
    for a, b in must:
        groups.join(groups.root(int(a)), groups.root(int(b)))
    for a, b in cannot:
        first, second = groups.root(int(a)), groups.root(int(b))
        if first == second:
            said = (
                f"{names[a]} and {names[b]}" if names is not None else f"rows {int(a)} and {int(b)}"
            )
            raise InputError(f"{said} were said to be one animal, by a chain of links, and two")
        groups.part(first, second)
    if lone_log_odds is not None:
        for a, b in pairs[weights > 0]:
            groups.count(int(a), int(b))
    broken: list[int] = []
    doubtful: list[tuple[int, int]] = []
    for index in _order(pairs, weights, names):
        first, second = (groups.root(int(row)) for row in pairs[index])
        if first == second:
            if weights[index] < 0:
                broken.append(int(index))
        elif weights[index] < 0:
            groups.part(first, second)
        elif second in groups.mutex[first]:
            broken.append(int(index))
        elif lone_log_odds is not None and groups.is_lone(
            first, second, weights[index] < lone_log_odds
        ):
            doubtful.append((int(pairs[index, 0]), int(pairs[index, 1])))
        else:
            groups.join(first, second)
    roots = np.array([groups.root(row) for row in range(n)], np.int64)
    _, first_row, inverse = np.unique(roots, return_index=True, return_inverse=True)
    number = np.empty(len(first_row), np.int64)
    number[np.argsort(first_row, kind="stable")] = np.arange(len(first_row))
    return Decided(number[inverse], doubtful, np.array(sorted(broken), np.int64))


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

    def is_lone(self, first: int, second: int, unsure: bool) -> bool:
        groups = min(self.size[first], self.size[second]) > 1
        return bool(unsure) and groups and self.between[first].get(second, 0) == 1

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
