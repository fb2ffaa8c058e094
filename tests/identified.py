"""A species of a catalogue, identified from distances that are given."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from reid import schema
from reid.identify import edges_table, identify_species

Link = tuple[int, int]


def identified(
    species: str,
    columns: Mapping[str, Sequence[Any]],
    links: Mapping[Link, float],
    said: Sequence[tuple[int, int, str]],
    *,
    known: float,
    new: float,
) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Its rows a00, a01, … with what was found, its edges, and the decisions.

    Args:
        columns: of schema.ANNOTATIONS, equally long; those that are missing are null.
        links: rows → distance.
        said: rows, and what Ann said of them.
    """
    n = len(next(iter(columns.values())))
    ids = row_ids(n)
    made = {name: [None] * n for name in schema.ANNOTATIONS.names}
    made |= {"annotation_id": ids, "root": ["/"] * n, "species": [species] * n, **columns}
    rows = pa.table(made, schema=schema.ANNOTATIONS)
    pairs = np.asarray(sorted(links), np.int32).reshape(-1, 2)
    lengths = np.asarray([links[a, b] for a, b in pairs.tolist()], np.float32)
    decisions = pa.Table.from_pylist(
        [
            {"a_id": ids[a], "b_id": ids[b], "decision": what, "reviewer": "Ann",
             "timestamp": 0, "note": None, "run_id": "r"}
            for a, b, what in said
        ],
        schema=schema.DECISIONS,
    )  # fmt: skip
    edges = edges_table(species, ids, (pairs, lengths))
    found = identify_species(
        species, rows, edges, decisions, known_distance=known, new_distance=new, next_number=1
    )
    for name in found.rows.column_names[1:]:
        rows = rows.append_column(name, found.rows[name])
    return rows, edges, decisions


def row_ids(n: int) -> list[str]:
    return [f"a{k:02d}" for k in range(n)]
