"""The radius graph on a GPU: all rows lie there once, and each block of rows is compared with all behind it.

A strip is such a block and what it is compared with. Its pairs are screened by one launch of the fused
kernel, or tile by tile; what passes is measured and sorted where it is found, and only edges travel, once
a strip, while the next one is computed. The low-precision copy of every row stays on the device; the
exact rows stay there too if there is room, else candidates are measured on the host, which holds them.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from reid.errors import InputError, MissingPackageError
from reid.neighbors.edge_arrays import Edges
from reid.neighbors.hits import hits, scores_at
from reid.neighbors.measure import near_pairs_cpu, near_pairs_torch
from reid.neighbors.screen import (
    ScreenedRows,
    as_tensor,
    lowered,
    score_error,
    scores,
    with_columns,
)
from reid.neighbors.unit_rows import UNIT_TOLERANCE, check_unit_rows
from reid.transfers import begin_to_host

if TYPE_CHECKING:
    import torch

Pairs: TypeAlias = "tuple[torch.Tensor, torch.Tensor]"  # local indices i and j, (m,) each
# Screens rows a against rows b at a threshold, a being the first rows of b or apart from them: begins,
# and gives what waits for the end.
Screen = Callable[[ScreenedRows, ScreenedRows, float, bool], Callable[[], "Pairs"]]
# Finds the edges, and gives what waits until they are on the host.
Begun = Callable[[], Callable[[], Edges]]

STRIP_ROWS = (
    16384  # one in 60 pairs of 10⁶ rows lies below the diagonal and is computed for nothing
)
COPY_BYTES = 2**26  # rows that are copied to the device at once
EXACT_SHARE = 0.8  # of the budget that all rows may take; the rest is for pairs


@dataclass(frozen=True)
class StripSearch:
    """All rows on a device, ready to be compared strip by strip; made by `put_rows` and a screen.

    Attributes:
        rows: all of them.
        radius: largest cosine distance kept, 0 < radius < 2.
        screen: finds what may be within the radius.
    """

    rows: ScreenedRows
    radius: float
    screen: Screen

    def begin(self, first: slice, start: int) -> Begun:
        """Begin to compare the rows `first` with all rows from `start` on.

        Args:
            first: rows of the strip.
            start: first.start, so that each pair comes once; or first.stop or more.
        """
        whole = slice(start, len(self.rows.low))
        a, b = part_of(self.rows, first), part_of(self.rows, whole)
        return begin_pairs(a, b, self.radius, self.screen, a_start=first.start, b_start=start)

    def edges(self, strips: Iterable[tuple[slice, int]]) -> Iterator[Edges]:
        """The edges of one strip after the other; while one is handed on, the next is computed."""
        finish: Callable[[], Edges] | None = None
        for first, start in strips:
            find = self.begin(first, start)
            if finish is not None:
                yield finish()
            finish = find()
        if finish is not None:
            yield finish()


def begin_pairs(
    a: ScreenedRows, b: ScreenedRows, radius: float, screen: Screen, *, a_start: int, b_start: int
) -> Begun:
    """Begin to compare rows a with rows b.

    Args:
        a: rows a_start … of the whole; few, where one side is smaller.
        b: rows b_start … of the whole. With b_start = a_start they begin with those of a, and every
            pair is still found once.
        radius, screen: as in `StripSearch`.
        a_start, b_start: a_start ≤ b_start.

    Returns:
        A function that finds the edges, and gives one that has them on the host: (m, 2) int32 with
        i < j, sorted, and distances (m,) float32. The first is to be called before another begins.
    """
    import torch

    diagonal = a_start == b_start
    wait = screen(a, b, 1 - radius - score_error(a, b), diagonal)

    def find() -> Callable[[], Edges]:
        i, j = wait()
        if a.exact.device == a.low.device:
            i, j, distance = near_pairs_torch(a, b, i.long(), j.long(), radius, diagonal)
        else:  # exact rows are on the host, and so are candidates then
            near = near_pairs_cpu(a, b, i.long().cpu(), j.long().cpu(), radius, diagonal)
            i, j, distance = (torch.from_numpy(x).to(a.low.device) for x in near)
        key, order = torch.sort((i + a_start) << 32 | (j + b_start))
        edges = torch.stack([key >> 32, key & 0xFFFFFFFF], dim=1).int()
        copied = begin_to_host(edges, distance[order])

        def finish() -> Edges:
            found, distances = copied()
            return found, distances

        return finish

    return find


def screen_of(backend: str, tile: int) -> Screen:
    """What finds pairs that may be within a radius.

    Args:
        backend: `torch`, `triton` or `int8`.
        tile: rows of b whose scores are held at once; the fused kernel holds none.

    Raises:
        InputError: the backend builds no radius graph.
        MissingPackageError: triton is not installed.
    """
    import torch

    if backend == "torch":

        def tiled(
            a: ScreenedRows, b: ScreenedRows, threshold: float, diagonal: bool
        ) -> Callable[[], Pairs]:
            def find() -> Pairs:
                found = list(screened_pairs(a, b, threshold, diagonal, tile))
                none = torch.empty(0, dtype=torch.int64, device=a.low.device)
                i = torch.cat([none, *(i for i, _, _ in found)])
                return i, torch.cat([none, *(j for _, j, _ in found)])

            return find

        return tiled
    if backend not in ("triton", "int8"):
        raise InputError(
            f"backend: {backend} finds nearest neighbours only; for a radius graph use torch"
        )
    try:
        from reid.neighbors.fused_triton import FusedSearch
        from reid.neighbors.marked_triton import MarkedSearch
    except ImportError as error:
        raise MissingPackageError(
            f"backend: triton is not installed ({error}); pip install triton, or use torch"
        ) from error
    return FusedSearch().begin if backend == "triton" else MarkedSearch().begin


def screened_pairs(
    a: ScreenedRows, b: ScreenedRows, threshold: float, diagonal: bool, tile: int
) -> "Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]]":
    """Pairs whose score reaches `threshold`, a tile of scores at a time.

    Yields:
        Local indices i in a and j in b, and on a CPU their scores, float32.
    """
    import torch

    columns = with_columns(a).columns if a.columns is None else a.columns
    assert columns is not None
    buffer = torch.empty(
        (min(tile, len(b.low)), len(a.low)), dtype=a.low.dtype, device=a.low.device
    )
    for start in range(0, len(b.low), tile):
        rows = ScreenedRows(b.exact, b.low[start : start + tile], b.error)
        # On the diagonal, columns past the last row of the tile hold only pairs with i > j.
        width = min(start + tile, len(a.low)) if diagonal else len(a.low)
        out = buffer.view(-1)[: len(rows.low) * width].view(len(rows.low), width)
        screened = scores(rows, columns[:, :width], out)
        j, i = hits(screened, threshold)
        yield i, j + start, scores_at(screened, j, i) if screened.device.type == "cpu" else None


def put_rows(
    embeddings: np.ndarray, backend: str, device: str, budget: int, *, checked: bool
) -> ScreenedRows:
    """All rows in low precision on a device, and exact there or, without room, on the host.

    Args:
        embeddings: (n, d) float32, unit rows.
        backend: `torch`, `triton` or `int8`.
        device: a torch device; on the CPU all of this does the same, slowly.
        budget: bytes of the device's memory to use.
        checked: the caller has seen that the rows are unit; if not, it is seen on the device.

    Raises:
        InputError: rows that are not unit.
    """
    import torch

    n, d = embeddings.shape
    low: torch.Tensor | None = None
    error, step, unit = 0.0, 0.0, True
    # float32, and bfloat16 or less.
    exact = torch.empty(n, d, device=device) if 6 * n * d <= EXACT_SHARE * budget else None
    for part, rows in _chunks(embeddings, device):
        if not checked:
            length = torch.linalg.vector_norm(rows, dim=1)
            unit = unit and bool(((length - 1).abs() <= UNIT_TOLERANCE).all())
        ready = lowered(rows, backend)
        if low is None:
            low = ready.low.new_empty(n, ready.low.shape[1])
        low[part] = ready.low
        if exact is not None:
            exact[part] = rows
        error, step = max(error, ready.error), ready.step
    if not unit:
        check_unit_rows(embeddings)  # says which, and has the last word on what lies on the border
    if low is None:
        ready = lowered(torch.empty(0, d, device=device), backend)
        low, step = ready.low, ready.step
    return ScreenedRows(as_tensor(embeddings) if exact is None else exact, low, error, step=step)


def _chunks(embeddings: np.ndarray, device: str) -> "Iterator[tuple[slice, torch.Tensor]]":
    """Parts of the rows, copied through two pinned buffers: one is filled while the other travels."""
    import torch

    n, d = embeddings.shape
    step = max(1, COPY_BYTES // (4 * d))
    on_gpu = torch.device(device).type == "cuda"
    buffers = [torch.empty(min(step, n), d, pin_memory=on_gpu) for _ in range(2 if on_gpu else 0)]
    copied: list[torch.cuda.Event | None] = [None, None]
    for number, start in enumerate(range(0, n, step)):
        part = slice(start, min(start + step, n))
        rows = as_tensor(embeddings[part])
        if on_gpu:
            event = copied[number % 2]
            if event is not None:
                event.synchronize()
            buffer = buffers[number % 2][: len(rows)]
            buffer.copy_(rows)
            rows = buffer.to(device, non_blocking=True)
            event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            event.record(torch.cuda.current_stream(rows.device))
            copied[number % 2] = event
        yield part, rows


def part_of(rows: ScreenedRows, part: slice) -> ScreenedRows:
    """Some of the rows, where they are."""
    return ScreenedRows(rows.exact[part], rows.low[part], rows.error, step=rows.step)
