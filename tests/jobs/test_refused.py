"""A broken picture is a failure each night, and decoded once."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jobs.embed.embed_worker
from jobs.common import outputs
from jobs.run import run_embed
from reid.config import load_config

MakePhotos = Callable[..., list[Path]]


def test_what_failed_and_has_not_changed_is_not_tried_again(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photos, out = tmp_path / "photos", str(tmp_path / "out")
    good = make_photos(photos, range(3))
    broken = photos / "broken.jpg"
    broken.write_bytes(b"no picture")
    tried: list[str] = []
    embed = jobs.embed.embed_worker.embed_annotations

    def watched(embedder: Any, rows: Any, **named: Any) -> Any:
        tried.extend(rows["image_path"].to_pylist())
        return embed(embedder, rows, **named)

    monkeypatch.setattr(jobs.embed.embed_worker, "embed_annotations", watched)

    def night(*overrides: str) -> tuple[int, int, int, list[str]]:
        tried.clear()
        small = ("embed.ray=never", "embed.runtime=torch", "embed.tta=identity", "max_failures=1")
        flags = {"input": [str(photos)], "out": out, "species": "lynx"}
        summary = run_embed(load_config(None, [*small, *overrides], flags))
        return summary.embedded, summary.failed, summary.failed_before, sorted(tried)

    def reasons() -> dict[str, str]:
        rows = outputs.read_failures(out).to_pylist()
        return {row["image_path"]: row["error"] for row in rows}

    assert night() == (3, 1, 0, sorted(["broken.jpg", *(one.name for one in good)]))
    first = reasons()
    assert list(first) == ["broken.jpg"]
    assert night() == (0, 1, 1, [])
    assert reasons() == first
    assert "broken.jpg" in Path(out, "failures.csv").read_text()
    (more,) = make_photos(photos, range(3, 4))
    assert night() == (1, 1, 1, [more.name]), "among new ones too"
    assert night("embed.retry_failed=true") == (0, 1, 0, ["broken.jpg"])
    assert night("images.max_megapixels=20") == (0, 1, 0, ["broken.jpg"]), "settings decide too"
    assert night("images.max_megapixels=20") == (0, 1, 1, [])
    gone = photos / "gone.jpg"
    gone.symlink_to(tmp_path / "nowhere.jpg")
    assert night("images.max_megapixels=20") == (0, 2, 1, []), "to miss a file needs no model"
    assert reasons()["gone.jpg"] == f"missing: {gone}"
    gone.unlink()
    broken.write_bytes(b"no picture either")
    assert night() == (0, 1, 0, ["broken.jpg"])
    broken.write_bytes(good[0].read_bytes())
    assert night() == (1, 0, 0, ["broken.jpg"])
    assert reasons() == {}


def test_a_file_that_is_not_there_is_looked_for_each_night(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    photos, out = tmp_path / "photos", str(tmp_path / "out")
    (path,) = make_photos(photos, range(1))
    table = tmp_path / "pictures.csv"
    table.write_text(f"path\n{path.name}\n999.jpg\n")

    def night() -> tuple[int, int]:
        small = ("embed.ray=never", "embed.runtime=torch", "embed.tta=identity", "max_failures=1")
        flags = {"input": [str(table)], "root": str(photos), "out": out, "species": "lynx"}
        summary = run_embed(load_config(None, small, flags))
        return summary.failed, summary.failed_before

    assert night() == (1, 0)
    assert night() == (1, 0)
