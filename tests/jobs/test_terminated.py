"""A real SIGTERM in each stage, in this process and on Ray: it ends as Ctrl-C does, and nothing is lost."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jobs.common import outputs
from jobs.common.endings import TERMINATED
from reid import store
from reid.catalogue import open_catalogue, read_events
from reid.synthetic import make_herd
from tests.jobs.embedding_runs import HERE
from tests.jobs.embedding_runs import QUICK as EMBED_ON_RAY
from tests.jobs.labelled_tiles import QUICK as TRAIN
from tests.jobs.made_up import at, photograph
from tests.jobs.processes import kill_marked, needs_proc, processes_marked, wait_until

RUN = {
    "reading": "jobs.run:read_sources",
    "embedding": "jobs.embed.embed_worker:embed_annotations",
    "a part is written": "reid.embeddings:write_part",
    "comparing": "jobs.cluster.clustering:cluster_group",
    "clusters are written": "jobs.cluster.clustering:write_clusters+",
    "report": "jobs.cluster.reporting:write_report",
}
IDENTIFY = {
    "reading": "jobs.catalogue.identification:read_sources",
    "comparing": "jobs.catalogue.increments:new_edges",
    "deciding": "jobs.catalogue.upload_rows:identify_species",
    "before the commit": "reid.catalogue.commits:_write",
    "after the commit": "reid.catalogue.commits:_write+",
    "events": "reid.catalogue.events:publish",
}
NEVER_SEEN = ("Traceback", "terminate called", "Fatal Python error", "*** SIG", "core dumped")


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command line ended with; the last ones of both kinds are not interrupted."""
    home = tmp_path_factory.mktemp("terminated")
    make_herd(home / "herd", individuals=3, images_per_individual=3, species=1)
    angles = {"a1": 0, "a2": 5, "b1": 35, "b2": 40, "c1": 180}
    photograph(home / "uploads", {name: at(angle) for name, angle in angles.items()})

    def run(out: str) -> list[str]:
        settings = ("embed.runtime=torch", "embed.tta=identity", "embed.device=cpu")
        where = ("-o", str(home / out), "--store", str(home / "store"))
        return ["run", "-i", str(home / "herd" / "annotations.csv"), *where, *settings]

    def identify(place: str) -> list[str]:
        rules = ("identify.known_distance=0.05", "identify.new_distance=0.2")
        where = ("-i", str(home / "uploads"), "-C", str(home / place), "--species", "lynx")
        return ["identify", *where, *rules]

    asked: list[tuple[str | None, list[str], bool]] = [
        *((moment, run("out"), False) for moment in RUN.values()),
        (None, run("out"), False),
        (None, run("undisturbed"), False),
        *((moment, identify("catalogue"), True) for moment in IDENTIFY.values()),
        (None, identify("catalogue"), True),
        (None, identify("calm"), True),
    ]
    (home / "asked.json").write_text(json.dumps(asked))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    script = Path(__file__).parent / "terminated.py"
    subprocess.run([sys.executable, script, home], check=True, env=environment, timeout=600)
    answers = json.loads((home / "ended.json").read_text())
    names = [*(("run", one) for one in RUN), ("run", "whole"), ("run", "undisturbed")]
    names += [*(("identify", one) for one in IDENTIFY), ("identify", "whole"), ("identify", "calm")]
    return {"home": home, **dict(zip(names, answers, strict=True))}


@pytest.mark.parametrize(
    "where", [("run", one) for one in RUN] + [("identify", one) for one in IDENTIFY], ids=" ".join
)
def test_it_ends_as_ctrl_c_does(ended: dict[Any, Any], where: tuple[str, str]) -> None:
    found = ended[where]
    assert found["code"] == TERMINATED, found["said"]
    assert "stopped; run the same command again to go on from here" in found["said"]
    assert not [sign for sign in NEVER_SEEN if sign in found["said"]], found["said"]


