"""The rows of one species as numbers: what the rest of the package computes with.

A catalogue has millions of rows, and a Python string takes ten times what Arrow takes for it, so that
columns stay Arrow's, and what is compared becomes a number.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.errors import InputError
from reid.identify.constraints import Constraints, latest_decisions
from reid.identify.encounters import Nodes, make_nodes
from reid.identify.extend import numbered_edges, sorted_once
from reid.identify.remarks import unusable_ids
from reid.identify.same_boxes import told_apart
from reid.identify.word_numbers import numbered
from reid.row_order import by_id

if TYPE_CHECKING:
    import pandas as pd


Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Species:
    """Rows of one species, numbered by rising annotation id.

    Attributes:
        rows: as they are numbered.
        order: (n,) int64, where each row was in the input.
        nodes: what the graph is drawn between.
        constraints: must-links and cannot-links.
        decisions: the last word on each pair of rows, with columns a and b of row numbers.
        unusable: (n,) bool, pictures by which nobody can be told, as people said.
        groups: numbers (n,), −1 = none, of each row's image, its encounter (where these are used) and
            its label, whether they are believed or not.
    """

    rows: pa.Table
    order: NDArray[np.int64]
    nodes: Nodes
    constraints: Constraints
    decisions: "pd.DataFrame"
    unusable: NDArray[np.bool_]
    groups: tuple[NDArray[np.int64], ...]

    def text(self, column: str, row: int) -> str | None:
        """What a row has in a column of strings."""
        value: str | None = self.rows[column][int(row)].as_py()
        return value


def read_species(rows: pa.Table, decisions: pa.Table, *, encounters: str) -> Species:
    """Number the rows of one species and all that is known of them.

    Args:
        rows: at least the columns of `reid.schema.ANNOTATIONS`, in any order.
        decisions: `reid.schema.DECISIONS`; pairs of other rows are left out.
        encounters: see `make_nodes`.

    Raises:
        InputError: an annotation id twice, an unknown mode.
    """
    rows, order = _by_id(rows)
    ids = rows["annotation_id"].combine_chunks()
    latest = latest_decisions(decisions).to_pandas()
    for number, name in (("a", "a_id"), ("b", "b_id")):
        places = pc.index_in(pa.array(latest[name], pa.string()), value_set=ids)
        latest[number] = pc.fill_null(places, -1).to_numpy(zero_copy_only=False).astype(np.int64)
    here = (latest["a"] >= 0) & (latest["b"] >= 0) & (latest["a"] != latest["b"])
    latest = latest[here].reset_index(drop=True)
    # They are nobody's by their looks or their burst; what people say of them still holds.
    unusable = pc.is_in(ids, value_set=pa.array(sorted(unusable_ids(decisions)), pa.string()))
    bursts = pc.if_else(unusable, None, rows["encounter_id"].combine_chunks())
    labels, _ = numbered(rows["identity"])
    image, apart = _images(rows)
    encounter, _ = numbered(
        rows["encounter_id"] if encounters != "off" else rows["encounter_id"][:0]
    )
    nomatch = decided_pairs(latest, "nomatch")
    nodes = make_nodes(
        ids,
        bursts,
        rows["viewpoint"].combine_chunks(),
        mode=encounters,
        images=apart,
        labels=labels,
        nomatch=nomatch,
    )
    match = decided_pairs(latest, "match")
    constraints = Constraints(labels, nodes.encounter, apart, match, nomatch)
    groups = (image, encounter, labels) if len(encounter) else (image, labels)
    return Species(rows, order, nodes, constraints, latest, unusable.to_numpy(False), groups)


def graph_nodes(rows: pa.Table, decisions: pa.Table, *, encounters: str) -> Nodes:
    """What the graph is drawn between, as `read_species` has it; `Nodes.encounter` may be −1 throughout.

    Args:
        rows, decisions, encounters: as there. Where a node is a row, only annotation_id is read.

    Raises:
        InputError: as there.
    """
    if encounters == "mean":
        return read_species(rows, decisions, encounters=encounters).nodes
    ids = _by_id(rows.select(["annotation_id"]))[0]["annotation_id"].combine_chunks()
    nobody = pa.nulls(len(ids), pa.string())
    nothing = np.full(len(ids), -1, np.int64), np.empty((0, 2), np.int64)
    return make_nodes(
        ids,
        nobody,
        nobody,
        mode=encounters,
        images=nothing[0],
        labels=nothing[0],
        nomatch=nothing[1],
    )


def decided_pairs(decisions: "pd.DataFrame", decision: str) -> NDArray[np.int64]:
    """(k, 2) row numbers of the pairs with this decision."""
    return decisions.loc[decisions["decision"] == decision, ["a", "b"]].to_numpy(np.int64)


def row_edges(species: Species, edges: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Edges between nodes as edges between the rows that stand for them: (m, 2), a < b, sorted."""
    pairs, distances = sorted_once(*unsorted_row_edges(species, edges))
    usable = ~species.unusable[pairs].any(axis=1)
    return pairs[usable].astype(np.int64), distances[usable]


def unsorted_row_edges(
    species: Species, edges: pa.Table
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """As `row_edges`, in any order, some twice, and those of pictures that are not usable too."""
    pairs, distances = numbered_edges(edges, species.nodes.ids)
    if len(species.nodes.first) < len(species.rows):  # else a node is a row
        pairs = np.sort(species.nodes.first[pairs], axis=1).astype(np.int32)
    return pairs, distances


def _by_id(rows: pa.Table) -> tuple[pa.Table, NDArray[np.int64]]:
    """As `by_id`, each id once.

    Raises:
        InputError: an annotation id twice.
    """
    rows, order = by_id(rows)
    ids = rows["annotation_id"].combine_chunks()
    twice = ids[1:].filter(pc.equal(ids[1:], ids[:-1]))
    if len(twice):
        raise InputError(
            f"annotation_id: {twice[0].as_py()!r} comes twice, and {len(twice)} ids in all; "
            "every row needs an id of its own"
        )
    return rows, order


def _images(rows: pa.Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(n,) number of each row's image, those of several rows first, by path; and as `told_apart` has it."""
    root, path = (_codes(rows[name]) for name in ("root", "image_path"))
    key = path * (root.max(initial=0) + 1) + root
    _, image, sizes = np.unique(key, return_inverse=True, return_counts=True)
    shared = np.flatnonzero(sizes[image] > 1)
    alone = sizes == 1
    number = np.empty(len(sizes), np.int64)
    together = rows.select(["root", "image_path", "bbox"]).take(pa.array(shared))
    names = pc.binary_join_element_wise(together["root"], together["image_path"], "\n")
    number[image[shared]], words = numbered(names)
    number[alone] = len(words) + np.arange(np.count_nonzero(alone))
    image = number[image]
    apart = image.copy()
    apart[shared] = told_apart(image[shared], together["bbox"].to_pylist())
    return image, apart


def _codes(column: pa.ChunkedArray) -> NDArray[np.int64]:
    coded = column.combine_chunks().dictionary_encode()
    codes: NDArray[np.int64] = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return codes
