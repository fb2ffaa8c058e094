"""Jobs on a cluster of several nodes, of which one dies, or the driver; and two runs at once.

The cluster and the drivers are child processes: a process can be in one Ray only, and the other tests'
Ray may be in this one.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from jobs.common import outputs
from reid import embeddings, neighbors, store

pytestmark = pytest.mark.timeout(900)  # Ray's processes start slowly on a machine that is busy

SHARD_ROWS = 2
SHARDS = 12
QUICK = ("embed.runtime=torch", "embed.cpus_per_worker=1", f"embed.shard_rows={SHARD_ROWS}")

MakePhotos = Callable[..., list[Path]]
Reid = Callable[..., int]

# `reid embed`, slow enough to be interrupted, leaving a note of each shard begun: <shard>-<node>-<time>.
EMBED = """
import sys, time
from pathlib import Path
import ray
import jobs.embed.embed_places
from jobs.cli import run_command

notes, arguments = Path(sys.argv[1]), sys.argv[2:]

class Slow(jobs.embed.embed_places.EmbedWorker):
    def _shard(self, shard):
        (notes / f"{shard}-{ray.get_runtime_context().get_node_id()}-{time.time_ns()}").touch()
        time.sleep(0.4)
        return super()._shard(shard)

jobs.embed.embed_places.EmbedWorker = Slow
run_command("embed", arguments)
"""

# The neighbour graph of a file of rows, as slow, with a note of each block pair.
GRAPH = """
import sys, time, uuid
from pathlib import Path
import numpy as np
import ray
from jobs.neighbours.block_pairs import stream_edges_by_tasks
from jobs.common.session import ray_session

notes, address, rows, radius, block_rows, out = sys.argv[1:]

def slow(a, b, a_start, b_start, part):
    (Path(notes) / f"{uuid.uuid4().hex}-{ray.get_runtime_context().get_node_id()}-0").touch()
    time.sleep(0.4)
    return part

with ray_session(address):
    parts = list(
        stream_edges_by_tasks(np.load(rows), float(radius), block_rows=int(block_rows), refine=slow)
    )
edges, distances = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
np.savez(out, edges=edges, distances=distances)
"""


class Nodes:
    """The cluster: a head for the drivers, and worker nodes that can be killed."""

    def __init__(self, workers: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("nodes.py")), str(workers)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self.close()
            pytest.fail("the cluster did not start; Ray gives its nodes 30 s to do so")
        self.address: str = json.loads(line)["address"]

    def order(self, order: str) -> str:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.communicate(timeout=120)  # closes its stdin, at the end of which it goes


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    started = Nodes(workers=2)
    yield started
    started.close()


class Driver:
    """A job of ours: a Python process that has joined the cluster."""

    running: ClassVar[list[subprocess.Popen[bytes]]] = []

    def __init__(self, folder: Path, script: str, *arguments: object) -> None:
        self.notes = folder / "notes"
        self.notes.mkdir(parents=True, exist_ok=True)
        self._log = folder / "log"
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", script, str(self.notes), *map(str, arguments)],
                stdout=log,
                stderr=log,
            )
        self.running.append(self.process)

    @property
    def said(self) -> str:
        return self._log.read_text()

    def notes_by_node(self) -> dict[str, list[str]]:
        """What was begun where: node → shards, in the order of time."""
        found: dict[str, list[str]] = {}
        for note in sorted(self.notes.iterdir(), key=lambda path: path.name.rpartition("-")[2]):
            what, node, _ = note.name.split("-")
            found.setdefault(node, []).append(what)
        return found

    def wait_until(self, what: Callable[[], object], seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not what():
            assert self.process.poll() is None, f"it ended before that: {self.said}"
            assert time.monotonic() < end, f"it never came to that: {self.said}"
            time.sleep(0.02)

    def finish(self, seconds: float = 300) -> None:
        assert self.process.wait(seconds) == 0, self.said


@pytest.fixture(autouse=True)
def no_driver_outlives_its_test() -> Iterator[None]:
    yield
    while Driver.running:
        process = Driver.running.pop()
        process.kill()
        process.wait()


def parts(folder: Path) -> dict[str, bytes]:
    """The parts of a store: name → bytes."""
    return {path.name: path.read_bytes() for path in folder.glob("*/part-*.parquet")}


class Embedding:
    """A job that embeds the pictures; where it leaves what."""

    def __init__(
        self,
        folder: Path,
        photos: Path,
        address: str,
        *,
        store: Path | None = None,
        workers: int = 2,
    ) -> None:
        self.out = folder / "out"
        self.store = store or self.out / "embeddings"
        self.driver = Driver(
            folder,
            EMBED,
            *("-i", photos, "-o", self.out, f"address={address}", f"store={self.store}"),
            *(*QUICK, f"embed.workers={workers}"),
        )

    def counts(self) -> tuple[int, int, int]:
        summary = outputs.read_summary(str(self.out))["embed"]
        return summary["reused"], summary["embedded"], summary["failed"]


@pytest.fixture(scope="module")
def photos(make_photos: MakePhotos, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    make_photos(folder, range(SHARDS * SHARD_ROWS))
    return folder


@pytest.fixture(scope="module")
def undisturbed(photos: Path, reid: Reid, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embeddings of a run in one process, where nothing dies."""
    folder = tmp_path_factory.mktemp("undisturbed")
    command = ("embed", "-i", photos, "-o", folder / "out", f"store={folder / 'store'}")
    assert reid(*command, *QUICK, "embed.ray=never") == 0
    return folder / "store"


