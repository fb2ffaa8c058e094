"""`reid classify`: a small classifier with random weights against plain timm, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from PIL import Image

from tests.training_toy import write_model

QUICK = ("embed.runtime=torch", "embed.ray=never", "embed.tta=[identity]")
TREE = "class_index,order,genus\n0,Hymenoptera,Apis\n1,Hymenoptera,Bombus\n2,Diptera,Musca\n"


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    folder.mkdir()
    model = timm.create_model("test_efficientnet")
    size = model.pretrained_cfg["input_size"][1]  # so that nothing is resized
    rng = np.random.default_rng(0)
    for number in range(5):
        pixels = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def probabilities(model: Path, pictures: Path) -> np.ndarray:
    """(5, 3), by plain timm."""
    network = timm.create_model(f"local-dir:{model}", pretrained=True).eval()
    mean, std = (
        torch.tensor(network.pretrained_cfg[name]).view(3, 1, 1) for name in ("mean", "std")
    )
    rows = []
    for number in range(5):
        pixels = torch.from_numpy(np.array(Image.open(pictures / f"{number}.png")))
        with torch.inference_mode():
            rows.append(
                network(((pixels.permute(2, 0, 1) / 255 - mean) / std)[None]).softmax(-1)[0]
            )
    return torch.stack(rows).numpy()


def test_labels_are_the_sums_of_what_the_head_says(
    reid: Callable[..., int], tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(write_model(tmp_path / "model"))
    (tmp_path / "tree.csv").write_text(TREE)
    command = (
        "classify",
        "-i",
        pictures,
        "-m",
        model,
        "-o",
        tmp_path / "out",
        "--max-failures",
        "1",
    )
    assert reid(*command, "--taxonomy", tmp_path / "tree.csv", *QUICK) == 0
    assert "classify: 5 pictures; sure (over 0.5) down" in capsys.readouterr().err
    p = probabilities(model, pictures)
    found = pd.read_parquet(tmp_path / "out" / "taxa.parquet").sort_values("image_path")
    orders = np.stack([p[:, :2].sum(axis=1), p[:, 2]], axis=1)
    np.testing.assert_allclose(found["order_probability"], orders.max(axis=1), atol=1e-4)
    np.testing.assert_allclose(found["genus_probability"], p.max(axis=1), atol=1e-4)
    assert (
        found["order"].tolist() == np.array(["Hymenoptera", "Diptera"])[orders.argmax(1)].tolist()
    )
    sure = p.max(axis=1) > 0.5
    assert found["rank"].tolist() == np.where(sure, "genus", "order").tolist()
    listed = pd.read_csv(tmp_path / "out" / "taxa.csv")
    assert listed.columns.tolist() == found.columns.tolist()
    assert len(pd.read_csv(tmp_path / "out" / "failures.csv")) == 1


def test_the_names_of_the_models_classes_may_be_the_tree(
    reid: Callable[..., int], tmp_path: Path, pictures: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Path(write_model(tmp_path / "model"))
    command = (
        "classify",
        "-i",
        pictures,
        "-m",
        model,
        "-o",
        tmp_path / "out",
        "--max-failures",
        "1",
        *QUICK,
    )
    assert reid(*command) == 1
    assert "no label_names that spell out ranks" in capsys.readouterr().err
    settings = json.loads((model / "config.json").read_text())
    settings["label_names"] = [
        "Apidae;Apis;mellifera",
        "Apidae;Apis;cerana",
        "Muscidae;Musca;domestica",
    ]
    (model / "config.json").write_text(json.dumps(settings))
    assert reid(*command) == 0
    assert "5 skipped as they were embedded already" in capsys.readouterr().err
    found = pd.read_parquet(tmp_path / "out" / "taxa.parquet")
    assert {"family", "genus", "species"} < {*found.columns}

    # Class probabilities are vectors as others are: pictures of like taxa lie together.
    quick = ("cluster.method=kmeans", "cluster.n_clusters=2", "report.enabled=false")
    again = (
        "run",
        "-i",
        pictures,
        "-m",
        f"classes:{model}",
        "-o",
        tmp_path / "run",
        "--max-failures",
        "1",
    )
    assert reid(*again, *QUICK, *quick) == 0
    assert reid(*command[:5], "-o", tmp_path / "run", *QUICK) == 1
    assert "give another --out" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("efficientnet-lite0", "of packaged models the features alone are read"),
        ("efficientnet-lite0,efficientnet-lite1", "one model for all species"),
    ],
)
def test_models_without_a_head(
    reid: Callable[..., int], tmp_path: Path, pictures: Path,
    capsys: pytest.CaptureFixture[str], model: str, expected: str,
) -> None:  # fmt: skip
    assert reid("classify", "-i", pictures, "-m", model, "-o", tmp_path / "out") == 1
    assert expected in capsys.readouterr().err
