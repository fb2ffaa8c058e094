"""Patch tokens: what a vision transformer makes of each patch of a picture, before it sums them up in one row.

A network gives them as (b, tokens, width), of which the first may be none of a patch: the class token and
registers. Convolutional networks and Swin have none; their last feature maps are coarser and something else.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from reid import optional
from reid.errors import InputError
from reid.models.load_model import LoadedModel
from reid.models.networks import FeatureNetwork, OneOutput
from reid.models.spec import known_models

SMALLEST_SIDE = 3  # patches: a smaller grid is all border


@dataclass(frozen=True)
class TokenGrid:
    """The patch tokens of one picture: `side` × `side` patches, row by row from the upper left, of `width` numbers each."""

    side: int
    width: int

    @property
    def numbers(self) -> int:
        """How many numbers they are together."""
        return self.side**2 * self.width


class PatchTokens(nn.Module):
    """A network reduced to its patch tokens: (b, 3, s, s) -> (b, side² · width), patch by patch.

    Args:
        network: timm's, one of our checkpoints, or transformers' inside of `OneOutput`.
        prefix: tokens before those of the patches, which are left out.
    """

    def __init__(self, network: nn.Module, prefix: int) -> None:
        super().__init__()
        self.network = network
        self.prefix = prefix

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """All tokens but the first ones, one after another."""
        return _all_tokens(self.network, images)[:, self.prefix :].flatten(1)


def with_patch_tokens(model: LoadedModel) -> tuple[LoadedModel, TokenGrid]:
    """The same model, giving its patch tokens instead of one row of features.

    Raises:
        InputError: it has none; the message says which models have them.
    """
    size = model.input_size
    try:
        with torch.inference_mode():
            device = next(model.module.parameters()).device
            tokens = _all_tokens(model.module, torch.zeros(1, 3, size, size, device=device))
    except (AttributeError, TypeError, StopIteration) as error:
        raise no_patch_tokens(model.name) from error
    prefix = _prefix(model.module, tokens, size)
    side = math.isqrt(tokens.shape[1] - prefix) if prefix is not None else 0
    if prefix is None or side**2 != tokens.shape[1] - prefix or side < SMALLEST_SIDE:
        raise no_patch_tokens(model.name)
    grid = TokenGrid(side, int(tokens.shape[2]))
    module = PatchTokens(model.module, prefix).eval()
    return replace(model, module=module, dimension=grid.numbers), grid


def check_patch_tokens(name: str, loader: str, source: str) -> None:
    """Refuse a model that is known to have no patch tokens, before it is loaded.

    Args:
        name: for the message.
        loader, source: of its `ModelSpec`. Of a folder or an unknown repository nothing is known yet.

    Raises:
        InputError: it has none; the message says which models have them.
    """
    known = {spec.source: spec.patch_tokens for spec in known_models()}
    if known.get(source) is False:
        raise no_patch_tokens(name)
    if loader == "timm":
        timm = optional.timm()
        architecture = source.partition(".")[0]
        if timm.is_model(architecture):
            with torch.device("meta"):
                network = timm.create_model(architecture, num_classes=0)
            if not hasattr(network, "num_prefix_tokens"):
                raise no_patch_tokens(name)


def no_patch_tokens(name: str) -> InputError:
    """The error for a model that has none."""
    have = ", ".join(spec.name for spec in known_models() if spec.patch_tokens)
    return InputError(
        f"model {name!r} has no patch tokens, which embed.tokens and embed.pool=foreground need; models that "
        f"have them: {have}, and any vision transformer of timm (timm:vit_…, timm:deit3_…, timm:eva02_…) or "
        "transformers (hf:…); leave the setting out for this one"
    )


def _all_tokens(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """(b, tokens, width); raises AttributeError or TypeError where the network has none."""
    found: Any
    if isinstance(network, OneOutput):
        found = network.network(images).last_hidden_state
    else:
        backbone: Any = network.backbone if isinstance(network, FeatureNetwork) else network
        if not hasattr(backbone, "num_prefix_tokens"):
            raise AttributeError("no transformer of timm")
        found = backbone.forward_features(images)
    if not isinstance(found, torch.Tensor) or found.ndim != 3:
        raise TypeError("no tokens")
    return found


def _prefix(network: nn.Module, tokens: torch.Tensor, size: int) -> int | None:
    """How many tokens come before those of the patches; None: nobody can say."""
    if not isinstance(network, OneOutput):
        backbone: Any = network.backbone if isinstance(network, FeatureNetwork) else network
        return int(backbone.num_prefix_tokens)
    patch = getattr(getattr(network.network, "config", None), "patch_size", None)
    if not isinstance(patch, int) or not 1 <= patch <= size:
        return None
    prefix = int(tokens.shape[1]) - (size // patch) ** 2
    return prefix if prefix >= 0 else None
