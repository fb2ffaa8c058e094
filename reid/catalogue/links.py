"""Who is near whom, row by row: the edges of a large catalogue, so that a night reads those of few rows.

    C/links/<recipe>/<species>/run-<hex>.links        both directions of some edges, by the number of a row
    C/links/<recipe>/<species>/run-<hex>.parquet      which rows have links there, and how many
    C/links/<recipe>/<species>/rows-<key>.parquet     number, cluster and image of each row, by rising id, and where
                                                      its vector lies
    C/links/<recipe>/<species>/rows-<key>.json        the runs that hold these rows' links, the parts of their vectors

All of it follows from the catalogue's rows and edges, whose digests are the key, so whoever finds none makes
it anew, and the folder may be removed. A row keeps its number for ever; the first ones are given by cluster, so
that what is near lies together. A night adds a run; small ones are joined, so that they stay few.
"""

import time
import uuid
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid import store
from reid.catalogue.edges import edges_place, holding_runs
from reid.catalogue.kept_rows import ABANDONED_NS
from reid.catalogue.rules import SpeciesRules
from reid.catalogue.state import Catalogue
from reid.identify.remarks import about_pairs, unusable_ids
from reid.parquet import damaged
from reid.value_digests import value_digest, whole_digest
from reid.vector_places import VectorPlaces

# Below this many rows a look at all of them takes less than a second.
FEWEST_ROWS = 50_000
BLOCK = 2048  # links that are read and checked together
LINK = np.dtype([("other", "<u4"), ("distance", "<f4")])
_COLUMNS = ("annotation_id", "root", "image_path", "bbox", "viewpoint", "encounter_id")

# Row numbers (m,) at both ends of links, and distances (m,) float32.
FoundLinks = tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]


@dataclass(frozen=True)
class RowLinks:
    """What is known of the rows of a species, by rising id, beside what they hold themselves.

    Attributes:
        folder: where it lies.
        number: (n,) uint32, of each row, for ever.
        cluster: (n,) int32, `reid.identify.unaided.Unaided.cluster`.
        image: (n,) int32, `Unaided.image`.
        runs: file name of each run → its links, in the order in which they came.
        places: of their vectors, as far as known; whoever reads these asks whether they hold.
    """

    folder: str
    number: NDArray[np.uint32]
    cluster: NDArray[np.int32]
    image: NDArray[np.int32]
    runs: Mapping[str, int]
    places: VectorPlaces | None = None


def read_links(catalogue: Catalogue, species: str, rules: SpeciesRules) -> RowLinks | None:
    """The links of a species as of this version; None: nobody has written them.

    Raises:
        DamagedError: they were damaged.
        StorageError: storage cannot be read.
    """
    key = _key(catalogue, species, rules)
    if key is None:
        return None
    folder = links_folder(catalogue.path, species, rules)
    try:
        noted = store.read_sealed(store.join(folder, f"rows-{key}.json"))
        rows = store.read_table(store.join(folder, f"rows-{key}.parquet"))
    except FileNotFoundError:
        return None
    number, cluster, image = (rows[name].to_numpy() for name in ("number", "cluster", "image"))
    places = None
    if noted.get("pictures", "") == _pictures(catalogue, species):
        parts = {name: (size, changed, count) for name, size, changed, count in noted["parts"]}
        places = VectorPlaces(parts, *(rows[name].to_numpy() for name in ("part", "row")))
    return RowLinks(folder, number, cluster, image, noted["runs"], places)


