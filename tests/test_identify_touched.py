"""Looking only at what a night can change gives what looking at everything gives."""

import datetime
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from reid import schema
from reid.identify import (
    ContradictionError,
    Identified,
    edges_table,
    identify_species,
    told_ids,
)
from reid.identify.constraints import Constraints
from reid.identify.distances import pair_distances
from reid.identify.touched import touched_rows
from tests.test_identify import CURVE, KNOWN, NEW, STATE, annotations

RADIUS = 0.5
LABELS = [None, None, None, "Ines", "Juan"]
ENCOUNTERS = [None, None, "e1", "e2", "e3"]
VIEWPOINTS = [None, "left", "right"]


class History:
    """One species of a catalogue in memory: rows, edges, decisions, and undo."""

    def __init__(
        self, ids: list[str], vectors: np.ndarray, encounters: str, viewpoints: str
    ) -> None:
        self.ids, self.encounters, self.viewpoints = ids, encounters, viewpoints
        a, b = np.triu_indices(len(ids), 1)
        distances = pair_distances(vectors, a, vectors, b)
        near = distances <= np.float32(RADIUS)
        pairs = np.stack([a, b], axis=1)[near].astype(np.int32)
        self.edges = edges_table("lynx", ids, (pairs, distances[near]))
        self.rows = annotations(annotation_id=[])
        for name in STATE:
            kind = schema.CATALOGUE.field(name).type
            self.rows = self.rows.append_column(name, pa.array([], kind))
        self.decisions = schema.DECISIONS.empty_table()
        self.next_number, self.known_distance = 1, KNOWN
        self.past: list[tuple[Any, ...]] = []
        self.runs = self.skipped = 0

    def undo(self) -> None:
        if self.past:
            self.rows, self.decisions, self.known_distance = self.past.pop()

    def night(
        self,
        upload: list[dict[str, Any]],
        said: list[tuple[str, str, str]] = (),  # type: ignore[assignment]
        known_distance: float | None = None,
    ) -> None:
        """A run; all of it is asked of both ways to identify."""
        self.runs += 1
        run_id, before = f"r{self.runs}", self.rows
        known = {row["annotation_id"]: row for row in before.to_pylist()}
        rows = dict(known)
        empty = dict.fromkeys(schema.CATALOGUE.names)
        for row in upload:
            rows[row["annotation_id"]] = {**rows.get(row["annotation_id"], empty), **row}
        updated = [
            rows[row["annotation_id"]]
            for row in upload
            if known.get(row["annotation_id"], row) != rows[row["annotation_id"]]
            and row["annotation_id"] in known
        ]
        table = pa.Table.from_pylist([rows[name] for name in sorted(rows)], schema=before.schema)
        moment = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(
            days=self.runs
        )
        fresh = [
            {"a_id": min(a, b), "b_id": max(a, b), "decision": what, "reviewer": "Ann",
             "timestamp": moment + datetime.timedelta(hours=hour), "run_id": run_id,
             "note": "no" if a == b and (self.runs + hour) % 2 else None}
            for hour, (a, b, what) in enumerate(said)
            if a in rows and b in rows
        ]  # fmt: skip
        decisions = pa.concat_tables(
            [self.decisions, pa.Table.from_pylist(fresh, schema=schema.DECISIONS)]
        )
        distance = known_distance or self.known_distance
        told = None
        if distance == self.known_distance:
            told = told_ids(before, pa.Table.from_pylist(updated, schema=before.schema))
        every, some = (
            self._identified(table, decisions, distance, run_id, one) for one in (None, told)
        )
        if every is None or some is None:
            assert every is some
            return
        for name in IDENTIFIED_WITHOUT_SURE:
            assert some.rows[name].equals(every.rows[name]), name
        unsure = np.array([one == "unsure" for one in every.rows["decision"].to_pylist()], bool)
        sure = [
            found.rows["confidence"].to_numpy(zero_copy_only=False)[~unsure]
            for found in (every, some)
        ]
        np.testing.assert_array_equal(*sure)
        assert some.changes.equals(every.changes)
        assert (some.next_number, some.individuals) == (every.next_number, every.individuals)
        self.skipped += len(table) - some.looked_at
        self.past.append((self.rows, self.decisions, self.known_distance))
        for name in STATE:
            table = table.set_column(
                table.column_names.index(name), before.schema.field(name), some.rows[name]
            )
        self.rows, self.decisions, self.known_distance = table, decisions, distance
        self.next_number = some.next_number

    def _identified(
        self,
        rows: pa.Table,
        decisions: pa.Table,
        distance: float,
        run_id: str,
        told: pa.Array | None,
    ) -> Identified | None:
        here = set(rows["annotation_id"].to_pylist())
        keep = [
            a in here and b in here
            for a, b in zip(
                self.edges["a_id"].to_pylist(), self.edges["b_id"].to_pylist(), strict=True
            )
        ]
        try:
            return identify_species(
                "lynx", rows, self.edges.filter(pa.array(keep, pa.bool_())), decisions,
                known_distance=distance, new_distance=NEW, radius=RADIUS, run_id=run_id,
                next_number=self.next_number, calibration=CURVE, encounters=self.encounters,
                viewpoints=self.viewpoints, told=told,
            )  # fmt: skip
        except ContradictionError:
            return None


