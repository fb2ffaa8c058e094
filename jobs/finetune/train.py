"""One training run on Ray Train, watched from the driver."""

import signal
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import ray.train
from ray.train.torch import TorchTrainer

from jobs.common.endings import as_reid_error
from jobs.common.session import joins_cluster
from jobs.finetune import epochs
from jobs.finetune.event_queue import open_event_queue, raise_failure
from jobs.finetune.watch import Watch
from jobs.finetune.worker import TrainTask, train_worker
from reid import store
from reid.config import Config
from reid.errors import InputError, StorageError, TrainingDivergedError

SECONDS_BETWEEN_LOOKS = 0.2
# Each step on a CPU allocates the same hundreds of megabytes again. glibc hands blocks of this size back
# to the kernel, which zeroes them anew, page by page: a sixth of the time of a small network. With this
# a worker keeps what one step needs (mallopt(3)); it has to be in the environment, as training runs in a
# thread, whose blocks glibc would otherwise hold apart. Other C libraries take no notice.
KEEP_FREED_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "2000000000",
    "MALLOC_TOP_PAD_": str(2**26),
}


def uses_gpu(config: Config) -> bool:
    """True if training runs on GPUs."""
    if config.finetune.device == "auto":
        return bool(ray.cluster_resources().get("GPU", 0))
    return config.finetune.device.startswith("cuda")


def fitting_workers(config: Config) -> tuple[int, int]:
    """Workers, and CPU cores of each.

    A single worker has all cores of its machine: a forward pass is faster on all of them than two are
    on half of them each.

    Raises:
        InputError: they do not fit on this machine. A cluster that was joined may still grow.
    """
    gpu = uses_gpu(config)
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = int(sum(node.get("GPU", 0) for node in nodes))
    cpus = int(sum(node.get("CPU", 0) for node in nodes))
    wanted = config.finetune.workers
    workers = (max(1, gpus) if gpu else 1) if wanted == "auto" else wanted
    if config.finetune.cpus_per_worker != "auto":
        threads = config.finetune.cpus_per_worker
    elif gpu:
        threads = int(min((n.get("CPU", 0) // n["GPU"] for n in nodes if n.get("GPU")), default=1))
    else:
        threads = most_threads([int(node.get("CPU", 0)) for node in nodes], workers)
    threads = max(1, threads)
    if not joins_cluster(config.address):
        if gpu and workers > gpus:
            raise InputError(
                f"finetune.workers: {workers} on {config.finetune.device}, but Ray finds {gpus} GPUs "
                "here; take fewer, or finetune.device=cpu"
            )
        if workers * threads > cpus:
            raise InputError(
                f"finetune.workers: {workers} with {threads} CPUs each are more than this machine's "
                f"{cpus}; take fewer, or a lower finetune.cpus_per_worker"
            )
    return workers, threads


def most_threads(cpus: Sequence[int], workers: int) -> int:
    """The most CPU cores that each worker can have, none of them on two machines; at least one.

    Args:
        cpus: of each machine.
        workers: how many there are.
    """
    for threads in range(max(cpus, default=1), 1, -1):
        if sum(n // threads for n in cpus) >= workers:
            return threads
    return 1


def new_session(folder: str) -> str:
    """Take a training folder for this attempt; what Ray Train left there goes."""
    name = uuid.uuid4().hex[:12]
    epochs.begin_session(folder, name)
    for path in store.list_files(folder, recursive=True):
        top = path[len(folder) :].strip("/").partition("/")[0]
        if top.startswith("ray-"):
            store.remove(store.join(folder, top))
    return name


def train(config: Config, task: TrainTask, watch: Watch, *, workers: int) -> None:
    """Train until a worker says that there is a reason to stop.

    Raises:
        ReidError: what a worker raised, as it was.
        StorageError: workers died more often than `finetune.max_restarts`.
    """
    queue = open_event_queue()
    filesystem, inner = store.filesystem(task.folder)
    name = f"ray-{task.session}"
    gpu = uses_gpu(config)
    trainer = TorchTrainer(
        train_worker,
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
            failure_config=ray.train.FailureConfig(max_failures=config.finetune.max_restarts),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
            worker_runtime_env={} if gpu else {"env_vars": KEEP_FREED_MEMORY},
        ),
    )
    try:
        with _watching(queue, watch):
            _fit(trainer)
    except (ray.train.TrainingFailedError, ray.exceptions.RayError) as error:
        _raise_failure(queue, task)
        failure = as_reid_error(error, f"training stopped after epoch {len(watch.history)}")
        if type(failure) is StorageError:
            raise StorageError(
                f"training stopped: {_last_line(error)}; run the same command again to go on after "
                f"epoch {len(watch.history)}"
            ) from error
        raise failure from error
    _raise_failure(queue, task)
    store.remove(store.join(task.folder, name))


def _raise_failure(queue: Any, task: TrainTask) -> None:
    """Raise what a worker noted; where training diverged, with the way on from the last good epoch."""
    try:
        raise_failure(queue)
    except TrainingDivergedError as error:
        last = epochs.latest(task.folder)
        if last is None:
            way_on = "no epoch is stored yet, so this --out takes other settings"
        else:
            good = epochs.path(task.folder, last)
            way_on = f"the last good epoch is {good}: go on from it with another --out and --model {good}"
        raise TrainingDivergedError(f"{error}; {way_on}") from error


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