def write_links(catalogue: Catalogue, species: str, rules: SpeciesRules, links: RowLinks) -> None:
    """Keep links for this version's rows and edges, and remove what they replace; runs a day after they were written."""
    key = _key(catalogue, species, rules)
    if key is None:
        return
    rows = {name: pa.array(getattr(links, name)) for name in ("number", "cluster", "image")}
    noted: dict[str, Any] = {"runs": dict(links.runs)}
    if links.places is not None:
        rows |= {name: pa.array(getattr(links.places, name)) for name in ("part", "row")}
        noted["parts"] = [[name, *state] for name, state in links.places.parts.items()]
        noted["pictures"] = _pictures(catalogue, species)
    store.write_table(store.join(links.folder, f"rows-{key}.parquet"), pa.table(rows))
    store.write_sealed(store.join(links.folder, f"rows-{key}.json"), noted)
    kept = {f"rows-{key}", *(name for name in links.runs)}
    long_ago = time.time_ns() - ABANDONED_NS
    for file, (_, changed) in store.list_states(links.folder).items():
        name = file.rpartition("/")[2]
        # A run that is not named yet, or begins with a dot, may be what another night writes just now.
        if name.rpartition(".")[0] not in kept and (name[:5] == "rows-" or changed < long_ago):
            store.remove(file)


def add_run(
    folder: str, runs: Mapping[str, int], pairs: NDArray[np.integer], distances: NDArray[np.float32]
) -> dict[str, int]:
    """Write the edges between numbers (m, 2) as a run behind others, of which small ones go into it.

    Returns:
        RowLinks.runs. Runs that are no longer named lie there until a later `write_links`.
    """
    if not len(pairs):
        return dict(runs)
    ends = pairs.astype(np.uint32)
    parts = [(ends[:, 0], ends[:, 1], distances), (ends[:, 1], ends[:, 0], distances)]
    kept, size = dict(runs), 2 * len(ends)
    # Each run that is left is more than twice as large as the next: there are few.
    for name in [*runs][::-1]:
        if runs[name] > 2 * size:
            break
        size += kept.pop(name)
        parts.append(_read_run(folder, name, None))
    row, other, far = (np.concatenate(column) for column in zip(*parts, strict=True))
    parts.clear()
    # By row, and of one row in the order in which they came.
    keys = np.sort(row.astype(np.uint64) << np.uint64(32) | np.arange(len(row), dtype=np.uint64))
    row = (keys >> np.uint64(32)).astype(np.uint32)
    keys &= np.uint64(0xFFFFFFFF)
    blocks = -(-len(row) // BLOCK)
    raw = np.empty(4 * blocks + len(row) * LINK.itemsize, np.uint8)
    links, checks = raw[4 * blocks :].view(LINK), raw[: 4 * blocks].view("<u4")
    links["other"], links["distance"] = other[keys], far[keys]
    for number in range(blocks):
        checks[number] = zlib.crc32(links[number * BLOCK : (number + 1) * BLOCK].tobytes())
    own = f"run-{uuid.uuid4().hex[:12]}"
    store.write_bytes(store.join(folder, f"{own}.links"), raw.tobytes())
    first = np.flatnonzero(np.diff(row, prepend=row[:1] + np.uint32(1)))
    counts = np.diff(first, append=len(row)).astype(np.uint32)
    table = {"row": pa.array(row[first]), "links": pa.array(counts)}
    store.write_table(store.join(folder, f"{own}.parquet"), pa.table(table))
    return kept | {own: len(row)}


def links_of(links: RowLinks, numbers: NDArray[np.uint32]) -> FoundLinks:
    """All links of some rows, by their numbers (k,), rising: each as (row, other row, distance).

    Raises:
        DamagedError: they were damaged.
        FileNotFoundError: they were removed meanwhile.
    """
    parts = [_read_run(links.folder, name, numbers) for name in links.runs]
    nothing = np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float32)
    row, other, far = (np.concatenate(column) for column in zip(nothing, *parts, strict=True))
    return row, other, far


def links_folder(path: str, species: str, rules: SpeciesRules) -> str:
    """C/links/<recipe>/<species>."""
    return store.join(path, "links", edges_place(species, rules.edges_recipe))


def _key(catalogue: Catalogue, species: str, rules: SpeciesRules) -> str | None:
    """A digest of all that links, clusters and images follow from; None: this version has no seal."""
    if catalogue.seal is None or species not in catalogue.seal.species:
        return None
    place = edges_place(species, rules.edges_recipe)
    parts = {
        name: noted
        for run in holding_runs(catalogue).values()
        for name, noted in run.items()
        if name.rpartition("/")[0] == place
    }
    if not _are_there(catalogue.path, place, parts):
        return None
    rows, columns = catalogue.seal.species[species]
    decisions = catalogue.decisions()
    facts: list[Any] = [rows, sorted(parts.items()), sorted(unusable_ids(decisions))]
    facts += [columns.get(name) for name in _COLUMNS]
    facts += [rules.known_distance, rules.radius, rules.encounters, rules.viewpoints]
    if rules.encounters != "off":  # labels and decisions break encounters
        facts += [columns.get("identity"), whole_digest(about_pairs(decisions))]
    return value_digest(facts)


