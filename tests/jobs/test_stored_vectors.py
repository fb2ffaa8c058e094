"""Vectors that are read part by part: every known node once, the new ones in every portion."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import jobs.catalogue.stored_vectors
from jobs.catalogue.stored_vectors import read_vectors, shards_of
from reid import embeddings, schema, store
from reid.catalogue import SpeciesRules
from reid.errors import InputError
from reid.identify import graph_nodes

D = 3
RECIPE = "recipe"
NOBODY = schema.DECISIONS.empty_table()


def stored(place: Path, parts: list[list[str]]) -> tuple[pa.Table, np.ndarray]:
    """Rows of a catalogue, by rising id, and their vectors, stored in parts."""
    ids = sorted({name for part in parts for name in part})
    vectors = np.random.default_rng(0).normal(size=(len(ids), D)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for part in parts:
        rows = [
            {
                "annotation_id": name, "species": "lynx", "embedding": vectors[ids.index(name)],
                "content_hash": "", "source_key": f"key of {name}", "width": 1, "height": 1,
            }
            for name in part
        ]  # fmt: skip
        path = store.join(
            str(place), "embeddings", RECIPE, f"part-{embeddings.part_digest(part)}.parquet"
        )
        store.write_table(path, pa.Table.from_pylist(rows, schema=schema.embeddings(D)))
    keys = [f"key of {name}" for name in ids]
    return pa.table({"annotation_id": ids, "source_key": keys}), vectors


@pytest.mark.parametrize("shard_rows", [1, 1000])
def test_all_are_compared_with_the_new_in_portions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shard_rows: int
) -> None:
    monkeypatch.setattr(jobs.catalogue.stored_vectors, "SHARD_BYTES", 4 * D * shard_rows)
    names = [f"a{k:02d}" for k in range(20)]
    # a07 and a19 lie in two parts, as where two runs overlapped.
    rows, vectors = stored(tmp_path, [names[12:], [*names[5:12], "a19"], [*names[:5], "a07"]])
    nodes = graph_nodes(rows, NOBODY, encounters="off")
    rules = SpeciesRules(RECIPE, 0.1, 0.2, 0.2, "off", "compare-all", "given")
    fresh = np.isin(names, ["a03", "a11"])
    rest = ~fresh & (np.array(names) != "a00")  # a00 has met all
    seen: list[int] = []
    shards = 0
    for shard in shards_of(str(tmp_path), rules, rows, nodes, rest, fresh, None):
        shards += 1
        assert shard.order[shard.fresh_from :].tolist() == [3, 11]
        np.testing.assert_array_equal(shard.vectors, vectors[shard.order])
        seen += shard.order[: shard.fresh_from].tolist()
    assert sorted(seen) == np.flatnonzero(rest).tolist()
    assert shards == (3 if shard_rows == 1 else 1)  # four for each new one at least
    np.testing.assert_array_equal(read_vectors(str(tmp_path), RECIPE, rows), vectors)


def test_vectors_that_are_gone_or_of_other_pictures_are_told(tmp_path: Path) -> None:
    rows, _ = stored(tmp_path, [["a", "b"]])
    more = pa.concat_tables([rows, pa.table({"annotation_id": ["c"], "source_key": ["key of c"]})])
    with pytest.raises(InputError, match="1 of 3 images have no embedding"):
        read_vectors(str(tmp_path), RECIPE, more)
    other = rows.set_column(1, "source_key", pa.array(["key of a", None]))
    with pytest.raises(InputError, match="1 embeddings are of other pictures"):
        read_vectors(str(tmp_path), RECIPE, other)
