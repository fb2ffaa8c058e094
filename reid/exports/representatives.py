"""One picture a cluster: which stands for the others."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from reid.errors import InputError

KEEP = ("sharpest", "medoid", "first")
SIDE_PX = 256  # long side of all crops as their sharpness is measured: small ones are smooth then


def sharpness(picture: Image.Image) -> float:
    """Variance of the Laplacian of the luminance (0 to 255), at a long side of SIDE_PX.

    Source: Pech-Pacheco et al. 2000, "Diatom autofocusing in brightfield microscopy", LAPV.
    """
    share = SIDE_PX / max(picture.size)
    size = (max(3, round(picture.width * share)), max(3, round(picture.height * share)))
    grey = np.asarray(picture.convert("L").resize(size, Image.Resampling.BILINEAR), np.float32)
    laplacian = (
        grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    )
    return float(laplacian.var())


def nearness_to_own(
    vectors: NDArray[np.float32], clusters: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n,) mean cosine of each row to all of its cluster; the medoid's is the largest.

    Args:
        vectors: (n, d) float32, unit rows; NaN where a row has none.
        clusters: (n,) from 0.
    """
    rows = np.nan_to_num(vectors).astype(np.float64)
    sums = np.zeros((int(clusters.max(initial=-1)) + 1, rows.shape[1]))
    np.add.at(sums, clusters, rows)
    near: NDArray[np.float64] = np.einsum("nd,nd->n", rows, sums[clusters])
    near /= np.bincount(clusters)[clusters]
    near[np.isnan(vectors).any(axis=1)] = -np.inf
    return near


def representatives(clusters: NDArray[np.int64], score: NDArray[np.float64]) -> NDArray[np.int64]:
    """(clusters,) the row of the highest score in each; of equal ones the first.

    Args:
        clusters: (n,) from 0, none of them empty.
        score: (n,).

    Raises:
        InputError: numbers that differ.
    """
    if len(score) != len(clusters):
        raise InputError(f"{len(score)} scores of {len(clusters)} rows")
    order = np.lexsort((np.arange(len(clusters)), -score, clusters))
    first = np.flatnonzero(np.diff(clusters[order], prepend=-1))
    return order[first]
