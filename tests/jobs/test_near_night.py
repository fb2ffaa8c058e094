"""What is far from the new images is not read, and nothing else comes out than where it is."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jobs.catalogue.decider
from jobs.catalogue.decider import Decider
from reid import embeddings, optional, schema, store
from reid.catalogue import (
    Catalogue,
    SpeciesRules,
    StoredRows,
    kept_rows,
    known_rows,
    links,
    new_run_id,
    open_catalogue,
    read_events,
    read_rules,
    undo,
)
from reid.cluster import seen_once
from reid.errors import DamagedError, StorageError
from reid.identify import ContradictionError
from reid.row_order import by_id, rows_after
from tests.jobs.made_up import RECIPE
from tests.jobs.test_decider import NOBODY, NOTHING, RULES, Nights, at
from tests.test_identify import (
    CURVE,
    KNOWN,
    NEW,
    annotations,
    collections,
    decisions_table,
    known_to,
)


class Killed(BaseException):
    """What no code catches."""


@contextlib.contextmanager
def from_rows(fewest: int) -> Iterator[list[bool]]:
    """Rows and links are kept from so few rows on; which nights went by them."""
    used: list[bool] = []
    near = jobs.catalogue.decider.near_night

    def near_night(*arguments: Any) -> Any:
        found = near(*arguments)
        used.append(found is not None)
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_rows, "FEWEST_ROWS", fewest)
        patch.setattr(links, "BLOCK", 3)
        patch.setattr(kept_rows, "BATCH_ROWS", 5)
        patch.setattr(kept_rows, "MOST_FILES", 3)
        patch.setattr(kept_rows, "MOST_LATER", 1 / 2)
        patch.setattr(jobs.catalogue.decider, "near_night", near_night)
        yield used


def known(catalogue: Catalogue, species: str = "lynx") -> known_rows.KnownRows | None:
    rules = read_rules(catalogue).get(species)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(known_rows, "FEWEST_ROWS", 1)
        return (
            None
            if rules is None
            else known_rows.read_known(catalogue, {species: rules}).get(species)
        )


def check_kept(catalogue: Catalogue) -> None:
    """What is kept is what the catalogue holds."""
    found = known(catalogue)
    if found is None:
        return
    kept, facts = found.rows, found.facts
    rows = kept.take(np.arange(len(kept)))
    stored = catalogue.rows(stored=True)
    assert by_id(rows)[0].equals(stored)
    assert pa.Table.from_batches(kept.batches()).equals(rows)
    assert rows["decision"].to_pylist() == [
        "unsure" if unsure else one
        for one, unsure in zip(rows["decision"].to_pylist(), facts.unsure, strict=True)
    ]
    assert pc.sum(pc.equal(rows["decision"], "unsure")).as_py() == facts.unsure.sum()
    names = [f"lynx-{number:04}" for number in facts.individual]
    assert rows["identity_id"].to_pylist() == names
    assert facts.seen_once == seen_once(rows["identity_id"], rows["encounter_id"])
    for name in ("annotation_id", "viewpoint", "identity_id"):
        assert kept.column(name).to_pylist() == rows[name].to_pylist()
        values = rows[name].drop_null().slice(0, 3)
        expected = np.flatnonzero(pc.is_in(rows[name], value_set=values).to_numpy())
        assert (kept.find(name, values) == expected).all()


def told(nights: Nights) -> tuple[Any, ...]:
    """All that a catalogue says after a run, but for the run's name and time."""
    check_kept(nights.catalogue)
    rows = nights.catalogue.rows().drop_columns(["run_id"])
    events = read_events(nights.catalogue)
    events = events.filter(pc.equal(events["run_id"], nights.catalogue.record.run_id))
    # The reason of an undo, after which nothing came, names the run that was undone.
    undone = ["reason"] if nights.catalogue.record.action == "undo" else []
    events = events.drop_columns(["run_id", "time", *undone])
    outcome = replace(
        nights.outcome, search_seconds=0, decide_seconds=0, looked_at=0, edges=0, notes=[]
    )
    record = nights.catalogue.record
    return rows, events, outcome, record.individuals, record.counters, record.verdicts


