"""How many questions remain, against made-up animals whose truth is known; and of which pictures."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from scipy.optimize import linear_sum_assignment

from reid import schema
from reid.catalogue import SpeciesGraph, SpeciesRules
from reid.identify import Calibration, calibrate, edges_table, identify_species, thresholds
from reid.neighbors import radius_graph
from reid.review import Asked, Within, answers_an_hour, ask, in_words, workload

ANIMALS, EACH, DIMENSIONS = 60, 5, 64
STEP = 5  # answers between two looks at the truth


def animals(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Some pictures are far worse than others, as a camera's are."""
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(ANIMALS), EACH)
    rows = random.normal(size=(ANIMALS, DIMENSIONS))[who]
    blur = 0.9 * np.exp(0.35 * random.normal(size=(len(who), 1)))
    rows += random.normal(size=rows.shape) * blur
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), who


def decisions(said: list[tuple[str, str, str]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {"a_id": a, "b_id": b, "decision": what, "reviewer": "Ann", "timestamp": k,
             "note": None, "run_id": "r"}
            for k, (a, b, what) in enumerate(said)
        ],
        schema=schema.DECISIONS,
    )  # fmt: skip


class Catalogue:
    """A species that a reviewer who knows the truth works on; its curve is of other animals."""

    def __init__(self, seed: int) -> None:
        vectors, self.who = animals(seed)
        self.curve: Calibration = calibrate(*animals(seed + 1000))
        known, new = thresholds(self.curve)
        self.rules = SpeciesRules("r", known, new, new, "off", "compare-all", "", self.curve)
        self.ids = [f"a{k:03}" for k in range(len(self.who))]
        made = {name: [None] * len(self.ids) for name in schema.ANNOTATIONS.names}
        made |= {"annotation_id": self.ids, "image_path": self.ids, "root": ["/"] * len(self.ids)}
        made |= {"species": ["lynx"] * len(self.ids)}
        self.rows = pa.table(made, schema=schema.ANNOTATIONS)
        graph = radius_graph(vectors, new)
        self.edges = edges_table("lynx", self.ids, (graph.edges, graph.distances))
        self.said: list[tuple[str, str, str]] = []

    def look(self) -> tuple[Asked, float]:
        """What is in doubt now, and the share of images that are wrong in truth."""
        said, rules = decisions(self.said), self.rules
        found = identify_species(
            "lynx",
            self.rows,
            self.edges,
            said,
            known_distance=rules.known_distance,
            new_distance=rules.new_distance,
            next_number=1,
        )
        rows = self.rows.append_column("identity_id", found.rows["identity_id"])
        names = np.asarray(found.rows["identity_id"].to_pylist())
        _, cluster = np.unique(names, return_inverse=True)
        table = np.zeros((cluster.max() + 1, ANIMALS))
        np.add.at(table, (cluster, self.who), 1)
        right = table[linear_sum_assignment(-table)].sum()
        graph = SpeciesGraph("lynx", rows, self.edges, rules)
        return ask(graph, said), 1 - right / len(self.ids)

    def answer(self, asked: Asked) -> None:
        place = {one: k for k, one in enumerate(self.ids)}
        for one in asked.questions[:STEP]:
            a, b = one.a.annotation_id, one.b.annotation_id
            same = self.who[place[a]] == self.who[place[b]]
            self.said.append((a, b, "match" if same else "nomatch"))


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_the_number_is_within_a_factor_of_two_of_what_it_takes(seed: int) -> None:
    """A tenth of the images is wrong; how many answers until it is a twentieth?"""
    catalogue = Catalogue(seed)
    asked, wrong = catalogue.look()
    assert 0.08 < wrong < 0.2
    promised = workload([asked], 0.05)
    assert promised is not None
    assert promised.wrong / promised.images == pytest.approx(wrong, rel=0.8)
    while wrong > 0.05:
        assert asked.questions
        catalogue.answer(asked)
        asked, wrong = catalogue.look()
    needed = len(catalogue.said)
    assert promised.questions is not None
    assert needed / 2 <= promised.questions <= 2 * needed


def made(*expected: float, unseen: float = 0.0, images: int = 100, learned: bool = True) -> Asked:
    return Asked([], np.asarray(expected), unseen, images, learned)


