"""The parts of `gpu.py` that compare rows."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from tests.benchmarks import data
from tests.benchmarks.versus import peak_bytes

if TYPE_CHECKING:
    from tests.benchmarks.gpu import Bench

EPS = 0.4  # near the best ARI of such rows
D = 512
SAMPLE = 64  # rows whose neighbours are computed on the CPU too
ROWS_OF_A_FILE = 250_000


def made_up(n: int, device: str, seed: int = 0) -> Iterator[torch.Tensor]:
    """Rows as those of `data.bench_rows`, drawn on the device; in parts of (≤ 2¹⁸, D) float32."""
    rng = np.random.default_rng(seed)
    random = torch.Generator(device).manual_seed(seed)
    most = int(n / 2) + 1
    sizes = np.minimum((2 * rng.pareto(data.POWER, most)).astype(int) + 1, data.MOST_IMAGES)
    count = int(np.searchsorted(np.cumsum(sizes), n)) + 1
    individual = rng.permutation(np.repeat(np.arange(count), sizes[:count])[:n])

    def noise(rows: int) -> torch.Tensor:
        return torch.randn(rows, D, generator=random, device=device) / D**0.5

    families = noise(-(-count // data.FAMILY_SIZE))
    cosine = rng.normal(data.FAMILY_COSINE, data.LIKENESS_SPREAD, (count, 1)).clip(0, 0.95)
    cosine = torch.from_numpy(cosine.astype(np.float32)).to(device)
    of_family = torch.arange(count, device=device) // data.FAMILY_SIZE
    centres = cosine.sqrt() * families[of_family] + (1 - cosine).sqrt() * noise(count)
    stray = np.exp(rng.normal(np.log(data.STRAY_MEDIAN), data.STRAY_SPREAD, (n, 1)))
    for start in range(0, n, 2**18):
        part = slice(start, min(start + 2**18, n))
        who = torch.from_numpy(individual[part]).to(device)
        far = torch.from_numpy(stray[part].astype(np.float32)).to(device)
        rows = centres[who] + far * noise(len(who))
        yield torch.nn.functional.normalize(rows)


def product_of_all_pairs(low: torch.Tensor) -> Callable[[], None]:
    """The bfloat16 product of every pair of rows, written to memory, and nothing else."""
    block = min(len(low), 32768)
    out = torch.empty(block * block, dtype=low.dtype, device=low.device)

    def run() -> None:
        for first in range(0, len(low), block):
            for second in range(first, len(low), block):
                a, b = low[first : first + block], low[second : second + block]
                torch.mm(a, b.T, out=out[: len(a) * len(b)].view(len(a), len(b)))

    return run


def graph(bench: "Bench") -> None:
    """Rows on the host to sorted edges on the host."""
    from reid.neighbors import radius_graph
    from reid.neighbors.strips import put_rows

    n = bench.size(10**6, 600)
    rows = torch.cat(list(made_up(n, bench.device))).cpu().numpy()
    low = torch.from_numpy(rows).to(bench.device).bfloat16()
    matmul = bench.seconds(product_of_all_pairs(low))
    del low
    bench.note(rows=n, dimensions=D, product_seconds=matmul)
    for backend in ("triton", "int8"):
        put = partial(put_rows, rows, backend, bench.device, 2**36, checked=False)
        bench.note(**{f"{backend}_rows_put_in_seconds": bench.seconds(put, runs=2)})
    found: dict[str, Any] = {}

    def build(backend: str) -> None:
        found[backend] = radius_graph(rows, EPS, device=bench.device, backend=backend)

    for backend in ("torch", "triton", "int8") if bench.device != "cpu" else ("torch",):
        took = bench.tried(backend, partial(bench.seconds, partial(build, backend), runs=2))
        if took is None:
            continue
        edges = len(found[backend].edges)
        bench.note(**{backend: {"seconds": took, "over_product": took / matmul, "edges": edges}})
        bench.tried(f"{backend}_check", partial(check_edges, bench, backend, rows, found))
    best = [bench.figures[b]["over_product"] for b in ("triton", "int8") if b in found]
    if best:
        bench.goal("whole function over the bf16 product", min(best), 1.5, at_most=True)


def check_edges(bench: "Bench", backend: str, rows: np.ndarray, found: dict) -> None:
    """A sample's neighbours by float64 on the CPU; and the edges of the first backend."""
    edges = found[backend].edges
    asked = np.sort(
        np.random.default_rng(1).choice(len(rows), min(SAMPLE, len(rows)), replace=False)
    )
    near = np.concatenate([
        1 - rows[at : at + 2**18].astype(np.float64) @ rows[asked].astype(np.float64).T
        for at in range(0, len(rows), 2**18)
    ])  # fmt: skip
    wanted = near <= EPS
    wanted[asked, np.arange(len(asked))] = False
    got = np.zeros_like(wanted)
    place = np.full(len(rows), -1)
    place[asked] = np.arange(len(asked))
    for one, other in ((0, 1), (1, 0)):
        mine = np.flatnonzero(place[edges[:, one]] >= 0)
        got[edges[mine, other], place[edges[mine, one]]] = True
    differ = np.abs(near[wanted != got] - EPS).max(initial=0)
    first = next(iter(found))
    keys = [
        found[b].edges[:, 0].astype(np.int64) << 32 | found[b].edges[:, 1] for b in (first, backend)
    ]
    odd = np.setxor1d(*keys, assume_unique=True)
    i, j = odd >> 32, odd & 0xFFFFFFFF
    exact = 1 - np.einsum("ij,ij->i", rows[i].astype(np.float64), rows[j].astype(np.float64))
    apart = float(np.abs(exact - EPS).max(initial=0))
    bench.note(**{f"{backend}_check": {
        "sampled_edges": int(wanted.sum()), "sampled_differ": int((wanted != got).sum()),
        "differ_from_radius_by": float(differ), f"differ_from_{first}": len(odd),
        "those_from_radius_by": apart,
    }})  # fmt: skip
    assert max(differ, apart) <= 2e-6, "edges differ by more than float32 can explain"


