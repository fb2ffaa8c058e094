"""A night on a large catalogue that brings images, labels or judged pairs: what is far from them is not looked at.

What comes out is what a look at everything gives (tests/jobs/test_near_night.py). Where something else is new (rules,
encounters, pictures that are unusable, show another side or lie elsewhere), or nobody has written what is known of the rows
(`reid.catalogue.known_rows`), everything is looked at, as for a small catalogue, and it is written.
"""

import time
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.catalogue.increments import Growth
from jobs.catalogue.night_outcome import outcome_of
from jobs.catalogue.species_night import SpeciesNight
from jobs.catalogue.thresholds import is_settled
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
from reid.catalogue.kept_rows import KeptRows, Noted, add_rows
from reid.cluster import seen_once
from reid.identify import (
    ContradictionError,
    Identified,
    Unaided,
    grown,
    near_rows,
    rows_told,
    state_before,
    told_ids,
)
from reid.identify.decisions import UNSURE
from reid.identify.remarks import OF_EDGES, about_pairs
from reid.row_order import by_id
from reid.vector_places import VectorPlaces, find_places


def near_night(
    growth: Growth,
    catalogue: Catalogue,
    species: str,
    rules: SpeciesRules,
    known: known_rows.KnownRows | None,
    new: pa.Table,
    updated: pa.Table,
    said: pa.Table,
) -> SpeciesNight | None:
    """Who is who in a species once something new is known; None: everything has to be looked at.

    Args:
        growth: of this run; it searches the new images.
        catalogue: as it is.
        species: its name.
        rules: that hold, and held before.
        known: of the species' rows; None: nobody has written it.
        new, updated: schema.ANNOTATIONS of the upload.
        said: all decisions, those of this run too.
    """
    if known is None or growth.has_grown(species, rules):
        return None
    if not _is_enough(catalogue, species, rules, new, said, growth.run_id):
        return None
    again = known.rows.find("annotation_id", updated["annotation_id"])
    if not _are_only_labels(rules, known.rows.take(again), by_id(updated)[0]):
        return None
    try:
        return _near_night(
            growth, catalogue, species, rules, known, by_id(new)[0], updated, again, said
        )
    except ContradictionError:
        return None  # the whole tells what is to be done about it
    except FileNotFoundError:
        return None  # links that another night has just replaced, or that somebody removed


def _is_enough(
    catalogue: Catalogue,
    species: str,
    rules: SpeciesRules,
    new: pa.Table,
    said: pa.Table,
    run_id: str,
) -> bool:
    """Are what is known, the new images and what was judged enough to know all?"""
    if not is_settled(rules):
        return False
    record = catalogue.record
    if catalogue.version != catalogue.record_version:
        return False
    if species not in record.individuals or species not in record.verdicts:
        return False
    fresh = said.filter(pc.equal(said["run_id"], run_id))
    if pc.any(pc.is_in(fresh["decision"], value_set=pa.array(OF_EDGES))).as_py():
        return False  # another side, or unusable: other edges count
    if len(about_pairs(fresh)) and rules.encounters != "off":
        return False  # a pair that is judged can break an encounter
    # An image that was undone, and comes back; or is judged as it comes
    ends = pa.chunked_array([*said["a_id"].chunks, *said["b_id"].chunks], pa.string())
    return not pc.any(pc.is_in(new["annotation_id"], value_set=ends)).as_py()


def _are_only_labels(rules: SpeciesRules, was: pa.Table, updated: pa.Table) -> bool:
    """Does an upload say nothing new of known images by which other edges count, or an encounter comes apart?

    Args:
        rules: of the species.
        was, updated: schema.ANNOTATIONS, the images before and now, in one order (by annotation_id or by number).
    """
    if rules.encounters != "off":  # a label can break one, too
        return not len(updated)
    was = by_id(was)[0]
    fixed = ["root", "image_path", "bbox"]
    fixed += ["viewpoint"] if rules.viewpoints != "compare-all" else []
    return all(was[name].combine_chunks().equals(updated[name].combine_chunks()) for name in fixed)


