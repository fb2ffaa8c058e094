"""A training run on Ray Train, watched from the driver: workers that die are replaced."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
import ray.train
import ray.train.torch
from ray.train.torch import TorchTrainer

from jobs.common.endings import as_reid_error
from jobs.common.session import finds_gpu
from jobs.finetune.event_queue import open_event_queue, raise_failure
from jobs.finetune.event_reporter import EventReporter
from jobs.finetune.freed_memory import KEEP_FREED_MEMORY
from jobs.finetune.watch import Watch
from jobs.finetune.worker import Member, TrainTask, train_epochs
from reid import store
from reid.config import Config
from reid.errors import ReidError, StorageError

SECONDS_BETWEEN_LOOKS = 0.2
RESTARTS = 3  # where finetune.max_restarts is auto


def train_on_ray(config: Config, task: TrainTask, watch: Watch, *, workers: int) -> None:
    """Train until a worker says that there is a reason to stop. Needs a Ray session.

    Raises:
        ReidError: what a worker raised, as it was.
        StorageError: workers died more often than `finetune.max_restarts`.
    """
    queue = open_event_queue()
    filesystem, inner = store.filesystem(task.folder)
    name = f"ray-{task.session}"
    gpu = finds_gpu(config.finetune.device)
    trainer = TorchTrainer(
        ray_worker,
        train_loop_config={"task": task, "queue": queue},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": task.threads, **({"GPU": 1} if gpu else {})},
        ),
        run_config=ray.train.RunConfig(
            name=name,
            storage_path=inner,
            storage_filesystem=filesystem,
            failure_config=ray.train.FailureConfig(max_failures=max_restarts(config)),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
            worker_runtime_env={} if gpu else {"env_vars": KEEP_FREED_MEMORY},
        ),
    )
    try:
        with _watching(queue, watch):
            _fit(trainer)
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        raise_failure(queue)
        failure = as_reid_error(error, f"training stopped after epoch {len(watch.history)}")
        if type(failure) is StorageError:
            raise StorageError(
                f"training stopped: {_last_line(error)}; run the same command again to go on after "
                f"epoch {len(watch.history)}"
            ) from error
        raise failure from error
    raise_failure(queue)
    store.remove(store.join(task.folder, name))


def max_restarts(config: Config) -> int:
    """Times that Ray replaces workers that died."""
    wanted = config.finetune.max_restarts
    return RESTARTS if wanted == "auto" else wanted


def ray_worker(given: dict[str, Any]) -> None:
    """Ray Train's entry: `given` holds the `task` and the `queue` that tells the driver."""
    queue = given["queue"]
    if ray.get(queue.failed.remote()) is not None:
        return  # Ray Train starts every failure again, and this one would only come back
    context = ray.train.get_context()
    member = Member(
        device=str(ray.train.torch.get_device()),
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        local_rank=context.get_local_rank(),
    )
    tell = EventReporter(queue.tell.remote, first=member.rank == 0)
    try:
        train_epochs(given["task"], member, tell)
    except ReidError as error:
        ray.get(queue.fail.remote(type(error).__name__, str(error)))
        raise
    except Exception as error:
        tell.event("trouble", everyone=True, text=f"{type(error).__name__}: {error}")
        raise
    finally:
        # Or the driver may look for the last time before the last epoch is reported.
        tell.flush()
        ray.get(queue.failed.remote())  # behind all that was reported before it


def _fit(trainer: TorchTrainer) -> None:
    """Train. Ray answers Ctrl-C by ending the workers and then this process: make it an interrupt."""
    before = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit()
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


@contextmanager
def _watching(queue: Any, watch: Watch) -> Iterator[None]:
    """Draw what the workers tell, in a thread beside the one that waits for them."""
    ended = threading.Event()
    failed: list[Exception] = []

    def look() -> None:
        try:
            last = False
            while not last:
                last = ended.wait(SECONDS_BETWEEN_LOOKS)  # and once more for what came at the end
                for event in ray.get(queue.take.remote()):
                    watch.see(event)
        except Exception as error:  # noqa: BLE001  raised by the thread that waits
            failed.append(error)

    thread = threading.Thread(target=look, name="watch", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # Before Ray is shut down: it ends a process in which a thread still waits for it.
        ended.set()
        thread.join()
    if failed:
        raise failed[0]


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
