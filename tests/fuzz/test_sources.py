"""Tables, lists, globs, dates and boxes of every kind: a result, failures, or a ReidError."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid import schema
from reid.errors import ReidError
from reid.sources import How, read_sources
from reid.sources.box_columns import read_boxes
from reid.sources.dates import read_dates
from reid.sources.globs import matcher
from tests.fuzz.examples import fuzzed

pytestmark = pytest.mark.fuzz

HEADERS = st.sampled_from(
    [
        "path", "image_path", "File", "RelativePath", "identity", "name", "individualID", "species", "date", "Time",
        "timestamp", "utc_offset_minutes", "bbox", "x", "y", "w", "h", "bbox_unit", "annotation_id", "image_id",
        "encounter_id", "location", "viewpoint", "", "remarks", "sep=;",
    ]
)  # fmt: skip
CELLS = st.one_of(
    st.sampled_from(
        [
            "", "NA", "#REF!", "a.jpg", "b.JPG", "./a.jpg", "../a.jpg", "/dev/zero", "/", "C:\\x\\a.jpg", "s://x",
            "[1, 2, 30, 40]", "[nan, 1, 2, 3]", "0.1 0.2 0.3 0.4", "1e309", "12", "12.0", "1e+05", "2021:04:11 20:43:09",
            "13/04/2021", "04/13/21", "24:00", "1970-01-01", "relative", '"', "a\nb", "\r", "\0.jpg", "+02:00", "9" * 400,
        ]
    ),
    st.text(max_size=8),
)  # fmt: skip


def read(path: Path) -> None:
    """Read a source; what comes out is whole."""
    try:
        found = read_sources([str(path)], How())
    except ReidError:
        return
    assert found.annotations.schema == schema.ANNOTATIONS
    assert found.failures.schema == schema.FAILURES
    found.annotations.validate(full=True)
    ids = found.annotations["annotation_id"].to_pylist()
    assert len(ids) == len(set(ids)) > 0
    assert all(len(flags) == len(ids) for flags in found.given.values())
    boxes = [box for box in found.annotations["bbox"].to_pylist() if box is not None]
    assert np.isfinite(boxes).all()


@fuzzed
@given(st.binary(max_size=300), st.sampled_from([".csv", ".parquet", ".txt", ".tsv"]))
def test_any_bytes(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(data.replace(b"/", b"|"))  # a list may name the whole disk
    read(path)


@fuzzed
@given(
    st.lists(HEADERS, min_size=1, max_size=6),
    st.lists(st.lists(CELLS, min_size=1, max_size=6), max_size=5),
    st.sampled_from(",;\t"),
    st.sampled_from(["utf-8", "utf-16", "cp1252"]),
    st.booleans(),
)
def test_tables(
    tmp_path: Path,
    header: list[str],
    rows: list[list[str]],
    separator: str,
    encoding: str,
    even: bool,
) -> None:
    if even:
        rows = [(row * len(header))[: len(header)] for row in rows]
    text = "\n".join(separator.join(row) for row in [header, *rows])
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode(encoding, "replace"))
    read(path)


@fuzzed
@given(
    st.lists(HEADERS.filter(bool), min_size=1, max_size=5, unique=True),
    st.sampled_from(
        [pa.string(), pa.int64(), pa.float32(), pa.bool_(), pa.timestamp("ns", "UTC"), pa.date32(), pa.time32("s"),
         pa.list_(pa.float64()), pa.list_(pa.string()), pa.binary(), pa.null(), pa.decimal128(5, 2),
         pa.dictionary(pa.int8(), pa.string()), pa.struct([("a", pa.int64())])]
    ),
    st.integers(0, 3),
)  # fmt: skip
def test_parquet_of_every_type(
    tmp_path: Path, header: list[str], kind: pa.DataType, n: int
) -> None:
    columns = {name: pa.nulls(n, kind) for name in header}
    columns["path"] = pa.array([f"{i}.jpg" for i in range(n)], pa.string())
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    read(tmp_path / "t.parquet")


@fuzzed
@given(st.binary(min_size=1, max_size=8), st.integers(0, 2000))
def test_damaged_parquet(tmp_path: Path, damage: bytes, at: int) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(
        pa.table({"path": ["a.jpg", "b.jpg"], "bbox": [[1.0, 2.0, 3.0, 4.0], None]}), path
    )
    data = bytearray(path.read_bytes())
    at %= len(data)
    data[at : at + len(damage)] = damage
    path.write_bytes(data)
    read(path)


@fuzzed
@given(
    st.lists(st.one_of(CELLS, st.sampled_from(["l.txt", ".", "*", "**/*", "a.jpg"])), max_size=6)
)
def test_lists(tmp_path: Path, lines: list[str]) -> None:
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "l.txt"
    kept = [line for line in lines if line.strip("/.\\ \n\r") or not line]  # not the whole disk
    path.write_bytes("\n".join(kept).encode("utf-8", "replace"))
    read(path)


JSON = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=4),
        st.sampled_from(["a.jpg", "E:\\x\\a.jpg", "v.mp4", "animal", "1", "0", 0.9, 10**400, [0.1, 0.1, 0.5, 0.5]]),
    ),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            [
                "file", "file_name", "filepath", "detections", "category", "conf", "bbox", "bbox_relative", "failure",
                "failures", "id", "image_id", "category_id", "label", "datetime", "location", "seq_id", "name", "path",
                "data", "mediaID", "filePath", "deploymentID", "observationType", "count", "individualID", "bboxX",
                "classifications", "exif_metadata", "prediction", "processed_classification", "corrupt", "info",
            ]
        ),
        inner,
        max_size=6,
    ),
    max_leaves=12,
)  # fmt: skip


@fuzzed
@given(
    st.dictionaries(
        st.sampled_from(
            ["images", "annotations", "categories", "detection_categories", "classification_categories",
             "predictions", "instances", "resources", "project", "info"]
        ),
        JSON,
        max_size=6,
    )
)  # fmt: skip
def test_json_of_other_programs(tmp_path: Path, data: dict[str, object]) -> None:
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "x.json"
    path.write_text(json.dumps(data))
    read(path)


@fuzzed
@given(
    st.lists(JSON, max_size=3),
    st.lists(JSON, max_size=3),
    st.lists(JSON, max_size=3),
    st.booleans(),
)
def test_packages(
    tmp_path: Path, media: list[object], places: list[object], seen: list[object], trusted: bool
) -> None:
    (tmp_path / "a.jpg").touch()
    path = tmp_path / "datapackage.json"
    tables = {"media": media, "deployments": places, "observations": seen}
    resources = [{"name": name, "data": rows} for name, rows in tables.items()]
    path.write_text(json.dumps({"resources": resources, "project": {"individualAnimals": trusted}}))
    read(path)


@fuzzed
@given(st.binary(max_size=400), st.sampled_from([".json", ".zip", ".xlsx", ".xls", ".ods"]))
def test_any_bytes_of_other_programs(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"t{suffix}"
    path.write_bytes(data)
    read(path)


@fuzzed
@given(st.text("ab*?[]!-/.\\\0", max_size=60), st.text("ab/.", max_size=200))
def test_globs(pattern: str, path: str) -> None:
    try:
        matches, depth = matcher(pattern)
    except ReidError:
        return
    assert matches(path) in (True, False)
    assert depth is None or depth >= 0


@fuzzed
@given(
    st.lists(st.one_of(CELLS, st.text("0123456789-:/. TZ+", max_size=24)), min_size=1, max_size=4)
)
def test_dates(cells: list[str]) -> None:
    column = pa.array([cell.encode("utf-8", "replace").decode() for cell in cells])
    try:
        times = read_dates(column)
    except ReidError:
        return
    assert len(times.timestamp) == len(times.offset) == len(cells)
    assert all(one is None or one.year >= 1990 for one in times.timestamp.to_pylist())


@fuzzed
@given(
    st.integers(1, 4).flatmap(
        lambda n: st.tuples(*[st.lists(CELLS, min_size=n, max_size=n) for _ in range(4)])
    ),
    st.booleans(),
)
def test_boxes(cells: tuple[list[str], ...], corners: bool) -> None:
    columns = [
        pa.array([cell.encode("utf-8", "replace").decode() for cell in column]) for column in cells
    ]
    for chosen in (columns, columns[:1]):
        try:
            found = read_boxes(chosen, corners=corners)
        except ReidError:
            continue
        assert found.values.shape == (len(cells[0]), 4)
        whole = np.isnan(found.values)
        assert (whole.all(axis=1) | ~whole.any(axis=1)).all()
