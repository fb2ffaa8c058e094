from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid import embeddings, schema, store
from reid.errors import DamagedError


def write_part(folder: str, ids: list[str], dimension: int = 3, shift: float = 0.0) -> str:
    """A part whose vectors tell the annotation: (number in the id + shift, 0, …)."""
    vectors = np.zeros((len(ids), dimension), np.float32)
    vectors[:, 0] = [int(name[1:]) + shift for name in ids]
    table = pa.Table.from_arrays(
        [
            pa.array(ids),
            pa.array(["lynx"] * len(ids)),
            pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), dimension),
            pa.array([f"hash of {name}" for name in ids]),
            pa.array([f"key of {name}" for name in ids]),
            pa.array([10] * len(ids), pa.int32()),
            pa.array([20] * len(ids), pa.int32()),
            pa.nulls(len(ids), pa.timestamp("us")),
            pa.nulls(len(ids), pa.int16()),
        ],
        schema=schema.embeddings(dimension),
    )
    path = store.join(folder, f"part-{embeddings.part_digest(ids)}.parquet")
    store.write_table(path, table)
    return path


def write_failures(folder: str, ids: list[str]) -> None:
    table = pa.table(
        [ids, ["x.jpg"] * len(ids), ["read"] * len(ids), ["missing"] * len(ids)],
        schema=schema.FAILURES,
    )
    store.write_table(store.join(folder, f"failed-{embeddings.part_digest(ids)}.parquet"), table)


def test_a_part_is_named_by_its_annotations_in_order() -> None:
    digest = embeddings.part_digest(["a", "b"])
    assert digest == embeddings.part_digest(iter(["a", "b"]))
    assert len(digest) == 16
    others = [["b", "a"], ["ab"], ["a"], ["a", "b", ""], []]
    assert len({digest, *map(embeddings.part_digest, others)}) == len(others) + 1


def test_only_parts_are_read(tmp_path: Path) -> None:
    folder = str(tmp_path)
    part = write_part(folder, ["a1"])
    write_failures(folder, ["a2"])
    for name in ("recipe.json", ".part-1.parquet.x7", "part-1.txt", "work-1/pending.parquet"):
        store.write_bytes(store.join(folder, name), b"not a table")
    assert embeddings.parts(folder) == [part]
    assert embeddings.stored_ids(folder).to_pylist() == ["a1"]
    assert embeddings.read_failures(folder)["annotation_id"].to_pylist() == ["a2"]


def test_a_folder_that_does_not_exist_is_empty(tmp_path: Path) -> None:
    folder = str(tmp_path / "no")
    assert embeddings.parts(folder) == []
    assert embeddings.stored_ids(folder).to_pylist() == []
    assert embeddings.stored_ids(folder).type == pa.string()
    assert embeddings.read_failures(folder).equals(schema.FAILURES.empty_table())
    read = embeddings.read_embeddings(folder, ["a1"])
    assert (len(read.vectors), len(read.found), len(read.content_hashes)) == (0, 0, 0)


def test_rows_come_in_the_order_asked_for(tmp_path: Path) -> None:
    folder = str(tmp_path)
    write_part(folder, ["a5", "a1", "a4"])
    write_part(folder, ["a2", "a0"])
    read = embeddings.read_embeddings(folder, ["a0", "a9", "a1", "a5", "a2"])
    np.testing.assert_array_equal(read.found, [0, 2, 3, 4])
    np.testing.assert_array_equal(read.vectors[:, 0], [0, 1, 5, 2])
    assert list(read.content_hashes) == [f"hash of a{i}" for i in (0, 1, 5, 2)]
    assert read.vectors.dtype == np.float32


def test_parts_whose_ids_are_known_are_not_read(tmp_path: Path) -> None:
    folder = str(tmp_path)
    known = write_part(folder, ["a1"])
    write_part(folder, ["a2"])
    Path(known).write_bytes(b"not a table")
    assert embeddings.stored_ids(folder, but={known}).to_pylist() == ["a2"]


def test_a_part_that_another_run_takes_out_meanwhile_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path)
    written = [write_part(folder, [name]) for name in ("a1", "a2")]
    parts = embeddings.parts

    def then_taken_out(folder: str) -> list[str]:
        found = parts(folder)
        store.remove(written[0])
        return found

    monkeypatch.setattr(embeddings, "parts", then_taken_out)
    assert embeddings.stored_ids(folder).to_pylist() == ["a2"]
    write_part(folder, ["a1"])
    now = pa.table({"annotation_id": ["a2"], "source_key": ["key of a2"]})
    assert list(embeddings.drop_changed(folder, now)[1]) == [written[1]]
    write_part(folder, ["a1"])
    assert embeddings.read_embeddings(folder, ["a1", "a2"]).found.tolist() == [1]


