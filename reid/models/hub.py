"""Model repositories of the Hugging Face hub: what is cached here, and fetching the rest.

A repository becomes a local folder first and is loaded from there, so a model from the hub and a
model from a disk go through the same code. A cached copy is used as it is, without asking the hub.
"""

import importlib
import re
from pathlib import Path
from typing import Any

from reid.errors import InputError, StorageError
from reid.models.limits import file_name, read_object
from reid.models.spec import known_models

# The client itself would try six times, for 23 s; a hub that is there answers within this time.
CONNECT_SECONDS = 8.0
_CLASS = re.compile(r"[A-Za-z_]\w*\.[A-Za-z_]\w*")


def cached_repository(repository: str, revision: str | None = None) -> Path | None:
    """The folder of a repository in the local cache, or None where a file of it is missing.

    Never asks the network.

    Args:
        repository: `<owner>/<name>`.
        revision: commit, tag or branch; None is the default branch as it was fetched last.
    """
    import huggingface_hub

    try:
        config = huggingface_hub.try_to_load_from_cache(
            repository, "config.json", revision=revision
        )
    except huggingface_hub.errors.HFValidationError as error:
        raise InputError(f"hub repository {repository!r}: {error}") from error
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    complete = weight_files(folder) and all(
        (folder / name).is_file() for name in code_files(folder)
    )
    return folder if complete else None


def fetch_repository(repository: str, revision: str | None = None) -> Path:
    """The local folder of a repository, downloaded where it is not cached.

    Args:
        repository: `<owner>/<name>`.
        revision: commit, tag or branch; None: the default branch.

    Raises:
        InputError: no such repository or revision, or it may not be read.
        StorageError: the hub cannot be reached; the message says how to work without it.
    """
    folder = cached_repository(repository, revision)
    if folder is not None:
        return folder
    import huggingface_hub
    from huggingface_hub import errors

    # The hub's client has changed its HTTP library twice (requests, httpx, httpx2); its exceptions
    # are not wrapped, and only the session says which library it is.
    http: Any = importlib.import_module(
        type(huggingface_hub.get_session()).__module__.partition(".")[0]
    )
    at = f" at revision {revision!r}" if revision else ""
    try:
        # One request without retries, before the downloads, which retry for long.
        info = huggingface_hub.HfApi().model_info(
            repository, revision=revision, timeout=CONNECT_SECONDS
        )
        names = [file.rfilename for file in info.siblings or []]
        for name in _wanted(names):
            path = huggingface_hub.hf_hub_download(repository, name, revision=revision)
            if name == "config.json":
                folder = Path(path).parent
    except errors.GatedRepoError as error:
        raise InputError(
            f"hub repository {repository!r} asks for consent: accept its terms on its page, then "
            "log in with `hf auth login` or set HF_TOKEN"
        ) from error
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        raise InputError(
            f"hub repository {repository!r}{at} does not exist, or is private: check the spelling, "
            "or log in with `hf auth login`"
        ) from error
    except (OSError, http.HTTPError) as error:
        raise StorageError(_unreachable(repository, at, error)) from error
    if folder is None or not weight_files(folder):
        raise InputError(
            f"hub repository {repository!r}{at} is no image model: it needs config.json and "
            f"model.safetensors (or pytorch_model.bin), and has {', '.join(sorted(names)) or 'none'}"
        )
    return folder


def weight_files(folder: Path) -> list[Path]:
    """The weights of a repository folder, safetensors before pickles; [] where a file is missing.

    Raises:
        InputError: the index of its shards cannot be read, or names files elsewhere.
    """
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        shards = read_object(index).get("weight_map")
        if not isinstance(shards, dict) or not shards:
            raise InputError(f"{index}: no 'weight_map' from weights to files")
        files = [folder / name for name in sorted({file_name(s, index) for s in shards.values()})]
    else:
        names = ("model.safetensors", "pytorch_model.bin")
        files = [folder / name for name in names if (folder / name).is_file()][:1]
    return files if all(file.is_file() for file in files) else []


def code_files(folder: Path) -> list[str]:
    """The Python files that `config.json` of a transformers repository says will be run.

    Raises:
        InputError: it points at code in another repository, which no revision pins, or is no name of
            a class.
    """
    config = read_object(folder / "config.json")
    targets = config.get("auto_map") or {}
    if not isinstance(targets, dict):
        raise InputError(f"{folder}/config.json: auto_map is no object")
    names = set()
    for key in ("AutoConfig", "AutoModel"):
        target = targets.get(key)
        if target is not None:
            if not isinstance(target, str):
                raise InputError(f"{folder}/config.json: auto_map.{key} is no name of a class")
            if "--" in target:
                raise InputError(
                    f"{folder}: config.json takes its code from another repository "
                    f"({target}), which the revision does not pin; copy that code beside the "
                    "weights and give the folder's path"
                )
            if not _CLASS.fullmatch(target):
                raise InputError(
                    f"{folder}/config.json: auto_map.{key}: {target!r} is no <file>.<class> of this folder"
                )
            names.add(target.partition(".")[0] + ".py")
    return sorted(names)


def _wanted(names: list[str]) -> list[str]:
    """What to download: settings, code and one form of the weights, all from the top folder."""
    top = [name for name in names if "/" not in name]
    weights = [name for name in top if name.startswith("model") and name.endswith(".safetensors")]
    # A repository may hold the same weights whole and in shards.
    if "model.safetensors" in weights:
        weights = ["model.safetensors"]
    elif not weights:
        weights = [name for name in top if name == "pytorch_model.bin"]
    settings = ["config.json", "preprocessor_config.json"]
    if len(weights) > 1:
        settings.append("model.safetensors.index.json")
    return [name for name in top if name in settings or name.endswith(".py")] + weights


def _unreachable(repository: str, at: str, error: Exception) -> str:
    from huggingface_hub import constants

    packaged = ", ".join(spec.name for spec in known_models() if spec.loader == "packaged")
    first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"the model hub ({constants.ENDPOINT}) cannot be reached ({first_line}), and {repository}{at}"
        f" is not in the cache ({constants.HF_HUB_CACHE}). Try again, or go on without network: "
        "copy the cache from a machine that has the model and set HF_HOME to it; or copy the "
        "repository's files into a folder and give its path as the model (its own preprocessing "
        "settings then apply); or use a packaged "
        f"model: {packaged}"
    )
