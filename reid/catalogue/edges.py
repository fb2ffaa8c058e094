"""The neighbour graph of a catalogue: parts that runs have found.

    C/edges/<recipe>/<species>/<run id>-<number>.parquet     reid.identify.EDGES
    C/edges/<recipe>/<species>/joined-<digits>.parquet       EDGES and run_id, of earlier runs

An edge is a fact about two nodes. A run writes those that it finds before it commits; they count as
soon as the run has committed, and as long as it is not undone. What killed and undone runs left is
not looked at, so neither can change what later runs see.
"""

import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import store
from reid.catalogue.rules import SpeciesRules, read_rules
from reid.catalogue.runs import history
from reid.catalogue.state import Catalogue
from reid.errors import DamagedError, InputError, StorageError
from reid.identify import CODED_EDGES, EDGES, Nodes, comparable, end_places, graph_nodes, sides
from reid.value_digests import whole_digest

# Path below C/edges → rows, and a digest of what they hold.
Parts = Mapping[str, tuple[int, str]]

_ATTEMPTS = 3
_JOINED = "joined-"
# A part names each image some fifteen times: its ids are written once, and read as numbers of these.
CODED = ("species", "a_id", "b_id", "run_id")
DICTIONARY_BYTES = 2**28


@dataclass(frozen=True)
class SpeciesGraph:
    """What the identities of one species follow from, beside `Catalogue.decisions()`.

    Attributes:
        species: its name.
        rows: schema.CATALOGUE, sorted by annotation_id.
        edges: EDGES, its strings with dictionaries; unordered, some may be there twice, or belong to nodes that are no more.
        rules: how the species is identified.
    """

    species: str
    rows: pa.Table
    edges: pa.Table
    rules: SpeciesRules


def read_graph(catalogue: Catalogue, species: str) -> SpeciesGraph:
    """Rows, edges and rules of one species.

    Raises:
        InputError: the catalogue does not know this species.
        StorageError: storage cannot be read.
    """
    rules = read_rules(catalogue)
    if species not in rules:
        raise InputError(
            f"{catalogue.path}: no species {species!r}; known: {', '.join(rules) or 'none yet'}"
        )
    own = rules[species]
    rows = catalogue.rows(species=[species])
    edges = read_edges_by(own, catalogue.path, species, holding_runs(catalogue))
    nodes = graph_nodes(rows, catalogue.decisions(), encounters=own.encounters)
    edges = comparable_edges(edges, nodes, node_sides(rows, nodes, own.viewpoints))
    return SpeciesGraph(species, rows, edges, own)


def holding_runs(catalogue: Catalogue) -> dict[str, Parts]:
    """Runs that hold (those that committed and were not undone), and the parts that each has found."""
    return {run.run_id: run.edges or {} for run in history(catalogue) if run.undone_by is None}


def write_edge_part(
    path: str, species: str, recipe: str, run_id: str, number: int, edges: pa.Table
) -> dict[str, tuple[int, str]]:
    """Write edges (EDGES) that a run has found; they count once the run has committed.

    Returns:
        The part's path below C/edges → its rows and their digest, for `Change.edges`.

    Args:
        path: of the catalogue.
        species: theirs.
        recipe: folder name of the embeddings.
        run_id: of the run.
        number: of the part, within the run and species.
        edges: EDGES.
    """
    name = f"{run_id}-{number:05d}.parquet"
    edges = edges.cast(CODED_EDGES)
    place = edges_place(species, recipe)
    folder = store.join(path, "edges", place)
    file = store.join(folder, name)
    _write(file, edges, _about(folder))
    return {f"{place}/{name}": (len(edges), whole_digest(edges))}


