"""`reid doctor`: what this machine can do, and what to install for the rest."""

import importlib.util
import os
import platform
import shutil
import socket
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from jobs.common.session import cluster_address, cores_here, ray_session

HUB = ("huggingface.co", 443)
HUB_TIMEOUT_SECONDS = 2.0
RAY_TIMEOUT_SECONDS = 60.0
LEAST_MEMORY = 4 * 2**30
LEAST_DISK = 5e9  # bytes


@dataclass(frozen=True)
class Finding:
    """One line of the doctor: a part, whether it works, what it is, what to do."""

    part: str
    works: bool
    detail: str
    advice: str = ""


def examine(*, start_ray: bool = True) -> list[Finding]:
    """Look at this machine; nothing is downloaded.

    Args:
        start_ray: start Ray as a job would, or join the cluster of RAY_ADDRESS, and have it do a task.
    """
    return [
        _machine(),
        _memory(),
        *map(_disk, (".", tempfile.gettempdir())),
        _gpu(),
        _decoder(),
        *_faiss(),
        _openvino(),
        _cuml(),
        _ray(start_ray),
        _hub(),
    ]


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _machine() -> Finding:
    cores = cores_here()
    memory = ""
    if hasattr(os, "sysconf") and "SC_PHYS_PAGES" in os.sysconf_names:
        memory = (
            f", {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB memory"
        )
    return Finding("machine", True, f"{cores} cores{memory}, Python {platform.python_version()}")


def _memory() -> Finding:
    """What is free now, within the limit of a container where there is one."""
    import psutil

    free = psutil.virtual_memory().available
    limit = Path("/sys/fs/cgroup/memory.max")
    if limit.exists() and (most := limit.read_text().strip()).isdigit():
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        free = min(free, int(most) - used)
    enough = free >= LEAST_MEMORY
    advice = "" if enough else "a model and Ray take about 4 GiB: close something"
    return Finding("memory", enough, f"{free / 2**30:.1f} GiB free", advice)


def _disk(folder: str) -> Finding:
    place = Path(folder).resolve()
    free = shutil.disk_usage(place).free
    enough, writable = free >= LEAST_DISK, os.access(place, os.W_OK)
    advice = (
        "" if enough else "embeddings take 2 to 6 kB an image, Ray's session some more: make room"
    )
    if not writable:
        advice = "nothing can be written there: give --out another folder, or set TMPDIR"
    return Finding(f"disk, {place}", enough and writable, f"{free / 1e9:.0f} GB free", advice)


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        names = ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
        return Finding("GPU", True, f"{names}, torch {torch.__version__}")
    driver = shutil.which("nvidia-smi")
    advice = (
        "nvidia-smi answers but torch sees no GPU: install a torch built for its CUDA version"
        if driver
        else "no NVIDIA driver found; everything runs on the CPU, large models slowly"
    )
    return Finding("GPU", False, f"none, torch {torch.__version__}", advice)


def _decoder() -> Finding:
    found = _installed("simplejpeg")
    return Finding(
        "JPEG decoder",
        found is not None,
        f"simplejpeg {found}",
        "" if found else "pip install simplejpeg",
    )


def _faiss() -> list[Finding]:
    cpu, gpu = _installed("faiss-cpu"), _installed("faiss-gpu")
    if cpu and gpu:
        advice = "both own the name `faiss`: pip uninstall both, then install one"
        return [Finding("FAISS", False, f"faiss-cpu {cpu} and faiss-gpu {gpu}", advice)]
    name = "faiss-gpu" if gpu else "faiss-cpu"
    found = gpu or cpu
    advice = "" if found else 'pip install "reid-engine[cpu]" (or [gpu])'
    return [Finding("FAISS", found is not None, f"{name} {found}" if found else "absent", advice)]


def _openvino() -> Finding:
    found = _installed("openvino")
    advice = (
        "" if found else 'several times faster embedding on a CPU: pip install "reid-engine[cpu]"'
    )
    return Finding("OpenVINO", found is not None, found or "absent", advice)


def _cuml() -> Finding:
    present = importlib.util.find_spec("cuml") is not None
    advice = "" if present else 'only for the cuml backend on a GPU: pip install "reid-engine[gpu]"'
    return Finding("cuML", present, "present" if present else "absent", advice)


def _ray(start: bool) -> Finding:
    address = cluster_address(None)
    where = f"{_installed('ray')}; {f'RAY_ADDRESS={address}' if address else 'on this machine'}"
    if not start:
        return Finding("Ray", True, f"{where}; not tried")
    began = time.perf_counter()
    try:
        with ray_session(None):
            import ray

            # A task needs a worker process, which is what fails where limits are tight.
            task = ray.remote(lambda: os.getpid())
            answered = ray.get(task.remote(), timeout=RAY_TIMEOUT_SECONDS)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what was asked for
        said = str(error).strip().splitlines()
        advice = f"{said[0] if said else type(error).__name__}; `reid run embed.ray=never` does small jobs without"
        return Finding("Ray", False, where, advice)
    assert answered != os.getpid()
    return Finding("Ray", True, f"{where}; did a task after {time.perf_counter() - began:.0f} s")


def _hub() -> Finding:
    if os.environ.get("HF_HUB_OFFLINE") in ("1", "true", "True", "yes", "ON"):
        return Finding(
            "model hub", False, "HF_HUB_OFFLINE is set", "only packaged and cached models"
        )
    try:
        with socket.create_connection(HUB, timeout=HUB_TIMEOUT_SECONDS):
            return Finding("model hub", True, f"{HUB[0]} answers")
    except OSError as error:
        advice = "packaged, cached and local models work; `reid models` says which"
        return Finding("model hub", False, f"{HUB[0]}: {error}", advice)