def test_a_row_that_is_stored_twice_is_read_once(tmp_path: Path) -> None:
    folder = str(tmp_path)
    write_part(folder, ["a1", "a2"])
    write_part(folder, ["a2", "a3"])
    read = embeddings.read_embeddings(folder, ["a1", "a2", "a3"])
    np.testing.assert_array_equal(read.found, [0, 1, 2])
    np.testing.assert_array_equal(read.vectors[:, 0], [1, 2, 3])


@given(
    parts=st.lists(
        st.lists(st.integers(0, 25).map("a{}".format), min_size=1, max_size=6, unique=True),
        max_size=5,
    ),
    wanted=st.lists(st.integers(0, 30).map("a{}".format), unique=True),
)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_however_rows_lie_in_parts_they_are_found(
    tmp_path: Path, parts: list[list[str]], wanted: list[str]
) -> None:
    folder = str(tmp_path / "store")
    store.remove(folder)
    for ids in parts:
        write_part(folder, ids)
    stored = {name for ids in parts for name in ids}
    read = embeddings.read_embeddings(folder, wanted)
    expected = [i for i, name in enumerate(wanted) if name in stored]
    assert read.found.tolist() == expected
    assert read.vectors[:, :1].ravel().tolist() == [float(wanted[i][1:]) for i in expected]
    assert list(read.content_hashes) == [f"hash of {wanted[i]}" for i in expected]


def test_ids_may_be_an_arrow_array(tmp_path: Path) -> None:
    write_part(str(tmp_path), ["a1", "a2"])
    read = embeddings.read_embeddings(str(tmp_path), pa.array(["a2"]))
    assert read.vectors[:, 0].tolist() == [2]


def test_a_broken_part_is_an_error_that_names_it(tmp_path: Path) -> None:
    path = write_part(str(tmp_path), ["a1"])
    Path(path).write_bytes(Path(path).read_bytes()[:-7])
    with pytest.raises(DamagedError, match=Path(path).name):
        embeddings.read_embeddings(str(tmp_path), ["a1"])


def test_what_another_picture_has_taken_the_name_of_is_dropped(tmp_path: Path) -> None:
    folder = str(tmp_path)
    write_part(folder, ["a1", "a2", "a3"])
    write_part(folder, ["a4"])
    now = pa.table(
        {
            "annotation_id": ["a2", "a1", "a4", "a9"],
            "source_key": ["another picture", "key of a1", "another picture", "key of a9"],
        }
    )
    dropped, stay = embeddings.drop_changed(folder, now)
    assert dropped == 2
    assert [ids.to_pylist() for ids in stay.values()] == [["a1", "a3"]]
    assert list(stay) == embeddings.parts(folder)
    assert embeddings.stored_ids(folder).to_pylist() == ["a1", "a3"], "a3 was not asked about"
    assert len(embeddings.parts(folder)) == 1, "a part without rows goes"
    assert embeddings.drop_changed(folder, now) == (0, stay)
    kept = embeddings.read_embeddings(folder, ["a3", "a1"])
    assert kept.vectors[:, 0].tolist() == [3, 1]
    assert kept.source_keys.tolist() == ["key of a3", "key of a1"]


def test_a_part_that_is_gone_is_missed(tmp_path: Path) -> None:
    folder = str(tmp_path)
    write_part(folder, ["a1", "a2"])
    ids = pa.array(["a1", "a2", "a3"])
    found = embeddings.read_embeddings(folder, ids).found
    embeddings.check_accounted(ids, found, pa.array(["a3", "a9"]), folder)
    with pytest.raises(DamagedError, match=r"1 of 3 annotations have neither .* example a3.*again"):
        embeddings.check_accounted(ids, found, pa.array([], pa.string()), folder)


def test_a_part_of_another_recipe_is_refused(tmp_path: Path) -> None:
    ours, theirs = (str(tmp_path / name) for name in ("ours", "theirs"))
    path = write_part(theirs, ["a1"])
    table = store.read_table(path)
    embeddings.write_part(path, table)
    embeddings.write_part(f"{ours}/{path.rpartition('/')[2]}", table)
    assert len(embeddings.read_embeddings(ours, ["a1"]).found) == 1
    Path(path).replace(f"{ours}/{path.rpartition('/')[2]}")
    with pytest.raises(DamagedError, match="belongs to recipe 'theirs'"):
        embeddings.read_embeddings(ours, ["a1"])
