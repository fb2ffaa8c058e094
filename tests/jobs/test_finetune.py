"""The fine-tuning job: its proof is honest, and what is finished is not done again."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from jobs.common import outputs
from reid import schema, store
from reid.models import load_model
from reid.synthetic import make_herd
from tests.jobs.labelled_tiles import (
    IMAGES,
    INDIVIDUALS,
    QUICK,
    history_of,
    metrics_of,
    model_of,
)

Reid = Callable[..., int]


@pytest.fixture
def copied(finetuned: Path, tmp_path: Path) -> Path:
    shutil.copytree(finetuned, tmp_path / "out")
    return tmp_path / "out"


# ── What is written ───────────────────────────────────────────────────────────────────────────────


def test_before_and_after_are_of_rows_that_took_no_part(finetuned: Path) -> None:
    split = store.read_table(str(finetuned / "split.parquet"))
    assert split.schema.equals(schema.SPLIT)
    rows = split.to_pandas()
    assert len(rows) == INDIVIDUALS * IMAGES + 1, "the unlabelled picture is left out"
    individuals = {part: set(of_part["identity"]) for part, of_part in rows.groupby("part")}
    assert {part: len(names) for part, names in individuals.items()} == {
        "held_out": 4, "validation": 2, "train": 6,
    }  # fmt: skip
    assert not individuals["held_out"] & (individuals["train"] | individuals["validation"])
    assert not individuals["validation"] & individuals["train"]
    metrics = metrics_of(finetuned)
    held_out = rows[(rows["part"] == "held_out") & (rows["image_path"] != "broken.png")]
    for side in ("before", "after"):
        assert metrics[side]["queries"] == len(held_out)
        for name in ("mean_average_precision", "balanced_average_precision", "top_1", "top_5"):
            low, high = metrics[side]["intervals"][name]
            assert 0 <= low <= metrics[side][name] <= high <= 1
    assert metrics["promoted"] == (
        metrics["after"]["mean_average_precision"] > metrics["before"]["mean_average_precision"]
    )


def test_the_model_loads_and_says_how_it_came_about(finetuned: Path) -> None:
    folder = model_of(finetuned)
    model = load_model(str(folder))
    assert (model.input_size, model.dimension) == (64, 1280)
    training = json.loads((folder / "model.json").read_text())["training"]
    assert training["start"] == "efficientnet-lite0"
    assert training["data"]["images"] == INDIVIDUALS * IMAGES + 1
    assert training["settings"]["epochs"] == 2
    assert training["metrics"]["after"] == metrics_of(finetuned)["after"]
    assert training["versions"]["torch"]
    assert metrics_of(finetuned)["model"] == str(folder)


def test_every_epoch_is_told_in_three_ways(finetuned: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = history_of(finetuned)
    assert [record["epoch"] for record in history] == [0, 1]
    table = store.read_table(str(finetuned / "history.parquet"))
    assert table["loss"].to_pylist() == [record["loss"] for record in history]
    board = EventAccumulator(str(finetuned / "tensorboard"))
    board.Reload()
    for record, scalar in zip(history, board.Scalars("epoch/loss"), strict=True):
        assert scalar.step == record["epoch"] + 1
        assert scalar.value == pytest.approx(record["loss"], rel=1e-6)
    assert len(board.Scalars("validation/mAP")) == 2
    assert len(board.Scalars("step/loss")) == sum(record["steps"] for record in history)


def test_the_report_needs_no_other_file(finetuned: Path) -> None:
    page = (finetuned / "report.html").read_text()
    assert "held-out images" in page
    assert "<svg" in page
    assert "data:image/webp" in page
    assert not re.findall(r"(?:src|href)=[\"']?(?!data:|#)[^\"'> ]+", page)


def test_only_what_is_needed_stays_on_disk(finetuned: Path) -> None:
    assert [path.parent.name for path in (finetuned / "training").glob("*/state.pt")] == [
        "epoch-0002"
    ]
    assert not list((finetuned / "training").glob("ray-*"))
    assert not (finetuned / "training" / "cache").exists()


def test_a_broken_picture_is_a_failure_and_ends_nothing(finetuned: Path) -> None:
    failures = store.read_table(str(finetuned / outputs.FAILURES)).to_pylist()
    assert [row["image_path"] for row in failures] == ["broken.png"]


# ── Run again ─────────────────────────────────────────────────────────────────────────────────────


def test_a_finished_run_says_so(
    copied: Path, labelled: Path, reid: Reid, capfd: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    assert reid("finetune", "-i", labelled, "-o", copied, *QUICK) == 0
    assert "is finished: nothing to do" in capfd.readouterr().err
    limited = ("-i", labelled, "-o", copied, *QUICK, "finetune.time_limit_minutes=45")
    assert reid("finetune", *limited) == 0
    assert "is finished: nothing to do" in capfd.readouterr().err
    after = {path: path.stat().st_mtime_ns for path in copied.rglob("*") if path.is_file()}
    assert after == before


def test_other_settings_in_the_same_folder_are_refused(
    copied: Path, labelled: Path, reid: Reid, capfd: pytest.CaptureFixture[str]
) -> None:
    assert reid("finetune", "-i", labelled, "-o", copied, *QUICK, "finetune.lr=1e-5") == 1
    message = capfd.readouterr().err
    assert "finetune.lr: 0.0004 before, 1e-05 now" in message.replace("\n", " ")
    assert "finetune.epochs" not in message


def test_other_data_in_the_same_folder_are_refused(
    copied: Path, labelled: Path, reid: Reid, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fewer = pd.read_csv(labelled).iloc[1:]
    fewer.to_csv(tmp_path / "fewer.csv", index=False)
    arguments = ("-i", tmp_path / "fewer.csv", "--root", labelled.parent, "-o", copied, *QUICK)
    assert reid("finetune", *arguments) == 1
    assert "data: 49 images of 12 individuals before, 48 images" in capfd.readouterr().err


def test_the_folder_of_another_job_is_refused(
    labelled: Path, reid: Reid, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.yaml").write_text("seed: 0\n")
    assert reid("finetune", "-i", labelled, "-o", tmp_path / "out", *QUICK) == 1
    assert "results of another job" in capfd.readouterr().err


# ── Folds, other splits, other places ──────────────────────────────────────────────────────────


def test_folds_hold_every_individual_out_once_and_make_an_ensemble(
    labelled: Path, tmp_path: Path, reid: Reid, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    few = ("finetune.folds=2", "finetune.epochs=1", "finetune.promote=always")
    assert reid("finetune", "-i", labelled, "-o", out, *QUICK, *few) == 0
    held = []
    for fold in (0, 1):
        rows = store.read_table(str(out / f"fold-{fold}" / "split.parquet")).to_pandas()
        held.append(set(rows.loc[rows["part"] == "held_out", "identity"]))
        assert (out / f"fold-{fold}" / "report.html").exists()
    assert not held[0] & held[1]
    assert len(held[0] | held[1]) == INDIVIDUALS
    models = ",".join(str(out / f"fold-{fold}" / "checkpoint") for fold in (0, 1))
    assert f"--model {models}" in capfd.readouterr().err.replace("\n", "")
    both = [metrics_of(out / f"fold-{fold}")["after"]["top_1"] for fold in (0, 1)]
    assert metrics_of(out)["after"]["top_1"] == pytest.approx(np.mean(both), abs=1e-4)
    assert metrics_of(out)["after"]["top_1_spread"] == pytest.approx(np.std(both, ddof=1), abs=1e-4)
    quick = ("embed.runtime=torch", "embed.cpus_per_worker=1", "embed.workers=1")
    arguments = ("-i", labelled, "-o", tmp_path / "embedded", "--model", models, *quick)
    assert reid("embed", *arguments, "--max-failures", "0.1") == 0
    summary = outputs.read_summary(str(tmp_path / "embedded"))["embed"]
    assert summary["embedded"] == INDIVIDUALS * IMAGES


def test_a_run_out_of_time_says_so_and_goes_on_when_it_is_given_more(
    labelled: Path, tmp_path: Path, reid: Reid, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ("-i", labelled, "-o", tmp_path / "out", *QUICK, "finetune.split=closed")
    limit = "finetune.time_limit_minutes=0.0001"
    assert reid("finetune", *arguments, limit) == 0
    assert "stopped after epoch 1 of 2: the next one would pass" in capfd.readouterr().err
    metrics = metrics_of(tmp_path / "out")
    assert (metrics["stopped"], metrics["decides"]) == ("time limit", "top_1")
    rows = store.read_table(str(tmp_path / "out" / "split.parquet")).to_pandas()
    queries = rows[rows["part"] == "held_out"]
    assert set(queries["identity"]) <= set(rows.loc[rows["part"] != "held_out", "identity"])
    # One image an encounter: the share of all images, the broken one among them.
    assert len(queries) == round(0.3 * len(rows))
    assert reid("finetune", *arguments, limit) == 0
    assert "is finished" in capfd.readouterr().err
    assert reid("finetune", *arguments) == 0
    assert "going on after epoch 1" in capfd.readouterr().err
    assert metrics_of(tmp_path / "out")["stopped"] == "finished"
    assert len(history_of(tmp_path / "out")) == 2


def test_results_on_object_storage(bucket: str, labelled: Path, reid: Reid) -> None:
    out = f"{bucket}/runs/tiles"
    pixels = Path(tempfile.gettempdir()) / "reid-pixels"
    before = set(pixels.glob("*"))
    few = ("finetune.epochs=4", "finetune.keep=1", "finetune.promote=always")
    arguments = ("-i", labelled, "-o", out, *QUICK, *few)
    assert reid("finetune", *arguments) == 0
    metrics = store.read_json(f"{out}/metrics.json")
    assert metrics["model"] == f"{out}/checkpoint"
    assert load_model(metrics["model"]).input_size == 64
    files = store.list_files(f"{out}/training", recursive=True)
    left = {path[len(out) :].split("/")[2] for path in files}
    assert {name for name in left if name.startswith(("epoch-", "ray-"))} == {
        f"epoch-{metrics['best_epoch']:04d}",
        "epoch-0004",
    }, "the best, and the last to go on from"
    assert [path for path in files if path.endswith("state.pt")] == [
        f"{out}/training/epoch-0004/state.pt"
    ]
    assert set(pixels.glob("*")) == before, "decoded images do not stay on the machine"
    assert reid("finetune", *arguments) == 0, "finished"


# ── Does it help? ─────────────────────────────────────────────────────────────────────────────────


def test_a_short_training_on_the_herd_helps_with_individuals_that_it_never_saw(
    tmp_path: Path, reid: Reid
) -> None:
    herd = make_herd(tmp_path / "herd", individuals=64, images_per_individual=5, species=1, seed=0)
    known = pd.read_csv(herd.annotations).drop(columns="identity")
    known.merge(pd.read_csv(herd.truth), on="image_path").to_csv(
        tmp_path / "herd" / "labelled.csv", index=False
    )
    settings = (
        "finetune.hold_out=0.4", "finetune.validation_share=0", "finetune.input_size=128",
        "finetune.epochs=8", "finetune.lr=1e-3", "finetune.head_lr=5e-3", "finetune.margin_rad=0.3",
        "finetune.warmup_epochs=1", "finetune.sampling=shuffled", "finetune.cpus_per_worker=2",
        "embed.runtime=torch", "embed.cpus_per_worker=1", "embed.workers=1",
    )  # fmt: skip
    arguments = ("-i", tmp_path / "herd" / "labelled.csv", "-o", tmp_path / "out", *settings)
    assert reid("finetune", *arguments) == 0
    metrics = metrics_of(tmp_path / "out")
    before, after = (metrics[side]["mean_average_precision"] for side in ("before", "after"))
    assert metrics["promoted"]
    assert after > before + 0.04, "0.65 and 0.72 where this was written"
    assert metrics["individuals"] == {"train": 38, "held_out": 26}
