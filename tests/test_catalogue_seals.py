from pathlib import Path
from typing import Any

import deltalake
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from reid import catalogue as cat
from reid import schema, store
from reid.catalogue import delta_tables, seals
from reid.errors import DamagedError
from reid.identify import edges_table
from reid.row_sums import are_sums, row_sums
from reid.value_digests import table_digests
from tests.test_catalogue import identities, make_rows, night


@pytest.fixture
def grown(tmp_path: Path) -> str:
    """Two nights of a catalogue."""
    place = str(tmp_path / "c")
    one = night(cat.open_catalogue(place, create=True), "r1", {"a": "lynx-1"}, counters={"lynx": 1})
    night(one, "r2", {"b": "lynx-2"}, counters={"lynx": 2})
    return place


def logs(place: str) -> list[Path]:
    return sorted(Path(place, "annotations", "_delta_log").glob("*.json"))


def test_every_commit_is_sealed(grown: str) -> None:
    assert [path.stem[-1] for path in sorted(Path(grown, "sealed").iterdir())] == ["1", "2"]
    catalogue = cat.open_catalogue(grown)
    assert catalogue.seal is not None
    assert catalogue.seal.species["lynx"][0] == 2
    undone = cat.undo(catalogue, "r2", "u")
    assert undone.seal is not None
    assert undone.seal.species["lynx"][0] == 1


def test_a_log_that_lost_its_end_is_no_catalogue_of_before(grown: str) -> None:
    logs(grown)[-1].unlink()
    with pytest.raises(DamagedError, match=r"version 2 was committed .* and the log ends at 1"):
        cat.open_catalogue(grown)
    for path in logs(grown):
        path.unlink()
    with pytest.raises(DamagedError, match="the log ends at -1"):
        cat.open_catalogue(grown, create=True)


def test_rows_of_another_file_are_no_rows_of_the_catalogue(grown: str) -> None:
    (path, *_) = Path(grown, "annotations", "species=lynx").glob("*.parquet")
    table = pa.parquet.read_table(path)
    changed = pa.array(["another"] * len(table))
    place = table.column_names.index("identity_id")
    pa.parquet.write_table(table.set_column(place, "identity_id", changed), path)
    with pytest.raises(DamagedError, match="identity_id of lynx is not what was committed"):
        cat.open_catalogue(grown).rows()
    path.unlink()
    with pytest.raises(DamagedError, match=r"gone|not found"):
        cat.open_catalogue(grown).rows(["annotation_id"])


def test_a_record_that_was_changed_is_noticed(grown: str) -> None:
    path = logs(grown)[-1]
    text = path.read_text()
    path.write_text(text.replace('"counters":{"lynx":2}', '"counters":{"lynx":1}'))
    assert path.read_text() != text
    with pytest.raises(DamagedError, match="not what was committed"):
        cat.open_catalogue(grown)


def test_an_older_log_that_was_changed_is_noticed(grown: str) -> None:
    path = logs(grown)[-2]
    path.write_text(path.read_text() + "\n")
    with pytest.raises(DamagedError, match=f"{path.name}: damaged"):
        cat.history(cat.open_catalogue(grown))


def test_a_catalogue_without_seals_is_read_as_before(grown: str) -> None:
    store.remove(f"{grown}/sealed")
    catalogue = cat.open_catalogue(grown)
    assert catalogue.seal is None
    assert identities(catalogue) == {"a": "lynx-1", "b": "lynx-2"}
    assert night(catalogue, "r3", {"c": "lynx-3"}).seal is not None


