"""A small thing to train: individuals that are patterns of colours, and a network to learn them."""

import numpy as np
import timm
import torch

from reid.training import ClassTable, TrainSettings
from reid.training.pixels import Pixels

SIDE = 32
LEARNS = {"epochs": 20, "lr": 2e-3, "head_lr": 1e-2}  # what it takes on the toy
QUICK = {
    "input_size": SIDE,
    "identities": 4,
    "images": 2,
    "epochs": 4,
    "precision": "fp32",
    "warmup_epochs": 1,
    "crop_scale": 0.8,
    "rotation_degrees": 0.0,
    "erase_probability": 0.0,
    "brightness": 0.2,
    "contrast": 0.2,
    "saturation": 0.2,
}


def write_model(folder, architecture="test_efficientnet", seed=0):
    """A model in timm's format with random weights; returns its name."""
    torch.manual_seed(seed)
    network = timm.create_model(architecture, num_classes=3)
    timm.models.save_for_hf(network, str(folder), safe_serialization=True)
    return str(folder)


def toy(individuals=8, images=5, species=1, stored=37):
    """Pixels, species, identities: each individual has four patches of colour.

    Each image has a light of its own and noise on top, so that a network which was not trained finds
    some individuals and not all.
    """
    rng = np.random.default_rng(0)
    patches = rng.integers(68, 189, (individuals, 2, 2, 3))
    coats = np.kron(patches, np.ones((1, stored // 2 + 1, stored // 2 + 1, 1)))
    who = np.repeat(np.arange(individuals), images)
    light = rng.integers(-50, 51, (len(who), 1, 1, 3))
    noise = rng.integers(-50, 51, (len(who), stored, stored, 3))
    cache = np.clip(coats[who, :stored, :stored] + light + noise, 0, 255).astype(np.uint8)
    rows = [{"annotation_id": f"a{i}", "image_path": f"{i}.jpg"} for i in range(len(who))]
    pixels = Pixels(rows, stored, cache, [], lambda row: ("read", "not there"), 1)
    kinds = [f"species {i % species}" for i in who]
    return pixels, kinds, [f"individual {i}" for i in who]


def start(model, kinds, names, *, device="cpu", world=1, rank=0, **changed):
    """A trainer of the toy and the codes of its rows."""
    from reid.training.trainer import Trainer

    classes = ClassTable.of(kinds, names)
    settings = TrainSettings(model=model, **(QUICK | changed))
    trainer = Trainer(settings, classes, device=device, rank=rank, world=world)
    return trainer, classes.encode(kinds, names)
