"""`reid figures` of a run and of a fine-tuning; vectors are made up, no Ray is needed."""

import json
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from PIL import Image

import jobs.run
from tests.jobs import made_up

Reid = Callable[..., int]

ANIMALS = {
    f"{who}{i}": (turn + 4 * i, who) for who, turn in (("a", 0), ("b", 90)) for i in range(4)
}


def run_over(place: Path, reid: Reid, species: dict[str, str]) -> Path:
    """The output folder of a run over two animals; its files hold vectors first, and then pictures."""
    vectors = {name: made_up.at(degrees) for name, (degrees, _) in ANIMALS.items()}
    made_up.photograph(place / "images", vectors)
    rows = "".join(
        f"images/{name}.jpg,{species[who]},{who}\n" for name, (_, who) in ANIMALS.items()
    )
    (place / "table.csv").write_text(f"path,species,identity\n{rows}")
    with pytest.MonkeyPatch.context() as patch:
        made_up.stand_in(patch.setattr)
        patch.setattr(jobs.run, "ray_session", lambda _: nullcontext())
        options = ("cluster.eps=0.01", "report.enabled=false", "--store", place / "out/embeddings")
        assert reid("run", *options, "-i", place / "table.csv", "-o", place / "out") == 0
    for i, name in enumerate(ANIMALS):
        if name != "a1":  # this one is damaged by now
            Image.new("RGB", (64, 48), (30 * i, 90, 0)).save(place / f"images/{name}.jpg")
    return place / "out"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, reid: Reid) -> Path:
    return run_over(tmp_path_factory.mktemp("figures"), reid, {"a": "lynx", "b": "lynx"})


def test_a_run_becomes_figures(ran: Path, reid: Reid, tmp_path: Path) -> None:
    assert reid("figures", "-o", ran, "--to", tmp_path, "--format", "png, svg") == 0
    names = {
        "cluster-sizes", "similarities", "distances", "scores", "neighbours", "pca-individuals", "pca-clusters",
        "tsne-individuals", "tsne-clusters", "individuals", "similar-pairs",
    }  # fmt: skip
    expected = {f"lynx-{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {path.name for path in tmp_path.iterdir()} == expected
    sheet = (tmp_path / "lynx-individuals.svg").read_text()
    assert sheet.count("not readable") == 1


def test_species_of_one_model_share_a_plane(reid: Reid, tmp_path: Path) -> None:
    out = run_over(tmp_path / "two", reid, {"a": "lynx", "b": "otter"})
    assert reid("figures", "-o", out, "--to", tmp_path / "drawn", "--format", "svg") == 0
    for method in ("pca", "tsne"):
        drawn = (tmp_path / "drawn" / f"species-{method}.svg").read_text()
        assert "lynx (n = 4)" in drawn
        assert "otter (n = 4)" in drawn


def test_a_fine_tuning_becomes_its_curves(reid: Reid, tmp_path: Path) -> None:
    history = [{"epoch": i, "loss": 1 / (i + 1), "validation": {"mAP": 0.1 * i}} for i in range(3)]
    (tmp_path / "history.json").write_text(json.dumps(history))
    assert reid("figures", "-o", tmp_path, "--format", "pdf") == 0
    assert [path.name for path in (tmp_path / "figures").iterdir()] == ["training.pdf"]


def test_an_unknown_format_is_known_before_anything_is_drawn(
    ran: Path, reid: Reid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reid("figures", "-o", ran, "--to", tmp_path / "none", "--format", "gif") == 1
    assert "--format gif: known: png, pdf, svg" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
