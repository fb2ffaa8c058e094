"""Patch tokens and what comes of them, from the command line, on a small vision transformer with random weights."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import timm
import torch

from jobs.common import outputs
from reid import embeddings, store
from reid.embedder import Embedder
from reid.images import decode_crop
from reid.models import load_model
from tests.jobs.embedding_runs import failures_by_file, stored_rows, written

Reid = Callable[..., int]
HERE = ("embed.ray=never", "embed.runtime=torch", "embed.cpus_per_worker=1", "--max-failures", "1")
SIDE, WIDTH = 10, 64
IMAGES = 7


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "vit"
    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=2)
    timm.models.save_for_hf(network, str(folder), safe_serialization=True)
    return folder


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, make_photos: Callable) -> Path:
    """Seven pictures, of which one is broken."""
    folder = tmp_path_factory.mktemp("photos") / "lynx"
    make_photos(folder, range(IMAGES))[3].write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def stored(vit: Path, photos: Path, reid: Reid, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of `reid embed embed.tokens=true`; tests that change it take a copy."""
    out = tmp_path_factory.mktemp("stored") / "out"
    assert embed(reid, photos, out, vit, "embed.tokens=true", "embed.shard_rows=3") == 0
    return out


def embed(reid: Reid, photos: Path, out: Path, model: Path, *more: str) -> int:
    return reid("embed", "-i", photos, "-o", out, "-m", model, "--species", "lynx", *HERE, *more)


def folder_of(out: Path, what: str) -> Path:
    (folder,) = set(outputs.read_summary(str(out))["embed"][what].values())
    return Path(folder)


def rows_of(out: Path, values: str, what: str = "token_folders") -> dict[str, np.ndarray]:
    """File name → what is stored of it."""
    table = store.read_table(str(out / outputs.ANNOTATIONS))
    names = [Path(path).name for path in table["image_path"].to_pylist()]
    found = {}
    ids = table["annotation_id"].combine_chunks()
    for part in embeddings.iter_embeddings(str(folder_of(out, what)), ids, values=values):
        found |= zip([names[i] for i in part.places], part.vectors, strict=True)
    return found


def test_tokens_are_stored_beside_embeddings(stored: Path, vit: Path, photos: Path) -> None:
    tokens = rows_of(stored, "tokens")
    assert len(tokens) == len(rows_of(stored, "embedding", "folders")) == IMAGES - 1
    assert {name: stage for name, (stage, _) in failures_by_file(stored).items()} == {
        "003.png": "decode"
    }
    part = next(folder_of(stored, "token_folders").glob("part-*.parquet"))
    kind = store.read_schema(str(part)).field("tokens").type
    assert str(kind).replace("item", "element") == (
        f"fixed_size_list<element: halffloat>[{SIDE * SIDE * WIDTH}]"
    )
    model = load_model(str(vit))
    embedder = Embedder([model], runtime="torch")
    crop = decode_crop((photos / "002.jpg").read_bytes(), None, target=160, decode="scaled")
    (pixels,) = embedder.prepare(crop.pixels)
    mean, std = np.array(model.mean, np.float32), np.array(model.std, np.float32)
    batch = torch.from_numpy(((pixels / 255 - mean) / std).astype(np.float32).transpose(2, 0, 1))
    expected = model.module.forward_features(batch[None])[0, 1:].flatten().numpy()
    np.testing.assert_allclose(tokens["002.jpg"], expected, atol=4e-3)


def test_a_part_that_is_gone_is_made_again_and_nothing_else(
    stored: Path, vit: Path, photos: Path, reid: Reid, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(stored, out)
    options = ("embed.tokens=true", "embed.shard_rows=3", "--store", str(out / "embeddings"))
    assert embed(reid, photos, out, vit, *options) == 0
    folder = folder_of(out, "token_folders")
    before, rows = written(folder), stored_rows(folder)
    assert len(before) == 2
    lost = sorted(before)[0]
    (folder / lost).unlink()
    assert embed(reid, photos, out, vit, *options) == 0
    after = written(folder)
    assert {name: after[name] for name in before if name != lost} == {
        name: time for name, time in before.items() if name != lost
    }
    assert stored_rows(folder) == rows
    for name, values in rows_of(out, "tokens").items():
        np.testing.assert_allclose(values, rows_of(stored, "tokens")[name], atol=4e-3)


@pytest.mark.usefixtures("local_ray")
def test_ray_and_this_process_store_the_same(
    stored: Path, vit: Path, photos: Path, reid: Reid, tmp_path: Path
) -> None:
    options = ("embed.tokens=true", "embed.ray=always", "embed.workers=2", "embed.shard_rows=2")
    assert embed(reid, photos, tmp_path / "out", vit, *options, "embed.batch_size=1") == 0
    here, there = rows_of(stored, "tokens"), rows_of(tmp_path / "out", "tokens")
    assert here.keys() == there.keys()
    for name, values in here.items():
        np.testing.assert_allclose(there[name], values, atol=4e-3)
    assert failures_by_file(tmp_path / "out") == failures_by_file(stored)


def test_disk_is_looked_at_and_said_before_anything_is_embedded(
    vit: Path, photos: Path, reid: Reid, tmp_path: Path, capsys, monkeypatch
) -> None:
    each = 2 * SIDE * SIDE * WIDTH
    little = SimpleNamespace(free=IMAGES * each - 1)
    monkeypatch.setattr("jobs.common.beforehand.shutil.disk_usage", lambda _: little)
    assert embed(reid, photos, tmp_path / "out", vit, "embed.tokens=true") == 1
    said = capsys.readouterr().err
    assert "patch tokens of 10 × 10 × 64 take 0.013 MB an image" in said
    assert "patch tokens of 7 images take about 0.0 GB" in said
    assert not list((tmp_path / "out").rglob("part-*.parquet"))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("-m", "efficientnet-lite0"), "'efficientnet-lite0' has no patch tokens"),
        (("-m", "timm:convnext_atto.d2_in1k"), "'timm:convnext_atto.d2_in1k' has no patch tokens"),
        (("-m", "dinov2-s,dinov2-b"), "of one model, and embed.model names 2: dinov2-s, dinov2-b"),
        (("-m", "dinov2-s", "embed.per_species.lynx.model=efficientnet-lite1"), "'efficientnet-lite1' has no"),
    ],
)  # fmt: skip
def test_models_without_tokens_are_refused_before_the_images_are_read(
    options: tuple[str, ...], reason: str, reid: Reid, tmp_path: Path, capsys
) -> None:
    for wish in ("embed.tokens=true", "embed.pool=foreground"):
        assert reid("embed", "-i", tmp_path / "none", "-o", tmp_path / "out", wish, *options) == 1
        assert reason in capsys.readouterr().err


