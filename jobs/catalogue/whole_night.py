"""A night on a small catalogue, or one that brings more than images: all rows and edges are read."""

import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.catalogue.increments import Growth, compared_nodes
from jobs.catalogue.night_outcome import outcome_of
from jobs.catalogue.species_night import SpeciesNight
from jobs.catalogue.stored_vectors import read_vectors
from jobs.catalogue.thresholds import Modes, is_settled, make_rules, say_rules, settle_modes
from jobs.catalogue.upload_rows import decided_rows, identify_by_rules, with_upload
from reid.catalogue import (
    ROW_SCHEMA,
    Catalogue,
    SpeciesRules,
    changed_rows,
    embeddings_path,
    known_rows,
    links,
)
from reid.catalogue.kept_rows import Noted, write_rows
from reid.catalogue.known_rows import RowFacts
from reid.identify import Identified, state_before, told_ids, without_contradicting_words
from reid.identify.remarks import with_said_viewpoints
from reid.row_order import rows_after
from reid.vector_places import find_places


def whole_night(
    growth: Growth,
    catalogue: Catalogue,
    species: str,
    was: SpeciesRules | None,
    rules: SpeciesRules | None,
    recipe: str | None,
    before: pa.Table,
    new: pa.Table,
    updated: pa.Table,
    said: pa.Table,
) -> tuple[SpeciesRules, SpeciesNight]:
    """Rules of a species, and who is who once all of its rows and edges were read.

    Args:
        growth: of this run.
        catalogue: as it is.
        species: its species.
        was: rules of the catalogue; None: it has none.
        rules: those that shall hold; None: they are made.
        recipe: folder species of the new images' embeddings, where rules are made.
        before: schema.CATALOGUE of the species, as stored, sorted by annotation_id.
        new, updated: schema.ANNOTATIONS of the upload.
        said: all decisions.

    Raises:
        ContradictionError: they cannot all hold.
        InputError: embeddings are missing.
        NoRulesError: rules can neither be made nor were given.
    """
    rows = with_said_viewpoints(with_upload(before, new, updated), said)
    asked = growth.config.identify.rules(species)
    if rules is None:
        modes = settle_modes(asked, rows, said)
    elif is_settled(rules):
        modes = Modes(rules.encounters, rules.viewpoints)
    else:  # calibrated before there was any image; single images are compared in any case
        modes = settle_modes(asked, rows, said, rules)
        rules = replace(rules, encounters=modes.encounters, viewpoints=modes.viewpoints)
        say_rules(species, rules, modes)
    rows, notes = without_contradicting_words(rows, said, encounters=modes.encounters)
    vectors = None
    if rules is None:
        assert recipe is not None
        vectors = read_vectors(catalogue.path, recipe, rows)
        rules = make_rules(growth.config, species, recipe, rows, vectors, modes, look=growth.look)
        say_rules(species, rules, modes)
    settled = was if was is not None and is_settled(was) else None
    compared = compared_nodes(catalogue, settled, rules, before)
    told = None
    # Where pairs are looked at, shortlists are drawn up anew over all images: any edge may be another.
    alone = rules.pairs is None and catalogue.version == catalogue.record_version
    if rules is was and settled and not notes and alone:
        if species in catalogue.record.individuals:
            told = told_ids(before, updated)
        elif len(before):
            notes.append(
                f"the catalogue is of an earlier version of this software, and was carried over: all "
                f"{len(before):,} images were looked at, once"
            )
    searching = time.perf_counter()
    edges, found = growth.grow(catalogue, species, rules, rows, said, compared, vectors)
    search_seconds = time.perf_counter() - searching
    result = identify_by_rules(
        species,
        rows,
        edges,
        said,
        rules,
        next_number=catalogue.counters.get(species, 0) + 1,
        run_id=growth.run_id,
        told=told,
    )
    del edges
    rows = decided_rows(rows, result)
    outcome = outcome_of(rows, before, new, updated, result, found)
    outcome.search_seconds = round(search_seconds, 2)
    outcome.notes[:0] = notes
    changed = rows.cast(ROW_SCHEMA)
    if told is not None:  # no others can be: less to compare
        own = said["a_id"].filter(pc.equal(said["run_id"], growth.run_id))  # may say a viewpoint
        ids = pa.chunked_array([*updated["annotation_id"].chunks, *own.chunks], pa.string())
        named = pc.is_in(rows["annotation_id"], value_set=ids)
        changed = changed.filter(pc.or_(named, pa.array(result.changed)))
    changed = changed_rows(before, changed)
    who = state_before(species, rows, result.next_number)[0]

    def keep(committed: pa.Table) -> tuple[RowFacts, tuple[Noted, ...]]:
        facts, order = _all_facts(catalogue, species, rules, rows, result, who, outcome.seen_once)
        numbered = rows_after(before, committed).take(pa.array(order))
        return facts, write_rows(facts.folder, numbered)

    # Of few rows it does not pay; and of pairs and means an edge is not one for ever.
    pays = (
        len(rows) >= known_rows.FEWEST_ROWS and rules.pairs is None and rules.encounters != "mean"
    )
    return rules, SpeciesNight(
        rows,
        before.filter(pc.is_in(before["annotation_id"], value_set=changed["annotation_id"])),
        changed,
        result,
        outcome,
        lambda some: rows.select(["annotation_id", "source_key"]).take(pa.array(some)),
        np.sort,
        who,
        result.unaided,
        keep if pays else None,
        lambda ids: rows["annotation_id"].filter(pc.is_in(rows["annotation_id"], value_set=ids)),
    )


def _all_facts(
    catalogue: Catalogue,
    species: str,
    rules: SpeciesRules,
    rows: pa.Table,
    result: Identified,
    individual: NDArray[np.int64],
    seen_once: int,
) -> tuple[RowFacts, NDArray[np.intp]]:
    """What follows from all rows, by numbers that go by cluster, so that what is near lies together; and the rows' order.

    Args:
        catalogue: as it was.
        species: its species.
        rules: its rules.
        rows: STATE, sorted by annotation_id.
        result: of these.
        individual: (n,) of each row, the number of its individual.
        seen_once: how many individuals were.
    """
    alone = result.unaided
    order = np.argsort(alone.cluster, kind="stable")
    number = np.empty(len(rows), np.uint32)
    number[order] = np.arange(len(rows), dtype=np.uint32)
    pairs, distances = result.edges
    folder = known_rows.links_folder(catalogue.path, species, rules)
    places = find_places(embeddings_path(catalogue.path, rules.recipe), rows)
    facts = RowFacts(
        folder,
        individual[order].astype(np.int32),
        pc.equal(rows["decision"], "unsure").to_numpy()[order],
        alone.cluster[order].astype(np.int32),
        alone.told[order],
        alone.image[order].astype(np.int32),
        links.add_run(folder, {}, number[pairs], distances),
        seen_once,
        None if places is None else places.take(order),
    )
    return facts, order