def test_by_hand() -> None:
    lynx, otter = made(3, 1, 0.5), made(2, 2)  # 8.5 of 200; best first 3, 2, 2, 1, 0.5
    found = workload([lynx, otter], 0.01)
    assert found is not None
    assert (found.images, found.wrong, found.questions, found.every) == (200, 8.5, 3, 5)
    assert workload([lynx, otter], 0.05).questions == 0  # type: ignore[union-attr]
    hidden = workload([made(1, unseen=3)], 0.02)
    assert hidden is not None
    assert hidden.questions is None
    assert "all 1 questions bring that to 3%, and not to 2%" in in_words(hidden, None)[0]
    assert "3 questions bring that to 1%, about 2 min of work" in in_words(found, 90.0)[0]
    assert "90 questions were answered an hour" in " ".join(in_words(found, 90.0))
    assert "takes the probabilities" in in_words(found, None)[-1]


def test_without_labels_no_number_is_made_up() -> None:
    assert workload([made(3), made(1, learned=False)]) is None
    assert workload([made(images=0)]) is None
    assert in_words(None, None) == [
        "How many questions remain is not known: no labels have taught how likely a pair is one animal."
    ]


def said_at(*moments: tuple[str, float]) -> pa.Table:
    start = datetime(2026, 1, 1, tzinfo=UTC)
    return pa.Table.from_pylist(
        [
            {"a_id": f"a{k}", "b_id": f"b{k}", "decision": "match", "reviewer": who,
             "timestamp": start + timedelta(seconds=second), "note": None, "run_id": "r"}
            for k, (who, second) in enumerate(moments)
        ],
        schema=schema.DECISIONS,
    )  # fmt: skip


def test_answers_an_hour_leave_pauses_out_and_people_apart() -> None:
    ann = [("Ann", 20 * k) for k in range(11)]  # ten intervals of 20 s
    assert answers_an_hour(said_at(*ann)) == pytest.approx(180)
    later = [("Ann", 9000 + 20 * k) for k in range(11)]
    bob = [("Bob", 5 + 40 * k) for k in range(11)]
    together = [("Ann", 9000.0)] * 5  # one act, many pairs
    found = answers_an_hour(said_at(*ann, *bob, *later, *together))
    assert found == pytest.approx(3600 * 30 / (200 + 400 + 200))
    assert answers_an_hour(said_at(*ann[:10])) is None


def test_a_pair_is_asked_about_where_one_picture_fits_all_limits() -> None:
    catalogue = Catalogue(0)
    asked, _ = catalogue.look()
    first = asked.questions[0]
    ids = (first.a.annotation_id, first.b.annotation_id)
    places = ["hill" if one == ids[0] else "lake" for one in catalogue.ids]
    times = [datetime(2026, 5, 2 if one in ids else 1) for one in catalogue.ids]
    for name, values in (("location_id", places), ("timestamp", times)):
        column = catalogue.rows.schema.get_field_index(name)
        field = catalogue.rows.schema.field(column)
        catalogue.rows = catalogue.rows.set_column(column, field, pa.array(values, field.type))
    found = identify_species(
        "lynx", catalogue.rows, catalogue.edges, decisions([]), next_number=1,
        known_distance=catalogue.rules.known_distance, new_distance=catalogue.rules.new_distance,
    )  # fmt: skip
    rows = catalogue.rows.append_column("identity_id", found.rows["identity_id"])
    graph = SpeciesGraph("lynx", rows, catalogue.edges, catalogue.rules)

    def pairs(**limits: object) -> set[tuple[str, str]]:
        found = ask(graph, decisions([]), limit=1000, within=Within(**limits))  # type: ignore[arg-type]
        return {(one.a.annotation_id, one.b.annotation_id) for one in found.questions}

    everything = pairs()
    hill = pairs(places=("hill",))
    assert ids in hill
    assert hill == {pair for pair in everything if ids[0] in pair}
    day = pairs(start=date(2026, 5, 2), end=date(2026, 5, 2))
    assert day == {pair for pair in everything if {*ids} & {*pair}}
    assert pairs(places=("lake",), start=date(2026, 5, 2)) == {
        pair for pair in everything if ids[1] in pair
    }
    assert not pairs(end=date(2026, 4, 30))
    who = first.a.identity_id
    owned = set(
        rows.filter(pa.compute.equal(rows["identity_id"], who))["annotation_id"].to_pylist()
    )
    assert pairs(individuals=(who,)) == {pair for pair in everything if owned & {*pair}}
    few = ask(graph, decisions([]), within=Within(places=("hill",)))
    assert few.images == 1