def kernels(bench: "Bench") -> None:
    """The kernels on rows that lie there, against the product: marks alone where there are any, and pairs."""
    from reid.neighbors.fused_triton import FusedSearch
    from reid.neighbors.marked_triton import MarkedSearch, MarkedShape
    from reid.neighbors.screen import lowered

    if bench.device == "cpu":
        bench.note(skipped="a kernel needs a GPU; tests/test_fused_triton.py interprets it")
        return
    small = MarkedShape(blocks=(128, 128, 128), warps=4, programs=2)
    marked = {
        "marked": MarkedShape(),
        "marked, 4 stages": MarkedShape(stages=4),
        "marked, loads after": MarkedShape(flatten=False),
        "marked, 256 × 128": MarkedShape(blocks=(256, 128, 128)),
        "marked, two of 128 × 128": small,
        "marked, two of 128 × 128, loads after": replace(small, flatten=False),
    }
    for n in (bench.size(262_144, 4096), bench.size(10**6, 8192)):
        exact = torch.cat(list(made_up(n, bench.device)))
        matmul = bench.seconds(product_of_all_pairs(exact.bfloat16()))
        usual = ("marked", "marked, two of 128 × 128")
        for backend in ("triton", "int8"):
            rows = lowered(exact, backend)
            for name in (
                *(("listed",) if backend == "triton" else ()),
                *(usual if n >= 10**6 else marked),
            ):
                search = (
                    FusedSearch(capacity=2**24)
                    if name == "listed"
                    else MarkedSearch(shape=marked[name])
                )
                key = f"{backend}, {name}, {n:,} rows"
                found = bench.tried(key, partial(_kernel_seconds, bench, search, rows))
                if found is None:
                    continue
                bench.note(**{key: found | {
                    "over_product": found["seconds"] / matmul,
                    "registers": search.compiled.n_regs, "spilled_bytes": search.compiled.n_spills,
                }})  # fmt: skip
                if n >= 10**6 and (backend, name) in (("triton", "listed"), ("int8", "marked")):
                    goal = 1.25 if backend == "triton" else 0.8
                    bench.goal(
                        f"{backend} kernel over the bf16 product", found["seconds"] / matmul, goal,
                        at_most=True,
                    )  # fmt: skip


def _kernel_seconds(bench: "Bench", search: Any, rows: Any) -> dict[str, float]:
    found: dict[str, float] = {}
    if hasattr(search, "marks"):
        marking = partial(_all_pairs, search, rows, listed=False)
        found["marks_seconds"] = bench.seconds(marking, runs=2)
    pairs: list[int] = []
    found["seconds"] = bench.seconds(
        lambda: pairs.append(_all_pairs(search, rows, listed=True)), runs=2
    )
    return found | {"pairs": pairs[-1]}


def _all_pairs(search: Any, rows: Any, *, listed: bool) -> int:
    """Every pair once, strip by strip, as `StripSearch` does it; marked, and listed or only marked."""
    from reid.neighbors.screen import score_error
    from reid.neighbors.strips import STRIP_ROWS, part_of

    threshold, pairs, n = 1 - EPS - score_error(rows, rows), 0, len(rows.low)
    for start in range(0, n, STRIP_ROWS):
        a = part_of(rows, slice(start, min(start + STRIP_ROWS, n)))
        b = part_of(rows, slice(start, n))
        if listed:
            pairs += len(search.begin(a, b, threshold, True)()[0])
        else:
            for _ in search.marks(a, b, threshold):
                pass
    return pairs


