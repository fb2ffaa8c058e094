"""A species from upload to upload: order, names, decisions and what people say."""

import datetime
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid import schema
from reid.errors import InputError
from reid.identify import (
    Calibration,
    ContradictionError,
    Identified,
    edges_table,
    extend_edges,
    identify_species,
    make_nodes,
    pool,
    sides,
    species_nodes,
)

KNOWN, NEW = 0.1, 0.3
STATE = ("identity_id", "decision", "confidence", "nearest_id", "nearest_distance")
CURVE = Calibration(
    np.array([0.0, KNOWN, NEW, 1.0]), np.array([0.99, 0.9, 0.1, 0.01]), "isotonic", 0, 0, 1, 1
)


def decisions_table(rows: Sequence[tuple[str, str, str, int]], run_id: str = "r1") -> pa.Table:
    """a, b, decision, day of January."""
    return pa.Table.from_pylist(
        [
            {
                "a_id": min(a, b),
                "b_id": max(a, b),
                "decision": decision,
                "reviewer": "Ann",
                "timestamp": datetime.datetime(2026, 1, day, tzinfo=datetime.UTC),
                "note": None,
                "run_id": run_id,
            }
            for a, b, decision, day in rows
        ],
        schema=schema.DECISIONS,
    )


def annotations(**columns: Sequence[str | None]) -> pa.Table:
    ids = columns["annotation_id"]
    made = {"root": ["/photos"] * len(ids), "species": ["lynx"] * len(ids), "image_path": ids}
    made |= columns
    empty = [None] * len(ids)
    return pa.table(
        [pa.array(made.get(field.name, empty), field.type) for field in schema.ANNOTATIONS],
        schema=schema.ANNOTATIONS,
    )


class Night:
    """What a job does, in memory: rows, edges and state that grow upload by upload."""

    def __init__(self, vectors: dict[str, np.ndarray], **options: object) -> None:
        self.vectors, self.options = vectors, options
        self.edges = edges_table("lynx", [], (np.empty((0, 2), np.int32), np.empty(0, np.float32)))
        self.rows: pa.Table | None = None
        self.next_number = 1
        self.searched: set[str] = set()

    def run(self, upload: pa.Table, decisions: pa.Table, run_id: str = "r1") -> Identified:
        for name in STATE:
            upload = upload.append_column(
                name, pa.nulls(len(upload), schema.CATALOGUE.field(name).type)
            )
        rows = upload if self.rows is None else pa.concat_tables([self.rows, upload])
        mode = str(self.options.get("encounters", "off"))
        nodes = species_nodes(rows, decisions, encounters=mode)
        frame = rows.to_pandas().sort_values("annotation_id")
        if len(frame):
            vectors = pool(np.stack([self.vectors[k] for k in frame["annotation_id"]]), nodes)
            views = rows.sort_by("annotation_id")["viewpoint"].to_pylist()
            view = sides([views[k] for k in nodes.first], "same-side")
            names = nodes.ids.to_pylist()
            known = np.array([k in self.searched for k in names], np.bool_)
            order = np.concatenate([np.flatnonzero(known), np.flatnonzero(~known)])
            ids = [names[k] for k in order]
            parts = extend_edges(vectors[order], int(known.sum()), 0.5, shown=view[order])
            tables = [edges_table("lynx", ids, part) for part in parts]
            self.edges = pa.concat_tables([self.edges, *tables])
            self.searched |= set(names)
        found = identify_species(
            "lynx", rows, self.edges, decisions, known_distance=KNOWN, new_distance=NEW,
            radius=0.5, next_number=self.next_number, run_id=run_id, calibration=CURVE,
            **self.options,
        )  # fmt: skip
        assert found.rows["annotation_id"].equals(rows["annotation_id"])
        for name in STATE:
            rows = rows.set_column(rows.column_names.index(name), name, found.rows[name])
        self.rows, self.next_number = rows, found.next_number
        return found

    def parts(self) -> set[frozenset[str]]:
        assert self.rows is not None
        frame = self.rows.to_pandas()
        return {frozenset(group) for _, group in frame.groupby("identity_id")["annotation_id"]}


