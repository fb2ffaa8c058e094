"""Our own checkpoints: a folder with `model.safetensors` and `model.json`, and no pickle.

`model.json` is written last, so a folder that has it is complete. The folder may be on object
storage (`s3://…`), as everything that `reid.store` writes.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from reid import store
from reid.errors import InputError, ReidError
from reid.models.limits import LARGEST_DIMENSION, check_memory, check_object, input_side, triple
from reid.models.networks import FeatureNetwork, build_network
from reid.models.spec import Triple

FORMAT = 1
WEIGHTS_FILE = "model.safetensors"
SETTINGS_FILE = "model.json"


@dataclass(frozen=True)
class CheckpointSettings:
    """What `model.json` holds: how to rebuild the network and how to prepare its input.

    Attributes:
        architecture: name in timm's registry.
        input_size: side of the square input in pixels.
        dimension: length of a feature row.
        mean, std: per channel, of pixels in 0..1.
        interpolation: `bilinear` or `bicubic`, antialiased.
        pooling, neck, embedding_dim: see `FeatureNetwork`.
        licence: of the weights; weights trained from others inherit theirs.
        training: how the weights came about, for people: nothing is rebuilt from it.
        format: version of this file's layout.
    """

    architecture: str
    input_size: int
    dimension: int
    mean: Triple
    std: Triple
    interpolation: str
    pooling: str = "model"
    neck: str = "none"
    embedding_dim: int | None = None
    licence: str = "see the source"
    training: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def save_checkpoint(
    folder: str,
    network: FeatureNetwork,
    *,
    input_size: int,
    mean: Triple,
    std: Triple,
    interpolation: str,
    licence: str = "see the source",
    training: Mapping[str, Any] | None = None,
) -> None:
    """Write a network as a checkpoint that `load_model(folder)` reads.

    Args:
        folder: local path or URI; created where needed.
        network: its weights are stored in float32 or whatever type they have.
        input_size, mean, std, interpolation, licence, training: see `CheckpointSettings`.

    Raises:
        InputError: the folder holds a checkpoint already: a recipe may have been made from it.
        StorageError: the folder cannot be written.
    """
    from safetensors.torch import save

    settings_path = store.join(folder, SETTINGS_FILE)
    if store.exists(settings_path):
        raise InputError(f"{folder} holds a checkpoint already; choose another folder")
    settings = CheckpointSettings(
        architecture=network.architecture,
        input_size=input_size,
        dimension=network.dimension,
        mean=mean,
        std=std,
        interpolation=interpolation,
        pooling=network.pooling,
        neck=network.neck,
        embedding_dim=network.embedding_dim,
        licence=licence,
        training=dict(training or {}),
    )
    weights = {key: value.cpu().contiguous() for key, value in network.state_dict().items()}
    store.write_bytes(store.join(folder, WEIGHTS_FILE), save(weights))
    store.write_json(settings_path, asdict(settings))


def is_checkpoint(folder: str) -> bool:
    """True where `save_checkpoint` has finished."""
    return store.exists(store.join(folder, SETTINGS_FILE))


def load_checkpoint(folder: str) -> tuple[FeatureNetwork, CheckpointSettings]:
    """Read a checkpoint: the network with its weights, and its settings.

    Raises:
        InputError: the settings or the weights are not those of a checkpoint.
    """
    import torch
    from safetensors.torch import load

    settings = _read_settings(store.join(folder, SETTINGS_FILE))

    def build() -> FeatureNetwork:
        return build_network(
            settings.architecture,
            input_size=settings.input_size,
            pooling=settings.pooling,
            neck=settings.neck,
            embedding_dim=settings.embedding_dim,
        )

    try:
        data = store.read_bytes(store.join(folder, WEIGHTS_FILE))
        with torch.device("meta"):
            check_memory(build(), len(data), folder)
        network = build()
        network.load_state_dict(load(data))
    except (ReidError, OSError) as error:
        if isinstance(error, FileNotFoundError):
            raise InputError(f"{folder} has no {WEIGHTS_FILE}: it was not copied whole") from error
        raise
    # Networks are built from names and numbers of a file, and may raise anything.
    except Exception as error:
        raise InputError(
            f"{folder}/{WEIGHTS_FILE} does not fit {SETTINGS_FILE}: {error}"
        ) from error
    if network.dimension != settings.dimension:
        raise InputError(
            f"{folder}/{SETTINGS_FILE}: dimension {settings.dimension}, and the network gives {network.dimension}"
        )
    return network, settings


def _read_settings(path: str) -> CheckpointSettings:
    try:
        content: Any = store.read_json(path)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if found != FORMAT or isinstance(found, bool):
        raise InputError(f"{path}: format {found!r}; this version reads {FORMAT}")
    training = content.pop("training", {})  # for people: nothing is rebuilt from it
    try:
        settings = CheckpointSettings(**check_object(content, path))
    except TypeError as error:
        raise InputError(f"{path}: {error}") from error
    for name in ("architecture", "interpolation", "pooling", "neck", "licence"):
        if not isinstance(getattr(settings, name), str):
            raise InputError(f"{path}: {name}: {getattr(settings, name)!r} is no text")
    for name in ("dimension", "embedding_dim"):
        number = getattr(settings, name)
        if number is None and name == "embedding_dim":
            continue
        if (
            isinstance(number, bool)
            or not isinstance(number, int)
            or not 1 <= number <= LARGEST_DIMENSION
        ):
            raise InputError(
                f"{path}: {name}: {number!r}; a whole number from 1 to {LARGEST_DIMENSION} is needed"
            )
    return replace(
        settings,
        input_size=input_side(settings.input_size, f"{path}: input_size"),
        # JSON has lists where the settings have tuples.
        mean=triple(settings.mean, f"{path}: mean"),
        std=triple(settings.std, f"{path}: std", positive=True),
        training=training if isinstance(training, dict) else {},
    )
