"""How long a closer look at pairs will take here, said before any of it is done.

What is measured is one product of matrices, over in a moment; how many of them a picture, a vote or a matched
pair takes was counted on one machine. It is a guess for planning an afternoon, not a promise.
"""

import functools
import statistics
import time

from reid.precision import Precision

# On an AMD EPYC with AVX-512 and units for bf16, one core: a product of 512 × 512 numbers took 2.7 ms in fp32 and
# 1.2 in bf16; keypoints of a picture 0.21 s, votes of a pair 1.2 ms, LightGlue's match 0.33 s in fp32, 0.19 in bf16.
KEYPOINTS_PRODUCTS, VOTES_PRODUCTS = 76, 0.44
MATCH_PRODUCTS: dict[Precision, float] = {"fp32": 124, "bf16": 157}
# Of the pairs that all images' own lists name, those that are left once each is counted once; on the nyala, where
# lists of 15 gave 9.2 pairs an image.
DIFFERENT = 0.61
TRIES = 5
POINTS = 512  # of a picture, that the figures above are of


def expected_pairs(images: int, a_list: int) -> int:
    """Pairs of `images` of which each lists so many others."""
    return round(min(images * a_list * DIFFERENT, images * (images - 1) / 2))


def expected_seconds(
    images: int, *, wide: int, matched: int, points: int, precision: Precision, cores: int
) -> float:
    """Seconds of a closer look with LightGlue on CPUs, pictures not seen before.

    Args:
        images: of one species.
        wide: of each image, that are voted on.
        matched: of each image, that are matched.
        points: most keypoints of a picture.
        precision: of the network.
        cores: that work beside each other.
    """
    share = points / POINTS
    plain: float = images * KEYPOINTS_PRODUCTS
    plain += expected_pairs(images, wide) * VOTES_PRODUCTS * share**2
    seconds = plain * product_seconds("fp32")
    each = MATCH_PRODUCTS[precision] * share * product_seconds(precision)
    return (seconds + expected_pairs(images, matched) * each) / cores


@functools.cache
def product_seconds(precision: Precision) -> float:
    """Seconds that one core takes for a product of two matrices of 512 × 512; measured once, in some 20 ms."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        rows = torch.full((512, 512), 1 / 512)
        rows = rows.to(torch.bfloat16) if precision == "bf16" else rows
        torch.mm(rows, rows)  # warms up
        taken = []
        for _ in range(TRIES):
            started = time.thread_time()  # of this core alone, whatever else the machine does
            torch.mm(rows, rows)
            taken.append(time.thread_time() - started)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(taken)


def in_words(seconds: float) -> str:
    """`40 s`, `20 min`, `3 hours`: as rough as the guess is."""
    if seconds < 90:
        return f"{max(10, round(seconds, -1)):.0f} s"
    if seconds < 90 * 60:
        minutes = seconds / 60
        return f"{round(minutes) if minutes < 10 else 5 * round(minutes / 5)} min"
    return f"{seconds / 3600:.0f} hours"
