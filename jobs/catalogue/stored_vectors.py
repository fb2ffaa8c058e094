"""The vectors of a catalogue, read part by part, so that no more lie in memory than are compared at once."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid import embeddings
from reid.catalogue import SpeciesRules, embeddings_path
from reid.errors import InputError
from reid.identify import Nodes, pool
from reid.vector_places import VectorPlaces, iter_placed

SHARD_BYTES = 512 * 2**20  # of vectors that are searched at once


@dataclass(frozen=True)
class Shard:
    """Nodes that are compared at once.

    Attributes:
        order: (k,) int64, the nodes: first known ones, then all that are new.
        fresh_from: how many known ones there are.
        vectors: (k, d) float32, theirs; they hold until the next shard is asked for.
    """

    order: NDArray[np.int64]
    fresh_from: int
    vectors: NDArray[np.float32]


def read_vectors(path: str, recipe: str, rows: pa.Table) -> NDArray[np.float32]:
    """The embeddings of rows of a catalogue: (n, d) float32, unit rows.

    Args:
        path: of the catalogue.
        recipe: folder name of the embeddings.
        rows: columns annotation_id and source_key.

    Raises:
        InputError: some are missing, or are of other pictures.
    """
    return _joined(_iter_vectors(path, recipe, rows), len(rows))


def _joined(
    parts: Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]], rows: int
) -> NDArray[np.float32]:
    vectors: NDArray[np.float32] | None = None
    for places, part in parts:
        if vectors is None:
            vectors = np.empty((rows, part.shape[1]), np.float32)
        vectors[places] = part
    return np.empty((0, 0), np.float32) if vectors is None else vectors


def _iter_vectors(
    path: str, recipe: str, rows: pa.Table
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
    """As `read_vectors`, part by part: places among the rows, and vectors."""
    folder = embeddings_path(path, recipe)
    ids, keys = (rows[name].combine_chunks() for name in ("annotation_id", "source_key"))
    found = others = 0
    for part in embeddings.iter_embeddings(folder, ids, ["source_key"]):
        mine, theirs = keys.take(pa.array(part.places)), part.table["source_key"].combine_chunks()
        same = pc.coalesce(pc.equal(mine, theirs), pc.and_(pc.is_null(mine), pc.is_null(theirs)))
        found += len(part.places)
        others += len(part.places) - (pc.sum(same).as_py() or 0)
        yield part.places, part.vectors
    if found < len(rows):
        raise InputError(
            f"{folder}: {len(rows) - found:,} of {len(rows):,} images have no embedding "
            "here any more; restore the folder, or embed them again with `reid calibrate`"
        )
    if others:
        raise InputError(
            f"{folder}: {others:,} embeddings are of other pictures than the catalogue's, which have "
            "the same names; give these other names, and embed the catalogue's again with "
            "`reid calibrate`"
        )


def shards_of(
    path: str,
    rules: SpeciesRules,
    rows: pa.Table,
    nodes: Nodes,
    rest: NDArray[np.bool_],
    fresh: NDArray[np.bool_],
    vectors: NDArray[np.float32] | None,
    places: VectorPlaces | None = None,
) -> Iterator[Shard]:
    """All nodes that are compared, in portions that fit into memory; the fresh ones are in each.

    Args:
        path: of the catalogue.
        rules: recipe and encounters.
        rows: columns annotation_id and source_key; only their places are asked for where these are known.
        nodes: of these rows.
        rest, fresh: (k,) bool, nodes.
        vectors: of the rows, where they were read already.
        places: of the rows, where they are known.
    """
    new = np.flatnonzero(fresh)
    if vectors is not None or rules.encounters == "mean":  # a mean may be of rows of several parts
        if vectors is None:
            vectors = read_vectors(path, rules.recipe, rows)
        order = np.concatenate([np.flatnonzero(rest), new])
        yield Shard(order, len(order) - len(new), pool(vectors, nodes)[order])
        return
    folder = embeddings_path(path, rules.recipe)
    if places is None:
        few = rows.select(["annotation_id", "source_key"])
        known = read_vectors(path, rules.recipe, few.take(pa.array(new)))
    else:
        known = _joined(iter_placed(folder, places.take(new)), len(new))
    most = max(SHARD_BYTES // (4 * known.shape[1]), 4 * len(new))
    others = np.flatnonzero(rest)
    size = min(most, len(others))
    order, room = (
        np.empty(size + len(new), np.int64),
        np.empty((size + len(new), known.shape[1]), np.float32),
    )
    filled = done = 0

    def shard() -> Shard:
        order[filled : filled + len(new)], room[filled : filled + len(new)] = new, known
        return Shard(order[: filled + len(new)], filled, room[: filled + len(new)])

    if places is None:
        first = bool(rest[: len(others)].all())  # strings need not be copied then
        known_rows = few.slice(0, len(others)) if first else few.take(pa.array(others))
        stored = _iter_vectors(path, rules.recipe, known_rows)
    else:
        stored = iter_placed(folder, places.take(others))
    for found, part in stored:
        start = 0
        while start < len(found):
            if filled == size:
                yield shard()
                done += filled
                filled = 0
            stop = min(len(found), start + size - filled)
            here = slice(filled, filled + stop - start)
            order[here], room[here] = others[found[start:stop]], part[start:stop]
            filled, start = here.stop, stop
    if filled or not done:
        yield shard()
