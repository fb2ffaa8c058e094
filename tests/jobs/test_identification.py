"""Nights of a catalogue: order, races and kills change nothing; people decide last; all can be undone.

Most tests make their vectors up (made_up.py), so that distances fit on paper: known_distance 0.05 is
18.2 degrees between two vectors, new_distance 0.2 is 36.9 degrees.
"""

import csv
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from jobs.catalogue.decider import Decider
from jobs.common import outputs
from jobs.neighbours.incremental import new_edges
from reid import store
from reid.catalogue import (
    Catalogue,
    StoredRows,
    history,
    join_edge_parts,
    known_rows,
    open_catalogue,
    read_events,
    read_graph,
    read_rules,
)
from reid.config import load_config
from reid.identify import extend_edges
from reid.metrics import agreement
from reid.synthetic import make_herd
from tests.jobs.made_up import at, photograph, stand_in

Reid = Callable[..., int]
Say = Callable[[], str]

RULES = ("identify.known_distance=0.05", "identify.new_distance=0.2")
HERE = Path(__file__).parent


@dataclass
class Survey:
    """A folder of uploads and a catalogue."""

    home: Path
    reid: Reid
    place: str = ""
    ids: dict[str, str] = field(default_factory=dict)  # name → annotation id

    def __post_init__(self) -> None:
        self.place = self.place or str(self.home / "catalogue")

    def night(self, degrees: Mapping[str, float], *arguments: object) -> int:
        """Put pictures into the upload folder and identify; the exit code."""
        self.photograph({name: at(angle) for name, angle in degrees.items()})
        return self.identify(*arguments)

    def photograph(self, vectors: Mapping[str, np.ndarray]) -> None:
        self.ids |= photograph(self.home / "uploads", vectors)

    def identify(self, *arguments: object) -> int:
        return self.reid("identify", *self.arguments, *arguments)

    @property
    def arguments(self) -> list[str]:
        return ["-i", str(self.home / "uploads"), "-C", self.place, "--species", "lynx", *RULES]

    @property
    def catalogue(self) -> Catalogue:
        return open_catalogue(self.place)

    def column(self, name: str) -> dict[str, Any]:
        """Picture → value, of the pictures that the catalogue has."""
        rows = self.catalogue.rows(["image_path", name])
        pictures = [path.removesuffix(".jpg") for path in rows["image_path"].to_pylist()]
        return dict(zip(pictures, rows[name].to_pylist(), strict=True))

    @property
    def names(self) -> dict[str, str]:
        return self.column("identity_id")

    @property
    def herd(self) -> set[frozenset[str]]:
        """The pictures of each individual."""
        names = self.names
        return {
            frozenset(picture for picture in names if names[picture] == name)
            for name in names.values()
        }

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        rows = read_events(self.catalogue).to_pylist()
        return [row for row in rows if not kinds or row["event"] in kinds]

    def constraints(self, name: str, *decisions: tuple[str, str, str]) -> Path:
        """A file of decisions: picture, picture, decision. Each file is a day later, each line a minute."""
        day = len(list(self.home.glob("*.csv"))) + 1
        with (self.home / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("a_id", "b_id", "decision", "reviewer", "timestamp", "note"))
            for minute, (a, b, decision) in enumerate(decisions):
                when = f"2026-01-{day:02}T10:{minute:02}:00"
                writer.writerow((self.ids[a], self.ids[b], decision, "anna", when, ""))
        return self.home / name


def state(survey: Survey) -> tuple[Any, ...]:
    """All that two catalogues have to agree on, up to the ids and times of runs."""
    catalogue = survey.catalogue
    rows = catalogue.rows().drop_columns(["run_id"]).to_pylist()
    events = [
        {key: value for key, value in row.items() if key not in ("run_id", "number", "time")}
        for row in read_events(catalogue).to_pylist()
    ]
    return rows, events, dict(catalogue.counters), catalogue.settings


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(monkeypatch.setattr)


@pytest.fixture
def survey(made_up: None, tmp_path: Path, reid: Reid) -> Survey:
    return Survey(tmp_path, reid)


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Say:
    """What was said since the last time, on one line."""

    def read() -> str:
        out, err = capsys.readouterr()
        return " ".join((err + out).split())

    return read


# ── Nights ────────────────────────────────────────────────────────────────────────────────────────


def test_known_new_and_unsure(survey: Survey, said: Say) -> None:
    assert survey.night({"a1": 0, "a2": 5, "b1": 90}) == 0
    assert survey.names == {"a1": "lynx-0001", "a2": "lynx-0001", "b1": "lynx-0002"}
    assert set(survey.column("decision").values()) == {"new"}
    assert survey.night({"a3": 12, "c1": 180, "x": 62}) == 0
    text = said()
    assert survey.column("decision") == {
        "a1": "new", "a2": "new", "b1": "new", "a3": "known", "c1": "new", "x": "unsure",
    }  # fmt: skip
    names = survey.names
    assert names["a3"] == "lynx-0001"
    assert len({names["x"], names["c1"], names["a1"], names["b1"]}) == 4, "unsure is not forced"
    assert survey.column("nearest_id")["x"] == survey.ids["b1"]
    assert survey.column("nearest_distance")["x"] == pytest.approx(1 - np.cos(np.radians(28)))
    assert (
        "identify: lynx: 1 known, 1 new, 1 unsure; 2 → 4 individuals, 3 of them seen once, 0 merges, 0 splits"
        in text
    )
    assert "catalogue: version 1, 3 images; 3 of the 6 are new" in text
    run = survey.catalogue.record.run_id
    summary = outputs.read_summary(store.join(survey.place, "runs", run))
    assert summary["identify"]["run_id"] == run
    assert summary["identify"]["species"]["lynx"]["unsure"] == 1
    assert summary["identify"]["known_already"] == 3
    seconds = summary["identify"]["stage_seconds"]
    assert set(seconds) == {"read", "embed", "search", "decide", "commit"}
    assert sum(seconds.values()) <= summary["identify"]["seconds"] + 0.05
    assert text.endswith(run), "the one line for a pipe"