def test_pooled_embeddings_come_from_stored_tokens_and_stay_when_images_come(
    stored: Path, vit: Path, photos: Path, reid: Reid, tmp_path: Path, capsys, monkeypatch
) -> None:
    out, pictures = tmp_path / "out", tmp_path / "lynx"
    shutil.copytree(photos, pictures)
    more = ("embed.pool=foreground", "--store", str(tmp_path / "store"))
    (pictures / "006.jpg").rename(tmp_path / "later.jpg")
    assert embed(reid, pictures, out, vit, *more) == 0
    assert "foreground of lynx: found in 5 images" in capsys.readouterr().err
    first, folder = rows_of(out, "embedding", "folders"), folder_of(out, "folders")
    assert len(first) == 5
    np.testing.assert_allclose([np.linalg.norm(row) for row in first.values()], 1, atol=1e-5)
    recipe = store.read_json(str(folder / "recipe.json"))
    assert recipe["pool"].startswith("foreground hard 0 ")
    # A second run opens no picture and runs no network; other weights are another recipe.
    monkeypatch.setattr("jobs.embed.embed_driver._run", None)
    assert embed(reid, pictures, out, vit, *more) == 0
    assert "5 skipped as they were embedded already, 1 failed" in capsys.readouterr().err
    assert embed(reid, pictures, out, vit, *more, "embed.foreground_weights=soft") == 0
    assert "5 embedded and written" in capsys.readouterr().err
    assert folder_of(out, "folders") != folder
    monkeypatch.undo()
    (tmp_path / "later.jpg").rename(pictures / "006.jpg")
    monkeypatch.setattr("jobs.embed.token_stage.MANY_MORE", 1)
    assert embed(reid, pictures, out, vit, *more) == 0
    said = capsys.readouterr().err
    assert "as it was found before in 5 images" in said
    assert "there are 6 images by now; for a foreground of all of them remove that file" in said
    assert folder_of(out, "folders") == folder
    now = rows_of(out, "embedding", "folders")
    assert len(now) == IMAGES - 1
    for name, row in first.items():
        np.testing.assert_array_equal(now[name], row)


def test_images_without_foreground_are_failures_that_say_so(
    vit: Path, photos: Path, reid: Reid, tmp_path: Path
) -> None:
    more = ("embed.pool=foreground", "embed.foreground_threshold=3")
    assert embed(reid, photos, tmp_path / "out", vit, *more) == 0
    failed = failures_by_file(tmp_path / "out")
    without = [name for name, (stage, _) in failed.items() if stage == "foreground"]
    assert without
    summary = outputs.read_summary(str(tmp_path / "out"))["embed"]
    assert summary["failed"] == len(failed) == len(without) + 1
    assert summary["embedded"] + summary["failed"] == IMAGES


def test_boxes_of_the_foreground_are_embedded_again(
    stored: Path, vit: Path, reid: Reid, tmp_path: Path
) -> None:
    table = tmp_path / "boxes.csv"
    assert reid("foreground", "-o", stored, "--to", table) == 0
    boxes = pd.read_csv(table)
    assert len(boxes) == IMAGES
    known = boxes.dropna(subset="bbox")
    assert len(known) == IMAGES - 1
    for text in known["bbox"]:
        x, y, w, h = (int(number) for number in text.strip("[]").split(","))
        assert min(x, y) >= 0
        assert min(w, h) >= 8  # a tenth of 96 × 80 pixels
        assert (x + w <= 96) & (y + h <= 80)
    out = tmp_path / "out"
    assert embed(reid, table, out, vit, "images.min_crop_pixels=8") == 0
    again = store.read_table(str(out / outputs.ANNOTATIONS))
    assert again["bbox"].null_count == 1
    assert len(rows_of(out, "embedding", "folders")) == IMAGES - 1


def test_boxes_need_tokens(photos: Path, reid: Reid, tmp_path: Path, vit: Path, capsys) -> None:
    assert embed(reid, photos, tmp_path / "out", vit) == 0
    assert reid("foreground", "-o", tmp_path / "out") == 1
    assert "no patch tokens are stored; run `reid embed` with embed.tokens=true" in (
        capsys.readouterr().err
    )


def test_tokens_are_drawn_over_the_pictures(stored: Path, reid: Reid, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(stored, out)
    assert reid("cluster", "-o", out, "cluster.eps=0.1", "report.enabled=false") == 0
    assert reid("figures", "-o", out, "--to", tmp_path / "figures", "--format", "svg") == 0
    sheet = (tmp_path / "figures/lynx-tokens.svg").read_text()
    assert "of the variance of 6 images); foreground" in sheet
    assert sheet.count("<image") == 3 * (IMAGES - 1)
