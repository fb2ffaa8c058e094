"""The recipes of `configs/`: each is read as it is, and trains or embeds a small network."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from reid.config import Config, load_config
from reid.config.finetune_section import Training
from tests.training_toy import SIDE, start, toy, write_model

CONFIGS = Path(__file__).parents[1] / "configs"
# So that a second suffices; everything else is the recipe's.
SMALL = {"input_size": SIDE, "epochs": 2, "identities": 4, "precision": "fp32"}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # small batches gain nothing from more
    yield
    torch.set_num_threads(before)


def recipe(name: str) -> Config:
    return load_config(str(CONFIGS / f"{name}.yaml"))


def test_there_is_a_test_for_each() -> None:
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {
        "animalclef",
        "jaguar-convnext-arcface",
        "jaguar-linear512-ce",
    }


def test_animalclef_has_a_model_and_views_for_each_species() -> None:
    """It is run by tests/parity/test_animalclef.py."""
    config = recipe("animalclef")
    assert config.embed.route("lynx").model == ["megadescriptor-l-384", "miewid-msv3"]
    assert config.embed.route("salamander").tta == ["identity", "rot90", "rot180", "rot270"]
    assert config.embed.route("another").model == ["megadescriptor-l-384"]
    assert (config.cluster.eps, config.rerank.mode) == ("auto", "auto")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "jaguar-convnext-arcface",
            {"folds": 5, "pooling": "gem", "loss": "arcface", "scale": 30, "margin_rad": 0.5, "epochs": 8,
             "input_size": 224, "embedding_dim": None},
        ),
        (
            "jaguar-linear512-ce",
            {"folds": 0, "embedding_dim": 512, "loss": "cross_entropy", "label_smoothing": 0.05,
             "sampling": "identities"},
        ),
    ],
)  # fmt: skip
def test_a_recipe_trains_a_small_network(
    name: str, expected: dict[str, object], tmp_path: Path
) -> None:
    asked = recipe(name).finetune
    assert {key: getattr(asked, key) for key in expected} == expected
    assert asked.identities * asked.images == 32
    pixels, kinds, names = toy()
    chosen = asked.model_dump(include=set(Training.model_fields)) | SMALL
    trainer, codes = start(write_model(tmp_path / "toy"), kinds, names, **chosen)
    rows = np.arange(len(codes))
    first, second = (trainer.train_epoch(epoch, pixels, rows, codes) for epoch in range(2))
    assert np.isfinite([first.loss, second.loss]).all()
    assert second.steps - first.steps == np.ceil(first.steps * asked.hard_share)
    vectors = trainer.embed(pixels, rows)
    assert vectors.shape == (40, asked.embedding_dim or trainer.network.backbone.num_features)
