"""A screen of a few numbers a row: the coordinates in which the rows differ most, and what is left.

For CPUs that multiply bfloat16 no faster than float32, and for embeddings that vary in far fewer
directions than they have numbers, as those of photographs do. It drops only pairs that are farther
than the radius for certain, so it never changes a result; whether it pays depends on the rows and
the radius, and `choose_basis` measures that on a sample.

The bound, for a matrix V (d, k), k ≤ d, and L the longest row. Let V = Q H be the polar
decomposition: Q has orthonormal columns and ‖H − I‖ ≤ ‖VᵀV − I‖ = δ, because |√x − 1| ≤ |x − 1| for
x ≥ 0. With q = Qᵀa, a·b = q_a·q_b + (a − Q q_a)·(b − Q q_b), and by Cauchy–Schwarz the last term is
at most ‖a − Q q_a‖ ‖b − Q q_b‖, where ‖a − Q q_a‖² = ‖a‖² − ‖q_a‖².

What is stored is p, Vᵀa as float32 computes it. ‖p − q_a‖ ≤ ‖(H − I) q_a‖ + rounding ≤ ε, with ε
from the measured δ and the rounding of sums of `SUM` products (`_coordinate_error`). So
‖q_a‖ ≥ ‖p‖ − ε, and ‖a − Q q_a‖² ≤ ‖a‖² − ‖p‖² + 2ε‖p‖, which is computed in float64 and whose root
t is rounded up. A screened row is [p, t], its length at most L + 2ε, and
a·b ≤ [p, t]_a · [p, t]_b + 2ε(L + ε): with `error` = 2ε it is within what `score_error` allows. V need
not be orthonormal, nor fit the rows: a poor V makes t large and drops little.
"""

import itertools
import time
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from reid.neighbors.hits import hits
from reid.neighbors.measure import near_pairs_cpu
from reid.neighbors.screen import (
    ScreenedRows,
    as_tensor,
    choose_backend,
    prepare,
    score_error,
    scores,
    with_columns,
)
from reid.neighbors.unit_rows import UNIT_TOLERANCE

Floats = NDArray[np.float32]

LENGTHS = (64, 128, 256)  # coordinates that are tried, where they are at most half of a row
WORTH = 1.5  # times faster than the other screen, or `auto` leaves it
# Products of a row with a basis summed in float32; the sums of those are added in float64.
SUM = 128
BASIS_SAMPLE = 4096  # rows that the directions are taken from
TIMED_SAMPLE = 1024  # rows on either side that screens are tried on
MEASURED = 5_000  # pairs of those that are measured, for the time that all of them would take
# Numbers to multiply (pairs × dimensions) below which choosing would take longer than it saves.
LEAST_WORK = 2e11


