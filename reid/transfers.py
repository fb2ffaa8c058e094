"""Copies between host and device that other work goes on beside.

Memory that a device copies from or to by itself must be pinned; torch keeps what was pinned once and hands
it out again when the copy is done, so that a few buffers go round. On a CPU these are plain views.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch


def begin_to_host(*tensors: "torch.Tensor") -> Callable[[], list[np.ndarray[Any, Any]]]:
    """Begin to copy tensors of one device to the host; the function waits, and gives arrays."""
    import torch

    if tensors[0].device.type != "cuda":
        return lambda: [tensor.numpy() for tensor in tensors]
    pinned = [torch.empty(x.shape, dtype=x.dtype, pin_memory=True) for x in tensors]
    for target, source in zip(pinned, tensors, strict=True):
        target.copy_(source, non_blocking=True)
    event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    event.record(torch.cuda.current_stream(tensors[0].device))

    def finish() -> list[np.ndarray[Any, Any]]:
        event.synchronize()
        return [target.numpy().copy() for target in pinned]  # pinned memory is scarce

    return finish


def stack_to_device(
    arrays: Sequence[np.ndarray[Any, Any]], device: str, stream: "torch.cuda.Stream | None"
) -> "torch.Tensor":
    """Arrays of one shape as one tensor on a device.

    Args:
        arrays: at least one.
        device: a torch device.
        stream: of a CUDA device, not the current one: the copy runs there, beside what the device
            computes; what is computed from the tensor waits for it. None on a CPU.
    """
    import torch

    if stream is None:
        return torch.from_numpy(np.stack(arrays)).to(device)
    shape = (len(arrays), *arrays[0].shape)
    pinned = torch.empty(shape, dtype=torch.from_numpy(arrays[0]).dtype, pin_memory=True)
    np.stack(arrays, out=pinned.numpy())
    computing = torch.cuda.current_stream(torch.device(device))
    with torch.cuda.stream(stream):
        stacked = pinned.to(device, non_blocking=True)
    computing.wait_stream(stream)
    stacked.record_stream(computing)
    return stacked
