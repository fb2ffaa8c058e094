"""What a GPU runs for a radius graph, but for the place it runs at; and the screen of whole numbers."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid import neighbors
from reid.errors import InputError
from reid.neighbors import hits, screen, strips
from reid.neighbors.quantised import quantise


def unit_rows(n: int, d: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = np.repeat(rng.standard_normal((-(-n // 3), d)), 3, axis=0)[:n]
    rows += rng.choice([0, 1e-3, 0.3], (n, 1)) * rng.standard_normal((n, d))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@settings(max_examples=60)
@given(
    n=st.integers(0, 90),
    d=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
    radius=st.floats(1e-4, 1.99),
    block=st.integers(1, 100),
    new_share=st.sampled_from([0, 0.5, 1]),
    tile=st.integers(1, 50),
    exact_there=st.booleans(),
)
def test_strips_are_the_graph(
    n: int, d: int, seed: int, radius: float, block: int, new_share: float, tile: int,
    exact_there: bool,
) -> None:  # fmt: skip
    rows = unit_rows(n, d, seed)
    new_from = int(n * new_share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "hits", hits.hits_grouped)
        patch.setattr(strips, "COPY_BYTES", 100)
        budget = 2**30 if exact_there else 1
        put = strips.put_rows(rows, "torch", "cpu", budget, checked=False)
        search = strips.StripSearch(put, radius, strips.screen_of("torch", tile))
        cuts, pairs = neighbors.block_strips(n, block, new_from)
        parts = list(search.edges((cuts[k], cuts[to.start].start) for k, to in pairs))
    wanted = list(
        neighbors.stream_edges(rows, radius, new_from=new_from, backend="numpy", block_rows=block)
    )
    assert len(parts) == len(wanted)
    for (edges, distances), (expected, lengths) in zip(parts, wanted, strict=True):
        np.testing.assert_array_equal(edges, expected)
        assert edges.dtype == np.int32
        assert distances.dtype == np.float32
        np.testing.assert_allclose(distances, lengths, rtol=3e-6, atol=1e-9)


def test_rows_that_are_not_unit_are_refused_as_on_the_cpu() -> None:
    rows = unit_rows(200, 8)
    rows[[7, 150]] *= 2
    for checked in (False, True):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(strips, "COPY_BYTES", 1000)
            if checked:
                strips.put_rows(rows, "torch", "cpu", 2**30, checked=True)
                continue
            with pytest.raises(InputError, match=r"2 of 200 rows are not unit.*: rows 7, 150"):
                strips.put_rows(rows, "torch", "cpu", 2**30, checked=False)


def _ordinary(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((n, d))


def _one_hot(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    return np.eye(d)[rng.integers(0, d, n)] * rng.choice([-1.0, 1.0], (n, 1))


def _near(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal(d) + 1e-4 * rng.standard_normal((n, d))


def _coarse(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """A few values only, as features behind a ReLU have, and one that is large."""
    rows = np.maximum(rng.integers(-2, 3, (n, d)), 0) + 0.0
    rows[:, 0] = 30
    return rows


@settings(max_examples=60)
@given(
    kind=st.sampled_from([_ordinary, _one_hot, _near, _coarse]),
    n=st.integers(2, 40),
    d=st.integers(1, 300),
    seed=st.integers(0, 2**32 - 1),
)
def test_whole_numbers_are_within_their_bound(
    kind: Callable[[int, int, np.random.Generator], np.ndarray], n: int, d: int, seed: int
) -> None:
    rows = kind(n, d, np.random.default_rng(seed))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    ready = screen.prepare(rows, "int8", "cpu")
    sums = ready.low.int() @ ready.low.int().T
    assert int(ready.low.int().abs().max()) <= 127
    scores = sums.double() * ready.step**2
    exact = rows.astype(np.float64) @ rows.astype(np.float64).T
    assert np.abs(scores.numpy() - exact).max() <= screen.score_error(ready, ready)


def test_the_margin_of_whole_numbers_is_small() -> None:
    ready = screen.prepare(unit_rows(2000, 512), "int8", "cpu")
    assert ready.low.shape == (2000, 512)
    assert screen.score_error(ready, ready) < 0.03
    low, _, error = quantise(torch.empty(0, 40))
    assert (low.shape, low.dtype) == ((0, 128), torch.int8)
    assert error < 1e-6
