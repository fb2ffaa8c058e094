"""Labels that say nothing, in a catalogue from before there was one list of such words.

`NA` as an identity made all unnamed images one animal for ever, and a reviewer who told two of them
apart contradicted it. A name that looks so may be meant (`sources.keep_words`), so these labels stay
until they contradict what somebody said; then they go.
"""

import pyarrow as pa
import pyarrow.compute as pc

from reid.identify.contradictions import find_contradictions
from reid.identify.species_nodes import read_species
from reid.sources.words import empty_cells, plain_column

COLUMNS = ("identity", "encounter_id")


def without_contradicting_words(
    rows: pa.Table, decisions: pa.Table, *, encounters: str
) -> tuple[pa.Table, list[str]]:
    """Take labels away that say nothing, if a person's word or an image contradicts them.

    Args:
        rows: of one species, at least the columns of `reid.schema.ANNOTATIONS`.
        decisions: `reid.schema.DECISIONS`.
        encounters: see `make_nodes`.

    Returns:
        The rows, in their order, and what a reader should know.
    """
    empty = {name: _says_nothing(rows[name]) for name in COLUMNS}
    if not any(pc.any(column).as_py() for column in empty.values()):
        return rows, []
    if not find_contradictions(read_species(rows, decisions, encounters=encounters).constraints):
        return rows, []
    notes = []
    for name, says_nothing in empty.items():
        words = pc.unique(rows[name].filter(says_nothing)).to_pylist()
        if words:
            count = pc.sum(says_nothing).as_py()
            notes.append(
                f"{count:,} images have {', '.join(map(repr, words[:5]))} as {name}, which says nothing and "
                "contradicts what is known; it was taken away"
            )
            place = rows.schema.get_field_index(name)
            kept = pc.if_else(says_nothing, pa.scalar(None, pa.string()), rows[name])
            rows = rows.set_column(place, rows.schema.field(name), kept)
    return rows, notes


def _says_nothing(column: pa.ChunkedArray) -> pa.ChunkedArray:
    whole = column.combine_chunks()
    found = pc.and_(empty_cells(plain_column(whole)), pc.is_valid(whole))
    return pa.chunked_array([found])
