"""A known model with the pooling, the width and the neck that are to be trained."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from reid import optional
from reid.errors import InputError
from reid.models import LoadedModel, find_spec, load_model
from reid.models.networks import FeatureNetwork, build_network
from reid.models.spec import Triple
from reid.training.schedule import freeze
from reid.training.settings import TrainSettings

HEAD_PARTS = ("pool", "projection", "norm")


@dataclass(frozen=True)
class Start:
    """The network before the first step, and how its input is prepared.

    Attributes:
        network: trainable, on the CPU.
        input_size: side in pixels.
        mean, std: per channel, of pixels in 0..1.
        interpolation: `bilinear` or `bicubic`.
        licence: of the weights that training starts from.
        digest: of the model that training starts from, see `LoadedModel`.
    """

    network: FeatureNetwork
    input_size: int
    mean: Triple
    std: Triple
    interpolation: str
    licence: str
    digest: str


def start_from(settings: TrainSettings) -> Start:
    """Load `settings.model`, and put pooling, linear layer and batch normalisation behind it.

    What a checkpoint of ours has of these already, in the same shape, is taken over; the rest starts
    at random, from `settings.seed`. What is not to be trained needs no gradient: frozen stages, and
    layers that no feature comes through.

    Raises:
        InputError: timm cannot build the network, or not with this input size or pooling; or it has
            too few stages to freeze.
    """
    loaded = load_model(
        settings.model,
        revision=settings.revision,
        trust_remote_code=settings.trust_remote_code,
    )
    timm = optional.timm()
    if not timm.is_model(loaded.architecture):
        raise InputError(
            f"model {settings.model!r} is a {loaded.architecture}, which timm {timm.__version__} cannot "
            "build, and a checkpoint is rebuilt by timm; start from a timm model, for example "
            "efficientnet-lite0 or timm:<name>"
        )
    own = loaded.module if isinstance(loaded.module, FeatureNetwork) else None
    input_size = settings.input_size or loaded.input_size
    backbone = own.backbone if own else loaded.module
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = build_network(
            loaded.architecture,
            input_size=input_size,
            pooling=_pooling(settings, loaded, own),
            neck="batchnorm",
            embedding_dim=settings.embedding_dim,
        )
    try:
        network.backbone.load_state_dict(backbone.state_dict())
    except RuntimeError as error:
        raise InputError(
            f"model {settings.model!r}: its weights do not fit timm's {loaded.architecture} at "
            f"{input_size} px: {' '.join(str(error).split())[:300]}"
        ) from error
    if own:
        _take_over(network, own)
    freeze(network.backbone, settings.freeze_stages)
    leave_out_unused(network, input_size)
    return Start(
        network=network,
        input_size=input_size,
        mean=loaded.mean,
        std=loaded.std,
        interpolation=loaded.interpolation,
        licence=_licence(settings.model),
        digest=loaded.digest,
    )


def leave_out_unused(network: FeatureNetwork, input_size: int) -> None:
    """Some backbones have layers behind the place where pooling takes its features.

    They get no gradient, for which ranks would wait: they are left out of training.
    """
    parameters = [p for p in network.backbone.parameters() if p.requires_grad]
    if not parameters:
        return
    network.eval()
    features = network.pooled(torch.zeros(1, 3, input_size, input_size))
    gradients: Sequence[torch.Tensor | None] = torch.autograd.grad(
        features.sum(), parameters, allow_unused=True
    )
    for parameter, gradient in zip(parameters, gradients, strict=True):
        if gradient is None:
            parameter.requires_grad_(False)


def _pooling(settings: TrainSettings, loaded: LoadedModel, own: FeatureNetwork | None) -> str:
    if settings.pooling != "auto":
        return settings.pooling
    if own:
        return own.pooling
    with torch.inference_mode():
        side = loaded.input_size
        features = loaded.module.forward_features(torch.zeros(1, 3, side, side))  # type: ignore[operator]
    planes = features.ndim == 4 and features.shape[1] == loaded.module.num_features
    return "gem" if planes else "model"


def _take_over(network: FeatureNetwork, own: FeatureNetwork) -> None:
    """The neck fits only behind the projection that it was trained with."""
    there = own.state_dict()
    here = {k: v for k, v in network.state_dict().items() if k.partition(".")[0] in HEAD_PARTS}
    same = network.pooling == own.pooling and network.embedding_dim == own.embedding_dim
    if same:
        taken = {key: there[key] for key in here if key in there}
        network.load_state_dict(taken, strict=False)


def _licence(name: str) -> str:
    """A checkpoint of ours inherits the licence of what it was trained from."""
    from reid.models.checkpoint import is_checkpoint, load_checkpoint

    spec = find_spec(name)
    if spec.loader == "folder" and is_checkpoint(spec.source):
        return load_checkpoint(spec.source)[1].licence
    return spec.licence
