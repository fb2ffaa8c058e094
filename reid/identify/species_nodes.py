"""The rows of one species as numbers: what the rest of the package computes with."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid.errors import InputError
from reid.identify.constraints import Constraints, latest_decisions
from reid.identify.encounters import Nodes, make_nodes
from reid.identify.extend import read_edges
from reid.identify.remarks import unusable_ids
from reid.identify.same_boxes import told_apart

if TYPE_CHECKING:
    import pandas as pd


Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Species:
    """Rows of one species, numbered by rising annotation id.

    Attributes:
        frame: the rows, as they are numbered.
        order: (n,) int64, where each row was in the input.
        nodes: what the graph is drawn between.
        constraints: must-links and cannot-links.
        words: the labels that `constraints.labels` numbers.
        decisions: the last word on each pair of rows, with columns a and b of row numbers.
        unusable: (n,) bool, pictures by which nobody can be told, as people said.
    """

    frame: "pd.DataFrame"
    order: NDArray[np.int64]
    nodes: Nodes
    constraints: Constraints
    words: NDArray[np.object_]
    decisions: "pd.DataFrame"
    unusable: NDArray[np.bool_]


def read_species(rows: pa.Table, decisions: pa.Table, *, encounters: str) -> Species:
    """Number the rows of one species and all that is known of them.

    Args:
        rows: at least the columns of `reid.schema.ANNOTATIONS`, in any order.
        decisions: `reid.schema.DECISIONS`; pairs of other rows are left out.
        encounters: see `make_nodes`.

    Raises:
        InputError: an annotation id twice, an unknown mode.
    """
    import pandas as pd

    frame = rows.to_pandas()
    order = np.argsort(frame["annotation_id"].to_numpy(dtype=object), kind="stable")
    frame = frame.iloc[order].reset_index(drop=True)
    ids = frame["annotation_id"]
    twice = ids[ids.duplicated()]
    if len(twice):
        raise InputError(
            f"annotation_id: {twice.iloc[0]!r} comes twice, and {len(twice)} ids in all; "
            "every row needs an id of its own"
        )
    latest = latest_decisions(decisions).to_pandas()
    index = pd.Index(ids)
    for number, name in (("a", "a_id"), ("b", "b_id")):
        latest[number] = index.get_indexer(pd.Index(latest[name]))
    here = (latest["a"] >= 0) & (latest["b"] >= 0) & (latest["a"] != latest["b"])
    latest = latest[here].reset_index(drop=True)
    # They are nobody's by their looks or their burst; what people say of them still holds.
    unusable = ids.isin(unusable_ids(decisions)).to_numpy(np.bool_)
    frame["encounter_id"] = frame["encounter_id"].astype(object).where(~unusable, None)
    labels, words = _numbers(frame["identity"])
    images = frame["root"].astype(object) + "\n" + frame["image_path"]
    image, _ = _numbers(images)
    boxes = [None if box is None else box.tolist() for box in frame["bbox"]]
    image = told_apart(image, boxes)
    nomatch = decided_pairs(latest, "nomatch")
    nodes = make_nodes(
        ids.tolist(),
        frame["encounter_id"].astype(object).tolist(),
        frame["viewpoint"].astype(object).tolist(),
        mode=encounters,
        images=image,
        labels=labels,
        nomatch=nomatch,
    )
    match = decided_pairs(latest, "match")
    constraints = Constraints(labels, nodes.encounter, image, match, nomatch)
    return Species(frame, order.astype(np.int64), nodes, constraints, words, latest, unusable)


def decided_pairs(decisions: "pd.DataFrame", decision: str) -> NDArray[np.int64]:
    """(k, 2) row numbers of the pairs with this decision."""
    return decisions.loc[decisions["decision"] == decision, ["a", "b"]].to_numpy(np.int64)


def row_edges(species: Species, edges: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Edges between nodes as edges between the rows that stand for them: (m, 2), a < b, sorted."""
    pairs, distances = read_edges(edges, species.nodes.ids)
    rows = np.sort(species.nodes.first[pairs], axis=1)
    usable = ~species.unusable[rows].any(axis=1)
    rows, distances = rows[usable], distances[usable]
    order = np.lexsort((rows[:, 1], rows[:, 0]))
    return rows[order], distances[order]


def _numbers(words: "pd.Series[str]") -> tuple[NDArray[np.int64], NDArray[np.object_]]:
    import pandas as pd

    number, known = pd.factorize(words.to_numpy(dtype=object), sort=True)
    return number.astype(np.int64), np.asarray(known, dtype=object)
