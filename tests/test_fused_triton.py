"""The fused kernel in Triton's interpreter, compiled for a GPU, and against the CPU where one is.

Imports nothing that a machine which has little but torch and a GPU may lack: see test_gpu_machine.py.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reid import neighbors
from reid.neighbors import screen, strips

RADIUS = 0.3
# Bytes. The kernel that took its tile in one piece had 840, which its scores went through.
MOST_STACK = 192


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
    return screen.ScreenedRows(block.exact, low, block.error, scales=block.scales)


def check_one_case(
    rows: np.ndarray, backend: str, threshold: float, capacity: int, diagonal: bool
) -> bool:
    from reid.neighbors.fused_triton import FusedSearch, Shape

    b = ready(rows if diagonal else rows[70:], backend)
    first = 70  # in a strip a row block meets itself and all that is behind it
    a = screen.ScreenedRows(
        b.exact[:first], b.low[:first], b.error, scales=None if b.scales is None else b.scales[:first]
    ) if diagonal else ready(rows[:70], backend)  # fmt: skip
    scores = (a.low.double() @ b.low.double().T).numpy()
    if a.scales is not None:
        scores *= a.scales.double().numpy()[:, None] * b.scales.double().numpy()
    wanted = np.triu(scores >= threshold, 1) if diagonal else scores >= threshold
    search = FusedSearch(capacity=capacity, shape=Shape(blocks=(64, 64, 128), programs=2))
    counts = search.start(a, b, threshold, diagonal=diagonal)
    i, j = search.finish(counts, a, b, threshold, diagonal=diagonal)
    found = np.zeros_like(wanted)
    found[i, j] = True
    assert len(i) == found.sum(), "every pair once"
    assert np.abs(scores[found != wanted] - threshold).max(initial=0) < 1e-6
    return bool(wanted.any())


def check_all_cases() -> None:
    rows = bursts(170, 72)
    for backend in ("triton", "int8"):
        for diagonal in (False, True):
            for capacity, threshold in ((100_000, 0.6), (1, 0.05), (100_000, -1.5)):
                assert check_one_case(rows, backend, threshold, capacity, diagonal)
        assert not check_one_case(rows, backend, 1.5, 1, True)
    check_graphs()


def check_graphs() -> None:
    """Rows to edges by the fused kernel, as on a GPU, against all pairs in float64."""
    rows = bursts(300, 40)
    low = screen.lowered
    strips.lowered = lambda exact, backend: ready(exact.numpy(), backend)
    for backend in ("triton", "int8"):
        put = strips.put_rows(rows, backend, "cpu", 2**30, checked=False)
        search = strips.StripSearch(put, RADIUS, strips.screen_of(backend, 0))
        cuts = [(slice(at, min(at + 128, 300)), at) for at in (0, 128, 256)]
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
    ("kind", "instruction"),
    [
        ("bf16", "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16"),
        ("i8", "wgmma.mma_async.sync.aligned.m64n128k32.s32.s8.s8"),
    ],
)
def test_kernel_compiles_for_an_h100(
    kind: str, instruction: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No GPU needed: tensor cores, rows by the copy engine, scores that stay in registers."""
    triton = pytest.importorskip("triton", reason="triton is not installed")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from reid.neighbors.fused_triton import Shape, _fused_kernel

    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # unset, it warns
    shape = Shape()
    height, width, depth = shape.blocks
    depth //= 1 if kind == "i8" else 2
    sizes = {
        "D": 512, "DIAGONAL": True, "SCALED": kind == "i8", "BLOCK_A": height, "BLOCK_B": width,
        "BLOCK_D": depth, "FLATTEN": shape.flatten,
    }  # fmt: skip
    types = {
        "a_rows_of": f"tensordesc<{kind}[{height},{depth}]>",
        "b_rows_of": f"tensordesc<{kind}[{width},{depth}]>",
        "a_scale_ptr": "*fp32", "b_scale_ptr": "*fp32", "i_ptr": "*i32", "j_ptr": "*i32",
        "place_ptr": "*i32", "count_ptr": "*i64",
        "a_rows": "i32", "b_rows": "i32", "capacity": "i32", "threshold": "fp32",
    }  # fmt: skip
    if kind == "bf16":  # None, as it is called
        sizes |= {"a_scale_ptr": None, "b_scale_ptr": None}
    aligned = {(argument,): [["tt.divisibility", 16]] for argument in (4, 5, 6)}
    source = ASTSource(
        _fused_kernel, types | dict.fromkeys(sizes, "constexpr"), constexprs=sizes, attrs=aligned
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
    assert registers <= 255
    assert stack + local <= MOST_STACK, said


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
