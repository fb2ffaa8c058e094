"""Hard pairs: against a plain oracle, on a case that fits on paper, and in training."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.training import hard_batches as module
from reid.training.hard_batches import find_hard_pairs, hard_batches


def rows_of(n: int, seed: int) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(n, 4))
    return (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 7, 1024])
def test_pairs_are_those_of_a_plain_search(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    monkeypatch.setattr(module, "BLOCK_ROWS", block)
    vectors, codes = rows_of(30, 0), np.random.default_rng(1).integers(0, 12, 30)
    vectors[3] = np.nan
    found = find_hard_pairs(vectors, codes)
    alike = vectors @ vectors.T
    for i in range(30):
        own = [j for j in range(30) if codes[j] == codes[i] and j not in (i, 3) and i != 3]
        strange = [j for j in range(30) if codes[j] != codes[i] and j != 3 and i != 3]
        assert found.positive[i] == (min(own, key=lambda j: alike[i, j]) if own else -1)
        assert found.negative[i] == (max(strange, key=lambda j: alike[i, j]) if strange else -1)
        if own and strange:
            gap = alike[i, found.negative[i]] - alike[i, found.positive[i]]
            assert found.violation[i] == pytest.approx(gap, abs=1e-6)
        else:
            assert found.violation[i] == -np.inf


def test_the_worst_mistake_is_in_the_first_batch() -> None:
    angles = np.radians([0, 40, 41, 90, 200, 205])  # a a b b c c: the second a is taken for b
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    codes = np.asarray([0, 0, 1, 1, 2, 2])
    pairs = find_hard_pairs(vectors, codes)
    plan = hard_batches(pairs, codes, steps=1, identities=2, images=2, seed=0, epoch=1)
    # The first b is as far from its own as the second a from another's; it is the anchor.
    assert plan.tolist() == [[2, 3, 1, 0]]


@settings(max_examples=60)
@given(
    st.integers(2, 12), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3)
)
def test_batches_are_full_and_alike_on_all_ranks(
    individuals: int, identities: int, images: int, steps: int, world: int
) -> None:
    codes = np.random.default_rng(individuals).integers(0, individuals, 25) * 3
    pairs = find_hard_pairs(rows_of(25, individuals), codes)
    plans = [
        hard_batches(
            pairs, codes, steps=steps, identities=identities, images=images, seed=0, epoch=2,
            rank=rank, world=world,
        )
        for rank in range(world)
    ]  # fmt: skip
    for plan in plans:
        assert plan.shape == (steps, identities * images)
        groups = codes[plan].reshape(steps, identities, images)
        assert (groups == groups[..., :1]).all(), "a group is of one identity"
        if identities <= len(np.unique(codes)):
            for step in groups[..., 0]:
                assert len(np.unique(step)) == identities, "an identity is in a batch once"


def test_nothing_is_hard_where_nobody_is_met_twice() -> None:
    codes = np.arange(6)
    pairs = find_hard_pairs(rows_of(6, 0), codes)
    plan = hard_batches(pairs, codes, steps=3, identities=2, images=2, seed=0, epoch=1)
    assert plan.shape == (0, 4)