def test_gauges_tell_when_a_night_went_through_and_what_there_is(
    survey: Survey, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    def gauges() -> dict[str, float]:
        capsys.readouterr()
        assert reid("history", "-C", survey.place, "--prometheus") == 0
        lines = [one for one in capsys.readouterr().out.splitlines() if not one.startswith("#")]
        return {name: float(value) for name, _, value in (one.rpartition(" ") for one in lines)}

    own = f'catalogue="{survey.place}"'
    before = time.time()
    assert survey.night({"a1": 0, "a2": 5, "b1": 90}) == 0
    first = gauges()
    begun = f"reid_catalogue_last_night_timestamp_seconds{{{own}}}"
    assert before - 1 < first.pop(begun) < time.time()
    assert first == {
        f'reid_catalogue_images{{{own},species="lynx",decision="new"}}': 3,
        f'reid_catalogue_individuals{{{own},species="lynx"}}': 2,
        f'reid_catalogue_not_usable{{{own},species="lynx"}}': 1,
    }
    later = time.time()
    assert survey.identify() == 0, "nothing new"
    quiet = gauges()[begun]
    assert quiet > later - 1
    assert survey.identify("identify.known_distance=0.01") == 1
    assert gauges()[begun] == quiet, "a night that failed"


def test_the_same_night_again_changes_nothing(survey: Survey, said: Say) -> None:
    assert survey.night({"a1": 0, "a2": 5}) == 0
    before = state(survey), survey.catalogue.version
    said()
    assert survey.identify() == 0
    assert "nothing new" in said()
    assert (state(survey), survey.catalogue.version) == before


def test_a_merge_and_a_split_in_history_and_undone(survey: Survey, said: Say) -> None:
    # b is 30 degrees from a; m, halfway, is one with both.
    assert survey.night({"a1": 0, "a2": 3, "b": 30}) == 0
    apart = state(survey)
    assert survey.night({"m": 15}) == 0
    merging = survey.catalogue.record.run_id
    assert survey.herd == {frozenset({"a1", "a2", "b", "m"})}
    (merge,) = survey.events("merge")
    assert (merge["identity_id"], merge["other_ids"]) == ("lynx-0001", ["lynx-0002"])
    assert {merge["a_id"], merge["b_id"]} == {survey.ids["b"], survey.ids["m"]}
    assert merge["distance"] == pytest.approx(1 - np.cos(np.radians(15)), abs=1e-6)

    file = survey.constraints("said.csv", ("a1", "b", "nomatch"))
    assert survey.identify("--constraints", file) == 0
    parting = survey.catalogue.record.run_id
    # The name stays with most of the rows; a name that merged away is gone for good.
    assert survey.names == dict.fromkeys(["a1", "a2", "m"], "lynx-0001") | {"b": "lynx-0003"}
    (split,) = survey.events("split")
    assert (split["identity_id"], split["other_ids"]) == ("lynx-0003", ["lynx-0001"])
    assert "nomatch by anna" in split["reason"]

    said()
    assert survey.reid("history", "-C", survey.place, "--run", merging) == 0
    told = said()
    assert "lynx-0002 merged into lynx-0001, with 1 image: " in told
    assert told.endswith(("b.jpg ~ m.jpg at 0.034", "m.jpg ~ b.jpg at 0.034"))
    assert survey.reid("history", "-C", survey.place, "--identity", "lynx-0003") == 0
    assert "lynx-0003 split from lynx-0001" in said()

    assert survey.reid("undo", merging, "-C", survey.place) == 1
    assert f"undo these first, in this order: {parting}" in said()
    assert survey.reid("undo", parting, "-C", survey.place) == 0
    assert survey.reid("undo", merging, "-C", survey.place) == 0
    assert state(survey)[0] == apart[0]
    assert len(survey.catalogue.decisions()) == 0, "decisions go with the run that brought them"
    assert [run.undone_by is None for run in history(survey.catalogue)] == [
        True,
        True,
        False,
        False,
        True,
    ]

    # The same upload again: the same individuals, under names that nobody had.
    assert survey.night({"c": 150}) == 0
    assert survey.herd == {frozenset({"a1", "a2", "b", "m"}), frozenset({"c"})}
    assert survey.names["c"] == "lynx-0004"


def test_a_picture_that_takes_the_place_of_an_undone_one(survey: Survey) -> None:
    assert survey.night({"a": 0, "b": 40}) == 0
    assert survey.night({"x": 5}) == 0
    assert survey.names["x"] == survey.names["a"]
    assert survey.reid("undo", survey.catalogue.record.run_id, "-C", survey.place) == 0
    # What the undone run found about the old x must not be believed of the new one.
    survey.photograph({"x": np.concatenate([at(45)])})
    assert survey.identify() == 0
    assert survey.names["x"] == survey.names["b"] != survey.names["a"]


def test_tidying_up_changes_nothing_and_takes_no_undo_away(
    survey: Survey,
) -> None:
    for night in ({"a": 0, "b": 40}, {"c": 3}, {"x": 5}):
        assert survey.night(night) == 0
    last = survey.catalogue.record.run_id
    edges = Path(survey.place) / "edges"
    assert len(list(edges.rglob("*.parquet"))) == 2, "a and b are too far apart for one"
    before = state(survey), read_graph(survey.catalogue, "lynx").edges.sort_by("distance")
    later = datetime.now(UTC) + timedelta(days=60)
    assert join_edge_parts(survey.catalogue, before=later) == 2
    assert len(list(edges.rglob("*.parquet"))) == 1
    assert join_edge_parts(survey.catalogue, before=later) == 0
    graph = read_graph(survey.catalogue, "lynx").edges.sort_by("distance")
    assert (state(survey), graph) == before
    assert survey.reid("tidy", "-C", survey.place) == 0
    # What the last run had found goes with it, although it is in one file with the rest.
    assert survey.reid("undo", last, "-C", survey.place) == 0
    assert len(read_graph(survey.catalogue, "lynx").edges) < len(graph)
    survey.photograph({"x": at(45)})
    assert survey.identify() == 0
    assert survey.names["x"] == survey.names["b"]


def test_export(survey: Survey, tmp_path: Path) -> None:
    assert survey.night({"a1": 0, "a2": 5, "b, b": 90}) == 0
    assert survey.reid("export", "-C", survey.place) == 0
    folder = Path(survey.place) / "export"
    frame = pd.read_csv(folder / "identities.csv", dtype={"annotation_id": str})
    assert frame.columns.tolist()[:8] == [
        "annotation_id", "image_path", "species", "identity_id", "name", "identity", "decision",
        "confidence",
    ]  # fmt: skip
    assert frame["image_path"].tolist() == [f"{name}.jpg" for name in survey.names]
    assert frame["identity_id"].tolist() == list(survey.names.values())
    assert pl.read_parquet(folder / "identities.parquet")["identity_id"].n_unique() == 2
    assert survey.reid("export", "-C", survey.place, "-o", tmp_path / "who.txt") == 1


def test_names_that_people_gave_come_back(survey: Survey, said: Say, tmp_path: Path) -> None:
    survey.photograph({"a": at(0), "b": at(5), "c": at(90)})
    table = survey.home / "uploads" / "names.csv"
    table.write_text("path,identity\na.jpg,Luna\nb.jpg,\nc.jpg,=Leo\n")
    arguments = ("-i", table, *survey.arguments[2:])
    assert survey.reid("identify", *arguments) == 0
    said()
    for asked, name in (("Luna", "Luna"), ("luna ", "Luna"), ("=Leo", "=Leo")):
        assert survey.reid("history", "-C", survey.place, "--identity", asked) == 0
        assert f"({name}) is new" in said()
    assert survey.reid("history", "-C", survey.place, "--identity", "Lune") == 1
    assert "no individual is or was called Lune; did you mean Luna" in said()
    for raw, leo in (((), "'=Leo"), (("--raw",), "=Leo")):
        assert survey.reid("export", "-C", survey.place, "-o", tmp_path / "who.csv", *raw) == 0
        assert ("got an apostrophe" in said()) == (not raw)
        frame = pd.read_csv(tmp_path / "who.csv", keep_default_na=False).set_index("image_path")
        assert frame["name"].to_dict() == {"a.jpg": "Luna", "b.jpg": "Luna", "c.jpg": leo}
        assert frame["identity"].to_dict() == {"a.jpg": "Luna", "b.jpg": "", "c.jpg": leo}


def test_a_corrected_table_takes_a_wrong_label_away(survey: Survey, said: Say) -> None:
    survey.photograph({"a": at(0), "b": at(90)})
    table = survey.home / "uploads" / "names.csv"
    arguments = ("-i", table, *survey.arguments[2:])
    table.write_text("path,identity\na.jpg,Luna\nb.jpg,Luna\n")
    assert survey.reid("identify", *arguments) == 0
    assert survey.herd == {frozenset("ab")}
    table.write_text("path\na.jpg\nb.jpg\n")  # says nothing of names
    assert survey.reid("identify", *arguments) == 0
    assert survey.column("identity") == {"a": "Luna", "b": "Luna"}
    table.write_text("path,identity\na.jpg,Luna\nb.jpg,\n")
    said()
    assert survey.reid("identify", *arguments) == 0
    assert "1 images had a label in `identity` that the upload says is none" in said()
    assert survey.column("identity") == {"a": "Luna", "b": None}
    assert survey.herd == {frozenset("a"), frozenset("b")}


def test_a_reviewer_wins_over_a_label_that_says_nothing(survey: Survey, said: Say) -> None:
    survey.photograph({"a": at(0), "b": at(90)})
    table = survey.home / "uploads" / "names.csv"
    table.write_text("path,identity\na.jpg,NA\nb.jpg,NA\n")
    arguments = ("-i", table, *survey.arguments[2:])
    # As a catalogue from before has it.
    assert survey.reid("identify", *arguments, "sources.keep_words=NA") == 0
    assert survey.herd == {frozenset("ab")}
    file = survey.constraints("c.csv", ("a", "b", "nomatch"))
    said()
    assert survey.reid("identify", "-C", survey.place, "--constraints", file) == 0
    assert "2 images have 'NA' as identity, which says nothing" in said()
    assert survey.herd == {frozenset("a"), frozenset("b")}


def test_boxes_that_moved_are_the_animals_that_are_known(survey: Survey, said: Say) -> None:
    survey.photograph({"a": at(0), "b": at(90)})
    table = survey.home / "uploads" / "boxes.csv"
    arguments = ("-i", table, *survey.arguments[2:])

    def boxes(*rows: str) -> str:
        table.write_text("annotation_id,path,bbox\n" + "\n".join(rows) + "\n")
        assert survey.reid("identify", *arguments) == 0
        return said()

    said()
    boxes('x1,a.jpg,"[10,10,100,100]"', 'x2,a.jpg,"[300,10,100,100]"', 'x3,b.jpg,"[0,0,50,50]"')
    before = survey.catalogue.rows(["annotation_id", "identity_id", "bbox"])
    told = boxes(
        'y1,a.jpg,"[303,12,100,100]"', 'y2,a.jpg,"[12,10,100,99]"', 'x3,b.jpg,"[1,0,50,50]"'
    )
    assert "3 boxes moved by up to 3 px since they came into the catalogue" in told
    assert survey.catalogue.rows(before.column_names).equals(before)
    # Another animal in the same image is another animal.
    boxes('y3,a.jpg,"[150,10,100,100]"')
    assert len(survey.catalogue.rows(["annotation_id"])) == 4
    # Decisions may name an annotation as the second detector did.
    day = "2026-02-01T10:00:00"
    file = survey.home / "new.csv"
    file.write_text(f"a_id,b_id,decision,reviewer,timestamp\ny1,x3,nomatch,eva,{day}\n")
    assert survey.reid("identify", "-C", survey.place, "--constraints", file) == 0
    assert "1 decisions name annotations by an id that they had in an upload" in said()
    assert survey.catalogue.decisions().select(["a_id", "b_id"]).to_pylist() == [
        {"a_id": "x2", "b_id": "x3"}
    ]


def test_a_species_of_one_image_does_not_stop_the_others(survey: Survey, said: Say) -> None:
    survey.photograph({f"a{k}": at(7 * k % 90) for k in range(12)} | {"alone": at(0)})
    table = survey.home / "uploads" / "all.csv"
    rows = [f"{name}.jpg,{'fox' if name == 'alone' else 'lynx'}" for name in survey.ids]
    table.write_text("path,species\n" + "\n".join(rows) + "\n")
    arguments = ("-i", table, "-C", survey.place, "identify.estimate=true", "--max-failures", "0.5")
    assert survey.reid("identify", *arguments) == 0
    assert "fox: the catalogue has no rules for it yet, and they cannot be guessed" in said()
    assert len(survey.names) == 12
    assert list(read_rules(survey.catalogue)) == ["lynx"]


def test_a_whole_image_under_another_id_is_known(survey: Survey, said: Say) -> None:
    assert survey.night({"a": 0, "b": 90}) == 0
    before = survey.names, survey.catalogue.version
    table = survey.home / "uploads" / "ids.csv"
    table.write_text("annotation_id,path\nA1,a.jpg\nA2,b.jpg\n")
    said()
    assert survey.reid("identify", "-i", table, *survey.arguments[2:]) == 0
    assert "2 whole images come under another annotation_id than before" in said()
    assert (survey.names, survey.catalogue.version) == before


@pytest.mark.parametrize(
    "species", ["Lynx lynx", "a/b", "..", "=cmd", "é" * 30, "x" * 190, "'q\"", "lynx.", "a%b"]
)
def test_a_species_may_be_called_anything(survey: Survey, species: str) -> None:
    survey.photograph({"a": at(0), "b": at(5)})
    arguments = [
        "-i",
        str(survey.home / "uploads"),
        "-C",
        survey.place,
        "--species",
        species,
        *RULES,
    ]
    assert survey.reid("identify", *arguments) == 0
    assert survey.night({"c": 90}, "--species", species) == 0
    assert set(survey.names.values()) == {f"{species}-0001", f"{species}-0002"}
    assert len(read_graph(survey.catalogue, species).edges) == 1


@pytest.mark.parametrize("species", ["x" * 300, "ly\x1bnx", "é" * 60])
def test_a_species_that_no_folder_can_be_called_is_refused(
    survey: Survey, said: Say, species: str
) -> None:
    survey.photograph({"a": at(0)})
    assert survey.identify("--species", species) == 1
    assert "species: " in said()
    assert not Path(survey.place).exists()


# ── Order ─────────────────────────────────────────────────────────────────────────────────────────


def crowd(seed: int, animals: int = 6, pictures: int = 4) -> dict[str, np.ndarray]:
    """Animals in five dimensions, near enough to each other for bridges and for doubts."""
    rng = np.random.default_rng(seed)
    found = {}
    for animal in range(animals):
        centre = rng.standard_normal(5)
        for number in range(pictures):
            vector = centre + 0.35 * rng.standard_normal(5)
            found[f"{rng.integers(10**9):09}-{animal}-{number}"] = vector / np.linalg.norm(vector)
    return found


@pytest.mark.parametrize("mode", ["off", "mean"])
@pytest.mark.parametrize("seed", [1, 2])
def test_uploads_in_any_order_are_one_upload(
    made_up: None, tmp_path: Path, reid: Reid, seed: int, mode: str
) -> None:
    pictures = crowd(seed)
    rng = np.random.default_rng([seed, 1])
    names = rng.permutation(list(pictures)).tolist()
    sides = rng.choice(["left", "right", ""], len(names))
    table = pd.DataFrame(
        {
            "image_path": [f"{name}.jpg" for name in names],
            "viewpoint": sides,
            "encounter_id": [f"met {name[10]} {rng.integers(2)}" for name in names],
        }
    )
    rules = (f"identify.encounters={mode}", "identify.viewpoints=same-side")
    surveys = []
    for portions in (1, 5):
        survey = Survey(tmp_path / str(portions), reid)
        survey.photograph(pictures)
        for k, part in enumerate(np.array_split(np.arange(len(names)), portions)):
            listed = survey.home / "uploads" / f"{k}.csv"
            table.iloc[part].to_csv(listed, index=False)
            assert reid("identify", "-i", listed, *survey.arguments[2:], *rules) == 0
        surveys.append(survey)
    one, many = surveys
    assert 1 < len(one.herd) < len(names)
    assert many.herd == one.herd
    assert [len(history(each.catalogue)) for each in surveys] == [1, 5]
    graphs = [read_graph(each.catalogue, "lynx").edges for each in surveys]
    pairs = [{tuple(row.values()) for row in graph.to_pylist()} for graph in graphs]
    if mode == "off":
        assert pairs[0] == pairs[1], "to the bit"
    else:
        assert pairs[0] <= pairs[1], "nodes that have grown since are still there, unused"


def test_a_label_that_comes_later_joins_and_an_upload_without_it_takes_nothing_back(
    survey: Survey,
) -> None:
    assert survey.night({"a": 0, "b": 90, "c": 200}) == 0
    (survey.home / "uploads" / "labels.csv").write_text(
        "path,identity\na.jpg,Luna\nb.jpg,Luna\nc.jpg,\n"
    )
    assert (
        survey.reid("identify", "-i", survey.home / "uploads/labels.csv", *survey.arguments[2:])
        == 0
    )
    assert survey.herd == {frozenset({"a", "b"}), frozenset({"c"})}
    (merge,) = survey.events("merge")
    assert "both labelled Luna" in merge["reason"]
    before = state(survey)
    assert survey.identify() == 0, "from the folder, which has no labels"
    assert state(survey) == before


def test_a_side_that_is_learned_later_parts_and_joins(survey: Survey) -> None:
    survey.photograph({"a": at(0), "b": at(5), "c": at(100), "d": at(104)})
    uploads = survey.home / "uploads"

    def tell(name: str, **sides: str) -> None:
        lines = [f"{picture}.jpg,{side}" for picture, side in sides.items()]
        (uploads / name).write_text("\n".join(["path,viewpoint", *lines]))
        arguments = ("-i", uploads / name, *survey.arguments[2:], "identify.viewpoints=same-side")
        assert survey.reid("identify", *arguments) == 0

    tell("first.csv", a="", b="", c="left", d="right")
    assert survey.herd == {frozenset("ab"), frozenset("c"), frozenset("d")}
    tell("then.csv", a="left", b="right")
    assert survey.herd == {frozenset(name) for name in "abcd"}, "what was found no longer counts"
    tell("last.csv", d="left")
    assert survey.herd == {frozenset("a"), frozenset("b"), frozenset("cd")}, "searched anew"


def test_calibrate_sets_rules_and_resets_them(survey: Survey, said: Say, tmp_path: Path) -> None:
    table = label(tmp_path / "labelled")
    assert survey.reid("calibrate", "-i", table, "-C", survey.place) == 0
    assert "expected calibration error" in said()
    rules = read_rules(survey.catalogue)["lynx"]
    assert rules.calibration is not None
    assert 1 - np.cos(np.radians(3)) < rules.known_distance < 1 - np.cos(np.radians(30))
    assert rules.known_distance < rules.new_distance
    folder = store.join(survey.place, "runs", survey.catalogue.record.run_id)
    told = outputs.read_summary(folder)["calibrate"]["rules"]["lynx"]
    assert told["expected_calibration_error"] == rules.calibration.ece
    assert told["known_distance"] == rules.known_distance
    assert survey.names == {}, "the labelled pictures do not come into the catalogue"
    assert [event["event"] for event in survey.events()] == ["calibrate"]

    survey.photograph({"a": at(0), "b": at(2), "c": at(60)})
    plain = survey.arguments[:6]
    assert survey.reid("identify", *plain) == 0
    assert survey.herd == {frozenset({"a", "b"}), frozenset({"c"})}
    # Nobody else is within the radius, and the curve of ten individuals is carried to two.
    sure = 1 - rules.calibration.for_gallery(2)(rules.radius)
    assert list(survey.column("confidence").values()) == pytest.approx([float(sure)] * 3)

    # Other distances, for all that is there.
    wide = ("identify.known_distance=0.6", "identify.new_distance=0.7")
    assert survey.reid("calibrate", "-C", survey.place, *wide) == 0
    assert survey.herd == {frozenset({"a", "b", "c"})}
    (merge,) = survey.events("merge")
    assert merge["other_ids"] == ["lynx-0002"]
    wider = read_rules(survey.catalogue)["lynx"]
    assert wider.radius == 0.7
    assert wider.calibration is not None, "the distances mean what they meant"
    assert wider.calibration.as_dict() == rules.calibration.as_dict()
    assert survey.reid("undo", survey.catalogue.record.run_id, "-C", survey.place) == 0
    assert survey.herd == {frozenset({"a", "b"}), frozenset({"c"})}
    # The first upload has settled what calibrate left open.
    settled = {**rules.as_dict(), "encounters": "off", "viewpoints": "compare-all"}
    assert read_rules(survey.catalogue)["lynx"].as_dict() == settled
    # Found by a run that was undone, the wide edges count no more; the narrow ones do.
    survey.photograph({"d": at(62)})
    assert survey.reid("identify", *plain) == 0
    assert survey.names["d"] == survey.names["c"]


def test_what_calibrate_has_looked_at_is_at_hand_for_the_next_night(
    survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_rows, "FEWEST_ROWS", 1)
    assert survey.night({"a": 0, "b": 40}) == 0
    wide = ("identify.known_distance=0.6", "identify.new_distance=0.7")
    assert survey.reid("calibrate", "-C", survey.place, *wide) == 0
    assert StoredRows(survey.catalogue).known("lynx") is not None
    monkeypatch.setattr("jobs.catalogue.decider.whole_night", None)
    survey.photograph({"c": at(20)})
    assert survey.reid("identify", *survey.arguments[:6]) == 0
    assert survey.herd == {frozenset("abc")}


def label(folder: Path, animals: int = 10) -> Path:
    """Pictures of animals 36 degrees apart, four of each, and a table of who they are."""
    rng = np.random.default_rng(0)
    places = {f"{who}-{k}": at(36 * who + rng.normal(0, 2)) for who in range(animals) for k in range(4)}  # fmt: skip
    photograph(folder, places)
    lines = [f"{name}.jpg,ibex_{name[0]},lynx" for name in places]
    (folder / "labelled.csv").write_text("\n".join(["path,identity,species", *lines]))
    return folder / "labelled.csv"


def test_calibrate_learns_from_the_labelled_picture_of_a_name(
    survey: Survey, tmp_path: Path
) -> None:
    # The catalogue has another picture, of another size, under the name of a labelled one.
    survey.photograph({"0-0": np.asarray([0, 0, 0, 1]), "a": np.asarray([1, 0, 0, 0])})
    assert survey.identify() == 0
    before = state(survey)
    table = label(tmp_path / "labelled")
    assert survey.reid("calibrate", "-i", table, "-C", survey.place, *RULES) == 0
    curve = read_rules(survey.catalogue)["lynx"].calibration
    assert curve is not None
    assert curve.samples == 2 * 40, "in another folder it is a picture of its own"
    # The other's vector has four values, and these have two: none was taken for the other.
    assert state(survey)[0] == before[0]


def test_labels_give_confidences_to_distances_that_were_given(survey: Survey, said: Say) -> None:
    table = label(survey.home / "uploads")
    assert survey.reid("identify", "-i", table, *survey.arguments[2:]) == 0
    rules = read_rules(survey.catalogue)["lynx"]
    assert (rules.known_distance, rules.new_distance) == (0.05, 0.2)
    assert rules.source.startswith("given; confidences from 80 links of 10 labelled individuals")
    assert all(0 < sure <= 1 for sure in survey.column("confidence").values())
    # Without labels there is no probability, and the log says so.
    other = Survey(survey.home / "other", survey.reid)
    assert other.night({"a": 0}) == 0
    assert "given; no confidences (calibration: 0 labelled individuals" in said()
    assert other.column("confidence") == {"a": None}


def test_a_catalogue_on_object_storage(
    made_up: None, tmp_path: Path, reid: Reid, far_bucket: str, said: Say
) -> None:
    survey = Survey(tmp_path, reid, f"{far_bucket}/deep/lynx-catalogue")
    assert survey.night({"a": 0, "b": 30}) == 0
    assert survey.night({"m": 15, "c": 120}) == 0
    assert survey.herd == {frozenset({"a", "b", "m"}), frozenset({"c"})}
    said()
    assert reid("history", "-C", survey.place) == 0
    assert "lynx-0002 merged into lynx-0001" in said()
    run = survey.catalogue.record.run_id
    assert outputs.read_summary(store.join(survey.place, "runs", run))["identify"]["run_id"] == run
    assert reid("export", "-C", survey.place) == 0
    assert store.exists(f"{survey.place}/export/identities.csv")
    assert reid("undo", run, "-C", survey.place) == 0
    assert survey.herd == {frozenset({"a"}), frozenset({"b"})}
    assert reid("tidy", "-C", survey.place) == 0
    assert survey.identify() == 0
    assert survey.names["c"] == "lynx-0004"


# ── What goes wrong ───────────────────────────────────────────────────────────────────────────────


def test_another_picture_under_a_known_name_replaces_nothing(survey: Survey, said: Say) -> None:
    assert survey.night({"a": 0, "b": 90}) == 0
    before = state(survey)
    survey.photograph({"a": np.asarray([0.6, 0.8, 0, 0])})  # of another size too
    said()
    assert survey.identify("--max-failures", "0.6") == 0
    text = said()
    assert "give its file another name, or give this upload a --root" in text
    assert state(survey) == before
    runs = sorted((Path(survey.place) / "runs").iterdir())
    failures = store.read_table(str(runs[-1] / outputs.FAILURES)).to_pylist()
    assert [(row["image_path"], row["stage"]) for row in failures] == [("a.jpg", "identify")]
    assert survey.night({"c": 180}) == 2, "a third failed, and a tenth may"
    assert survey.names["c"] == "lynx-0003", "after all that worked was committed"


def test_weeks_in_folders_of_their_own_lose_no_picture_whose_name_repeats(
    survey: Survey, said: Say
) -> None:
    """IMG_0001 of week 1 and of week 2 are two pictures; either week again changes nothing."""
    names = ("IMG_0001", "IMG_0002")
    for week, degrees in (("week1", (0, 90)), ("week2", (180, 91))):
        folder = survey.home / week
        photograph(folder, dict(zip(names, map(at, degrees), strict=True)))
        arguments = ("-i", folder, "-C", survey.place, "--species", "lynx", *RULES)
        assert survey.reid("identify", *arguments) == 0
    assert "2 pictures have the name of another one that is known from another folder" in said()
    rows = survey.catalogue.rows(["root", "image_path", "identity_id"]).to_pylist()
    held = {(Path(row["root"]).name, row["image_path"][:-4]): row["identity_id"] for row in rows}
    assert len(held) == 4
    assert held["week1", "IMG_0002"] == held["week2", "IMG_0002"]
    assert len(set(held.values())) == 3
    before = state(survey)
    for week in ("week1", "week2"):
        again = ("-i", survey.home / week, "-C", survey.place, "--species", "lynx", *RULES)
        assert survey.reid("identify", *again) == 0
    assert state(survey) == before


def test_a_file_that_is_copied_again_is_the_picture_that_it_was(survey: Survey, said: Say) -> None:
    assert survey.night({"a": 0, "b": 90, "c": 180}) == 0
    before = state(survey), survey.catalogue.version
    for name in ("a", "b"):
        file = survey.home / "uploads" / f"{name}.jpg"
        os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**9))
    survey.photograph({"b": at(91)})
    said()
    assert survey.identify("--max-failures", "0.5") == 0
    text = said()
    assert "1 files were written again and hold the pictures that are known" in text
    assert "1 images were left out; the first: b.jpg: the catalogue has this annotation" in text
    assert (state(survey), survey.catalogue.version) == before


