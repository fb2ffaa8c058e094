"""What the fine-tuning job does around its training, which is made up here. No Ray, no network.

A run killed at any moment, and every order of settings, can so be tried in well under a second.
"""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from PIL import Image

from jobs.cli import run_command
from jobs.common import outputs
from jobs.finetune import driver, epochs
from jobs.finetune import train as training
from jobs.finetune.train import fitting_workers, most_threads, new_session, train, trains_here
from jobs.finetune.watch import Watch
from jobs.finetune.worker import FINISHED, OUT_OF_TIME, TrainTask
from reid import schema, store
from reid.config import load_config
from reid.errors import InputError, StorageError
from tests.training_toy import write_model

EPOCHS = 3

Finetune = Callable[..., int]


def record_of(epoch: int) -> dict[str, Any]:
    return {
        "epoch": epoch, "score": None, "validation": {}, "loss": 1.0 / (epoch + 1), "lr": 0.1,
        "grad_norm": 1.0, "images": 9, "images_per_second": 2.0, "seconds": 3.0, "steps": 2,
        "losses": [(0, 1.0), (1, 0.5)], "finished_at": 100.0 + epoch, "notes": [],
    }  # fmt: skip


class MadeUp:
    """Stands in for training and embedding.

    Attributes:
        trained: the epochs that were trained, in order.
        better: the model finds every individual; else it finds none.
        dies_in: folder of the run whose training is killed before its next epoch.
    """

    def __init__(self) -> None:
        self.trained: list[int] = []
        self.better = True
        self.dies_in: str | None = None

    def train(
        self, _config: Any, task: TrainTask, watch: Watch, *, workers: int, here: bool
    ) -> None:
        last = epochs.latest(task.folder)
        history = [] if last is None else epochs.read_history(task.folder, last)
        watch.see(
            {"kind": "start", "device": "cpu", "workers": workers, "images": 9, "history": history}
        )
        stopped = FINISHED
        while len(history) < task.settings.epochs:
            if task.time_limit_minutes is not None and len(history) >= task.time_limit_minutes:
                stopped = OUT_OF_TIME  # an epoch takes a minute
                break
            if self.dies_in is not None and self.dies_in in task.folder:
                raise KeyboardInterrupt
            epoch = len(history)
            history = [*history, record_of(epoch)]
            self.trained.append(epoch)
            place = epochs.path(task.folder, epoch)
            store.write_bytes(store.join(place, "model.safetensors"), f"{epoch}".encode())
            store.write_json(store.join(place, "model.json"), {"training": {"epoch": epoch + 1}})
            store.write_json(store.join(place, "history.json"), history)
            watch.see({"kind": "epoch", "record": history[-1]})
        watch.see({"kind": "stop", "reason": stopped, "ranks": ["digest"]})

    def embed_rows(
        self, _config: Any, _embed: Any, model: str, plan: Any
    ) -> tuple[np.ndarray, Any]:
        vectors = np.eye(len(plan.rows), dtype=np.float32)  # nobody is near anybody
        if "epoch-" in model and self.better:
            _, codes = np.unique(plan.rows["identity"].to_pylist(), return_inverse=True)
            vectors = np.eye(len(plan.rows), dtype=np.float32)[codes]
        return vectors, schema.FAILURES.empty_table()


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> MadeUp:
    stand_in = MadeUp()
    monkeypatch.setattr(driver, "start_from", lambda _: SimpleNamespace(digest="d"))
    monkeypatch.setattr(driver, "fitting_workers", lambda _: (1, 1))
    monkeypatch.setattr(driver, "train", stand_in.train)
    monkeypatch.setattr(driver.score, "embed_rows", stand_in.embed_rows)
    return stand_in


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def finetune(tmp_path: Path, out: Path) -> Finetune:
    """Runs the command on eight individuals with three pictures each; its exit code."""
    rows = []
    for individual in range(8):
        for number in range(3):
            name = f"{individual}-{number}.png"
            Image.new("RGB", (8, 8), (30 * individual, 80 * number, 0)).save(tmp_path / name)
            rows.append((name, f"animal {individual}", "lynx"))
    table = tmp_path / "labelled.csv"
    pd.DataFrame(rows, columns=["path", "identity", "species"]).to_csv(table, index=False)

    def command(*overrides: str) -> int:
        arguments = ["finetune", "-i", str(table), "-o", str(out), f"finetune.epochs={EPOCHS}"]
        with pytest.raises(SystemExit) as ended:
            run_command(None, [*arguments, "finetune.hold_out=0.3", *overrides])
        return int(ended.value.code or 0)

    return command


def metrics_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "metrics.json").read_text()))


# ── Finished, or not ──────────────────────────────────────────────────────────────────────────────


