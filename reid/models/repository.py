"""Networks from folders in timm's and transformers' repository formats."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid import optional
from reid.errors import InputError, ReidError
from reid.models.hub import code_files, weight_files
from reid.models.limits import check_memory, input_side, read_object, triple
from reid.models.source import Source, first_line, stored_bytes
from reid.models.spec import Triple
from reid.models.timm_repository import load_timm
from reid.spelling import list_a_few

if TYPE_CHECKING:
    import torch

# PIL's numbers, which transformers stores.
_RESAMPLE = {2: "bilinear", 3: "bicubic"}


def load_repository(
    folder: Path,
    *,
    input_size: int | None,
    trust_remote_code: bool,
    pinned: bool,
    classes: bool = False,
) -> Source:
    """Load a folder that holds `config.json` and weights, of timm or of transformers.

    Args:
        folder: a copy of a hub repository, or one that `timm.models.save_for_hf` or
            `save_pretrained` wrote.
        input_size: wanted side in pixels; None: the repository's own.
        trust_remote_code: run the Python code of the folder, if it has any.
        pinned: the folder cannot change: it is a disk's, or one commit of the hub.
        classes: with the head, see `ClassProbabilities`.

    Raises:
        InputError: the folder is in neither format, its code may not be run, or it has no head that is read here.
    """
    config = read_object(folder / "config.json")
    if (folder / "adapter_config.json").exists():
        raise InputError(
            f"{folder} holds an adapter (adapter_config.json), which would be put on a network that lies "
            "elsewhere; give a folder with the whole network"
        )
    if not weight_files(folder):
        raise InputError(
            f"{folder} has no weights: model.safetensors (all its shards) or pytorch_model.bin"
        )
    if "architecture" in config:
        return load_timm(folder, config, input_size, classes)
    if classes:
        raise InputError(
            f"classes: {folder} is not in timm's format, the only one of which heads are read"
        )
    if "model_type" in config or "auto_map" in config:
        return _load_transformers(folder, config, trust_remote_code, pinned)
    raise InputError(
        f"{folder}/config.json is neither timm's (it has no 'architecture') nor transformers' "
        "(it has no 'model_type')"
    )


def _load_transformers(
    folder: Path, config: dict[str, Any], trust_remote_code: bool, pinned: bool
) -> Source:
    from reid.models.networks import OneOutput

    transformers = optional.transformers()
    code_files(folder)
    if config.get("use_pretrained_backbone"):
        raise InputError(
            f"{folder}/config.json: use_pretrained_backbone would fetch another network; give a folder with "
            "all of its own weights"
        )
    own_code = _has_own_code(transformers, config)
    if own_code:
        check_custom_code(str(folder), trust_remote_code=trust_remote_code, pinned=pinned)
    # Otherwise it would ask whether to run code, and take whatever lies on stdin for an answer.
    transformers.dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        load = _load_custom if own_code else _load_builtin
        network = load(transformers, folder)
    except ReidError:
        raise
    # transformers trusts its files, and raises whatever their contents lead to.
    except Exception as error:
        raise InputError(f"{folder}: transformers cannot load it: {first_line(error)}") from error
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


def _has_own_code(transformers: Any, config: dict[str, Any]) -> bool:
    """Whether code of the folder would be needed, or could run, to load it.

    Some repositories keep an `auto_map` though transformers has their network by now; that is not
    looked at. But the families of joined networks (encoder–decoder, …) have settings inside of
    settings, each of which may point at code; and types that `AutoModel` does not know fall back to it.
    """
    kind = config.get("model_type")
    known = (
        isinstance(kind, str) and kind in transformers.models.auto.modeling_auto.MODEL_MAPPING_NAMES
    )
    inside = [value for key, value in config.items() if key != "auto_map"]
    return (bool(config.get("auto_map")) and not known) or _mentions(inside, "auto_map")


def _mentions(value: Any, key: str) -> bool:
    """Whether an object somewhere in a JSON value has a key."""
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            if key in one:
                return True
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return False


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
            f"then set {' and '.join(missing)} (embed.trust_remote_code, embed.revision). A branch or a tag is not enough: its owner could "
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
        raise InputError(
            f"{folder} lacks weights of its own network: {list_a_few(result.missing_keys)}"
        )
    return network.float()


def _load_builtin(transformers: Any, folder: Path) -> "torch.nn.Module":
    import torch

    config = transformers.AutoConfig.from_pretrained(
        str(folder), trust_remote_code=False, local_files_only=True
    )
    with torch.device("meta"):
        trial = transformers.AutoModel.from_config(config, trust_remote_code=False)
    check_memory(trial, stored_bytes(folder), str(folder))
    del trial
    network, result = transformers.AutoModel.from_pretrained(
        str(folder),
        dtype=torch.float32,
        local_files_only=True,
        output_loading_info=True,
        trust_remote_code=False,
    )
    if result["mismatched_keys"]:
        wrong = [
            str(key[0] if isinstance(key, tuple) else key) for key in result["mismatched_keys"]
        ]
        raise InputError(
            f"{folder} has weights of other shapes than its settings say: {list_a_few(wrong)}"
        )
    # A checkpoint trained with another head has no weights for the pooler, which would then be
    # random: without it the class token is taken.
    missing = [key for key in result["missing_keys"] if not key.startswith("pooler.")]
    if missing:
        raise InputError(f"{folder} lacks weights of its network: {list_a_few(missing)}")
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
    settings = read_object(path)
    size = settings.get("size")
    if settings.get("do_center_crop") and settings.get("crop_size"):
        size = settings["crop_size"]
    if isinstance(size, dict):
        sides = {
            str(size[key]): size[key]
            for key in ("height", "width", "shortest_edge")
            if size.get(key)
        }
        if len(sides) > 1:
            raise InputError(f"{path}: size {size} is not square; only square input is made here")
        size = next(iter(sides.values()), None)
    if size is not None:
        size = input_side(size, f"{path}: size")
    mean, std = settings.get("image_mean"), settings.get("image_std")
    if settings.get("do_normalize") is False:
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    resample = settings.get("resample")
    if resample is not None and (not isinstance(resample, int) or resample not in _RESAMPLE):
        raise InputError(f"{path}: resample {resample}; known: 2 (bilinear), 3 (bicubic)")
    return (
        size,
        triple(mean, f"{path}: image_mean") if mean else None,
        triple(std, f"{path}: image_std", positive=True) if std else None,
        _RESAMPLE[resample] if resample is not None else None,
    )
