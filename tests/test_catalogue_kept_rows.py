"""Rows of a catalogue by number: taken, found, replaced; and those that an upload may be about."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from reid import catalogue as cat
from reid import schema
from reid.catalogue import kept_rows
from reid.catalogue.kept_rows import KeptRows, add_rows, read_rows, write_rows
from reid.catalogue.known_rows import KnownRows, RowFacts
from reid.catalogue.recognition import whole_paths
from reid.errors import DamagedError
from reid.row_order import by_id
from tests.test_catalogue import make_rows

IDS = st.text("ab\x7fé￿😀", min_size=1, max_size=3)
VALUES = st.dictionaries(IDS, st.sampled_from(["lynx-1", "lynx-2"]), min_size=1, max_size=9)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_rows, "BATCH_ROWS", 3)
    monkeypatch.setattr(kept_rows, "MOST_FILES", 4)
    monkeypatch.setattr(kept_rows, "MOST_LATER", 1)


def stamped(names: dict[str, str], run_id: str) -> pa.Table:
    rows = make_rows(names).append_column("run_id", pa.repeat(pa.scalar(run_id), len(names)))
    return rows.select(schema.CATALOGUE.names).cast(schema.CATALOGUE)


@settings(max_examples=30)
@given(st.lists(VALUES, min_size=1, max_size=7), st.data())
def test_they_are_the_latest_rows_in_the_order_in_which_they_came(
    tmp_path_factory: pytest.TempPathFactory, nights: list[dict[str, str]], data: st.DataObject
) -> None:
    folder = str(tmp_path_factory.mktemp("kept"))
    number_of: dict[str, int] = {}
    latest: dict[str, dict[str, object]] = {}
    kept: KeptRows | None = None
    for turn, names in enumerate(nights):
        rows = stamped(names, f"r{turn}")
        latest |= {row["annotation_id"]: row for row in rows.to_pylist()}
        numbers = [
            number_of.setdefault(one, len(number_of)) for one in rows["annotation_id"].to_pylist()
        ]
        if kept is None:
            files = write_rows(folder, rows)
        else:
            files = add_rows(kept, np.array(numbers), rows)
        kept = read_rows(folder, files)
        assert len(kept) == len(number_of)
        assert len(files) <= 4
        expected = pa.Table.from_pylist([latest[one] for one in number_of], schema=schema.CATALOGUE)
        assert pa.Table.from_batches(kept.batches()).equals(expected)
        some = data.draw(st.lists(st.sampled_from(range(len(kept))), unique=True))
        assert kept.take(np.array(some, np.int64)).equals(expected.take(pa.array(some, pa.int64())))
        for name in ("annotation_id", "identity_id", "run_id", "viewpoint"):
            assert kept.column(name).to_pylist() == expected[name].to_pylist()
            values = pa.array(
                data.draw(st.lists(st.sampled_from(["a", "b", "lynx-1", "r0"]))), pa.string()
            )
            places = np.flatnonzero(pc.is_in(expected[name], value_set=values).to_numpy())
            assert kept.find(name, values).tolist() == places.tolist()


@pytest.mark.parametrize("place", ["local", "s3"])
def test_files_that_are_gone_or_damaged_show(
    place: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from reid import store

    folder = str(tmp_path) if place == "local" else request.getfixturevalue("bucket")
    rows = stamped(dict.fromkeys("abcdefgh", "lynx-1"), "r1")
    files = write_rows(folder, rows)
    kept = read_rows(folder, files)
    assert kept.take(np.arange(8)).equals(rows)
    file = store.join(folder, files[0][0])
    whole = store.read_bytes(file)
    for content in (b"", whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], whole + b"x"):
        store.write_bytes(file, content)
        with pytest.raises(DamagedError, match="made anew"):
            read_rows(folder, files)
    store.remove(file)
    with pytest.raises(FileNotFoundError):
        read_rows(folder, files)


ROOTS = ["", "/", "/a", "/a/", "/a/b", "a", "s3://x", "/é"]
PATHS = [
    "i.jpg",
    "b/i.jpg",
    "a/b/i.jpg",
    "/a/b/i.jpg",
    "/a/i.jpg",
    "s3://x/i.jpg",
    "é/\n.jpg",
    "j.jpg",
]
IMAGES = st.lists(st.tuples(IDS, st.sampled_from(ROOTS), st.sampled_from(PATHS)), max_size=6, unique_by=lambda one: one[0])  # fmt: skip


def table_of(images: list[tuple[str, str, str]], species: str) -> pa.Table:
    rows = stamped({one: "x-1" for one, _, _ in images}, "r1").to_pylist()
    said = zip(rows, images, strict=True)
    rows = [
        row | {"root": root, "image_path": path, "species": species}
        for row, (_, root, path) in said
    ]
    return by_id(pa.Table.from_pylist(rows, schema=schema.CATALOGUE))[0]


@settings(max_examples=60)
@given(IMAGES, IMAGES, IMAGES, st.lists(IDS, max_size=2))
@example([("a", "/a", "i.jpg"), ("b", "/a", "i.jpg")], [], [("a", "s3://x", "j.jpg")], [])
@example([("a", "", "b/i.jpg")], [("aa", "", "b/i.jpg")], [("a", "/", "i.jpg")], [])
@example([], [("a", "/a", "i.jpg"), ("b", "/a", "i.jpg")], [("a", "s3://x", "j.jpg")], [])
def test_what_an_upload_may_be_about_is_found_whatever_the_roots(
    tmp_path_factory: pytest.TempPathFactory,
    one: list[tuple[str, str, str]],
    other: list[tuple[str, str, str]],
    upload: list[tuple[str, str, str]],
    ids: list[str],
) -> None:
    """In one species by kept rows, in the other by the table; nothing is missing, and little else there."""
    folder = str(tmp_path_factory.mktemp("kept"))
    other = [each for each in other if each[0] not in {name for name, _, _ in one}]
    kept, read = table_of(one, "lynx"), table_of(other, "puma")
    stored = cat.StoredRows(cat.open_catalogue(str(tmp_path_factory.mktemp("c")), create=True))
    nothing = np.empty(0)
    rows = read_rows(folder, write_rows(folder, kept)) if len(kept) else None
    if rows is not None:
        facts = RowFacts(folder, nothing, nothing, nothing, nothing, nothing, {}, 0)  # type: ignore[arg-type]
        stored._known["lynx"] = KnownRows(rows, facts)
    stored._others = read
    new = table_of(upload, "lynx")
    found = stored.about(new, pa.chunked_array([ids], pa.string()))
    assert len(stored) == len(kept) + len(read)
    everything = by_id(pa.concat_tables([kept, read]))[0]
    named = {*ids, *new["annotation_id"].to_pylist()}
    whole, paths = {*whole_paths(new).to_pylist()}, {*new["image_path"].to_pylist()}
    needed = [
        row["annotation_id"] in named or path in whole or row["image_path"] in paths
        for row, path in zip(
            everything.to_pylist(), whole_paths(everything).to_pylist(), strict=True
        )
    ]
    needed_rows = everything.filter(pa.array(needed, pa.bool_()))
    assert {*map(str, needed_rows.to_pylist())} <= {*map(str, found.to_pylist())}
    assert {*map(str, found.to_pylist())} <= {*map(str, everything.to_pylist())}
    # The rest of an image may be known under another path, and moves along with what the upload names.
    ours, theirs = (cat.compare(some, new) for some in (found, everything))
    assert by_id(ours.updated)[0].equals(by_id(theirs.updated)[0])
    assert (ours.known, ours.failures) == (theirs.known, theirs.failures)