IDENTIFIED_WITHOUT_SURE = (
    "annotation_id",
    "identity_id",
    "decision",
    "nearest_id",
    "nearest_distance",
)


@st.composite
def histories(draw: st.DrawFn) -> History:
    n = draw(st.integers(2, 16))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rows = random.normal(size=(6, 3))[random.integers(0, 6, n)] + 0.3 * random.normal(size=(n, 3))
    rows[random.random(n) < 0.1] = rows[0]  # exact ties
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    ids = [f"a{k:02d}" for k in range(n)]
    return History(
        ids,
        rows.astype(np.float32),
        draw(st.sampled_from(["off", "best"])),
        draw(st.sampled_from(["compare-all", "same-side"])),
    )


BOXES = [None, [0.0, 0.0, 9.0, 9.0], [1.0, 0.0, 9.0, 9.0], [20.0, 0.0, 9.0, 9.0]]


@settings(max_examples=12)
@given(histories(), st.data())
def test_what_is_near_the_new_is_enough(history: History, data: st.DataObject) -> None:
    """Uploads, labels and encounters that come and go, boxes of one image, sides, decisions, undo, calibrate."""
    ids = history.ids
    draw = data.draw
    images = {name: draw(st.sampled_from([name, name, name, "i", "j"])) for name in ids}
    boxes = {name: draw(st.sampled_from(BOXES)) for name in ids}
    for _ in range(draw(st.integers(2, 6))):
        step = draw(st.sampled_from(["night"] * 6 + ["undo", "calibrate"]))
        if step == "undo":
            history.undo()
            continue
        chosen = draw(st.lists(st.sampled_from(ids), unique=True, max_size=4))
        upload = [
            {
                "annotation_id": name,
                "image_path": images[name],
                "bbox": boxes[name],
                "root": "/photos",
                "species": "lynx",
                "source_key": name,
                "identity": draw(st.sampled_from(LABELS)),
                "encounter_id": draw(st.sampled_from(ENCOUNTERS)),
                "viewpoint": draw(st.sampled_from(VIEWPOINTS)),
            }
            for name in chosen
        ]
        pair = st.lists(st.sampled_from(ids), min_size=2, max_size=2, unique=True)
        kinds = st.sampled_from(["match", "nomatch", "unknown"])
        said = [(*two, what) for two, what in draw(st.lists(st.tuples(pair, kinds), max_size=2))]
        said += [(one, one, "unusable") for one in draw(st.lists(st.sampled_from(ids), max_size=1))]
        distance = draw(st.sampled_from([KNOWN / 2, KNOWN])) if step == "calibrate" else None
        history.night(upload, said, distance)


def test_a_part_in_which_nothing_is_new_is_not_looked_at() -> None:
    ids = [f"a{k}" for k in range(6)]
    angles = np.radians([0, 2, 90, 92, 180, 182])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    history = History(ids, vectors, "off", "compare-all")
    row = {"root": "/photos", "species": "lynx"}
    made = [{**row, "annotation_id": k, "image_path": k, "source_key": k} for k in ids]
    history.night(made[:5])
    assert history.skipped == 0
    history.night(made[5:])  # a5 is a4's; a0 to a3 are as they were
    assert history.skipped == 4
    history.night([], [("a0", "a2", "nomatch")])  # two individuals of two
    assert history.skipped == 4 + 2


def test_what_is_reached_on_paper() -> None:
    """0–1 one individual; 2 new, near 1; 3 shares an image with 2; 4 is of 3's label; 5–6 far from all."""
    seeds = np.array([False, False, True, False, False, False, False])
    before = np.array([7, 7, -1, 3, 3, 1, 1])
    edges = np.array([[1, 2], [5, 6], [3, 5]])
    distances = np.array([0.05, 0.05, 0.2], np.float32)
    image = np.array([0, 1, 2, 2, 3, 4, 5])
    label = np.array([-1, -1, -1, 0, 0, -1, -1])
    nobody = np.empty((0, 2), np.int64)
    said = Constraints(label, np.full(7, -1), image, nobody, nobody)

    def reached(judged: np.ndarray) -> tuple[list[bool], list[bool]]:
        given = seeds, before, edges, distances, KNOWN, [image, label], judged, said
        touched, kept = touched_rows(*given)
        return touched.tolist(), kept.tolist()

    # 0 and 1 stay one, whoever 2 is; of 3 it is another image that is new.
    assert reached(nobody) == ([True] * 5 + [False] * 2, [True] * 2 + [False] * 5)
    assert reached(np.array([[2, 6]]))[0] == [True] * 7


def test_contradictions_are_found_by_both() -> None:
    ids = ["a0", "a1"]
    history = History(ids, np.eye(2, 3, dtype=np.float32), "off", "compare-all")
    row = {"root": "/photos", "species": "lynx"}
    history.night([{**row, "annotation_id": k, "image_path": k, "source_key": k} for k in ids])
    history.night(
        [{"annotation_id": "a0", "identity": "Ines"}, {"annotation_id": "a1", "identity": "Juan"}]
    )
    held = history.rows
    history.night([], [("a0", "a1", "match")])
    assert history.rows is held