def knn(bench: "Bench") -> None:
    """The ten nearest of some rows among all."""
    from reid.neighbors import knn as nearest

    n, k = bench.size(10**6, 700), 10
    rows = torch.cat(list(made_up(n, bench.device))).cpu().numpy()
    asked = np.arange(bench.size(65_536, 50))
    low = torch.from_numpy(rows).to(bench.device).bfloat16()
    out = torch.empty(min(4096, len(asked)), n, dtype=low.dtype, device=bench.device)

    def product() -> None:
        for at in range(0, len(asked), len(out)):
            part = low[at : at + len(out)]
            torch.mm(part, low.T, out=out[: len(part)])

    matmul = bench.seconds(product)
    found = []
    took = bench.seconds(
        lambda: found.append(nearest(rows, k, rows=asked, device=bench.device, backend="torch")),
        runs=2,
    )
    bench.note(rows=n, asked=len(asked), k=k, seconds=took, over_product=took / matmul)
    some = asked[:: max(1, len(asked) // SAMPLE)]
    _, wanted = nearest(rows, k + 1, queries=rows[some], checked=True)
    differ = float(np.abs(found[-1][1][some] - wanted[:, 1:]).max())
    bench.note(compared_with_cpu=len(some), largest_difference=differ)
    assert differ <= 2e-6, "distances differ from the CPU's"


def whole(bench: "Bench") -> None:
    """Parquet to labels: read, checked, compared, clustered; memory of the host as its peak."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from reid.cluster import dbscan
    from reid.neighbors import Graph, stream_edges
    from reid.neighbors.edge_arrays import join_edges

    n = bench.size(10**7, 1000)
    threads = min(16, len(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(threads) as pool:

        def write(number: int, rows: torch.Tensor) -> int:
            values = pa.array(rows.cpu().numpy().ravel())
            table = pa.table({"embedding": pa.FixedSizeListArray.from_arrays(values, D)})
            pq.write_table(
                table, Path(folder) / f"{number:05}.parquet", compression=None, use_dictionary=False
            )
            return len(table)

        start = time.perf_counter()
        written = []
        for number, rows in enumerate(made_up(n, bench.device)):
            written.append(pool.submit(write, number, rows))
            if number >= threads:
                written[number - threads].result()  # what waits lies in the GPU's memory
        sizes = [one.result() for one in written]
        bench.note(rows=n, files=len(sizes), written_in_seconds=time.perf_counter() - start)
        if bench.device != "cpu":
            torch.cuda.empty_cache()
        before = peak_bytes()
        start = time.perf_counter()
        vectors = np.empty((n, D), np.float32)
        starts = np.cumsum([0, *sizes])

        def read(number: int) -> None:
            path = Path(folder) / f"{number:05}.parquet"
            column = pq.read_table(path, use_threads=False)["embedding"].combine_chunks()
            part = column.flatten().to_numpy().reshape(-1, D)
            vectors[starts[number] : starts[number + 1]] = part

        list(pool.map(read, range(len(sizes))))
        read_in = time.perf_counter() - start
        bench.note(read_in_seconds=read_in)

    def compare(backend: str) -> tuple[np.ndarray, np.ndarray]:
        return join_edges(stream_edges(vectors, EPS, device=bench.device, backend=backend))

    for backend in ("int8", "triton", "torch") if bench.device != "cpu" else ("torch",):
        middle = time.perf_counter()
        edges = bench.tried(backend, partial(compare, backend))
        if edges is not None:
            break  # the others are for a kernel that does not run
    compared = time.perf_counter()
    labels = dbscan(Graph(n, *edges), EPS)
    end = time.perf_counter()
    bench.note(
        backend=backend, edges=len(edges[0]), compared_in_seconds=compared - middle,
        labelled_in_seconds=end - compared, clusters=int(labels.max()) + 1,
        host_peak_gb=peak_bytes() / 1e9, host_peak_gb_before=before / 1e9,
    )  # fmt: skip
    bench.goal("minutes from Parquet to labels", (read_in + end - middle) / 60, 5, at_most=True)
    bench.goal("GB of the host's memory", peak_bytes() / 1e9, 64, at_most=True)
    i, j = edges[0][:: max(1, len(edges[0]) // 100_000)].T
    exact = 1 - np.einsum("ij,ij->i", vectors[i].astype(np.float64), vectors[j].astype(np.float64))
    assert exact.max(initial=0) <= EPS + 2e-6, "an edge is longer than the radius"
    assert (labels[i] == labels[j]).all(), "an edge leaves its cluster"