@settings(max_examples=6)
@given(
    collections(),
    st.sampled_from(["off", "best", "mean"]),
    st.sampled_from(["compare-all", "same-side"]),
    st.data(),
)
def test_a_night_by_links_gives_what_a_look_at_everything_gives(
    tmp_path_factory: pytest.TempPathFactory,
    collection: tuple[dict[str, np.ndarray], pa.Table, pa.Table],
    encounters: str,
    viewpoints: str,
    data: st.DataObject,
) -> None:
    """Labels, boxes of one image, encounters, sides; decisions, undo and calibrate between the nights."""
    vectors, table, decisions = collection
    rules = SpeciesRules(RECIPE, KNOWN, NEW, NEW, encounters, viewpoints, "given", CURVE)
    both = [Nights(tmp_path_factory.mktemp(name), vectors) for name in ("whole", "near")]
    order = data.draw(st.permutations(range(len(table))))
    present, past = table[:0], []
    steps = data.draw(
        st.lists(st.sampled_from([*["night"] * 4, "say", "label", "undo", "rules"]), max_size=6)
    )
    for step in ["rules", "night", "night", *steps]:
        before = [one.catalogue for one in both]
        upload, said, emptied = table[:0], NOTHING, None
        if step == "undo" and past and all(one.catalogue.record.action == "run" for one in both):
            for one in both:
                one.catalogue = undo(one.catalogue, one.catalogue.record.run_id, new_run_id())
            present = past.pop()
            assert told(both[0])[0].equals(told(both[1])[0])
            continue
        if step == "night":
            start = len(present)
            stop = min(len(table), start + data.draw(st.integers(1, 4)))
            upload = table.take(pa.array(order[start:stop], pa.int64()))
        elif step == "say":
            said = known_to(decisions, present)
        elif step == "label":
            upload, emptied = labelled(present, data)
        reset = {"lynx": rules} if step == "rules" else {}
        try:
            for one, fewest in zip(both, (10**9, 1), strict=True):
                with from_rows(fewest):
                    one.identify(upload, said, reset=reset, emptied=emptied)
        except ContradictionError:
            with from_rows(1), pytest.raises(ContradictionError):
                both[1].identify(upload, said, reset=reset, emptied=emptied)
            break
        whole, near = (told(one) for one in both)
        for ours, theirs in zip(near, whole, strict=True):
            assert ours.equals(theirs) if isinstance(ours, pa.Table) else ours == theirs
        if any(
            one.version != other.catalogue.version for one, other in zip(before, both, strict=True)
        ):
            past.append(present)
        present = rows_after(present, upload)


def labelled(present: pa.Table, data: st.DataObject) -> tuple[pa.Table, dict[str, pa.Array]]:
    """Some images come again with other labels, or with a cell for it that is empty now."""
    some = data.draw(st.permutations(range(len(present))))[: data.draw(st.integers(0, 3))]
    rows = present.take(pa.array(some, pa.int64()))
    words = pa.array(
        [data.draw(st.sampled_from([None, "Ines", "Juan"])) for _ in some], pa.string()
    )
    place = rows.schema.get_field_index("identity")
    rows = rows.set_column(place, rows.schema.field("identity"), words)
    empty = rows["annotation_id"].filter(pc.is_null(words)).combine_chunks()
    return rows, {"identity": empty}


def herd() -> tuple[list[str], dict[str, np.ndarray]]:
    """Five animals far from each other, eight images each; in the order in which they come."""
    ids = [f"a{animal}{image}" for image in range(8) for animal in range(5)]
    return ids, {name: at(72 * int(name[1]) + int(name[2])) for name in ids}


