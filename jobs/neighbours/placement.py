"""Where a neighbour search runs: in this process or by Ray tasks, on a CPU or a GPU."""

import ray

from jobs.common.session import joins_cluster
from reid.config import Config
from reid.errors import InputError


def wants_tasks(config: Config) -> bool:
    """True if the neighbour search shall run as Ray tasks, and so needs a Ray session."""
    if config.cluster.distributed == "auto":
        return joins_cluster(config.address)
    return config.cluster.distributed


def tasks_on_gpu(config: Config) -> bool:
    """True if tasks of the neighbour search take a GPU each."""
    # The driver often sits on a head without a GPU: what counts is what the cluster has.
    wanted = config.cluster.device
    return wanted.startswith("cuda") or (
        wanted == "auto" and ray.cluster_resources().get("GPU", 0) > 0
    )


def search_device(wanted: str) -> str:
    """The device of a neighbour search in this process.

    Raises:
        InputError: a GPU is wanted and this machine has none.
    """
    import torch

    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(
            f"cluster.device={wanted}: this machine has no CUDA device; use cpu or auto"
        )
    if wanted != "auto":
        return wanted
    return "cuda" if torch.cuda.is_available() else "cpu"