def test_a_node_that_dies_in_mid_embedding_costs_nothing(
    nodes: Nodes, photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    run = Embedding(tmp_path, photos, nodes.address)
    run.driver.wait_until(lambda: len(parts(run.store)) >= 3)
    begun = run.driver.notes_by_node()
    victim = max(begun, key=lambda node: len(begun[node]))
    nodes.order(f"remove {victim}")
    assert len(parts(run.store)) < SHARDS, "it did die in the middle"
    try:
        run.driver.finish()
    finally:
        nodes.order("add")
    assert run.counts() == (0, SHARDS * SHARD_ROWS, 0)
    assert parts(run.store) == parts(undisturbed), (
        "nothing lost, nothing twice, the same to the bit"
    )
    assert len(run.driver.notes_by_node()) > 1, "other nodes went on"
    assert not list(run.store.glob("*/work-*"))


def test_a_driver_that_is_killed_and_started_again_goes_on(
    nodes: Nodes, photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    first = Embedding(tmp_path, photos, nodes.address)
    first.driver.wait_until(lambda: len(parts(first.store)) >= 3)
    first.driver.process.kill()
    first.driver.process.wait()
    before = parts(first.store)
    assert 3 <= len(before) < SHARDS
    # At once: workers of the first may not have heard yet.
    again = Embedding(tmp_path, photos, nodes.address)
    again.driver.finish()
    reused, embedded, failed = again.counts()
    assert (reused + embedded, failed) == (SHARDS * SHARD_ROWS, 0)
    assert reused >= SHARD_ROWS * len(before)
    assert parts(again.store) == parts(undisturbed)


def test_two_runs_at_once_over_one_store(
    nodes: Nodes, photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    shared = tmp_path / "store"
    # A worker each, so that there is room for both of them at once.
    runs = [
        Embedding(tmp_path / name, photos, nodes.address, store=shared, workers=1)
        for name in ("first", "second")
    ]
    for run in runs:
        run.driver.finish()
        reused, embedded, failed = run.counts()
        assert (reused + embedded, failed) == (SHARDS * SHARD_ROWS, 0)
    annotations = store.read_table(str(runs[0].out / outputs.ANNOTATIONS))
    (folder,) = shared.iterdir()
    (plain,) = undisturbed.iterdir()
    found, wanted = (
        embeddings.read_embeddings(str(each), annotations["annotation_id"].combine_chunks())
        for each in (folder, plain)
    )
    np.testing.assert_array_equal(found.found, wanted.found)
    np.testing.assert_array_equal(found.vectors, wanted.vectors)
    assert not list(folder.glob("work-*"))


def test_a_node_that_dies_in_mid_graph_changes_nothing(nodes: Nodes, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((2000, 16))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows)
    # 28 block pairs of up to 90,000 edges each: results that wait on the node that found them.
    arguments = (nodes.address, tmp_path / "rows.npy", 1.1, 300, tmp_path / "graph.npz")
    driver = Driver(tmp_path, GRAPH, *arguments)
    driver.wait_until(
        lambda: len(driver.notes_by_node()) == 2 and len(list(driver.notes.iterdir())) >= 8
    )
    nodes.order(f"remove {next(iter(driver.notes_by_node()))}")
    assert len(list(driver.notes.iterdir())) < 28, "it did die in the middle"
    try:
        driver.finish()
    finally:
        nodes.order("add")
    found = np.load(tmp_path / "graph.npz")
    wanted = neighbors.radius_graph(rows, 1.1)
    np.testing.assert_array_equal(found["edges"], wanted.edges)
    np.testing.assert_array_equal(found["distances"], wanted.distances)