def choose_basis(
    embeddings: Floats,
    radius: float,
    *,
    new_from: int = 0,
    backend: str = "auto",
    device: str = "cpu",
) -> Floats | None:
    """What to screen these rows with: directions, as many as are fastest on a sample, or None.

    It takes about half a second and cannot change a result.

    Args:
        embeddings: (n, d) float32, unit rows.
        radius: largest cosine distance kept, 0 < radius < 2.
        new_from: as in `stream_edges`: only pairs with a row from here on are compared.
        backend: `prefix` always gives a basis if there are rows; `auto` where bfloat16 is not
            faster than float32 and it is WORTH it; any other gives None.
        device: only "cpu" has this screen.

    Returns:
        (d, k) float32 for `prefix_rows`, or None: use `screen.prepare`.

    Raises:
        InputError: as `choose_backend`.
    """
    import torch

    n, d = embeddings.shape
    pairs = (n - new_from) * (n + new_from) / 2
    plain = choose_backend(n, d, device, backend)
    named = plain == "prefix"
    on_cpu = torch.device(device).type == "cpu"
    # Where bfloat16 is fast, choosing took most of what a prefix gained.
    if not named and (
        backend != "auto" or not on_cpu or plain != "numpy" or pairs * d < LEAST_WORK
    ):
        return None
    lengths = [k for k in LENGTHS if 2 * k <= d]
    if n == new_from or (not named and not lengths):
        return None
    lengths = lengths or [max(1, d // 2)]
    random = np.random.default_rng(0)
    directions = leading_directions(_sample(embeddings, 0, BASIS_SAMPLE, random), lengths[-1])
    if named and len(lengths) == 1:
        return directions
    left = _sample(embeddings, 0, TIMED_SAMPLE, random)
    right = _sample(embeddings, new_from, TIMED_SAMPLE, random)
    bases = [np.ascontiguousarray(directions[:, :k]) for k in lengths]
    screens: list[Callable[[Floats], ScreenedRows]] = [
        partial(prefix_rows, basis=it) for it in bases
    ]
    if not named:
        screens.append(partial(prepare, backend=plain, device=device))
    preparing, comparing = _seconds(screens, left, right, radius)
    costs = preparing * n + comparing * pairs
    best = int(np.argmin(costs[: len(bases)]))
    return bases[best] if named or costs[-1] >= WORTH * costs[best] else None


def leading_directions(rows: Floats, k: int) -> Floats:
    """At most k orthonormal directions (d, ≤ k) float32 in which rows are longest, longest first.

    Nearly the leading eigenvectors of the second moment: one step of a randomised subspace
    iteration with a few directions to spare. A second step left a tenth fewer pairs in a screen
    and took as long as it saved at 20,000 rows. Rows that span fewer dimensions give fewer.

    Source: Halko, Martinsson and Tropp 2011, algorithms 4.4 and 5.3.
    Differs: eigenvectors of small products in place of QR, which waits for all threads at each of
        its steps.

    Args:
        rows: (n, d) float32, n ≥ 1.
        k: 1 ≤ k ≤ d.
    """
    d = rows.shape[1]
    random = np.random.default_rng(0)
    found = random.standard_normal((d, min(d, k + 16)), dtype=np.float32)
    found = (rows.T @ (rows @ found)).astype(np.float64)
    squares, turn = np.linalg.eigh(found.T @ found)
    # What is shorter than this is rounding.
    real = squares > 1e-10 * squares[-1]
    found = found @ (turn[:, real] / np.sqrt(squares[real]))
    inside = (rows @ found.astype(np.float32)).astype(np.float64)
    turn = np.linalg.eigh(inside.T @ inside)[1][:, ::-1]
    directions: Floats = (found @ turn[:, :k]).astype(np.float32)
    return directions


def prefix_rows(rows: Floats, basis: Floats) -> ScreenedRows:
    """Rows (b, d) float32, to be screened by k + 1 numbers each; see the module for the proof.

    Args:
        rows: (b, d) float32, unit rows.
        basis: (d, k) float32, k ≤ d, the same for all rows that are compared.
    """
    import torch

    coordinates = np.zeros((len(rows), basis.shape[1]))
    for start in range(0, len(basis), SUM):
        part = slice(start, start + SUM)
        coordinates += rows[:, part] @ basis[part]
    low = np.empty((len(rows), basis.shape[1] + 1), np.float32)
    low[:, :-1] = coordinates
    error = _coordinate_error(basis)
    inside = np.einsum("ij,ij->i", low[:, :-1], low[:, :-1], dtype=np.float64)
    whole = np.einsum("ij,ij->i", rows, rows, dtype=np.float64)
    # 1e-12: more than float64 rounds these sums by.
    rest = np.maximum(whole - inside + 2 * error * np.sqrt(inside), 0) + 1e-12
    low[:, -1] = np.sqrt(rest)
    # The cast rounded to nearest; up is needed.
    low[:, -1] = np.nextafter(low[:, -1], np.float32(np.inf))
    return ScreenedRows(as_tensor(rows), torch.from_numpy(low), 2 * error + 1e-6)


def _coordinate_error(basis: Floats) -> float:
    """The most by which stored coordinates of a row differ from those in the orthonormal basis."""
    wide = basis.astype(np.float64)
    defect = float(np.linalg.norm(wide.T @ wide - np.eye(basis.shape[1])))
    # SUM products, of lengths ‖row‖ and at most ‖basis‖, then one more rounding of the sum.
    rounding = (SUM + 1) * 2.0**-23 * (1 + float(np.linalg.norm(wide)))
    return (defect + rounding) * (1 + UNIT_TOLERANCE)


def _sample(rows: Floats, start: int, most: int, random: np.random.Generator) -> Floats:
    """At most so many rows from `start` on, in their order."""
    count = len(rows) - start
    return rows[start + np.sort(random.choice(count, min(most, count), replace=False))]


def _seconds(
    screens: list[Callable[[Floats], ScreenedRows]], left: Floats, right: Floats, radius: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What each screen takes: seconds a row to prepare, seconds a pair to find those in the radius.

    The best of three turns, so that what else the machine does at the moment decides nothing.
    """
    out = np.empty(len(left) * len(right), np.float32)
    took = np.empty((3, len(screens), 3))
    some = slice(0, MEASURED)
    for turn, which in itertools.product(range(len(took)), range(len(screens))):
        clock = [time.perf_counter()]
        a, b = screens[which](left), screens[which](right)
        clock.append(time.perf_counter())
        columns = with_columns(a).columns
        assert columns is not None
        place = as_tensor(out).view(a.low.dtype)[: len(right) * len(left)]
        screened = scores(b, columns, place.view(len(right), len(left)))
        j, i = hits(screened, 1 - radius - score_error(a, b))
        clock.append(time.perf_counter())
        near_pairs_cpu(a, b, i[some], j[some], radius, diagonal=False)
        clock.append(time.perf_counter())
        took[turn, which] = np.diff(clock)
        took[turn, which, 2] *= max(1, len(i) / MEASURED)
    preparing, scanning, measuring = took.min(axis=0).T
    return preparing / (len(left) + len(right)), (scanning + measuring) / (len(left) * len(right))