def test_nothing_is_lost(ended: dict[Any, Any]) -> None:
    home = ended["home"]
    for which in (("run", "whole"), ("run", "undisturbed"), ("identify", "calm")):
        assert ended[which]["code"] == 0, ended[which]["said"]
    assert ended["identify", "whole"]["code"] == 0, ended["identify", "whole"]["said"]
    one, other = (
        store.read_table(str(home / out / "clusters.parquet")) for out in ("out", "undisturbed")
    )
    assert one.equals(other)
    assert (home / "out" / "report.html").exists()

    def state(place: str) -> Any:
        catalogue = open_catalogue(str(home / place))
        rows = catalogue.rows().drop_columns(["run_id"]).to_pylist()
        events = read_events(catalogue).drop_columns(["run_id", "time", "version"]).to_pylist()
        return rows, events, dict(catalogue.counters)

    assert state("catalogue") == state("calm")
    assert not [
        path for path in home.rglob(".*") if path.is_file() and path.suffix in (".parquet", ".json")
    ], "nothing half written lies about"


# ── Where Ray's workers are at it ─────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class OnRay:
    """A command, the file that says that its workers are at it, and how it goes on in this process.

    Attributes:
        line: the command.
        sign: a pattern of files below OUT; empty: that Ray is there, with all of its work to do.
        settings: that come behind the line when it goes on, which then needs no Ray.
        goes_on: what that says.
    """

    line: tuple[str, ...]
    sign: str
    settings: tuple[str, ...]
    goes_on: str


ON_RAY = {
    "embedding": OnRay(
        ("embed", "-i", "{labelled}", *EMBED_ON_RAY, "embed.shard_rows=2"),
        "embeddings/*/part-*.parquet",
        (HERE,),
        "are in efficientnet-lite0",
    ),
    "comparing": OnRay(
        ("cluster", "-e", "{rows}", "cluster.distributed=true", "cluster.eps=0.2"),
        "",
        ("cluster.distributed=false",),
        "cluster: 3,000 embeddings",
    ),
    "training by two workers": OnRay(
        ("finetune", "-i", "{labelled}", *TRAIN, "finetune.workers=2", "finetune.identities=2", "finetune.epochs=200"),
        "training/epoch-0001/history.json",
        ("finetune.time_limit_minutes=0.0001",),
        "going on after epoch",
    ),
}  # fmt: skip


@needs_proc
@pytest.mark.parametrize("stage", ON_RAY)
@pytest.mark.usefixtures("local_ray")
def test_on_ray_it_ends_as_ctrl_c_does_and_goes_on(
    stage: str,
    labelled: Path,
    tmp_path: Path,
    reid: Callable[..., int],
    capfd: pytest.CaptureFixture[str],
) -> None:
    one, out, log = ON_RAY[stage], tmp_path / "out", tmp_path / "log"
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3000, 64)).astype(np.float32)
    np.save(tmp_path / "rows.npy", rows / np.linalg.norm(rows, axis=1, keepdims=True))
    places = {"labelled": labelled, "rows": tmp_path / "rows.npy"}
    line = [part.format(**places) for part in one.line] + ["-o", str(out)]
    mark = f"REID_TEST_RUN={tmp_path}"
    with log.open("wb") as stream:
        driver = subprocess.Popen(
            [sys.executable, "-m", "jobs", *line],
            env={**os.environ, "REID_TEST_RUN": str(tmp_path)},
            stdout=stream,
            stderr=stream,
        )
        try:
            wait_until(
                lambda: (
                    driver.poll() is not None
                    or (
                        any(out.glob(one.sign))
                        if one.sign
                        else "Ray: this machine" in log.read_text()
                    )
                )
            )
            driver.send_signal(signal.SIGTERM)
            assert driver.wait(timeout=120) == TERMINATED, log.read_text()
            wait_until(lambda: not processes_marked(mark))  # it leaves no worker behind
        finally:
            kill_marked(mark)
            driver.wait()
    said = log.read_text()
    assert "Ray: this machine" in said
    assert "stopped; run the same command again to go on from here" in said
    assert not [sign for sign in NEVER_SEEN if sign in said], said
    capfd.readouterr()
    assert reid(*line, *one.settings) == 0
    assert one.goes_on in capfd.readouterr().err
    # An epoch that was being written is written anew by whoever trains on; here the time is over before.
    half = {path for path in out.glob("training/epoch-*") if not (path / "history.json").exists()}
    left = [path for path in out.rglob(".*") if path.is_file() and path.parent not in half]
    assert not left, "nothing half written lies about"
    assert outputs.read_summary(str(out))
