import io
import pickle
import zipfile
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reid.errors import InputError
from reid.foreign_vectors import read_foreign


def rows(n: int = 6, d: int = 64) -> np.ndarray:
    vectors = np.random.default_rng(0).normal(size=(n, d))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def npy(value: Any, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, value, **options)
    return stream.getvalue()


def parquet(columns: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table(columns), stream)
    return stream.getvalue()


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_unit_rows_stay_as_they_are(tmp_path: Path, kind: type) -> None:
    found = read_foreign(write(tmp_path / "e.npy", npy(rows().astype(kind))))
    np.testing.assert_array_equal(found.vectors, rows().astype(np.float32))
    assert found.notes == []


@pytest.mark.parametrize("stored", [np.float16, np.float32])
def test_rows_that_were_rounded_to_float16_are_made_unit_again(
    tmp_path: Path, stored: type
) -> None:
    # Half of the values of one size, so that all roundings go one way.
    vector = np.full((3, 1023), np.sqrt(1 / 1023))
    half = vector.astype(np.float16)
    assert abs(np.linalg.norm(half.astype(float), axis=1) - 1).max() > 1e-4
    found = read_foreign(write(tmp_path / "e.npy", npy(half.astype(stored))))
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-6)
    assert "rounded to float16" in found.notes[0]


def test_other_rows_that_are_not_unit_are_refused(tmp_path: Path) -> None:
    for scale in (1.0005, 2.0, 0.0):
        for kind in (np.float32, np.float16):
            if scale == 1.0005 and kind is np.float16:
                continue  # within what the rounding explains
            with pytest.raises(InputError, match="are not of unit length"):
                read_foreign(write(tmp_path / "e.npy", npy((scale * rows()).astype(kind))))
    broken = rows().astype(np.float32)
    broken[3, 1] = np.nan
    with pytest.raises(InputError, match=r"1 of 6 rows hold NaN or infinite values.*row 3"):
        read_foreign(write(tmp_path / "e.npy", npy(broken)))


class Bomb:
    def __reduce__(self) -> Any:
        return (pytest.fail, ("unpickled",))


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    objects = np.empty(1, object)
    objects[0] = Bomb()
    for content in (pickle.dumps(Bomb()), npy(objects, allow_pickle=True)):
        with pytest.raises(InputError, match=r"e\.npy: cannot be read as a \.npy file"):
            read_foreign(write(tmp_path / "e.npy", content))


def zipped() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("arr_0.npy", npy(rows()))
    return stream.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (zipped(), "this is a zip file"),
        (b"", "cannot be read"),
        (npy(rows())[:200], "cannot be read"),
        (npy(np.arange(6)), r"shape \(6,\) and type int64"),
        (npy(rows()[None]), r"shape \(1, 6, 64\)"),
        (npy(rows()[:0]), "no rows"),
        (npy(rows()[:, :0]), "no values in its rows"),
        (npy(np.array([["a"]])), "type <U1"),
    ],
)
def test_arrays_that_are_no_embeddings(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_foreign(write(tmp_path / "e.npy", content))


LIST = pa.list_(pa.float32())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"vector": rows().tolist()}, "no column `embedding`; found: vector"),
        ({"embedding": ["[0, 1]", "[1, 0]"]}, "`embedding` is string; expected lists of floats"),
        ({"embedding": [["a"], ["b"]]}, r"`embedding` is list<.*string>"),
        ({"embedding": [1.0, 0.0]}, "`embedding` is double"),
        ({"embedding": pa.array([[1.0], [1.0, 0.0]], LIST)}, r"rows of different lengths \(1, 2\)"),
        ({"embedding": pa.array([[1.0], None], LIST)}, "1 rows have no embedding"),
        ({"embedding": pa.array([[1.0, None]], LIST)}, "1 values of `embedding` are null"),
        ({"embedding": pa.array([], LIST)}, "no rows"),
        ({"embedding": pa.array([[]], LIST)}, "no values in its rows"),
        ({"embedding": pa.array([[1.0]], LIST), "identity": [["a"]]}, "column identity is list"),
        ({"embedding": pa.array([[1.0]], LIST), "timestamp": ["noon"]}, "without a time zone"),
    ],
)
def test_tables_that_are_no_embeddings(tmp_path: Path, columns: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_foreign(write(tmp_path / "e.parquet", parquet(columns)))


def test_columns_of_numbers_are_texts(tmp_path: Path) -> None:
    columns = {
        "embedding": rows(3).tolist(),
        "annotation_id": [1.0, 2.0, 3.5],
        "identity": [7.0, None, float("nan")],
        "species": pa.array(["a", "b", "a"]).dictionary_encode(),
    }
    found = read_foreign(write(tmp_path / "e.parquet", parquet(columns)))
    assert found.texts == {
        "annotation_id": ["1", "2", "3.5"], "identity": ["7", None, None], "species": ["a", "b", "a"],
    }  # fmt: skip


def test_time_and_place_are_kept_and_what_is_not_read_is_said(tmp_path: Path) -> None:
    noon = datetime(2024, 5, 1, 12)
    columns = {
        "embedding": rows(2).tolist(),
        "location_id": ["waterhole", None],
        "viewpoint": ["left", "right"],
        "timestamp": pa.array([noon, None], pa.timestamp("s")),
        "weather": ["dry", "dry"],
        "width": [1, 2],
    }
    found = read_foreign(write(tmp_path / "e.parquet", parquet(columns)))
    assert found.texts == {"viewpoint": ["left", "right"], "location_id": ["waterhole", None]}
    assert found.times is not None
    assert found.times.to_pylist() == [noon, None]
    assert found.times.type == pa.timestamp("us")
    (note,) = found.notes
    assert note.endswith("columns that are not read: weather")


def test_names_that_are_no_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_foreign(str(tmp_path / "none.npy"))
    with pytest.raises(InputError, match=r"unknown ending \.csv; known: \.npy, \.parquet"):
        read_foreign(str(tmp_path / "e.csv"))
    (tmp_path / "folder.npy").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_foreign(str(tmp_path / "folder.npy"))
