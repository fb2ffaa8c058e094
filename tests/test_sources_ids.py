"""Ids and keys of many rows, made a column at a time, against those of one row."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid import store
from reid.sources import annotation_id, ids, read_sources, source_key
from reid.sources.remote_files import look_at_objects

# Whole pixels, shares, ties of the third decimal, numbers that are written with an exponent.
_COORDINATE = st.one_of(
    st.integers(-5, 9000).map(float),
    st.floats(0, 1),
    st.integers(0, 10**7).map(lambda value: value / 10_000),
    st.floats(-1e7, 1e7),
    st.sampled_from([-0.0, 1e-5, 0.0005, 2.0005, 1e-300, 8_388_609.5]),
)


@given(
    rows=st.lists(
        st.tuples(
            st.none() | st.tuples(*[_COORDINATE] * 4),
            st.booleans(),
            st.none() | st.just("s3://b/ä"),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_ids_and_keys_are_made_a_column_at_a_time_to_the_letter(
    rows: list[tuple[tuple[float, ...] | None, bool, str | None]],
) -> None:
    boxes = np.asarray([[np.nan] * 4 if box is None else box for box, _, _ in rows], np.float64)
    relative = np.asarray([shares for _, shares, _ in rows])
    paths = pa.array([f"n1/ü{row}.jpg" for row in range(len(rows))])
    sizes = np.arange(len(rows)) - 1
    files = ids.Files(sizes, sizes * 7, sizes, np.zeros(len(rows), bool))
    far = pa.array([place for _, _, place in rows], pa.string())
    made = ids.annotation_ids(paths, boxes, relative).to_pylist()
    keys = ids.source_keys(files, far, boxes, relative).to_pylist()
    for row, (box, shares, place) in enumerate(rows):
        unit = "relative" if shares else "px"
        assert made[row] == annotation_id(f"n1/ü{row}.jpg", box, unit)
        state = f"{row - 1} {(row - 1) * 7}"
        if place is None:
            written = "absent" if row == 0 else state
        else:
            written = place if row == 0 else f"{place} {state}"
        assert keys[row] == ids.key_of(written, box, unit)


@pytest.mark.parametrize("listed", [True, False])
def test_an_object_that_is_replaced_has_another_key(bucket: str, listed: bool) -> None:
    for name in ("a.jpg", "b.jpg"):
        store.write_bytes(f"{bucket}/n1/{name}", b"picture")
    store.write_bytes(f"{bucket}/t.csv", b"path\nn1/a.jpg\nn1/b.jpg\nn1/gone.jpg\n")
    source, root = (f"{bucket}/n1", f"{bucket}/n1") if listed else (f"{bucket}/t.csv", bucket)
    first = read_sources([source]).annotations
    again = read_sources([source]).annotations
    assert first.equals(again)
    store.write_bytes(f"{bucket}/n1/a.jpg", b"another picture")
    later = read_sources([source]).annotations
    changed = [
        a != b for a, b in zip(*(t["source_key"].to_pylist() for t in (first, later)), strict=True)
    ]
    assert changed == [True, False] + [False] * (not listed)
    assert later["annotation_id"].equals(first["annotation_id"])
    for row in later.to_pylist():
        assert row["source_key"] == source_key(root, row["image_path"], None)


def test_one_object_in_two_buckets_has_two_keys(bucket: str) -> None:
    for folder in ("n1", "n2"):
        store.write_bytes(f"{bucket}/{folder}/a.jpg", b"picture")
    assert len({source_key(f"{bucket}/{at}", "a.jpg", None) for at in ("n1", "n2", "n3")}) == 3


def test_many_objects_of_a_folder_are_listed_and_few_are_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[object] = []

    def list_states(folder: str) -> dict[str, tuple[int, int]]:
        asked.append(folder)
        return {f"{folder}/{number}.jpg": (number, 5) for number in range(70)}

    def states_of(folder: str, names: list[str]) -> dict[str, tuple[int, int]]:
        asked.append((folder, names))
        return {}

    monkeypatch.setattr(store, "list_states", list_states)
    monkeypatch.setattr(store, "states_of", states_of)
    uris = [f"s3://b/many/{number}.jpg" for number in range(64)] + ["s3://b/few/1.jpg", None]
    size, times = look_at_objects(pa.array(uris), {})
    assert size.tolist() == [*range(64), -1, -1]
    assert times.tolist() == [5] * 64 + [-1, -1]
    assert asked == ["s3://b/many", ("s3://b", ["few/1.jpg"])]
    assert look_at_objects(pa.array(["s3://b/x"]), {"s3://b/x": (1, 2)})[0].tolist() == [1]
