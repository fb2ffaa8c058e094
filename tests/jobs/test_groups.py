"""Anybody's embeddings, and what is wrong with some of them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cluster.groups import read_embedding_file, read_groups
from reid.errors import InputError


def rows(n: int = 6, d: int = 4) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_npy(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", rows().astype(np.float64))
    (group,) = read_embedding_file(str(tmp_path / "e.npy"), species="lynx")
    assert group.species == "lynx"
    assert group.vectors.dtype == np.float32
    np.testing.assert_allclose(group.vectors, rows(), atol=1e-6)
    assert group.rows["annotation_id"].to_pylist() == ["0", "1", "2", "3", "4", "5"]
    assert set(group.identities) == {None}


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float32()), pa.list_(pa.float64(), 4), pa.large_list(pa.float16())]
)
def test_parquet_of_any_list_type_is_split_by_species(tmp_path: Path, kind: pa.DataType) -> None:
    table = pa.table(
        {
            "embedding": pa.array(rows().astype(np.float16 if "half" in str(kind) else np.float32).tolist()).cast(kind),
            "annotation_id": list("abcdef"),
            "species": ["lynx", "tiger", None, "lynx", "tiger", "lynx"],
            "identity": ["x", None, "y", "x", None, None],
        }
    )  # fmt: skip
    pq.write_table(table, tmp_path / "e.parquet")
    groups = {group.species: group for group in read_embedding_file(str(tmp_path / "e.parquet"))}
    assert {name: group.rows["annotation_id"].to_pylist() for name, group in groups.items()} == {
        "lynx": ["a", "d", "f"], "tiger": ["b", "e"], "unknown": ["c"],
    }  # fmt: skip
    assert groups["lynx"].identities.tolist() == ["x", "x", None]
    np.testing.assert_allclose(groups["tiger"].vectors, rows()[[1, 4]], atol=1e-2)


def parquet(path: Path, **columns: object) -> None:
    pq.write_table(pa.table(columns), path)


def test_bad_files(tmp_path: Path) -> None:
    def refused(name: str, match: str) -> None:
        with pytest.raises(InputError, match=match):
            read_embedding_file(str(tmp_path / name))

    refused("gone.npy", "no such file")
    (tmp_path / "e.csv").touch()
    refused("e.csv", r"unknown ending \.csv")
    (tmp_path / "text.npy").write_text("text")
    refused("text.npy", "cannot be read")
    np.save(tmp_path / "flat.npy", np.zeros(3, np.float32))
    refused("flat.npy", r"shape \(3,\)")
    np.save(tmp_path / "none.npy", np.zeros((0, 3), np.float32))
    refused("none.npy", "no rows")
    np.save(tmp_path / "objects.npy", np.asarray([{}], dtype=object), allow_pickle=True)
    refused("objects.npy", "cannot be read")
    (tmp_path / "text.parquet").write_text("text")
    refused("text.parquet", "cannot be read")
    parquet(tmp_path / "other.parquet", features=[[1.0]])
    refused("other.parquet", "no column `embedding`; found: features")
    parquet(tmp_path / "number.parquet", embedding=[1.0])
    refused("number.parquet", "`embedding` is double")
    parquet(tmp_path / "mixed.parquet", embedding=[[1.0], [1.0, 0.0]])
    refused("mixed.parquet", "rows of different lengths")
    parquet(tmp_path / "twice.parquet", embedding=[[1.0], [1.0]], annotation_id=["a", "a"])
    refused("twice.parquet", "annotation_id is missing or repeated")
    parquet(tmp_path / "empty.parquet", embedding=pa.array([], pa.list_(pa.float32())))
    refused("empty.parquet", "no rows")


def test_a_folder_without_a_run_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `reid embed` first"):
        read_groups(str(tmp_path))


def test_labels_that_say_unknown_are_no_individual(tmp_path: Path) -> None:
    parquet(
        tmp_path / "e.parquet",
        embedding=rows().tolist(),
        identity=["x", "Unknown", "", "nan", "x", None],
        content_hash=list("aabcde"),
    )
    (group,) = read_embedding_file(str(tmp_path / "e.parquet"))
    assert group.identities.tolist() == ["x", None, None, None, "x", None]
    assert group.content_hashes is not None
    assert group.content_hashes.tolist() == list("aabcde")