def test_a_file_that_is_copied_again_is_read_once(
    survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert survey.night({"a": 0, "b": 90}) == 0
    file = survey.home / "uploads" / "a.jpg"
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 10**9))
    read, reads = store.read_bytes, []

    def counted(path: str) -> bytes:
        reads.extend([path] if path.endswith(".jpg") else [])
        return read(path)

    monkeypatch.setattr(store, "read_bytes", counted)
    assert survey.identify() == 0
    assert reads == [str(file)]
    assert survey.identify() == 0
    assert reads == [str(file)], "what it holds is remembered"
    assert survey.night({"c": 180}) == 0
    assert len(survey.names) == 3


def test_pictures_that_went_into_an_archive_stay_as_they_are(survey: Survey, said: Say) -> None:
    listed = survey.home / "uploads" / "all.csv"
    survey.photograph({"a": at(0), "b": at(90), "c": at(180)})
    listed.write_text("path\na.jpg\nb.jpg\nc.jpg\n")
    arguments = ("-i", listed, *survey.arguments[2:])
    assert survey.reid("identify", *arguments) == 0
    before = state(survey), survey.catalogue.version
    (survey.home / "uploads" / "a.jpg").unlink()
    (survey.home / "uploads" / "b.jpg").unlink()
    (survey.home / "uploads" / "b.jpg").mkdir()  # nothing that can be read as a file
    said()
    assert survey.reid("identify", *arguments) == 0
    assert "2 known files cannot be read; they stay as the catalogue has them" in said()
    assert (state(survey), survey.catalogue.version) == before


