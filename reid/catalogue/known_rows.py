"""What a night has at hand of the rows of a large catalogue, so that it looks at few of them.

    C/links/<recipe>/<species>/known-<key>.json     the files of the rows, of their states, of their links
    C/links/<recipe>/<species>/states-<hex>.rows    of each row, by its number, what is known beside what it holds
    C/links/<recipe>/<species>/rows-…, run-…        see kept_rows.py and links.py

All of it follows from the catalogue's rows and edges, whose digests are the key, and from decisions about them, so
whoever finds none makes it anew, by a look at everything, and the folder may be removed. Of C/annotations itself a
night that goes by this notices a file that is gone or has another length; any other damage there shows to all who
read it.
"""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import schema, store
from reid.catalogue.delta_tables import check_files
from reid.catalogue.edges import Parts, edges_place, holding_runs
from reid.catalogue.kept_rows import (
    KeptRows,
    Noted,
    names_of_files,
    read_batches,
    read_rows,
    write_batches,
)
from reid.catalogue.links import Runs
from reid.catalogue.rules import SpeciesRules
from reid.catalogue.state import Catalogue, annotations_path
from reid.errors import DamagedError
from reid.identify.remarks import about_pairs, unusable_ids
from reid.row_sums import are_sums
from reid.value_digests import value_digest, whole_digest
from reid.vector_places import VectorPlaces

# Below this many rows a look at all of them takes less than a second.
FEWEST_ROWS = 50_000
ABANDONED_NS = 24 * 3600 * 10**9


@dataclass(frozen=True)
class RowFacts:
    """What follows from all n rows of a species, by their numbers.

    Attributes:
        folder: where it lies.
        individual: (n,) int32, the number in the name of each row's individual.
        unsure: (n,) bool, whether that is its decision.
        cluster, told, image: (n,) int32, bool, int32: `reid.identify.Unaided`.
        runs: of their links.
        seen_once: how many of their individuals were.
        places: of their vectors, as far as known; whoever reads these asks whether they hold.
    """

    folder: str
    individual: NDArray[np.int32]
    unsure: NDArray[np.bool_]
    cluster: NDArray[np.int32]
    told: NDArray[np.bool_]
    image: NDArray[np.int32]
    runs: Runs
    seen_once: int
    places: VectorPlaces | None = None


@dataclass(frozen=True)
class KnownRows:
    """The rows of a species, and what follows from all of them."""

    rows: KeptRows
    facts: RowFacts


def links_folder(path: str, species: str, rules: SpeciesRules) -> str:
    """C/links/<recipe>/<species>."""
    return store.join(path, "links", edges_place(species, rules.edges_recipe))


def read_known(catalogue: Catalogue, rules: Mapping[str, SpeciesRules]) -> dict[str, KnownRows]:
    """What is known of the rows of each large species as of this version, where somebody has written it.

    Args:
        catalogue: an open one.
        rules: of its species.

    Raises:
        DamagedError: it was damaged, or files of C/annotations are gone.
        StorageError: storage cannot be read.
    """
    large = [name for name in rules if _is_large(catalogue, name)]
    if not large:
        return {}
    version = _version_of(catalogue)  # once for all: with each night there are more files to it
    read = {name: _read_known(catalogue, name, rules[name], version) for name in large}
    found = {name: one for name, one in read.items() if one is not None}
    if found:
        check_files(annotations_path(catalogue.path), catalogue.table)
    return found


def _read_known(
    catalogue: Catalogue, species: str, rules: SpeciesRules, version: "_Version"
) -> KnownRows | None:
    key = _key(catalogue, species, rules, version.runs)
    if key is None:
        return None
    folder = links_folder(catalogue.path, species, rules)
    try:
        noted = store.read_sealed(store.join(folder, f"known-{key}.json"))
        rows = read_rows(folder, noted["rows"])
        if noted.get("said") != _said(version.decisions, rows.ids_among):
            return None
        columns, name, batches = noted["states"]
        table = read_batches(folder, name, batches, _kind(columns))
    except FileNotFoundError:
        return None
    values = {name: table[name].chunk(0).to_numpy(zero_copy_only=False) for name in columns}
    places = None
    if noted.get("pictures", "") == _pictures(catalogue, species):
        parts = {name: (size, changed, count) for name, size, changed, count in noted["parts"]}
        places = VectorPlaces(parts, values["part"], values["row"])
    states = {name: values[name] for name in _STATES}
    told = {"runs": noted["runs"], "seen_once": noted["seen_once"], "places": places}
    return KnownRows(rows, RowFacts(folder, **states, **told))