def test_a_run_that_finished_without_a_limit_is_finished_with_one(
    made_up: MadeUp, finetune: Finetune, capfd: pytest.CaptureFixture[str]
) -> None:
    assert finetune() == 0
    assert finetune("finetune.time_limit_minutes=45") == 0
    assert "is finished: nothing to do" in capfd.readouterr().err
    assert made_up.trained == [0, 1, 2]


def test_a_run_out_of_time_goes_on_with_more_of_it_only(
    made_up: MadeUp, finetune: Finetune, out: Path
) -> None:
    for limit, trained in ((1, [0]), (1, [0]), (2, [0, 1]), (1.5, [0, 1])):
        assert finetune(f"finetune.time_limit_minutes={limit}") == 0
        assert made_up.trained == trained
    assert metrics_of(out)["stopped"] == OUT_OF_TIME
    assert finetune() == 0
    assert made_up.trained == [0, 1, 2]
    assert metrics_of(out)["stopped"] == FINISHED


# ── One folder, one training ──────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("first", "then"), [(2, 0), (0, 2)])
@pytest.mark.parametrize("killed", [False, True])
def test_folds_and_no_folds_do_not_share_a_folder(
    made_up: MadeUp,
    finetune: Finetune,
    out: Path,
    capfd: pytest.CaptureFixture[str],
    first: int,
    then: int,
    killed: bool,
) -> None:
    limit = "finetune.time_limit_minutes=1"
    if killed:  # in its second epoch, or in its second fold
        made_up.dies_in = "fold-1" if first else None
    assert finetune(f"finetune.folds={first}", limit) == (130 if killed and first else 0)
    made_up.dies_in = None
    if killed:
        for path in out.rglob("metrics.json"):
            path.unlink()
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert finetune(f"finetune.folds={then}", limit) == 1
    assert f"finetune.folds: {first} before, {then} now" in capfd.readouterr().err
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert finetune(f"finetune.folds={first}") == 0
    assert metrics_of(out)["split"] == ("folds" if first else "individuals")


def test_a_finished_run_without_its_epochs_still_has_its_settings(
    made_up: MadeUp, finetune: Finetune, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert finetune() == 0
    store.remove(str(out / "training"))
    assert finetune("finetune.lr=1e-5") == 1
    assert "finetune.lr: 0.0004 before, 1e-05 now" in capfd.readouterr().err
    assert finetune() == 0
    assert made_up.trained == [0, 1, 2]


@pytest.mark.parametrize("folds", [0, 2])
def test_a_job_killed_after_its_last_run_is_concluded_by_the_next_one(
    made_up: MadeUp,
    finetune: Finetune,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    folds: int,
) -> None:
    bad = {"annotation_id": "a", "image_path": "a.png", "stage": "read", "error": "gone"}
    failed = pa.Table.from_pylist([bad], schema=schema.FAILURES)
    monkeypatch.setattr(
        driver.score, "embed_rows", lambda *given: (made_up.embed_rows(*given)[0], failed)
    )
    limit = "finetune.time_limit_minutes=1"
    assert finetune(f"finetune.folds={folds}", limit, "--max-failures", "0.5") == 0

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    more = (f"finetune.folds={folds}", "--max-failures", "0.01")
    with monkeypatch.context() as patched:
        patched.setattr(driver, "_conclude", killed)
        assert finetune(*more) == 130
    (out / "training" / "cache").mkdir(parents=True)
    assert finetune(*more) == 2, "too many failures, as the run that was killed would have said"
    assert "is finished" not in capfd.readouterr().err
    summary = outputs.read_summary(str(out))["finetune"]
    assert summary["after"] == metrics_of(out)["after"]
    assert all(metrics_of(path.parent)["stopped"] == FINISHED for path in out.glob("fold-*/*.html"))
    assert (out / "report.html").exists()
    assert store.read_table(str(out / outputs.FAILURES)).num_rows == 1
    assert not (out / "training" / "cache").exists()
    assert made_up.trained == ([0, 0, 1, 2, 1, 2] if folds else [0, 1, 2])
    assert finetune(*more) == 0
    assert "is finished" in capfd.readouterr().err


# ── Better, or promoted all the same ──────────────────────────────────────────────────────────────


@pytest.mark.parametrize("folds", [0, 2])
def test_a_model_that_is_promoted_anyway_is_not_called_better(
    made_up: MadeUp,
    finetune: Finetune,
    out: Path,
    capfd: pytest.CaptureFixture[str],
    folds: int,
) -> None:
    made_up.better = False
    assert finetune("finetune.promote=always", f"finetune.folds={folds}") == 0
    told = capfd.readouterr().err
    assert "NOT better than its start" in told
    assert "promoted all the same" in told
    page = (out / "report.html").read_text()
    assert 'class="verdict worse"' in page
    assert "0 of 2 are better" in page or not folds
    assert len(list(out.rglob("checkpoint/model.json"))) == max(1, folds)


def test_promoting_after_the_end_says_that_it_moves_nothing(
    made_up: MadeUp, finetune: Finetune, out: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    made_up.better = False
    assert finetune() == 0
    assert "note: finetune.promote" not in capfd.readouterr().err
    assert finetune("finetune.promote=always") == 0
    assert "note: finetune.promote=always moves no model" in capfd.readouterr().err
    assert (out / "rejected").exists()
    assert not (out / "checkpoint").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("finetune.freeze_stages=99", "freeze_stages 99: the backbone has a stem and"),
        ("finetune.pooling=gem", "use pooling 'model'"),
    ],
)
def test_settings_that_do_not_fit_the_model_are_refused_before_anything_starts(
    finetune: Finetune,
    tmp_path: Path,
    out: Path,
    capfd: pytest.CaptureFixture[str],
    setting: str,
    message: str,
) -> None:
    model = write_model(tmp_path / "model", "test_vit")
    assert finetune(setting, "--model", model) == 1
    assert message in capfd.readouterr().err
    assert not out.exists()