def test_a_broken_picture_is_a_failure_each_night_and_stops_nobody(survey: Survey) -> None:
    survey.photograph({f"a{k}": at(k) for k in range(12)})
    (survey.home / "uploads" / "broken.jpg").write_bytes(b"abc")
    assert survey.identify() == 0
    version = survey.catalogue.version
    assert "broken" not in survey.names
    assert survey.identify("--excel") == 0
    tables = list((survey.home / "catalogue" / "runs").glob("*/failures.csv"))
    texts = [path.read_bytes() for path in tables]
    assert sorted(text.startswith(b"\xef\xbb\xbf") for text in texts) == [False, True]
    assert all(b"broken.jpg,decode,this is no picture" in text for text in texts)
    assert survey.catalogue.version == version


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "they cannot be learned from these images"),
        (("identify.known_distance=0.05",), "known_distance and new_distance belong together"),
    ],
)
def test_a_new_catalogue_needs_rules(
    survey: Survey, said: Say, arguments: tuple[str, ...], message: str
) -> None:
    survey.photograph({"a": at(0), "b": at(90)})
    assert survey.reid("identify", *survey.arguments[:6], *arguments) == 1
    text = said()
    assert message in text
    if not arguments:
        assert all(
            way in text for way in ("reid calibrate", "identify.known_distance", "estimate=true")
        )