def test_only_what_is_near_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    read: list[int] = []
    original = links.links_of

    def links_of(folder: str, runs: Any, numbers: Any) -> Any:
        read.append(len(numbers))
        return original(folder, runs, numbers)

    monkeypatch.setattr(links, "links_of", links_of)
    with from_rows(1) as used:
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        assert used == [False]
        with monkeypatch.context() as patch:  # where vectors lie is known
            patch.setattr(embeddings, "iter_embeddings", None)
            for name in range(30, 33):
                nights.identify(table[name : name + 1], NOTHING)
        assert used == [False, True, True, True]
        assert read == [6, 0] * 3
        assert nights.outcome.individuals == 5
        assert nights.outcome.looked_at == 7
        # Two pictures that a person has judged: their individuals, and what is near them.
        nights.identify(table[:0], decisions_table([("a00", "a10", "nomatch", 1)]))
        assert nights.outcome.looked_at == 14
        nights.identify(table[33:34], NOTHING)
        assert used[4:] == [True, True]
        # Labels of known pictures, and one that is taken away.
        place = table.schema.get_field_index("identity")
        for words, updated in ((["Ines", "Ines"], 2), (["Ines", None], 1)):
            named = table.take(pa.array([0, 5])).set_column(
                place, table.schema.field("identity"), pa.array(words, pa.string())
            )
            gone = {
                "identity": named["annotation_id"]
                .filter(pc.is_null(named["identity"]))
                .combine_chunks()
            }
            nights.identify(named, NOTHING, emptied=gone)
            assert (nights.outcome.updated, nights.outcome.looked_at) == (updated, 7)
        assert used.pop() == used.pop() is True
        # Of a picture that is compared with others than before everything is looked at, and written for the next night.
        nights.identify(table[:0], decisions_table([("a00", "a00", "unusable", 2)]))
        nights.identify(table[34:35], NOTHING)
        assert used[6:] == [False, True]
        nights.catalogue = undo(nights.catalogue, nights.catalogue.record.run_id, new_run_id())
        nights.identify(table[34:35], NOTHING)
        nights.identify(table[35:36], NOTHING)
        assert used[8:] == [False, True]
        # They are made of what is there, and can be made again.
        store.remove(store.join(nights.catalogue.path, "links"))
        nights.identify(table[36:37], NOTHING)
        nights.identify(table[37:38], NOTHING)
        assert used[10:] == [False, True]


def test_each_of_two_large_species_is_read_as_far_as_it_is_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids, vectors = herd()
    vectors |= {f"p{name}": vector for name, vector in vectors.items()}
    lynx = annotations(annotation_id=ids)
    puma = annotations(annotation_id=[f"p{one}" for one in ids], species=["puma"] * len(ids))
    few = annotations(annotation_id=["hare"], species=["hare"])
    vectors["hare"] = at(0)
    nights = Nights(tmp_path, vectors)
    with from_rows(2) as used:
        nights.identify(NOBODY, NOTHING, reset=dict.fromkeys(["lynx", "puma", "hare"], RULES))
        nights.identify(pa.concat_tables([lynx[:30], puma[:30], few]), NOTHING)
        assert used == [False] * 3
        nights.identify(pa.concat_tables([lynx[30:31], puma[30:31]]), NOTHING)
        assert used[3:] == [True, True]
        nights.identify(puma[31:32], NOTHING)
        nights.identify(lynx[31:32], NOTHING)
        assert used[5:] == [True, True]
        assert known(nights.catalogue, "hare") is None
        asked: list[Catalogue] = []
        original = known_rows.holding_runs

        def holding_runs(catalogue: Catalogue) -> Any:
            asked.append(catalogue)
            return original(catalogue)

        with monkeypatch.context() as patch:
            patch.setattr(known_rows, "holding_runs", holding_runs)
            rows = StoredRows(nights.catalogue)
        assert [rows.known(one) is None for one in ("lynx", "puma", "hare")] == [False, False, True]
        assert len(asked) == 1, "a catalogue of many nights has a long history"
    stored = nights.catalogue.rows(stored=True)
    for species in ("lynx", "puma"):
        found = known(nights.catalogue, species)
        assert found is not None
        kept = by_id(found.rows.take(np.arange(32)))[0]
        assert kept.equals(stored.filter(pc.equal(stored["species"], species)))
        assert len({*kept["identity_id"].to_pylist()}) == 5


