"""Do the matches agree on one movement of the coat? Affine RANSAC with a seed from the pair."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DRAWS = 256
TOLERANCE = 0.03  # of the window's long side: a coat bends
FEWEST = 4  # matches; three always agree


@dataclass(frozen=True, slots=True)
class AffineFit:
    """How far matches agree on an affine map from the first picture to the second.

    Attributes:
        inliers: matches that agree.
        residual: their root mean square distance from the map, share of the window's long side.
        stretch: how much the map enlarges, 1 = not at all; the root of its area's factor.
        shear: the map's longest over its shortest stretch, at least 1.
        area: of the windows that the inliers spread over, the smaller share of the two.
    """

    inliers: int
    residual: float
    stretch: float
    shear: float
    area: float


NONE = AffineFit(0, float("nan"), float("nan"), float("nan"), 0.0)


def pair_seed(a: str, b: str) -> int:
    """A seed for two ids; the same for both orders, machines and versions of Python."""
    text = "\n".join(sorted((a, b)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def affine_agreement(
    first: NDArray[np.float32],
    second: NDArray[np.float32],
    sizes: tuple[NDArray[np.float32], NDArray[np.float32]],
    seed: int,
) -> AffineFit:
    """The affine map that most matches agree on.

    Args:
        first, second: (m, 2) float32, the same points in both pictures, pixels.
        sizes: width and height of both pictures.
        seed: of the draws, see `pair_seed`.

    Returns:
        What the best of DRAWS maps through three matches, fitted again to its inliers, says; nothing
        agrees (0 inliers) where there are fewer than four matches, or all draws lie on a line.
    """
    m = len(first)
    if m < FEWEST:
        return NONE
    a = np.asarray(first, np.float64) / float(max(sizes[0]))
    b = np.asarray(second, np.float64) / float(max(sizes[1]))
    drawn = np.random.default_rng(seed).random((DRAWS, m)).argpartition(2, axis=1)[:, :3]
    maps, usable = _through_three(a[drawn], b[drawn])
    if not usable.any():
        return NONE
    homogeneous = np.concatenate([a, np.ones((m, 1))], axis=1)
    errors = np.linalg.norm(homogeneous @ maps - b, axis=2)  # (draws, m)
    # Truncated squares, so that of two maps with as many inliers the closer one wins.
    costs = np.minimum(errors**2, TOLERANCE**2).sum(axis=1)
    costs[~usable] = np.inf
    inside = errors[int(costs.argmin())] <= TOLERANCE
    if inside.sum() < FEWEST:
        return NONE
    fitted = np.linalg.lstsq(homogeneous[inside], b[inside], rcond=None)[0]
    error = np.linalg.norm(homogeneous @ fitted - b, axis=1)
    agreed = error <= TOLERANCE
    if agreed.sum() < FEWEST:
        return NONE
    stretches = np.linalg.svd(fitted[:2], compute_uv=False)
    if stretches[1] <= 1e-6:
        return NONE
    return AffineFit(
        inliers=int(agreed.sum()),
        residual=float(np.sqrt((error[agreed] ** 2).mean())),
        stretch=float(np.sqrt(stretches[0] * stretches[1])),
        shear=float(stretches[0] / stretches[1]),
        area=min(_spread(first[agreed], sizes[0]), _spread(second[agreed], sizes[1])),
    )


def _through_three(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(draws, 3, 2) maps that take three points to three others; False where they lie on a line."""
    sides = np.stack([a[:, 1] - a[:, 0], a[:, 2] - a[:, 0]], axis=1)
    goals = np.stack([b[:, 1] - b[:, 0], b[:, 2] - b[:, 0]], axis=1)
    area = sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0]
    usable = np.abs(area) > 1e-4
    over = 1 / np.where(usable, area, 1.0)
    inverse = np.empty_like(sides)
    inverse[:, 0, 0], inverse[:, 1, 1] = sides[:, 1, 1] * over, sides[:, 0, 0] * over
    inverse[:, 0, 1], inverse[:, 1, 0] = -sides[:, 0, 1] * over, -sides[:, 1, 0] * over
    linear = inverse @ goals
    shift = b[:, 0] - (a[:, 0, None] @ linear)[:, 0]
    # A map that shrinks or turns the picture over is no movement of an animal.
    factor = np.linalg.det(linear)
    usable &= (factor > 0.1) & (factor < 10)
    return np.concatenate([linear, shift[:, None]], axis=1), usable


def _spread(points: NDArray[np.float32], size: NDArray[np.float32]) -> float:
    """Share of the picture over which points lie, were they spread evenly over a rectangle."""
    covariance = np.cov(points.astype(np.float64).T)
    area = 12 * np.sqrt(max(0.0, float(np.linalg.det(covariance))))
    return float(min(1.0, area / float(size[0] * size[1])))
