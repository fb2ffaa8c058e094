"""From a model's name to a network that is ready to embed."""

import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reid import optional
from reid.errors import InputError, ReidError
from reid.models.hub import cached_repository, fetch_repository
from reid.models.limits import input_side, read_object
from reid.models.packaged import is_weight, load_packaged
from reid.models.repository import check_custom_code, load_repository
from reid.models.source import Source
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
        architecture: name in timm's registry, or the class of a transformers network.
        input_size: side of the square input in pixels: the whole box is resized to it.
        dimension: length of a feature row.
        mean, std: per channel, of pixels in 0..1.
        interpolation: `bilinear` or `bicubic`, antialiased.
        digest: hex, over architecture, weights and preprocessing: what changes it changes features.
    """

    name: str
    module: "torch.nn.Module"
    architecture: str
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
    """Load a model by name, in eval mode and without gradients.

    Args:
        name: see `find_spec`.
        trust_remote_code: let a repository run its own Python code. From the hub it then needs a
            commit as its revision; the code of a local folder is taken as it lies there.
        revision: commit, tag or branch of a hub repository; also written `<name>@<revision>`.
        device: where the module is put, as torch writes it.

    Raises:
        InputError: the name, the revision or the files of the model cannot be used.
        MissingPackageError: a package that the model needs is not installed.
        StorageError: the hub cannot be reached and the model is not on this machine.
    """
    import torch

    spec = find_spec(name, revision=revision)
    source = _load_source(spec, trust_remote_code)
    # What the table says goes before what the repository says: authors' code and settings disagree.
    input_size = spec.input_size or source.input_size
    mean, std = spec.mean or source.mean, spec.std or source.std
    interpolation = spec.interpolation or source.interpolation
    if input_size is None or mean is None or std is None:
        raise InputError(
            f"model {name!r} does not say how its input is prepared; put a preprocessor_config.json "
            'beside its weights: {"size": {"height": 224, "width": 224}, "image_mean": [r, g, b], '
            '"image_std": [r, g, b], "resample": 3}'
        )
    if interpolation not in ("bilinear", "bicubic"):
        raise InputError(f"model {name!r}: interpolation {interpolation!r}; bilinear or bicubic")
    input_side(input_size, f"model {name!r}: input size")
    module = source.module.eval().requires_grad_(False)
    try:
        with torch.inference_mode():
            shape = tuple(module(torch.zeros(1, 3, input_size, input_size)).shape)
    except ReidError:
        raise
    # A network of somebody's making may raise anything on the first image that it sees.
    except Exception as error:
        raise InputError(
            f"model {name!r} gives no features for one image of {input_size} x {input_size}: {error}"
        ) from error
    expected = (1, spec.dimension or shape[-1])
    if shape != expected:
        raise InputError(f"model {name!r} gives features {shape}, where {expected} is expected")
    preparation = f"{source.origin} {input_size} {mean} {std} {interpolation}"
    return LoadedModel(
        name=name,
        digest=weights_digest(module, preparation),
        module=module.to(device),
        architecture=source.architecture,
        input_size=input_size,
        dimension=shape[-1],
        mean=mean,
        std=std,
        interpolation=interpolation,
    )


def availability(spec: ModelSpec) -> str:
    """Where a model is, without asking the network.

    Returns:
        `packaged` (inside an installed package), `cached` (its files are on this machine),
        `needs download`, or `missing` (the package or the folder is not there).
    """
    if spec.loader == "packaged":
        return "packaged" if importlib.util.find_spec(spec.source) else "missing"
    if spec.loader == "folder":
        from reid import store

        return "cached" if store.is_folder(spec.source) else "missing"
    repository = _repository(spec)
    try:
        found = cached_repository(repository, spec.revision)
    except InputError:  # a damaged copy: loading it says what is wrong with it
        found = None
    return "cached" if found else "needs download"


def _load_source(spec: ModelSpec, trust_remote_code: bool) -> Source:
    if spec.classes and spec.loader == "packaged":
        raise InputError(
            f"model {spec.name!r}: of packaged models the features alone are read; take timm:<name> or a folder"
        )
    if spec.loader == "packaged":
        module, architecture = load_packaged(spec.source)
        return Source(module, architecture, architecture, None, None, None, None)
    if spec.loader == "folder":
        return _load_folder(spec, trust_remote_code)
    pinned = re.fullmatch(r"[0-9a-f]{40}", spec.revision or "") is not None
    if spec.custom_code:
        # Asked before anything is downloaded.
        check_custom_code(spec.source, trust_remote_code=trust_remote_code, pinned=pinned)
    return load_repository(
        fetch_repository(_repository(spec), spec.revision),
        input_size=spec.input_size,
        trust_remote_code=trust_remote_code,
        pinned=pinned,
        classes=spec.classes,
    )


def _load_folder(spec: ModelSpec, trust_remote_code: bool) -> Source:
    from reid import store
    from reid.models.checkpoint import is_checkpoint, load_checkpoint

    if not store.is_folder(spec.source):
        raise InputError(
            f"model {spec.name!r}: there is no folder {spec.source}; "
            "a repository of the hub is written hf:<owner>/<repository>"
        )
    if is_checkpoint(spec.source):
        if spec.classes:
            raise InputError(f"model {spec.name!r}: a checkpoint of ours has no head for classes")
        module, settings = load_checkpoint(spec.source)
        return Source(
            module=module,
            architecture=settings.architecture,
            origin=f"{settings.architecture} {settings.pooling} {settings.neck}",
            input_size=settings.input_size,
            mean=settings.mean,
            std=settings.std,
            interpolation=settings.interpolation,
        )
    if store.is_remote(spec.source):
        raise InputError(
            f"model {spec.name!r} is no checkpoint of ours (it has no model.json), and other formats "
            "are read from a local disk only: copy the folder"
        )
    return load_repository(
        Path(spec.source).expanduser(),
        input_size=None,
        trust_remote_code=trust_remote_code,
        pinned=True,
        classes=spec.classes,
    )


def class_names(name: str, *, revision: str | None = None) -> list[str] | None:
    """What the classes of a model with a head are called, by its config.json; None where it does not say.

    Args:
        name, revision: as of `load_model`, which has loaded it before.

    Raises:
        InputError: the list is none of texts.
    """
    spec = find_spec(name, revision=revision)
    folder = (
        Path(spec.source).expanduser()
        if spec.loader == "folder"
        else cached_repository(_repository(spec), spec.revision)
    )
    config = read_object(folder / "config.json") if folder else {}
    said = config.get("pretrained_cfg")
    names = config.get("label_names") or (said if isinstance(said, dict) else {}).get("label_names")
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise InputError(f"{folder}/config.json: label_names is no list of texts")
    return names


def _repository(spec: ModelSpec) -> str:
    """The hub repository of a `hub` or `timm` model."""
    if spec.loader == "hub":
        return spec.source
    timm = optional.timm()
    try:
        settings = timm.get_pretrained_cfg(spec.source)
    except RuntimeError as error:
        raise InputError(f"model {spec.name!r}: {error}") from error
    if settings is None or not settings.hf_hub_id:
        similar = timm.list_pretrained(f"*{spec.source.partition('.')[0]}*")[:5]
        hint = f"; similar: {', '.join(similar)}" if similar else ""
        raise InputError(
            f"timm {timm.__version__} has no pretrained weights on the hub for {spec.source!r}{hint}"
        )
    return str(settings.hf_hub_id)


def weights_digest(module: "torch.nn.Module", preparation: str) -> str:
    """First 16 hex digits of SHA-256 over every weight (name, type, shape, bytes) and a text.

    Weights are taken in the order of their names, so the digest does not depend on how the file
    was written.
    """
    import torch

    digest = hashlib.sha256(preparation.encode())
    for key, tensor in sorted(module.state_dict().items()):
        if is_weight(key):
            digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            array = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
            digest.update(array.data)
    return digest.hexdigest()[:DIGEST_LENGTH]