@st.composite
def collections(draw: st.DrawFn) -> tuple[dict[str, np.ndarray], pa.Table, pa.Table]:
    """A few animals near each other in 3 dimensions, with all that can be known of them."""
    n = draw(st.integers(2, 12))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = random.normal(size=(4, 3))[random.integers(0, 4, n)] + 0.3 * random.normal(size=(n, 3))
    rows[random.random(n) < 0.2] = rows[0]  # exact ties
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = [f"a{k:02d}" for k in random.permutation(n)]

    def some(words: list[str | None]) -> list[str | None]:
        return [draw(st.sampled_from(words)) for _ in range(n)]

    table = annotations(
        annotation_id=ids,
        identity=some([None] * 6 + ["Ines", "Juan"]),
        encounter_id=some([None, None, None, "e1", "e2", "e3"]),
        viewpoint=some([None, "left", "right"]),
        image_path=[word or name for word, name in zip(some([None] * 4 + ["i"]), ids, strict=True)],
    )
    pair = st.lists(st.sampled_from(ids), min_size=2, max_size=2, unique=True)
    said = draw(
        st.lists(st.tuples(pair, st.sampled_from(["match", "nomatch", "unknown"])), max_size=3)
    )
    days = [(a, b, what, day) for day, ((a, b), what) in enumerate(said, start=1)]
    vectors = dict(zip(ids, rows.astype(np.float32), strict=True))
    return vectors, table, decisions_table(days)


def known_to(decisions: pa.Table, rows: pa.Table) -> pa.Table:
    ids = set(rows["annotation_id"].to_pylist())
    keep = [
        a in ids and b in ids
        for a, b in zip(*decisions.select([0, 1]).to_pydict().values(), strict=True)
    ]
    return decisions.filter(pa.array(keep, pa.bool_()))


def replay(before: dict[str, str], events: pa.Table, found: Identified) -> None:
    """What a run reports adds up: each identity's rows before, and what came and went."""
    sizes: dict[str, int] = {}
    for name in before.values():
        sizes[name] = sizes.get(name, 0) + 1
    for event in events.to_pylist():
        count, name = event["rows"], event["identity_id"]
        sizes[name] = sizes.get(name, 0) + count
        for other in event["other_ids"] if event["event"] in ("merge", "split") else []:
            sizes[other] -= count
    after: dict[str, int] = {}
    for name in found.rows["identity_id"].to_pylist():
        after[name] = after.get(name, 0) + 1
    assert {name: size for name, size in sizes.items() if size} == after


@settings(max_examples=60)
@given(collections(), st.sampled_from(["off", "best", "mean"]), st.data())
def test_uploads_in_any_order_are_one_upload(
    collection: tuple, encounters: str, data: st.DataObject
) -> None:
    vectors, table, decisions = collection
    n = len(table)
    whole = Night(vectors, encounters=encounters)
    try:
        whole.run(table, decisions)
    except ContradictionError:
        return
    order = data.draw(st.permutations(range(n)))
    cuts = sorted({0, n} | set(data.draw(st.lists(st.integers(1, n), max_size=4))))
    grown = Night(vectors, encounters=encounters)
    used: set[str] = set()
    for night, (start, stop) in enumerate(pairwise(cuts)):
        upload = table.take(pa.array(order[start:stop], pa.int64()))
        present = (
            upload
            if grown.rows is None
            else pa.concat_tables([grown.rows.select(schema.ANNOTATIONS.names), upload])
        )
        before = {}
        if grown.rows is not None:
            before = dict(
                zip(
                    *grown.rows.select(["annotation_id", "identity_id"]).to_pydict().values(),
                    strict=True,
                )
            )
        # Parts of a consistent whole are consistent.
        found = grown.run(upload, known_to(decisions, present), f"r{night}")
        names = set(found.rows["identity_id"].to_pylist())
        fresh = names - set(before.values())
        assert not fresh & used, "a name came back"
        used |= names
        replay(before, found.changes, found)
        assert None not in found.rows["decision"].to_pylist()
        assert all(0 <= value <= 1 for value in found.rows["confidence"].to_pylist())
        old = found.rows["annotation_id"].to_pandas().isin(list(before)).to_numpy()
        assert found.changed[~old].all()
    assert grown.parts() == whole.parts()


def at(*degrees: float) -> dict[str, np.ndarray]:
    """Unit vectors on a circle, a0, a1, …; cosine distance 0.1 is 25.8°, 0.3 is 45.6°."""
    angles = np.radians(degrees)
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    return {f"a{k}": row for k, row in enumerate(rows)}


NOTHING = decisions_table([])


def state(night: Night) -> dict[str, tuple[str, str]]:
    assert night.rows is not None
    frame = night.rows.to_pandas()
    pairs = zip(frame["identity_id"], frame["decision"], strict=True)
    return dict(zip(frame["annotation_id"], pairs, strict=True))


def events_of(found: Identified) -> list[tuple[object, ...]]:
    names = ("event", "identity_id", "other_ids", "a_id", "b_id", "rows")
    return [tuple(row[name] for name in names) for row in found.changes.to_pylist()]


