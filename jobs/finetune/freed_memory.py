"""Memory that training has freed stays with its process.

Each step on a CPU allocates the same hundreds of megabytes again. glibc hands blocks of this size back to
the kernel, which zeroes them anew, page by page: a sixth of the time of a small network. Other C libraries
take no notice.
"""

import ctypes
import gc
import platform
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4  # glibc's numbers (malloc.h)
KEEP = {MMAP_MAX: 0, TRIM_THRESHOLD: 2_000_000_000, TOP_PAD: 2**26}
# Once told, glibc adapts no more: what it comes to by itself in a process with large blocks.
AFTERWARDS = {
    MMAP_MAX: 65_536, MMAP_THRESHOLD: 2**25, TRIM_THRESHOLD: 2**26, TOP_PAD: 2**17,
}  # fmt: skip

# The same for a process that is started. Ray trains in a thread, whose blocks glibc would hold apart,
# and hand back all the same: it has to have one arena from the beginning.
KEEP_FREED_MEMORY = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_MAX_": str(KEEP[MMAP_MAX]),
    "MALLOC_TRIM_THRESHOLD_": str(KEEP[TRIM_THRESHOLD]),
    "MALLOC_TOP_PAD_": str(KEEP[TOP_PAD]),
}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Keep what the main thread frees until the end; then all of it goes back."""
    if platform.libc_ver()[0] != "glibc":
        yield
        return
    libc = ctypes.CDLL(None)
    try:
        for parameter, value in KEEP.items():
            libc.mallopt(parameter, value)
        yield
    finally:
        for parameter, value in AFTERWARDS.items():
            libc.mallopt(parameter, value)
        gc.collect()
        libc.malloc_trim(0)