def test_what_is_said_of_one_species_leaves_what_is_known_of_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a run that keeps nothing, as those of the review page."""
    ids, vectors = herd()
    vectors |= {f"p{name}": vector for name, vector in vectors.items()}
    lynx = annotations(annotation_id=ids)
    puma = annotations(annotation_id=[f"p{one}" for one in ids], species=["puma"] * len(ids))
    nights = Nights(tmp_path, vectors)
    words = [("pa00", "pa10", "match", 1), ("pa00", "pa30", "nomatch", 2)]
    words += [("pa20", "pa20", "unusable", 3)]
    with from_rows(2) as used:
        nights.identify(NOBODY, NOTHING, reset=dict.fromkeys(["lynx", "puma"], RULES))
        nights.identify(pa.concat_tables([lynx[:30], puma[:30]]), NOTHING)
        for number, word in enumerate(words, start=30):
            said = decisions_table([word])
            place = said.schema.get_field_index("note")
            said = said.set_column(place, said.schema.field(place), pa.array(["yes"]))
            with monkeypatch.context() as patch:
                patch.setattr(Decider, "keep", lambda *_: None)
                nights.identify(NOBODY, said)
            start = len(used)
            both = pa.concat_tables([lynx[number:][:1], puma[number:][:1]])
            nights.identify(both, NOTHING)
            assert used[start:] == [True, False], "of the one all has to be looked at"
            nights.identify(puma[number + 3 :][:1], NOTHING)
            assert used[start:] == [True, False, True]


def test_rows_of_a_species_that_another_tool_has_added_are_there_too(tmp_path: Path) -> None:
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    with from_rows(1) as used:
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        (row,) = nights.catalogue.rows()[:1].to_pylist()
        row |= {"annotation_id": "a48", "species": "zebra", "identity_id": "zebra-0001"}
        theirs = pa.Table.from_pylist([row], schema=schema.CATALOGUE)
        optional.deltalake().write_deltalake(str(tmp_path / "annotations"), theirs, mode="append")
        nights.identify(table[30:31], NOTHING)  # seals all of it
        nights.identify(table[31:32], NOTHING)
        vectors["a48"] = at(0)
        nights.identify(annotations(annotation_id=["a48", *ids[32:33]]), NOTHING)
        assert used[-1]
    assert len(nights.catalogue.rows()) == 34
    found = nights.catalogue.rows().filter(
        pc.equal(nights.catalogue.rows()["annotation_id"], "a48")
    )
    assert found["species"].to_pylist() == ["zebra"], "an id is one annotation's"


def test_on_object_storage_too(bucket: str) -> None:
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(f"{bucket}/catalogue", vectors)
    with from_rows(1) as used:
        nights.calibrate(RULES)
        for start, stop in pairwise((0, 30, 31, 32)):
            nights.identify(table[start:stop], NOTHING)
        assert used == [False, True, True]
        assert nights.outcome.individuals == 5
        assert len(known(nights.catalogue).rows) == 32
        check_kept(nights.catalogue)


def test_runs_stay_few_and_name_each_link_from_both_ends(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    folder, runs = str(tmp_path), {}
    expected: set[tuple[int, int, float]] = set()
    for size in [500, *[3] * 40]:
        pairs = random.integers(0, 300, (size, 2))
        far = random.random(size).astype(np.float32)
        runs = links.add_run(folder, runs, pairs, far)
        for (a, b), distance in zip(pairs.tolist(), far.tolist(), strict=True):
            expected |= {(a, b, distance), (b, a, distance)}
    assert len(runs) <= 4
    some = np.unique(random.integers(0, 320, 50)).astype(np.uint32)
    found = links.links_of(folder, runs, some)
    assert {*zip(*(column.tolist() for column in found), strict=True)} == {
        one for one in expected if one[0] in some
    }


def test_vectors_that_were_written_anew_meanwhile_are_looked_for(tmp_path: Path) -> None:
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    with from_rows(1) as used:
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        folder = tmp_path / "embeddings" / RECIPE
        (part,) = embeddings.parts(str(folder))
        whole = embeddings.read_part(part)
        assert whole is not None
        order = pa.array(np.arange(30)[::-1])
        embeddings.write_part(part, pa.concat_tables([whole[:1], whole.take(order)]))
        nights.identify(table[30:31], NOTHING)
        nights.identify(table[31:32], NOTHING)
        assert used == [False, True, True]
        assert nights.outcome.individuals == 5
        assert (nights.outcome.known, nights.outcome.edges) == (1, 6)


def test_links_of_a_round_that_was_overtaken_are_not_kept(tmp_path: Path) -> None:
    """Another night brings the same image, and more: nothing is left of this one but what a person said."""
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights, other = (Nights(tmp_path, vectors) for _ in range(2))
    with from_rows(1) as used:
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        named = decisions_table([("a00", "a00", "name", 1)])
        nights.identify(table[30:31], named, lambda: other.identify(table[30:34], NOTHING))
        assert nights.catalogue.version == other.catalogue.version + 1
        assert known(nights.catalogue) is None
        nights.identify(table[34:36], NOTHING)
        nights.identify(table[36:37], NOTHING)
        assert used[-2:] == [False, True]
        assert len(nights.catalogue.rows()) == 37


def test_rows_that_were_read_before_their_seal_was_there_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another night has committed, and seals only now: what was read unchecked is not what is kept."""
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    with from_rows(1):
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        unsealed = StoredRows(replace(nights.catalogue, seal=None))
        held = nights.catalogue.rows(stored=True)
        place = held.schema.get_field_index("viewpoint")
        wrong = held.set_column(place, held.schema.field(place), pa.array(["left"] * 30))
        monkeypatch.setattr(unsealed, "_others", wrong)
        nights.identify(table[30:31], NOTHING, stored=unsealed)
        assert nights.catalogue.rows(stored=True)["viewpoint"].null_count == 31
        assert known(nights.catalogue) is not None
        check_kept(nights.catalogue)


