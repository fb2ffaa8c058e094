"""The real Decider and Growth on a real catalogue: order and who gets in between change nothing."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.catalogue.decider import Decider
from reid import embeddings, schema, store
from reid.catalogue import (
    Catalogue,
    SpeciesRules,
    new_run_id,
    open_catalogue,
    read_events,
    update,
)
from reid.config import load_config
from reid.identify import ContradictionError
from tests.jobs.made_up import RECIPE
from tests.test_identify import CURVE, KNOWN, NEW, collections, known_to

NOBODY = schema.ANNOTATIONS.empty_table()


def names_of(catalogue: Catalogue) -> dict[str, str]:
    rows = catalogue.rows(["annotation_id", "identity_id"])
    return dict(zip(*rows.to_pydict().values(), strict=True))


class Nights:
    """A catalogue of one species, whose embeddings are given."""

    def __init__(self, place: Path, vectors: dict[str, np.ndarray]) -> None:
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
        recipes = {"lynx": RECIPE}
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
