"""One training run: in this process where one worker does it, else by workers on Ray Train.

The worker is the same in both places, and so are its epochs, its events and its weights, to the bit.
"""

import uuid
from collections.abc import Sequence
from contextlib import nullcontext

from jobs.common.console import say
from jobs.common.endings import as_reid_error
from jobs.common.session import finds_gpu, joins_cluster, machines
from jobs.finetune import epochs
from jobs.finetune.event_reporter import EventReporter
from jobs.finetune.freed_memory import freed_memory_kept
from jobs.finetune.watch import Watch
from jobs.finetune.worker import Member, TrainTask, train_epochs
from reid import store
from reid.config import Config
from reid.errors import InputError, ReidError, TrainingDivergedError


def trains_here(config: Config) -> bool:
    """True if this process trains by itself; the one place where that is decided.

    It does where there is one worker on one machine. Ray would take longer to start than a small run
    takes, and gives one thing more: it replaces a worker that died, while here the whole job dies and the
    same command goes on after the last epoch. Whoever sets `finetune.max_restarts` above 0 has Ray do it.
    """
    return (
        not joins_cluster(config.address)
        and config.finetune.max_restarts in ("auto", 0)
        and len(machines()) == 1
        and wanted_workers(config) == 1
    )


def wanted_workers(config: Config) -> int:
    """How many workers train: as it is set, or one for each GPU that there is, at least one."""
    if config.finetune.workers != "auto":
        return config.finetune.workers
    return max(1, _gpus()) if finds_gpu(config.finetune.device) else 1


def fitting_workers(config: Config) -> tuple[int, int]:
    """Workers, and CPU cores of each.

    A single worker has all cores of its machine: a forward pass is faster on all of them than two are
    on half of them each.

    Raises:
        InputError: they do not fit on this machine. A cluster that was joined may still grow.
    """
    gpu = finds_gpu(config.finetune.device)
    nodes = machines()
    gpus = _gpus()
    cpus = int(sum(node.get("CPU", 0) for node in nodes))
    workers = wanted_workers(config)
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
                f"finetune.workers: {workers} on {config.finetune.device}, but there are {gpus} GPUs "
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


def train(config: Config, task: TrainTask, watch: Watch, *, workers: int, here: bool) -> None:
    """Train until a worker says that there is a reason to stop.

    Args:
        config: the resolved configuration.
        task: what is to be done.
        watch: sees what happens.
        workers: how many train; with more than one a Ray session is needed.
        here: in this process, as `trains_here` says.

    Raises:
        TrainingDivergedError: the loss is no number any more; says how to go on.
        ReidError: what else a worker raised, as it was.
        StorageError: workers died more often than `finetune.max_restarts`.
    """
    try:
        if here:
            _train_here(config, task, watch)
        else:
            from jobs.finetune.ray_training import train_on_ray

            train_on_ray(config, task, watch, workers=workers)
    except TrainingDivergedError as error:
        raise TrainingDivergedError(f"{error}; {_way_on(task)}") from error


def _train_here(config: Config, task: TrainTask, watch: Watch) -> None:
    """Be the only worker."""
    import torch

    say(f"{watch.name}: in this process, without Ray")
    device = config.finetune.device
    if device in ("auto", "cuda"):
        device = "cuda:0" if finds_gpu(device) else "cpu"
    threads_before = torch.get_num_threads()  # the worker takes the process for its own
    try:
        with freed_memory_kept() if device == "cpu" else nullcontext():
            train_epochs(task, Member(device), EventReporter(watch.see))
    except ReidError:
        raise
    except Exception as error:
        raise as_reid_error(error, f"training stopped after epoch {len(watch.history)}") from error
    finally:
        torch.set_num_threads(threads_before)
        if device != "cpu":
            torch.cuda.empty_cache()  # the figures may be embedded by other processes


def _way_on(task: TrainTask) -> str:
    """From where a training that diverged can go on."""
    last = epochs.latest(task.folder)
    if last is None:
        return "no epoch is stored yet, so this --out takes other settings"
    good = epochs.path(task.folder, last)
    return f"the last good epoch is {good}: go on from it with another --out and --model {good}"


def _gpus() -> int:
    return int(sum(node.get("GPU", 0) for node in machines()))
