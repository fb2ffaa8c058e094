"""What a run did to a catalogue, as its log and summary.json tell it."""

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from reid import schema
from reid.cluster import seen_once
from reid.identify import Identified
from reid.verdict import Verdict


@dataclass
class SpeciesOutcome:
    """What a run did to one species, as written to summary.json."""

    images: int = 0  # in the catalogue after it
    individuals: int = 0
    individuals_before: int = 0
    seen_once: int = 0  # of the individuals: all images of one encounter
    known: int = 0  # new images of a known individual
    new: int = 0
    unsure: int = 0
    updated: int = 0  # known images about which something new was said
    merges: int = 0
    splits: int = 0
    edges: int = 0  # found by this run
    looked_at: int = 0  # images that what is new could give another individual
    search_seconds: float = 0.0
    decide_seconds: float = 0.0  # rules, individuals, names and events
    notes: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """What a run did to the catalogue.

    Attributes:
        species: those that it touched.
        known_already: images of the upload that the catalogue had, with nothing new about them.
        decisions: of reviewers, new to the catalogue.
        cleared: column → labels that the upload took away.
        failures: schema.FAILURES; annotations that clash with the catalogue's, or whose species has
            no rules.
        events: schema.CHANGES.
        pictures: annotation_id → image_path, of those that events name.
        names: identity_id → what people call this individual.
        verdicts: on those species.
    """

    species: dict[str, SpeciesOutcome] = field(default_factory=dict)
    known_already: int = 0
    decisions: int = 0
    cleared: dict[str, int] = field(default_factory=dict)
    failures: pa.Table = field(default_factory=schema.FAILURES.empty_table)
    events: pa.Table = field(default_factory=schema.CHANGES.empty_table)
    pictures: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)


def outcome_of(
    rows: pa.Table,
    before: pa.Table,
    new: pa.Table,
    updated: pa.Table,
    result: Identified,
    edges: int,
) -> SpeciesOutcome:
    """What a run did to a species.

    Args:
        rows: of the species after it.
        before: as they were.
        new, updated: schema.ANNOTATIONS of the upload.
        result: of the rows.
        edges: that the run has found.
    """
    arrived = rows.filter(pc.is_in(rows["annotation_id"], new["annotation_id"].combine_chunks()))
    decided = arrived["decision"].to_pylist()
    kinds = result.changes["event"].to_pylist()
    return SpeciesOutcome(
        images=len(rows),
        individuals=result.individuals,
        seen_once=seen_once(rows["identity_id"], rows["encounter_id"]),
        individuals_before=pc.count_distinct(before["identity_id"]).as_py(),
        **{name: decided.count(name) for name in ("known", "new", "unsure")},
        updated=len(updated),
        merges=kinds.count("merge"),
        splits=kinds.count("split"),
        edges=edges,
        looked_at=result.looked_at,
        notes=result.notes,
    )


def decide_event(fresh: pa.Table) -> pa.Table:
    """schema.CHANGES: a run brought decisions (schema.DECISIONS)."""
    kinds = fresh["decision"].to_pylist()
    said = ", ".join(f"{kinds.count(kind)} {kind}" for kind in sorted(set(kinds)))
    who = ", ".join(sorted(set(fresh["reviewer"].to_pylist())))
    event = dict.fromkeys(schema.CHANGES.names) | {
        "event": "decide",
        "other_ids": [],
        "reason": f"{said}; by {who}",
        "rows": len(fresh),
    }
    return pa.Table.from_pylist([event], schema=schema.CHANGES)


def counts_of(outcome: Outcome) -> dict[str, int]:
    """The numbers that a catalogue remembers of a run."""
    names = ("known", "new", "unsure", "merges", "splits", "updated")
    total = {name: sum(getattr(one, name) for one in outcome.species.values()) for name in names}
    return total | {"decisions": outcome.decisions, "failed": len(outcome.failures)}
