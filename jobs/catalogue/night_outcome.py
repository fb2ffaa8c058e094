"""What a run did to a catalogue, as its log and summary.json tell it."""

from dataclasses import dataclass, field

import pyarrow as pa

from reid import schema
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
