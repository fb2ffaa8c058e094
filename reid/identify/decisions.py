"""Known, new or unsure: what each row was taken for, by which link, and how sure that is."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.errors import InputError
from reid.identify.calibration import Calibration
from reid.identify.constrained_partition import BY_DISTANCE, Partition, minimum_links
from reid.identify.constraints import Constraints
from reid.identify.names import identity_name, identity_numbers

KNOWN, NEW, UNSURE = 0, 1, 2
DECISIONS = ("known", "new", "unsure")


@dataclass(frozen=True, slots=True)
class RowDecisions:
    """Decisions on the rows that needed one.

    Attributes:
        rows: (k,) int64, rising: new rows, rows whose identity changed, and rows that were unsure.
        decision: (k,) int8: `KNOWN`, `NEW` or `UNSURE`.
        confidence: (k,) float32, the probability that the decision is right; NaN without calibration.
        nearest: (k,) int64, the row whose link decided, −1 where none is within the graph's radius.
        nearest_distance: (k,) float32, NaN where no distance decided.
    """

    rows: NDArray[np.int64]
    decision: NDArray[np.int8]
    confidence: NDArray[np.float32]
    nearest: NDArray[np.int64]
    nearest_distance: NDArray[np.float32]


def state_before(
    species: str, rows: pa.Table, next_number: int
) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
    """Identity number (−1: new row) and decision code of each row.

    Args:
        species: its name.
        rows: columns identity_id and decision; they may be missing when all rows are new.
        next_number: the first number that no identity ever had.

    Raises:
        InputError: an identity has such a number.
    """
    if "identity_id" not in rows.column_names:
        return np.full(len(rows), -1, np.int64), np.zeros(len(rows), np.int8)
    coded = rows["identity_id"].combine_chunks().dictionary_encode()
    numbers = np.append(identity_numbers(species, coded.dictionary), -1)
    if numbers.max() >= next_number:
        raise InputError(
            f"next_number={next_number}: {identity_name(species, int(numbers.max()))} is given "
            "already; numbers are never used twice"
        )
    unsure = pc.fill_null(pc.equal(rows["decision"], DECISIONS[UNSURE]), False)
    code = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False)
    return numbers[code], unsure.to_numpy().astype(np.int8) * np.int8(UNSURE)


def decide(
    before: NDArray[np.int64],
    decision_before: NDArray[np.int8],
    after: NDArray[np.int64],
    found: Partition,
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
    constraints: Constraints,
    *,
    new_distance: float,
    radius: float,
    stands_for: NDArray[np.int64] | None = None,
    parted: NDArray[np.bool_] | None = None,
    touched: NDArray[np.bool_] | None = None,
    calibration: Calibration | None = None,
) -> RowDecisions:
    """Decide for every row that is new, unsure, or has another identity than before.

    A component is settled when it holds rows of an identity from before that were known or new
    then. In a settled component rows are `known`; they can be trusted as far as the weakest link of
    the best chain to a settled row (1 where people, labels or encounters make all of it). Any other
    component is a new individual when the nearest row of another component is farther than
    `new_distance`, and unsure when it is not: too far to join, or near and kept apart by a box in
    the same image. What a person or two labels told apart is decided, and not counted as near.
    `new` and `unsure` can be trusted as far as that nearest row is another animal.

    Args:
        before: (n,) int64 identity before, −1 for new rows.
        decision_before: (n,) int8, anything for new rows.
        after: (n,) int64 identity now.
        found: the partition behind `after`.
        edges, distances: (m, 2) and (m,): all links within `radius`.
        constraints: of the n rows.
        new_distance: beyond here two rows are not taken for one individual.
        radius: of the graph: what is not in it is farther.
        stands_for: (n,) the row that carries each row's links, where rows are pooled.
        parted: (n,) True for rows that were split off from their identity just now.
        touched: (n,) rows of unsure individuals that may be decided otherwise than before; others stay
            unsure unasked. None: all.
        calibration: for the confidences.
    """
    n = len(before)
    own = np.arange(n) if stands_for is None else stands_for
    unsure = decision_before == UNSURE
    asked = np.flatnonzero((before != after) | (unsure if touched is None else unsure & touched))
    stayed = (before >= 0) & (np.ones(n, np.bool_) if parted is None else ~parted)
    settled = stayed & ~unsure
    component = found.component
    count = int(component.max(initial=-1)) + 1
    is_settled = _any(component[settled], count)

    concerned = _any(component[asked], count)[component]
    near_asked = concerned[edges[:, 0]] | concerned[edges[:, 1]]
    edges, distances = edges[near_asked], distances[near_asked]
    other, other_distance = _nearest_other(component, count, edges, distances, constraints)
    # What is beyond the graph is as far as its radius at least.
    far = np.where(np.isnan(other_distance), np.float32(radius), other_distance)
    near = ~np.isnan(other_distance) & (other_distance <= np.float32(new_distance))
    decision = np.where(is_settled[component], KNOWN, np.where(near[component], UNSURE, NEW))
    # Company of a provisional individual that has become a certain one.
    company = _any(component[stayed], count)[component] & (before < 0)
    decision = np.where(company & (decision == NEW), KNOWN, decision).astype(np.int8)

    confidence = np.full(n, np.nan, np.float32)
    if calibration is not None:
        confidence = _apart(calibration, far)[component]
        anchors = settled & (before == after)
        anchors |= settled & ~_any(component[anchors], count)[component]
        anchors |= stayed & ~is_settled[component]
        together = _weakest_links(found, anchors)
        known = decision == KNOWN
        certain = np.isneginf(together)
        same = np.where(certain, 1, calibration(np.where(certain, 0, together)))
        confidence[known] = same[known]
    known = decision[asked] == KNOWN
    wanted = np.zeros(n, np.bool_)
    wanted[own[asked[known]]] = True
    mate, mate_distance = _nearest_mate(component, edges, distances, found, wanted)
    return RowDecisions(
        rows=asked,
        decision=decision[asked],
        confidence=confidence[asked],
        nearest=np.where(known, mate[own[asked]], other[component[asked]]),
        nearest_distance=np.where(
            known, mate_distance[own[asked]], other_distance[component[asked]]
        ).astype(np.float32),
    )


def confidence_apart(
    calibration: Calibration, individuals: int, distances: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(k,) float32, how far `unsure` (or `new`) can be trusted of rows whose nearest other is so far away.

    Args:
        calibration: of the species.
        individuals: that there are now.
        distances: (k,) float32.
    """
    return _apart(calibration.for_gallery(max(1, individuals)), distances)