# ── Workers ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("cpus", "workers", "threads"),
    [
        ([2], 1, 2),
        ([4], 3, 1),
        ([4], 9, 1),
        ([16, 4, 4], 1, 16),
        ([16, 4, 4], 2, 8),  # 24 cores for two, but twelve of them are on one machine only
        ([16, 4, 4], 4, 4),
        ([8, 8], 3, 4),
        ([], 1, 1),
    ],
)
def test_workers_get_the_cores_of_a_machine(cpus: list[int], workers: int, threads: int) -> None:
    assert most_threads(cpus, workers) == threads


GPU_HERE = [{"CPU": 8.0, "GPU": 1.0}]
GPUS_HERE = [{"CPU": 8.0, "GPU": 2.0}]
TWO_MACHINES = [{"CPU": 8.0}, {"CPU": 8.0}]


@pytest.mark.parametrize(
    ("machines", "settings", "here"),
    [
        ([{"CPU": 8.0}], [], True),
        ([{"CPU": 8.0}], ["finetune.max_restarts=0"], True),
        ([{"CPU": 8.0}], ["finetune.max_restarts=1"], False),
        ([{"CPU": 8.0}], ["finetune.workers=2"], False),
        ([{"CPU": 8.0}], ["address=ray://head"], False),
        (TWO_MACHINES, [], False),
        (GPU_HERE, ["finetune.device=cuda"], True),
        (GPUS_HERE, ["finetune.device=cuda"], False),
        (GPUS_HERE, ["finetune.device=cuda", "finetune.workers=1"], True),
        (GPUS_HERE, ["finetune.device=cpu"], True),
    ],
)
def test_one_worker_on_one_machine_trains_in_this_process(
    machines: list[dict[str, float]],
    settings: list[str],
    here: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(training, "machines", lambda: machines)
    assert trains_here(load_config(None, settings)) == here


@pytest.mark.parametrize(
    ("settings", "workers", "threads"),
    [([], 1, 8), (["finetune.cpus_per_worker=2"], 1, 2), (["finetune.device=cuda"], 2, 4)],
)
def test_workers_are_those_that_this_machine_has_room_for(
    settings: list[str], workers: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "machines", lambda: GPUS_HERE)
    config = load_config(None, ["finetune.device=cpu", *settings])
    assert fitting_workers(config) == (workers, threads)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["finetune.device=cuda", "finetune.workers=3"], "but there are 2 GPUs here"),
        (["finetune.cpus_per_worker=9"], "1 with 9 CPUs each are more than this machine's 8"),
    ],
)
def test_what_does_not_fit_on_this_machine_is_refused(
    settings: list[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "machines", lambda: GPUS_HERE)
    with pytest.raises(InputError, match=message):
        fitting_workers(load_config(None, ["finetune.device=cpu", *settings]))


def test_another_attempt_takes_the_folder_and_what_ray_left_there_goes(tmp_path: Path) -> None:
    folder = str(tmp_path)
    first = new_session(folder)
    store.write_text(store.join(folder, f"ray-{first}", "state.json"), "")
    store.write_text(store.join(folder, "epoch-0001", "history.json"), "[]")
    assert new_session(folder) == epochs.session(folder) != first
    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0001", "session"]


def test_what_fails_while_this_process_trains_is_told_with_the_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        torch.set_num_threads(threads + 1)
        raise OSError("no space left on device")

    threads = torch.get_num_threads()
    monkeypatch.setattr(training, "train_epochs", fails)
    task = SimpleNamespace(folder=str(tmp_path))
    with (
        Watch("train", epochs=3, closed=False, tensorboard=str(tmp_path)) as watch,
        pytest.raises(StorageError, match=r"after epoch 0: .*no space.*the same command again"),
    ):
        train(load_config(), task, watch, workers=1, here=True)  # type: ignore[arg-type]
    assert torch.get_num_threads() == threads, "the worker is gone, and its settings with it"
