"""The networks around a backbone: pooling and neck of trained checkpoints, one output for all."""

from typing import Any

import torch
from torch import nn

from reid import optional
from reid.errors import InputError

POOLINGS = ("model", "gem", "avg")
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
    """A timm backbone, its pooling and what lies behind it: what a trained checkpoint holds.

    backbone → pooling → linear layer to `embedding_dim`, if asked for → neck.

    Args:
        backbone: timm model without a classifier.
        architecture: its name in timm's registry.
        pooling: `model` (the backbone's own), `avg` (the mean over places or patches) or `gem`
            (backbones whose features are (b, c, h, w)).
        neck: `none` or `batchnorm`.
        embedding_dim: width of the linear layer; None: no such layer.
    """

    def __init__(
        self,
        backbone: nn.Module,
        architecture: str,
        pooling: str = "model",
        neck: str = "none",
        embedding_dim: int | None = None,
    ) -> None:
        super().__init__()
        for name, value, known in (("pooling", pooling, POOLINGS), ("neck", neck, NECKS)):
            if value not in known:
                raise InputError(f"unknown {name} {value!r}; known: {', '.join(known)}")
        if embedding_dim is not None and embedding_dim < 1:
            raise InputError(f"embedding_dim {embedding_dim}: at least 1, or none")
        self.architecture, self.pooling, self.neck = architecture, pooling, neck
        self.embedding_dim = embedding_dim
        self.backbone: Any = backbone
        if pooling == "gem":
            self.pool: nn.Module = GeneralisedMean()
        self.pooled_width = int(backbone.num_features)  # type: ignore[arg-type]
        if pooling == "model":
            # Some networks have a layer behind their pooling, with a width of its own.
            self.pooled_width = int(getattr(backbone, "head_hidden_size", self.pooled_width))
        if embedding_dim is not None:
            self.projection: nn.Module = nn.Linear(self.pooled_width, embedding_dim, bias=False)
        if neck == "batchnorm":
            self.norm: nn.Module = nn.BatchNorm1d(self.dimension)

    @property
    def dimension(self) -> int:
        """Length of a feature row."""
        return self.pooled_width if self.embedding_dim is None else self.embedding_dim

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) -> (b, dimension)."""
        return self.project(self.pooled(images))

    def pooled(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) -> (b, pooled_width): backbone and pooling."""
        if self.pooling == "model":
            return self.backbone(images)  # type: ignore[no-any-return]
        features = self.backbone.forward_features(images)
        if self.pooling == "gem":
            if features.ndim != 4 or features.shape[1] != self.pooled_width:
                raise InputError(
                    f"pooling 'gem' needs features (b, c, h, w), and {self.architecture} gives "
                    f"{tuple(features.shape)}; use pooling 'model'"
                )
            return self.pool(features)  # type: ignore[no-any-return]
        if features.ndim == 3:  # tokens, of which the first may stand for the whole image
            return features[:, getattr(self.backbone, "num_prefix_tokens", 0) :].mean(dim=1)  # type: ignore[no-any-return]
        channels_first = features.shape[1] == self.pooled_width
        return features.mean(dim=(-2, -1) if channels_first else (1, 2))  # type: ignore[no-any-return]

    def project(self, pooled: torch.Tensor) -> torch.Tensor:
        """(b, pooled_width) -> (b, dimension): linear layer and neck, as far as there are any."""
        if self.embedding_dim is not None:
            pooled = self.projection(pooled)
        return self.norm(pooled) if self.neck == "batchnorm" else pooled


def build_network(
    architecture: str,
    *,
    input_size: int,
    pooling: str = "model",
    neck: str = "none",
    embedding_dim: int | None = None,
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
    return FeatureNetwork(backbone, architecture, pooling, neck, embedding_dim)


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


class ClassProbabilities(nn.Module):
    """A network with its head, as unit rows: the square roots of the probabilities of its classes.

    The cosine of two such rows is the Bhattacharyya coefficient of the two distributions.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, h, w) -> (b, classes)."""
        logits: torch.Tensor = self.network(images)
        return logits.float().softmax(dim=-1).sqrt()
