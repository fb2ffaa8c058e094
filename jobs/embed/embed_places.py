"""Where shards are embedded: few images in this process, many by model actors on Ray.

The worker is the same in both places, and so are its shards, its parts and its failures: what is
stored does not depend on the place. Starting Ray and a worker takes longer than a hundred images.
"""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from jobs.common.session import cores_here, finds_gpu, is_open, joins_cluster
from jobs.embed.embed_worker import EmbedTask, EmbedWorker
from reid import store
from reid.config import Config
from reid.errors import InputError
from reid.models import LoadedModel

MOST_CPUS_PER_WORKER = 4  # beyond a few cores two actors do more than one
BLOCKS_AT_MOST = 2000
# Weights × pixels of the input, over all images, views and models: with any network about half a
# minute of two cores, as much as Ray and its actors take to start.
SMALL_WORK = 5e14


def embeds_here(
    config: Config, task: EmbedTask, models: Sequence[LoadedModel], images: int
) -> bool:
    """True if this process embeds the images itself; the one place where that is decided.

    Args:
        config: the resolved configuration: `embed.ray` says it, or leaves it to the work there is.
        task: what is to be done.
        models: those of the task.
        images: how many there are.
    """
    if config.embed.ray != "auto":
        return config.embed.ray == "never"
    if joins_cluster(config.address) or config.embed.workers not in ("auto", 1):
        return False
    # A run that vanished was perhaps killed by an image, which is found out where workers may die.
    if any(is_work_folder(path) for path in store.list_folders(task.folder)):
        return False
    weights = [sum(one.numel() for one in model.module.parameters()) for model in models]
    pixels = [model.input_size**2 for model in models]
    return images * len(task.recipe.views) * float(np.dot(weights, pixels)) <= SMALL_WORK


def is_work_folder(path: str) -> bool:
    """Is it the folder of a run that is at work, or was when it was killed?"""
    return path.rpartition("/")[2].startswith("work-")


def uses_gpu(config: Config) -> bool:
    """True if GPUs embed: where they are wanted, or, on `auto`, where there is one."""
    return finds_gpu(config.embed.device)


def cpus_per_worker(config: Config) -> int:
    """CPU cores of one worker."""
    if config.embed.cpus_per_worker != "auto":
        return config.embed.cpus_per_worker
    if not is_open():
        return cores_here() if uses_gpu(config) else min(MOST_CPUS_PER_WORKER, cores_here())
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if uses_gpu(config):
        # A GPU is fed by every core that there is for it: decoding bounds all but large models.
        shares = [node.get("CPU", 0) // node["GPU"] for node in nodes if node.get("GPU")]
        return int(max(1, min(shares, default=MOST_CPUS_PER_WORKER)))
    largest = max((node.get("CPU", 0) for node in nodes), default=1)
    return int(max(1, min(MOST_CPUS_PER_WORKER, largest)))


def workers_at_once(config: Config, task: EmbedTask, *, here: bool) -> int:
    """How many workers there is room for.

    Raises:
        InputError: this machine has no room for a single one. Ray would wait for it without end; but a
            cluster that was joined may still grow.
    """
    gpu = uses_gpu(config)
    if here:
        import torch

        cpus, gpus = task.threads, torch.cuda.device_count()
    else:
        import ray

        resources = ray.cluster_resources()
        cpus, gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
    if here or not joins_cluster(config.address):
        if gpu and not gpus:
            raise InputError(
                f"embed.device: {config.embed.device}, but there is no GPU here; take cpu or auto, or see "
                "`reid doctor`"
            )
        if not gpu and task.threads > cpus:
            raise InputError(
                f"embed.cpus_per_worker: {task.threads} is more than this machine's {cpus} CPUs"
            )
    if here:
        return 1
    fitting = gpus if gpu else cpus // task.threads
    return max(1, fitting) if config.embed.workers == "auto" else config.embed.workers


def embed_shards_here(
    task: EmbedTask, models: Sequence[LoadedModel], shards: int
) -> Iterator[dict[str, np.ndarray]]:
    """Embed shards one after the other in this process; the counts of each."""
    import torch

    # The worker takes the process for its own.
    before = torch.get_num_threads()
    try:
        worker = EmbedWorker(task, models)
        for shard in range(shards):
            yield worker({"id": np.array([shard])})
    finally:
        torch.set_num_threads(before)


def embed_shards_on_ray(
    config: Config, task: EmbedTask, shards: int, workers: int
) -> Iterator[dict[str, np.ndarray]]:
    """Embed shards by actors; needs a Ray session. The counts of some shards at a time.

    Raises:
        RayError: workers failed.
    """
    import ray.data
    from ray.data import ActorPoolStrategy

    _quiet_ray_data()
    gpu = uses_gpu(config)
    # One item a shard: Ray moves numbers, and a lost worker costs one shard. Items, not a range: a
    # range is read by tasks that want a CPU, and would wait for ever where actors hold them all.
    items = ray.data.from_items(
        [{"id": shard} for shard in range(shards)], override_num_blocks=min(shards, BLOCKS_AT_MOST)
    )
    done = items.map_batches(
        EmbedWorker,
        fn_constructor_args=(task,),
        batch_size=1,
        # A cluster that grows on demand may be empty now, so its size is no bound.
        compute=ActorPoolStrategy(
            min_size=1,
            max_size=None
            if joins_cluster(config.address) and config.embed.workers == "auto"
            else min(workers, shards),
        ),
        num_cpus=task.threads if not gpu else None,
        num_gpus=1 if gpu else None,
    )
    yield from done.iter_batches(batch_size=None, prefetch_batches=0)


def _quiet_ray_data() -> None:
    """Leave the terminal to our own progress bar."""
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