def write_known(
    catalogue: Catalogue,
    species: str,
    rules: SpeciesRules,
    write: Callable[[], tuple[RowFacts, tuple[Noted, ...]]],
    ids_among: Callable[[pa.Array], pa.ChunkedArray],
) -> None:
    """Keep what the next night needs, and remove what that replaces; runs a day after they were written.

    Args:
        catalogue: as it is once a run has committed.
        species: its name.
        rules: its rules.
        write: writes its rows and links; what follows from the rows, and their files.
        ids_among: which of some ids are theirs.
    """
    if not _is_large(catalogue, species):
        return
    version = _version_of(catalogue)
    key = _key(catalogue, species, rules, version.runs)
    if key is None:
        return
    facts, files = write()
    values = {name: getattr(facts, name) for name in _STATES}
    noted: dict[str, Any] = {"rows": files, "runs": dict(facts.runs), "seen_once": facts.seen_once}
    noted["said"] = _said(version.decisions, ids_among)
    if facts.places is not None:
        values |= {"part": facts.places.part, "row": facts.places.row}
        noted["parts"] = [[name, *state] for name, state in facts.places.parts.items()]
        noted["pictures"] = _pictures(catalogue, species)
    name = f"states-{uuid.uuid4().hex[:12]}.rows"
    batch = pa.record_batch([pa.array(one) for one in values.values()], schema=_kind(values))
    noted["states"] = [*values], name, write_batches(facts.folder, name, lambda: [batch])
    store.write_sealed(store.join(facts.folder, f"known-{key}.json"), noted)
    kept = {f"known-{key}.json", name, *names_of_files(files)}
    _remove_others(facts.folder, kept, {*facts.runs})


_STATES = ("individual", "unsure", "cluster", "told", "image")


def _kind(columns: Iterable[str]) -> pa.Schema:
    flags = ("unsure", "told")
    return pa.schema([(one, pa.bool_() if one in flags else pa.int32()) for one in columns])


def _remove_others(folder: str, kept: set[str], runs: set[str]) -> None:
    """Remove listings that are replaced and what they name, and what nobody names for a day."""
    files = store.list_states(folder)
    names = {file: file.rpartition("/")[2] for file in files}
    replaced = [one for one, name in names.items() if name[:6] == "known-" and name not in kept]
    gone = {names[one] for one in replaced}
    for one in replaced:
        with suppress(DamagedError, FileNotFoundError):
            noted = store.read_sealed(one)
            gone |= {noted["states"][1], *names_of_files(noted["rows"])}
    long_ago = time.time_ns() - ABANDONED_NS
    for file, (_, changed) in files.items():
        name = names[file]
        if name in kept or name in runs:
            continue
        # What is not named yet, or begins with a dot, may be what another night writes just now.
        if name in gone or changed < long_ago:
            store.remove(file)


@dataclass(frozen=True)
class _Version:
    """What is asked of a version once for all species.

    Attributes:
        runs: of `holding_runs`.
        decisions: all.
    """

    runs: Mapping[str, Parts]
    decisions: pa.Table


def _version_of(catalogue: Catalogue) -> _Version:
    return _Version(holding_runs(catalogue), catalogue.decisions())


def _said(decisions: pa.Table, ids_among: Callable[[pa.Array], pa.ChunkedArray]) -> str:
    """A digest of the decisions about a species: what is said of others changes nothing in it.

    Args:
        decisions: all.
        ids_among: which of some ids are the species'.
    """
    ends = [decisions["a_id"], decisions["b_id"]]
    named = pa.chunked_array([chunk for one in ends for chunk in one.chunks], pa.string())
    own = ids_among(pc.unique(named))
    here = pc.or_(*(pc.is_in(one, value_set=own) for one in ends))
    said = decisions.filter(here)
    return value_digest([sorted(unusable_ids(said)), whole_digest(about_pairs(said))])


def _is_large(catalogue: Catalogue, species: str) -> bool:
    """Is it worth to keep something? Without a seal, or with one of an earlier format, nothing can be."""
    if catalogue.seal is None or species not in catalogue.seal.species:
        return False
    rows, columns = catalogue.seal.species[species]
    return rows >= FEWEST_ROWS and are_sums(columns) and {*columns} == {*schema.CATALOGUE.names}


def _key(
    catalogue: Catalogue, species: str, rules: SpeciesRules, runs: Mapping[str, Parts]
) -> str | None:
    """A digest of what the kept rows of a large species follow from, beside decisions; None: edges are gone."""
    assert catalogue.seal is not None
    rows, columns = catalogue.seal.species[species]
    place = edges_place(species, rules.edges_recipe)
    parts = {
        name: noted
        for run in runs.values()
        for name, noted in run.items()
        if name.rpartition("/")[0] == place
    }
    if not _are_there(catalogue.path, place, parts):
        return None
    facts: list[Any] = [rows, sorted(columns.items()), sorted(parts.items())]
    facts += [rules.known_distance, rules.radius, rules.encounters, rules.viewpoints]
    return value_digest([str(schema.CATALOGUE), *facts])


def _pictures(catalogue: Catalogue, species: str) -> str | None:
    """Of which pictures the vectors have to be."""
    assert catalogue.seal is not None
    return catalogue.seal.species[species][1].get("source_key")


def _are_there(path: str, place: str, parts: Iterable[str]) -> bool:
    """Do the files of the edges lie there still, by themselves or joined?"""
    files = {file.rpartition("/")[2] for file in store.list_files(store.join(path, "edges", place))}
    joined = any(name.startswith("joined-") for name in files)
    return joined or all(name.rpartition("/")[2] in files for name in parts)
