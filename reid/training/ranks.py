"""What the workers of one training run agree on, and what they report to each other."""

import math
from collections.abc import Iterable

import torch.distributed as dist
from torch import nn

from reid.precision import AskedPrecision, Precision, choose_precision

IDS_NAMED = 8  # in the error of a batch that diverged


def agree_on_precision(
    asked: AskedPrecision, device: str, *, rank: int, world: int
) -> tuple[Precision, str]:
    """That of the first rank, and why: on unlike machines they must not compute unlike gradients."""
    own: tuple[Precision, str] = ("fp32", "") if rank else choose_precision(asked, device)
    chosen = [own]
    if world > 1:
        dist.broadcast_object_list(chosen, src=0)
    return chosen[0]


def share_statistics(networks: Iterable[nn.Module], *, world: int) -> None:
    """Batch statistics are of each rank's own rows: all ranks take those of the first."""
    if world > 1:
        for network in networks:
            for buffer in network.buffers():
                dist.broadcast(buffer, 0)


def first_diverged(
    loss: float, norm: float, annotation_ids: list[str], *, world: int
) -> tuple[float, list[str]]:
    """Loss and batch of the first rank whose own loss is not finite; else those given."""
    reports = [(loss, annotation_ids)]
    # Gradients are averaged: where theirs is not finite all ranks are here, whosever it was.
    if world > 1 and not math.isfinite(norm):
        reports *= world
        dist.all_gather_object(reports, (loss, annotation_ids))
    return next((report for report in reports if not math.isfinite(report[0])), reports[0])


def diverged_message(
    epoch: int, step: int, loss: float, norm: float, annotation_ids: list[str]
) -> str:
    """What is said of a batch whose loss or gradient is not finite; epoch and step from 0."""
    distinct = list(dict.fromkeys(annotation_ids))
    more = len(distinct) - IDS_NAMED
    named = ", ".join(distinct[:IDS_NAMED]) + (f" and {more} more" if more > 0 else "")
    return (
        f"training diverged in epoch {epoch + 1}, step {step + 1} (counted from 1): loss {loss}, length "
        f"of the gradient {norm}; the batch: {named}. Lower lr, head_lr or clip_norm, or compute in "
        "precision: fp32"
    )
