"""Which blocks of rows are compared with which."""


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
