"""The kernels in Triton's interpreter, compiled for a GPU, and against the CPU where one is.

Imports nothing that a machine which has little but torch and a GPU may lack: see test_gpu_machine.py.
"""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from reid import neighbors
from reid.neighbors import screen, strips

RADIUS = 0.3


def bursts(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((n // 3 + 1, d)), 3, axis=0)[:n]
    rows = rng.permutation(rows + rng.choice([0.0, 0.1, 0.5], (n, 1)) * rng.standard_normal((n, d)))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def ready(rows: np.ndarray, backend: str) -> screen.ScreenedRows:
    # The interpreter's dot takes the bits of a bfloat16 for an integer, so it gets the same values
    # as float32: all of the kernel but the type of its operands.
    block = screen.prepare(rows, backend, "cpu")
    low = block.low.float() if backend == "triton" else block.low
    return screen.ScreenedRows(block.exact, low, block.error, step=block.step)


def small_search(name: str, room: int) -> Any:
    """Cut small, so that there are several tiles, and with little room, so that it does not suffice."""
    from reid.neighbors.fused_triton import FusedSearch, Shape
    from reid.neighbors.marked_triton import MarkedSearch, MarkedShape

    if name == "listed":
        return FusedSearch(capacity=room, shape=Shape(blocks=(64, 64, 128)))
    return MarkedSearch(marks_bytes=room, shape=MarkedShape(blocks=(64, 128, 128)))


def check_one_case(
    rows: np.ndarray, backend: str, name: str, threshold: float, room: int, diagonal: bool
) -> bool:
    b = ready(rows if diagonal else rows[70:], backend)
    first = 70  # in a strip a row block meets itself and all that is behind it
    a = screen.ScreenedRows(
        b.exact[:first], b.low[:first], b.error, step=b.step
    ) if diagonal else ready(rows[:70], backend)  # fmt: skip
    scores = (a.low.double() @ b.low.double().T).numpy() * (a.step or 1) * (b.step or 1)
    wanted = np.triu(scores >= threshold, 1) if diagonal else scores >= threshold
    i, j = small_search(name, room).begin(a, b, threshold, diagonal)()
    found = np.zeros_like(wanted)
    found[i, j] = True
    assert len(i) == found.sum(), "every pair once"
    assert np.abs(scores[found != wanted] - threshold).max(initial=0) < 1e-6 + a.step * b.step
    return bool(wanted.any())


def check_all_cases() -> None:
    rows = bursts(210, 72)
    for backend, name in (("triton", "listed"), ("triton", "marked"), ("int8", "marked")):
        for diagonal in (False, True):
            for room, threshold in ((2**20, 0.6), (1, 0.05), (2**20, -1.5)):
                assert check_one_case(rows, backend, name, threshold, room, diagonal)
        assert not check_one_case(rows, backend, name, 1.5, 1, True)
    check_graphs()


def check_graphs() -> None:
    """Rows to edges by the fused kernel, as on a GPU, against all pairs in float64."""
    rows = bursts(280, 40)
    low = screen.lowered
    strips.lowered = lambda exact, backend: ready(exact.numpy(), backend)
    for backend in ("triton", "int8"):
        put = strips.put_rows(rows, backend, "cpu", 2**30, checked=False)
        search = strips.StripSearch(put, RADIUS, strips.screen_of(backend, 0))
        cuts = [(slice(at, min(at + 128, len(rows))), at) for at in (0, 128, 256)]
        edges = np.concatenate([edges for edges, _ in search.edges(cuts)])
        truth = 1 - rows.astype(np.float64) @ rows.astype(np.float64).T
        wanted = np.argwhere(np.triu(truth <= RADIUS, 1))
        np.testing.assert_array_equal(edges, wanted)
    strips.lowered = low


def test_interpreted_kernel_finds_every_pair_once() -> None:
    pytest.importorskip("triton", reason="triton is not installed (it comes with torch on Linux)")
    # Triton decides when it is imported whether it interprets: that needs a process of its own.
    subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=240,
    )


@pytest.mark.parametrize(
    ("name", "kind", "instruction", "most_registers", "most_stack"),
    [
        ("listed", "bf16", "m64n256k16.f32.bf16.bf16", 255, 24),
        ("marked", "bf16", "m64n256k16.f32.bf16.bf16", 168, 0),
        ("marked", "i8", "m64n128k32.s32.s8.s8", 168, 0),
    ],
)
def test_kernel_compiles_for_an_h100(
    name: str, kind: str, instruction: str, most_registers: int, most_stack: int, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """No GPU needed: tensor cores, rows by the copy engine, scores that stay in registers."""
    triton = pytest.importorskip("triton", reason="triton is not installed")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from reid.neighbors.fused_triton import Shape, _fused_kernel
    from reid.neighbors.marked_triton import MarkedShape, _mark_hits

    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # unset, it warns
    shape = Shape() if name == "listed" else MarkedShape()
    height, width, depth = shape.blocks
    depth //= 1 if kind == "i8" else 2
    sizes: dict[str, Any] = {
        "D": 512, "BLOCK_A": height, "BLOCK_B": width, "BLOCK_D": depth,
    }  # fmt: skip
    types = {
        "a_rows_of": f"tensordesc<{kind}[{height},{depth}]>",
        "b_rows_of": f"tensordesc<{kind}[{width},{depth}]>",
        "a_rows": "i32", "b_rows": "i32", "threshold": "i32" if kind == "i8" else "fp32",
    }  # fmt: skip
    if isinstance(shape, Shape):
        kernel = _fused_kernel
        sizes["DIAGONAL"] = True
        types |= {
            "i_ptr": "*i32", "j_ptr": "*i32", "place_ptr": "*i32", "count_ptr": "*i64",
            "capacity": "i32",
        }  # fmt: skip
    else:
        kernel = _mark_hits
        sizes |= {"WHOLE": kind == "i8", "FLATTEN": shape.flatten}
        types |= {"marks_ptr": "*i32", "words": "i32"}
    aligned = {
        (kernel.arg_names.index(argument),): [["tt.divisibility", 16]]
        for argument in ("i_ptr", "j_ptr", "place_ptr", "marks_ptr", "words")
        if argument in types
    }
    source = ASTSource(
        kernel, types | dict.fromkeys(sizes, "constexpr"), constexprs=sizes, attrs=aligned
    )
    compiled = triton.compile(
        source,
        target=GPUTarget("cuda", 90, 32),
        options={"num_warps": shape.warps, "num_stages": shape.stages},
    )
    code = compiled.asm["ptx"]
    assert instruction in code
    assert "cp.async.bulk.tensor" in code
    assert compiled.metadata.shared <= 227 * 1024
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    (tmp_path / "kernel.cubin").write_bytes(compiled.asm["cubin"])
    command = [tool, "--dump-resource-usage", tmp_path / "kernel.cubin"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = re.search(r"REG:(\d+) STACK:(\d+) SHARED:\d+ LOCAL:(\d+)", said)
    assert found, said
    registers, stack, local = map(int, found.groups())
    assert registers <= most_registers
    assert stack + local <= most_stack, said
    if name == "marked":
        assert "shfl.sync.bfly" not in code, "the bits of a word are of one thread"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("backend", ["torch", "triton", "int8"])
@pytest.mark.parametrize("d", [64, 100, 512])
def test_radius_graph_on_the_gpu_is_the_one_of_the_cpu(backend: str, d: int) -> None:
    rows = bursts(5000, d)
    wanted = neighbors.radius_graph(rows, RADIUS)
    # Room for all exact rows on the device, and for none of them; strips of any size.
    for block_rows, memory_bytes in ((None, None), (1500, None), (None, 2**20)):
        found = neighbors.radius_graph(
            rows, RADIUS, backend=backend, device="cuda", block_rows=block_rows,
            memory_bytes=memory_bytes,
        )  # fmt: skip
        keys = [graph.edges[:, 0].astype(np.int64) << 32 | graph.edges[:, 1] for graph in (wanted, found)]  # fmt: skip
        assert (np.diff(keys[1]) > 0).all(), "sorted, every pair once"
        truth = rows.astype(np.float64)
        for key in np.setxor1d(*keys).tolist():
            assert abs(1 - truth[key >> 32] @ truth[key & 0xFFFFFFFF] - RADIUS) <= 1e-6
        i, j = found.edges.T
        exact = 1 - np.einsum("ij,ij->i", truth[i], truth[j])
        np.testing.assert_allclose(found.distances, exact, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("backend", ["torch", "faiss-gpu"])
def test_knn_on_the_gpu_is_the_one_of_the_cpu(backend: str) -> None:
    if backend == "faiss-gpu":
        faiss = pytest.importorskip("faiss", reason="the gpu extra is not installed")
        if not hasattr(faiss, "StandardGpuResources"):
            pytest.skip("faiss here is faiss-cpu")
    rows = bursts(5000, 128)
    _, wanted = neighbors.knn(rows, 20)
    for memory_bytes in (None, 2**22):  # the gallery in one block, and in several
        indices, found = neighbors.knn(
            rows, 20, backend=backend, device="cuda", memory_bytes=memory_bytes
        )
        np.testing.assert_allclose(found, wanted, atol=2e-6)
        assert (indices != np.arange(5000)[:, None]).all()


if __name__ == "__main__":
    check_all_cases()
