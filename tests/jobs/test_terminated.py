"""A real SIGTERM in each stage of `reid run` and `reid identify`: it ends as Ctrl-C does, and nothing is lost."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from jobs.common.endings import TERMINATED
from reid import store
from reid.catalogue import open_catalogue, read_events
from reid.synthetic import make_herd
from tests.jobs.made_up import at, photograph

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
    "deciding": "jobs.catalogue.decider:identify_species",
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