def test_links_that_are_gone_are_made_anew(tmp_path: Path) -> None:
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    with from_rows(1) as used:
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        for number, kind in enumerate(("run-*.links", "rows-*", "states-*")):
            nights.identify(table[30 + 2 * number :][:1], NOTHING)
            for file in tmp_path.glob(f"links/*/*/{kind}"):
                file.unlink()
            nights.identify(table[31 + 2 * number :][:1], NOTHING)
            assert used[-2:] == [True, False]
        assert nights.outcome.individuals == 5
        assert nights.outcome.known == 1


def test_what_another_night_writes_beside_links_stays(tmp_path: Path) -> None:
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    with from_rows(1):
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        (folder,) = (path for path in tmp_path.glob("links/*/*") if path.is_dir())
        theirs = [
            folder / name for name in ("run-young.links", ".known-x.json.a1", "run-old.links")
        ]
        for file in theirs:
            file.write_bytes(b"")
        os.utime(theirs[-1], (0, 0))
        nights.identify(table[30:31], NOTHING)
    assert [file.exists() for file in theirs] == [True, True, False]
    assert len([*folder.glob("known-*.json")]) == 1
    assert len([*folder.glob("states-*.rows")]) == 1


@pytest.mark.parametrize("step", ["write_parts", "write_sealed", "list_states", "remove"])
@pytest.mark.parametrize(
    "ending", [StorageError("the disk is full"), PermissionError("in use"), Killed()]
)
def test_a_night_that_cannot_keep_anything_has_committed_all_the_same(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ending: BaseException,
    step: str,
) -> None:
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    original = known_rows.write_known

    def write_known(*arguments: Any) -> None:
        def full(path: str, *_: object) -> None:
            if step == "write_parts":  # half of it lies there, aside
                Path(path).with_name(f".{Path(path).name}.x1").write_bytes(b"half")
            raise ending

        with monkeypatch.context() as patch:
            patch.setattr(store, step, full)
            original(*arguments)

    with from_rows(1) as used:
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        with monkeypatch.context() as patch:
            patch.setattr(jobs.catalogue.decider, "write_known", write_known)
            if isinstance(ending, Exception):
                nights.identify(table[30:31], NOTHING)
                told = f"committed, and the next one will take longer: {ending}"
                assert told in capsys.readouterr().err
            else:
                with pytest.raises(Killed):
                    nights.identify(table[30:31], NOTHING)
                nights.catalogue = open_catalogue(str(tmp_path))
        assert len(nights.catalogue.rows()) == 31
        assert (known(nights.catalogue) is None) == step.startswith("write")
        check_kept(nights.catalogue)
        nights.identify(table[31:32], NOTHING)
        assert used[1:] == [True, not step.startswith("write")]
        assert nights.outcome.individuals == 5


