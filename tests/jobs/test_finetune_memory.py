"""Memory that a training worker has freed stays with it."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping

import pytest

from jobs.finetune.train import KEEP_FREED_MEMORY

FAULTS = """
import resource, threading
import numpy as np

def rounds():
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [np.ones(2**22) for _ in range(4)]
        del blocks
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)

thread = threading.Thread(target=rounds)
thread.start()
thread.join()
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are glibc's")
def test_freed_memory_is_not_asked_of_the_kernel_again() -> None:
    assert min(_faults({})) > 1000, "glibc keeps it by itself now"
    first, *later = _faults(KEEP_FREED_MEMORY)
    assert first > 1000
    assert max(later) < 100


def _faults(environment: Mapping[str, str]) -> list[int]:
    """Pages that the kernel handed out to a thread, round by round."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [int(line) for line in done.stdout.split()]
