"""Joining a Ray cluster, or starting one on this machine."""

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.common.console import say
from jobs.common.endings import own_signals
from reid.errors import StorageError

STDERR = 2  # file descriptor
LOCALHOST = "127.0.0.1"
OBJECT_STORE_BYTES = 1 << 30  # paths and edges travel through it, pixels and embeddings do not


def cluster_address(address: str | None) -> str | None:
    """The cluster that jobs join: `address`, or RAY_ADDRESS; None where Ray starts on this machine."""
    return address or os.environ.get("RAY_ADDRESS") or None


def joins_cluster(address: str | None) -> bool:
    """True if jobs run on a cluster that is there already, whose size may change as they run."""
    return cluster_address(address) is not None


def is_open() -> bool:
    """True if this process has a Ray session; Ray is not imported to say so."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def finds_gpu(device: str) -> bool:
    """True if work goes to GPUs: where `device` names them, or, on `auto`, where there is one.

    With a Ray session that is a GPU of the cluster, without one a GPU of this machine.
    """
    if device != "auto":
        return device.startswith("cuda")
    if is_open():
        import ray

        return bool(ray.cluster_resources().get("GPU", 0))
    import torch

    return torch.cuda.is_available()


def cores_here() -> int:
    """CPU cores that this process may use, within the limit of a container where there is one."""
    mine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    cores = mine or 1
    limit = Path("/sys/fs/cgroup/cpu.max")  # "200000 100000": two; "max 100000": any
    if limit.exists():
        quota, _, period = limit.read_text().strip().partition(" ")
        if quota.isdigit():
            cores = min(cores, -(-int(quota) // int(period)))
    return max(1, cores)


def machines() -> list[dict[str, float]]:
    """CPUs and GPUs of each machine that work can go to: of the Ray session, without one of this machine."""
    if is_open():
        import ray

        return [node["Resources"] for node in ray.nodes() if node["Alive"]]
    import torch

    return [{"CPU": cores_here(), "GPU": torch.cuda.device_count()}]


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """Ray for the time of a job: an outer session is used as it is, otherwise one is opened.

    Args:
        address: a cluster's address; None takes RAY_ADDRESS, or starts Ray on this machine.

    Raises:
        StorageError: the cluster cannot be reached.
    """
    if is_open():
        yield
        return
    import ray

    joining = cluster_address(address)
    started = time.perf_counter()
    # That local clusters ask for a token is no news to somebody who runs a job on one machine.
    logging.getLogger("ray._private.authentication").setLevel(logging.ERROR)
    try:
        with own_signals():
            _start(joining)
    except Exception as error:  # Ray raises a bare one where a node does not come up in time
        raise StorageError(
            f"Ray: cannot {'join ' + joining if joining else 'start on this machine'}: {error}"
        ) from error
    resources = ray.cluster_resources()
    say(
        f"Ray: {'joined ' + joining if joining else 'this machine'}, "
        f"{resources.get('CPU', 0):g} CPUs, {resources.get('GPU', 0):g} GPUs "
        f"({time.perf_counter() - started:.0f} s)"
    )
    try:
        yield
    finally:
        ray.shutdown()


def _start(joining: str | None) -> None:
    """Join a cluster, or start one on this machine."""
    import ray

    if joining:
        ray.init(address=joining, log_to_driver=False, logging_level=logging.WARNING)
    else:
        # Ray warns, as an error, of how Ray Data starts its actors (ray issue 53727); what goes
        # wrong reaches us as exceptions.
        os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
        # Ray would start workers at niceness 15, so that whatever else runs here comes first.
        os.environ.setdefault("RAY_worker_niceness", "0")
        with _silent_stderr(), _alone():
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.WARNING,
                object_store_memory=OBJECT_STORE_BYTES,
                _node_ip_address=LOCALHOST,
            )


@contextmanager
def _alone() -> Iterator[None]:
    """Ray that is started meanwhile listens on this machine alone, and not to the network.

    On Linux Ray turns 127.0.0.1 into the machine's address, unless it is set that there are no clusters
    here, which it believes of Windows and macOS; then all of its servers listen on 127.0.0.1.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _silent_stderr() -> Iterator[None]:
    """Drop what native code prints to stderr: Ray's core says that its log level was set."""
    sys.stderr.flush()
    kept = os.dup(STDERR)
    try:
        with open(os.devnull, "w") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), STDERR)
        yield
    finally:
        os.dup2(kept, STDERR)
        os.close(kept)
