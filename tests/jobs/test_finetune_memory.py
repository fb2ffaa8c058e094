"""Memory that a training worker has freed stays with it."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping

import pytest

from jobs.finetune.freed_memory import KEEP_FREED_MEMORY

ROUNDS = """
import resource, threading
import numpy as np
from jobs.finetune.freed_memory import freed_memory_kept

def rounds():
    for _ in range(4):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        blocks = [np.ones(2**22) for _ in range(4)]
        del blocks
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
IN_A_THREAD = """
thread = threading.Thread(target=rounds)
thread.start()
thread.join()
"""
IN_THIS_PROCESS = """
with freed_memory_kept():
    rounds()
rounds()
"""

pytestmark = pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="the settings are glibc's"
)


def test_a_worker_of_ray_does_not_ask_the_kernel_again_for_freed_memory() -> None:
    assert min(_faults(IN_A_THREAD, {})) > 1000, "glibc keeps it by itself now"
    first, *later = _faults(IN_A_THREAD, KEEP_FREED_MEMORY)
    assert first > 1000
    assert max(later) < 100


def test_this_process_does_not_either_and_hands_it_back_at_the_end() -> None:
    first, *later = _faults(IN_THIS_PROCESS, {})
    assert first > 1000
    assert max(later[:3]) < 100
    assert min(later[3:]) > 1000


def _faults(what: str, environment: Mapping[str, str]) -> list[int]:
    """Pages that the kernel handed out, round by round."""
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS + what],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return [int(line) for line in done.stdout.split()]
