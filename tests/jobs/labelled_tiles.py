"""A fine-tuning that takes seconds: a few labelled pictures, settings, and what a run leaves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

# Small pictures, two epochs, one thread: others test on the same cores.
QUICK = (
    "finetune.epochs=2", "finetune.input_size=64", "finetune.identities=4", "finetune.precision=fp32",
    "finetune.cpus_per_worker=1", "finetune.hold_out=0.3", "finetune.validation_share=0.3",
    "embed.runtime=torch", "embed.cpus_per_worker=1", "embed.workers=1",
)  # fmt: skip
INDIVIDUALS, IMAGES = 12, 4


def metrics_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "metrics.json").read_text()))


def history_of(out: Path) -> list[dict[str, Any]]:
    return list(json.loads((out / "history.json").read_text()))


def model_of(out: Path) -> Path:
    (folder,) = (out / name for name in ("checkpoint", "rejected") if (out / name).exists())
    return folder


def make_labelled(folder: Path) -> Path:
    """12 individuals of coloured tiles in four lights each; one unlabelled picture, one broken."""
    rows = []
    for individual in range(INDIVIDUALS):
        tiles = np.random.default_rng(individual).integers(0, 256, (5, 6, 3))
        for number in range(IMAGES):
            light = np.random.default_rng([individual, number]).uniform(0.5, 1.0)
            pixels = np.kron((tiles * light).astype(np.uint8), np.ones((16, 16, 1), np.uint8))
            path = folder / f"{individual:02d}-{number}.png"
            Image.fromarray(pixels).save(path)
            rows.append((path.name, f"animal {individual}", "lynx", f"{individual}-{number}"))
    (folder / "broken.png").write_bytes(b"no picture")
    rows += [("broken.png", "animal 0", "lynx", "broken"), (rows[0][0] + "x", None, "lynx", None)]
    table = pd.DataFrame(rows, columns=["path", "identity", "species", "encounter_id"])
    table.to_csv(folder / "labelled.csv", index=False)
    return folder / "labelled.csv"


def assert_same_training(out: Path, first: Path) -> None:
    """An interruption changes nothing: the weights are those of the run that had none."""
    assert metrics_of(out)["weights_of_ranks"] == metrics_of(first)["weights_of_ranks"]
    assert metrics_of(out)["after"] == metrics_of(first)["after"]
    for name in ("epoch", "loss", "images", "validation"):
        assert [r[name] for r in history_of(out)] == [r[name] for r in history_of(first)]
