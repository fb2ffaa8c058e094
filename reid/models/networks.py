"""The networks around a backbone: pooling and neck of trained checkpoints, one output for all."""

from typing import Any

import torch
from torch import nn

from reid import optional
from reid.errors import InputError

POOLINGS = ("model", "gem")
NECKS = ("none", "batchnorm")


class GeneralisedMean(nn.Module):
    """(b, c, h, w) -> (b, c): the mean of x^p to the power 1/p, with p learned; p = 1 is the mean.

    Source: Radenović, Tolias, Chum, "Fine-tuning CNN image retrieval with no human annotation",
    2018, equation 3, with one p for all channels.
    """

    def __init__(self, power: float = 3.0, floor: float = 1e-6) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(power))
        self.floor = floor

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pool; in float32 under autocast too, where small powers would vanish."""
        positive = features.float().clamp(min=self.floor)
        return positive.pow(self.power).mean(dim=(-2, -1)).pow(1.0 / self.power)


class FeatureNetwork(nn.Module):
    """A timm backbone, its pooling and its neck: what a trained checkpoint holds.

    Args:
        backbone: timm model without a classifier.
        architecture: its name in timm's registry.
        pooling: `model` (the backbone's own) or `gem` (backbones whose features are (b, c, h, w)).
        neck: `none` or `batchnorm`.
    """

    def __init__(
        self, backbone: nn.Module, architecture: str, pooling: str = "model", neck: str = "none"
    ) -> None:
        super().__init__()
        for name, value, known in (("pooling", pooling, POOLINGS), ("neck", neck, NECKS)):
            if value not in known:
                raise InputError(f"unknown {name} {value!r}; known: {', '.join(known)}")
        self.architecture, self.pooling, self.neck = architecture, pooling, neck
        width: int = backbone.num_features  # type: ignore[assignment]
        self.backbone: Any = backbone
        if pooling == "gem":
            self.pool: nn.Module = GeneralisedMean()
        if neck == "batchnorm":
            self.norm: nn.Module = nn.BatchNorm1d(width)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) -> (b, d)."""
        if self.pooling == "gem":
            features = self.backbone.forward_features(images)
            if features.ndim != 4 or features.shape[1] != self.backbone.num_features:
                raise InputError(
                    f"pooling 'gem' needs features (b, c, h, w), and {self.architecture} gives "
                    f"{tuple(features.shape)}; use pooling 'model'"
                )
            features = self.pool(features)
        else:
            features = self.backbone(images)
        return self.norm(features) if self.neck == "batchnorm" else features  # type: ignore[no-any-return]


def build_network(
    architecture: str, *, input_size: int, pooling: str = "model", neck: str = "none"
) -> FeatureNetwork:
    """A network with random weights, to be filled from a checkpoint.

    Raises:
        InputError: timm does not know the architecture, or pooling or neck is unknown.
    """
    timm = optional.timm()
    if not timm.is_model(architecture):
        raise InputError(f"timm {timm.__version__} has no architecture {architecture!r}")
    settings = timm.get_pretrained_cfg(architecture)
    fixed = settings is not None and settings.fixed_input_size
    options = {"img_size": input_size} if fixed else {}
    backbone = timm.create_model(architecture, num_classes=0, **options)
    return FeatureNetwork(backbone, architecture, pooling, neck)


class OneOutput(nn.Module):
    """A network of any library, reduced to one row of features per image.

    A tuple counts as its first element, a transformers output as its `pooler_output`, or where
    that is absent its `last_hidden_state`. (b, d) is taken as it is, (b, d, h, w) is averaged over
    h and w, and of (b, tokens, d) the first token, the class token, is taken.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) -> (b, d)."""
        output: Any = self.network(images)
        if getattr(output, "pooler_output", None) is not None:
            output = output.pooler_output
        elif getattr(output, "last_hidden_state", None) is not None:
            output = output.last_hidden_state
        elif isinstance(output, (tuple, list)) and output:
            output = output[0]
        if not isinstance(output, torch.Tensor) or output.ndim not in (2, 3, 4):
            raise InputError(
                f"{type(self.network).__name__} gives {type(output).__name__}, where image features "
                "were expected: a tensor, a tuple that starts with one, or an output with "
                "pooler_output or last_hidden_state"
            )
        if output.ndim == 4:
            return output.mean(dim=(-2, -1))
        return output[:, 0] if output.ndim == 3 else output
