"""Jaguar pairs: train.csv names images and jaguars, test.csv pairs of images; a similarity in [0, 1] for each.

Its steps: fine-tune folds on train.csv (tests/test_recipes.py trains both recipes), embed the test images with each
fold, average the folds' similarities, write `row_id,similarity`.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.jobs import made_up

# degrees; jaguars lie 40° apart
JAGUARS = {f"{name}_{k}.png": 40 * i + 3 * k for i, name in enumerate("abcde") for k in range(3)}


@pytest.mark.usefixtures("photographs")
def test_from_folds_to_similarities(
    reid: Callable[..., int], said: Callable[[], str], tmp_path: Path
) -> None:
    names = list(JAGUARS)
    truth = pd.DataFrame({"filename": names, "ground_truth": [name[0] for name in names]})
    pairs = [(a, b) for a in names for b in names if a < b]
    asked = pd.DataFrame(pairs, columns=["query_image", "gallery_image"])
    asked.insert(0, "row_id", range(len(asked)))
    asked.to_csv(tmp_path / "test.csv", index=False)
    outs = []
    for fold, turned in enumerate((0, 25)):
        images = tmp_path / f"fold-{fold}" / "images"
        vectors = {k.removesuffix(".png"): made_up.at(v + turned) for k, v in JAGUARS.items()}
        made_up.photograph(images, vectors)
        for path in images.glob("*.jpg"):
            path.rename(path.with_suffix(".png"))
        truth.to_csv(images / "train.csv", index=False)
        out = tmp_path / f"test-{fold}"
        columns = ("--column", "image_path=filename", "--column", "identity=ground_truth")
        source = ("-i", images / "train.csv", *columns, "--species", "jaguar")
        assert reid("embed", *source, "-o", out, "--store", out / "embeddings") == 0
        outs += ["-o", out]
    said()
    to = tmp_path / "submission.csv"
    common = ("score", *outs, "--pairs", tmp_path / "test.csv", "--to", to)
    for options in (("--scale", "clip"), ("--scale", "calibrated"), ("--rerank",)):
        assert reid(*common, *options) == 0
        assert "identity-balanced mAP: 1.000" in said()
        made = pd.read_csv(to)
        assert made.columns.tolist() == ["row_id", "similarity"]
        assert made["row_id"].tolist() == asked["row_id"].tolist()
        assert made["similarity"].between(0, 1).all()
        same = np.asarray([a[0] == b[0] for a, b in pairs])
        if options != ("--rerank",):  # which compares within a query alone
            assert made["similarity"][same].min() > made["similarity"][~same].max()