def _pictures(catalogue: Catalogue, species: str) -> str | None:
    """Of which pictures the vectors have to be."""
    assert catalogue.seal is not None
    return catalogue.seal.species[species][1].get("source_key")


def _are_there(path: str, place: str, parts: Iterable[str]) -> bool:
    """Do the files of the edges lie there still, by themselves or joined?"""
    files = {file.rpartition("/")[2] for file in store.list_files(store.join(path, "edges", place))}
    joined = any(name.startswith("joined-") for name in files)
    return joined or all(name.rpartition("/")[2] in files for name in parts)


def _read_run(folder: str, name: str, numbers: NDArray[np.uint32] | None) -> FoundLinks:
    """The links of some rows in a run, or of all."""
    table = store.read_table(store.join(folder, f"{name}.parquet"))
    rows, counts = (table[column].to_numpy() for column in ("row", "links"))
    total = int(counts.sum(dtype=np.int64))
    starts = np.cumsum(counts, dtype=np.int64) - counts
    if numbers is not None:
        at = np.searchsorted(rows, numbers)
        at = at[at < len(rows)] if len(rows) else at[:0]
        here = at[rows[at] == numbers[: len(at)]]
        rows, counts, starts = rows[here], counts[here], starts[here]
    blocks = -(-total // BLOCK)
    change = np.zeros(blocks + 1, np.int64)
    np.add.at(change, starts // BLOCK, 1)
    np.add.at(change, (starts + counts - 1) // BLOCK + 1, -1)
    wanted = np.flatnonzero(np.cumsum(change)[:-1] > 0)
    held = _read_blocks(store.join(folder, f"{name}.links"), total, wanted)
    rank = np.zeros(blocks, np.int64)
    rank[wanted] = np.arange(len(wanted))
    inside = np.arange(int(counts.sum(dtype=np.int64))) - np.repeat(
        np.cumsum(counts, dtype=np.int64) - counts, counts
    )
    place = np.repeat(starts, counts) + inside
    found = held[rank[place // BLOCK] * BLOCK + place % BLOCK]
    return np.repeat(rows, counts), found["other"].copy(), found["distance"].copy()


def _read_blocks(file: str, total: int, wanted: NDArray[np.int64]) -> NDArray[Any]:
    """Some blocks of a run's links, one behind the other, as they were written."""
    fs, inner = store.filesystem(file)
    blocks = -(-total // BLOCK)
    held = np.zeros(len(wanted) * BLOCK, LINK)
    spans = np.flatnonzero(np.diff(wanted, prepend=-2) != 1)

    def read() -> None:
        with fs.open_input_file(inner) as stream:
            checks = np.frombuffer(stream.read_at(4 * blocks, 0), "<u4")
            for first, last in pairwise([*spans.tolist(), len(wanted)]):
                start = int(wanted[first]) * BLOCK
                stop = min(start + (last - first) * BLOCK, total)
                raw = stream.read_at(
                    (stop - start) * LINK.itemsize, 4 * blocks + start * LINK.itemsize
                )
                _check(file, raw, checks[int(wanted[first]) : int(wanted[last - 1]) + 1])
                held[first * BLOCK : first * BLOCK + stop - start] = np.frombuffer(raw, LINK)

    store.guarded(file, "read", read)
    return held


def _check(file: str, raw: bytes, checks: NDArray[np.uint32]) -> None:
    size = BLOCK * LINK.itemsize
    for number, check in enumerate(checks.tolist()):
        if zlib.crc32(memoryview(raw)[number * size : (number + 1) * size]) != check:
            raise damaged(
                file, "not the links that were written; remove the folder, which is made anew"
            )
