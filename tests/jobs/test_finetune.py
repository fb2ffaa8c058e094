"""The fine-tuning job, in one process and on a real Ray: it goes on after anything dies, and its proof is honest."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from jobs.common import outputs
from jobs.finetune import epochs, ray_training
from jobs.finetune.train import new_session
from reid import schema, store
from reid.models import load_model
from reid.synthetic import make_herd
from reid.training.sampler import identity_batches
from reid.training.trainer import Trainer
from tests.jobs.processes import needs_proc, start_and_kill, wait_until

# Small pictures, two epochs, one thread: others test on the same cores.
QUICK = (
    "finetune.epochs=2", "finetune.input_size=64", "finetune.identities=4", "finetune.precision=fp32",
    "finetune.cpus_per_worker=1", "finetune.hold_out=0.3", "finetune.validation_share=0.3",
    "embed.runtime=torch", "embed.cpus_per_worker=1", "embed.workers=1",
)  # fmt: skip
ON_RAY = "finetune.max_restarts=1"  # who wants a worker to be replaced has Ray do it
INDIVIDUALS, IMAGES = 12, 4

Reid = Callable[..., int]


def metrics_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "metrics.json").read_text()))


def history_of(out: Path) -> list[dict[str, Any]]:
    return list(json.loads((out / "history.json").read_text()))


def model_of(out: Path) -> Path:
    (folder,) = (out / name for name in ("checkpoint", "rejected") if (out / name).exists())
    return folder


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """12 individuals of coloured tiles in four lights each; one unlabelled picture, one broken."""
    folder = tmp_path_factory.mktemp("tiles")
    rows = []
    for individual in range(INDIVIDUALS):
        tiles = np.random.default_rng(individual).integers(0, 256, (5, 6, 3))
        for number in range(IMAGES):
            light = np.random.default_rng([individual, number]).uniform(0.5, 1.0)
            pixels = np.kron((tiles * light).astype(np.uint8), np.ones((16, 16, 1), np.uint8))
            path = folder / f"{individual:02d}-{number}.png"
            Image.fromarray(pixels).save(path)
            rows.append((path.name, f"animal {individual}", "lynx", f"{individual}-{number}"))
    (folder / "broken.png").write_bytes(b"no picture")
    rows += [("broken.png", "animal 0", "lynx", "broken"), (rows[0][0] + "x", None, "lynx", None)]
    table = pd.DataFrame(rows, columns=["path", "identity", "species", "encounter_id"])
    table.to_csv(folder / "labelled.csv", index=False)
    return folder / "labelled.csv"


@pytest.fixture(scope="session")
def first(labelled: Path, reid: Reid, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of one run in this process. Tests that change it take a copy."""
    out = tmp_path_factory.mktemp("first") / "out"
    assert reid("finetune", "-i", labelled, "-o", out, *QUICK) == 0
    return out


@pytest.fixture
def copied(first: Path, tmp_path: Path) -> Path:
    shutil.copytree(first, tmp_path / "out")
    return tmp_path / "out"


# ── What is written ───────────────────────────────────────────────────────────────────────────────


def test_before_and_after_are_of_rows_that_took_no_part(first: Path) -> None:
    split = store.read_table(str(first / "split.parquet"))
    assert split.schema.equals(schema.SPLIT)
    rows = split.to_pandas()
    assert len(rows) == INDIVIDUALS * IMAGES + 1, "the unlabelled picture is left out"
    individuals = {part: set(of_part["identity"]) for part, of_part in rows.groupby("part")}
    assert {part: len(names) for part, names in individuals.items()} == {
        "held_out": 4, "validation": 2, "train": 6,
    }  # fmt: skip
    assert not individuals["held_out"] & (individuals["train"] | individuals["validation"])
    assert not individuals["validation"] & individuals["train"]
    metrics = metrics_of(first)
    held_out = rows[(rows["part"] == "held_out") & (rows["image_path"] != "broken.png")]
    for side in ("before", "after"):
        assert metrics[side]["queries"] == len(held_out)
        for name in ("mean_average_precision", "balanced_average_precision", "top_1", "top_5"):
            low, high = metrics[side]["intervals"][name]
            assert 0 <= low <= metrics[side][name] <= high <= 1
    assert metrics["promoted"] == (
        metrics["after"]["mean_average_precision"] > metrics["before"]["mean_average_precision"]
    )


def test_the_model_loads_and_says_how_it_came_about(first: Path) -> None:
    folder = model_of(first)
    model = load_model(str(folder))
    assert (model.input_size, model.dimension) == (64, 1280)
    training = json.loads((folder / "model.json").read_text())["training"]
    assert training["start"] == "efficientnet-lite0"
    assert training["data"]["images"] == INDIVIDUALS * IMAGES + 1
    assert training["settings"]["epochs"] == 2
    assert training["metrics"]["after"] == metrics_of(first)["after"]
    assert training["versions"]["torch"]
    assert metrics_of(first)["model"] == str(folder)


