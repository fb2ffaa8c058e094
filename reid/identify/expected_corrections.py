"""Which pairs are most worth a person's look?"""

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.identify.calibration import Calibration
from reid.identify.constrained_partition import components
from reid.identify.constraints import Constraints, must_links
from reid.identify.decisions import undecided_crossings
from reid.identify.joining_edges import joining_edges
from reid.identify.species_nodes import read_species, row_edges
from reid.identify.word_numbers import numbered

if TYPE_CHECKING:
    import pandas as pd


SMALLEST_PART = 2

CANDIDATES = pa.schema(
    [
        pa.field("species", pa.string(), nullable=False),
        pa.field("a_id", pa.string(), nullable=False),
        pa.field("b_id", pa.string(), nullable=False),
        pa.field("distance", pa.float32(), nullable=False),
        pa.field("probability", pa.float32(), nullable=False),  # of "same individual"
        pa.field("kind", pa.string(), nullable=False),  # new | near | bridge | margin
        pa.field("a_identity_id", pa.string(), nullable=False),
        pa.field("b_identity_id", pa.string(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),  # that would get another identity
        pa.field(
            "expected_corrections", pa.float32(), nullable=False
        ),  # P(the state is wrong) × rows
    ]
)


def review_candidates(
    species: str,
    rows: pa.Table,
    edges: pa.Table,
    decisions: pa.Table,
    *,
    known_distance: float,
    new_distance: float,
    calibration: Calibration | None = None,
    encounters: str = "off",
    about: pa.Array | None = None,
    limit: int | None = 200,
) -> pa.Table:
    """The pairs (schema `CANDIDATES`) where a look is expected to put most rows right, best first.

    `new`: a single image and the nearest row of another individual. `near`: the same for an
    individual of several. `bridge`: the only edge that holds two parts of one individual together.
    `margin`: a row and its nearest, where another individual is nearly as near.

    Args:
        species: whose rows these are.
        rows: `reid.schema.CATALOGUE`, all rows of the species.
        edges: as in `identify_species`.
        decisions: all decisions; a pair that somebody has judged (`unknown` too) is not asked again.
        known_distance, new_distance: as in `identify_species`.
        calibration: for the probabilities; without it they are drawn between the two thresholds.
        encounters: as in `identify_species`.
        about: only pairs of which at least one image is among these ids; None: all.
        limit: pairs at most; None: all that are in doubt.
    """
    import pandas as pd

    read = read_species(rows, decisions, encounters=encounters)
    n = len(read.rows)
    component, names = numbered(read.rows["identity_id"])
    pairs, distances = row_edges(read, edges)
    if calibration is None:
        same = _drawn(distances, known_distance, new_distance)
    else:
        same = calibration(distances)
    # A pair that was judged is not asked again, nor one whose answer is in the image.
    judged = read.decisions["a"].to_numpy(np.int64) * n + read.decisions["b"].to_numpy(np.int64)
    image = read.constraints.images[pairs]
    askable = ~np.isin(pairs[:, 0] * n + pairs[:, 1], judged) & (image[:, 0] != image[:, 1])
    found = [
        _nearest_pairs(component, pairs, distances, same, read.constraints, askable),
        _bridges(component, pairs, distances, same, read.constraints, known_distance),
        _margins(component, pairs, distances, same, read.constraints),
    ]
    frame = pd.concat(found, ignore_index=True)
    wanted = askable & _about(read.rows["annotation_id"], pairs, about)
    frame = frame[wanted[frame["edge"]] & (frame["expected_corrections"] > 0)]
    ranked = frame.sort_values(
        ["expected_corrections", "edge", "kind"], ascending=[False, True, True]
    )
    ranked = ranked.drop_duplicates("edge")
    ranked = ranked if limit is None else ranked.head(limit)
    edge = ranked["edge"].to_numpy(np.int64)
    ids = read.rows["annotation_id"]
    a, b = pairs[edge].T
    return pa.table(
        [
            pa.array([species] * len(edge), pa.string()),
            ids.take(pa.array(a)),
            ids.take(pa.array(b)),
            pa.array(distances[edge]),
            pa.array(same[edge].astype(np.float32)),
            pa.array(ranked["kind"], pa.string()),
            names.take(pa.array(component[a])),
            names.take(pa.array(component[b])),
            pa.array(ranked["rows"].to_numpy(np.int64)),
            pa.array(ranked["expected_corrections"].to_numpy(np.float32)),
        ],
        schema=CANDIDATES,
    )


def _about(
    ids: pa.ChunkedArray, pairs: NDArray[np.int64], about: pa.Array | None
) -> NDArray[np.bool_]:
    if about is None:
        return np.ones(len(pairs), np.bool_)
    among: NDArray[np.bool_] = pc.is_in(ids, value_set=about).to_numpy()
    return np.asarray(among[pairs].any(axis=1))


def _candidates(
    kind: "NDArray[np.str_] | str",
    edge: NDArray[np.int64],
    wrong: NDArray[np.float64],
    rows: "NDArray[np.int64] | int",
) -> "pd.DataFrame":
    import pandas as pd

    return pd.DataFrame(
        {"edge": edge, "kind": kind, "rows": rows, "expected_corrections": wrong * rows}
    )


def _nearest_pairs(
    component: NDArray[np.int64],
    pairs: NDArray[np.int64],
    distances: NDArray[np.float32],
    same: NDArray[np.float64],
    constraints: Constraints,
    askable: NDArray[np.bool_],
) -> "pd.DataFrame":
    """Each individual and the nearest row of another: are the two one after all?"""
    places, ends = undecided_crossings(component, pairs, constraints)
    free = askable[places]
    places, ends = places[free], ends[free]
    order = np.argsort(distances[places], kind="stable")[::-1]
    nearest = np.full((2, component.max(initial=-1) + 1), -1, np.int64)
    for side in (0, 1):
        nearest[side, ends[order, side]] = places[order]  # the last assignment wins: the nearest
    length = np.where(nearest >= 0, np.append(distances, np.inf)[nearest], np.inf)
    edge = np.unique(np.take_along_axis(nearest, length.argmin(axis=0)[None], axis=0))
    edge = edge[edge >= 0]
    size = np.bincount(component)[component[pairs[edge]]].min(axis=1, initial=len(component))
    return _candidates(np.where(size == 1, "new", "near"), edge, same[edge], size)


def _bridges(
    component: NDArray[np.int64],
    pairs: NDArray[np.int64],
    distances: NDArray[np.float32],
    same: NDArray[np.float64],
    constraints: Constraints,
    known_distance: float,
) -> "pd.DataFrame":
    """Single edges between two parts of one individual: is it two?"""
    n = len(component)
    must, _ = must_links(constraints)
    solid = components(n, must)  # what people joined no edge holds together
    ends = solid[pairs]
    inside = np.flatnonzero(
        (distances <= np.float32(known_distance))
        & (component[pairs[:, 0]] == component[pairs[:, 1]])
        & (ends[:, 0] != ends[:, 1])
    )
    places, parts = joining_edges(n, ends[inside], np.bincount(solid, minlength=n))
    large = parts.min(axis=1, initial=n) >= SMALLEST_PART
    edge = inside[places[large]]
    return _candidates("bridge", edge, 1 - same[edge], parts[large].min(axis=1, initial=n))


def _margins(
    component: NDArray[np.int64],
    pairs: NDArray[np.int64],
    distances: NDArray[np.float32],
    same: NDArray[np.float64],
    constraints: Constraints,
) -> "pd.DataFrame":
    """Rows with a neighbour in their own individual and one nearly as near in another."""
    n = len(component)
    crossing, _ = undecided_crossings(component, pairs, constraints)
    inside = np.flatnonzero(component[pairs[:, 0]] == component[pairs[:, 1]])
    own, other = (_nearest_edge(n, pairs, distances, places) for places in (inside, crossing))
    rows = np.flatnonzero((own >= 0) & (other >= 0))
    own, other = own[rows], other[rows]
    wrong = same[other] / np.maximum(same[own] + same[other], np.finfo(np.float64).tiny)
    return _candidates("margin", own, wrong, 1)


def _nearest_edge(
    n: int, pairs: NDArray[np.int64], distances: NDArray[np.float32], places: NDArray[np.int64]
) -> NDArray[np.int64]:
    """For each row the shortest of the edges at `places` that touch it, −1 for none."""
    touched = np.concatenate([pairs[places, 0], pairs[places, 1]])
    edge = np.concatenate([places, places])
    order = np.argsort(distances[edge], kind="stable")[::-1]
    nearest = np.full(n, -1, np.int64)
    nearest[touched[order]] = edge[order]
    return nearest


def _drawn(
    distances: NDArray[np.float32], known_distance: float, new_distance: float
) -> NDArray[np.float64]:
    """A logistic curve through 0.9 at `known_distance` and 0.1 at `new_distance`: a rank, no more."""
    middle = (known_distance + new_distance) / 2
    half = max((new_distance - known_distance) / 2, 1e-3 * known_distance)
    with np.errstate(over="ignore"):
        return np.asarray(1 / (1 + 9 ** ((distances.astype(np.float64) - middle) / half)))
