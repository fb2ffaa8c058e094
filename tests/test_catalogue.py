import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid import catalogue as cat
from reid import schema, store
from reid.catalogue import commits, events
from reid.catalogue.commits import ROW_SCHEMA
from reid.errors import InputError, StorageError
from reid.store import retries

if TYPE_CHECKING:
    from tests.flaky_bucket import FlakyBucket

NAMES = ["annotation_id", "identity_id"]


@pytest.fixture(params=["local", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A folder with a name that needs care, on a local disk and on object storage."""
    if request.param == "local":
        return str(tmp_path / "the lynx é + catalogue")
    return str(request.getfixturevalue("far_bucket")) + "/deep/lynx-catalogue"


@pytest.fixture
def here(tmp_path: Path) -> str:
    return str(tmp_path / "catalogue")


def make_rows(names: dict[str, str], species: str = "lynx", **columns: object) -> pa.Table:
    """Rows of the catalogue, from annotation id to identity."""
    rows = [
        {
            "annotation_id": annotation,
            "image_path": f"{annotation}.jpg",
            "root": "uploads",
            "bbox": [1.0, 2.0, 3.0, 4.0],
            "species": species,
            "source_key": f"key of {annotation}",
            "identity_id": identity,
            "decision": "new",
            "confidence": 0.5,
            **columns,
        }
        for annotation, identity in names.items()
    ]
    return pa.Table.from_pylist(rows, schema=ROW_SCHEMA)


def make_events(*kinds: str) -> pa.Table:
    rows = [{"event": kind, "species": "lynx", "rows": 1} for kind in kinds]
    return pa.Table.from_pylist(rows, schema=schema.CHANGES)


def night(
    catalogue: cat.Catalogue, run_id: str, names: dict[str, str], **change: object
) -> cat.Catalogue:
    """A run that writes these rows and an event for each."""
    found = cat.Change(make_rows(names), make_events(*["new"] * len(names)), **change)  # type: ignore[arg-type]
    return cat.update(catalogue, run_id, lambda _: found)


def identities(catalogue: cat.Catalogue) -> dict[str, str]:
    rows = catalogue.rows(NAMES)
    return dict(zip(*(rows[name].to_pylist() for name in NAMES), strict=True))


def event_list(catalogue: cat.Catalogue) -> list[tuple[str, int, str]]:
    rows = cat.read_events(catalogue).to_pylist()
    return [(row["run_id"], row["number"], row["event"]) for row in rows]


def test_three_nights_and_two_undone(place: str) -> None:
    first = cat.open_catalogue(place, create=True)
    assert (first.version, dict(first.settings), dict(first.counters)) == (0, {}, {})
    one = night(
        first, "r1", {"b": "lynx-1", "a": "lynx-1"}, counters={"lynx": 1}, settings={"d": 1}
    )
    two = night(one, "r2", {"c": "lynx-2"}, counters={"lynx": 2}, counts={"images": 7})
    three = night(
        two, "r3", {"a": "lynx-3", "d": "lynx-3"}, counters={"lynx": 3}, settings={"d": 2}
    )
    assert identities(three) == {"a": "lynx-3", "b": "lynx-1", "c": "lynx-2", "d": "lynx-3"}
    assert three.rows()["run_id"].to_pylist() == ["r3", "r1", "r2", "r3"]

    back = cat.undo(three, "r3", "u3")
    assert back.rows().equals(two.rows())
    assert back.settings == {"d": 1}
    assert back.counters == {"lynx": 3}  # lynx-3 is never given again
    again = cat.undo(cat.open_catalogue(place), "r2", "u2")
    assert identities(again) == {"a": "lynx-1", "b": "lynx-1"}

    after = night(again, "r4", {"c": "lynx-4"}, counters={"lynx": 4})
    runs = cat.history(after)
    assert [(run.run_id, run.undone_by) for run in runs] == [
        *[("r4", None), ("u2", None), ("u3", None)],
        *[("r3", "u3"), ("r2", "u2"), ("r1", None)],
    ]
    assert [(run.rows_added, run.rows_changed) for run in runs[3:]] == [(1, 1), (1, 0), (2, 0)]
    assert runs[4].counts == {"images": 7}
    assert event_list(after) == [
        *[("r1", 0, "new"), ("r1", 1, "new"), ("r2", 0, "new"), ("r3", 0, "new"), ("r3", 1, "new")],
        *[("u3", 0, "undo"), ("u2", 0, "undo"), ("r4", 0, "new")],
    ]
    assert cat.read_events(after)["rows"].to_pylist()[5:7] == [2, 1]
    # What was opened once stays as it was.
    assert identities(three)["a"] == "lynx-3"
    assert event_list(one) == [("r1", 0, "new"), ("r1", 1, "new")]
    assert [run.run_id for run in cat.history(two)] == ["r2", "r1"]
    assert cat.open_catalogue(place, version=two.version).rows().equals(two.rows())


def test_undo_says_what_is_in_the_way(here: str) -> None:
    one = night(cat.open_catalogue(here, create=True), "r1", {"a": "lynx-1"})
    three = night(night(one, "r2", {"b": "lynx-2"}), "r3", {"c": "lynx-3"})
    with pytest.raises(InputError, match=r"2 later runs .* in this order: r3, r2"):
        cat.undo(three, "r1", "u")
    with pytest.raises(InputError, match=r"no run r9; the latest runs are: r3, r2, r1"):
        cat.undo(three, "r9", "u")
    undone = cat.undo(three, "r3", "u")
    with pytest.raises(InputError, match="r3 is undone already, by u"):
        cat.undo(undone, "r3", "u2")
    assert identities(cat.open_catalogue(here)) == {"a": "lynx-1", "b": "lynx-2"}


def test_the_tables_are_read_by_others(here: str) -> None:
    rows = make_rows({"a": "lynx-1"}, viewpoint="left")
    others = make_rows({"b": "Panthera uncia-1"}, "Panthera uncia/x %20 é", confidence=None)
    whole = pa.concat_tables([rows, others])
    catalogue = cat.update(
        cat.open_catalogue(here, create=True), "r1", lambda _: cat.Change(whole, make_events("new"))
    )
    night(catalogue, "r2", {"a": "lynx-2"})
    table = store.join(here, "annotations")
    frame = pl.read_delta(table).sort("annotation_id")
    assert frame["identity_id"].to_list() == ["lynx-2", "Panthera uncia-1"]
    assert frame["species"].to_list() == ["lynx", "Panthera uncia/x %20 é"]
    pandas = DeltaTable(table).to_pandas().sort_values("annotation_id")
    assert pandas["identity_id"].tolist() == ["lynx-2", "Panthera uncia-1"]
    seen = DeltaTable(table).to_pyarrow_dataset()
    assert duckdb.query("select count(*), min(bbox[3]) from seen").fetchall() == [(2, 3.0)]
    assert seen.count_rows() == 2
    assert pl.read_delta(store.join(here, "events"))["event"].to_list() == ["new", "new"]


def test_rows_come_as_the_schema_says(here: str) -> None:
    start = cat.open_catalogue(here, create=True)
    assert start.rows().schema == schema.CATALOGUE
    whole = pa.concat_tables([make_rows({"b": "l-1", "a": "l-1"}), make_rows({"f": "x-1"}, "fox")])
    catalogue = cat.update(start, "r1", lambda _: cat.Change(whole))
    assert catalogue.rows().schema == schema.CATALOGUE
    assert catalogue.rows(["image_path"]).to_pydict() == {"image_path": ["a.jpg", "b.jpg", "f.jpg"]}
    assert catalogue.rows(["annotation_id"], ["fox"]).to_pydict() == {"annotation_id": ["f"]}
    assert len(catalogue.rows(species=[])) == 0
    assert catalogue.identities().to_pylist()[2] == {
        "annotation_id": "f",
        "image_path": "f.jpg",
        "species": "fox",
        "identity_id": "x-1",
        "name": None,
        "identity": None,
        "decision": "new",
        "confidence": 0.5,
    }


def test_who_is_slower_decides_again(here: str) -> None:
    start = night(
        cat.open_catalogue(here, create=True), "r1", {"a": "lynx-1"}, counters={"lynx": 1}
    )
    seen: list[dict[str, str]] = []

    def decide(catalogue: cat.Catalogue) -> cat.Change:
        seen.append(identities(catalogue))
        if len(seen) == 1:  # somebody commits while this one is deciding
            night(catalogue, "fast", {"b": "lynx-2"}, counters={"lynx": 2})
        number = catalogue.counters["lynx"] + 1
        return cat.Change(
            make_rows({"c": f"lynx-{number}"}), make_events("new"), counters={"lynx": number}
        )

    end = cat.update(start, "slow", decide)
    assert seen == [{"a": "lynx-1"}, {"a": "lynx-1", "b": "lynx-2"}]
    assert identities(end) == {"a": "lynx-1", "b": "lynx-2", "c": "lynx-3"}
    assert event_list(end) == [("r1", 0, "new"), ("fast", 0, "new"), ("slow", 0, "new")]


def test_who_is_slower_every_time_gives_up_with_nothing_written(here: str) -> None:
    start = cat.open_catalogue(here, create=True)
    rounds = []

    def decide(catalogue: cat.Catalogue) -> cat.Change:
        rounds.append(catalogue.version)
        night(catalogue, f"fast{len(rounds)}", {f"f{len(rounds)}": "lynx-1"})
        return cat.Change(make_rows({"slow": "lynx-2"}), make_events("new"))

    with pytest.raises(StorageError, match="3 times in a row; nothing of run slow was written"):
        cat.update(start, "slow", decide, attempts=3)
    end = cat.open_catalogue(here)
    assert rounds == [0, 1, 2]
    assert sorted(identities(end)) == ["f1", "f2", "f3"]
    assert {run for run, _, _ in event_list(end)} == {"fast1", "fast2", "fast3"}


def test_two_writers_at_once_lose_nothing_and_double_nothing(place: str) -> None:
    cat.open_catalogue(place, create=True)
    failures: list[BaseException] = []

    def writer(who: str) -> None:
        def decide(catalogue: cat.Catalogue) -> cat.Change | None:
            todo = {"both", f"{who}{turn}"} - set(identities(catalogue))
            number = catalogue.counters.get("lynx", 0)
            names = {name: f"lynx-{number + i}" for i, name in enumerate(sorted(todo), 1)}
            kinds = make_events(*["new"] * len(names))
            return cat.Change(make_rows(names), kinds, {"lynx": number + len(names)})

        try:
            for turn in range(3):
                cat.update(cat.open_catalogue(place), f"{who}{turn}", decide, attempts=20)
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=writer, args=(who,)) for who in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    end = cat.open_catalogue(place)
    found = identities(end)
    assert set(found) == {"both", *(f"{who}{turn}" for who in "xy" for turn in range(3))}
    assert len(set(found.values())) == len(found) == end.counters["lynx"]
    assert len(event_list(end)) == len(set(event_list(end))) == 7
    assert DeltaTable(store.join(place, "events"), storage_options=options(place)).count() == 7


def options(place: str) -> dict[str, str]:
    return {"aws_allow_http": "true"} if store.is_remote(place) else {}


DYING = """
import os, sys
import pyarrow as pa
import pyarrow.compute as pc
from reid import catalogue, schema, store
from reid.catalogue import commits, events
if sys.argv[2] == "before":
    commits._write = lambda *_: os._exit(9)
else:
    calls = []
    publish = events.publish
    events.publish = lambda c: os._exit(9) if calls else (calls.append(1), publish(c))
rows = store.read_table(sys.argv[3])
changes = store.read_table(sys.argv[4])
change = catalogue.Change(rows, changes, {"lynx": 2}, settings={"d": 9})
catalogue.update(catalogue.open_catalogue(sys.argv[1]), "dying", lambda _: change)
"""


@pytest.mark.parametrize("moment", ["before", "between"])
def test_a_process_killed_around_its_commit(place: str, tmp_path: Path, moment: str) -> None:
    start = night(cat.open_catalogue(place, create=True), "r1", {"a": "lynx-1"}, settings={"d": 1})
    rows, changes = str(tmp_path / "rows"), str(tmp_path / "changes")
    store.write_table(rows, make_rows({"b": "lynx-2"}))
    store.write_table(changes, make_events("new", "extend"))
    command = [sys.executable, "-c", DYING, place, moment, rows, changes]
    died = subprocess.run(command, capture_output=True, check=False, env=os.environ)
    assert died.returncode == 9, died.stderr.decode()

    table = DeltaTable(store.join(place, "events"), storage_options=options(place))
    assert table.count() == 1  # the dead run published nothing
    found = cat.open_catalogue(place)
    if moment == "before":
        assert (found.version, found.rows().equals(start.rows())) == (start.version, True)
        assert found.settings == {"d": 1}
        expected = [("r1", 0, "new")]
    else:
        assert identities(found) == {"a": "lynx-1", "b": "lynx-2"}
        assert (found.settings, found.counters) == ({"d": 9}, {"lynx": 2})
        expected = [("r1", 0, "new"), ("dying", 0, "new"), ("dying", 1, "extend")]
    assert event_list(found) == expected  # readers need not wait
    for _ in range(2):  # the next run completes it, once
        found = cat.update(found, "r2", lambda _: None)
        assert len(event_list(found)) == len(expected)
    table = DeltaTable(store.join(place, "events"), storage_options=options(place))
    assert table.count() == len(expected)


def test_two_who_complete_a_dead_run_append_its_events_once(
    here: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = cat.open_catalogue(here, create=True)
    with monkeypatch.context() as patch:
        patch.setattr(events, "publish", lambda _: 0)
        dead = night(start, "dead", {"a": "lynx-1"})
    opened = events.delta_tables.open_table
    inside = []

    def slowly(path: str, version: int | None = None) -> object:
        table = opened(path, version)
        if path.endswith("events") and not inside:
            inside.append(1)
            assert events.publish(dead) == 1  # the other one, in between
        return table

    monkeypatch.setattr(events.delta_tables, "open_table", slowly)
    assert events.publish(dead) == 0
    assert event_list(dead) == [("dead", 0, "new")]


def test_an_answer_that_got_lost_is_no_conflict(here: str, monkeypatch: pytest.MonkeyPatch) -> None:
    start = cat.open_catalogue(here, create=True)
    write = commits._write

    def lost(table: object, rows: pa.Table, properties: object) -> None:
        write(table, rows, properties)
        raise OSError("connection reset")

    monkeypatch.setattr(commits, "_write", lost)
    decided: list[int] = []
    change = cat.Change(make_rows({"a": "lynx-1"}), make_events("new"))
    end = cat.update(start, "r1", lambda c: decided.append(c.version) or change)  # type: ignore[func-returns-value]
    assert (decided, end.version, event_list(end)) == ([0], 1, [("r1", 0, "new")])


def test_a_run_without_rows_is_a_commit(here: str) -> None:
    start = cat.open_catalogue(here, create=True)
    change = cat.Change(events=make_events("calibrate"), settings={"known_distance": 0.3})
    end = cat.update(start, "r1", lambda _: change)
    assert (end.version, end.settings) == (1, {"known_distance": 0.3})
    assert event_list(end) == [("r1", 0, "calibrate")]
    assert cat.undo(end, "r1", "u1").settings == {}
    assert cat.update(end, "r2", lambda _: None).version == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (cat.Change(make_rows({"a": "x"}).drop_columns(["species"])), r"lack the columns \['spec"),
        (cat.Change(pa.concat_tables([make_rows({"a": "x"})] * 2)), "1 rows repeat an annotation"),
        (cat.Change(make_rows({"a": "x", "b": None})), "1 rows have no identity_id"),  # type: ignore[dict-item]
        (cat.Change(make_rows({"a": "x"}, decision="maybe")), r"unknown decisions \['maybe'\]"),
        (cat.Change(counters={"lynx": 4}), "the counter of lynx is 5 and would fall to 4"),
    ],
)
def test_a_change_that_breaks_a_rule_is_refused(
    here: str, change: cat.Change, message: str
) -> None:
    start = night(cat.open_catalogue(here, create=True), "r1", {"z": "x"}, counters={"lynx": 5})
    with pytest.raises(ValueError, match=message):
        cat.update(start, "r2", lambda _: change)
    assert cat.open_catalogue(here).version == start.version


def test_what_is_not_a_catalogue(here: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no catalogue here"):
        cat.open_catalogue(here)
    with pytest.raises(InputError, match="a folder with '%' in its name"):
        cat.open_catalogue(here + "%20", create=True)
    with pytest.raises(InputError, match="a folder with ' ' 'é' in its name"):
        cat.open_catalogue("s3://herd/é f g", create=True)
    pl.DataFrame({"a": [1]}).write_delta(store.join(here, "annotations"))
    with pytest.raises(InputError, match="was not made by `reid identify`"):
        cat.open_catalogue(here)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/annotations"):
        cat.open_catalogue(str(tmp_path / "file"), create=True)


def test_commits_of_other_tools_are_stepped_over(here: str) -> None:
    start = night(
        cat.open_catalogue(here, create=True), "r1", {"a": "lynx-1"}, counters={"lynx": 1}
    )
    DeltaTable(store.join(here, "annotations")).update({"viewpoint": "'left'"})
    found = cat.open_catalogue(here)
    assert (found.version, found.record) == (2, start.record)
    assert found.rows()["viewpoint"].to_pylist() == ["left"]
    end = night(found, "r2", {"b": "lynx-2"}, counters={"lynx": 2})
    assert [run.version for run in cat.history(end)] == [3, 1]
    assert cat.undo(end, "r2", "u2").rows().equals(found.rows())


def test_tidy_changes_nothing_that_can_be_read(here: str) -> None:
    catalogue = cat.open_catalogue(here, create=True)
    for number in range(4):
        catalogue = night(catalogue, f"r{number}", {f"a{number}": "lynx-1"}, counters={"lynx": 1})
    tidied = cat.tidy(catalogue)
    assert len(tidied.table.file_uris()) == 1 < len(catalogue.table.file_uris())
    assert tidied.rows().equals(catalogue.rows())
    assert event_list(tidied) == event_list(catalogue)
    assert cat.history(tidied) == cat.history(catalogue)
    assert sorted(identities(cat.undo(cat.open_catalogue(here), "r3", "u"))) == ["a0", "a1", "a2"]
    with pytest.raises(InputError, match="keep_days is 0"):
        cat.tidy(catalogue, keep_days=0)


def test_a_run_whose_predecessor_was_removed_cannot_be_undone(here: str) -> None:
    one = night(cat.open_catalogue(here, create=True), "r1", {"a": "lynx-1"})
    two = night(one, "r2", {"a": "lynx-2"})
    two.table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    with pytest.raises(InputError, match="r2 cannot be undone: the files of version 1"):
        cat.undo(cat.open_catalogue(here), "r2", "u")
    assert identities(cat.open_catalogue(here)) == {"a": "lynx-2"}


def test_the_log_is_kept_over_checkpoints(here: str) -> None:
    catalogue = cat.open_catalogue(here, create=True)
    folder = Path(here, "annotations", "_delta_log")
    for number in range(102):
        change = cat.Change(counters={"lynx": number})
        catalogue = cat.update(catalogue, f"r{number}", lambda _, found=change: found)
    assert list(folder.glob("*.checkpoint.parquet"))
    assert len(cat.history(catalogue)) == 102
    assert cat.open_catalogue(here).counters == {"lynx": 101}


@settings(max_examples=15, suppress_health_check=list(HealthCheck))
@given(
    st.lists(
        st.one_of(
            st.dictionaries(st.sampled_from("abcde"), st.sampled_from(["l-1", "l-2", "l-3"])),
            st.just("undo"),
        ),
        max_size=7,
    )
)
def test_runs_and_undos_are_a_stack(
    tmp_path_factory: pytest.TempPathFactory, steps: list[dict[str, str] | str]
) -> None:
    catalogue = cat.open_catalogue(str(tmp_path_factory.mktemp("stack") / "c"), create=True)
    stack: list[tuple[str, dict[str, str]]] = [("", {})]
    for number, step in enumerate(steps):
        run_id = f"r{number}"
        if isinstance(step, dict):
            stack.append((run_id, {**stack[-1][1], **step}))
            catalogue = night(catalogue, run_id, step, counters={"lynx": number})
            highest = number
        elif len(stack) > 1:
            catalogue = cat.undo(catalogue, stack.pop()[0], run_id)
            assert catalogue.counters == {"lynx": highest}
        assert identities(catalogue) == stack[-1][1]


def test_an_upload_is_sorted_by_what_is_known() -> None:
    stored = make_rows({"same": "l-1", "told": "l-1", "file": "l-2", "kind": "l-2"})
    fields = {field.name for field in schema.ANNOTATIONS}
    upload = [
        {name: value for name, value in row.items() if name in fields}
        for row in [*stored.to_pylist(), *make_rows({"fresh": ""}).to_pylist()]
    ]
    upload[1]["identity"] = "Nala"
    upload[2]["source_key"] = "another"
    upload[3]["species"] = "fox"
    found = cat.compare(stored, pa.Table.from_pylist(upload, schema=schema.ANNOTATIONS))
    assert found.known == 1
    assert found.new["annotation_id"].to_pylist() == ["fresh"]
    assert found.updated["annotation_id"].to_pylist() == ["told"]
    assert found.failures.schema == schema.FAILURES
    rows = found.failures.to_pylist()
    assert [row["annotation_id"] for row in rows] == ["file", "kind"]
    assert "another file or box" in rows[0]["error"]
    assert "as lynx, and this upload says fox" in rows[1]["error"]


def test_boxes_of_an_image_move_together() -> None:
    stored = make_rows({"a": "l-1", "b": "l-2", "c": "l-3", "d": "l-4"}).to_pylist()
    for row, image in zip(stored, ("i.jpg", "i.jpg", "i.jpg", "j.jpg"), strict=True):
        row["image_path"] = image
    stored[2]["root"] = "elsewhere"  # another image of this name
    rows = pa.Table.from_pylist(stored, schema=ROW_SCHEMA)
    upload = pa.Table.from_pylist([stored[0] | {"root": "v"}], schema=schema.ANNOTATIONS)
    found = cat.compare(rows, upload)
    moved = dict(zip(*found.updated.select(["annotation_id", "root"]).to_pydict().values(), strict=True))  # fmt: skip
    assert moved == {"a": "v", "b": "v"}
    assert found.updated.schema == schema.ANNOTATIONS
    assert (found.known, len(found.new), len(found.failures)) == (0, 0, 0)


def test_only_rows_that_changed_are_written() -> None:
    before = make_rows({"a": "l-1", "b": "l-1", "c": "l-2"}, nearest_distance=None)
    after = make_rows({"c": "l-2", "new": "l-3", "b": "l-9", "a": "l-1"}, nearest_distance=None)
    assert cat.changed_rows(before, after)["annotation_id"].to_pylist() == ["new", "b"]
    assert len(cat.changed_rows(before, before)) == 0
    filled = make_rows({"a": "l-1"}, nearest_distance=0.25)
    assert cat.changed_rows(before, filled).equals(filled)
    with pytest.raises(ValueError, match="changed its species"):
        cat.changed_rows(before, make_rows({"a": "l-1"}, "fox"))


def test_run_ids_are_unlike_each_other() -> None:
    ids = {cat.new_run_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(len(name) == 25 for name in ids)


def test_storage_that_fails_for_a_while(flaky_bucket: "FlakyBucket") -> None:
    place = f"{flaky_bucket.uri}/catalogue"
    catalogue = night(cat.open_catalogue(place, create=True), "r0", {"z": "lynx-1"})
    for run in ("r1", "r2"):
        flaky_bucket.fail(requests=40, share=0.5, answers=("503 SlowDown", "dropped"))
        catalogue = night(catalogue, run, {run: "lynx-2", "z": f"lynx-{run}"})
    flaky_bucket.fail(requests=0)
    assert flaky_bucket.failed > 10
    found = cat.open_catalogue(place)
    assert identities(found) == {"r1": "lynx-2", "r2": "lynx-2", "z": "lynx-r2"}
    assert event_list(found) == [
        *[("r0", 0, "new"), ("r1", 0, "new"), ("r1", 1, "new")],
        *[("r2", 0, "new"), ("r2", 1, "new")],
    ]


def test_storage_that_is_not_there(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = night(cat.open_catalogue(f"{bucket}/c", create=True), "r1", {"a": "lynx-1"})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(retries, "RETRY_SECONDS", 1.0)
    with pytest.raises(StorageError, match=r"/c/sealed: cannot list, for \d s now") as caught:
        cat.update(catalogue, "r2", lambda _: cat.Change())
    assert "\x1b" not in str(caught.value)
    assert caught.value.exit_code == 3


def test_a_night_reads_no_files_of_other_species(here: str) -> None:
    catalogue = cat.open_catalogue(here, create=True)
    others = ["puma", "l'ours", "é/%20?=", "\\"]
    for turn, species in enumerate(["lynx", *others]):
        rows = make_rows({f"{turn}a": "x-1", f"{turn}b": "x-2"}, species=species)
        catalogue = cat.update(catalogue, f"r{turn}", lambda _, rows=rows: cat.Change(rows))
    files = pa.table(catalogue.table.get_add_actions(flatten=True))["path"].to_pylist()
    assert len(files) == 5
    for name in files:
        if not name.startswith("species=lynx"):
            Path(here, "annotations", unquote(name)).write_bytes(b"")
    for turn, name in enumerate(["0a", "0c"]):
        was = catalogue.rows(species=["lynx"], stored=True)
        was = was.filter(pc.equal(was["annotation_id"], name))
        found = cat.Change(make_rows({name: f"x-{5 + turn}"}), was=was)
        catalogue = cat.update(catalogue, f"n{turn}", lambda _, found=found: found)
    rows = catalogue.rows(NAMES, species=["lynx"])
    assert rows["identity_id"].to_pylist() == ["x-5", "x-2", "x-6"]


def test_rows_of_species_with_any_name_are_replaced(here: str) -> None:
    catalogue = cat.open_catalogue(here, create=True)
    for turn in range(2):
        parts = [
            make_rows({f"{name}{number}": f"x-{turn}"}, species=name)
            for number, name in enumerate(["l'ours", "''", "é/%20?=", "\\", 'a "b"'])
        ]
        rows = pa.concat_tables(parts)
        catalogue = cat.update(catalogue, f"r{turn}", lambda _, rows=rows: cat.Change(rows))
    assert catalogue.rows(NAMES)["identity_id"].to_pylist() == ["x-1"] * 5
