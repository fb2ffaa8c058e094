"""An ensemble's embeddings from those that its models have in the store already: nothing is embedded twice."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import embeddings, schema, store


def join_stored(
    folder: str, members: Sequence[str], weights: Sequence[float], pending: pa.Table
) -> pa.ChunkedArray:
    """Write what can be joined of the pending annotations, part by part; the ids that were.

    The unit vector of an ensemble is that of its models side by side, each times the root of its
    weight, so the numbers are those of embedding anew but for rounding. Parts that all models have
    under one name hold the same shard; any other, and any picture that has changed since, is left to be
    embedded.

    Args:
        folder: the ensemble's recipe folder.
        members: that of each model alone, with the same views, window and decoder.
        weights: one a model, of sum 1.
        pending: columns annotation_id and source_key.
    """
    ids, keys = (pending[name].combine_chunks() for name in ("annotation_id", "source_key"))
    done: list[pa.Array] = []
    for path in embeddings.parts(members[0]) if len(ids) else []:
        name = path.rpartition("/")[2]
        tables = [
            embeddings.read_part(store.join(member, name))
            for member in members
            if store.exists(store.join(member, name))
        ]
        joined = _joined(tables, weights, ids, keys) if len(tables) == len(members) else None
        if joined is None or not len(joined):
            continue
        own = joined["annotation_id"].combine_chunks()
        digest = embeddings.part_digest(own.to_pylist())
        embeddings.write_part(embeddings.part_path(folder, digest), joined)
        done.append(own)
    return pa.chunked_array(done, pa.string())


def _joined(
    tables: Sequence[pa.Table | None], weights: Sequence[float], ids: pa.Array, keys: pa.Array
) -> pa.Table | None:
    """The rows of one part that are still what the pending annotations are; None: of other shards."""
    first = tables[0]
    if first is None:
        return None
    same = ("annotation_id", "source_key", "content_hash")
    for other in tables[1:]:
        if other is None or any(not first[name].equals(other[name]) for name in same):
            return None
    where = pc.index_in(first["annotation_id"].combine_chunks(), value_set=ids)
    wanted = pc.fill_null(pc.equal(keys.take(where), first["source_key"].combine_chunks()), False)
    rows = np.flatnonzero(wanted.to_numpy(zero_copy_only=False))
    vectors = []
    for table, weight in zip(tables, weights, strict=True):
        assert table is not None
        column = table["embedding"].combine_chunks()
        values = column.flatten().to_numpy().reshape(len(table), -1)[rows]
        vectors.append(values * np.float32(weight**0.5))
    joined = np.concatenate(vectors, axis=1)
    joined /= np.linalg.norm(joined, axis=1, keepdims=True)
    kept = first.take(pa.array(rows))
    dimension = joined.shape[1]
    flat = pa.FixedSizeListArray.from_arrays(pa.array(joined.ravel()), dimension)
    place = kept.schema.get_field_index("embedding")
    return kept.set_column(place, pa.field("embedding", flat.type), flat).cast(
        schema.embeddings(dimension)
    )
