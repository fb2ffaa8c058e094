"""The real Decider and Growth on a real catalogue: order and who gets in between change nothing."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.catalogue.decider import Decider
from jobs.catalogue.night_outcome import SpeciesOutcome
from reid import embeddings, schema, store
from reid.catalogue import (
    Catalogue,
    SpeciesRules,
    commit_records,
    commits,
    new_run_id,
    open_catalogue,
    read_events,
    undo,
    update,
)
from reid.config import load_config
from reid.errors import InputError
from reid.identify import ContradictionError
from tests.jobs.made_up import RECIPE
from tests.test_identify import (
    CURVE,
    KNOWN,
    NEW,
    annotations,
    collections,
    decisions_table,
    known_to,
)

NOBODY = schema.ANNOTATIONS.empty_table()
NOTHING = decisions_table([])


def names_of(catalogue: Catalogue) -> dict[str, str]:
    rows = catalogue.rows(["annotation_id", "identity_id"])
    return dict(zip(*rows.to_pydict().values(), strict=True))


class Nights:
    """A catalogue of one species, whose embeddings are given."""

    def __init__(self, place: Path | str, vectors: dict[str, np.ndarray]) -> None:
        self.catalogue = open_catalogue(str(place), create=True)
        self.vectors = vectors
        self.before: dict[str, str] = {}  # names when the latest run decided

    def identify(
        self,
        upload: pa.Table,
        decisions: pa.Table,
        meanwhile: Callable[[], None] = lambda: None,
        **options: Any,
    ) -> None:
        """A run; `meanwhile` happens between its first decision and its commit."""
        run_id = new_run_id()
        if len(upload):
            rows = [
                {**row, "embedding": self.vectors[row["annotation_id"]], "content_hash": "", "width": 1, "height": 1}
                for row in upload.to_pylist()
            ]  # fmt: skip
            folder = store.join(self.catalogue.path, "embeddings", RECIPE)
            table = pa.Table.from_pylist(rows, schema=schema.embeddings(3))
            store.write_table(store.join(folder, f"part-{embeddings.part_digest([run_id])}.parquet"), table)  # fmt: skip
        said = decisions.drop_columns(["run_id"])
        recipes = dict.fromkeys(upload["species"].to_pylist(), RECIPE)
        decider = Decider(load_config(), run_id, upload, decisions=said, recipes=recipes, **options)
        rounds = []

        def decide(catalogue: Catalogue) -> Any:
            change = decider(catalogue)
            rounds.append(catalogue.version)
            self.before = names_of(catalogue)
            if len(rounds) == 1:
                meanwhile()
            return change

        self.catalogue = update(self.catalogue, run_id, decide)
        decider.keep(self.catalogue)
        self.outcome = decider.outcome.species.get("lynx", SpeciesOutcome())

    def calibrate(self, rules: SpeciesRules) -> None:
        self.identify(NOBODY, schema.DECISIONS.empty_table(), reset={"lynx": rules})

    @property
    def names(self) -> dict[str, str]:
        return names_of(self.catalogue)

    @property
    def parts(self) -> set[frozenset[str]]:
        names = self.names
        return {frozenset(k for k in names if names[k] == name) for name in names.values()}

    def moves(self) -> set[tuple[str, str]]:
        """From which names to which the latest run says that rows went."""
        run = self.catalogue.record.run_id
        return {
            (other, event["identity_id"])
            for event in read_events(self.catalogue).to_pylist()
            for other in event["other_ids"] or []
            if event["run_id"] == run and event["event"] in ("merge", "split")
        }


@settings(max_examples=10)
@given(
    collections(),
    st.sampled_from(["off", "best", "mean"]),
    st.sampled_from(["compare-all", "same-side"]),
    st.data(),
)
def test_uploads_in_any_order_are_one_upload(
    tmp_path_factory: pytest.TempPathFactory,
    collection: tuple[dict[str, np.ndarray], pa.Table, pa.Table],
    encounters: str,
    viewpoints: str,
    data: st.DataObject,
) -> None:
    """Labels, boxes of one image, encounters, sides, decisions; and a calibrate that gets in between."""
    vectors, table, decisions = collection
    final = SpeciesRules(RECIPE, KNOWN, NEW, NEW, encounters, viewpoints, "given", CURVE)
    narrow = SpeciesRules(RECIPE, KNOWN / 4, NEW / 4, NEW / 4, encounters, viewpoints, "given")
    whole = Nights(tmp_path_factory.mktemp("whole"), vectors)
    whole.calibrate(final)
    try:
        whole.identify(table, decisions)
    except ContradictionError:
        return
    n = len(table)
    order = data.draw(st.permutations(range(n)))
    cuts = sorted({0, n} | set(data.draw(st.lists(st.integers(1, n), max_size=3))))
    overtaken = data.draw(st.integers(0, len(cuts) - 2))
    grown = Nights(tmp_path_factory.mktemp("grown"), vectors)
    grown.calibrate(narrow)
    present = NOBODY

    def calibrate() -> None:
        Nights(Path(grown.catalogue.path), vectors).calibrate(final)

    for night, (start, stop) in enumerate(pairwise(cuts)):
        upload = table.take(pa.array(order[start:stop], pa.int64()))
        present = pa.concat_tables([present, upload])
        said = known_to(decisions, present)
        grown.identify(upload, said, calibrate if night == overtaken else lambda: None)
        before, after = grown.before, grown.names
        moved = {(before[k], after[k]) for k in before if before[k] != after[k]}
        assert moved <= grown.moves(), "a name changes with an event of the same run alone"
    assert grown.parts == whole.parts


def at(degrees: float) -> np.ndarray:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees)), 0], np.float32)


RULES = SpeciesRules(RECIPE, KNOWN, NEW, NEW, "off", "compare-all", "given", CURVE)


def unsure_of(nights: Nights) -> dict[str, tuple[float, str]]:
    """Unsure annotations: confidence, and who wrote the row last."""
    columns = ["annotation_id", "confidence", "run_id", "decision"]
    rows = nights.catalogue.rows(columns).to_pylist()
    return {
        row["annotation_id"]: (row["confidence"], row["run_id"])
        for row in rows
        if row["decision"] == "unsure"
    }


def test_an_unsure_row_moves_with_the_gallery_and_is_not_written_again(tmp_path: Path) -> None:
    """30° are 0.134: too far to join, too near to be new."""
    ids = [f"a{k}" for k in range(5)]
    vectors = dict(zip(ids, map(at, (0, 30, 180, 270, 271)), strict=True))
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    nights.calibrate(RULES)
    nights.identify(table[:1], NOTHING)
    nights.identify(table[1:2], NOTHING)
    run = nights.catalogue.record.run_id
    distance = 1 - np.cos(np.radians(30))

    def sure(individuals: int) -> dict[str, tuple[Any, str]]:
        expected = 1 - float(CURVE.for_gallery(individuals)(distance))
        return {"a1": (pytest.approx(expected, abs=1e-5), run)}

    assert unsure_of(nights) == sure(2)
    nights.identify(table[2:], NOTHING)  # two more, far away
    assert nights.catalogue.record.individuals == {"lynx": 4}
    assert unsure_of(nights) == sure(4)
    stored = nights.catalogue.rows(["annotation_id", "confidence"], stored=True).to_pylist()
    assert stored[1] == {"annotation_id": "a1", "confidence": None}
    nights.catalogue = undo(nights.catalogue, nights.catalogue.record.run_id, new_run_id())
    assert unsure_of(nights) == sure(2)


def test_an_older_catalogue_is_carried_over_once(tmp_path: Path) -> None:
    ids = [f"a{k}" for k in range(6)]
    vectors = dict(zip(ids, map(at, (0, 30, 90, 91, 180, 270)), strict=True))
    table = annotations(annotation_id=ids)
    nights = Nights(tmp_path, vectors)
    nights.calibrate(RULES)
    nights.identify(table[:4], NOTHING)
    # As an earlier version left it: a confidence in each row, and nobody counted.
    held = nights.catalogue
    rows, place = held.rows(), schema.CATALOGUE.get_field_index("confidence")
    half = pa.array([0.5] * len(rows), pa.float32())
    rows = rows.set_column(place, schema.CATALOGUE.field(place), half)
    record = replace(held.record, individuals={}, events=None, event_digest=None, edges={})
    older = commits.commit(held, record, lambda table, how: commits._write(table, rows, how))
    assert older is not None
    nights.catalogue = older
    assert not nights.catalogue.record.individuals
    assert [sure for sure, _ in unsure_of(nights).values()] == [0.5] * 2
    nights.identify(table[4:5], NOTHING)
    assert "carried over: all 4 images" in " ".join(nights.outcome.notes)
    assert nights.outcome.looked_at == 5
    assert 0.5 not in [sure for sure, _ in unsure_of(nights).values()]
    nights.identify(table[5:], NOTHING)
    assert not nights.outcome.notes
    assert nights.outcome.looked_at == 1


def test_a_catalogue_of_a_later_version_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Nights(tmp_path, {}).calibrate(RULES)
    monkeypatch.setattr(commit_records, "FORMAT", 1)
    with pytest.raises(
        InputError, match="of format 4, and this version of reid reads formats up to 1"
    ):
        open_catalogue(str(tmp_path))
