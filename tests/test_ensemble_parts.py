"""An ensemble joined from what its models have in the store."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from reid import embeddings, schema
from reid.ensemble_parts import join_stored


def part(folder: Path, ids: str, vectors: np.ndarray, *, key: str = "k") -> None:
    folder.mkdir(exist_ok=True)
    rows = [
        {
            "annotation_id": one,
            "species": "lynx",
            "embedding": vector,
            "content_hash": f"hash {one}",
            "source_key": f"{key}{one}",
            "width": 4,
            "height": 3,
        }
        for one, vector in zip(ids, vectors, strict=True)
    ]
    table = pa.Table.from_pylist(rows, schema=schema.embeddings(vectors.shape[1]))
    embeddings.write_part(embeddings.part_path(str(folder), embeddings.part_digest(ids)), table)


def unit(rows: int, dimension: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(rows, dimension))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


def wanted(ids: str) -> pa.Table:
    return pa.table({"annotation_id": [*ids], "source_key": [f"k{one}" for one in ids]})


def test_the_cosine_is_the_weighted_mean_and_other_columns_stay(tmp_path: Path) -> None:
    one, two = unit(4, 5, 1), unit(4, 3, 2)
    part(tmp_path / "one", "abcd", one)
    part(tmp_path / "two", "abcd", two)
    members = [str(tmp_path / name) for name in ("one", "two")]
    done = join_stored(str(tmp_path / "both"), members, [0.75, 0.25], wanted("dbca"))
    assert sorted(done.to_pylist()) == [*"abcd"]
    found = embeddings.read_embeddings(str(tmp_path / "both"), [*"abcd"])
    np.testing.assert_allclose(
        found.vectors @ found.vectors.T, 0.75 * one @ one.T + 0.25 * two @ two.T, atol=1e-6
    )
    assert found.content_hashes.tolist() == [f"hash {one}" for one in "abcd"]


def test_what_only_one_model_has_or_has_changed_is_left_to_be_embedded(tmp_path: Path) -> None:
    for seed, name in enumerate(("one", "two")):
        part(tmp_path / name, "ab", unit(2, 3, seed))
    part(tmp_path / "one", "cd", unit(2, 3, 5))  # the other has never seen these
    part(tmp_path / "one", "ef", unit(2, 3, 6))  # nor these as they are now
    part(tmp_path / "two", "ef", unit(2, 3, 7), key="old")
    members = [str(tmp_path / name) for name in ("one", "two")]
    asked = wanted("abcdef").set_column(
        1, "source_key", [[*["ka", "new"], *["kc", "kd", "ke", "kf"]]]
    )
    done = join_stored(str(tmp_path / "both"), members, [0.5, 0.5], asked)
    assert done.to_pylist() == ["a"]
    assert join_stored(str(tmp_path / "both"), members, [0.5, 0.5], wanted("")).to_pylist() == []
