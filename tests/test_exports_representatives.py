"""Which picture stands for a cluster."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from reid.errors import InputError
from reid.exports.representatives import nearness_to_own, representatives, sharpness


def test_a_blurred_or_small_picture_is_less_sharp() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    blurred = picture.filter(ImageFilter.GaussianBlur(2))
    small = picture.resize((80, 60))
    assert sharpness(picture) > sharpness(blurred)
    assert sharpness(picture) > sharpness(small)
    assert sharpness(Image.new("RGB", (40, 1), "red")) == 0


def test_the_medoid_is_the_row_with_the_largest_mean_cosine() -> None:
    drawn = np.random.default_rng(0).normal(size=(30, 5))
    rows = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float32)
    clusters = np.random.default_rng(1).integers(0, 6, 30)
    clusters[:6] = range(6)
    rows[7] = np.nan
    found = representatives(clusters, nearness_to_own(rows, clusters))
    for cluster, chosen in enumerate(found):
        own = [i for i in np.flatnonzero(clusters == cluster) if i != 7]
        assert chosen == max(own, key=lambda i: sum(float(rows[i] @ rows[j]) for j in own))


def test_of_equal_scores_the_first_is_taken() -> None:
    clusters = np.asarray([1, 0, 1, 0, 2])
    assert representatives(clusters, np.zeros(5)).tolist() == [1, 0, 4]
    assert representatives(clusters, np.asarray([0.0, 0, 1, 2, 0])).tolist() == [3, 2, 4]
    with pytest.raises(InputError, match="4 scores of 5 rows"):
        representatives(clusters, np.zeros(4))
