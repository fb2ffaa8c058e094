"""Which cells of a block of screened scores reach a threshold.

On a CPU by integer comparisons of NumPy, ten times faster than torch's; on a device by torch.
"""

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def as_keys(values: "torch.Tensor") -> np.ndarray:
    """Scores on the CPU as an array, without a copy, that compares fast.

    float32 stays. bfloat16 becomes the int16 of the same bits, whose order is that of the scores
    among scores ≥ 0, with all negative scores below; `sort_keys` puts those in order too.
    """
    import torch

    return values.view(torch.int16).numpy() if values.dtype == torch.bfloat16 else values.numpy()


def sort_keys(keys: np.ndarray) -> np.ndarray:
    """Give int16 keys of negative scores their order, in place; float32 keys are left alone."""
    if keys.dtype == np.int16:
        keys ^= (keys >> 15) & np.int16(0x7FFF)
    return keys


def threshold_keys(thresholds: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """Float32 thresholds as keys, rounded down, in the order of `sort_keys`."""
    if dtype != np.int16:
        return thresholds
    bits = thresholds.view(np.int32)
    magnitude = (bits & 0x7FFFFFFF) >> 16
    # Cutting bits off rounds towards zero: down for positive numbers, up for negative ones.
    negative = -1 - (magnitude + ((bits & 0xFFFF) != 0))
    return np.where(bits >= 0, magnitude, negative).astype(np.int16)


def keys_as_scores(keys: np.ndarray) -> np.ndarray:
    """Float32 scores of keys that are in the order of `sort_keys`."""
    if keys.dtype != np.int16:
        return keys
    bits = np.where(keys >= 0, keys, keys ^ np.int16(0x7FFF))
    return (bits.astype(np.int32) << 16).view(np.float32)


def true_positions(mask: np.ndarray) -> np.ndarray:
    """Flat positions of the True cells of a mostly False array; eight cells a look."""
    flat = mask.ravel()
    whole = flat.size // 8 * 8
    # Compared first, because NumPy's search is fast for booleans only.
    words = np.flatnonzero(flat[:whole].view(np.uint64) != 0)
    word, byte = np.nonzero(flat[:whole].reshape(-1, 8)[words])
    return np.concatenate([words[word] * 8 + byte, whole + np.flatnonzero(flat[whole:])])


def hits_cpu(screened: "torch.Tensor", threshold: float) -> "tuple[torch.Tensor, torch.Tensor]":
    """(rows, columns) of scores that reach `threshold`; `screened` is used up."""
    import torch

    keys = as_keys(screened)
    limit = threshold_keys(np.array([threshold], np.float32), keys.dtype)[0]
    if limit <= 0:
        sort_keys(keys)
    row, column = np.divmod(true_positions(keys >= limit), screened.shape[1])
    return torch.from_numpy(row), torch.from_numpy(column)


def hits_grouped(
    screened: "torch.Tensor", threshold: float, group: int = 64
) -> "tuple[torch.Tensor, torch.Tensor]":
    """The same in torch operations, for a device where reading the scores twice is the cost.

    The maximum of each group of columns is read first, and only groups that hold a hit again.
    """
    import torch

    # Rounded to nearest as the scores were, which keeps their order. Some devices compare bfloat16
    # scores with the number as it is, and would lose those that rounding took just below it.
    limit = torch.tensor(threshold, dtype=screened.dtype).item()
    whole = screened.shape[1] // group * group
    grouped = screened[:, :whole].reshape(len(screened), -1, group)
    row, block = (grouped.amax(2) >= limit).nonzero(as_tuple=True)
    hit, inside = (grouped[row, block] >= limit).nonzero(as_tuple=True)
    tail_row, tail_column = (screened[:, whole:] >= limit).nonzero(as_tuple=True)
    return (
        torch.cat([row[hit], tail_row]),
        torch.cat([block[hit] * group + inside, tail_column + whole]),
    )


def hits(screened: "torch.Tensor", threshold: float) -> "tuple[torch.Tensor, torch.Tensor]":
    """(rows, columns) of scores that reach `threshold`, on the device they are on."""
    on_cpu = screened.device.type == "cpu"
    return (hits_cpu if on_cpu else hits_grouped)(screened, threshold)


def scores_at(
    screened: "torch.Tensor", row: "torch.Tensor", column: "torch.Tensor"
) -> "torch.Tensor":
    """Float32 scores of cells that `hits_cpu` found, of the scores that it used up."""
    import torch

    keys = as_keys(screened).ravel()[row.numpy() * screened.shape[1] + column.numpy()]
    return torch.from_numpy(keys_as_scores(keys))