def read_edge_parts(path: str, species: str, recipe: str, runs: Mapping[str, Parts]) -> pa.Table:
    """The edges (EDGES) that some runs have found.

    Args:
        path: of the catalogue.
        species: theirs.
        recipe: folder name of the embeddings.
        runs: those that hold, and one that is on its way, as `holding_runs` gives them.

    Raises:
        DamagedError: a part is gone, was damaged, or is another species'.
        StorageError: storage cannot be read.
    """
    place = edges_place(species, recipe)
    folder = store.join(path, "edges", place)
    about = _about(folder)
    missing = ""
    for _ in range(_ATTEMPTS):
        parts = [
            part for part in store.list_files(folder) if _is_joined(part) or _run_of(part) in runs
        ]
        try:
            found = {part: _read_part(part, runs, about) for part in parts}
        except FileNotFoundError:
            continue  # `join_edge_parts` has put it into another one meanwhile
        missing = _first_missing(place, found, runs)
        if missing:
            continue
        return pa.concat_tables([CODED_EDGES.empty_table(), *(one.edges for one in found.values())])
    if missing:
        raise DamagedError(
            f"{folder}: {missing}; restore the file from a copy of the catalogue, or take back the runs up "
            "to that one (`reid history`, `reid undo`) and identify their images again"
        )
    raise StorageError(f"{folder}: files disappear while they are read; run it again")


def read_edges_by(
    rules: SpeciesRules, path: str, species: str, runs: Mapping[str, Parts]
) -> pa.Table:
    """The edges (EDGES) of a species by its rules.

    By distance each run adds edges. Where pairs are looked at closely each writes all of them, as new
    rows change the places of old ones in each other's lists; so the latest run alone is asked.

    Args:
        rules: of the species.
        path, species: as in `read_edge_parts`.
        runs: of `holding_runs`, the latest first.

    Raises:
        DamagedError, StorageError: as in `read_edge_parts`.
    """
    if rules.pairs is not None:
        place = edges_place(species, rules.edges_recipe)
        latest = next((run for run, parts in runs.items() if _of_place(parts, place)), None)
        runs = {} if latest is None else {latest: runs[latest]}
    return read_edge_parts(path, species, rules.edges_recipe, runs)


def _of_place(parts: Parts, place: str) -> dict[str, tuple[int, str]]:
    return {name: noted for name, noted in parts.items() if name.rpartition("/")[0] == place}


def _first_missing(place: str, found: Mapping[str, "_Part"], runs: Mapping[str, Parts]) -> str:
    """What of the parts that were committed is not there, in words; empty where all is."""
    rows: dict[str, int] = {}
    by_name = {path.rpartition("/")[2]: part for path, part in found.items()}
    for part in found.values():
        for run, count in part.runs.items():
            rows[run] = rows.get(run, 0) + count
    for run, parts in runs.items():
        here = {name.rpartition("/")[2]: noted for name, noted in _of_place(parts, place).items()}
        # The parts of a run may lie in a joined one by now; while they are joined, in both.
        if rows.get(run, 0) < sum(count for count, _ in here.values()):
            gone = [name for name in here if name not in by_name]
            return f"edges of run {run} are gone ({', '.join(gone) or 'of ' + ', '.join(here)})"
        for name, (_, digest) in here.items():
            if name in by_name and by_name[name].digest != digest:
                return f"{name} is not the part that was committed"
    return ""


def join_edge_parts(catalogue: Catalogue, *, before: datetime) -> int:
    """Join the parts of earlier runs into one a species, and drop what belongs to runs that do not hold.

    Args:
        catalogue: an open catalogue.
        before: runs that began earlier are not on their way any more.

    Returns:
        Files that went.
    """
    holding, limit = holding_runs(catalogue), f"{before.astimezone(UTC):%Y%m%dT%H%M%S}"
    by_folder: dict[str, list[str]] = {}
    for part in store.list_files(store.join(catalogue.path, "edges"), recursive=True):
        if _is_joined(part) or _run_of(part) < limit:  # ids begin with the time
            by_folder.setdefault(part.rpartition("/")[0], []).append(part)
    gone = 0
    for folder, parts in by_folder.items():
        if len(parts) == 1 and _is_joined(parts[0]):
            continue
        about = _about(folder)
        found = [_read_part(part, holding, about) for part in parts]
        edges = pa.concat_tables([one.edges.append_column("run_id", one.run_ids) for one in found])
        if len(edges):
            # A run can still be undone, so each edge keeps the run that it belongs to.
            name = f"{_JOINED}{uuid.uuid4().hex[:12]}.parquet"
            _write(store.join(folder, name), edges, about)
        for part in parts:  # a reader may meanwhile find an edge twice, but never miss it
            store.remove(part)
        gone += len(parts)
    return gone


