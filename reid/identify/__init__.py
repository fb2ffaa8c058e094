"""Incremental identification: who is who is a pure function of what the catalogue holds.

Rows, edges, labels and decisions go in; nothing depends on the order in which they came. The pieces,
in the order the data meets them:

    constraints.py            labels, encounters, images and reviewers' words as must-links and cannot-links
    remarks.py                what people said of one picture: its side, whether it is usable, a name
    same_boxes.py             boxes of one image: one animal boxed twice, or two animals
    encounters.py             what is compared: images, or all views of one side in an encounter as one
    distances.py              distances that are the same bits whenever they are measured
    extend.py                 edges that new rows bring: new × all
    empty_labels.py           words of an older catalogue that say nothing, and contradict
    species_nodes.py          rows, decisions and edges of one species as numbers
    contradictions.py         must-links that a cannot-link forbids, with their chains
    word_numbers.py           words as numbers
    touched.py                which rows a night can change; all others are as they were
    nearby.py                 the same asked from the new rows on, so that nothing is read of all others
    constrained_partition.py  edges, must-links and cannot-links → individuals
    decided_clusters.py       clusters of a run as people decided
    names.py                  names follow the largest overlap, and never come back
    changes.py                what happened between two partitions
    separating_pairs.py       what keeps two components apart
    wording.py                why, in words
    calibration.py            distance → probability of "same individual"
    decisions.py              known, new or unsure, and how sure
    unaided.py                what the model alone makes of the rows, for the verdict
    default_rules.py          whether encounters and viewpoints are used, where nobody said
    one_species.py            all of it for one species, Arrow tables in and out
    joining_edges.py          single edges that hold large parts together
    expected_corrections.py   the pairs most worth a person's look
"""

from reid.identify.calibration import Calibration, calibrate, calibrate_links, thresholds
from reid.identify.decisions import confidence_apart, state_before
from reid.identify.empty_labels import without_contradicting_words
from reid.identify.encounters import ENCOUNTERS, Nodes, make_nodes, pool
from reid.identify.expected_corrections import CANDIDATES, review_candidates
from reid.identify.extend import (
    CODED_EDGES,
    EDGES,
    coded_edges_table,
    comparable,
    edges_table,
    end_places,
    extend_edges,
    read_edges,
    same_bits,
    search_radius,
    sides,
)
from reid.identify.names import check_species, identity_name, identity_number
from reid.identify.nearby import Nearby, grown, near_rows, rows_told
from reid.identify.one_species import Identified, identify_species, species_nodes
from reid.identify.same_boxes import SAME_BOX_IOU
from reid.identify.species_nodes import graph_nodes
from reid.identify.touched import told_ids
from reid.identify.unaided import Unaided
from reid.identify.wording import ContradictionError

__all__ = [
    "CANDIDATES",
    "CODED_EDGES",
    "EDGES",
    "ENCOUNTERS",
    "SAME_BOX_IOU",
    "Calibration",
    "ContradictionError",
    "Identified",
    "Nearby",
    "Nodes",
    "Unaided",
    "calibrate",
    "calibrate_links",
    "check_species",
    "coded_edges_table",
    "comparable",
    "confidence_apart",
    "edges_table",
    "end_places",
    "extend_edges",
    "graph_nodes",
    "grown",
    "identify_species",
    "identity_name",
    "identity_number",
    "make_nodes",
    "near_rows",
    "pool",
    "read_edges",
    "review_candidates",
    "rows_told",
    "same_bits",
    "search_radius",
    "sides",
    "species_nodes",
    "state_before",
    "thresholds",
    "told_ids",
    "without_contradicting_words",
]