def _with_met(kept: KeptRows, again: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows, and those that were of their encounters: `told_ids` asks of these too, whether encounters are used or not."""
    met = pc.unique(kept.take(again)["encounter_id"].drop_null())
    return np.union1d(again, kept.find("encounter_id", met))


def _judged(kept: KeptRows, said: pa.Table, run_id: str) -> NDArray[np.int64]:
    """Rows that decisions of this run are about, and those that others have judged them against."""
    said = about_pairs(said)
    own = said.filter(pc.equal(said["run_id"], run_id))
    ends = pa.chunked_array([*own["a_id"].chunks, *own["b_id"].chunks], pa.string())
    beside = said.filter(
        pc.or_(pc.is_in(said["a_id"], value_set=ends), pc.is_in(said["b_id"], value_set=ends))
    )
    ends = pa.chunked_array([*beside["a_id"].chunks, *beside["b_id"].chunks], pa.string())
    return kept.find("annotation_id", pc.unique(ends))


def _near_night(
    growth: Growth,
    catalogue: Catalogue,
    species: str,
    rules: SpeciesRules,
    known: known_rows.KnownRows,
    new: pa.Table,
    updated: pa.Table,
    again: NDArray[np.int64],
    said: pa.Table,
) -> SpeciesNight | None:
    kept, facts = known.rows, known.facts
    n = len(kept)

    def column(name: str) -> pa.ChunkedArray:
        return pa.chunked_array([*kept.column(name).chunks, *new[name].chunks], pa.string())

    def some_rows(some: NDArray[np.intp]) -> pa.Table:
        there = kept.take(some[some < n]), new.take(pa.array(some[some >= n] - n))
        rows = pa.concat_tables([one.select(["annotation_id", "source_key"]) for one in there])
        return rows.take(pa.array(np.argsort(np.argsort(some >= n, kind="stable"))))

    ids = column("annotation_id")
    everyone = pa.table({"annotation_id": ids, "viewpoint": column("viewpoint")})
    began = time.perf_counter()
    vectors, places = embeddings_path(catalogue.path, rules.recipe), None
    if facts.places is not None:
        places = find_places(vectors, new, facts.places)
    # Written by an earlier version, or somebody has changed what lies there since.
    if places is None:
        everyone = everyone.append_column("source_key", column("source_key"))
        places = find_places(vectors, everyone)
    pairs: NDArray[np.integer] = np.empty((0, 2), np.int32)
    far = np.empty(0, np.float32)
    if len(new):
        pairs, far = growth.search_new(catalogue, species, rules, everyone, n, places)
    search_seconds = time.perf_counter() - began

    def links_of(rows: NDArray[np.int64]) -> links.FoundLinks:
        return links.links_of(facts.folder, facts.runs, rows.astype(np.uint32))

    near = near_rows(
        rows_told(
            kept.find,
            kept.take,
            pa.concat_tables([new, updated]),
            np.union1d(_with_met(kept, again), _judged(kept, said, growth.run_id)),
            rules.encounters,
        ),
        facts.individual,
        facts.unsure,
        links_of,
        (pairs, far),
        rules.known_distance,
    )
    beside = kept.take(near.known)
    rows = with_upload(beside, new, updated)
    looked_at = np.append(near.known, n + np.arange(len(new)))
    at = looked_at[by_id(pa.concat_tables([beside.select(_ID), new.select(_ID)]))[1]]
    row = np.full(n + len(new), -1, np.int32)  # of each number its place among `rows`
    row[at] = np.arange(len(at), dtype=np.int32)
    ends = row[near.edges].T
    individuals = catalogue.record.individuals[species]
    result = identify_by_rules(
        species,
        rows,
        (np.stack([np.minimum(*ends), np.maximum(*ends)], axis=1), near.distances),
        said,
        rules,
        next_number=catalogue.counters.get(species, 0) + 1,
        run_id=growth.run_id,
        told=told_ids(beside, updated),
        elsewhere=individuals - len(np.unique(facts.individual[near.known])),
    )
    if not {*new["encounter_id"].drop_null().to_pylist()}.isdisjoint(result.broken):
        return None  # it may have held others together until now
    # New rows are numbered by cluster from here on, as the first ones were: what is near lies together.
    turn = _by_cluster(at, n, result)
    for some in (at, pairs):
        some[some >= n] = n + np.argsort(turn)[some[some >= n] - n]
    new = new.take(pa.array(turn))
    if places is not None:
        part, place = (np.append(one[:n], one[n:][turn]) for one in (places.part, places.row))
        places = VectorPlaces(places.parts, part, place)
    ids = column("annotation_id")
    rows = decided_rows(rows, result)
    renewed = pc.is_in(rows["annotation_id"], value_set=updated["annotation_id"])
    renewed = pc.or_(renewed, pa.array(result.changed))
    changed = changed_rows(beside, rows.cast(ROW_SCHEMA).filter(renewed))
    numbers = at[_places(changed, rows)]
    outcome = outcome_of(rows, beside, new, updated, result, len(far))
    once = facts.seen_once - seen_once(beside["identity_id"], beside["encounter_id"])
    outcome = replace(
        outcome,
        images=n + len(new),
        seen_once=once + outcome.seen_once,
        individuals_before=individuals,
        search_seconds=round(search_seconds, 2),
    )
    now = replace(
        _facts_after(species, facts, new, rows, at, result),
        seen_once=outcome.seen_once,
        places=places,
    )

    def keep(committed: pa.Table) -> tuple[known_rows.RowFacts, tuple[Noted, ...]]:
        runs = links.add_run(facts.folder, facts.runs, pairs, far)
        return replace(now, runs=runs), add_rows(kept, numbers, committed)

    return SpeciesNight(
        rows,
        kept.take(np.sort(numbers[numbers < n])),
        changed,
        result,
        outcome,
        some_rows,
        lambda some: some[pc.sort_indices(ids.take(pa.array(some))).to_numpy()],
        now.individual,
        Unaided(now.cluster, now.told, now.image),
        keep,
        kept.ids_among,  # no decision is about a new image: `_is_enough`
    )


_ID = ["annotation_id"]


def _by_cluster(at: NDArray[np.int64], known: int, result: Identified) -> NDArray[np.intp]:
    """The new rows in the order of their clusters.

    Args:
        at: (k,) numbers of the rows in `result`, all new ones among them.
        known: how many rows have their numbers for ever.
        result: of some rows.
    """
    fresh = at >= known
    cluster = np.empty(int(fresh.sum()), np.int64)
    cluster[at[fresh] - known] = result.unaided.cluster[fresh]
    return np.argsort(cluster, kind="stable")


def _places(few: pa.Table, rows: pa.Table) -> NDArray[np.int64]:
    """Where each of a few rows is among others."""
    ids = rows["annotation_id"].combine_chunks()
    found: NDArray[np.int64] = pc.index_in(few["annotation_id"], value_set=ids).to_numpy()
    return found


def _facts_after(
    species: str,
    facts: known_rows.RowFacts,
    new: pa.Table,
    rows: pa.Table,
    at: NDArray[np.int64],
    result: Identified,
) -> known_rows.RowFacts:
    """The arrays of all rows, known and then new, from those of before and what came out for some.

    Args:
        species: its name.
        facts: as they were.
        new: schema.ANNOTATIONS of the new images.
        rows: STATE, of some rows: all that are new, and all that have become another.
        at: (k,) their numbers.
        result: of these.
    """
    more = len(new)
    images = pc.is_in(rows["image_path"], value_set=new["image_path"].combine_chunks())
    cluster, image = grown(facts.cluster, facts.image, at, images.to_numpy(), more, result.unaided)
    numbers, decision = state_before(species, rows, result.next_number)
    nothing = np.zeros(more, np.bool_)
    individual = np.append(facts.individual, np.zeros(more, np.int32))
    unsure, told = np.append(facts.unsure, nothing), np.append(facts.told, nothing)
    individual[at], unsure[at], told[at] = numbers, decision == UNSURE, result.unaided.told
    return replace(
        facts, individual=individual, unsure=unsure, cluster=cluster, told=told, image=image
    )