def test_a_species_without_rules_does_not_hold_up_the_others(survey: Survey, said: Say) -> None:
    assert survey.night({"a": 0}) == 0
    survey.photograph({"b": at(90), "f": at(40)})
    listed = survey.home / "uploads" / "both.csv"
    listed.write_text("path,species\na.jpg,lynx\nb.jpg,lynx\nf.jpg,fox\n")
    said()
    arguments = ("identify", "-i", listed, "-C", survey.place)
    assert survey.reid(*arguments, "--max-failures", "0.5") == 0
    assert "f.jpg: fox: the catalogue has no rules for it yet" in said()
    assert set(survey.names) == {"a", "b"}
    run = survey.catalogue.record.run_id
    failures = store.read_table(store.join(survey.place, "runs", run, outputs.FAILURES)).to_pylist()
    assert [(row["image_path"], row["stage"]) for row in failures] == [("f.jpg", "identify")]
    assert "reid calibrate" in failures[0]["error"]
    # Once there are rules it comes in; alone it is bad input.
    listed.write_text("path,species\nf.jpg,fox\n")
    assert survey.reid(*arguments) == 1
    assert survey.reid(*arguments, *RULES) == 0
    assert set(survey.names) == {"a", "b", "f"}


def test_rules_do_not_change_by_the_way(survey: Survey, said: Say) -> None:
    assert survey.night({"a": 0, "b": 30}) == 0
    assert survey.night({"c": 31}, "identify.encounters=mean") == 1
    assert "identify.encounters=mean for lynx, but this catalogue was made with off" in said()
    assert survey.reid("identify", *survey.arguments[:6]) == 0, "they may be left out"
    assert survey.names["c"] == survey.names["b"]


