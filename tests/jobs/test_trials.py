"""What was tried is kept: trials.csv, what a clustering replaces, `reid compare` and `--grid`."""

import csv
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import jobs.run
from jobs.cluster.groups import read_groups
from jobs.cluster.trials import COLUMNS, COUNTS, changed_settings, read_trials
from jobs.common import outputs
from reid.config import load_config
from reid.errors import DamagedError
from tests.jobs import made_up
from tests.training_toy import write_model

Reid = Callable[..., int]
Said = Callable[[], str]

# Twelve animals at 10° steps, two pictures 1° apart of each, so that 0.001 tells all of them apart.
ANIMALS = {f"{who}{k}": 10 * who + k for who in range(12) for k in range(2)}


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    def text() -> str:
        told = capsys.readouterr()
        return " ".join((told.err + told.out).split())

    return text


@pytest.fixture
def herd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A labelled table of them; vectors are made up, and there is no Ray."""
    made_up.stand_in(monkeypatch.setattr)
    monkeypatch.setattr(jobs.run, "ray_session", lambda _: nullcontext())
    made_up.photograph(tmp_path / "images", {k: made_up.at(v) for k, v in ANIMALS.items()})
    with (tmp_path / "herd.csv").open("w", newline="") as file:
        sheet = csv.writer(file)
        sheet.writerow(["path", "species", "identity"])
        for name in ANIMALS:
            sheet.writerow([f"images/{name}.jpg", "=lynx", name[:-1]])
    return tmp_path / "herd.csv"


def run(reid: Reid, herd: Path, out: Path, *settings: str) -> None:
    common = ("report.enabled=false", "--store", herd.parent / "embeddings")
    assert reid("run", "-i", herd, "-o", out, *common, *settings) == 0


def test_every_clustering_is_a_row_and_says_what_it_replaces(
    reid: Reid, herd: Path, tmp_path: Path, said: Said
) -> None:
    out = tmp_path / "out"
    run(reid, herd, out)
    assert "replace" not in said()
    assert reid("cluster", "-o", out, "cluster.eps=0.5") == 0
    told = said()
    assert "replace those of trial 1 (all defaults)" in told
    assert reid("cluster", "-o", out, "cluster.eps=0.5") == 0
    assert "replace" not in said(), "they are the same"
    run(reid, herd, out, "cluster.method=average")
    assert "replace those of trial 2 (cluster.eps=0.5)" in said()
    tuned, given, average = read_trials(str(out))
    assert [row["trial"] for row in (tuned, given, average)] == ["1", "2", "3"]
    assert {row["species"] for row in (tuned, given)} == {"=lynx"}
    assert tuned["settings"] == ""
    assert tuned["from"] == "tuned"
    assert float(tuned["ari"]) == 1
    assert 0 <= float(tuned["held_out"]) <= 1
    assert (tuned["images"], tuned["individuals"], tuned["singletons"]) == ("24", "12", "0")
    assert (given["settings"], given["held_out"], given["individuals"]) == (
        "cluster.eps=0.5",
        "",
        "1",
    )
    assert average["method"] == "average"
    assert tuned["embeddings"] == made_up.RECIPE


def test_a_damaged_table_is_an_error_and_stays(tmp_path: Path) -> None:
    assert read_trials(str(tmp_path)) == []
    whole = dict.fromkeys(COLUMNS, "") | dict.fromkeys(COUNTS, "1")
    place = tmp_path / outputs.TRIALS

    def write(row: dict[str, str]) -> None:
        place.write_text("\n".join([",".join(row), ",".join(row.values())]))

    write(whole)
    assert read_trials(str(tmp_path)) == [whole]
    for wrong in (
        {"trial": "1"},
        whole | {"ari": "x"},
        whole | {"images": ""},
        whole | {"held_out": "1"},
    ):
        write(wrong)
        with pytest.raises(DamagedError, match="no table of trials"):
            read_trials(str(tmp_path))
    place.write_bytes(b"\xff\xfe")
    with pytest.raises(DamagedError, match="no table of trials"):
        read_trials(str(tmp_path))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((), ""),
        (("embed.device=cpu", "cluster.memory_gb=1", "embed.workers=3"), ""),
        (("embed.model=a,b", "rerank=auto"), "embed.model=[a,b] rerank.mode=auto"),
        (("cluster.per_species_eps.lynx=0.3",), 'cluster.per_species_eps={"lynx":0.3}'),
        (("images.window=[.1,.1,.9,.9]",), "images.window=[0.1,0.1,0.9,0.9]"),
    ],
)
def test_settings_that_differ_are_told_as_one_can_give_them(
    given: tuple[str, ...], told: str
) -> None:
    config = load_config(overrides=given)
    assert changed_settings(config) == told
    again = load_config(overrides=changed_settings(config).split())
    assert (again.embed.model, again.cluster.per_species_eps) == (
        config.embed.model,
        config.cluster.per_species_eps,
    )


def test_compare_prints_and_draws_what_was_tried(
    reid: Reid, herd: Path, tmp_path: Path, said: Said
) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    run(reid, herd, one)
    assert reid("cluster", "-o", one, "cluster.method=average") == 0
    run(reid, herd, two, "cluster.method=complete")
    said()
    figure = tmp_path / "compare.svg"
    assert reid("compare", one, two, "--to", figure) == 0
    told = said()
    for name in ("one 1", "one 2", "two", "cluster.method=average", "cluster.method=complete"):
        assert name in told
    assert "best on held-out individuals: " in told
    drawn = figure.read_text()
    assert "one 2" in drawn
    assert "=lynx, n = 24 images" in drawn
    shutil.copytree(one, tmp_path / "again" / "one")
    assert reid("compare", one, tmp_path / "again" / "one") == 0
    assert f"{tmp_path}/again/one 2: cluster.method=average" in said()
    assert reid("compare", tmp_path / "images") == 1
    assert f"no {outputs.TRIALS} here" in said()
    assert reid("compare", one, "--to", tmp_path / "a.doc") == 1
    assert "known endings: png, pdf, svg" in said()


def test_a_grid_runs_all_combinations_over_one_store_and_compares_them(
    reid: Reid, herd: Path, tmp_path: Path, said: Said
) -> None:
    out = tmp_path / "grid"
    common = ("-i", herd, "-o", out, "report.enabled=false")
    values = (
        "--grid",
        "cluster.method=dbscan,complete",
        "--grid",
        "embed.tta=identity,[identity,hflip]",
    )
    assert reid("run", *common, *values) == 0
    names = [
        f"method-{method}_tta-{views}"
        for method in ("dbscan", "complete")
        for views in ("identity", "identity-hflip")
    ]
    assert {path.name for path in out.iterdir()} == {*names, "embeddings", "compare.png"}
    told = said()
    assert all(f"of 4: {name}" in told for name in names)
    assert read_trials(str(out / names[1]))[0]["settings"] == "cluster.method=dbscan"
    assert read_trials(str(out / names[2]))[0]["settings"] == (
        "embed.tta=[identity] cluster.method=complete"
    )
    assert reid("compare", out) == 0
    told = said()
    assert all(name in told for name in names)


@pytest.mark.parametrize(
    ("grid", "expected"),
    [
        (["cluster.method=dbscan"], "write KEY=VALUE,VALUE"),
        (["cluster.method=dbscan,dbscan"], "are values repeated?"),
        (["cluster.method=dbscan,best"], "cluster.method"),
        (["cluster.eps=.1,.2", "cluster.eps=.3,.4"], "cluster.eps is given twice"),
        (["out=a,b"], "out is the same for all of them"),
    ],
)
def test_a_grid_is_checked_before_anything_runs(
    reid: Reid, tmp_path: Path, said: Said, grid: list[str], expected: str
) -> None:
    options = [text for one in grid for text in ("--grid", one)]
    assert reid("run", "-i", tmp_path, "-o", tmp_path / "out", *options) == 1
    assert expected in said()
    assert not (tmp_path / "out").exists()


def test_an_ensemble_is_joined_from_its_models_and_has_the_vectors_of_embedding_anew(
    reid: Reid, make_photos: Callable[..., list[Path]], tmp_path: Path, said: Said
) -> None:
    make_photos(tmp_path / "photos", range(6))
    models = [write_model(tmp_path / name, seed=seed) for seed, name in enumerate("ab")]
    common = (
        "-i",
        tmp_path / "photos",
        "embed.ray=never",
        "embed.runtime=torch",
        "embed.tta=identity",
    )

    def embed(model: str, out: str, store: str) -> np.ndarray:
        options = ("-o", tmp_path / out, "--store", tmp_path / store)
        assert reid("embed", *common, *options, "--model", model) == 0
        (group,) = read_groups(str(tmp_path / out))
        return group.vectors

    both = ",".join(models)
    for model in models:
        embed(model, "out", "shared")
    said()
    joined = embed(both, "out", "shared")
    assert "6 of 6 joined from what is stored of" in said()
    anew = embed(both, "other", "own")
    assert "joined" not in said()
    np.testing.assert_allclose(joined, anew, atol=1e-5)
