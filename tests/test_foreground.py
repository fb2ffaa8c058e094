"""Foreground by the first principal component: against plain NumPy, by hand, and whatever the blocks are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid import foreground
from reid.errors import InputError
from reid.foreground import Foreground, add_tokens, find_foreground, no_moments

SIDE, WIDTH = 5, 6


def pictures(n: int, seed: int = 0) -> np.ndarray:
    """(n, side, side, width): in the middle of each lies an animal, whose tokens differ from the scene's."""
    rng = np.random.default_rng(seed)
    tokens = rng.normal(0, [1.0, 0.8, 0.6, 0.3, 0.3, 0.3], (n, SIDE, SIDE, WIDTH))
    tokens[:, 1:4, 1:4] += [0, 0, 0, 5, -5, 0]
    return (tokens + 20).astype(np.float16)


def found_in(tokens: np.ndarray, blocks: list[int]) -> Foreground:
    moments = no_moments(WIDTH)
    for block in np.split(tokens, np.cumsum(blocks)):
        moments = add_tokens(moments, block)
    return find_foreground(moments)


def by_hand(tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, components and their variances of all tokens at once, by a singular value decomposition."""
    flat = tokens.reshape(-1, WIDTH).astype(np.float64)
    mean = flat.mean(axis=0)
    _, sizes, axes = np.linalg.svd(flat - mean, full_matrices=False)
    return mean, axes[:3], sizes**2 / len(flat)


def test_components_are_those_of_all_tokens_at_once() -> None:
    tokens = pictures(40)
    found = found_in(tokens, [7, 1, 20])
    mean, axes, variances = by_hand(tokens)
    np.testing.assert_allclose(found.mean, mean, atol=1e-5)
    np.testing.assert_allclose(np.abs((found.components * axes).sum(axis=1)), 1, atol=1e-5)
    np.testing.assert_allclose(found.spreads, np.sqrt(variances[:3]), rtol=1e-4)
    np.testing.assert_allclose(found.shares, variances[:3] / variances.sum(), rtol=1e-4)
    assert found.images == 40
    largest = np.abs(found.components[1:]).argmax(axis=1)
    assert (found.components[[1, 2], largest] > 0).all()


@settings(max_examples=25)
@given(st.lists(st.integers(0, 9), max_size=6), st.randoms(use_true_random=False))
def test_blocks_and_order_change_nothing(blocks: list[int], random) -> None:
    tokens = pictures(30)
    order = list(range(30))
    random.shuffle(order)
    one, other = found_in(tokens, []), found_in(tokens[order], blocks)
    np.testing.assert_allclose(one.components, other.components, atol=1e-4)
    np.testing.assert_allclose(one.spreads, other.spreads, rtol=1e-4)


def test_a_mean_far_from_zero_costs_no_digits() -> None:
    """Squares summed up as they are would leave nothing of a spread of 1 on a mean of 10,000."""
    tokens = pictures(40).astype(np.float32)
    near, far = found_in(tokens, [10, 10]), found_in(tokens + 10_000, [10, 10])
    np.testing.assert_allclose(far.spreads, near.spreads, rtol=1e-2)
    assert np.abs((near.components * far.components).sum(axis=1)).min() > 0.99


@pytest.mark.parametrize("animal", [5, -5], ids=["larger", "smaller"])
def test_the_animal_is_where_the_borders_are_not(animal: float) -> None:
    tokens = np.zeros((4, SIDE, SIDE, WIDTH), np.float32)
    tokens += np.random.default_rng(0).normal(0, 0.1, tokens.shape)
    tokens[:, 1:4, 1:4, 2] += animal
    first = foreground.scores(tokens, found_in(tokens, []))[..., 0]
    inside = ~foreground.border_of(SIDE)
    assert (first[:, inside] > 0).all()
    assert (first[:, ~inside] < 0).all()


def test_tokens_that_are_all_the_same_have_no_foreground() -> None:
    with pytest.raises(InputError, match="patch tokens of 3 images are all the same"):
        found_in(np.ones((3, SIDE, SIDE, WIDTH), np.float16), [])


AXIS = Foreground(
    images=1,
    mean=np.array([1, 0, 0, 0], np.float32),
    components=np.eye(3, 4, dtype=np.float32),
    spreads=np.array([2, 1, 1], np.float32),
    shares=np.array([0.8, 0.1, 0.1], np.float32),
)


def test_hard_pooling_is_the_mean_of_the_patches_above_the_threshold() -> None:
    """Scores of the patches are 1, 1 and −0.5."""
    tokens = np.array([[[3, 4, 0, 0], [3, 0, 0, 0], [0, 9, 9, 9]]], np.float16)
    rows = foreground.pool_tokens(tokens, AXIS, weights="hard", threshold=0.0)
    np.testing.assert_allclose(rows, [np.array([6, 4, 0, 0]) / np.sqrt(52)], atol=1e-6)
    every = foreground.pool_tokens(tokens, AXIS, weights="hard", threshold=-1.0)
    np.testing.assert_allclose(every, [np.array([6, 13, 9, 9]) / np.sqrt(367)], atol=1e-6)
    assert np.isnan(foreground.pool_tokens(tokens, AXIS, weights="hard", threshold=1.0)).all()


def test_soft_pooling_weighs_by_the_logistic_function() -> None:
    tokens = np.random.default_rng(3).normal(0, 2, (2, 9, 4)).astype(np.float16)
    expected = []
    for picture in tokens.astype(np.float64):
        weights = [1 / (1 + np.exp(-4 * ((token[0] - 1) / 2 - 0.25))) for token in picture]
        total = sum(w * token for w, token in zip(weights, picture, strict=True))
        expected.append(total / np.linalg.norm(total))
    rows = foreground.pool_tokens(tokens, AXIS, weights="soft", threshold=0.25)
    np.testing.assert_allclose(rows, expected, atol=1e-5)
    assert rows.dtype == np.float32


def test_unknown_weights_are_refused() -> None:
    with pytest.raises(InputError, match=r"weights 'firm'; known: hard, soft"):
        foreground.patch_weights(np.zeros(3, np.float32), weights="firm", threshold=0)


def test_the_window_is_around_the_largest_piece() -> None:
    first = np.full((5, 5), -1.0, np.float32)
    first[0, 0] = first[4, 4] = 9  # strays; corners do not connect
    first[1:4, 2] = first[1, 3] = 1
    assert foreground.foreground_window(first, 0.0) == (2 / 5, 1 / 5, 4 / 5, 4 / 5)
    assert foreground.foreground_window(first, 1.5) == (0, 0, 1 / 5, 1 / 5)
    assert foreground.foreground_window(first, 9.0) is None


def test_colours_have_the_mean_patch_in_their_middle() -> None:
    scores = np.array([[0, 2, -2], [5, -5, 1]], np.float32)
    assert foreground.as_colours(scores).tolist() == [[128, 255, 0], [255, 0, 191]]


def test_a_foreground_is_the_same_after_json() -> None:
    again = foreground.from_json(foreground.to_json(AXIS))
    for name in ("images", "mean", "components", "spreads", "shares"):
        np.testing.assert_array_equal(getattr(again, name), getattr(AXIS, name))
    with pytest.raises(ValueError, match="shapes"):
        foreground.from_json({**foreground.to_json(AXIS), "mean": [1.0]})