def node_sides(rows: pa.Table, nodes: Nodes, viewpoints: str) -> np.ndarray | None:
    """(k,) int8, the side that each node shows (`reid.identify.sides`); None where all are compared.

    Args:
        rows: sorted by annotation_id.
        nodes: of these rows.
        viewpoints: the rule.
    """
    shown = sides(rows["viewpoint"], viewpoints)
    return None if shown is None else shown[nodes.first]


def comparable_edges(edges: pa.Table, nodes: Nodes, shown: np.ndarray | None) -> pa.Table:
    """Without edges that were found before one learned that they join a left and a right.

    Args:
        edges: EDGES.
        nodes: k nodes.
        shown: (k,) of `node_sides`; None: all are comparable.
    """
    if shown is None:
        return edges
    a, b = (
        np.append(shown, np.int8(0))[places]  # for ids that are no more, at place −1
        for places in end_places(edges, nodes.ids)
    )
    return edges.filter(pa.array(comparable(a, b)))


@dataclass(frozen=True)
class _Part:
    """Edges of one file, of runs that hold.

    Attributes:
        edges: CODED_EDGES.
        digest: of all that the file holds of EDGES.
        run_ids: of each edge, with a dictionary.
        runs: run → its edges.
    """

    edges: pa.Table
    digest: str
    run_ids: pa.ChunkedArray
    runs: Mapping[str, int]


def _write(file: str, edges: pa.Table, about: Mapping[str, str]) -> None:
    """Edges in one row group, as each has its own list of ids."""
    edges = edges.unify_dictionaries().combine_chunks()
    store.write_table(
        file,
        edges,
        row_group_rows=max(1, len(edges)),
        about=about,
        dictionary_bytes=DICTIONARY_BYTES,
    )


def _read_part(part: str, runs: Collection[str], about: Mapping[str, str]) -> _Part:
    """The edges of these runs in a file."""
    if not _is_joined(part):
        edges, digest = store.read_coded_table(part, EDGES.names, CODED[:-1], about=about)
        run = _run_of(part)
        each = pa.DictionaryArray.from_arrays(np.zeros(len(edges), np.int32), pa.array([run]))
        ids = pa.chunked_array([each])
        return _Part(edges.cast(CODED_EDGES), digest, ids, {run: len(edges)})
    edges, digest = store.read_coded_table(part, [*EDGES.names, "run_id"], CODED, about=about)
    held = pc.is_in(edges["run_id"], pa.array(sorted(runs), pa.string()))
    if not pc.all(held).as_py():
        edges = edges.filter(held)
    counts = {one["values"]: one["counts"] for one in pc.value_counts(edges["run_id"]).to_pylist()}
    return _Part(edges.select(EDGES.names).cast(CODED_EDGES), digest, edges["run_id"], counts)


def _is_joined(part: str) -> bool:
    return part.rpartition("/")[2].startswith(_JOINED)


def _run_of(part: str) -> str:
    return part.rpartition("/")[2].rpartition("-")[0]


def edges_place(species: str, recipe: str) -> str:
    """Folder of the edges of a species below C/edges."""
    # A species may be called anything, a folder may not.
    return f"{recipe}/{quote(species, safe=' ').replace('.', '%2E')}"


def _about(folder: str) -> dict[str, str]:
    """What the parts in a folder belong to."""
    recipe, species = folder.rsplit("/", 2)[1:]
    return {"species": unquote(species), "recipe": recipe}
