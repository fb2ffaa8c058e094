"""A repository of timm's: config.json names the architecture, and the weights lie beside it."""

from pathlib import Path
from typing import Any

from reid import optional
from reid.errors import InputError, ReidError
from reid.models.limits import check_memory, input_side, triple
from reid.models.source import Source, first_line, stored_bytes


def load_timm(
    folder: Path, config: dict[str, Any], input_size: int | None, with_head: bool
) -> Source:
    """The network of a repository of timm's.

    Args:
        folder: where it lies.
        config: config.json.
        input_size: side of the images, where the network is to be made for another one than it says.
        with_head: with its classes, for probabilities.

    Raises:
        InputError: timm does not know the architecture, cannot load it, or it wants other images than are made here.
    """
    from reid.models.networks import ClassProbabilities

    architecture, said, arguments = _timm_architecture(folder, config)
    side = input_size if said.get("fixed_input_size") else None
    network = _timm_network(folder, architecture, arguments, side, with_head)
    if with_head and network.num_classes < 2:
        raise InputError(f"classes: {folder} has no head: num_classes is {network.num_classes}")
    settings = network.pretrained_cfg
    said_size = settings.get("input_size")
    if not isinstance(said_size, list | tuple) or len(said_size) != 3:
        raise InputError(f"{folder}: input_size {said_size!r}; [3, height, width] is needed")
    channels, height, width = said_size
    input_side(height, f"{folder}: input_size")
    if channels != 3 or (input_size is None and height != width):
        raise InputError(
            f"{folder} wants {channels} x {height} x {width} input; "
            "only square images of 3 channels are made here"
        )
    name = f"classes of {architecture}" if with_head else architecture
    return Source(
        module=ClassProbabilities(network) if with_head else network,
        architecture=name,
        origin=name,
        input_size=height,
        mean=triple(settings.get("mean"), f"{folder}: mean"),
        std=triple(settings.get("std"), f"{folder}: std", positive=True),
        interpolation=settings.get("interpolation"),
    )


def _timm_architecture(
    folder: Path, config: dict[str, Any]
) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """What config.json says: the architecture, its `pretrained_cfg` and its arguments."""
    timm = optional.timm()
    architecture = config["architecture"]
    if not isinstance(architecture, str) or not timm.is_model(architecture):
        raise InputError(
            f"{folder}: timm {timm.__version__} has no architecture {str(architecture)[:100]!r}"
        )
    # Older repositories have the settings of `pretrained_cfg` beside the architecture.
    said, arguments = config.get("pretrained_cfg", config), config.get("model_args") or {}
    if not isinstance(said, dict) or not isinstance(arguments, dict):
        raise InputError(f"{folder}/config.json: pretrained_cfg and model_args must be objects")
    if said.get("custom_load"):
        raise InputError(
            f"{folder}/config.json: custom_load reads files in ways of their own; not read here"
        )
    classes = config.get("num_classes", said.get("num_classes"))
    return (
        architecture,
        said,
        {**({} if classes is None else {"num_classes": classes}), **arguments},
    )


def _timm_network(
    folder: Path,
    architecture: str,
    arguments: dict[str, Any],
    input_size: int | None,
    with_head: bool,
) -> Any:
    """The network with its weights, once it is known to fit into memory; made for a size where one is given."""
    import torch

    timm = optional.timm()
    options = {} if input_size is None else {"img_size": input_size}
    try:
        with torch.device("meta"):
            trial = timm.create_model(architecture, **arguments)
        check_memory(trial, stored_bytes(folder), str(folder))
        del trial
        # With the classifier, timm loads strictly; without it, it would leave weights that the
        # file lacks at random values and only write to its log.
        network = timm.create_model(f"local-dir:{folder}", pretrained=True, **options)
        if not with_head:
            network.reset_classifier(0)
        return network
    except ReidError:
        raise
    # timm trusts its files, and raises whatever their contents lead to.
    except Exception as error:
        raise InputError(f"{folder}: timm cannot load it: {first_line(error)}") from error
