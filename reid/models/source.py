"""A network as a repository gives it, with what it wants of images."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reid.models.hub import weight_files
from reid.models.spec import Triple

if TYPE_CHECKING:
    import torch


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


def stored_bytes(folder: Path) -> int:
    """How many bytes the weights of a repository are."""
    return sum(file.stat().st_size for file in weight_files(folder))


def first_line(error: Exception) -> str:
    """What an error says, without the pages that follow."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
