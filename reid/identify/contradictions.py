"""Must-links that a cannot-link forbids, each with the chain that leads there."""

from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.identify.constrained_partition import components
from reid.identify.constraints import (
    ENCOUNTER,
    LABEL,
    MATCH,
    Constraints,
    conflicted,
    must_links,
)

Link = tuple[int, int, int]  # from row, to row, kind


@dataclass(frozen=True, slots=True)
class Contradiction:
    """Two rows that are one animal and two.

    Attributes:
        forbidden: what tells them apart: `nomatch`, `label` or `image`.
        a, b: the rows.
        chain: links from a to b that make them one, as few as there are: (from, to, kind), with the
            kinds of reid.identify.constraints.
    """

    forbidden: str
    a: int
    b: int
    chain: list[Link]


def find_contradictions(constraints: Constraints) -> list[Contradiction]:
    """Every cannot-link inside a must-linked component, with a shortest chain of must-links.

    Two labels in one component are reported once for each pair of labels that a chain connects
    without touching a third; what goes through a third label follows from its parts.

    Returns:
        Contradictions by kind (`nomatch`, `label`, `image`) and row; empty if all can hold.
    """
    must, _ = must_links(constraints)
    component = components(len(constraints.labels), must)
    bad = conflicted(component, constraints)[component]
    if not bad.any():
        return []
    chains = _ConstraintPaths(constraints, np.flatnonzero(bad))
    return [
        *_between("nomatch", _apart(component, constraints.nomatch), chains),
        *_between_labels(constraints, np.flatnonzero(bad), chains),
        *_between("image", _boxes(component, constraints.images, np.flatnonzero(bad)), chains),
    ]


def _between(
    forbidden: str, pairs: Iterable[tuple[int, int]], chains: "_ConstraintPaths"
) -> list[Contradiction]:
    partners = defaultdict(list)
    for a, b in sorted(set(pairs)):
        partners[a].append(b)
    found = []
    for a, others in partners.items():
        reached = chains.search([a])
        found += [Contradiction(forbidden, a, b, chains.back(reached, b)) for b in others]
    return found


def _between_labels(
    constraints: Constraints, rows: NDArray[np.int64], chains: "_ConstraintPaths"
) -> list[Contradiction]:
    members = _groups(constraints.labels, rows)
    found = []
    for label, starts in sorted(members.items()):
        reached = chains.search(starts, stop_at_labels=True)
        first: dict[int, int] = {}
        for row in reached:  # in the order of their distance
            first.setdefault(int(constraints.labels[row]), row)
        for other, row in sorted(first.items()):
            if other > label:
                chain = chains.back(reached, row)
                found.append(Contradiction("label", chain[0][0], row, chain))
    return found


def _apart(component: NDArray[np.int64], nomatch: NDArray[np.int64]) -> list[tuple[int, int]]:
    pairs = np.sort(nomatch.reshape(-1, 2), axis=1)
    inside = component[pairs[:, 0]] == component[pairs[:, 1]]
    return [(a, b) for a, b in pairs[inside].tolist()]


def _boxes(
    component: NDArray[np.int64], images: NDArray[np.int64], rows: NDArray[np.int64]
) -> list[tuple[int, int]]:
    pairs = []
    for members in _groups(images, rows).values():
        for k, a in enumerate(members):
            pairs += [(a, b) for b in members[k + 1 :] if component[a] == component[b]]
    return pairs


def _groups(group: NDArray[np.int64], rows: NDArray[np.int64]) -> dict[int, list[int]]:
    members = defaultdict(list)
    for row, number in zip(rows.tolist(), group[rows].tolist(), strict=True):
        if number >= 0:
            members[number].append(row)
    return members


class _ConstraintPaths:
    """Breadth-first search over must-links; a group is one step wide, however large."""

    def __init__(self, constraints: Constraints, rows: NDArray[np.int64]) -> None:
        self.labels, self.encounters = constraints.labels, constraints.encounters
        self.by_label = _groups(self.labels, rows)
        self.by_encounter = _groups(self.encounters, rows)
        self.matches = defaultdict(list)
        for a, b in constraints.match.reshape(-1, 2).tolist():
            self.matches[a].append(b)
            self.matches[b].append(a)

    def search(self, starts: list[int], *, stop_at_labels: bool = False) -> dict[int, Link | None]:
        """The link by which each row was first reached, nearest rows first; None for the starts."""
        reached: dict[int, Link | None] = dict.fromkeys(starts)
        queue = deque(starts)
        seen: set[tuple[int, int]] = set()
        begin = set(starts)
        while queue:
            row = queue.popleft()
            label, encounter = int(self.labels[row]), int(self.encounters[row])
            if stop_at_labels and label >= 0 and row not in begin:
                continue
            steps = [(MATCH, sorted(self.matches[row]))]
            if label >= 0 and (LABEL, label) not in seen:
                steps.append((LABEL, self.by_label[label]))
            if encounter >= 0 and (ENCOUNTER, encounter) not in seen:
                steps.append((ENCOUNTER, self.by_encounter[encounter]))
            seen |= {(LABEL, label), (ENCOUNTER, encounter)}
            for kind, others in steps:
                for other in others:
                    if other not in reached:
                        reached[other] = (row, other, kind)
                        queue.append(other)
        return reached

    def back(self, reached: dict[int, Link | None], row: int) -> list[Link]:
        """The chain that led to `row`, from its start."""
        chain = []
        link = reached[row]
        while link is not None:
            chain.append(link)
            link = reached[link[0]]
        return chain[::-1]
