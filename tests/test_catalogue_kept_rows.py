"""Rows that are kept as they lie in memory are the rows of the table, or they are not read."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid import catalogue as cat
from reid import schema, store
from reid.catalogue import kept_rows
from reid.catalogue.kept_rows import keep_rows, read_kept
from reid.errors import DamagedError
from tests.test_catalogue import make_rows, night

SPECIES = ("lynx", "Panthera leo", "é/%20?=")


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_rows, "FEWEST_ROWS", 1)
    monkeypatch.setattr(kept_rows, "BATCH_ROWS", 3)


def kept(catalogue: cat.Catalogue) -> pa.Table | None:
    place = f"{catalogue.path}/annotations"
    return read_kept(catalogue.path, place, catalogue.table, catalogue.seal)


def of_table(catalogue: cat.Catalogue) -> pa.Table:
    return catalogue.rows(schema.CATALOGUE.names, stored=True)


def keeping(
    catalogue: cat.Catalogue, run_id: str, rows: pa.Table
) -> tuple[cat.Catalogue, pa.Table | None]:
    """A run that writes these rows, and keeps what is there then."""
    held = catalogue.rows(stored=True)
    was = held.filter(pc.is_in(held["annotation_id"], value_set=rows["annotation_id"]))
    newer = cat.update(catalogue, run_id, lambda _: cat.Change(rows, was=was))
    stamped = rows.append_column("run_id", pa.repeat(pa.scalar(run_id), len(rows)))
    keep_rows(newer.path, catalogue.seal, newer.seal, held, was, stamped)
    return newer, kept(newer)


IDS = st.lists(st.text("ab\x7fé￿😀", min_size=1, max_size=3), unique=True, min_size=1, max_size=9)


@settings(max_examples=15)
@given(st.lists(IDS, min_size=1, max_size=4), st.data())
def test_they_are_those_of_the_table_night_by_night(
    tmp_path_factory: pytest.TempPathFactory, nights: list[list[str]], data: st.DataObject
) -> None:
    catalogue = cat.open_catalogue(str(tmp_path_factory.mktemp("c")), create=True)
    of: dict[str, str] = {}
    for number, ids in enumerate(nights):
        parts = []
        for name in SPECIES:
            own = [
                one
                for one in ids
                if of.setdefault(one, data.draw(st.sampled_from(SPECIES))) == name
            ]
            parts.append(make_rows(dict.fromkeys(own, f"x-{number}"), species=name))
        catalogue, found = keeping(catalogue, f"r{number}", pa.concat_tables(parts))
        assert found is not None
        assert found.equals(of_table(catalogue))
        assert len({*Path(catalogue.path, "kept").iterdir()}) == 2


@pytest.fixture
def grown(tmp_path: Path) -> cat.Catalogue:
    catalogue = cat.open_catalogue(str(tmp_path / "c"), create=True)
    catalogue, _ = keeping(catalogue, "r1", make_rows(dict.fromkeys("abcdefgh", "lynx-1")))
    return keeping(catalogue, "r2", make_rows({"b": "lynx-2", "bb": "lynx-2"}))[0]


def test_a_version_of_which_none_are_kept_is_read_from_the_table(grown: cat.Catalogue) -> None:
    assert kept(grown) is not None
    newer = night(grown, "r3", {"c": "lynx-3"})
    assert kept(newer) is None
    assert newer.rows(stored=True).equals(of_table(newer))
    newer, found = keeping(newer, "r4", make_rows({"d": "lynx-4"}))
    assert found is not None
    undone = cat.undo(newer, "r4", "u")
    assert kept(undone) is None
    assert undone.rows(stored=True).equals(of_table(undone))
    store.remove(f"{grown.path}/kept")
    assert kept(newer) is None


def test_a_file_without_its_checksums_was_never_finished(grown: cat.Catalogue) -> None:
    (noted,) = Path(grown.path, "kept").glob("*.json")
    noted.unlink()
    assert kept(grown) is None


def test_what_a_kill_left_is_removed_once_nobody_can_be_writing_it(grown: cat.Catalogue) -> None:
    aside = [Path(grown.path, "kept", f".{name}.rows.x1") for name in ("old", "young")]
    for file in aside:
        file.write_bytes(b"half")
    os.utime(aside[0], (0, 0))
    newer, found = keeping(grown, "r3", make_rows({"c": "lynx-3"}))
    assert found is not None
    assert [file.exists() for file in aside] == [False, True]
    assert len([*Path(newer.path, "kept").iterdir()]) == 3


def test_rows_of_which_the_seal_says_otherwise_are_not_kept(grown: cat.Catalogue) -> None:
    held = grown.rows(stored=True)
    rows = make_rows({"c": "lynx-3"})
    newer = cat.update(grown, "r3", lambda _: cat.Change(rows))
    stamped = rows.append_column("run_id", pa.array(["r3"]))
    was = held.filter(pc.equal(held["annotation_id"], "c"))
    wrong = make_rows({"c": "lynx-4"}).append_column("run_id", pa.array(["r3"]))
    for less, more in ((was[:0], stamped), (was, wrong)):
        keep_rows(newer.path, grown.seal, newer.seal, held, less, more)
        assert kept(newer) is None
    keep_rows(newer.path, grown.seal, newer.seal, held, was, stamped)
    assert kept(newer) is not None


def test_damage_shows(grown: cat.Catalogue) -> None:
    (file,) = Path(grown.path, "kept").glob("*.rows")
    whole = file.read_bytes()
    for content in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], whole[:-1] + b"x"):
        file.write_bytes(content)
        with pytest.raises(DamagedError, match="made anew"):
            grown.rows(stored=True)
    file.write_bytes(whole)
    assert grown.rows(stored=True).equals(of_table(grown))
    (name,) = pa.table(grown.table.get_add_actions(flatten=True))["path"].to_pylist()
    part = Path(grown.path, "annotations", name)
    content = part.read_bytes()
    part.write_bytes(content[:-1])
    with pytest.raises(DamagedError, match="gone, or not of"):
        grown.rows(stored=True)
    part.unlink()
    with pytest.raises(DamagedError, match="gone, or not of"):
        grown.rows(stored=True)


def test_few_rows_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_rows, "FEWEST_ROWS", 3)
    catalogue = cat.open_catalogue(str(tmp_path), create=True)
    catalogue, found = keeping(catalogue, "r1", make_rows({"a": "lynx-1", "b": "lynx-1"}))
    assert found is None
    assert not (tmp_path / "kept").exists()
    assert keeping(catalogue, "r2", make_rows({"c": "lynx-1"}))[1] is not None


@pytest.mark.parametrize("step", ["write_parts", "write_sealed", "list_states", "remove"])
def test_a_night_that_dies_while_it_keeps_has_committed(
    grown: cat.Catalogue, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    class Killed(BaseException):
        pass

    held = grown.rows(stored=True)
    rows = make_rows({"c": "lynx-3", "z": "lynx-3"})
    was = held.filter(pc.equal(held["annotation_id"], "c"))
    newer = cat.update(grown, "r3", lambda _: cat.Change(rows, was=was))
    stamped = rows.append_column("run_id", pa.array(["r3", "r3"]))

    def killed(path: str, *arguments: object) -> None:
        if step == "write_parts":  # half of it lies there, aside
            Path(path).with_name(f".{Path(path).name}.x1").write_bytes(b"half")
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(store, step, killed)
        with pytest.raises(Killed):
            keep_rows(newer.path, grown.seal, newer.seal, held, was, stamped)
    again = cat.open_catalogue(grown.path)
    assert (kept(again) is None) == step.startswith("write")
    assert again.rows(stored=True).equals(of_table(again))
    last, found = keeping(again, "r4", make_rows({"a": "lynx-4"}))
    assert found is not None
    assert found.equals(of_table(last))
