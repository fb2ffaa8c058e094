"""Which machine a figure is from, as far as it changes ratios: its cores and instruction set."""

import os
from pathlib import Path

TELLING = ("avx2", "avx512f", "avx512_bf16", "avx512_vnni", "avx_vnni", "amx_bf16", "amx_int8")
LIMITS = ("ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")  # how another processor is stood in for


def instruction_set() -> dict[str, object]:
    """Model, cores, the vector instructions that matter here, and limits set in the environment."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    facts = dict(line.split(":", 1) for line in lines if ":" in line)
    known = {key.strip(): value.strip() for key, value in facts.items()}
    flags = known.get("flags", "").split()
    return {
        "model": known.get("model name", "unknown"),
        "cores": len(os.sched_getaffinity(0)),
        "instructions": [name for name in TELLING if name in flags],
        "limits": {name: os.environ[name] for name in LIMITS if name in os.environ},
    }