def test_encounters_at_hand_are_used_and_said_and_stay(survey: Survey, said: Say) -> None:
    """The first upload settles it; a later one without encounters changes nothing."""
    survey.photograph({"a": at(0), "b": at(80), "c": at(1)})
    listed = survey.home / "uploads" / "met.csv"
    listed.write_text("path,species,encounter_id\na.jpg,lynx,e1\nb.jpg,lynx,e1\nc.jpg,lynx,e2\n")
    arguments = ("identify", "-i", listed, "-C", survey.place)
    assert survey.reid(*arguments, *RULES) == 0
    text = said()
    assert "rules: lynx: identify.encounters=best: 3 of 3 images are in 2 encounters" in text
    assert "rules: lynx: identify.viewpoints=compare-all: no image has a viewpoint" in text
    assert "kept in the catalogue from now on" in text
    assert len(set(survey.names.values())) == 1, "an encounter is one animal"
    assert read_rules(survey.catalogue)["lynx"].encounters == "best"
    survey.photograph({"d": at(81), "e": at(150), "f": at(151)})
    listed.write_text("path,species\nd.jpg,lynx\ne.jpg,lynx\nf.jpg,lynx\n")
    assert survey.reid(*arguments, "identify.encounters=auto") == 0
    assert "rules:" not in said()
    assert read_rules(survey.catalogue)["lynx"].encounters == "best"
    assert survey.names["d"] == survey.names["a"]
    assert survey.reid("identify", *arguments[1:], "identify.encounters=off") == 1
    assert "identify.encounters=off for lynx, but this catalogue was made with best" in said()


def test_what_calibrate_leaves_open_is_settled_by_the_first_upload(
    survey: Survey, said: Say
) -> None:
    """Named pictures without encounters say nothing of whether the catalogue's will have some."""
    survey.photograph({"x": at(200), "a": at(0), "b": at(80)})
    named = survey.home / "uploads" / "named.csv"
    named.write_text("path,species,identity\nx.jpg,lynx,Luna\n")
    assert survey.reid("calibrate", "-i", named, "-C", survey.place, *RULES) == 0
    assert read_rules(survey.catalogue)["lynx"].encounters == "auto"
    listed = survey.home / "uploads" / "met.csv"
    listed.write_text("path,species,encounter_id\na.jpg,lynx,e1\nb.jpg,lynx,e1\n")
    said()
    assert survey.reid("identify", "-i", listed, "-C", survey.place) == 0
    assert "rules: lynx: identify.encounters=best: 2 of 2 images" in said()
    found = read_rules(survey.catalogue)["lynx"]
    assert (found.encounters, found.viewpoints) == ("best", "compare-all")
    assert survey.names["a"] == survey.names["b"]


def test_nothing_to_do_and_nowhere_to_go(survey: Survey, said: Say) -> None:
    assert survey.reid("identify", "-C", survey.place) == 1
    assert "give --input a folder of images, or --constraints" in said()
    assert survey.reid("identify", "-i", "x") == 1
    assert "give --catalogue" in said()
    assert survey.reid("history", "-C", survey.place) == 1
    assert "there is no catalogue here" in said()


# ── People decide last ────────────────────────────────────────────────────────────────────────────


def test_decisions_hold_in_every_later_run(survey: Survey) -> None:
    assert survey.night({"a": 0, "b": 90, "c": 5}) == 0
    file = survey.constraints("said.csv", ("a", "b", "match"), ("a", "c", "nomatch"))
    assert survey.identify("--constraints", file) == 0
    assert survey.herd == {frozenset({"a", "b"}), frozenset({"c"})}
    assert survey.night({"d": 2}) == 0
    assert survey.names["a"] == survey.names["b"] != survey.names["c"]
    before = state(survey), survey.catalogue.version
    assert survey.identify("--constraints", file) == 0
    assert (state(survey), survey.catalogue.version) == before, (
        "the same file again says nothing new"
    )
    # The later decision on a pair holds.
    file = survey.constraints("later.csv", ("c", "d", "unknown"), ("a", "c", "match"))
    assert survey.reid("identify", "-C", survey.place, "--constraints", file) == 0
    assert survey.herd == {frozenset({"a", "b", "c", "d"})}
    assert [event["rows"] for event in survey.events("decide")] == [2, 2]


def test_what_people_say_of_one_picture_holds_and_goes_with_its_run(
    survey: Survey, said: Say, tmp_path: Path
) -> None:
    survey.photograph({"a": at(0), "b": at(5), "c": at(10)})
    uploads = survey.home / "uploads"
    table = uploads / "sides.csv"
    table.write_text("path,viewpoint\na.jpg,left\nb.jpg,left\nc.jpg,left\n")
    night = ("-i", table, *survey.arguments[2:], "identify.viewpoints=same-side")
    assert survey.reid("identify", *night) == 0
    assert survey.herd == {frozenset("abc")}
    before = state(survey)

    file = tmp_path / "said.csv"
    file.write_text(
        "a_id,b_id,decision,reviewer,timestamp,note\n"
        f"{survey.ids['a']},,name,anna,2026-01-01T10:00:00,Luna\n"
        f"{survey.ids['a']},,sex,anna,2026-01-01T10:00:00,female\n"
        f"{survey.ids['c']},{survey.ids['c']},viewpoint,anna,2026-01-01T10:01:00,right\n"
    )
    assert survey.identify("--constraints", file) == 0
    assert survey.herd == {frozenset("ab"), frozenset("c")}
    assert survey.column("viewpoint")["c"] == "right"
    said()
    assert survey.reid("history", "-C", survey.place, "--identity", "luna") == 0
    assert "lynx-0001 (Luna)" in said()
    version = survey.catalogue.version
    assert survey.reid("identify", *night) == 0
    assert survey.catalogue.version == version, "a person's word holds against the table's"

    file.write_text(
        "a_id,b_id,decision,reviewer,timestamp,note\n"
        f"{survey.ids['b']},,unusable,ben,2026-01-02T10:00:00,too dark\n"
    )
    assert survey.identify("--constraints", file) == 0
    assert survey.herd == {frozenset("a"), frozenset("b"), frozenset("c")}
    assert survey.reid("export", "-C", survey.place, "-o", tmp_path / "who.csv") == 0
    assert "left out: 1 images that people marked as unusable" in said()
    with (tmp_path / "who.csv").open(encoding="utf-8", newline="") as stream:
        assert [row["name"] for row in csv.DictReader(stream)] == ["Luna", ""]
    runs = [run.run_id for run in history(survey.catalogue)]
    for run in runs[:2]:
        assert survey.reid("undo", run, "-C", survey.place) == 0
    assert state(survey)[0] == before[0]


def test_a_contradiction_stops_the_run_with_its_chain(survey: Survey, said: Say) -> None:
    assert survey.night({"a": 0, "b": 90, "c": 180}) == 0
    before = state(survey)
    file = survey.constraints(
        "said.csv", ("a", "b", "match"), ("b", "c", "match"), ("a", "c", "nomatch")
    )
    survey.photograph({"d": at(270)})
    said()
    assert survey.identify("--constraints", file) == 1
    text = said()
    ids = survey.ids
    assert "1 contradictions" in text
    assert f"{ids['a']} = {ids['b']} (match by anna, 2026-01-01 10:00)" in text
    assert "nothing was changed" in text
    assert state(survey) == before