def test_who_commits_nothing_seals_nothing(grown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tidying up what is tidy makes no commit; a night may make one just then, and has sealed it."""
    night(cat.open_catalogue(grown), "r3", {"c": "lynx-3"})
    catalogue = cat.tidy(cat.open_catalogue(grown))
    nights: list[cat.Catalogue] = []

    def compact(table: Any, **_: object) -> None:
        nights.append(night(catalogue, "r4", {"a": "lynx-4"}))

    monkeypatch.setattr(deltalake.table.TableOptimizer, "compact", compact)
    tidied = cat.tidy(catalogue)
    assert tidied.version == nights[0].version == catalogue.version + 1
    assert tidied.seal == nights[0].seal
    assert identities(cat.open_catalogue(grown))["a"] == "lynx-4"


def test_edges_that_are_gone_are_missed(grown: str) -> None:
    edges = edges_table(
        "lynx",
        np.array(["a", "b"], object),
        (np.array([[0, 1]], np.int32), np.array([0.1], np.float32)),
    )
    found = cat.write_edge_part(grown, "lynx", "recipe", "r3", 0, edges)
    change = cat.Change(make_rows({"c": "lynx-3"}), edges=found)
    catalogue = cat.update(cat.open_catalogue(grown), "r3", lambda _: change)
    runs = cat.holding_runs(catalogue)
    assert cat.read_edge_parts(grown, "lynx", "recipe", runs).to_pydict() == edges.to_pydict()
    (part,) = Path(grown, "edges").rglob("*.parquet")
    content = part.read_bytes()
    cat.write_edge_part(grown, "lynx", "recipe", "r3", 0, edges[:0])
    with pytest.raises(DamagedError, match="edges of run r3 are gone"):
        cat.read_edge_parts(grown, "lynx", "recipe", runs)
    part.unlink()
    with pytest.raises(DamagedError, match=f"edges of run r3 are gone.*{part.stem}"):
        cat.read_edge_parts(grown, "lynx", "recipe", runs)
    other = Path(grown, "edges", "recipe", "fox", part.name)
    other.parent.mkdir(exist_ok=True)
    other.write_bytes(content)
    with pytest.raises(DamagedError, match="belongs to species 'lynx', here is the place of 'fox'"):
        cat.read_edge_parts(grown, "fox", "recipe", runs)
    # Of a run that was undone nothing is missed.
    undone = cat.undo(catalogue, "r3", "u")
    assert not len(cat.read_edge_parts(grown, "lynx", "recipe", cat.holding_runs(undone)))


def test_a_commit_that_knows_what_it_replaces_reads_nothing_back(
    grown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seal is the one that reading would give, also where it is wrong about what it replaces."""
    catalogue = cat.open_catalogue(grown)
    read: list[object] = []
    original = delta_tables.read

    def reading(*arguments: Any, **selection: Any) -> pa.Table:
        read.append(selection)
        return original(*arguments, **selection)

    was = catalogue.rows(stored=True)
    monkeypatch.setattr(delta_tables, "read", reading)
    names = {"a": "lynx-3", "c": "lynx-3"}
    for run_id, wrong, readings in (("r3", False, 0), ("r4", True, 1)):
        replaced = was.filter(pc.equal(was["annotation_id"], "b" if wrong else "a"))
        del read[:]
        replaced = replaced[:0] if wrong else replaced
        catalogue = night(catalogue, run_id, names, was=replaced)
        assert len(read) == readings
        assert identities(catalogue) == {**names, "b": "lynx-2"}  # and is what was sealed
        assert catalogue.seal is not None
        table = original(f"{grown}/annotations", catalogue.table, schema.CATALOGUE)
        assert catalogue.seal.species["lynx"] == (3, row_sums(table))


def test_seals_of_before_have_digests_and_are_checked(
    grown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(seals, "row_sums", table_digests)
        catalogue = night(cat.open_catalogue(grown), "r3", {"c": "lynx-3"})
    assert catalogue.seal is not None
    assert not are_sums(catalogue.seal.species["lynx"][1])
    assert len(catalogue.rows()) == 3
    # The next commit seals as of now.
    newer = night(catalogue, "r4", {"d": "lynx-4"}, was=catalogue.rows(stored=True)[:0])
    assert newer.seal is not None
    assert are_sums(newer.seal.species["lynx"][1])
    assert len(newer.rows()) == 4
    changed = catalogue.rows(stored=True)
    place = changed.column_names.index("identity_id")
    changed = changed.set_column(place, "identity_id", pa.array(["another"] * 3))
    with pytest.raises(DamagedError, match="identity_id of lynx is not what was committed"):
        seals.check_rows(catalogue.seal, "annotations", changed, None)
