"""Where vectors lie: as a look at everybody's ids finds them, and as long as the files are those."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid import embeddings, store
from reid.errors import DamagedError, StorageError
from reid.vector_places import VectorPlaces, find_places, iter_placed
from tests.test_embeddings import write_part


def rows_of(ids: list[str]) -> pa.Table:
    keys = [f"key of {name}" for name in ids]
    return pa.table({"annotation_id": pa.array(ids, pa.string()), "source_key": keys})


def read(folder: str, places: VectorPlaces | None) -> list[float]:
    assert places is not None
    found = np.full(len(places.part), np.nan)
    for rows, vectors in iter_placed(folder, places):
        found[rows] = vectors[:, 0]
    return found.tolist()


@given(st.data())
def test_they_are_found_as_by_a_look_at_all_ids(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = str(tmp_path_factory.mktemp("store"))
    names = [f"a{number}" for number in range(8)]
    some = st.lists(st.sampled_from(names), unique=True, min_size=1)
    nights = data.draw(st.lists(st.lists(some, min_size=1, max_size=3), min_size=1, max_size=3))
    known: list[str] = []
    places = None
    for number, parts in enumerate(nights):
        for shift, part in enumerate(parts):
            path = store.join(folder, f"part-{embeddings.part_digest(part)}.parquet")
            if not store.exists(path):
                write_part(folder, part, shift=(10 * number + shift) / 128)
        there = {name for night in nights[: number + 1] for part in night for name in part}
        left = sorted(there - {*known})
        new = data.draw(st.lists(st.sampled_from(left), unique=True)) if left else []
        places = find_places(folder, rows_of(new), places)
        known += new
        found = read(folder, places)
        if number == 0:
            expected = embeddings.read_embeddings(folder, known)
            assert found == expected.vectors[:, 0].tolist() if known else found == []
        assert [int(one) for one in found] == [int(name[1:]) for name in known]
        order = np.array(data.draw(st.permutations(range(len(known)))), np.intp)
        assert places is not None
        assert read(folder, places.take(order)) == [found[place] for place in order]


def test_new_ones_are_looked_for_in_new_parts_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(tmp_path)
    write_part(folder, ["a1", "a2"])
    places = find_places(folder, rows_of(["a2"]))
    newer = write_part(folder, ["a3"])
    looked: list[list[str]] = []
    original = embeddings.read_ahead

    def read_ahead(paths: list[str], columns: list[str]) -> Any:
        looked.append(paths)
        return original(paths, columns)

    monkeypatch.setattr(embeddings, "read_ahead", read_ahead)
    places = find_places(folder, rows_of(["a3"]), places)
    assert [newer in paths for paths in looked] == [True]
    del looked[:]
    assert read(folder, places) == [2, 3]
    # One of an upload that was embedded, and undone; of the other part all rows are known.
    assert read(folder, find_places(folder, rows_of(["a1"]), places)) == [2, 3, 1]
    assert [len(paths) for paths in looked] == [1]


def test_what_lies_nowhere_or_is_of_other_pictures_has_no_place(tmp_path: Path) -> None:
    folder = str(tmp_path)
    assert find_places(folder, rows_of(["a1"])) is None
    write_part(folder, ["a1", "a2"])
    assert find_places(folder, rows_of(["a1", "a3"])) is None
    other = rows_of(["a1", "a2"]).set_column(1, "source_key", pa.array(["key of a1", None]))
    assert find_places(folder, other) is None
    assert read(folder, find_places(folder, rows_of([]))) == []


def test_places_end_with_the_files_that_they_are_of(tmp_path: Path) -> None:
    folder = str(tmp_path)
    write_part(folder, ["a1", "a2"])
    write_part(folder, ["a3"])
    places = find_places(folder, rows_of(["a3", "a2"]))
    assert places is not None
    parts = iter_placed(folder, places)
    next(parts)
    (one,) = embeddings.drop_changed(
        folder, pa.table({"annotation_id": ["a1"], "source_key": ["another"]})
    )[:1]
    assert one == 1
    with pytest.raises(StorageError, match="changed embeddings while they were read"):
        list(parts)
    with pytest.raises(StorageError, match="changed embeddings while they were read"):
        read(folder, places)
    assert find_places(folder, rows_of([]), places) is None
    assert read(folder, find_places(folder, rows_of(["a3", "a2"]))) == [3, 2]


def test_a_vector_that_was_damaged_is_noticed(tmp_path: Path) -> None:
    path = Path(write_part(str(tmp_path), ["a1", "a2"], dimension=32))
    raw = bytearray(path.read_bytes())
    place = raw.index(np.float32(2).tobytes() + bytes(8))
    raw[place] ^= 1
    path.write_bytes(raw)
    places = find_places(str(tmp_path), rows_of(["a2"]))
    with pytest.raises(DamagedError):
        read(str(tmp_path), places)
