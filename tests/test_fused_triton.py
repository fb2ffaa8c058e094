"""The fused kernel in Triton's interpreter, and every device path against the CPU where a GPU is."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from reid import neighbors
from reid.neighbors import screen


def bursts(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((n // 3 + 1, d)), 3, axis=0)[:n]
    rows = rng.permutation(rows + rng.choice([0.0, 0.1, 0.5], (n, 1)) * rng.standard_normal((n, d)))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def ready(rows: np.ndarray) -> screen.Rows:
    # The interpreter's dot takes the bits of a bfloat16 for an integer, so it gets the same values
    # as float32: all of the kernel but the type of its operands.
    block = screen.prepare(rows, "torch", "cpu")
    return screen.Rows(block.exact, block.low.float(), block.error)


def check_one_case(
    rows: np.ndarray, threshold: float, capacity: int, diagonal: bool, wanted_some: bool = True
) -> None:
    from reid.neighbors.fused_triton import fused_pairs

    a, b = (ready(rows), ready(rows)) if diagonal else (ready(rows[:110]), ready(rows[110:]))
    scores = (a.low.double() @ b.low.double().T).numpy()
    wanted = np.triu(scores >= threshold, 1) if diagonal else scores >= threshold
    ((i, j),) = fused_pairs(a, b, threshold, diagonal, 0, capacity=capacity, blocks=(16, 32, 32))
    found = np.zeros_like(wanted)
    found[i, j] = True
    assert len(i) == found.sum(), "every pair once"
    assert wanted.any() == wanted_some
    assert np.abs(scores[found != wanted] - threshold).max(initial=0) < 1e-6


def check_all_cases() -> None:
    from reid.neighbors.fused_triton import fused_pairs

    for d in (64, 72):
        rows = bursts(190, d)
        for diagonal in (False, True):
            for capacity in (1, 100_000):
                for threshold in (0.6, 0.05, -1.5):
                    check_one_case(rows, threshold, capacity, diagonal)
            check_one_case(rows, 1.5, 1, diagonal, wanted_some=False)
    none = ready(np.empty((0, 16), np.float32))
    assert list(fused_pairs(none, ready(bursts(5, 16)), 0.5, False, 0)) == []


def test_interpreted_kernel_finds_every_pair_once() -> None:
    pytest.importorskip("triton", reason="triton is not installed (it comes with torch on Linux)")
    # Triton decides when it is imported whether it interprets: that needs a process of its own.
    subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
        check=True,
        timeout=240,
    )


def test_kernel_compiles_for_an_h100(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU needed; says that the bfloat16 product becomes the tensor-core instruction."""
    triton = pytest.importorskip("triton", reason="triton is not installed")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from reid.neighbors.fused_triton import _fused_kernel

    monkeypatch.setenv("TRITON_DEFAULT_FP_FUSION", "1")  # unset, it warns
    sizes = {"D": 512, "DIAGONAL": True, "BLOCK_A": 128, "BLOCK_B": 256, "BLOCK_D": 64, "GROUP": 8}
    types = {"a_ptr": "*bf16", "b_ptr": "*bf16", "hits_ptr": "*i64", "count_ptr": "*i32"}
    types |= {"a_rows": "i32", "b_rows": "i32", "capacity": "i32", "threshold": "fp32"}
    aligned = {(argument,): [["tt.divisibility", 16]] for argument in range(4)}
    source = ASTSource(
        _fused_kernel, types | dict.fromkeys(sizes, "constexpr"), constexprs=sizes, attrs=aligned
    )
    compiled = triton.compile(
        source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 8, "num_stages": 3}
    )
    assert "wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16" in compiled.asm["ptx"]
    assert compiled.metadata.shared <= 227 * 1024


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("backend", ["torch", "triton"])
@pytest.mark.parametrize("d", [64, 100, 512])
def test_radius_graph_on_the_gpu_is_the_one_of_the_cpu(backend: str, d: int) -> None:
    rows = bursts(5000, d)
    wanted = neighbors.radius_graph(rows, 0.3)
    for block_rows in (None, 1500):
        found = neighbors.radius_graph(
            rows, 0.3, backend=backend, device="cuda", block_rows=block_rows
        )
        pairs = [set(map(tuple, graph.edges.tolist())) for graph in (wanted, found)]
        truth = rows.astype(np.float64)
        assert all(abs(1 - truth[i] @ truth[j] - 0.3) <= 1e-6 for i, j in pairs[0] ^ pairs[1])
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
    indices, found = neighbors.knn(rows, 20, backend=backend, device="cuda")
    np.testing.assert_allclose(found, wanted, atol=2e-6)
    assert (indices != np.arange(5000)[:, None]).all()


if __name__ == "__main__":
    check_all_cases()
