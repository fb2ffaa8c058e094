"""Which training states a run may go on from."""

import hashlib
from collections.abc import Mapping
from typing import Any

from reid.errors import InputError
from reid.models.networks import FeatureNetwork
from reid.training.classes import ClassTable
from reid.training.settings import TrainSettings


def origin_of(
    settings: TrainSettings, classes: ClassTable, network: FeatureNetwork, *, input_size: int
) -> dict[str, Any]:
    """What a state and the run that goes on from it must agree in, kept in the state."""
    names = "\n".join(
        f"{species}\t{name}"
        for species, group in zip(classes.species, classes.identities, strict=True)
        for name in group
    )
    return {
        "architecture": network.architecture,
        "input_size": input_size,
        "pooling": network.pooling,
        "embedding_dim": network.embedding_dim,
        "loss": settings.loss,
        "subcentres": settings.subcentres,
        "frozen stages": settings.freeze_stages,
        "weights averaged": settings.ema_decay is not None,
        "identities": hashlib.sha256(names.encode()).hexdigest()[:16],
    }


def refuse_other_origin(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a state of another network, other classes or another loss.

    Raises:
        InputError: they differ; names the first difference.
    """
    for key, value in wanted.items():
        if found.get(key) != value:
            raise InputError(
                f"the training state is of {key} {found.get(key)!r}, and this run's is {value!r}; "
                "go on with the settings that it was made with, or choose another folder"
            )
