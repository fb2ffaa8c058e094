"""Who trains, who chooses, who is the proof; what is kept, and how the outcome is said. No Ray."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.finetune import epochs, outcome
from jobs.finetune.score import change_interval, held_out_queries, nearest
from jobs.finetune.split_plan import (
    HELD_OUT,
    TRAIN,
    VALIDATION,
    Plan,
    check_record,
    labelled_rows,
    make_plans,
    make_record,
)
from jobs.finetune.watch import TENSORBOARD_FILE, write_tensorboard
from reid.config import Config, load_config
from reid.errors import InputError
from reid.manifest import read_annotations
from reid.metrics import QueryScores


def annotations(
    tmp_path: Path, identities: list[str | None], **columns: list[Any]
) -> tuple[pa.Table, list[str]]:
    table = pd.DataFrame(
        {
            "path": [f"{i}.png" for i in range(len(identities))],
            "identity": identities,
            "species": "lynx",
            **columns,
        }
    )
    table.to_csv(tmp_path / "table.csv", index=False)
    return read_annotations([str(tmp_path / "table.csv")])


def herd(tmp_path: Path, individuals: int = 10, images: int = 4, **columns: list[Any]) -> pa.Table:
    names: list[str | None] = [f"i{n // images}" for n in range(individuals * images)]
    return labelled_rows(annotations(tmp_path, names, **columns)[0])[0]


def config(*overrides: str) -> Config:
    return load_config(None, overrides)


# ── Labels ────────────────────────────────────────────────────────────────────────────────────────


def test_encounters_can_be_forgotten(tmp_path: Path) -> None:
    table, _ = annotations(tmp_path, ["a", "a", "b", "b"], encounter_id=["1", "1", "2", "2"])
    kept, quiet = labelled_rows(table)
    forgotten, notes = labelled_rows(table, keep_encounters=False)
    assert kept["encounter_id"].to_pylist() == ["1", "1", "2", "2"]
    assert not quiet
    assert forgotten["encounter_id"].null_count == 4
    assert "encounters are ignored" in notes[0]


def test_unlabelled_rows_are_left_out_and_counted(tmp_path: Path) -> None:
    table, _ = annotations(tmp_path, ["a", "a", None, "b", "unknown"])
    rows, notes = labelled_rows(table)
    assert rows["identity"].to_pylist() == ["a", "a", "b"]
    assert notes == ["2 of 5 images have no identity; left out"]


@pytest.mark.parametrize(
    ("identities", "message"),
    [
        ([None, None], "no image has an identity"),
        (["a", "a", "a"], "show one individual, 'a'"),
        (["a", "b", "c"], "none of the 3 individuals has two images"),
    ],
)
def test_labels_that_teach_nothing_are_refused(
    tmp_path: Path, identities: list[str | None], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        labelled_rows(annotations(tmp_path, identities)[0])


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["finetune.folds=1"], "1 fold holds nothing out"),
        (["finetune.folds=3", "finetune.split=closed"], "do not go with finetune.split=closed"),
        (["finetune.patience=3", "finetune.validation_share=0"], "needs a finetune.validation"),
        (["finetune.erase_area=[0.5,0.1]"], "the least, 0.5, is more than the most, 0.1"),
        (["finetune.margin_rad=28.6"], "margin_rad.*less than 1.57"),
        (["finetune.los=arcface"], "did you mean loss"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        config(*overrides)


# ── Splits ────────────────────────────────────────────────────────────────────────────────────────


@settings(max_examples=25)
@given(
    individuals=st.integers(8, 20),
    seed=st.integers(0, 5),
    split=st.sampled_from(["individuals", "closed"]),
)
def test_an_encounter_is_never_on_two_sides(
    tmp_path_factory: pytest.TempPathFactory, individuals: int, seed: int, split: str
) -> None:
    encounters = [f"e{n // 2}" for n in range(individuals * 4)]
    rows = herd(tmp_path_factory.mktemp("herd"), individuals, encounter_id=encounters)
    given_ = config(f"seed={seed}", f"finetune.split={split}", "finetune.validation_share=0.25")
    ((plan,), notes) = make_plans(given_, rows)
    assert notes == []
    frame = plan.table().to_pandas()
    assert set(frame["part"]) == {TRAIN, VALIDATION, HELD_OUT}
    assert (frame.groupby("encounter_id")["part"].nunique() == 1).all()
    sides = frame.groupby("identity")["part"].agg(set)
    if split == "individuals":
        assert (sides.map(len) == 1).all()
    else:
        assert (sides.map(lambda side: TRAIN in side)).all(), "every individual can be found"


def test_the_past_is_trained_on_and_the_future_asks(tmp_path: Path) -> None:
    times = [f"2024-01-{1 + n % 4 * 7:02d}T00:00:{n:02d}" for n in range(40)]
    rows = herd(tmp_path, timestamp=times)
    ((plan,), _) = make_plans(config("finetune.split=time", "finetune.validation_share=0.25"), rows)
    when = rows["timestamp"].to_numpy()
    assert when[plan.where(TRAIN)].max() < when[plan.where(VALIDATION)].min()
    assert when[plan.where(VALIDATION)].max() < when[plan.where(HELD_OUT)].min()


def test_the_column_split_says_which_images_are_held_out(tmp_path: Path) -> None:
    split = [("query", "gallery", "gallery", "other")[n % 4] for n in range(40)]
    ((plan,), _) = make_plans(config("finetune.split=column"), herd(tmp_path, split=split))
    held = plan.rows.take(pa.array(plan.where(HELD_OUT)))
    assert held["split"].to_pylist() == ["query"] * 10
    assert plan.closed
    assert set(plan.parts) == {TRAIN, VALIDATION, HELD_OUT}
    with pytest.raises(InputError, match=r"finetune\.split=column: no labelled image is a query"):
        make_plans(config("finetune.split=column"), herd(tmp_path))


def test_species_are_split_one_by_one_and_a_small_one_is_told_of(tmp_path: Path) -> None:
    species = ["lynx"] * 32 + ["genet"] * 8
    rows = herd(tmp_path, species=species)
    ((plan,), notes) = make_plans(config("finetune.hold_out=0.25"), rows)
    held = rows.take(pa.array(plan.where(HELD_OUT)))
    assert set(held["species"].to_pylist()) == {"lynx"}
    assert any(note.startswith("genet cannot be split, all of it is trained on") for note in notes)


def test_too_few_individuals_for_validation_take_the_last_epoch(tmp_path: Path) -> None:
    rows = herd(tmp_path, individuals=5)
    ((plan,), notes) = make_plans(config("finetune.hold_out=0.4"), rows)
    assert not len(plan.where(VALIDATION))
    assert any("no validation, the last epoch is taken" in note for note in notes)


def test_nothing_to_hold_out_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing can be held out: lynx cannot be split"):
        make_plans(config(), herd(tmp_path, individuals=3))


def test_folds_hold_each_individual_out_once(tmp_path: Path) -> None:
    rows = herd(tmp_path, individuals=11)
    plans, _ = make_plans(config("finetune.folds=3", "out=somewhere"), rows)
    assert [plan.out for plan in plans] == [f"somewhere/fold-{fold}" for fold in range(3)]
    times = np.sum([plan.parts == HELD_OUT for plan in plans], axis=0)
    assert (times == 1).all()


# ── An output folder ──────────────────────────────────────────────────────────────────────────────


def test_a_record_holds_what_decides_the_weights_and_nothing_else(tmp_path: Path) -> None:
    rows = herd(tmp_path)
    record = make_record(config(), rows, "digest")
    same = make_record(
        config("finetune.workers=3", "finetune.keep=9", "finetune.time_limit_minutes=5"),
        rows.take(pa.array(np.arange(len(rows))[::-1])),
        "digest",
    )
    assert record == same, "how it runs, and the order of rows, may change"
    for change in ("finetune.lr=1e-5", "seed=1", "images.bbox_margin=0.1", "embed.model=other"):
        assert make_record(config(change), rows, "digest") != record
    assert make_record(config(), rows, "other") != record
    assert make_record(config(), rows.slice(1), "digest")["data"] != record["data"]


def test_settings_may_be_mended_until_something_was_trained(tmp_path: Path) -> None:
    rows, out = herd(tmp_path), str(tmp_path / "out")
    before, after = (make_record(config(f"seed={seed}"), rows, "d") for seed in (0, 1))
    check_record(out, before, begun=False)
    check_record(out, after, begun=False)
    check_record(out, after, begun=True)
    with pytest.raises(InputError, match="seed: 1 before, 0 now"):
        check_record(out, before, begun=True)


def record_of(epoch: int, score: float | None) -> dict[str, Any]:
    return {
        "epoch": epoch, "score": score, "validation": {} if score is None else {"mAP": score},
        "loss": 1.0 / (epoch + 1), "lr": 0.1, "grad_norm": 1.0, "images_per_second": 2.0,
        "seconds": 3.0, "steps": 2, "losses": [(0, 1.0), (1, 0.5)], "finished_at": 100.0 + epoch,
    }  # fmt: skip


def test_the_best_epoch_is_the_first_of_the_highest_and_without_scores_the_last() -> None:
    assert epochs.best([record_of(e, s) for e, s in enumerate([0.1, 0.4, 0.4, 0.2])]) == 1
    assert epochs.best([record_of(e, None) for e in range(3)]) == 2
    assert epochs.best([record_of(0, 0.3), record_of(1, None), record_of(2, 0.2)]) == 0


@pytest.mark.parametrize(
    ("scores", "keep", "kept"),
    [
        ([0.5, 0.4, 0.3], 2, {0, 2}),
        ([0.1, 0.2, 0.3], 2, {1, 2}),
        ([0.3, 0.2, 0.1], 1, {0, 2}),
        ([None, None, None], 2, {2}),
        ([0.1, 0.4, 0.2, 0.3], 3, {1, 2, 3}),
    ],
)
def test_the_last_epoch_and_the_best_stay(
    tmp_path: Path, scores: list[float | None], keep: int, kept: set[int]
) -> None:
    history = []
    for epoch, score in enumerate(scores):
        history.append(record_of(epoch, score))
        folder = Path(epochs.path(str(tmp_path), epoch))
        folder.mkdir()
        (folder / "state.pt").write_bytes(b"")
        (folder / "history.json").write_text(json.dumps(history))
        epochs.prune(str(tmp_path), history, keep)
    assert set(epochs.stored(str(tmp_path))) == kept
    (state,) = tmp_path.glob("*/state.pt")
    assert state.parent.name == f"epoch-{len(scores):04d}"


def test_an_epoch_without_its_history_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "epoch-0001").mkdir()
    (tmp_path / "epoch-0001" / "history.json").write_text("[]")
    (tmp_path / "epoch-0002").mkdir()
    (tmp_path / "epoch-0002" / "model.safetensors").write_bytes(b"")
    assert epochs.latest(str(tmp_path)) == 0


def test_a_tensorboard_file_grows_in_place_while_it_is_read(tmp_path: Path) -> None:
    history = [record_of(epoch, 0.1 * epoch) for epoch in range(3)]
    write_tensorboard(str(tmp_path / "whole"), history)
    whole = (tmp_path / "whole" / TENSORBOARD_FILE).read_bytes()
    folder = tmp_path / "grown"
    write_tensorboard(str(folder), history[:1])
    with (folder / TENSORBOARD_FILE).open("rb") as reader:
        read = reader.read()
        write_tensorboard(str(folder), history[:2])
        read += reader.read()
        with (folder / TENSORBOARD_FILE).open("ab") as killed:
            killed.write(whole[len(read) :][:7])
        write_tensorboard(str(folder), history)
        read += reader.read()
    assert read == whole
    assert (folder / TENSORBOARD_FILE).read_bytes() == whole


def test_the_tensorboard_file_of_another_history_is_replaced(tmp_path: Path) -> None:
    write_tensorboard(str(tmp_path / "new"), [record_of(0, 0.2)])
    write_tensorboard(str(tmp_path / "old"), [record_of(0, 0.1), record_of(1, 0.1)])
    write_tensorboard(str(tmp_path / "old"), [record_of(0, 0.2)])
    old, new = ((tmp_path / name / TENSORBOARD_FILE).read_bytes() for name in ("old", "new"))
    assert old == new


# ── Figures ───────────────────────────────────────────────────────────────────────────────────────


def plan_of(rows: pa.Table, parts: list[str], *, closed: bool) -> Plan:
    return Plan("out", rows, np.asarray(parts, object), closed)


def test_held_out_individuals_are_looked_for_among_held_out_rows(tmp_path: Path) -> None:
    rows = herd(tmp_path, individuals=3, images=2)
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 0, 1, 1, 2]]
    # i1 = rows 2, 3 and i2 = rows 4, 5 are held out; row 0 would be nearest to row 2.
    plan = plan_of(rows, [TRAIN, TRAIN, *[HELD_OUT] * 4], closed=False)
    queries = held_out_queries(vectors, plan)
    assert queries.rows.tolist() == [2, 3, 4, 5]
    assert nearest(vectors, plan, 3).tolist() == [4, 2, 5]
    assert queries.first_hit.tolist() == [3, 3, 3, 3], "ties count at their worst"


def test_a_closed_set_looks_among_the_rows_that_were_trained_on(tmp_path: Path) -> None:
    rows = herd(tmp_path, individuals=3, images=2)
    vectors = np.eye(3, dtype=np.float32)[[0, 0, 1, 1, 2, 2]]
    vectors[5] = vectors[0]
    plan = plan_of(rows, [TRAIN, HELD_OUT, VALIDATION, HELD_OUT, TRAIN, HELD_OUT], closed=True)
    queries = held_out_queries(vectors, plan)
    assert queries.rows.tolist() == [1, 3, 5]
    assert queries.first_hit.tolist() == [1, 1, 3]
    assert nearest(vectors, plan, 5, k=2).tolist() == [0, 2]


def test_rows_without_a_picture_neither_ask_nor_are_found(tmp_path: Path) -> None:
    rows = herd(tmp_path, individuals=2, images=3)
    vectors = np.eye(6, dtype=np.float32)
    vectors[1] = np.nan
    plan = plan_of(rows, [HELD_OUT] * 6, closed=False)
    assert held_out_queries(vectors, plan).rows.tolist() == [0, 2, 3, 4, 5]
    assert 1 not in nearest(vectors, plan, 0)


def figures(before: float | None, after: float | None) -> dict[str, Any]:
    name = "mean_average_precision"
    return {"decides": name, "before": {name: before}, "after": {name: after}}


@pytest.mark.parametrize(
    ("before", "after", "promoted", "words"),
    [
        (0.1, 0.2, True, "Better than its start on held-out images: mAP 0.100 → 0.200"),
        (0.2, 0.2, False, "NOT better than its start"),
        (0.2, 0.1, False, "NOT better than its start on held-out images: mAP 0.200 → 0.100"),
        (None, None, False, "Nothing was proved"),
    ],
)
def test_only_what_is_better_is_promoted_and_the_verdict_is_plain(
    before: float | None, after: float | None, promoted: bool, words: str
) -> None:
    metrics = figures(before, after)
    assert outcome.is_better(metrics) is promoted
    assert outcome.is_promoted(metrics, "better") is promoted
    assert outcome.is_promoted(metrics, "always")
    assert words in outcome.verdict(metrics)


def trained_model(folder: Path, weights: bytes) -> str:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights)
    (folder / "model.json").write_text('{"architecture": "a", "training": {"start": "s"}}')
    return str(folder)


def test_a_model_that_is_not_better_replaces_no_checkpoint(tmp_path: Path) -> None:
    rows = herd(tmp_path, individuals=2)
    plan = Plan(str(tmp_path / "out"), rows, np.full(len(rows), TRAIN, object), False)
    checkpoint, rejected = (tmp_path / "out" / name for name in ("checkpoint", "rejected"))
    better = figures(0.1, 0.2) | {"promoted": True}
    worse = figures(0.2, 0.1) | {"promoted": False}

    # An attempt that ran out of time is better; the run that goes on from it ends worse.
    first = outcome.place_model(plan, trained_model(tmp_path / "epoch-1", b"good"), better)
    assert Path(first) == checkpoint
    kept = {path.name: path.read_bytes() for path in checkpoint.iterdir()}
    second = outcome.place_model(plan, trained_model(tmp_path / "epoch-2", b"bad"), worse)
    assert Path(second) == rejected
    assert (rejected / "model.safetensors").read_bytes() == b"bad"
    assert {path.name: path.read_bytes() for path in checkpoint.iterdir()} == kept
    words = outcome.whereabouts(worse | {"model": second})
    assert words == f"not promoted, no checkpoint replaced; the trained model is in {rejected}"

    third = outcome.place_model(plan, trained_model(tmp_path / "epoch-3", b"best"), better)
    assert Path(third) == checkpoint
    assert (checkpoint / "model.safetensors").read_bytes() == b"best"
    assert not rejected.exists()
    training = json.loads((checkpoint / "model.json").read_text())["training"]
    assert training == {"start": "s", "metrics": {k: better[k] for k in ("before", "after")}}
    assert outcome.whereabouts(better | {"model": third}) == f"use it: --model {checkpoint}"
    always = worse | {"promoted": True, "model": third}
    assert "promoted all the same, as finetune.promote=always" in outcome.whereabouts(always)


def asked(precision: list[float], hits: list[int]) -> QueryScores:
    n = len(precision)
    return QueryScores(
        rows=np.arange(n),
        individuals=np.arange(n) // 2,
        average_precision=np.asarray(precision),
        first_hit=np.asarray(hits),
        inverse_negative_penalty=np.zeros(n),
        skipped=0,
    )


def test_a_change_that_is_the_same_for_everyone_is_sure() -> None:
    before = asked([0.1, 0.5, 0.2, 0.6], [2, 1, 2, 2])
    after = asked([0.3, 0.7, 0.4, 0.8], [1, 1, 1, 2])
    assert change_interval(before, after, False, 0) == [0.2, 0.2]
    # Top-1: each of the two individuals gains one of its two queries.
    assert change_interval(before, after, True, 0) == [0.5, 0.5]
    assert change_interval(after, before, False, 0) == [-0.2, -0.2]


def test_a_change_that_differs_may_be_chance() -> None:
    before, after = asked([0.5] * 4, [2] * 4), asked([0.9, 0.9, 0.2, 0.2], [1, 1, 2, 2])
    interval = change_interval(before, after, False, 0)
    assert interval == [pytest.approx(-0.3), pytest.approx(0.4)]
    metrics = figures(0.5, 0.55) | {"change_interval": interval}
    assert "(change, 95 %: -0.300 to +0.400); the gain may be chance" in outcome.verdict(metrics)
    few = {**metrics, "individuals": {"held_out": 6}}
    assert "from only 6 individuals, and may be far off" in outcome.verdict(few)
    assert "far off" not in outcome.verdict({**metrics, "individuals": {"held_out": 10}})


def test_one_individual_gives_no_interval() -> None:
    assert change_interval(asked([0.1, 0.2], [1, 1]), asked([0.2, 0.2], [1, 1]), False, 0) is None
