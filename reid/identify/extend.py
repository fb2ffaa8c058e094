"""The graph grows: new rows against all rows and themselves, and never a known pair again."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reid.errors import InputError
from reid.identify.distances import pair_distances
from reid.identify.word_numbers import numbered
from reid.neighbors import stream_edges

Edges = tuple[NDArray[np.int32], NDArray[np.float32]]

# Float32 distances of the search differ from `pair_distances` by less; the search looks this much
# further, and `pair_distances` alone decides.
SLACK = np.float32(4e-6)

EDGES = pa.schema(
    [
        pa.field("species", pa.string(), nullable=False),
        pa.field("a_id", pa.string(), nullable=False),  # a_id < b_id
        pa.field("b_id", pa.string(), nullable=False),
        pa.field("distance", pa.float32(), nullable=False),
    ]
)

# The same, where each id is held once however often it comes.
CODED_EDGES = pa.schema(
    [
        one.with_type(pa.dictionary(pa.int32(), one.type)) if one.name != "distance" else one
        for one in EDGES
    ]
)


def extend_edges(
    vectors: NDArray[np.float32],
    new_from: int,
    radius: float,
    *,
    shown: NDArray[np.int8] | None = None,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
    block_rows: int | None = None,
) -> Iterator[Edges]:
    """The edges that new rows bring into the radius graph, in parts.

    With the edges that were there among the known rows they are the radius graph of all rows, to
    the bit: a distance depends on its two rows alone (`pair_distances`), not on which was new, nor
    on blocks, threads or device. The cost is new × all.

    Args:
        vectors: (n, d) float32, unit rows (seen by the caller): the known ones, then the new ones.
        new_from: the number of the first new row.
        radius: largest cosine distance kept, 0 < radius < 1.99.
        shown: (n,) int8 of `sides`; a left and a right are never compared. None: all are compared.
        backend, device, memory_bytes, block_rows: of the search, see `reid.neighbors.stream_edges`.

    Yields:
        edges (k, 2) int32 with i < j, sorted within a part, and distances (k,) float32. Every pair
        comes once.

    Raises:
        InputError: a radius out of range.
    """
    parts = stream_edges(
        vectors, search_radius(radius), new_from=new_from, backend=backend, device=device,
        memory_bytes=memory_bytes, block_rows=block_rows, checked=True,
    )  # fmt: skip
    for part in parts:
        yield same_bits(vectors, vectors, 0, 0, part, radius=radius, shown=shown)


def search_radius(radius: float) -> float:
    """How far the search looks, so that `same_bits` finds every pair within `radius`.

    Raises:
        InputError: a radius out of range.
    """
    if not 0 < radius < 1.99:
        raise InputError(f"radius: {radius} is not a cosine distance between 0 and 1.99")
    return radius + float(SLACK)


def same_bits(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    a_start: int,
    b_start: int,
    found: Edges,
    *,
    radius: float,
    shown: NDArray[np.int8] | None = None,
) -> Edges:
    """Edges of a search with distances of `pair_distances`, without those that are not compared.

    Args:
        a, b: float32 unit rows, from a_start and b_start on of the whole.
        a_start, b_start: see there.
        found: edges within `search_radius`, numbered in the whole.
        radius: largest distance kept.
        shown: as in `extend_edges`, of the whole.
    """
    edges = found[0]
    if shown is not None:
        edges = edges[comparable(shown[edges[:, 0]], shown[edges[:, 1]])]
    distances = pair_distances(a, edges[:, 0] - a_start, b, edges[:, 1] - b_start)
    near = distances <= np.float32(radius)
    return edges[near], distances[near]


def sides(
    viewpoints: Sequence[str | None] | pa.Array | pa.ChunkedArray, rule: str
) -> NDArray[np.int8] | None:
    """The side that each view shows: −1 left, 1 right, 0 both, neither or unknown.

    A viewpoint that names one side (`left`, `front-left`, `Right`) shows that side.

    Args:
        viewpoints: n words, None where unknown.
        rule: `compare-all`, or `same-side`: left and right are different coats and never compared.

    Returns:
        (n,) int8, or None where all are compared.

    Raises:
        InputError: an unknown rule.
    """
    if rule == "compare-all":
        return None
    if rule != "same-side":
        raise InputError(
            f"identify.viewpoints: unknown {rule!r}; known rules: compare-all, same-side"
        )
    if not isinstance(viewpoints, pa.Array | pa.ChunkedArray):
        viewpoints = pa.array(viewpoints, pa.string())
    number, words = numbered(viewpoints)
    return np.asarray([*map(_side, words.to_pylist()), 0], np.int8)[number]


def comparable(a: NDArray[np.int8], b: NDArray[np.int8]) -> NDArray[np.bool_]:
    """False for a left and a right, True for all others."""
    return a * b >= 0


def edges_table(
    species: str, ids: Sequence[str] | NDArray[np.object_] | pa.StringArray, edges: Edges
) -> pa.Table:
    """Edges between numbered rows as a table (schema `EDGES`) between ids, a_id < b_id."""
    names = pa.array(ids, pa.string())
    pairs, distances = edges
    first, second = names.take(pa.array(pairs[:, 0])), names.take(pa.array(pairs[:, 1]))
    swap = pc.greater(first, second)
    return pa.table(
        [
            pa.repeat(pa.scalar(species), len(pairs)),
            pc.if_else(swap, second, first),
            pc.if_else(swap, first, second),
            pa.array(distances),
        ],
        schema=EDGES,
    )


def coded_edges_table(species: str, ids: pa.StringArray, edges: Edges) -> pa.Table:
    """As `edges_table`, with schema `CODED_EDGES`.

    Args:
        species: theirs.
        ids: theirs.
        edges: between these, in any order.
    """
    pairs, distances = edges
    used, place = np.unique(pairs, return_inverse=True)
    names = ids.take(pa.array(used))
    order = pc.sort_indices(names)
    rank = np.empty(len(used), np.int32)
    rank[order.to_numpy()] = np.arange(len(used), dtype=np.int32)
    pairs, ids = rank[place].reshape(-1, 2), names.take(order)
    ends = np.sort(pairs, axis=1)
    columns = [
        pa.DictionaryArray.from_arrays(np.zeros(len(ends), np.int32), pa.array([species])),
        *(pa.DictionaryArray.from_arrays(np.ascontiguousarray(end), ids) for end in ends.T),
    ]
    return pa.table([*columns, pa.array(distances)], schema=CODED_EDGES)


def read_edges(table: pa.Table, ids: Sequence[str] | pa.StringArray) -> Edges:
    """Edges (schema `EDGES`) between the rows that `ids` numbers, sorted, each pair once.

    Edges of other ids (of runs that were killed or undone, of encounters that have grown since) and
    repeated ones are dropped: an edge is a fact about two rows, and finding it twice changes nothing.
    """
    return sorted_once(*numbered_edges(table, ids))


def numbered_edges(table: pa.Table, ids: Sequence[str] | pa.StringArray) -> Edges:
    """As `read_edges`, unsorted, and with what comes twice."""
    a, b = end_places(table, pa.array(ids, pa.string()))
    here = (a >= 0) & (b >= 0) & (a != b)
    distances = table["distance"].to_numpy()
    if not here.all():
        a, b, distances = a[here], b[here], distances[here]
    pairs = np.empty((len(a), 2), np.int32)
    np.minimum(a, b, out=pairs[:, 0])
    np.maximum(a, b, out=pairs[:, 1])
    return pairs, distances


def sorted_once(pairs: NDArray[np.integer], distances: NDArray[np.float32]) -> Edges:
    """Pairs (m, 2), smaller row first, in rising order and each once."""
    keys, first = np.unique(pairs[:, 0].astype(np.int64) << 32 | pairs[:, 1], return_index=True)
    once = np.stack([keys >> 32, keys & 0xFFFFFFFF], axis=1).astype(np.int32)
    return once, distances[first].astype(np.float32, copy=False)


def end_places(table: pa.Table, names: pa.StringArray) -> list[NDArray[np.int32]]:
    """(m,) int32 for a_id and for b_id of edges, where each is among `names`; −1: nowhere.

    In columns with dictionaries each string is looked up once, however often it comes.
    """
    ends = [_words(table[column]) for column in ("a_id", "b_id")]
    # Once for both: each asking builds an index of all names.
    chunks = [chunk for words, _ in ends for chunk in words.chunks]
    found = pc.index_in(pa.chunked_array(chunks, pa.string()), value_set=names)
    places = pc.fill_null(found, -1).to_numpy().astype(np.int32, copy=False)
    parts = np.split(places, [len(ends[0][0])])
    return [
        part if indices is None else part[indices]
        for part, (_, indices) in zip(parts, ends, strict=True)
    ]


def _words(column: pa.ChunkedArray) -> tuple[pa.ChunkedArray, NDArray[np.int32] | None]:
    """The strings of a column, and which each row has; None: one after the other."""
    if not pa.types.is_dictionary(column.type):
        return column, None
    column = column.unify_dictionaries()
    if not len(column):
        return pa.chunked_array([], pa.string()), np.empty(0, np.int32)
    indices = np.concatenate([chunk.indices.to_numpy() for chunk in column.chunks])
    return pa.chunked_array([column.chunk(0).dictionary]), indices


def _side(word: str) -> int:
    word = word.lower()
    return ("right" in word) - ("left" in word)
