import importlib
import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid import neighbors
from reid.errors import InputError
from reid.neighbors import hits, measure, screen

# The function of the same name hides the module in the package.
knn_module = importlib.import_module("reid.neighbors.knn")

CPU_BACKENDS = ["torch", "numpy"]


def unit_rows(n: int, d: int, seed: int = 0, copies: int = 1) -> np.ndarray:
    """n random unit rows, in bursts of `copies` near-duplicates, some of them identical."""
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((-(-n // copies), d)), copies, axis=0)[:n]
    rows += rng.choice([0, 1e-6, 1e-3, 0.05], size=(n, 1)) * rng.standard_normal((n, d))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32)


def oracle(a: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    wide = a.astype(np.float64)
    other = wide if b is None else b.astype(np.float64)
    return 1 - wide @ other.T


def assert_is_radius_graph(found: neighbors.Graph, rows: np.ndarray, radius: float) -> None:
    truth = oracle(rows)
    i, j = found.edges.astype(np.int64).T.reshape(2, -1)
    assert found.n == len(rows)
    assert found.edges.dtype == np.int32
    assert found.distances.dtype == np.float32
    assert found.edges.shape == (len(found.distances), 2)
    assert (i < j).all()
    key = i * len(rows) + j
    assert (np.diff(key) > 0).all(), "sorted, and every pair once"
    assert np.abs(found.distances - truth[i, j]).max(initial=0) < 1e-5
    assert (found.distances >= 0).all()
    wanted = np.triu(truth <= radius, 1)
    got = np.zeros_like(wanted)
    got[i, j] = True
    differs = wanted != got
    assert np.abs(truth[differs] - radius).max(initial=0) <= 1e-6


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("radius", [1e-6, 0.05, 0.4, 0.999, 1.0, 1.02, 1.5, 1.999])
def test_radius_graph_is_the_float64_graph(backend: str, radius: float) -> None:
    for d, copies in [(3, 1), (32, 4), (512, 10)]:
        rows = unit_rows(230, d, copies=copies)
        found = neighbors.radius_graph(rows, radius, backend=backend, block_rows=100)
        assert_is_radius_graph(found, rows, radius)


def test_six_points_by_hand() -> None:
    # On a circle at 0, 10, 20, 90, 100 and 180 degrees: 1 − cos 10° = 0.0152, 1 − cos 20° = 0.0603,
    # 1 − cos 80° = 0.826, 1 − cos 90° = 1.
    angle = np.deg2rad([0, 10, 20, 90, 100, 180])
    rows = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    near = neighbors.radius_graph(rows, 0.02)
    assert near.edges.tolist() == [[0, 1], [1, 2], [3, 4]]
    np.testing.assert_allclose(near.distances, 1 - np.cos(np.deg2rad(10)), atol=1e-6)
    wider = neighbors.radius_graph(rows, 0.9)
    assert wider.edges.tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3], [2, 4], [3, 4], [4, 5]]
    index, distance = neighbors.nearest(rows)
    assert index.tolist() == [1, 0, 1, 4, 3, 4]
    np.testing.assert_allclose(distance[5], 1 - np.cos(np.deg2rad(80)), atol=1e-6)


@settings(max_examples=60)
@given(
    n=st.integers(0, 90),
    d=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    copies=st.integers(1, 7),
    radius=st.floats(1e-4, 1.99),
    block=st.integers(1, 100),
    memory=st.sampled_from([2**20, 2**29]),
)
def test_block_size_backend_memory_and_row_order_change_nothing(
    n: int, d: int, seed: int, copies: int, radius: float, block: int, memory: int
) -> None:
    rows = unit_rows(n, d, seed, copies)
    whole = neighbors.radius_graph(rows, radius, backend="torch")
    assert_is_radius_graph(whole, rows, radius)
    for backend in CPU_BACKENDS:
        cut = neighbors.radius_graph(
            rows, radius, backend=backend, block_rows=block, memory_bytes=memory
        )
        np.testing.assert_array_equal(cut.edges, whole.edges)
        np.testing.assert_array_equal(cut.distances, whole.distances)
    order = np.random.default_rng(seed).permutation(n)
    shuffled = neighbors.radius_graph(rows[order], radius, backend="torch")
    back = np.sort(order[shuffled.edges], axis=1) if n else shuffled.edges
    key = np.lexsort((back[:, 1], back[:, 0]))
    np.testing.assert_array_equal(back[key], whole.edges)
    np.testing.assert_array_equal(shuffled.distances[key], whole.distances)


def test_the_stream_is_the_graph_in_parts() -> None:
    rows = unit_rows(150, 16, copies=3)
    parts = list(neighbors.stream_edges(rows, 0.3, block_rows=40))
    whole = neighbors.radius_graph(rows, 0.3)
    assert len(parts) == 4
    np.testing.assert_array_equal(np.concatenate([edges for edges, _ in parts]), whole.edges)
    np.testing.assert_array_equal(np.concatenate([d for _, d in parts]), whole.distances)


def test_block_pairs_put_together_are_the_graph() -> None:
    rows = unit_rows(150, 16, copies=3)
    rows.flags.writeable = False  # as from Ray's object store
    whole = neighbors.radius_graph(rows, 0.3)
    starts = range(0, len(rows), 40)
    parts = [
        neighbors.edges_of_block(
            rows[a : a + 40], rows[b : b + 40], 0.3, a_start=a, b_start=b, backend="torch"
        )
        for a, b in itertools.combinations_with_replacement(starts, 2)
    ]
    edges = np.concatenate([edges for edges, _ in parts])
    order = np.lexsort((edges[:, 1], edges[:, 0]))
    np.testing.assert_array_equal(edges[order], whole.edges)
    np.testing.assert_array_equal(np.concatenate([d for _, d in parts])[order], whole.distances)


def test_identical_rows_are_all_at_distance_zero() -> None:
    row = unit_rows(1, 48)
    rows = np.repeat(row, 70, axis=0)
    found = neighbors.radius_graph(rows, 0.1, backend="torch", block_rows=32)
    assert len(found.edges) == 70 * 69 // 2
    assert (found.distances == 0).all()
    indices, distances = neighbors.knn(rows, 3)
    assert (distances == 0).all()
    assert indices[0].tolist() == [1, 2, 3], "ties go to the lower index"
    assert indices[5].tolist() == [0, 1, 2]


@pytest.mark.parametrize("n", [0, 1])
def test_no_row_and_one_row(n: int) -> None:
    rows = unit_rows(n, 8)
    found = neighbors.radius_graph(rows, 0.5)
    assert (found.n, found.edges.shape, found.distances.shape) == (n, (0, 2), (0,))
    indices, distances = neighbors.knn(rows, 2)
    assert indices.tolist() == [[-1, -1]] * n
    assert np.isnan(distances).all()
    index, distance = neighbors.nearest(rows)
    assert (index.tolist(), len(distance)) == ([-1] * n, n)


@pytest.mark.parametrize("backend", [*CPU_BACKENDS, "faiss"])
@pytest.mark.parametrize(("n", "k"), [(5, 9), (60, 1), (300, 7), (300, 299)])
def test_knn_is_the_float64_order(backend: str, n: int, k: int) -> None:
    if backend == "faiss":
        pytest.importorskip("faiss", reason="the cpu extra is not installed")
    rows = unit_rows(n, 24, copies=5)
    truth = oracle(rows)
    np.fill_diagonal(truth, np.inf)
    indices, distances = neighbors.knn(rows, k, backend=backend)
    found = min(k, n - 1)
    assert (indices[:, found:] == -1).all()
    assert np.isnan(distances[:, found:]).all()
    indices, distances = indices[:, :found], distances[:, :found]
    assert (np.sort(indices, axis=1)[:, 1:] != np.sort(indices, axis=1)[:, :-1]).all()
    assert (indices != np.arange(n)[:, None]).all()
    # Ranks may differ among equals; the distances in order may not.
    best = np.sort(truth, axis=1)[:, :found]
    np.testing.assert_allclose(distances, best, atol=1e-6)
    np.testing.assert_allclose(np.take_along_axis(truth, indices, 1), best, atol=2e-6)


@settings(max_examples=40)
@given(
    q=st.integers(0, 40),
    n=st.integers(1, 90),
    d=st.integers(1, 20),
    k=st.integers(1, 100),
    seed=st.integers(0, 2**32 - 1),
    opposite=st.booleans(),
)
def test_knn_of_queries_whatever_the_backend(
    q: int, n: int, d: int, k: int, seed: int, opposite: bool
) -> None:
    rows = unit_rows(n, d, seed)
    queries = unit_rows(q, d, seed + 1)
    if opposite:  # every score negative: the order of the bits is not that of the numbers
        rows, queries = np.abs(rows), -np.abs(queries)
    indices, distances = neighbors.knn(rows, k, queries=queries, backend="torch")
    found = min(k, n)
    best = np.sort(oracle(queries, rows), axis=1)[:, :found]
    np.testing.assert_allclose(distances[:, :found], best, atol=1e-6)
    other = neighbors.knn(rows, k, queries=queries, backend="numpy", memory_bytes=2**20)
    np.testing.assert_array_equal(other[0], indices)
    np.testing.assert_array_equal(other[1], distances)


def test_knn_in_many_blocks() -> None:
    rows = unit_rows(3000, 16, copies=2)
    best = np.sort(oracle(rows) + 9 * np.eye(3000), axis=1)[:, :4]
    for memory in (2**20, 2**29):
        _, distances = neighbors.knn(rows, 4, backend="torch", memory_bytes=memory)
        np.testing.assert_allclose(distances, best, atol=1e-6)


@pytest.mark.parametrize("backend", CPU_BACKENDS)
@pytest.mark.parametrize("k", [1, 7, 400])
def test_a_gallery_in_parts_gives_what_it_gives_whole(backend: str, k: int) -> None:
    rows = unit_rows(900, 256, copies=3)
    rows[700:710] = rows[:10]  # ties, across parts
    assert len(knn_module._gallery_cuts(*rows.shape, k, 2**20)) == (3 if k == 400 else 5)
    for options in ({}, {"queries": unit_rows(40, 256, seed=1)}, {"rows": np.arange(0, 900, 90)}):
        whole = neighbors.knn(rows, k, backend=backend, **options)
        parts = neighbors.knn(rows, k, backend=backend, memory_bytes=2**20, **options)
        np.testing.assert_array_equal(parts[0], whole[0])
        np.testing.assert_array_equal(parts[1], whole[1])


def adversarial_pair(d: int) -> np.ndarray:
    """Two unit rows whose elements all round the same way in bfloat16: the worst for a screen."""
    rows = np.full((2, d), np.float32(1) / np.sqrt(np.float32(d)))
    step = np.float32(2.0 ** np.floor(np.log2(rows[0, 0])) * 2**-8 * 0.98)
    low = torch.from_numpy(rows[:1, :1]).bfloat16().float().item()
    rows[:, : d // 2] = low + step  # just under half a unit: rounds down by almost all of it
    rows[:, d // 2 :] = np.sqrt((1 - (rows[0, : d // 2] ** 2).sum()) / (d - d // 2))
    return rows.astype(np.float32)


def test_the_screen_bound_holds_and_is_not_loose() -> None:
    for rows in [unit_rows(400, 512, copies=4), unit_rows(300, 3), adversarial_pair(256)]:
        ready = screen.prepare(rows, "torch", "cpu")
        scores = (ready.low.float() @ ready.low.float().T).double().numpy()
        error = np.abs(scores - (1 - oracle(rows).clip(0))).max()
        assert error <= screen.score_error(ready, ready)
    typical = screen.prepare(unit_rows(400, 512), "torch", "cpu")
    assert screen.score_error(typical, typical) < 0.005, "a loose bound makes the screen useless"


@settings(max_examples=50)
@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 300),
    threshold=st.floats(-1.5, 1.5, width=32),
    low=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_hits_are_argwhere(rows: int, columns: int, threshold: float, low: bool, seed: int) -> None:
    values = torch.from_numpy(
        np.random.default_rng(seed).uniform(-1.2, 1.2, (rows, columns)).astype(np.float32)
    )
    if low:
        values = values.bfloat16()
    exact = values.float().numpy()
    # Comparing in bfloat16 rounds the threshold: hits may be added, by one unit, and none be lost.
    unit = 2.0**-7 * abs(threshold) if low else 0
    wanted = {tuple(x) for x in np.argwhere(exact >= threshold).tolist()}
    allowed = {tuple(x) for x in np.argwhere(exact >= threshold - unit).tolist()}
    for find in (hits.hits_grouped, hits.hits_cpu):
        found = torch.stack(find(values.clone(), threshold), dim=1).tolist()
        assert len({tuple(x) for x in found}) == len(found)
        assert wanted <= {tuple(x) for x in found} <= allowed


@settings(max_examples=100)
@given(
    threshold=st.floats(-1, 1, width=32),
    spread=st.sampled_from([1e-7, 1e-4, 4e-3]),  # a step of bfloat16 is 0.004 to 0.008 near 1
    seed=st.integers(0, 2**32 - 1),
)
def test_no_score_that_reaches_the_threshold_is_lost_by_its_rounding(
    threshold: float, spread: float, seed: int
) -> None:
    offsets = np.random.default_rng(seed).uniform(-spread, spread, (2, 90))
    exact = (threshold + offsets).astype(np.float32)
    wanted = {tuple(cell) for cell in np.argwhere(exact >= np.float32(threshold)).tolist()}
    stored = torch.from_numpy(exact).bfloat16()
    for find in (hits.hits_grouped, hits.hits_cpu):
        found = torch.stack(find(stored.clone(), threshold), dim=1).tolist()
        assert wanted <= {tuple(cell) for cell in found}, find.__name__


@settings(max_examples=100)
@given(
    low=st.booleans(),
    error=st.sampled_from([0.0, 1e-6, 4e-3]),
    threshold=st.floats(-1, 1, width=32),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_least_distance_of_a_hit_is_none_too_many(
    low: bool, error: float, threshold: float, seed: int
) -> None:
    """Whatever the error within its bound and the rounding did to the scores."""
    random = np.random.default_rng(seed)
    distance = random.uniform(0, 2, (3, 70)).astype(np.float32)
    screened = torch.from_numpy(
        (1 - distance + error * random.uniform(-1, 1, distance.shape)).astype(np.float32)
    )
    stored = screened.bfloat16() if low else screened
    row, column = hits.hits_cpu(stored, threshold)
    least = screen.least_distance(hits.scores_at(stored, row, column), error, low)
    exact = distance[row.numpy(), column.numpy()]
    assert (least <= exact).all()
    assert (exact - least).max(initial=0) <= 2 * error + 1e-5 + (0.02 if low else 0)


def test_the_device_path_of_knn_gives_the_same_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU runs, but for the place it runs at."""
    rows = unit_rows(500, 32, copies=4)
    _, wanted_lengths = neighbors.knn(rows, 7, backend="torch")
    monkeypatch.setattr(knn_module, "candidates_cpu", knn_module.candidates_torch)
    monkeypatch.setattr(knn_module, "best_pairs", measure.best_pairs_torch)
    indices, lengths = neighbors.knn(rows, 7, backend="torch")
    np.testing.assert_allclose(lengths, wanted_lengths, rtol=2e-6)
    exact = np.take_along_axis(oracle(rows), indices.astype(int), axis=1)
    np.testing.assert_allclose(lengths, exact, atol=1e-6)


@settings(max_examples=200)
@given(
    n=st.integers(3, 60),
    k=st.integers(1, 8),
    spread=st.sampled_from([0.0, 1e-7, 1e-5, 1e-3, 3e-3, 1e-2]),
    centre=st.floats(-1, 1),
    error=st.sampled_from([0.0, 1e-6, 1e-3]),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_neighbour_is_lost_where_scores_tie_in_bfloat16(
    n: int, k: int, spread: float, centre: float, error: float, seed: int
) -> None:
    """Whatever the errors within their bound and the rounding do, the k best are candidates."""
    k = min(k, n - 1)
    rng = np.random.default_rng(seed)
    true = (centre + spread * rng.uniform(-1, 1, (4, n))).astype(np.float32)
    # The worst that the bound allows: the best are screened low, the others high.
    order = np.argsort(-true, axis=1, kind="stable")
    worst = np.full_like(true, error)
    np.put_along_axis(worst, order[:, :k], -np.float32(error), axis=1)
    screened = torch.from_numpy(true + worst).bfloat16()
    for find in (knn_module.candidates_torch, knn_module.candidates_cpu):
        groups = max(k, min(n, 8 * k))
        row, column = find(screened.clone(), k, groups, error + 1e-7)
        found = {*zip(row.tolist(), column.tolist(), strict=True)}
        for asked in range(len(true)):
            kth = true[asked, order[asked, k - 1]]
            best = np.flatnonzero(true[asked] >= kth)
            assert {(asked, int(one)) for one in best} <= found, find.__name__


@pytest.mark.parametrize("device_path", [False, True])
def test_rows_that_differ_by_less_than_bfloat16_are_ranked_exactly(
    device_path: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A burst: every score rounds to the same number, and only float32 tells who is nearest."""
    rng = np.random.default_rng(3)
    rows = rng.standard_normal(16)[None] + 0.02 * rng.standard_normal((300, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    if device_path:
        monkeypatch.setattr(knn_module, "candidates_cpu", knn_module.candidates_torch)
        monkeypatch.setattr(knn_module, "best_pairs", measure.best_pairs_torch)
    _, lengths = neighbors.knn(rows, 5, backend="torch")
    truth = oracle(rows)
    np.fill_diagonal(truth, np.inf)
    np.testing.assert_allclose(lengths, np.sort(truth, axis=1)[:, :5], atol=1e-6)


def bad(rows: np.ndarray, value: float, *where: int) -> np.ndarray:
    rows = rows.copy()
    rows[list(where)] = value
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (unit_rows(9, 4).astype(np.float64), "float64.*needs a float32"),
        (unit_rows(9, 4).tolist(), "found list"),
        (unit_rows(9, 4)[0], r"shape \(4,\)"),
        (np.empty((3, 0), np.float32), r"shape \(3, 0\)"),
        (bad(unit_rows(9, 4), np.nan, 2, 5), "2 of 9 rows are NaN or infinite: rows 2, 5;"),
        (bad(unit_rows(9, 4), np.inf, 8), "1 of 9 rows are NaN or infinite: rows 8;"),
        (bad(unit_rows(9, 4), 0, 0), "1 of 9 rows are zero: rows 0;"),
        (
            3 * unit_rows(9, 4),
            r"9 of 9 rows are not unit length \(the worst is 3.*0, 1, 2, 3, 4, …",
        ),
    ],
)
def test_rows_that_are_not_unit_rows_are_refused(rows: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        neighbors.check_unit_rows(rows)
    with pytest.raises(InputError, match=message):
        neighbors.radius_graph(rows, 0.5)
    with pytest.raises(InputError, match=message):
        neighbors.knn(rows, 1)


def test_unit_rows_that_went_through_float16_are_fine() -> None:
    neighbors.check_unit_rows(unit_rows(500, 512).astype(np.float16).astype(np.float32))
    neighbors.check_unit_rows(np.empty((0, 3), np.float32))


@pytest.mark.parametrize("radius", [0, -0.1, 2, 3.0, np.nan, np.inf])
def test_a_radius_out_of_range_is_refused(radius: float) -> None:
    with pytest.raises(InputError, match=r"radius: .* between 0 and 2"):
        neighbors.radius_graph(unit_rows(3, 4), radius)


def test_other_bad_arguments_are_refused() -> None:
    rows = unit_rows(4, 4)
    with pytest.raises(InputError, match="k: 0"):
        neighbors.knn(rows, 0)
    with pytest.raises(InputError, match="queries have 5 dimensions, embeddings 4"):
        neighbors.knn(rows, 1, queries=unit_rows(2, 5))
    with pytest.raises(InputError, match="unknown 'cuda'; known backends: auto, torch"):
        neighbors.radius_graph(rows, 0.5, backend="cuda")
    with pytest.raises(InputError, match="faiss finds nearest neighbours only"):
        neighbors.radius_graph(rows, 0.5, backend="faiss")
    with pytest.raises(InputError, match="triton needs a CUDA device"):
        neighbors.radius_graph(rows, 0.5, backend="triton")
    with pytest.raises(InputError, match="memory_bytes: 7, needs at least"):
        neighbors.radius_graph(rows, 0.5, memory_bytes=7)
    with pytest.raises(InputError, match="4 dimensions from row 0 and 5 from row 4"):
        neighbors.edges_of_block(rows, unit_rows(2, 5), 0.5, a_start=0, b_start=4)


def test_auto_is_a_backend_that_runs_here() -> None:
    assert neighbors.choose_backend(100, 8) == "numpy"
    assert neighbors.choose_backend(10**6, 512) in CPU_BACKENDS
    assert neighbors.choose_backend(10**6, 512, "cuda") == "torch"
    assert neighbors.choose_backend(10, 8, "cpu", "torch") == "torch"
    assert neighbors.choose_graph_backend(100, 8) == "numpy"
    with pytest.raises(InputError, match="numpy runs on the CPU"):
        neighbors.choose_backend(10, 8, "cuda", "numpy")


@pytest.mark.parametrize(
    ("capability", "chosen"), [((8, 0), "torch"), ((9, 0), "triton"), ((10, 0), "torch")]
)
def test_a_gpu_takes_the_fused_kernel_where_it_has_been_seen(
    capability: tuple[int, int], chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert neighbors.choose_graph_backend(10, 8, "cuda") == chosen
    assert neighbors.choose_graph_backend(10, 8, "cuda", "torch") == "torch"
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert neighbors.choose_graph_backend(10, 8, "cuda") == "torch"


@pytest.mark.skipif(sys.platform != "linux", reason="reads the peak of the process from /proc")
def test_memory_grows_with_edges_not_with_pairs() -> None:
    # 20,000² scores would be 1.6 GB in float32; the budget is 32 MiB. VmHWM, because ru_maxrss of a
    # child starts from the size of its parent.
    script = """
import numpy as np
from pathlib import Path
from reid.neighbors import radius_graph

def peak():
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x)
    return int(line.split()[1]) // 1024

rows = np.random.default_rng(0).standard_normal((20_000, 16)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
radius_graph(rows[:2000], 0.02, backend="numpy")
before = peak()
edges = len(radius_graph(rows, 0.02, backend="numpy", memory_bytes=2**25).edges)
ballast = np.ones(2**27, np.uint8)
print(peak() - before, edges)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120
    )
    megabytes, edges = map(int, done.stdout.split())
    assert edges < 100_000
    assert megabytes >= 100, "the meter moves: it sees the ballast of 128 MiB"
    assert megabytes < 128 + 60
