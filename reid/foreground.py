"""Where the animal is, by the patch tokens of all pictures of a species: what differs most is animal and scene.

The first principal component of the tokens tells the two apart; which end is the animal is decided by the
borders of the pictures, which show more scene. The components come from a covariance that is summed up block by
block, so that no more than one block of tokens is ever held.

Source: Oquab et al., "DINOv2: Learning robust visual features without supervision", 2023 (the principal components of patch features).
Differs: one analysis a species, not of a few pictures; the sign is decided by the borders; the three colours are
components of all patches, not of a second analysis of the foreground alone.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reid.errors import InputError

RULE = 1  # raised where the numbers below would come out otherwise
COMPONENTS = 3
SOFTNESS = 4.0  # of soft weights: from an eighth to seven eighths within a standard deviation
COLOUR_SPREADS = 2.0  # standard deviations from the middle of a colour to its end
WEIGHTS = ("hard", "soft")


@dataclass(frozen=True)
class Moments:
    """What is kept of the tokens seen so far; see `add_tokens`.

    Attributes:
        images: how many.
        patches: tokens of all of them.
        mean: (d,) float64.
        scatter: (d, d) float64, sum of the outer products of tokens less the mean.
        border: (d,) float64, mean of the tokens at the borders of the pictures.
        inside: (d,) float64, mean of the others.
    """

    images: int
    patches: int
    mean: NDArray[np.float64]
    scatter: NDArray[np.float64]
    border: NDArray[np.float64]
    inside: NDArray[np.float64]


@dataclass(frozen=True)
class Foreground:
    """The axis that tells animal from scene, and the two behind it.

    Attributes:
        images: of how many it was found.
        mean: (d,) float32 mean token.
        components: (3, d) float32, unit rows. The first grows towards the animal; of the others the number
            with the largest size is positive.
        spreads: (3,) float32 standard deviations of the tokens along them.
        shares: (3,) float32 shares of the whole variance.
    """

    images: int
    mean: NDArray[np.float32]
    components: NDArray[np.float32]
    spreads: NDArray[np.float32]
    shares: NDArray[np.float32]


def no_moments(width: int) -> Moments:
    """Nothing seen yet, of tokens of `width` numbers."""
    nothing = np.zeros(width)
    return Moments(0, 0, nothing, np.zeros((width, width)), nothing, nothing)


def add_tokens(moments: Moments, tokens: NDArray[np.floating]) -> Moments:
    """With some pictures more.

    Source: Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979.

    Args:
        moments: of the pictures before.
        tokens: (n, side, side, d) of n pictures; a block that fits into memory twice as float32.
    """
    if not len(tokens):
        return moments
    block = tokens.astype(np.float32)
    flat = block.reshape(-1, block.shape[-1])
    total = moments.patches + len(flat)
    mean = flat.mean(axis=0, dtype=np.float64)
    # Less the block's own mean, single precision keeps what matters; blocks are summed in double.
    flat = flat - mean.astype(np.float32)
    between = mean - moments.mean
    scatter = flat.T @ flat + np.outer(between, between) * (moments.patches * len(flat) / total)
    images = moments.images + len(block)
    edge = border_of(block.shape[1])
    new = len(block) / images
    return Moments(
        images,
        total,
        moments.mean + between * (len(flat) / total),
        moments.scatter + scatter,
        moments.border + (block[:, edge].mean((0, 1), np.float64) - moments.border) * new,
        moments.inside + (block[:, ~edge].mean((0, 1), np.float64) - moments.inside) * new,
    )


def border_of(side: int) -> NDArray[np.bool_]:
    """(side, side) True for the outermost patches."""
    edge = np.ones((side, side), np.bool_)
    edge[1:-1, 1:-1] = False
    return edge


def find_foreground(moments: Moments) -> Foreground:
    """The principal components of all tokens that were added.

    Raises:
        InputError: all tokens are the same.
    """
    values, vectors = np.linalg.eigh(moments.scatter / max(1, moments.patches))
    values = np.maximum(values[::-1], 0)
    axes = vectors.T[::-1][:COMPONENTS].copy()
    if len(axes) < COMPONENTS or not values[0] > 0:
        raise InputError(
            f"the patch tokens of {moments.images:,} images are all the same: nothing tells animal from scene"
        )
    largest = axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)]
    axes[largest < 0] *= -1
    # The borders of a picture show more scene than its middle does.
    if axes[0] @ (moments.inside - moments.border) < 0:
        axes[0] *= -1
    return Foreground(
        moments.images,
        moments.mean.astype(np.float32),
        axes.astype(np.float32),
        np.sqrt(values[:COMPONENTS]).astype(np.float32),
        (values[:COMPONENTS] / values.sum()).astype(np.float32),
    )


def scores(tokens: NDArray[np.floating], found: Foreground) -> NDArray[np.float32]:
    """(…, d) tokens to (…, 3): how far along each component, in its standard deviations."""
    along = (tokens.astype(np.float32) - found.mean) @ found.components.T
    return np.asarray(along / np.maximum(found.spreads, np.float32(1e-12)), np.float32)


def patch_weights(
    first: NDArray[np.float32], *, weights: str, threshold: float
) -> NDArray[np.float32]:
    """How much each patch counts.

    Args:
        first: scores along the first component.
        weights: `hard`: 1 above the threshold, else 0; `soft`: the logistic function of four times what the
            score is above it.
        threshold: standard deviations.

    Raises:
        InputError: unknown weights.
    """
    if weights not in WEIGHTS:
        raise InputError(f"weights {weights!r}; known: {', '.join(WEIGHTS)}")
    above = first - np.float32(threshold)
    if weights == "hard":
        return (above > 0).astype(np.float32)
    return np.asarray(1 / (1 + np.exp(-np.float32(SOFTNESS) * above)), np.float32)


def pool_tokens(
    tokens: NDArray[np.floating], found: Foreground, *, weights: str, threshold: float
) -> NDArray[np.float32]:
    """The weighted mean of the tokens of each picture, at length one.

    Args:
        tokens: (n, patches, d).
        found: of the species.
        weights, threshold: as in `patch_weights`.

    Returns:
        (n, d) float32; NaN for a picture of which no patch counts.
    """
    block = tokens.astype(np.float32)
    counts = patch_weights(scores(block, found)[..., 0], weights=weights, threshold=threshold)
    pooled = np.einsum("np,npd->nd", counts, block)
    length = np.linalg.norm(pooled, axis=1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        rows = np.where(length > 0, pooled / length, np.float32(np.nan))
    return rows.astype(np.float32)


def foreground_window(
    first: NDArray[np.float32], threshold: float
) -> tuple[float, float, float, float] | None:
    """The box around the largest connected piece of foreground, as a window of the crop.

    One stray patch at the edge would else stretch the box over the whole picture.

    Args:
        first: (side, side) scores along the first component.
        threshold: standard deviations.

    Returns:
        left, top, right, bottom as shares of the crop's sides; None where no patch is foreground.
    """
    from scipy import ndimage

    pieces, count = ndimage.label(first > threshold)
    if not count:
        return None
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    high, wide = ndimage.find_objects(pieces)[int(sizes.argmax()) - 1]
    side = len(first)
    return wide.start / side, high.start / side, wide.stop / side, high.stop / side


def as_colours(measured: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(…, 3) scores to (…, 3) red, green and blue; grey is the mean patch."""
    middle = measured / (2 * COLOUR_SPREADS) + 0.5
    return np.asarray(np.round(middle.clip(0, 1) * 255), np.uint8)


def to_json(found: Foreground) -> dict[str, object]:
    """As plain JSON values; `from_json` gives the same again."""
    return {
        "images": found.images,
        **{
            name: np.asarray(getattr(found, name), np.float64).tolist()
            for name in ("mean", "components", "spreads", "shares")
        },
    }


def from_json(value: dict[str, object]) -> Foreground:
    """What `to_json` made.

    Raises:
        KeyError, TypeError, ValueError: it is something else.
    """
    arrays = {
        name: np.asarray(value[name], np.float32)
        for name in ("mean", "components", "spreads", "shares")
    }
    found = Foreground(images=int(str(value["images"])), **arrays)
    width = len(found.mean)
    shapes = (found.mean.shape, found.components.shape, found.spreads.shape, found.shares.shape)
    if shapes != ((width,), (COMPONENTS, width), (COMPONENTS,), (COMPONENTS,)):
        raise ValueError(f"shapes {shapes}")
    return found
