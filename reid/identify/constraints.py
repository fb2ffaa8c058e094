"""What is known beside distances: who said that two rows are one animal, or two."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid.identify.remarks import about_pairs

MATCH, LABEL, ENCOUNTER = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Constraints:
    """Must-links and cannot-links between n rows.

    Rows of one label are one animal, rows of two labels are two; rows of one encounter are one
    animal; rows of one image are two.

    Attributes:
        labels: (n,) int64 known identity, −1 = none.
        encounters: (n,) int64, −1 = none.
        images: (n,) int64, −1 = none.
        match: (k, 2) int64, pairs that a reviewer joined.
        nomatch: (c, 2) int64, pairs that a reviewer told apart.
    """

    labels: NDArray[np.int64]
    encounters: NDArray[np.int64]
    images: NDArray[np.int64]
    match: NDArray[np.int64]
    nomatch: NDArray[np.int64]

    def of(self, rows: NDArray[np.int64]) -> "Constraints":
        """Those among some rows (rising), which are numbered on."""
        place = np.full(len(self.labels), -1, np.int64)
        place[rows] = np.arange(len(rows))
        match, nomatch = (place[pairs.reshape(-1, 2)] for pairs in (self.match, self.nomatch))
        return Constraints(
            self.labels[rows],
            self.encounters[rows],
            self.images[rows],
            match[(match >= 0).all(axis=1)],
            nomatch[(nomatch >= 0).all(axis=1)],
        )


def latest_decisions(decisions: pa.Table) -> pa.Table:
    """The last word on each pair, sorted by pair: a later timestamp replaces all earlier ones.

    Different decisions on one pair at the same moment all stay: if they contradict each other, a
    person must say which one holds. What was said of single pictures is left out.

    Args:
        decisions: `reid.schema.DECISIONS`, pairs in either order.
    """
    decisions = about_pairs(decisions)
    if not len(decisions):
        return decisions
    frame = decisions.to_pandas()
    swap = frame["a_id"] > frame["b_id"]
    frame.loc[swap, ["a_id", "b_id"]] = frame.loc[swap, ["b_id", "a_id"]].to_numpy()
    last = frame.groupby(["a_id", "b_id"])["timestamp"].transform("max")
    frame = frame[frame["timestamp"] == last]
    frame = frame.sort_values(["a_id", "b_id", "decision", "reviewer"], kind="stable")
    frame = frame.drop_duplicates(["a_id", "b_id", "decision"])
    return pa.Table.from_pandas(frame, schema=decisions.schema, preserve_index=False)


def must_links(constraints: Constraints) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Pairs (k, 2), smaller row first, whose components are the must-linked rows; and their kinds.

    Groups are chained row by row, so k is at most the decisions and two a row.
    """
    parts = [
        (np.sort(constraints.match.reshape(-1, 2), axis=1), MATCH),
        (_chained(constraints.labels), LABEL),
        (_chained(constraints.encounters), ENCOUNTER),
    ]
    pairs = np.concatenate([pairs for pairs, _ in parts]).astype(np.int64)
    return pairs, np.concatenate([np.full(len(pairs), kind, np.int8) for pairs, kind in parts])


def conflicted(component: NDArray[np.int64], constraints: Constraints) -> NDArray[np.bool_]:
    """For each component, by number: does it hold two rows that a cannot-link keeps apart?"""
    found = np.zeros(component.max(initial=-1) + 1, np.bool_)
    named = _keyed(component, constraints.labels)
    span = constraints.labels.max(initial=0) + 1
    found[_repeated(np.unique(named) // span)] = True
    boxed = _keyed(component, constraints.images)
    found[_repeated(np.sort(boxed)) // (constraints.images.max(initial=0) + 1)] = True
    a, b = component[constraints.nomatch.reshape(-1, 2)].T
    found[a[a == b]] = True
    return found


def _chained(group: NDArray[np.int64]) -> NDArray[np.int64]:
    members = np.argsort(group, kind="stable")
    members = members[group[members] >= 0]
    same = np.flatnonzero(group[members[1:]] == group[members[:-1]])
    return np.stack([members[same], members[same + 1]], axis=1)


def _keyed(component: NDArray[np.int64], group: NDArray[np.int64]) -> NDArray[np.int64]:
    """Component and group of the rows that have a group, in one number."""
    rows = np.flatnonzero(group >= 0)
    keys: NDArray[np.int64] = component[rows] * (group.max(initial=0) + 1) + group[rows]
    return keys


def _repeated(values: NDArray[np.int64]) -> NDArray[np.int64]:
    again: NDArray[np.int64] = values[1:][values[1:] == values[:-1]]
    return again
