"""What is trained, how fast, and the average of what was trained."""

import copy
import math
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import torch
from torch import nn

from reid import optional
from reid.errors import InputError
from reid.training.settings import TrainSettings

Network = TypeVar("Network", bound=nn.Module)


def layers(backbone: nn.Module, *, stages: bool = False) -> list[list[str]]:
    """Names of a timm backbone's parameters, from the input to the output.

    Args:
        backbone: timm model.
        stages: the stem and whole stages, in place of single layers.
    """
    groups = optional.timm().models.group_parameters(
        backbone,
        backbone.group_matcher(coarse=stages),  # type: ignore[operator]
    )
    return [groups[number] for number in sorted(groups)]


def freeze(backbone: nn.Module, stages: int) -> None:
    """Leave the stem and the first `stages` stages out of training; 0 freezes nothing.

    Raises:
        InputError: the backbone has fewer stages.
    """
    if not stages:
        return
    found = layers(backbone, stages=True)
    if stages >= len(found):
        raise InputError(
            f"freeze_stages {stages}: the backbone has a stem and {len(found) - 1} stages; "
            "to train the head alone, set head_only_epochs to the number of epochs"
        )
    frozen = {name for group in found[: stages + 1] for name in group}
    for name, parameter in backbone.named_parameters():
        if name in frozen:
            parameter.requires_grad_(False)


def set_training_mode(network: nn.Module) -> None:
    """Training mode, but for the parts without anything to train.

    A frozen part keeps its batch statistics and drops nothing out: it is what it was.
    """
    network.train()
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()


def parameter_groups(
    backbone: nn.Module, head: Iterable[tuple[str, nn.Parameter]], settings: TrainSettings
) -> list[dict[str, Any]]:
    """Groups for AdamW, each with `peak_lr`: its largest learning rate.

    Args:
        backbone: timm model; the learning rate falls by `layer_decay` from each layer to the one
            before it.
        head: named parameters of all that starts at random.
        settings: lr, head_lr, layer_decay, weight_decay.
    """
    order = layers(backbone)
    share = {
        name: settings.layer_decay ** (len(order) - 1 - depth)
        for depth, names in enumerate(order)
        for name in names
    }
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for part, peak_of in ((backbone.named_parameters(), share), (head, None)):
        for name, parameter in part:
            if parameter.requires_grad:
                peak = settings.head_lr if peak_of is None else settings.lr * peak_of[name]
                # Shrinking a norm, a bias or the length of a class centre regularises nothing.
                bare = parameter.ndim < 2 or name.endswith("centres")
                decay = 0.0 if bare else settings.weight_decay
                groups.setdefault((peak, decay), []).append(parameter)
    return [
        {"params": parameters, "lr": peak, "peak_lr": peak, "weight_decay": decay}
        for (peak, decay), parameters in groups.items()
    ]


def lr_share(done: float, settings: TrainSettings) -> float:
    """Learning rate after `done` epochs, as a share of the largest: linear warm-up, then a cosine."""
    if done < settings.warmup_epochs:
        return max(done / settings.warmup_epochs, settings.min_lr_share)
    rest = max(settings.epochs - settings.warmup_epochs, 1e-9)
    cosine = (1 + math.cos(math.pi * min(1, (done - settings.warmup_epochs) / rest))) / 2
    return settings.min_lr_share + (1 - settings.min_lr_share) * cosine


class AveragedWeights(Generic[Network]):
    """An exponential moving average of a network: its parameters and its batch statistics.

    The network must not be moved to another device, or given other tensors, after this.

    Differs: the decay of update t is at most (1 + t) / (10 + t), as in TensorFlow's, so that the
        first average is not the random start.
    """

    def __init__(self, network: Network, decay: float) -> None:
        self.network: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0
        # Listed once: a step of a small network on a GPU is as long as a walk through its modules. What
        # these tensors hold changes; where it lies does not.
        current = network.state_dict()
        pairs = [(average, current[name]) for name, average in self.network.state_dict().items()]
        self._moving = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counted = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move the average towards the network as it is now."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        self.updates += 1
        # All at once: one by one, a GPU would be given hundreds of small tasks a step.
        if self._moving:
            averages, currents = (list(part) for part in zip(*self._moving, strict=True))
            torch._foreach_lerp_(averages, currents, 1 - decay)
        if self._counted:
            averages, currents = (list(part) for part in zip(*self._counted, strict=True))
            torch._foreach_copy_(averages, currents)