def test_two_boxes_stay_two_animals_when_their_collection_moves(survey: Survey) -> None:
    survey.photograph({"i": at(0)})  # both boxes hold the same vector
    first = survey.home / "uploads" / "boxes.csv"
    first.write_text('path,bbox\ni.jpg,"[0, 0, 5, 5]"\ni.jpg,"[5, 0, 5, 5]"\n')
    assert survey.reid("identify", "-i", first, *survey.arguments[2:]) == 0
    elsewhere = survey.home / "moved"
    (survey.home / "uploads").rename(elsewhere)  # the files keep their dates
    (elsewhere / "boxes.csv").write_text('path,bbox\ni.jpg,"[0, 0, 5, 5]"\n')
    assert survey.reid("identify", "-i", elsewhere / "boxes.csv", *survey.arguments[2:]) == 0
    rows = survey.catalogue.rows(["root", "identity_id"])
    assert set(rows["root"].to_pylist()) == {str(elsewhere)}
    assert len(set(rows["identity_id"].to_pylist())) == 2


def test_decisions_about_nobody_are_refused(survey: Survey, said: Say) -> None:
    assert survey.night({"a": 0}) == 0
    survey.ids["ghost"] = "0123456789abcdef01234567"
    file = survey.constraints("said.csv", ("a", "ghost", "match"))
    assert survey.identify("--constraints", file) == 1
    assert "not in the catalogue" in said()


def test_a_match_of_two_species_is_refused(survey: Survey, said: Say) -> None:
    assert survey.night({"a": 0}) == 0
    fox = survey.home / "fox"
    survey.ids |= photograph(fox, {"f": at(90)})
    assert survey.reid("identify", "-i", fox, "-C", survey.place, "--species", "fox", *RULES) == 0
    before = state(survey)
    file = survey.constraints("said.csv", ("a", "f", "match"))
    assert survey.reid("identify", "-C", survey.place, "--constraints", file) == 1
    text = said()
    assert f"{survey.ids['a']} (lynx)" in text
    assert f"{survey.ids['f']} (fox)" in text
    assert state(survey) == before


# ── Two at once, and kills ────────────────────────────────────────────────────────────────────────


