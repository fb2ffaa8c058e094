"""Every choice of a training run."""

from typing import Any

from pydantic import ValidationError

from reid.config.finetune_section import Training
from reid.config.problems import explain
from reid.config.sections import Seed
from reid.errors import InputError


class TrainSettings(Training):
    """What decides the weights that come out, apart from the data: `finetune.…` of the configuration,
    which says what each setting means, and where training starts.

    Attributes:
        model: where training starts, any name that `reid.models.load_model` knows and whose network
            timm can build; also a checkpoint of ours.
        revision, trust_remote_code: see `load_model`.
        seed: of everything random.

    Raises:
        InputError: a value is out of its range, or two do not go together.
    """

    model: str = "efficientnet-lite0"
    revision: str | None = None
    trust_remote_code: bool = False
    seed: Seed = 0

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(explain(error, TrainSettings)) from None