def _apart(calibration: Calibration, distances: NDArray[np.float32]) -> NDArray[np.float32]:
    return (1 - calibration(distances)).astype(np.float32)


def _nearest_other(
    component: NDArray[np.int64],
    count: int,
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
    constraints: Constraints,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each component the nearest row of another one, and its distance; −1 and NaN for none."""
    crossing, ends = undecided_crossings(component, edges, constraints)
    order = np.lexsort((edges[crossing, 1], edges[crossing, 0], distances[crossing]))[::-1]
    crossing, ends = crossing[order], ends[order]
    row = np.full(count, -1, np.int64)
    distance = np.full(count, np.nan, np.float32)
    for side in (0, 1):
        # The last assignment wins: the shortest edge. Second, only where that is shorter.
        best = np.full(count, -1, np.int64)
        best[ends[:, side]] = np.arange(len(crossing))
        has = np.flatnonzero(best >= 0)
        place = crossing[best[has]]
        shorter = ~(distance[has] <= distances[place])
        has, place = has[shorter], place[shorter]
        row[has], distance[has] = edges[place, 1 - side], distances[place]
    return row, distance


def undecided_crossings(
    component: NDArray[np.int64], edges: NDArray[np.integer], constraints: Constraints
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the edges between components that no person and no two labels told apart.

    Returns:
        places (k,), and the components (k, 2) at their ends.
    """
    count = int(component.max(initial=-1)) + 1
    ends = component[edges]
    crossing = np.flatnonzero(ends[:, 0] != ends[:, 1])
    ends = ends[crossing]
    nomatch = component[constraints.nomatch.reshape(-1, 2)]
    nomatch = np.unique(nomatch.min(axis=1) * count + nomatch.max(axis=1))
    label = np.full(count, -1, np.int64)
    labelled = constraints.labels >= 0
    label[component[labelled]] = constraints.labels[labelled]
    named = label[ends]
    decided = (named >= 0).all(axis=1) & (named[:, 0] != named[:, 1])
    decided |= np.isin(ends.min(axis=1) * count + ends.max(axis=1), nomatch)
    return crossing[~decided], ends[~decided]


def _nearest_mate(
    component: NDArray[np.int64],
    edges: NDArray[np.integer],
    distances: NDArray[np.float32],
    found: Partition,
    wanted: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """For each wanted row the nearest of its own component; NaN for one that no distance links, only people."""
    row = np.full(len(component), -1, np.int64)
    distance = np.full(len(component), np.nan, np.float32)
    for side in (0, 1):
        row[found.joins[::-1, side]] = found.joins[::-1, 1 - side]
    asked = wanted[edges].any(axis=1)
    edges, distances = edges[asked], distances[asked]
    inside = np.flatnonzero(component[edges[:, 0]] == component[edges[:, 1]])
    ends = np.concatenate([edges[inside], edges[inside][:, ::-1]])
    lengths = np.concatenate([distances[inside]] * 2)
    order = np.lexsort((ends[:, 1], lengths))[::-1]
    row[ends[order, 0]] = ends[order, 1]
    distance[ends[order, 0]] = lengths[order]
    return row, distance


def _weakest_links(found: Partition, anchors: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The longest step on the best chain from each row to an anchor of its component.

    Returns:
        (n,) float64: −inf where must-links make the whole chain, NaN where there is no anchor.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import breadth_first_order

    n = len(anchors)
    # All anchors of a component are one node, and n is a root beside them all.
    node = np.arange(n)
    rows = np.flatnonzero(anchors)[::-1]
    if not len(rows):
        return np.full(n, np.nan)
    first = np.full(n, -1, np.int64)
    first[found.component[rows]] = rows
    node[rows] = first[found.component[rows]]
    links = node[found.joins]
    apart = np.flatnonzero(links[:, 0] != links[:, 1])
    chosen = apart[minimum_links(n, links[apart])]
    roots = np.unique(node[rows])
    ends = np.concatenate([links[chosen], np.stack([roots, np.full_like(roots, n)], axis=1)])
    tree = csr_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(n + 1, n + 1))
    reached, parent = breadth_first_order(tree, n, directed=False)
    parent = parent.astype(np.int64)
    parent[n] = n
    step = np.full(n + 1, -np.inf)
    a, b = links[chosen].T
    lengths = np.where(found.kinds[chosen] == BY_DISTANCE, found.distances[chosen], -np.inf)
    child = np.where(parent[a] == b, a, b)
    step[child] = lengths
    weakest = np.full(n + 1, np.nan)
    # Twice as far up the tree in each turn.
    reached_parent = np.full(n + 1, n)
    reached_parent[reached] = parent[reached]
    while (reached_parent[reached] != n).any():
        step[reached] = np.maximum(step[reached], step[reached_parent[reached]])
        reached_parent[reached] = reached_parent[reached_parent[reached]]
    weakest[reached] = step[reached]
    return weakest[node]


def _any(places: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    found = np.zeros(count, np.bool_)
    found[places] = True
    return found
