"""`import reid`: a dozen functions that compose, and the notebook that uses them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import reid
from reid.errors import InputError
from reid.tune import Clustering, find_individuals
from tests.golden.make import animals
from tests.training_toy import write_model

NOTEBOOKS = Path(__file__).parents[1] / "docs" / "notebooks"


def test_import_loads_nothing_and_every_name_is_there_when_asked_for() -> None:
    told = "import sys, reid; print('numpy' in sys.modules, 'torch' in sys.modules, dir(reid) > [])"
    ended = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["False", "False", "True"]
    for name in reid.__all__:
        assert callable(getattr(reid, name)), name
    with pytest.raises(AttributeError, match="no attribute 'clutser'; it offers agreement, "):
        reid.clutser  # noqa: B018


def test_joined_vectors_have_the_weighted_mean_of_the_models_cosines() -> None:
    one, _ = animals(1)
    two, _ = animals(2)
    joined = reid.join_vectors(one, two, weights=[3, 1])
    expected = 0.75 * one @ one.T + 0.25 * two @ two.T
    np.testing.assert_allclose(joined @ joined.T, expected, atol=1e-6)
    with pytest.raises(InputError, match=r"\[60, 59\] rows"):
        reid.join_vectors(one, two[1:])
    with pytest.raises(InputError, match="weights"):
        reid.join_vectors(one, two, weights=[1, 0])


def test_a_tuned_threshold_clusters_other_rows_as_the_engine_does() -> None:
    rows, names = animals()
    labelled = names != None  # noqa: E711  element by element
    tuned = reid.tune_threshold(rows[labelled], names[labelled])
    whole = find_individuals(rows[labelled], names[labelled], Clustering(method="auto"))
    assert tuned == whole.threshold
    found = reid.cluster_rows(rows[~labelled], tuned)
    plain = reid.cluster_rows(rows[~labelled], tuned.eps, method=tuned.method)  # type: ignore[arg-type]
    assert reid.agreement(found, plain).ari == 1
    assert reid.agreement(found, np.repeat(np.arange(12), 5)[~labelled]).ari > 0.8
    many = reid.cluster_rows(rows, method="kmeans", n_clusters=12)
    assert len(np.unique(many)) == 12
    with pytest.raises(InputError, match="leave method out"):
        reid.cluster_rows(rows, tuned, method="complete")
    with pytest.raises(InputError, match="1 labelled images of 1 individuals are too few"):
        reid.tune_threshold(rows, [*["a"], *[None] * 59])


def test_a_pair_has_its_similarity() -> None:
    rows = np.eye(2, dtype=np.float32)
    opposite = np.concatenate([rows, -rows])
    pairs = np.asarray([[0, 0], [0, 1], [0, 2]])
    assert reid.pair_similarity(opposite, pairs).tolist() == [1, 0.5, 0]
    assert reid.pair_similarity(opposite, pairs, "clip").tolist() == [1, 0, 0]
    with pytest.raises(InputError, match="scale calibrated: known: clip, affine"):
        reid.pair_similarity(rows, pairs, "calibrated")


def test_rows_and_vectors_are_those_of_images_that_can_be_read(tmp_path: Path) -> None:
    for number in (0, 2):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    (tmp_path / "1.png").write_bytes(b"no picture")
    table, _ = reid.read_annotations([str(tmp_path)], species="lynx")
    model = write_model(tmp_path / "model")
    found = reid.embed(table, model, views=["identity"])
    assert found.rows["image_path"].to_pylist() == ["0.png", "2.png"]
    assert found.failures["image_path"].to_pylist() == ["1.png"]
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    with pytest.raises(InputError, match="none of 1 images could be embedded; the first: "):
        reid.embed(table.slice(1, 1), model, views=["identity"])


def test_the_notebook_runs_on_the_herd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "Agg")
    cells = json.loads((NOTEBOOKS / "animalclef.ipynb").read_text(encoding="utf-8"))["cells"]
    space: dict[str, Any] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "a notebook is committed without its outputs"
            source = "".join(cell["source"])
            exec(compile(source, cell["id"], "exec"), space)
    space["plt"].close("all")
    made = pd.read_csv("submission.csv", dtype=str)
    assert made["image_path"].tolist() == space["sample"]["image_path"].tolist()
    assert made["cluster"].str.fullmatch(r"cluster_[\w-]+_\d+").all()
    assert space["scores"]["ARI, test"].mean() > 0.2