def test_every_epoch_is_told_in_three_ways(first: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = history_of(first)
    assert [record["epoch"] for record in history] == [0, 1]
    table = store.read_table(str(first / "history.parquet"))
    assert table["loss"].to_pylist() == [record["loss"] for record in history]
    board = EventAccumulator(str(first / "tensorboard"))
    board.Reload()
    for record, scalar in zip(history, board.Scalars("epoch/loss"), strict=True):
        assert scalar.step == record["epoch"] + 1
        assert scalar.value == pytest.approx(record["loss"], rel=1e-6)
    assert len(board.Scalars("validation/mAP")) == 2
    assert len(board.Scalars("step/loss")) == sum(record["steps"] for record in history)


def test_the_report_needs_no_other_file(first: Path) -> None:
    page = (first / "report.html").read_text()
    assert "held-out images" in page
    assert "<svg" in page
    assert "data:image/webp" in page
    assert not re.findall(r"(?:src|href)=[\"']?(?!data:|#)[^\"'> ]+", page)


def test_only_what_is_needed_stays_on_disk(first: Path) -> None:
    assert [path.parent.name for path in (first / "training").glob("*/state.pt")] == ["epoch-0002"]
    assert not list((first / "training").glob("ray-*"))
    assert not (first / "training" / "cache").exists()


def test_a_broken_picture_is_a_failure_and_ends_nothing(first: Path) -> None:
    failures = store.read_table(str(first / outputs.FAILURES)).to_pylist()
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


# ── Whatever dies ─────────────────────────────────────────────────────────────────────────────────


@needs_proc
def test_a_run_whose_driver_is_killed_goes_on_after_its_last_epoch(
    first: Path, labelled: Path, tmp_path: Path, reid: Reid, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    arguments = ["-i", str(labelled), "-o", str(out), *QUICK]
    one = out / "training" / "epoch-0001" / "history.json"
    start_and_kill(["finetune", *arguments], tmp_path / "log", one.exists)
    killed_after = json.loads(one.read_text())
    assert not (out / "metrics.json").exists(), "killed in the middle"

    assert reid("finetune", *arguments) == 0
    assert "going on after epoch 1" in capfd.readouterr().err
    assert history_of(out)[:1] == killed_after, "the first epoch was not trained again"
    assert_same_training(out, first)


@pytest.mark.parametrize("where", ["finetune.max_restarts=0", ON_RAY])
def test_ctrl_c_ends_the_run_and_says_how_to_go_on(
    labelled: Path, tmp_path: Path, where: str
) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    command = [sys.executable, "-m", "jobs", "finetune", "-i", str(labelled), "-o", str(out)]
    with log.open("wb") as stream:
        driver = subprocess.Popen(
            [*command, *QUICK, "finetune.epochs=200", where], stdout=stream, stderr=stream
        )
        try:
            one = out / "training" / "epoch-0001" / "history.json"
            wait_until(lambda: one.exists() or driver.poll() is not None)
            driver.send_signal(signal.SIGINT)
            assert driver.wait(timeout=120) == 130, log.read_text()
        finally:
            driver.kill()
            driver.wait()
    said = log.read_text()
    assert ("in this process, without Ray" in said) == (where != ON_RAY)
    assert "stopped; run the same command again" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("local_ray")
def test_on_ray_a_killed_worker_is_replaced_and_the_weights_are_those_of_one_process(
    first: Path,
    labelled: Path,
    tmp_path: Path,
    reid: Reid,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    killed = tmp_path / "killed"
    train_epoch, ray_worker = Trainer.train_epoch, ray_training.ray_worker

    def fatal(self: Trainer, epoch: int, *arguments: Any, **options: Any) -> Any:
        if epoch == 1 and not killed.exists():
            killed.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        return train_epoch(self, epoch, *arguments, **options)

    def killed_in_the_second_epoch(given: dict[str, Any]) -> None:
        Trainer.train_epoch = fatal  # type: ignore[method-assign]
        ray_worker(given)

    monkeypatch.setattr(ray_training, "ray_worker", killed_in_the_second_epoch)
    assert reid("finetune", "-i", labelled, "-o", tmp_path / "out", *QUICK, ON_RAY) == 0
    assert killed.exists(), "it did die"
    said = capfd.readouterr().err
    assert "begun again after epoch 1: a worker died" in said
    assert "without Ray" not in said
    assert_same_training(tmp_path / "out", first)


def assert_same_training(out: Path, first: Path) -> None:
    """An interruption changes nothing: the weights are those of the run that had none."""
    assert metrics_of(out)["weights_of_ranks"] == metrics_of(first)["weights_of_ranks"]
    assert metrics_of(out)["after"] == metrics_of(first)["after"]
    for name in ("epoch", "loss", "images", "validation"):
        assert [r[name] for r in history_of(out)] == [r[name] for r in history_of(first)]


def test_an_attempt_that_another_one_overtakes_stops_and_writes_no_epoch(
    labelled: Path,
    tmp_path: Path,
    reid: Reid,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    train_epoch, folder = Trainer.train_epoch, tmp_path / "out" / "training"

    def overtaken(self: Trainer, epoch: int, *arguments: Any, **options: Any) -> Any:
        if epoch == 1:
            new_session(str(folder))
        return train_epoch(self, epoch, *arguments, **options)

    monkeypatch.setattr(Trainer, "train_epoch", overtaken)
    assert reid("finetune", "-i", labelled, "-o", tmp_path / "out", *QUICK) == 3
    assert "another attempt at this training has begun" in capfd.readouterr().err
    assert epochs.stored(str(folder)) == [0]


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("where", ["finetune.max_restarts=0", ON_RAY])
def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_epoch(
    labelled: Path,
    tmp_path: Path,
    reid: Reid,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    where: str,
) -> None:
    train_epoch, ray_worker = Trainer.train_epoch, ray_training.ray_worker

    def spoilt(self: Trainer, epoch: int, *arguments: Any, **options: Any) -> Any:
        if epoch == 1:
            next(self.network.parameters()).data.fill_(float("nan"))
        return train_epoch(self, epoch, *arguments, **options)

    def spoilt_worker(given: dict[str, Any]) -> None:
        Trainer.train_epoch = spoilt  # type: ignore[method-assign]
        ray_worker(given)

    if where == ON_RAY:
        monkeypatch.setattr(ray_training, "ray_worker", spoilt_worker)
    else:
        monkeypatch.setattr(Trainer, "train_epoch", spoilt)
    out = tmp_path / "out"
    assert reid("finetune", "-i", labelled, "-o", out, *QUICK, where) == 1
    message = capfd.readouterr().err.replace("\n", " ")
    assert re.search(r"error: training diverged in epoch 2, step 1 .*nan", message)
    ids = store.read_table(str(out / "split.parquet"))["annotation_id"].to_pylist()
    assert any(one in message for one in ids), "the batch is named"
    good = out / "training" / "epoch-0001"
    assert f"go on from it with another --out and --model {good}" in message
    assert load_model(str(good)).dimension == 1280
    assert not (out / "checkpoint").exists()


# ── Several workers, folds, other splits ──────────────────────────────────────────────────────────


@pytest.mark.usefixtures("local_ray")
def test_two_workers_train_on_what_both_can_read_and_end_with_the_same_weights(
    first: Path, labelled: Path, tmp_path: Path, reid: Reid, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    seen.mkdir()
    ray_worker = ray_training.ray_worker

    def the_second_cannot_read(given: dict[str, Any]) -> None:
        from ray.train import get_context

        from jobs.finetune import worker
        from reid.training import trainer

        rank = get_context().get_world_rank()
        open_pixels, identity_batches = worker.open_pixels, trainer.identity_batches

        def open_some(*arguments: Any, **options: Any) -> Any:
            pixels = open_pixels(*arguments, **options)
            if rank == 1:
                pixels.good[::IMAGES] = False  # one of every individual
            return pixels

        def batches(codes: Any, **options: Any) -> Any:
            plan = identity_batches(codes, **options)
            np.savez(seen / f"{options['epoch']}-{rank}.npz", plan=plan, codes=codes)
            return plan

        worker.open_pixels, trainer.identity_batches = open_some, batches
        ray_worker(given)

    monkeypatch.setattr(ray_training, "ray_worker", the_second_cannot_read)
    two = (*QUICK, "finetune.workers=2", "finetune.identities=2")
    assert reid("finetune", "-i", labelled, "-o", tmp_path / "out", *two) == 0
    metrics, one = metrics_of(tmp_path / "out"), metrics_of(first)
    assert metrics["workers"] == 2
    assert len(metrics["weights_of_ranks"]) == 2
    assert len(set(metrics["weights_of_ranks"])) == 1
    assert one["images"] == metrics["images"], "the same rows are held out"
    for epoch, record in enumerate(history_of(tmp_path / "out")):
        ranks = [np.load(seen / f"{epoch}-{rank}.npz") for rank in (0, 1)]
        codes = ranks[0]["codes"]
        assert codes.tolist() == ranks[1]["codes"].tolist()
        assert len(codes) == metrics["individuals"]["train"] * (IMAGES - 1)
        for left, right in zip(*(rank["plan"] for rank in ranks), strict=True):
            assert not set(codes[left]) & set(codes[right]), "an identity on both ranks in a step"
        trained = np.concatenate([rank["plan"].ravel() for rank in ranks])
        assert set(trained) == set(range(len(codes))), "every image, every epoch"
        of_one = identity_batches(codes, identities=4, images=2, seed=0, epoch=epoch)
        assert record["images"] == of_one.size, "as one worker alone would"
        assert len(set(record["images_per_rank"])) == 1


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