def test_who_is_slower_goes_on_top_of_who_was_faster(
    survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert survey.night({"a": 0, "b": 60}) == 0
    other = Survey(survey.home / "other", survey.reid, survey.place)
    other.photograph({"o1": at(30), "o2": at(61), "both": at(180)})
    decide, rounds = Decider.__call__, []

    def meanwhile(self: Decider, catalogue: Catalogue) -> Any:
        change = decide(self, catalogue)
        rounds.append(catalogue.version)
        if len(rounds) == 1:
            assert other.identify() == 0
        return change

    monkeypatch.setattr(Decider, "__call__", meanwhile)
    # m is near o1 alone, which only the other run brings; and one picture comes in both uploads.
    survey.photograph({"m": at(15 + 2), "n": at(46)})
    assert survey.identify() == 0
    assert rounds == [1, 1, 2], "decided, overtaken, decided again"
    once = Survey(survey.home / "once", survey.reid)
    assert once.night({"a": 0, "b": 60, "o1": 30, "o2": 61, "both": 180, "m": 17, "n": 46}) == 0
    assert survey.herd == once.herd
    assert survey.names["m"] == survey.names["o1"]


def test_rules_that_change_meanwhile_are_searched_by(
    survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert survey.night({"a": 0, "b": 90}) == 0
    wide = ("identify.known_distance=0.4", "identify.new_distance=0.5")
    decide, rounds = Decider.__call__, []

    def meanwhile(self: Decider, catalogue: Catalogue) -> Any:
        change = decide(self, catalogue)
        rounds.append(catalogue.version)
        if len(rounds) == 1:
            assert survey.reid("calibrate", "-C", survey.place, *wide) == 0
        return change

    monkeypatch.setattr(Decider, "__call__", meanwhile)
    survey.photograph({"m": at(45)})  # 0.29 from both: beyond the radius of the first round
    assert survey.reid("identify", *survey.arguments[:6]) == 0
    assert rounds == [1, 1, 2], "decided, overtaken, decided again"
    assert survey.herd == {frozenset("abm")}


def test_a_model_that_changes_meanwhile_is_worth_trying_again(
    survey: Survey, said: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert survey.night({"a": 0}) == 0
    decide, rounds = Decider.__call__, []

    def meanwhile(self: Decider, catalogue: Catalogue) -> Any:
        change = decide(self, catalogue)
        rounds.append(catalogue.version)
        if len(rounds) == 1:
            with monkeypatch.context() as other:
                other.setattr("tests.jobs.made_up.RECIPE", "made-up-0002")
                assert survey.reid("calibrate", "-C", survey.place, *RULES) == 0
        return change

    monkeypatch.setattr(Decider, "__call__", meanwhile)
    survey.photograph({"b": at(5)})
    said()
    assert survey.identify() == 3
    assert "changed the catalogue to made-up-0002; run the same command again" in said()
    monkeypatch.setattr("tests.jobs.made_up.RECIPE", "made-up-0002")
    assert survey.identify() == 0
    assert survey.herd == {frozenset("ab")}


def test_two_runs_at_once_in_two_processes(survey: Survey) -> None:
    assert survey.night({"a": 0}) == 0
    parts = [crowd(seed, animals=3) for seed in (5, 6)]
    survey.photograph({name: vector[:2] / np.linalg.norm(vector[:2]) for part in parts for name, vector in part.items()})  # fmt: skip
    running = []
    for k, part in enumerate(parts):
        listed = survey.home / "uploads" / f"{k}.csv"
        listed.write_text("\n".join(["path", *(f"{name}.jpg" for name in part)]))
        arguments = ["identify", "-i", str(listed), *survey.arguments[2:]]
        running.append(subprocess.Popen(command("-", *arguments), cwd=HERE.parents[1]))
    assert [process.wait(120) for process in running] == [0, 0]
    once = Survey(survey.home / "once", survey.reid)
    assert (
        once.reid("identify", *survey.arguments[:2], "-C", once.place, *survey.arguments[4:]) == 0
    )
    assert survey.herd == once.herd
    assert len(survey.names) == 1 + 2 * 12


def test_found_by_tasks_or_in_one_process(
    local_ray: None, survey: Survey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jobs.neighbours.incremental.CPU_BLOCK_ROWS", 7)
    pictures = crowd(4)
    alone = Survey(survey.home / "alone", survey.reid)
    for each, distributed in ((survey, "true"), (alone, "false")):
        for part in (sorted(pictures)[:10], sorted(pictures)[10:]):
            each.photograph({name: pictures[name] for name in part})
            assert each.identify(f"cluster.distributed={distributed}") == 0
    assert without_places(state(survey)) == without_places(state(alone))
    graphs = [read_graph(each.catalogue, "lynx").edges.to_pylist() for each in (survey, alone)]
    found = [sorted(tuple(edge.values()) for edge in graph) for graph in graphs]
    assert found[0] == found[1] != []


def test_the_search_gets_more_to_do_when_the_cluster_grows(
    local_ray: None,
    monkeypatch: pytest.MonkeyPatch,
    growing_cluster: Callable[[str], list[int]],
) -> None:
    rows = np.stack(list(crowd(4).values())).astype(np.float32)
    monkeypatch.setattr("jobs.neighbours.incremental.CPU_BLOCK_ROWS", 4)
    waited = growing_cluster("jobs.neighbours.block_pairs")
    config = load_config(overrides=["cluster.distributed=true"])
    found = list(new_edges(config, "lynx", rows, 12, 0.5))
    whole = extend_edges(rows, 12, 0.5)
    assert {tuple(pair) for edges, _ in found for pair in edges.tolist()} == {
        tuple(pair) for edges, _ in whole for pair in edges.tolist()
    }
    assert waited[:2] == [2, 2], "twice what there is room for"
    assert max(waited) == 8


def command(moment: str, *arguments: str) -> list[str]:
    code = "import sys; from tests.jobs.made_up import main; main(sys.argv[1], sys.argv[2:])"
    return [sys.executable, "-c", code, moment, *arguments]


@pytest.mark.parametrize("moment", ["embeddings", "edges", "staged", "commit"])
def test_a_run_that_is_killed_is_repeated_by_the_same_command(survey: Survey, moment: str) -> None:
    pictures = crowd(3)
    names = sorted(pictures)
    first, second = ({name: pictures[name] for name in part} for part in (names[::2], names[1::2]))
    undisturbed = Survey(survey.home / "undisturbed", survey.reid)
    for each in (survey, undisturbed):
        each.photograph(first)
        assert each.identify() == 0
        each.photograph(second)
    killed = subprocess.run(
        command(moment, "identify", *survey.arguments),
        cwd=HERE.parents[1],
        check=False,
        timeout=120,
    )
    assert killed.returncode == -9
    assert survey.identify() == 0
    assert undisturbed.identify() == 0
    assert without_places(state(survey)) == without_places(state(undisturbed))


def without_places(found: tuple[Any, ...]) -> tuple[Any, ...]:
    """Two folders hold the same pictures, written at different times."""
    rows, *rest = found
    return [{**row, "root": "", "source_key": ""} for row in rows], *rest


# ── Real pictures, a real Ray ─────────────────────────────────────────────────────────────────────

QUICK = ("embed.runtime=torch", "embed.cpus_per_worker=1", "embed.workers=1")
NYALA = Path(
    os.environ.get("REID_NYALA", Path(__file__).parents[2].parent / "shared" / "data" / "nyala")
)


def test_five_nights_of_the_herd_and_a_reviewer(
    local_ray: None, tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first night is labelled; the general model is sure of little, and right where it is."""
    herd = make_herd(tmp_path / "herd", individuals=16, images_per_individual=8, species=1, seed=2)
    pictures = pd.read_csv(herd.annotations, dtype=str).sort_values("timestamp", ignore_index=True)
    truth = pd.read_csv(herd.truth, dtype=str).set_index("image_path")["identity"]
    is_train = (pictures["split"] == "train").to_numpy()
    later = np.array_split(np.flatnonzero(~is_train), 4)
    survey = Survey(tmp_path, reid)
    rules = (
        "identify.encounters=best",
        "identify.known_distance=0.12",
        "identify.new_distance=0.2",
    )
    names: dict[str, str] = {}
    right = {"known": [0, 0], "new": [0, 0], "unsure": [0, 0]}
    for number, rows in enumerate([np.flatnonzero(is_train), *later], start=1):
        listed = tmp_path / "herd" / f"night{number}.csv"
        pictures.iloc[rows].to_csv(listed, index=False)
        assert reid("identify", "-i", listed, "-C", survey.place, *rules, *QUICK) == 0
        before, names = names, survey.names
        run = survey.catalogue.record.run_id
        told = {
            (other, event["identity_id"])
            for event in survey.events("merge", "split")
            for other in event["other_ids"]
            if event["run_id"] == run
        }
        moved = {(who, names[name]) for name, who in before.items() if names[name] != who}
        assert moved <= told, "a name changes with an event of the same run alone"
        if number == 1:
            continue
        decisions = survey.column("decision")
        known = {(truth[f"{name}.jpg"], who) for name, who in before.items()}
        seen = {animal for animal, _ in known}
        for name in names.keys() - before.keys():
            animal = truth[f"{name}.jpg"]
            decision = decisions[name]
            right[decision][1] += 1
            right[decision][0] += (
                (animal, names[name]) in known if decision == "known" else animal not in seen
            )
    assert len(names) == herd.images
    told = [f"{good} of {of} {decision}" for decision, (good, of) in right.items()]
    with capsys.disabled():
        print(f"right after five nights, of the images that came later: {', '.join(told)}")
    good, of = right["known"]
    assert of >= 5
    assert good >= 0.85 * of, right
    assert right["unsure"][1] > 0

    # A reviewer who knows every animal answers what the machine was not sure of, and one that it was.
    ari = score(names, truth)
    ids = survey.column("annotation_id")
    of_id = {annotation: name for name, annotation in ids.items()}
    survey.ids |= ids
    nearest, decisions = survey.column("nearest_id"), survey.column("decision")
    answers = []
    for name, other in nearest.items():
        if decisions[name] == "unsure" and other is not None:
            same = truth[f"{name}.jpg"] == truth[f"{of_id[other]}.jpg"]
            answers.append((name, of_id[other], "match" if same else "nomatch"))
    file = survey.constraints("reviewed.csv", *answers)
    assert reid("identify", "-C", survey.place, "--constraints", file) == 0
    assert survey.events("merge")
    reviewed = survey.names
    with capsys.disabled():
        print(f"ARI {ari:.3f}, after {len(answers)} answers {score(reviewed, truth):.3f}")
    assert score(reviewed, truth) > ari
    merging = survey.catalogue.record.run_id

    # Told that two pictures of an individual are two animals, it splits; right or not, people decide.
    labelled = set(pictures["image_path"][is_train])
    pair = next(
        (a, b)
        for b in sorted(reviewed)
        for a in sorted(reviewed)
        if reviewed[a] == reviewed[b]
        if decisions[b] == "known" and f"{b}.jpg" not in labelled and f"{a}.jpg" in labelled
    )
    file = survey.constraints("parted.csv", (*pair, "nomatch"))
    assert reid("identify", "-C", survey.place, "--constraints", file) == 0
    parting = survey.catalogue.record.run_id
    assert len({survey.names[name] for name in pair}) == 2
    for run, words in ((merging, " merged into "), (parting, " split from ")):
        capsys.readouterr()
        assert reid("history", "-C", survey.place, "--run", run) == 0
        assert words in capsys.readouterr().out
    assert reid("undo", parting, "-C", survey.place) == 0
    assert survey.names == reviewed
    assert reid("undo", merging, "-C", survey.place) == 0
    assert survey.names == names


def score(names: Mapping[str, str], truth: "pd.Series[str]") -> float:
    found = pd.factorize(pd.Series(list(names.values())))[0]
    return agreement(found, np.asarray([truth[f"{name}.jpg"] for name in names])).ari


@pytest.mark.nyala
@pytest.mark.skipif(
    not (NYALA / "annotations.csv").exists(), reason=f"no nyala photographs at {NYALA} (REID_NYALA)"
)
def test_nyala_in_ten_portions_is_nyala_in_one(
    local_ray: None, tmp_path: Path, reid: Reid, said: Say
) -> None:
    labelled = NYALA / "annotations.csv"
    table = pd.read_csv(labelled, dtype=str)
    base, root = tmp_path / "base", ("--root", NYALA)
    assert reid("calibrate", "-i", labelled, "-C", base, *root) == 1
    assert "never reaches identify.known_probability" in said(), (
        "ImageNet weights do not tell nyala"
    )
    rules = (
        "identify.known_distance=0.12",
        "identify.new_distance=0.16",
        "identify.encounters=mean",
        "identify.viewpoints=same-side",
    )
    assert reid("calibrate", "-i", labelled, "-C", base, *root, *rules) == 0
    order = np.random.default_rng(0).permutation(len(table))
    herds = []
    for portions in (1, 10):
        place = tmp_path / f"in {portions}"
        shutil.copytree(base, place)  # with its embeddings
        for k, rows in enumerate(np.array_split(order, portions)):
            listed = tmp_path / f"{portions}-{k}.csv"
            table.iloc[rows].drop(columns="identity").to_csv(listed, index=False)
            assert reid("identify", "-i", listed, "-C", place, *root) == 0
        survey = Survey(tmp_path, reid, str(place))
        assert len(survey.names) == len(table)
        herds.append(survey.herd)
    assert herds[0] == herds[1]
    assert 200 < len(herds[0]) < 1000