def test_a_known_row_is_as_sure_as_the_weakest_link_to_a_row_from_before() -> None:
    """One individual, so the curve stays as it is: it falls from 0.99 to 0.9 on the way to 0.1."""
    night = Night(at(0, 20, 44, 50))
    night.run(annotations(annotation_id=["a0"]), NOTHING)
    night.run(annotations(annotation_id=["a1", "a2", "a3"]), NOTHING, "r2")
    assert {name: decision for name, (_, decision) in state(night).items()} == {
        "a0": "new", "a1": "known", "a2": "known", "a3": "known",
    }  # fmt: skip
    confidence = {row["annotation_id"]: row["confidence"] for row in night.rows.to_pylist()}
    # 20° are 0.0603. The best chains to a2 and a3 need 24°, 0.0865; the last 6° of a3's are no weaker.
    assert confidence["a1"] == pytest.approx(0.99 - 0.9 * 0.0603, abs=1e-4)
    assert confidence["a2"] == pytest.approx(0.99 - 0.9 * 0.0865, abs=1e-4)
    assert confidence["a3"] == confidence["a2"]


def test_three_nights_on_a_circle() -> None:
    night = Night(at(0, 10, 150, 40, 250, 62))
    first = night.run(annotations(annotation_id=["a0", "a1", "a2"]), NOTHING)
    assert state(night) == {
        "a0": ("lynx-0001", "new"), "a1": ("lynx-0001", "new"), "a2": ("lynx-0002", "new"),
    }  # fmt: skip
    assert events_of(first) == [
        ("new", "lynx-0001", [], None, None, 2),
        ("new", "lynx-0002", [], None, None, 1),
    ]
    # a3 is 30° from a1: too far to join, too near to be new. a4 is far from all.
    second = night.run(annotations(annotation_id=["a4", "a3"]), NOTHING, "r2")
    assert state(night)["a3"] == ("lynx-0003", "unsure")
    assert state(night)["a4"] == ("lynx-0004", "new")
    assert second.changed.tolist() == [False, False, False, True, True]
    row = night.rows.to_pandas().set_index("annotation_id").loc["a3"]
    distance = 1 - np.cos(np.radians(30))
    assert row["nearest_id"] == "a1"
    assert row["nearest_distance"] == pytest.approx(distance, abs=1e-6)
    # The curve is of one individual, and there are four.
    assert row["confidence"] == pytest.approx(1 - CURVE.for_gallery(4)(distance), abs=1e-5)
    # A reviewer joins it; another tells a0 and a1 apart; a5 is near a3 and nobody else.
    said = decisions_table([("a3", "a1", "match", 1), ("a0", "a1", "nomatch", 2)], "r3")
    third = night.run(annotations(annotation_id=["a5"]), said, "r3")
    assert state(night) == {
        "a0": ("lynx-0001", "new"), "a1": ("lynx-0003", "new"), "a2": ("lynx-0002", "new"),
        "a4": ("lynx-0004", "new"), "a3": ("lynx-0003", "new"), "a5": ("lynx-0003", "known"),
    }  # fmt: skip
    assert [event[0] for event in events_of(third)] == ["extend", "split"]


def test_two_become_one_and_the_link_is_named() -> None:
    night = Night(at(0, 40, 20))
    night.run(annotations(annotation_id=["a0", "a1"]), NOTHING)
    assert state(night)["a0"][0] != state(night)["a1"][0]
    found = night.run(annotations(annotation_id=["a2"]), NOTHING, "r2")
    # Both halves of the chain are 20° long; the merge happens at the later of the two.
    assert [event[:3] for event in events_of(found)] == [
        ("extend", "lynx-0001", []),
        ("merge", "lynx-0001", ["lynx-0002"]),
    ]
    merge = found.changes.to_pylist()[1]
    assert {merge["a_id"], merge["b_id"]} in ({"a0", "a2"}, {"a1", "a2"})
    assert "within known_distance" in merge["reason"]
    assert merge["distance"] == pytest.approx(1 - np.cos(np.radians(20)), abs=1e-6)
    assert night.next_number == 3
    fresh = night.run(
        annotations(annotation_id=[]), decisions_table([("a0", "a1", "nomatch", 1)], "r3"), "r3"
    )
    assert [event[:3] for event in events_of(fresh)] == [("split", "lynx-0003", ["lynx-0001"])]
    (split,) = fresh.changes.to_pylist()
    assert (split["a_id"], split["b_id"]) == ("a0", "a1")
    assert split["reason"] == "nomatch by Ann, 2026-01-01 00:00"


