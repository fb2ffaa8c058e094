"""Networks from folders in timm's and transformers' repository formats."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid import optional
from reid.errors import InputError
from reid.models.hub import code_files, weight_files
from reid.models.spec import Triple

if TYPE_CHECKING:
    import torch

# PIL's numbers, which transformers stores.
_RESAMPLE = {2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class Source:
    """A network as its repository gives it; None where the repository does not say.

    `origin` names architecture and code, and enters the digest.
    """

    module: "torch.nn.Module"
    architecture: str
    origin: str
    input_size: int | None
    mean: Triple | None
    std: Triple | None
    interpolation: str | None


def load_repository(
    folder: Path, *, input_size: int | None, trust_remote_code: bool, pinned: bool
) -> Source:
    """Load a folder that holds `config.json` and weights, of timm or of transformers.

    Args:
        folder: a copy of a hub repository, or one that `timm.models.save_for_hf` or
            `save_pretrained` wrote.
        input_size: wanted side in pixels; None: the repository's own.
        trust_remote_code: run the Python code of the folder, if it has any.
        pinned: the folder cannot change: it is a disk's, or one commit of the hub.

    Raises:
        InputError: the folder is in neither format, or its code may not be run.
    """
    config = _read_json(folder / "config.json")
    if not weight_files(folder):
        raise InputError(
            f"{folder} has no weights: model.safetensors (all its shards) or pytorch_model.bin"
        )
    if "architecture" in config:
        return _load_timm(folder, config, input_size)
    if "model_type" in config or "auto_map" in config:
        return _load_transformers(folder, config, trust_remote_code, pinned)
    raise InputError(
        f"{folder}/config.json is neither timm's (it has no 'architecture') nor transformers' "
        "(it has no 'model_type')"
    )


def _load_timm(folder: Path, config: dict[str, Any], input_size: int | None) -> Source:
    timm = optional.timm()
    # Older repositories have the settings of `pretrained_cfg` beside the architecture.
    fixed = config.get("pretrained_cfg", config).get("fixed_input_size")
    options = {"img_size": input_size} if fixed and input_size is not None else {}
    try:
        # With the classifier, timm loads strictly; without it, it would leave weights that the
        # file lacks at random values and only write to its log.
        network = timm.create_model(f"local-dir:{folder}", pretrained=True, **options)
        network.reset_classifier(0)
    except (RuntimeError, ValueError, KeyError, TypeError, OSError) as error:
        raise InputError(f"{folder}: timm cannot load it: {_first_line(error)}") from error
    settings = network.pretrained_cfg
    channels, height, width = settings["input_size"]
    if channels != 3 or (input_size is None and height != width):
        raise InputError(
            f"{folder} wants {channels} x {height} x {width} input; "
            "only square images of 3 channels are made here"
        )
    return Source(
        module=network,
        architecture=config["architecture"],
        origin=config["architecture"],
        input_size=height,
        mean=tuple(settings["mean"]),
        std=tuple(settings["std"]),
        interpolation=settings["interpolation"],
    )


def _load_transformers(
    folder: Path, config: dict[str, Any], trust_remote_code: bool, pinned: bool
) -> Source:
    from reid.models.networks import OneOutput

    transformers = optional.transformers()
    code = code_files(folder)
    own_code = bool(code) and config.get("model_type") not in transformers.CONFIG_MAPPING
    if own_code:
        check_custom_code(str(folder), trust_remote_code=trust_remote_code, pinned=pinned)
    try:
        load = _load_custom if own_code else _load_builtin
        network = load(transformers, folder)
    except (RuntimeError, ValueError, KeyError, TypeError, OSError, ImportError) as error:
        raise InputError(f"{folder}: transformers cannot load it: {_first_line(error)}") from error
    origin = type(network).__name__
    if own_code:
        # Every file counts: the entry files may import others of the folder.
        for path in sorted(folder.glob("*.py")):
            origin += f" {path.name}:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    size, mean, std, interpolation = _image_processor(folder)
    return Source(
        module=OneOutput(network),
        architecture=type(network).__name__,
        origin=origin,
        input_size=size,
        mean=mean,
        std=std,
        interpolation=interpolation,
    )


def check_custom_code(name: str, *, trust_remote_code: bool, pinned: bool) -> None:
    """Refuse to run a repository's own Python code unless it is allowed and cannot change.

    Raises:
        InputError: one of the two is missing; the message says what the risk is and what to set.
    """
    missing = []
    if not trust_remote_code:
        missing.append("trust_remote_code: true")
    if not pinned:
        missing.append("revision: <the 40 hex digits of a commit>")
    if missing:
        raise InputError(
            f"{name} runs Python code from its own repository, with your rights. Read that code, "
            f"then set {' and '.join(missing)}. A branch or a tag is not enough: its owner could "
            "change the code under you"
        )


def _load_custom(transformers: Any, folder: Path) -> "torch.nn.Module":
    """Build the repository's own class and fill it strictly.

    Not `from_pretrained`: since version 5 it needs things of the class that code written for
    version 4 does not have, and weights that the file lacks would stay random.
    """
    config = transformers.AutoConfig.from_pretrained(
        str(folder), trust_remote_code=True, local_files_only=True
    )
    if getattr(config, "pretrained", False):
        # Such classes fetch a backbone that the weights below overwrite.
        config.pretrained = False
    network: torch.nn.Module = transformers.AutoModel.from_config(config, trust_remote_code=True)
    weights = _read_weights(folder)
    result = network.load_state_dict(weights, strict=False)
    if result.missing_keys:
        raise InputError(f"{folder} lacks weights of its own network: {_some(result.missing_keys)}")
    return network.float()


def _load_builtin(transformers: Any, folder: Path) -> "torch.nn.Module":
    import torch

    network, result = transformers.AutoModel.from_pretrained(
        str(folder), dtype=torch.float32, local_files_only=True, output_loading_info=True
    )
    # A checkpoint trained with another head has no weights for the pooler, which would then be
    # random: without it the class token is taken.
    missing = [key for key in result["missing_keys"] if not key.startswith("pooler.")]
    if missing:
        raise InputError(f"{folder} lacks weights of its network: {_some(missing)}")
    if result["missing_keys"]:
        network.pooler = None
    return network  # type: ignore[no-any-return]


def _read_weights(folder: Path) -> dict[str, "torch.Tensor"]:
    import torch
    from safetensors.torch import load_file

    weights: dict[str, torch.Tensor] = {}
    for file in weight_files(folder):
        if file.suffix == ".safetensors":
            weights |= load_file(file)
        else:
            weights |= torch.load(file, map_location="cpu", weights_only=True)
    return weights


def _image_processor(folder: Path) -> tuple[int | None, Triple | None, Triple | None, str | None]:
    """Input size, mean, std and interpolation of `preprocessor_config.json`; None where unsaid."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return None, None, None, None
    settings = _read_json(path)
    size = settings.get("size")
    if settings.get("do_center_crop") and settings.get("crop_size"):
        size = settings["crop_size"]
    if isinstance(size, dict):
        sides = {size[key] for key in ("height", "width", "shortest_edge") if size.get(key)}
        if len(sides) > 1:
            raise InputError(f"{path}: size {size} is not square; only square input is made here")
        size = sides.pop() if sides else None
    mean, std = settings.get("image_mean"), settings.get("image_std")
    if settings.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    resample = settings.get("resample")
    if resample is not None and resample not in _RESAMPLE:
        raise InputError(f"{path}: resample {resample}; known: 2 (bilinear), 3 (bicubic)")
    return (
        size,
        tuple(mean) if mean else None,
        tuple(std) if std else None,
        _RESAMPLE[resample] if resample is not None else None,
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path.parent} is no model: it has no {path.name}") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: an object was expected, not {type(content).__name__}")
    return content


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
