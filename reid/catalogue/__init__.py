"""The catalogue: every annotation with its identity, kept for ever, on plain storage.

    C/annotations/   Delta table, one folder a species: the current state of every annotation
    C/events/        Delta table, append-only: what each run did to the identities
    C/decisions/     Delta table: what reviewers decided about pairs
    C/settings/      JSON, named by its content: recipes, thresholds, calibration
    C/edges/         Parquet: which images are near each other
    C/links/         both row by row, for nights on large catalogues, made of C/annotations and C/edges
    C/hashes/        Parquet: what files hold that were written again
    C/staged/        events of runs that are on their way into C/events
    C/sealed/        JSON, one a commit: digests of what it holds
    C/aliases/       Parquet: other ids that uploads had for what was known

One commit on C/annotations is the atomic step of a run, and what it carries (the record, see
commit_records.py) says which settings, which version of the decisions and which counters hold with it. All
else is written before it, to where nobody looks unless a commit points there, or after it, from
what was written before. So a run that dies leaves the catalogue as it was, or complete.

delta_tables.py        Delta tables on local disks and object storage; conflicts told from storage trouble
seals.py               what a commit holds, noted and compared
commit_records.py      what a commit on C/annotations carries
state.py               an open catalogue: rows, settings, decisions, events of one version
commits.py             a run: decide, commit, and again on top of whoever was faster
events.py              staged before the commit, published after it, exactly once
reviewer_decisions.py  the reviewers' CSV: read, checked, merged
rules.py               thresholds, recipe and calibration of each species
edges.py               the neighbour graph, in parts that runs have found
kept_rows.py           rows as they lie in memory, by number, so that a night need not read the table
links.py               the graph row by row, so that a night reads the rows near what is new
known_rows.py          both, and what follows from all rows, for the next night
recognition.py         what an upload names otherwise, or boxes a little otherwise
stored_rows.py         the rows that an upload may be about
aliases.py             the other ids, remembered
incoming.py            which annotations of an upload are new
runs.py                the history, and taking the latest back
upkeep.py              fewer files, and old ones removed
"""

from reid.catalogue.aliases import read_aliases, with_known_ids, write_aliases
from reid.catalogue.commits import ROW_SCHEMA, Change, new_run_id, update
from reid.catalogue.edges import (
    SpeciesGraph,
    comparable_edges,
    edges_place,
    holding_runs,
    join_edge_parts,
    node_sides,
    read_edge_parts,
    read_edges_by,
    read_graph,
    write_edge_part,
)
from reid.catalogue.events import read_events
from reid.catalogue.incoming import Incoming, changed_rows, compare
from reid.catalogue.recognition import Recognised, recognise
from reid.catalogue.reviewer_decisions import check_known, check_matches, read_decisions
from reid.catalogue.reviewer_decisions import fresh as fresh_decisions
from reid.catalogue.rules import SpeciesRules, read_rules, rules_as_settings
from reid.catalogue.runs import Run, history, undo
from reid.catalogue.state import (
    Catalogue,
    called,
    called_so,
    embeddings_path,
    names_of_individuals,
    open_catalogue,
)
from reid.catalogue.stored_rows import StoredRows
from reid.catalogue.upkeep import tidy

__all__ = [
    "ROW_SCHEMA",
    "Catalogue",
    "Change",
    "Incoming",
    "Recognised",
    "Run",
    "SpeciesGraph",
    "SpeciesRules",
    "StoredRows",
    "called",
    "called_so",
    "changed_rows",
    "check_known",
    "check_matches",
    "comparable_edges",
    "compare",
    "edges_place",
    "embeddings_path",
    "fresh_decisions",
    "history",
    "holding_runs",
    "join_edge_parts",
    "names_of_individuals",
    "new_run_id",
    "node_sides",
    "open_catalogue",
    "read_aliases",
    "read_decisions",
    "read_edge_parts",
    "read_edges_by",
    "read_events",
    "read_graph",
    "read_rules",
    "recognise",
    "rules_as_settings",
    "tidy",
    "undo",
    "update",
    "with_known_ids",
    "write_aliases",
    "write_edge_part",
]
