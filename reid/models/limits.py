"""What a model folder says about itself, checked before anything is built from it.

Folders come from anywhere. Their JSON may hold sizes that no network has, and building it would take all
memory, or paths that lead out of the folder.
"""

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reid.errors import InputError

if TYPE_CHECKING:
    import torch

    from reid.models.spec import Triple

LONGEST_JSON = 10_000_000  # bytes; an index of many shards has some hundred thousand
MOST_VALUES = 500_000
LARGEST_INPUT = 4096  # side in pixels
LARGEST_DIMENSION = 65_536

# Largest whole number under keys of these names; under all others 10⁸.
_LARGEST = (
    (re.compile(r"(^|_)(layers|layer|depth|depths|blocks|stages)$"), 1_000),
    (re.compile(r"(^|_)(image|img|input|crop|patch)_size$"), LARGEST_INPUT),
    (re.compile(r"(^|_)(dim|dims|width|channels|features|heads|chans)$"), LARGEST_DIMENSION),
    (
        re.compile(r"^(hidden|intermediate|hidden_sizes|embed).*(size|sizes|dim)$"),
        LARGEST_DIMENSION,
    ),
    (re.compile(r"^num_(classes|labels)$"), 1_000_000),
    (re.compile(""), 100_000_000),
)
_FILE = re.compile(r"[^/\\\0]{1,255}")


def read_object(path: Path) -> dict[str, Any]:
    """The object in a JSON file, with every number in it within what networks have.

    Raises:
        InputError: there is none, or it is no object, or a number in it cannot be.
    """
    try:
        text = path.read_bytes()
        if len(text) > LONGEST_JSON:
            raise InputError(
                f"{path}: {len(text):,} bytes, over the limit of {LONGEST_JSON:,} for settings"
            )
        content = json.loads(text.decode("utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{path.parent} is no model: it has no {path.name}") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply") from error
    return check_object(content, str(path))


def check_object(content: Any, path: str) -> dict[str, Any]:
    """`content` itself, if it is an object of plain values within bounds.

    Raises:
        InputError: it is not; the message names `path` and the key.
    """
    if not isinstance(content, dict):
        raise InputError(f"{path}: an object was expected, not {type(content).__name__}")
    waiting: list[tuple[str, Any]] = list(content.items())
    seen = 0
    while waiting:
        key, value = waiting.pop()
        seen += 1
        if seen > MOST_VALUES:
            raise InputError(f"{path}: more than {MOST_VALUES:,} values")
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, item) for item in value]
        elif isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{path}: {key}: {value} is no number that can be used")
        elif isinstance(value, int) and not isinstance(value, bool):
            most = next(limit for name, limit in _LARGEST if name.search(key))
            if abs(value) > most:
                raise InputError(f"{path}: {key}: {str(value)[:20]} is over the limit of {most:,}")
    return content


def file_name(name: Any, path: Path | str) -> str:
    """A name of a file that lies in the folder itself.

    Raises:
        InputError: it leads elsewhere, or is no name.
    """
    if not isinstance(name, str) or not _FILE.fullmatch(name) or name in (".", ".."):
        raise InputError(
            f"{path}: {name!r} is no name of a file in this folder; files elsewhere are not read"
        )
    return name


def input_side(value: Any, name: str) -> int:
    """A side in pixels.

    Raises:
        InputError: no whole number from 1 to LARGEST_INPUT.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_INPUT:
        raise InputError(f"{name}: {value!r}; a whole number from 1 to {LARGEST_INPUT} is needed")
    return value


def triple(value: Any, name: str, *, positive: bool = False) -> "Triple":
    """Three numbers, one a channel.

    Raises:
        InputError: they are not, or with `positive` one is not above 0.
    """
    numbers = isinstance(value, list | tuple) and all(
        isinstance(one, int | float) and not isinstance(one, bool) and math.isfinite(one)
        for one in value
    )
    if not numbers or len(value) != 3 or (positive and min(value) <= 0):
        kind = "numbers above 0" if positive else "numbers"
        raise InputError(f"{name}: {value!r}; three {kind} are needed, one a channel")
    return (float(value[0]), float(value[1]), float(value[2]))


def check_memory(network: "torch.nn.Module", stored_bytes: int, folder: str) -> None:
    """Refuse a network that is far larger than the weights that are to fill it.

    Args:
        network: built on torch's device `meta`, where it takes no memory.
        stored_bytes: of the files of weights.
        folder: for the error.

    Raises:
        InputError: it would take more memory than weights stored in 8 bits could explain.
    """
    needed = sum(4 * tensor.numel() for tensor in network.state_dict().values())
    if needed > 4 * stored_bytes + (64 << 20):
        raise InputError(
            f"{folder}: its settings make a network of {needed / 1e9:.3g} GB, and its weights have "
            f"{stored_bytes / 1e9:.3g} GB: they do not belong together"
        )