def test_a_decision_that_changes_nothing_confirms() -> None:
    night = Night(at(0, 10, 100))
    night.run(annotations(annotation_id=["a0", "a1", "a2"]), NOTHING)
    said = decisions_table([("a0", "a1", "match", 1), ("a2", "a1", "nomatch", 1)], "r2")
    found = night.run(annotations(annotation_id=[]), said, "r2")
    assert events_of(found) == [
        ("confirm", "lynx-0001", [], "a0", "a1", 0),
        ("confirm", "lynx-0001", ["lynx-0002"], "a1", "a2", 0),
    ]
    assert events_of(night.run(annotations(annotation_id=[]), said, "r3")) == []


def test_an_unsure_animal_becomes_new_when_a_person_says_so() -> None:
    night = Night(at(0, 35))
    night.run(annotations(annotation_id=["a0"]), NOTHING)
    night.run(annotations(annotation_id=["a1"]), NOTHING, "r2")
    assert state(night)["a1"] == ("lynx-0002", "unsure")
    said = decisions_table([("a0", "a1", "unknown", 1)])
    same = night.run(annotations(annotation_id=[]), said, "r3")
    assert not same.changed.any()
    assert state(night)["a1"] == ("lynx-0002", "unsure")
    night.run(annotations(annotation_id=[]), decisions_table([("a0", "a1", "nomatch", 1)]), "r4")
    assert state(night)["a1"] == ("lynx-0002", "new")


def test_two_boxes_of_one_image_are_two_and_unsure() -> None:
    night = Night(at(0, 5))
    night.run(annotations(annotation_id=["a0", "a1"], image_path=["i.jpg", "i.jpg"]), NOTHING)
    assert state(night) == {"a0": ("lynx-0001", "unsure"), "a1": ("lynx-0002", "unsure")}


def test_flanks_are_joined_by_an_encounter_that_shows_both() -> None:
    views = ["left", "right", "left", "right"]
    table = annotations(
        annotation_id=["a0", "a1", "a2", "a3"], viewpoint=views, encounter_id=[None, None, "e", "e"]
    )
    vectors = at(0, 0, 3, 4)  # all alike: it is the sides that keep them apart
    alone = Night(vectors, encounters="off")
    alone.run(table, NOTHING)
    assert alone.parts() == {frozenset({"a0", "a2"}), frozenset({"a1", "a3"})}
    for mode in ("best", "mean"):
        together = Night(vectors, encounters=mode)
        together.run(table, NOTHING)
        assert together.parts() == {frozenset(vectors)}


def test_contradictions_name_everybody_in_the_chain() -> None:
    night = Night(at(0, 50, 100))
    night.run(annotations(annotation_id=["a0", "a1", "a2"], encounter_id=["e", "e", None]), NOTHING)
    rows, number = night.rows, night.next_number
    said = decisions_table([("a1", "a2", "match", 3), ("a0", "a2", "nomatch", 4)])
    mixed = Night(night.vectors, encounters="best")
    table = annotations(annotation_id=["a0", "a1", "a2"], encounter_id=["e", "e", None])
    with pytest.raises(ContradictionError) as raised:
        mixed.run(table, said)
    assert "a0 ≠ a2 (nomatch by Ann, 2026-01-04 00:00), but" in str(raised.value)
    assert "a0 = a1 (both of encounter e), a1 = a2 (match by Ann, 2026-01-03" in str(raised.value)
    # A later word on the same pair takes the earlier one back.
    later = decisions_table(
        [("a1", "a2", "match", 3), ("a0", "a2", "nomatch", 4), ("a0", "a2", "match", 5)]
    )
    Night(night.vectors, encounters="best").run(table, later)
    assert (night.rows, night.next_number) == (rows, number)


def test_input_that_cannot_be_used() -> None:
    table = annotations(annotation_id=["a0", "a0"])
    edges = edges_table("lynx", [], (np.empty((0, 2), np.int32), np.empty(0, np.float32)))

    def run(rows: pa.Table, **changed: float) -> None:
        options = {"known_distance": 0.1, "new_distance": 0.3, "next_number": 1} | changed
        identify_species("lynx", rows, edges, NOTHING, **options)  # type: ignore[arg-type]

    with pytest.raises(InputError, match="'a0' comes twice"):
        run(table)
    with pytest.raises(InputError, match="known_distance ≤ new_distance"):
        run(table, new_distance=0.05)
    one = annotations(annotation_id=["a0"]).append_column("identity_id", pa.array(["lynx-0007"]))
    one = one.append_column("decision", pa.array(["new"]))
    with pytest.raises(InputError, match="lynx-0007 is given already"):
        run(one, next_number=7)
    with pytest.raises(InputError, match="unknown 'all'; known modes"):
        make_nodes(["a"], [None], [None], mode="all", images=np.array([0]), labels=np.array([-1]),
                   nomatch=np.empty((0, 2), np.int64))  # fmt: skip
