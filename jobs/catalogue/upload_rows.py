"""The rows of a night: what a catalogue has of a species and what an upload brings, as one table."""

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from reid import schema
from reid.catalogue import ROW_SCHEMA, SpeciesRules
from reid.identify import Identified, identify_species
from reid.neighbors.edge_arrays import Edges
from reid.row_order import by_id

# As in a catalogue, but what is new has no identity yet.
STATE = pa.schema([one.with_nullable(True) for one in ROW_SCHEMA])


def of_species(rows: pa.Table, species: str) -> pa.Table:
    """The rows of one species; no copy where all are."""
    if pc.unique(rows["species"]).to_pylist() == [species]:
        return rows
    return rows.filter(pc.equal(rows["species"], species))


def with_upload(before: pa.Table, new: pa.Table, updated: pa.Table) -> pa.Table:
    """STATE of all rows of a species, sorted by annotation_id."""
    known = before.select(STATE.names).cast(STATE)
    ids = updated["annotation_id"].combine_chunks()
    place = pc.index_in(ids, value_set=known["annotation_id"].combine_chunks())
    was = known.take(place)
    again = pa.table(
        [updated[one.name] if one.name in schema.ANNOTATIONS.names else was[one.name] for one in STATE],
        schema=STATE,
    )  # fmt: skip
    fresh = pa.table(
        [
            new[one.name] if one.name in schema.ANNOTATIONS.names else pa.nulls(len(new), one.type)
            for one in STATE
        ],
        schema=STATE,
    )
    same = known.filter(pc.invert(pc.is_in(known["annotation_id"], ids))) if len(ids) else known
    return by_id(pa.concat_tables([same, again, fresh]))[0].combine_chunks()


def identify_by_rules(
    species: str,
    rows: pa.Table,
    edges: pa.Table | Edges,
    said: pa.Table,
    rules: SpeciesRules,
    *,
    next_number: int,
    run_id: str,
    told: pa.Array | None,
    elsewhere: int = 0,
) -> Identified:
    """`identify_species` by the rules of a catalogue; arguments as there."""
    return identify_species(
        species,
        rows,
        edges,
        said,
        known_distance=rules.known_distance,
        new_distance=rules.new_distance,
        radius=rules.radius,
        next_number=next_number,
        calibration=rules.calibration,
        encounters=rules.encounters,
        viewpoints=rules.viewpoints,
        run_id=run_id,
        told=told,
        elsewhere=elsewhere,
    )


def decided_rows(rows: pa.Table, found: Identified) -> pa.Table:
    """Rows (STATE) with what came out of `identify_species` for them.

    Unsure ones have no confidence, which is made of their distance whenever it is read.
    """
    for column in found.rows.column_names[1:]:
        rows = rows.set_column(rows.schema.get_field_index(column), column, found.rows[column])
    unsure = pc.equal(rows["decision"], "unsure")
    place, kind = rows.schema.get_field_index("confidence"), rows.schema.field("confidence")
    sure = pc.if_else(unsure, pa.scalar(None, kind.type), rows["confidence"])
    return rows.set_column(place, kind, sure)


def left_without_rules(new: pa.Table, refused: Mapping[str, Exception]) -> pa.Table:
    """schema.FAILURES: one species that cannot be judged does not hold up the others."""
    rows = [
        {**row, "stage": "identify", "error": str(error)}
        for name, error in refused.items()
        for row in of_species(new, name).to_pylist()
    ]
    return pa.Table.from_pylist(rows, schema=schema.FAILURES)
