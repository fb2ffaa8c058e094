"""The radius graph: every pair of rows within a distance, once, block by block."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from reid.errors import InputError, MissingPackageError
from reid.neighbors.edges import Edges, Graph, Wanted, join_edges, sort_edges
from reid.neighbors.hits import hits, scores_at
from reid.neighbors.measure import near_pairs
from reid.neighbors.prefix import choose_basis, prefix_rows
from reid.neighbors.row_blocks import block_strips
from reid.neighbors.screen import (
    ScreenedRows,
    budget_bytes,
    choose_backend,
    least_distance,
    prepare,
    score_error,
    scores,
    with_columns,
)
from reid.neighbors.unit_rows import check_unit_rows

if TYPE_CHECKING:
    import torch

MAX_ROWS = 2**31 - 1


def edges_of_block(
    a: np.ndarray,
    b: np.ndarray,
    radius: float,
    *,
    a_start: int,
    b_start: int,
    backend: str = "auto",
    basis: np.ndarray | None = None,
    device: str = "cpu",
    memory_bytes: int | None = None,
) -> Edges:
    """The edges between two blocks of rows: what one worker does for one block pair.

    That the rows are unit is not looked at again: whoever cut the blocks has checked the whole.

    Args:
        a: (p, d) float32 unit rows, rows a_start … of the whole.
        b: (q, d) float32 unit rows, rows b_start … of the whole. With b_start = a_start the block
            is paired with itself and every pair is still returned once.
        radius: largest cosine distance kept, 0 < radius < 2.
        a_start: index of the first row of `a`; a_start ≤ b_start.
        b_start: index of the first row of `b`.
        backend: see `choose_backend`.
        basis: (d, k) float32 of `choose_basis`: screen with it, whatever `backend` says. Changes no
            result. None: `prefix` finds one in the block `a`, other backends need none.
        device: where the work is done; with a basis the CPU.
        memory_bytes: for the scores of one tile; by default from the device.

    Returns:
        edges (m, 2) int32 with i < j, sorted, and their distances (m,) float32.

    Raises:
        InputError: a radius out of range, dimensions that differ, an unknown backend.
    """
    check_radius(radius)
    if a.shape[1] != b.shape[1]:
        raise InputError(
            f"embeddings have {a.shape[1]} dimensions from row {a_start} and {b.shape[1]} from row "
            f"{b_start}; all must come from the same model"
        )
    if backend == "prefix" and basis is None:
        basis = choose_basis(a, radius, backend=backend, device=device)
    backend = choose_backend(max(len(a), len(b)), a.shape[1], device, backend)
    left = _ready(a, backend, device, basis)
    right = left if a_start == b_start else _ready(b, backend, device, basis)
    tile = _tile_rows(len(a), budget_bytes(device, memory_bytes), device)
    found = _edges(left, right, radius, a_start, b_start, tile, _finder(backend))
    return sort_edges([found])


def stream_edges(
    embeddings: np.ndarray,
    radius: float,
    *,
    new_from: int = 0,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
    block_rows: int | None = None,
    checked: bool = False,
    wanted: Wanted | None = None,
) -> Iterator[Edges]:
    """`radius_graph` in parts, for what does not fit in memory: concatenated, they are the graph.

    Each part holds all edges whose smaller index lies in one block of rows, sorted.

    Args:
        embeddings, radius, backend, device, memory_bytes, block_rows: as in `radius_graph`.
        new_from: rows before this one have been compared with each other already; only pairs with a
            row from here on are looked at.
        checked: the caller has seen that the rows are unit.
        wanted: on a CPU, pairs that it says no to are left out before they are measured.
    """
    check_radius(radius)
    if not checked:
        check_unit_rows(embeddings)
    n, d = embeddings.shape
    if n > MAX_ROWS:
        raise InputError(f"embeddings: {n} rows, at most {MAX_ROWS}; split them, say by species")
    basis = choose_basis(embeddings, radius, new_from=new_from, backend=backend, device=device)
    backend = choose_backend(n, d, device, backend)
    budget = budget_bytes(device, memory_bytes)
    block = block_rows or _block_rows(d, budget, device)
    tile = _tile_rows(block, budget, device)
    find = _finder(backend)
    cuts, strips = block_strips(n, block, new_from)
    rows_of = _blocks(embeddings, cuts, backend, device, basis, budget)
    for k, others in strips:
        left = with_columns(rows_of(k))
        parts = [
            _edges(
                left, left if other == k else rows_of(other), radius,
                cuts[k].start, cuts[other].start, tile, find, wanted,
            )
            for other in others
        ]  # fmt: skip
        yield sort_edges(parts)


def radius_graph(
    embeddings: np.ndarray,
    radius: float,
    *,
    backend: str = "auto",
    device: str = "cpu",
    memory_bytes: int | None = None,
    block_rows: int | None = None,
) -> Graph:
    """Every pair of rows within `radius`, exactly once.

    Pairs are screened in low precision with a proven error bound and all that could be edges are
    measured in float32, so no edge is missed: only a pair within 1e-6 of the radius may fall either
    way. Memory is the edges and a few blocks, never n².

    Args:
        embeddings: (n, d) float32, unit rows; n = 0 and n = 1 give a graph without edges.
        radius: largest cosine distance kept, 0 < radius < 2.
        backend: `auto`, `torch`, `numpy`, `prefix` or `triton`; `choose_backend` and `choose_basis`
            say what `auto` takes.
        device: "cpu", or a torch device such as "cuda".
        memory_bytes: budget for blocks and scores; by default 512 MiB, on a GPU half of what is
            free. Block sizes follow from it.
        block_rows: rows of a block, in place of the size from the budget. Changes no result.

    Returns:
        Graph of `n` nodes; edges (m, 2) int32 with i < j, sorted, and distances (m,) float32.

    Raises:
        InputError: rows that are not unit, a radius out of range, an unknown backend.
    """
    parts = stream_edges(
        embeddings,
        radius,
        backend=backend,
        device=device,
        memory_bytes=memory_bytes,
        block_rows=block_rows,
    )
    return Graph(len(embeddings), *join_edges(parts))


def _blocks(
    embeddings: np.ndarray,
    cuts: list[slice],
    backend: str,
    device: str,
    basis: np.ndarray | None,
    budget: int,
) -> Callable[[int], ScreenedRows]:
    """A function from a block's number to its rows, ready to be screened.

    bfloat16 copies on a CPU are made each time: that is cheap, and all of them would be half as large
    as the embeddings. What is dear to make (projections, copies on a device) is kept where there is
    room.
    """
    import torch

    on_cpu = torch.device(device).type == "cpu"
    row_bytes = 6 * embeddings.shape[1] if basis is None else 4 * (basis.shape[1] + 1)
    dear = basis is not None or not on_cpu
    kept: dict[int, ScreenedRows] | None = (
        {} if dear and len(embeddings) * row_bytes <= budget // 2 else None
    )
    errors: dict[int, float] = {}

    def rows_of(k: int) -> ScreenedRows:
        if kept is not None and k in kept:
            return kept[k]
        ready = _ready(embeddings[cuts[k]], backend, device, basis, errors.get(k))
        errors[k] = ready.error
        if kept is not None:
            kept[k] = ready
        return ready

    return rows_of


def _ready(
    rows: np.ndarray,
    backend: str,
    device: str,
    basis: np.ndarray | None,
    error: float | None = None,
) -> ScreenedRows:
    if basis is not None:
        return prefix_rows(rows, basis)
    return prepare(rows, backend, device, error)


# (block a, block b, threshold, whether they are the same block, rows of a tile) → local indices of pairs
# (i in a, j in b) whose score reaches the threshold, and those scores where they are kept.
Found: TypeAlias = "tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]"
Finder = Callable[[ScreenedRows, ScreenedRows, float, bool, int], Iterator["Found"]]


def _screened_pairs(
    a: ScreenedRows, b: ScreenedRows, threshold: float, diagonal: bool, tile: int
) -> Iterator[Found]:
    """A Finder that computes a tile of scores at a time."""
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


def _finder(backend: str) -> Finder:
    if backend == "triton":
        try:
            from reid.neighbors.fused_triton import fused_pairs
        except ImportError as error:
            raise MissingPackageError(
                f"backend: triton is not installed ({error}); pip install triton, or use torch"
            ) from error
        return lambda *args: ((i, j, None) for i, j in fused_pairs(*args))
    if backend in ("torch", "numpy", "prefix"):
        return _screened_pairs
    raise InputError(
        f"backend: {backend} finds nearest neighbours only; for a radius graph use torch or numpy"
    )


def _edges(
    a: ScreenedRows,
    b: ScreenedRows,
    radius: float,
    a_start: int,
    b_start: int,
    tile: int,
    find: Finder,
    wanted: Wanted | None = None,
) -> Edges:
    import torch

    error = score_error(a, b)
    diagonal = a_start == b_start
    parts = []
    for i, j, score in find(a, b, 1 - radius - error, diagonal, tile):
        if wanted is not None and score is not None:
            least = least_distance(score, error, a.low.dtype == torch.bfloat16)
            kept = torch.from_numpy(wanted(i.numpy() + a_start, j.numpy() + b_start, least))
            i, j = i[kept], j[kept]
        left, right, distance = near_pairs(a, b, i, j, radius, diagonal)
        pairs = np.stack([left + a_start, right + b_start], axis=1).astype(np.int32)
        parts.append((pairs, distance))
    return join_edges(parts)


def check_radius(radius: float) -> None:
    """Refuse what is no cosine distance (InputError)."""
    if not 0 < radius < 2:
        raise InputError(f"radius: {radius} is not a cosine distance between 0 and 2 (exclusive)")


def _block_rows(d: int, budget: int, device: str) -> int:
    # Exact and low copies of two blocks, one of them transposed as well, in half of the budget.
    # Larger blocks than this gain nothing: the matmul is at full speed.
    import torch

    largest = 2048 if torch.device(device).type == "cpu" else 32768
    return max(64, min(largest, budget // 2 // (14 * d)))


def _tile_rows(columns: int, budget: int, device: str) -> int:
    # Scores (4 bytes at most), a mask, and as much again for hits. 1024 × 2048 scores stay
    # in a CPU's last-level cache until they are compared.
    import torch

    largest = 1024 if torch.device(device).type == "cpu" else 32768
    return max(16, min(largest, budget // 2 // (8 * max(columns, 1))))
