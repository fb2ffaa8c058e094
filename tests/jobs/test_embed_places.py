"""Where images are embedded: in this process or by actors on Ray, with the same result."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from jobs.embed.embed_places import SMALL_WORK, embeds_here
from jobs.embed.embed_worker import EmbedTask
from jobs.run import run_embed
from reid import embeddings, store
from reid.config import load_config
from reid.errors import InputError
from reid.models import LoadedModel

MakePhotos = Callable[..., list[Path]]


@pytest.fixture
def task(tmp_path: Path) -> EmbedTask:
    recipe = SimpleNamespace(views=("identity", "hflip"))
    return SimpleNamespace(folder=str(tmp_path), recipe=recipe)  # type: ignore[return-value]


@pytest.fixture
def model() -> LoadedModel:
    """A hundred weights, looking at pictures of a thousand by a thousand pixels."""
    return SimpleNamespace(module=torch.nn.Linear(99, 1), input_size=1000)  # type: ignore[return-value]


MOST = int(SMALL_WORK / (2 * 100 * 1000**2))


def test_few_images_are_embedded_here_and_many_on_ray(task: EmbedTask, model: LoadedModel) -> None:
    config = load_config()
    assert embeds_here(config, task, [model], MOST)
    assert not embeds_here(config, task, [model], MOST + 1)
    assert not embeds_here(config, task, [model, model], MOST)


@pytest.mark.parametrize("setting", ["embed.ray=always", "address=ray://head", "embed.workers=2"])
def test_who_asks_for_ray_gets_it(task: EmbedTask, model: LoadedModel, setting: str) -> None:
    assert not embeds_here(load_config(None, [setting]), task, [model], 1)


def test_who_wants_none_gets_none(task: EmbedTask, model: LoadedModel) -> None:
    config = load_config(None, ["embed.ray=never", "address=ray://head"])
    assert embeds_here(config, task, [model], 100 * MOST)


def test_after_a_run_that_vanished_workers_embed_who_may_die(
    task: EmbedTask, model: LoadedModel, tmp_path: Path
) -> None:
    store.write_bytes(str(tmp_path / "work-1" / "begun-0-1"), b"")
    assert not embeds_here(load_config(), task, [model], 1)


def test_a_gpu_that_is_not_there_is_an_error(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    make_photos(tmp_path / "photos", range(2))
    flags = {"input": [str(tmp_path / "photos")], "out": str(tmp_path / "out")}
    with pytest.raises(InputError, match=r"embed\.device: cuda.* no GPU here"):
        run_embed(load_config(None, ["embed.device=cuda"], flags))


def test_the_same_bytes_here_and_on_ray(
    local_ray: None, make_photos: MakePhotos, tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos", range(20))[3].write_bytes(b"")
    parts, failures = {}, {}
    threads = torch.get_num_threads()
    for place in ("never", "always"):
        flags = {"input": [str(tmp_path / "photos")], "out": str(tmp_path / place)}
        settings = ["embed.workers=1", "embed.cpus_per_worker=1", "embed.shard_rows=8"]
        summary = run_embed(load_config(None, [f"embed.ray={place}", *settings], flags))
        (folder,) = summary.folders.values()
        parts[place] = {
            Path(part).name: store.read_bytes(part) for part in embeddings.parts(folder)
        }
        failures[place] = store.read_bytes(str(tmp_path / place / "failures.parquet"))
    assert len(parts["never"]) == 3
    assert parts["never"] == parts["always"]
    assert failures["never"] == failures["always"]
    assert torch.get_num_threads() == threads, "the worker is gone, and its settings with it"


def test_a_small_run_never_imports_ray(make_photos: MakePhotos, tmp_path: Path) -> None:
    make_photos(tmp_path / "photos", range(6))
    code = """
import sys
from jobs.cli import run_command
try:
    run_command(None, sys.argv[1:])
finally:
    print("ray" in sys.modules)
"""
    arguments = ("run", "-i", str(tmp_path / "photos"), "-o", str(tmp_path / "out"))
    arguments += ("embed.runtime=torch", "embed.cpus_per_worker=1")
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert ended.stdout.splitlines()[-1] == "False"
    assert store.exists(str(tmp_path / "out" / "report.html"))
