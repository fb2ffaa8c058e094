"""The radius graph: every pair of rows within a distance, once, block by block."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from reid.errors import InputError
from reid.neighbors.edge_arrays import Edges, Graph, Wanted, join_edges, sort_edges
from reid.neighbors.measure import near_pairs_cpu
from reid.neighbors.prefix import choose_basis, prefix_rows
from reid.neighbors.screen import (
    ScreenedRows,
    as_tensor,
    budget_bytes,
    choose_graph_backend,
    is_cpu,
    least_distance,
    prepare,
    score_error,
    with_columns,
)
from reid.neighbors.strips import (
    STRIP_ROWS,
    StripSearch,
    begin_pairs,
    put_rows,
    screen_of,
    screened_pairs,
)
from reid.neighbors.unit_rows import check_unit_rows

MAX_ROWS = 2**31 - 1
SHARE_FOR_COPIES = 32  # of the budget: one part of so many for bfloat16 copies that are kept


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
        backend: see `choose_graph_backend`.
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
    backend = choose_graph_backend(max(len(a), len(b)), a.shape[1], device, backend)
    tile = _tile_rows(len(a), budget_bytes(device, memory_bytes), device)
    if not is_cpu(device):
        screen = screen_of(backend, tile)
        left = prepare(a, backend, device)
        right = left if a_start == b_start else prepare(b, backend, device)
        return begin_pairs(left, right, radius, screen, a_start=a_start, b_start=b_start)()()
    _check_graph_backend(backend)
    left = _ready(a, backend, basis)
    right = left if a_start == b_start else _ready(b, backend, basis)
    return sort_edges([_edges(left, right, radius, a_start, b_start, tile)])


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
    compared: Callable[[int], object] | None = None,
) -> Iterator[Edges]:
    """`radius_graph` in parts, for what does not fit in memory: concatenated, they are the graph.

    Each part holds all edges whose smaller index lies in one block of rows, sorted.

    Args:
        embeddings, radius, backend, device, memory_bytes, block_rows: as in `radius_graph`.
        new_from: rows before this one have been compared with each other already; only pairs with a
            row from here on are looked at.
        checked: the caller has seen that the rows are unit.
        wanted: on a CPU, pairs that it says no to are left out before they are measured.
        compared: called with the number of pairs that were compared, after each part.
    """
    check_radius(radius)
    on_cpu = is_cpu(device)
    if not checked and on_cpu:  # a device looks for itself
        check_unit_rows(embeddings)
    n, d = embeddings.shape
    if n > MAX_ROWS:
        raise InputError(f"embeddings: {n} rows, at most {MAX_ROWS}; split them, say by species")
    if not on_cpu:
        yield from _edges_on_device(
            embeddings, radius, new_from, choose_graph_backend(n, d, device, backend), device,
            budget_bytes(device, memory_bytes), block_rows or STRIP_ROWS, checked, compared,
        )  # fmt: skip
        return
    basis = choose_basis(embeddings, radius, new_from=new_from, backend=backend, device=device)
    backend = choose_graph_backend(n, d, device, backend)
    budget = budget_bytes(device, memory_bytes)
    _check_graph_backend(backend)
    block = block_rows or _block_rows(d, budget)
    tile = _tile_rows(block, budget, device)
    cuts, strips = block_strips(n, block, new_from)
    rows_of = _blocks(embeddings, cuts, backend, basis, budget)
    for k, others in strips:
        left = with_columns(rows_of(k))
        parts = [
            _edges(
                left, left if other == k else rows_of(other), radius,
                cuts[k].start, cuts[other].start, tile, wanted,
            )
            for other in others
        ]  # fmt: skip
        yield sort_edges(parts)
        if compared is not None:
            compared(_pairs_of(cuts, k, others, n))


def _pairs_of(cuts: Sequence[slice], k: int, others: range, n: int) -> int:
    """How many pairs a block of rows and those that it is compared with make."""
    start, stop = int(cuts[k].start), int(cuts[k].stop)
    rows = stop - start
    if others.start == k:
        return rows * (rows - 1) // 2 + rows * (n - stop)
    return rows * (n - int(cuts[others.start].start))


def _edges_on_device(
    embeddings: np.ndarray, radius: float, new_from: int, backend: str, device: str, budget: int,
    block_rows: int, checked: bool, compared: Callable[[int], object] | None,
) -> Iterator[Edges]:  # fmt: skip
    n = len(embeddings)
    screen = screen_of(backend, _tile_rows(min(n, block_rows), budget, device))
    rows = put_rows(embeddings, backend, device, budget, checked=checked)
    cuts, strips = block_strips(n, block_rows, new_from)
    starts = [(cuts[k], cuts[others.start].start) for k, others in strips]
    found = StripSearch(rows, radius, screen).edges(starts)
    for part, (k, others) in zip(found, strips, strict=True):
        yield part
        if compared is not None:
            compared(_pairs_of(cuts, k, others, n))


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
        backend: `auto`, `torch`, `numpy`, `prefix`, `triton` or `int8`; `choose_graph_backend` and `choose_basis`
            say what `auto` takes.
        device: "cpu", or a torch device such as "cuda".
        memory_bytes: budget for blocks and scores; by default 512 MiB, on a GPU half of what is
            free. Block sizes follow from it.
        block_rows: rows of a block, in place of the size from the budget; on a GPU of a strip, see
            `strips.py`. Changes no result.

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
    embeddings: np.ndarray, cuts: list[slice], backend: str, basis: np.ndarray | None, budget: int
) -> Callable[[int], ScreenedRows]:
    """A function from a block's number to its rows, ready to be screened.

    Projections are dear to make, and kept where there is room. A bfloat16 copy is cheap, a seventh of the
    comparing in all, and half as large as the embeddings: it is kept where that is little.
    """
    kept: dict[int, ScreenedRows] | None = None
    n, d = embeddings.shape
    size = n * (2 * d if basis is None else 4 * (basis.shape[1] + 1))
    if size <= budget // (SHARE_FOR_COPIES if basis is None else 2):
        kept = {}
    errors: dict[int, float] = {}

    def rows_of(k: int) -> ScreenedRows:
        if kept is not None and k in kept:
            return kept[k]
        ready = _ready(embeddings[cuts[k]], backend, basis, errors.get(k))
        errors[k] = ready.error
        if kept is not None:
            kept[k] = ready
        return ready

    return rows_of


def _ready(
    rows: np.ndarray, backend: str, basis: np.ndarray | None, error: float | None = None
) -> ScreenedRows:
    if basis is not None:
        return prefix_rows(rows, basis)
    return prepare(rows, backend, "cpu", error)


def block_strips(
    n: int, block_rows: int, new_from: int = 0
) -> tuple[list[slice], list[tuple[int, range]]]:
    """Which blocks of rows are compared with which, so that every pair with a new row comes once.

    Args:
        n: rows.
        block_rows: of a block, at least 1.
        new_from: the first new row; 0: all pairs.

    Returns:
        The blocks, and for each block k that has something to do (k, the blocks from k on that it is
        compared with).
    """
    known = [slice(at, min(at + block_rows, new_from)) for at in range(0, new_from, block_rows)]
    cuts = known + [slice(at, min(at + block_rows, n)) for at in range(new_from, n, block_rows)]
    strips = [(k, range(max(k, len(known)), len(cuts))) for k in range(len(cuts))]
    return cuts, [(k, others) for k, others in strips if len(others)]


def _check_graph_backend(backend: str) -> None:
    if backend not in ("torch", "numpy", "prefix"):
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
    wanted: Wanted | None = None,
) -> Edges:
    error = score_error(a, b)
    diagonal = a_start == b_start
    parts = []
    for i, j, score in screened_pairs(a, b, 1 - radius - error, diagonal, tile):
        if wanted is not None and score is not None:
            least = least_distance(score, error, a.low.element_size() == 2)
            kept = as_tensor(wanted(i.numpy() + a_start, j.numpy() + b_start, least))
            i, j = i[kept], j[kept]
        left, right, distance = near_pairs_cpu(a, b, i, j, radius, diagonal)
        pairs = np.stack([left + a_start, right + b_start], axis=1).astype(np.int32)
        parts.append((pairs, distance))
    return join_edges(parts)


def check_radius(radius: float) -> None:
    """Refuse what is no cosine distance (InputError)."""
    if not 0 < radius < 2:
        raise InputError(f"radius: {radius} is not a cosine distance between 0 and 2 (exclusive)")


def _block_rows(d: int, budget: int) -> int:
    # Exact and low copies of two blocks, one of them transposed as well, in half of the budget.
    # Larger blocks than this gain nothing: the matmul is at full speed.
    return max(64, min(2048, budget // 2 // (14 * d)))


def _tile_rows(columns: int, budget: int, device: str) -> int:
    # Scores (4 bytes at most), a mask, and as much again for hits. 1024 × 2048 scores stay
    # in a CPU's last-level cache until they are compared; a device has a fifth of its budget for them.
    on_cpu = is_cpu(device)
    largest, share = (1024, 2) if on_cpu else (32768, 5)
    return max(16, min(largest, budget // share // (8 * max(columns, 1))))
