"""The prefix screen: it may keep a pair that is no edge, and never loses one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reid import neighbors
from reid.errors import InputError
from reid.neighbors import edges_of_block, prefix, screen

Floats = NDArray[np.float32]

ROWS = ("random", "clustered", "identical", "opposite", "few directions", "float16", "long")
BASES = ("leading", "axes", "beside the rows", "skewed", "one direction twice", "nothing")


def unit(rows: NDArray[np.float64]) -> Floats:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def made_rows(kind: str, n: int, d: int, random: np.random.Generator) -> Floats:
    rows = random.standard_normal((n, d))
    if kind == "clustered":
        rows = 3 * rows[random.integers(0, -(-n // 5), n)] + random.choice([0, 1e-4, 0.3]) * rows
    elif kind == "identical":
        rows = np.repeat(rows[:1], n, axis=0)
    elif kind == "opposite":
        rows = random.choice([-1, 1], (n, 1)) * (rows[:1] + 1e-3 * rows)
    elif kind == "few directions":
        rows = random.standard_normal((n, min(2, d))) @ random.standard_normal((min(2, d), d))
    found = unit(rows)
    if kind == "float16":
        half = found.astype(np.float16).astype(np.float32)
        # Short rows can end up farther from unit than is allowed.
        allowed = np.abs(np.linalg.norm(half, axis=1) - 1) < 9e-5
        found = np.where(allowed[:, None], half, found)
    if kind == "long":  # as far from unit as rows may be
        found *= random.choice([1 - 9e-5, 1 + 9e-5], (n, 1)).astype(np.float32)
    return found


def made_basis(kind: str, rows: Floats, k: int, random: np.random.Generator) -> Floats:
    d = rows.shape[1]
    if kind == "leading":
        return prefix.leading_directions(rows, k)
    if kind == "axes":
        return np.eye(d, dtype=np.float32)[:, :k]
    if kind == "beside the rows":  # the tail is everything, as far as there is room for it
        turned = np.linalg.svd(rows.astype(np.float64), full_matrices=True)[2]
        return turned[::-1][:k].T.astype(np.float32)
    basis = np.linalg.qr(random.standard_normal((d, k)))[0].astype(np.float32)
    if kind == "skewed":
        basis *= np.float32(1 + 1e-3 * random.uniform(-1, 1))
    elif kind == "one direction twice":
        basis[:, -1] = basis[:, 0]
    else:
        basis[:] = 0
    return basis


@settings(max_examples=100)
@given(
    n=st.integers(2, 60),
    d=st.integers(1, 300),
    share=st.floats(0, 1),
    rows_kind=st.sampled_from(ROWS),
    basis_kind=st.sampled_from(BASES),
    radius=st.one_of(st.sampled_from([1e-7, 1e-4, 0.999, 1.0, 1.9999]), st.floats(1e-4, 1.99)),
    seed=st.integers(0, 2**32 - 1),
)
def test_no_edge_is_lost_whatever_the_rows_and_the_basis(
    n: int, d: int, share: float, rows_kind: str, basis_kind: str, radius: float, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = made_rows(rows_kind, n, d, random)
    basis = made_basis(basis_kind, rows, max(1, round(share * d)), random)
    wanted = edges_of_block(rows, rows, radius, a_start=0, b_start=0, backend="numpy")
    found = edges_of_block(rows, rows, radius, a_start=0, b_start=0, basis=basis)
    np.testing.assert_array_equal(found[0], wanted[0])
    np.testing.assert_array_equal(found[1], wanted[1])


@settings(max_examples=60)
@given(
    d=st.integers(1, 300),
    share=st.floats(0, 1),
    rows_kind=st.sampled_from(ROWS),
    basis_kind=st.sampled_from(BASES),
    seed=st.integers(0, 2**32 - 1),
)
def test_every_step_of_the_proof_holds(
    d: int, share: float, rows_kind: str, basis_kind: str, seed: int
) -> None:
    random = np.random.default_rng(seed)
    rows = made_rows(rows_kind, 30, d, random)
    basis = made_basis(basis_kind, rows, max(1, round(share * d)), random)
    ready = prefix.prefix_rows(rows, basis)
    exact, low = rows.astype(np.float64), ready.low.double().numpy()
    left, _, right = np.linalg.svd(basis.astype(np.float64), full_matrices=False)
    inside = exact @ (left @ right)  # the polar factor of the basis is its orthonormal neighbour
    error = (ready.error - 1e-6) / 2
    assert np.linalg.norm(low[:, :-1] - inside, axis=1).max() <= error
    rest = np.linalg.norm(exact - inside @ (left @ right).T, axis=1)
    assert (low[:, -1] >= rest).all(), "tails are rounded up"
    longest = 1 + screen.UNIT_TOLERANCE + ready.error
    assert np.linalg.norm(low, axis=1).max() <= longest
    scores = (ready.low.numpy() @ ready.low.numpy().T).astype(np.float64)
    half_squares = ((exact[:, None] - exact) ** 2).sum(axis=2) / 2
    assert (scores + screen.score_error(ready, ready) >= 1 - half_squares).all()


def test_the_margin_is_small_beside_what_a_radius_tells_apart() -> None:
    rows = made_rows("random", 400, 1280, np.random.default_rng(0))
    ready = prefix.prefix_rows(rows, prefix.leading_directions(rows, 128))
    assert screen.score_error(ready, ready) < 0.002


def test_a_tail_between_two_floats_is_rounded_up() -> None:
    # Nothing along the basis: the tail is the length of the row, 1 + 2⁻²⁵ in float64.
    rows = np.array([[0, 0.6, 0.8], [0, 0.8, 0.6]], np.float32)
    ready = prefix.prefix_rows(rows, np.eye(3, dtype=np.float32)[:, :1])
    tails = ready.low[:, 1].double().numpy()
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
    assert (lengths <= tails).all()
    np.testing.assert_allclose(tails, lengths, atol=3e-7)


@settings(max_examples=25)
@given(
    n=st.integers(0, 80),
    d=st.integers(1, 140),
    kind=st.sampled_from(ROWS),
    block=st.integers(1, 90),
    new_share=st.floats(0, 1),
    memory=st.sampled_from([2**20, 2**29]),
    radius=st.floats(1e-4, 1.99),
    seed=st.integers(0, 2**32 - 1),
)
def test_by_name_it_streams_the_same_edges(
    n: int, d: int, kind: str, block: int, new_share: float, memory: int, radius: float, seed: int
) -> None:
    rows = made_rows(kind, max(n, 1), d, np.random.default_rng(seed))[:n]
    new_from = round(new_share * n)
    wanted, found = (
        list(
            neighbors.stream_edges(
                rows, radius, new_from=new_from, backend=backend, block_rows=block,
                memory_bytes=memory,
            )
        )
        for backend in ("numpy", "prefix")
    )  # fmt: skip
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


def test_leading_directions_hold_nearly_as_much_as_eigenvectors() -> None:
    random = np.random.default_rng(0)
    rows = unit(random.standard_normal((500, 90)) * 0.9 ** np.arange(90))
    found = prefix.leading_directions(rows, 12)
    assert found.shape == (90, 12)
    np.testing.assert_allclose(found.T @ found, np.eye(12), atol=1e-6)
    held = ((rows @ found) ** 2).sum(axis=0)
    assert held[:-1] == pytest.approx(np.sort(held[:-1])[::-1]), "the longest first"
    best = np.linalg.eigvalsh(rows.T.astype(np.float64) @ rows)[::-1][:12].sum()
    assert held.sum() > 0.98 * best


def test_rows_of_two_dimensions_need_two_directions() -> None:
    rows = made_rows("few directions", 50, 40, np.random.default_rng(1))
    assert prefix.leading_directions(rows, 20).shape == (40, 2)


@pytest.mark.parametrize(
    ("costs", "chosen"),
    [([9, 2, 4, 3.1], 128), ([9, 2, 4, 2.9], None), ([1, 2, 4, 1.6], 64), ([5, 5, 5, 3], None)],
)
def test_auto_takes_the_fastest_where_it_is_worth_it(
    costs: list[float], chosen: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefix, "choose_backend", lambda *_: "numpy")
    monkeypatch.setattr(prefix, "_seconds", lambda *_: (np.zeros(4), np.array(costs)))
    rows = made_rows("random", 300, 512, np.random.default_rng(0))
    assert neighbors.choose_basis(rows, 0.3) is None, "over before the choice would be"
    monkeypatch.setattr(prefix, "LEAST_WORK", 0)
    basis = neighbors.choose_basis(rows, 0.3)
    assert (None if basis is None else basis.shape) == (None if chosen is None else (512, chosen))
    assert neighbors.choose_basis(rows, 0.3, backend="numpy") is None
    assert neighbors.choose_basis(rows, 0.3, device="cuda") is None
    assert neighbors.choose_basis(rows[:, :64].copy(), 0.3) is None, "too short for a prefix"
    monkeypatch.setattr(prefix, "choose_backend", lambda *_: "torch")
    assert neighbors.choose_basis(rows, 0.3) is None, "bfloat16 is faster here, and good enough"


def test_few_new_rows_are_not_worth_projecting_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "choose_backend", lambda *_: "numpy")
    prepare, compare = np.array([1, 1, 1, 0]), np.array([0.01, 0.02, 0.03, 0.1])
    monkeypatch.setattr(prefix, "_seconds", lambda *_: (prepare, compare))
    monkeypatch.setattr(prefix, "LEAST_WORK", 0)
    rows = made_rows("random", 300, 512, np.random.default_rng(0))
    assert neighbors.choose_basis(rows, 0.3) is not None
    assert neighbors.choose_basis(rows, 0.3, new_from=295) is None


def test_auto_measures_and_finds_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefix, "choose_backend", lambda *_: "numpy")
    monkeypatch.setattr(prefix, "LEAST_WORK", 0)
    monkeypatch.setattr(prefix, "WORTH", 0)  # whatever the clock says
    rows = made_rows("clustered", 300, 200, np.random.default_rng(0))
    assert neighbors.choose_basis(rows, 0.3) is not None
    found, wanted = (neighbors.radius_graph(rows, 0.3, backend=it) for it in ("auto", "numpy"))
    np.testing.assert_array_equal(found.edges, wanted.edges)
    np.testing.assert_array_equal(found.distances, wanted.distances)


def test_it_is_for_radius_graphs_on_a_cpu() -> None:
    rows = made_rows("random", 20, 8, np.random.default_rng(0))
    with pytest.raises(InputError, match="prefix builds radius graphs only"):
        neighbors.knn(rows, 1, backend="prefix")
    with pytest.raises(InputError, match="prefix runs on the CPU, device is 'cuda'"):
        neighbors.radius_graph(rows, 0.3, backend="prefix", device="cuda")
    search = neighbors.local_search(backend="prefix")
    np.testing.assert_array_equal(search.nearest(rows, 3)[0], neighbors.knn(rows, 3)[0])