def test_damage_of_what_is_kept_shows(tmp_path: Path) -> None:
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    with from_rows(1):
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        nights.identify(table[30:31], NOTHING)
    files = [*tmp_path.glob("links/*/*/*.rows")]
    assert len(files) == 3  # rows, later ones, states
    for file in files:
        whole = file.read_bytes()
        for content in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], whole[:-1] + b"x"):
            file.write_bytes(content)
            with from_rows(1), pytest.raises(DamagedError, match="made anew"):
                nights.identify(table[31:32], NOTHING)
        file.write_bytes(whole)
    check_kept(nights.catalogue)
    part = next(tmp_path.glob("annotations/*/*.parquet"))
    content = part.read_bytes()
    part.write_bytes(content[:-1])
    with pytest.raises(DamagedError, match="gone, or not of"):
        known(nights.catalogue)
    part.unlink()
    with pytest.raises(DamagedError, match="gone, or not of"):
        known(nights.catalogue)


def test_rows_of_which_the_seal_says_otherwise_are_not_kept(tmp_path: Path) -> None:
    ids, vectors = herd()
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    with from_rows(1):
        nights.calibrate(RULES)
        nights.identify(table[:30], NOTHING)
        before = nights.catalogue
        nights.identify(table[30:31], NOTHING)
    after = nights.catalogue
    rows = after.rows(stored=True)
    committed = rows.filter(pc.equal(rows["run_id"], after.record.run_id))
    stored = before.rows(stored=True)
    was = stored.filter(pc.is_in(stored["annotation_id"], value_set=committed["annotation_id"]))
    sealed = jobs.catalogue.decider._is_sealed
    assert sealed("lynx", before, was, committed, after)
    assert not sealed("lynx", before, was, committed[:-1], after)
    assert not sealed("lynx", before, stored[:1], committed, after)
    assert not sealed("lynx", replace(before, seal=None), was, committed, after)
    assert not sealed("lynx", before, was, committed, replace(after, seal=None))


def test_a_link_that_was_damaged_is_noticed(tmp_path: Path) -> None:
    folder = str(tmp_path)
    runs = links.add_run(folder, {}, np.array([[0, 1], [0, 2]]), np.array([0.1, 0.2], np.float32))
    file = next(tmp_path.glob("*.links"))
    whole = file.read_bytes()
    for place in (0, 4, 8, -1):  # checksum of the index, its first row, its checksum, a distance
        raw = bytearray(whole)
        raw[place] ^= 1
        file.write_bytes(raw)
        with pytest.raises(DamagedError, match="made anew"):
            links.links_of(folder, runs, np.array([2], np.uint32))
    file.write_bytes(whole[:-1])
    with pytest.raises(DamagedError, match="made anew"):
        links.links_of(folder, runs, np.array([2], np.uint32))
