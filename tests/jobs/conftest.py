from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import ray
from PIL import Image

from tests.jobs.labelled_tiles import QUICK, make_labelled


@pytest.fixture(scope="session")
def local_ray(s3: str) -> Iterator[None]:
    """One real Ray for all tests of the jobs; four logical CPUs, however many there are.

    It starts after the object storage, whose address its workers find in their environment.
    """
    ray.init(
        address="local",  # also where some other Ray runs on this machine
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=200 * 2**20,
        log_to_driver=False,
    )
    yield
    ray.shutdown()


@pytest.fixture
def growing_cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[int]]:
    """Lets a module of jobs, given by name, find room for one task twice, and then for four.

    So it is on a cluster that has not started a node yet. What comes back grows by the number of tasks
    that are waited for, each time they are.
    """

    def patch(module: str) -> list[int]:
        room = iter([1, 1])
        waited: list[int] = []
        wait = ray.wait

        def counted(references: list, **options: object) -> tuple[list, list]:
            waited.append(len(references))
            return wait(references, **options)

        monkeypatch.setattr(f"{module}.tasks_at_once", lambda *_: next(room, 4))
        monkeypatch.setattr(ray, "wait", counted)
        return waited

    return patch


@pytest.fixture(scope="session")
def make_photos() -> Callable[..., list[Path]]:
    """Writes small pictures of coloured tiles, each another; the number in the name is its seed."""

    def make(folder: Path, numbers: range) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for number in numbers:
            tiles = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
            picture = Image.fromarray(np.kron(tiles, np.ones((16, 16, 1), np.uint8)))
            paths.append(folder / f"{number:03d}.{('jpg', 'png')[number % 2]}")
            picture.save(paths[-1])
        return paths

    return make


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of labelled pictures."""
    return make_labelled(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="session")
def finetuned(
    labelled: Path, reid: Callable[..., int], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The output of one fine-tuning in this process. Tests that change it take a copy."""
    out = tmp_path_factory.mktemp("finetuned") / "out"
    assert reid("finetune", "-i", labelled, "-o", out, *QUICK) == 0
    return out
