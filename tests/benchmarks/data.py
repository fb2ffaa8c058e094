"""Embeddings to measure speed on: shaped like those of real animals, with known individuals.

Images an individual follow a power law (most have a few, some hundreds). Individuals come in
families that look alike, images stray from their individual by an amount that differs from image to
image. The spreads are set so that DBSCAN (min_samples 2) at its best ε
reaches an ARI of about 0.9 (0.907 at n = 20,000 and 0.897 at 50,000, both at ε = 0.38, seed 0);
`graph.py` measures it again in every run.
"""

import numpy as np
import numpy.typing as npt

FAMILY_SIZE = 20
FAMILY_COSINE = 0.45
LIKENESS_SPREAD = 0.17
STRAY_MEDIAN = 0.68
STRAY_SPREAD = 0.38
POWER = 1.3
MOST_IMAGES = 200


def bench_rows(
    n: int, d: int = 512, seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """(n, d) float32 unit rows in random order, and the individual of each (n,) int64."""
    rng = np.random.default_rng(seed)
    sizes: list[int] = []
    total = 0
    while total < n:
        sizes.append(min(int(2 * rng.pareto(POWER)) + 1, MOST_IMAGES, n - total))
        total += sizes[-1]
    individual = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))

    def noise(rows: int) -> npt.NDArray[np.float32]:
        return rng.standard_normal((rows, d), dtype=np.float32) / np.float32(np.sqrt(d))

    families = noise(-(-len(sizes) // FAMILY_SIZE))
    cosine = np.clip(rng.normal(FAMILY_COSINE, LIKENESS_SPREAD, (len(sizes), 1)), 0, 0.95)
    cosine = cosine.astype(np.float32)
    centres = np.sqrt(cosine) * np.repeat(families, FAMILY_SIZE, axis=0)[: len(sizes)]
    centres += np.sqrt(1 - cosine) * noise(len(sizes))
    stray = np.exp(rng.normal(np.log(STRAY_MEDIAN), STRAY_SPREAD, (n, 1))).astype(np.float32)
    rows = np.empty((n, d), np.float32)
    for start in range(0, n, 2**16):
        part = slice(start, start + 2**16)
        rows[part] = centres[individual[part]]
        rows[part] += stray[part] * noise(len(rows[part]))
        rows[part] /= np.linalg.norm(rows[part], axis=1, keepdims=True)
    return rows, individual
