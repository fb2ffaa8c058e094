import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reid import store
from reid.errors import DamagedError

TABLE = pa.table(
    {
        "id": [f"a{k}" for k in range(50)],
        "value": [k / 7 for k in range(50)],
        "box": pa.array(
            [[k, 1, 2, 3] if k % 3 else None for k in range(50)], pa.list_(pa.float32(), 4)
        ),
    }
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    store.write_table(str(tmp_path / "t.parquet"), TABLE, about={"recipe": "one"})
    return tmp_path / "t.parquet"


def test_a_table_comes_back_without_what_was_noted_of_it(path: Path) -> None:
    assert store.read_table(str(path)).schema.metadata is None
    assert store.read_table(str(path)).equals(TABLE)
    assert store.read_table(str(path), ["value"]).equals(TABLE.select(["value"]))
    assert pq.read_table(path).schema.remove_metadata() == TABLE.schema


def test_no_flipped_bit_gives_another_table(path: Path) -> None:
    whole = path.read_bytes()
    rng = random.Random(0)
    ends = {"same": 0, "error": 0}
    for _ in range(300):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        for columns in (None, ["id"]):
            try:
                found = store.read_table(str(path), columns)
            except DamagedError:
                ends["error"] += 1
            else:
                assert found.to_pydict() == TABLE.select(columns or TABLE.column_names).to_pydict()
                ends["same"] += 1
    assert ends["error"] > 300


def test_a_file_of_somewhere_else_is_refused(path: Path) -> None:
    assert store.read_table(str(path), about={"recipe": "one"}).equals(TABLE)
    with pytest.raises(DamagedError, match="belongs to recipe 'one', here is the place of 'two'"):
        store.read_table(str(path), about={"recipe": "two"})


def test_files_of_other_tools_and_of_before_are_read(path: Path) -> None:
    pq.write_table(TABLE, path)
    assert store.read_table(str(path), about={"recipe": "two"}).equals(TABLE)


def test_views_are_plain_texts(path: Path) -> None:
    pq.write_table(pa.table({"id": pa.array(["a", None], pa.string_view())}), path)
    assert store.read_table(str(path)).equals(pa.table({"id": ["a", None]}))


def test_a_column_that_is_not_there_is_named(path: Path) -> None:
    with pytest.raises(DamagedError, match="no column cluster; it has id, value, box"):
        store.read_table(str(path), ["id", "cluster"])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1PAR1", b"{}", b"\x00" * 100])
def test_what_is_no_parquet_is_damaged(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DamagedError, match="restore it from a copy"):
        store.read_table(str(path))
    with pytest.raises(DamagedError):
        store.read_row_group(str(path), 0)


def test_json_that_was_changed_is_noticed(tmp_path: Path) -> None:
    path = str(tmp_path / "s.json")
    store.write_sealed(path, {"embed": {"n": 3}, "é": [1.5, None]})
    assert store.read_sealed(path) == {"embed": {"n": 3}, "é": [1.5, None]}
    text = Path(path).read_text()
    Path(path).write_text(text.replace('"n": 3', '"n": 4'))
    with pytest.raises(DamagedError, match="changed after it was written"):
        store.read_sealed(path)
    for content in ("", "[1]", "{", "\x00", "[" * 100_000):
        Path(path).write_text(content)
        with pytest.raises(DamagedError, match=r"s\.json"):
            store.read_sealed(path)
    Path(path).write_text('{"embed": {}}')  # of before there were digests
    assert store.read_sealed(path) == {"embed": {}}


def test_a_table_without_a_column_that_is_wanted_coded_is_another(path: Path) -> None:
    with pytest.raises(DamagedError, match=r"no column.*species"):
        store.read_coded_table(str(path), ["species"], ["species"])


@pytest.mark.parametrize("kind", [pa.float32(), pa.float16()])
def test_vectors_are_written_as_they_are_and_all_else_packed(
    tmp_path: Path, kind: pa.DataType
) -> None:
    rows = 100
    table = pa.table(
        {
            "id": ["the same"] * rows,
            "vector": pa.array([[0.5] * 32] * rows, pa.list_(kind, 32)),
            "box": pa.array([[1, 2, 3, 4]] * rows, pa.list_(pa.float32(), 4)),
            "others": pa.array([["a", "b"]] * rows),
            "nested": pa.array([{"x": 1, "y": [2.0]}] * rows),
            "coded": pa.array(["a", "b"] * (rows // 2)).dictionary_encode(),
        }
    )
    path = str(tmp_path / "t.parquet")
    store.write_table(path, table)
    assert (
        store.read_table(path)
        .select(["vector", "nested"])
        .equals(table.select(["vector", "nested"]))
    )
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(place) for place in range(group.num_columns)]
    packed = {one.path_in_schema: (one.compression, one.has_dictionary_page) for one in columns}
    assert packed.pop("vector.list.element") == ("UNCOMPRESSED", False)
    assert set(packed.values()) == {("ZSTD", True)}
    assert store.read_table(path, []).num_columns == 0
    store.write_table(path, pa.table({}))
