"""Training in one process and on a real Ray: it goes on after anything dies, with the same weights."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.finetune import epochs, ray_training
from jobs.finetune.train import new_session
from reid import store
from reid.models import load_model
from reid.training.sampler import identity_batches
from reid.training.trainer import Trainer
from tests.jobs.labelled_tiles import IMAGES, QUICK, assert_same_training, history_of, metrics_of
from tests.jobs.processes import needs_proc, start_and_kill, wait_until

ON_RAY = "finetune.max_restarts=1"  # who wants a worker to be replaced has Ray do it

Reid = Callable[..., int]

# ── Whatever dies ─────────────────────────────────────────────────────────────────────────────────


@needs_proc
def test_a_run_whose_driver_is_killed_goes_on_after_its_last_epoch(
    finetuned: Path, labelled: Path, tmp_path: Path, reid: Reid, capfd: pytest.CaptureFixture[str]
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
    assert_same_training(out, finetuned)


# On Ray it is a SIGTERM that does so: tests/jobs/test_terminated.py.
def test_ctrl_c_ends_the_run_and_says_how_to_go_on(labelled: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "out", tmp_path / "log"
    command = [sys.executable, "-m", "jobs", "finetune", "-i", str(labelled), "-o", str(out)]
    with log.open("wb") as stream:
        driver = subprocess.Popen(
            [*command, *QUICK, "finetune.epochs=200"], stdout=stream, stderr=stream
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
    assert "in this process, without Ray" in said
    assert "stopped; run the same command again" in said
    assert "Traceback" not in said


@pytest.mark.usefixtures("local_ray")
def test_on_ray_a_killed_worker_is_replaced_and_the_weights_are_those_of_one_process(
    finetuned: Path,
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
    assert_same_training(tmp_path / "out", finetuned)


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


# ── Two at once ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("local_ray")
def test_two_workers_train_on_what_both_can_read_and_end_with_the_same_weights(
    finetuned: Path, labelled: Path, tmp_path: Path, reid: Reid, monkeypatch: pytest.MonkeyPatch
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
    metrics, one = metrics_of(tmp_path / "out"), metrics_of(finetuned)
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
