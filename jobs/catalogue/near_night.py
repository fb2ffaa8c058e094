"""A night that only brings images, on a large catalogue: what is far from them is not looked at.

What comes out is what a look at everything gives (tests/jobs/test_near_night.py). Where more is new than images
(labels, decisions, rules), or nobody has written the links of what is there (`reid.catalogue.links`), everything
is looked at, as for a small catalogue, and its links are written.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.catalogue.increments import Growth
from jobs.catalogue.night_outcome import SpeciesOutcome, outcome_of
from jobs.catalogue.thresholds import is_settled
from jobs.catalogue.upload_rows import decided_rows, identify_by_rules, with_upload
from reid import store
from reid.catalogue import ROW_SCHEMA, Catalogue, SpeciesRules, changed_rows, links
from reid.cluster import seen_once
from reid.identify import (
    ContradictionError,
    Identified,
    Unaided,
    coded_edges_table,
    grown,
    near_rows,
    state_before,
)
from reid.identify.constraints import latest_decisions
from reid.identify.decisions import UNSURE
from reid.row_order import by_id
from reid.vector_places import find_places

_NOBODY = pa.array([], pa.string())


@dataclass(frozen=True)
class SpeciesNight:
    """What a night makes of one species.

    Attributes:
        rows: ROW_SCHEMA with all that what is new can change, sorted by annotation_id.
        changed: those of them that differ from the catalogue's.
        result: of these rows.
        outcome: without its `decide_seconds`.
        some_rows: annotation_id and source_key of some of all rows, by their places by rising id.
        who: (n,) numbers that tell the individuals of all rows apart.
        unaided: of all rows.
        links: of all rows; None: there are too few for them.
    """

    rows: pa.Table
    changed: pa.Table
    result: Identified
    outcome: SpeciesOutcome
    some_rows: Callable[[NDArray[np.intp]], pa.Table]
    who: NDArray[np.int64]
    unaided: Unaided
    links: links.RowLinks | None


def near_night(
    growth: Growth,
    catalogue: Catalogue,
    species: str,
    rules: SpeciesRules,
    before: pa.Table,
    new: pa.Table,
    said: pa.Table,
) -> SpeciesNight | None:
    """Who is who in a species once new images came; None: everything has to be looked at.

    Args:
        growth: of this run; it searches the new images.
        catalogue: as it is.
        species: its name.
        rules: that hold, and held before.
        before: schema.CATALOGUE of the species, as stored, sorted by annotation_id.
        new: schema.ANNOTATIONS of the new images.
        said: all decisions; none is of this run.
    """
    known = _links(catalogue, species, rules, before, new, said)
    if known is None or growth.written:
        return None
    try:
        return _near_night(growth, catalogue, species, rules, before, by_id(new)[0], said, known)
    except ContradictionError:
        return None  # the whole tells what is to be done about it
    except FileNotFoundError:
        return None  # links that another night has just replaced, or that somebody removed


def all_links(
    catalogue: Catalogue,
    species: str,
    rules: SpeciesRules,
    rows: pa.Table,
    result: Identified,
) -> links.RowLinks | None:
    """Links of all rows, of which a look at all of them has found everything; None: they are not worth it."""
    cluster = result.unaided.cluster
    if not _worth_links(len(cluster), rules):
        return None
    folder = links.links_folder(catalogue.path, species, rules)
    number = np.empty(len(cluster), np.uint32)
    number[np.argsort(cluster, kind="stable")] = np.arange(len(cluster), dtype=np.uint32)
    pairs, distances = result.edges
    runs = links.add_run(folder, {}, number[pairs], distances)
    return links.RowLinks(
        folder,
        number,
        cluster.astype(np.int32),
        result.unaided.image.astype(np.int32),
        runs,
        find_places(_vectors(catalogue, rules), rows),
    )


def _vectors(catalogue: Catalogue, rules: SpeciesRules) -> str:
    return store.join(catalogue.path, "embeddings", rules.recipe)


def _worth_links(rows: int, rules: SpeciesRules) -> bool:
    """Are there so many rows that links pay, and rules under which an edge is one for ever?"""
    return rows >= links.FEWEST_ROWS and rules.pairs is None and rules.encounters != "mean"


def _links(
    catalogue: Catalogue,
    species: str,
    rules: SpeciesRules,
    before: pa.Table,
    new: pa.Table,
    said: pa.Table,
) -> links.RowLinks | None:
    """The links of what is there, if that and the new images are enough to know."""
    if not _worth_links(len(before), rules) or not len(new) or not is_settled(rules):
        return None
    record = catalogue.record
    if catalogue.version != catalogue.record_version:
        return None
    if species not in record.individuals or species not in record.verdicts:
        return None
    ends = pa.chunked_array([*said["a_id"].chunks, *said["b_id"].chunks], pa.string())
    if pc.any(pc.is_in(new["annotation_id"], value_set=ends)).as_py():
        return None  # an image that was undone, and comes back
    return links.read_links(catalogue, species, rules)


def _near_night(
    growth: Growth,
    catalogue: Catalogue,
    species: str,
    rules: SpeciesRules,
    before: pa.Table,
    new: pa.Table,
    said: pa.Table,
    known: links.RowLinks,
) -> SpeciesNight | None:
    n = len(before)
    # Known rows are numbered first, then new ones, both by rising id; `order`: the numbers of all by rising id.
    few = ["annotation_id", "source_key", "viewpoint"]
    everyone = pa.concat_tables([before.select(few), new.select(few)])
    order = by_id(everyone.select(["annotation_id"]))[1]
    began = time.perf_counter()
    vectors, places = _vectors(catalogue, rules), None
    if known.places is not None:
        places = find_places(vectors, new, known.places)
    # Written by an earlier version, or somebody has changed what lies there since.
    if places is None:
        places = find_places(vectors, everyone)
    pairs, far = growth.search_new(catalogue, species, rules, everyone, n, places)
    search_seconds = time.perf_counter() - began
    fresh = pairs.astype(np.int64), far
    next_number = catalogue.counters.get(species, 0) + 1
    numbers, decision = state_before(species, before, next_number)
    row_of = np.empty(n, np.int64)
    row_of[known.number] = np.arange(n)

    def links_of(
        rows: NDArray[np.int64],
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        row, other, distance = links.links_of(known, np.sort(known.number[rows]))
        return row_of[row], row_of[other], distance

    near = near_rows(
        before,
        new,
        numbers,
        decision == UNSURE,
        links_of,
        fresh,
        rules.known_distance,
        encounters=rules.encounters,
    )
    beside = before.take(pa.array(near.known))
    rows = with_upload(beside, new, new[:0])
    looked_at = np.append(near.known, n + np.arange(len(new)))
    place = np.zeros(n + len(new), np.bool_)
    place[looked_at] = True
    at = order[place[order]]  # numbers of `rows`
    row = np.full(n + len(new), -1, np.int64)
    row[at] = np.arange(len(at))
    ids = rows["annotation_id"].combine_chunks()
    edges = coded_edges_table(
        species, ids, (row[near.edges].astype(np.int32), near.distances), whole=True
    )
    individuals = int(np.count_nonzero(np.bincount(numbers)))
    result = identify_by_rules(
        species,
        rows,
        edges,
        said,
        rules,
        next_number=next_number,
        run_id=growth.run_id,
        told=_NOBODY,
        elsewhere=individuals - len(np.unique(numbers[near.known])),
    )
    if not {*new["encounter_id"].drop_null().to_pylist()}.isdisjoint(result.broken):
        return None  # it may have held others together until now
    rows = decided_rows(rows, result)
    who = np.append(numbers, np.zeros(len(new), np.int64))
    who[at] = state_before(species, rows, result.next_number)[0]
    images = pc.is_in(rows["image_path"], value_set=new["image_path"].combine_chunks())
    cluster, image = grown(
        known.cluster, known.image, at, images.to_numpy(), len(new), result.unaided
    )
    told = np.append(_told(before, said), np.zeros(len(new), np.bool_))
    told[at] = result.unaided.told
    number = np.append(known.number, n + np.arange(len(new), dtype=np.uint32)).astype(np.uint32)
    runs = links.add_run(known.folder, known.runs, number[fresh[0]], far)
    met = before["encounter_id"], new["encounter_id"]
    outcome = replace(
        outcome_of(rows, beside, new, new[:0], result, len(far)),
        images=n + len(new),
        seen_once=seen_once(who, pa.chunked_array([*met[0].chunks, *met[1].chunks], pa.string())),
        individuals_before=individuals,
        search_seconds=round(search_seconds, 2),
    )
    return SpeciesNight(
        rows,
        changed_rows(beside, rows.cast(ROW_SCHEMA).filter(pa.array(result.changed))),
        result,
        outcome,
        lambda some: everyone.take(pa.array(order[some])),
        who[order],
        Unaided(cluster[order].astype(np.int64), told[order], image[order].astype(np.int64)),
        links.RowLinks(
            known.folder,
            number[order],
            cluster[order],
            image[order],
            runs,
            None if places is None else places.take(order),
        ),
    )


def _told(before: pa.Table, said: pa.Table) -> NDArray[np.bool_]:
    """(n,) bool, `Unaided.told` of known rows."""
    told: NDArray[np.bool_] = pc.is_valid(before["identity"]).to_numpy()
    latest = latest_decisions(said)
    match = latest.filter(pc.equal(latest["decision"], "match"))
    if not len(match):
        return told
    for end, other in (("a_id", "b_id"), ("b_id", "a_id")):
        there = pc.is_in(match[other], value_set=before["annotation_id"])
        own = match.filter(there)[end]
        told = told | pc.is_in(before["annotation_id"], value_set=own).to_numpy()
    return told
