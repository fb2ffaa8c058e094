"""Embeddings of anybody, constraints, labels, and the JSON and YAML of an output folder."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.cli.options import later_config_of
from jobs.cluster.groups import Group, read_embedding_file, read_groups
from jobs.cluster.labels import relabel
from jobs.common import outputs
from reid.catalogue import read_decisions
from reid.catalogue.reviewer_decisions import IMPORT_SCHEMA, KINDS
from reid.errors import ReidError
from reid.foreign_vectors import read_foreign
from reid.metrics import evaluate
from reid.schema import ANNOTATIONS
from tests.fuzz.examples import fuzzed

pytestmark = pytest.mark.fuzz

NUMBERS = st.one_of(
    st.floats(-2, 2, width=32), st.sampled_from([float("nan"), float("inf"), 0.0, 1.0, 1e-30, 1e30])
)
NAMES = st.one_of(
    st.none(),
    st.sampled_from(["a", "b", "lynx", "NA", "=1+1", "é", "", " ", "0"]),
    st.text(max_size=4),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-5, 5), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["embed", "cluster", "files", "folders", "lynx", "digest", "eps", "note", "criterion", "curve", "thresholds", "scores"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=12,
)  # fmt: skip


def read_vectors(path: Path) -> None:
    """Read a file of embeddings; what comes out is a matrix of unit rows."""
    try:
        found = read_foreign(str(path))
    except ReidError:
        return
    assert found.vectors.dtype == np.float32
    assert found.vectors.ndim == 2
    assert found.vectors.size
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-3)
    assert all(len(column) == len(found.vectors) for column in found.texts.values())
    try:
        groups = read_embedding_file(str(path))
    except ReidError:
        return
    assert sum(len(group.rows) for group in groups) == len(found.vectors)


@fuzzed
@given(st.binary(max_size=200), st.sampled_from([".npy", ".parquet"]))
def test_any_bytes_as_embeddings(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"e{suffix}"
    path.write_bytes(data)
    read_vectors(path)
    path.write_bytes((b"\x93NUMPY\x01\x00" if suffix == ".npy" else b"PAR1") + data)
    read_vectors(path)


@fuzzed
@given(
    st.integers(0, 4), st.integers(0, 4), st.sampled_from(["f2", "f4", "f8", ">f4", "i4", "c8", "U1", "O"]),
    st.booleans(), st.integers(0, 9), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_arrays(tmp_path: Path, n: int, d: int, kind: str, unit: bool, cut: int, seed: int) -> None:
    rows = np.random.default_rng(seed).normal(size=(n, d))
    if unit and d:
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    stream = io.BytesIO()
    np.save(stream, rows.astype(kind), allow_pickle=True)
    data = stream.getvalue()
    (tmp_path / "e.npy").write_bytes(data[: len(data) - cut])
    read_vectors(tmp_path / "e.npy")


@fuzzed
@given(
    st.lists(st.one_of(st.none(), st.lists(st.one_of(st.none(), NUMBERS), max_size=3)), max_size=4),
    st.sampled_from([pa.float16(), pa.float32(), pa.float64(), pa.int32(), pa.string()]),
    st.sampled_from([pa.list_, pa.large_list, lambda kind: pa.list_(kind, 2)]),
    st.data(),
)
def test_columns_of_lists(tmp_path: Path, rows: list[Any], kind: Any, make: Any, data: Any) -> None:
    try:
        column = pa.array(rows, pa.list_(pa.float32())).cast(make(kind))
    except pa.ArrowException:
        return
    columns: dict[str, Any] = {"embedding": column}
    for name in data.draw(st.lists(st.sampled_from(["annotation_id", "identity", "species", "content_hash"]), unique=True)):  # fmt: skip
        values = data.draw(
            st.lists(st.one_of(NAMES, NUMBERS), min_size=len(rows), max_size=len(rows))
        )
        try:
            columns[name] = pa.array(values)
        except pa.ArrowException:
            columns[name] = pa.array([None if value is None else str(value) for value in values], pa.string())  # fmt: skip
    try:
        pq.write_table(pa.table(columns), tmp_path / "e.parquet")
    except pa.ArrowException:  # float16 statistics and such: nobody writes it
        return
    read_vectors(tmp_path / "e.parquet")


CELLS = st.one_of(
    st.sampled_from(
        ["a", "b", "match", "nomatch", "unknown", "eva", "2026-01-01", "9999-12-31T23:59:59-23:59", "0001-01-01T00:00+23:00",
         "", '"', "'=a", "=a", "a_id", "b_id,decision", "\n", "\r", "\0", ";", "\t"]
    ),
    st.text(max_size=5),
)  # fmt: skip


@fuzzed
@given(
    st.lists(st.sampled_from(["a_id", "b_id", "decision", "reviewer", "timestamp", "note"]), unique=True),
    st.lists(st.lists(CELLS, max_size=7), max_size=4),
    st.sampled_from([",", ";", "\t"]),
    st.sampled_from(["utf-8", "utf-16", "cp1252"]),
)  # fmt: skip
def test_constraints(
    tmp_path: Path, header: list[str], rows: list[list[str]], separator: str, encoding: str
) -> None:
    text = "\n".join(separator.join(row) for row in [header, *rows])
    path = tmp_path / "c.csv"
    path.write_bytes(text.encode(encoding, "replace"))
    try:
        found = read_decisions(str(path))
    except ReidError as error:
        assert "c.csv" in str(error)  # noqa: PT017
        return
    assert found.schema == IMPORT_SCHEMA
    for row in found.to_pylist():
        assert row["a_id"] < row["b_id"]
        assert row["decision"] in KINDS


@fuzzed
@given(st.binary(max_size=200))
def test_any_bytes_as_constraints(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "c.csv").write_bytes(data)
    try:
        read_decisions(str(tmp_path / "c.csv"))
    except ReidError:
        return


def group(n: int = 4) -> Group:
    rows = [
        {"annotation_id": f"a{k}", "image_path": f"i{k // 2}.jpg", "root": "/", "species": "lynx", "image_id": str(k)}
        for k in range(n)
    ]  # fmt: skip
    vectors = np.eye(n, dtype=np.float32)
    return Group("lynx", pa.Table.from_pylist(rows, schema=ANNOTATIONS), vectors, None, "")


@fuzzed
@given(
    st.lists(st.sampled_from(["annotation_id", "path", "image_id", "identity", "encounter_id", "timestamp"]), max_size=4),
    st.lists(st.lists(st.one_of(st.sampled_from(["a0", "a1", "i0.jpg", "1", "Luna", "NA", "2024-01-01", '"', ""]), st.text(max_size=4)), min_size=1, max_size=4), max_size=5),
)  # fmt: skip
def test_labels(tmp_path: Path, header: list[str], rows: list[list[str]]) -> None:
    path = tmp_path / "l.csv"
    path.write_text("\n".join(",".join(row) for row in [header, *rows]), encoding="utf-8")
    try:
        (found,), _ = relabel([group()], str(path))
        assert len(found.rows) == 4
        evaluate(found.vectors, found.identities, resamples=2)
    except ReidError:
        return


@fuzzed
@given(st.one_of(JSON.map(json.dumps), st.text(max_size=30)), st.sampled_from([outputs.SUMMARY, outputs.TUNING]))  # fmt: skip
def test_json_of_an_output_folder(tmp_path: Path, text: str, name: str) -> None:
    for file in tmp_path.iterdir():
        file.unlink()
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    for read in (
        lambda: outputs.read_summary(str(tmp_path)),
        lambda: outputs.read_tuning(str(tmp_path), ["lynx"]),
        lambda: outputs.read_failures(str(tmp_path)),
        lambda: read_groups(str(tmp_path)),
    ):
        try:
            read()
        except ReidError:
            continue


@fuzzed
@given(st.one_of(JSON.map(json.dumps), st.text(max_size=30), st.binary(max_size=30)))
def test_yaml_of_an_output_folder(tmp_path: Path, text: str | bytes) -> None:
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    (tmp_path / outputs.CONFIG).write_bytes(data)
    try:
        later_config_of(None, [], out=str(tmp_path))
    except ReidError:
        return
