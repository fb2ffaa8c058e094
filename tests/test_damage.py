"""Random damage to what is on disk: the same result as without it, or a clear error; never another result.

A finished run and a catalogue of three nights are damaged in 200 ways each: a file deleted, cut off,
emptied, with some bits flipped, or swapped with another. Then all that reads them runs on it.
"""

import random
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import jobs.cluster.reporting
import jobs.run
from jobs.cli.options import later_config_of
from jobs.cluster.evaluate import evaluate
from jobs.cluster.groups import read_clusters, read_groups
from jobs.cluster.reporting import report
from jobs.cluster.species_individuals import cluster_group
from jobs.run import run, run_identify
from reid.catalogue import Catalogue, history, open_catalogue, read_events, read_graph, read_rules
from reid.config import load_config
from reid.errors import InternalError, ReidError
from reid.value_digests import whole_digest
from tests.jobs import made_up

TIMES = 200
RULES = ("identify.known_distance=0.05", "identify.new_distance=0.2")
Read = Callable[[Path], Any]


@pytest.fixture(scope="module")
def patch() -> Any:
    """Embeddings are made up, and no picture is drawn."""
    with pytest.MonkeyPatch.context() as patch:
        made_up.stand_in(patch.setattr)
        patch.setattr(jobs.run, "ray_session", lambda _: nullcontext())
        patch.setattr(jobs.cluster.reporting, "write_report", _as_data)
        yield patch


def _as_data(stream: Any, data: Any, **_: Any) -> dict[str, Any]:
    """Instead of the page, all that it would show."""
    shown = (
        data.annotations.to_csv(),
        np.asarray(data.embeddings).tolist(),
        data.counts,
        [(curve.species, curve.eps, curve.scores.tolist(), curve.note) for curve in data.tuning],
        data.scores,
        {name: one.as_dict() for name, one in data.evaluation.items()},
        data.failures.to_csv(),
        data.warnings,
    )
    stream.write(repr(shown).encode())
    return {"bytes": 1, "left_out": []}


@pytest.fixture(scope="module")
def finished(patch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output folder of a run over two species, with labels and a failure."""
    home = tmp_path_factory.mktemp("run")
    angles = {f"p{k:02}": 40.0 * (k // 4) + 3 * (k % 4) for k in range(28)}
    made_up.photograph(home / "photos", {name: made_up.at(a) for name, a in angles.items()})
    (home / "photos" / "p03.jpg").write_bytes(b"no vector")
    rows = [
        {
            "path": f"{name}.jpg",
            "identity": f"animal {k // 4}",
            "species": ("lynx", "fox")[k // 4 % 2],
        }
        for k, name in enumerate(angles)
    ]
    pd.DataFrame(rows).to_csv(home / "photos" / "table.csv", index=False)
    overrides = [
        f"out={home / 'out'}", f"store={home / 'out' / 'embeddings'}", f"input={home / 'photos/table.csv'}",
    ]  # fmt: skip
    run(load_config(None, overrides))
    return home / "out"


def read_run(out: Path) -> Any:
    """What the stages behind the embedding give, on a folder that they may write to."""
    config = later_config_of(None, [], out=str(out))
    groups = read_groups(str(out))
    clusters = [
        (group.species, group.identities.tolist(), cluster_group(config, group, {}).labels.tolist())
        for group in groups
    ]
    everyone = [name for group in groups for name in group.rows["annotation_id"].to_pylist()]
    stored = whole_digest(read_clusters(str(out), everyone))
    found = {name: one.as_dict() for name, one in evaluate(config).items()}
    report(config)
    return clusters, stored, found, (out / "report.html").read_bytes()


@pytest.fixture(scope="module")
def grown(patch: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalogue of three nights, in which one individual has a name, and a reviewer spoke."""
    home = tmp_path_factory.mktemp("nights")
    ids: dict[str, str] = {}
    for night in range(3):
        angles = {f"n{night}p{k}": 25.0 * k + 3 * night for k in range(6)}
        ids |= made_up.photograph(home / "up", {name: made_up.at(a) for name, a in angles.items()})
        _identify(home)
    (home / "table.csv").write_text("path,identity\nn0p0.jpg,Luna\n")
    _identify(home, f"input={home / 'table.csv'}", f"root={home / 'up'}")
    (home / "c.csv").write_text(
        "a_id,b_id,decision,reviewer,timestamp,note\n"
        f"{ids['n0p1']},{ids['n1p2']},nomatch,eva,2026-11-27T10:00:00Z,\n"
    )
    _identify(home, f"identify.constraints={home / 'c.csv'}", "input=[]")
    return home


def _identify(home: Path, *more: str) -> None:
    overrides = [
        f"input={home / 'up'}", "species=lynx", f"identify.catalogue={home / 'c'}", *RULES, *more,
    ]  # fmt: skip
    run_identify(load_config(None, overrides))


def read_catalogue(home: Path) -> Any:
    """What the commands on a catalogue give."""
    place = str(home / "c")
    catalogue = open_catalogue(place)
    graphs = [
        (name, sorted(map(str, read_graph(catalogue, name).edges.to_pylist())))
        for name in read_rules(catalogue)
    ]
    return (
        _whole(catalogue),
        read_events(catalogue).to_pylist(),
        [(run.run_id, run.undone_by, run.rows_added, run.counts) for run in history(catalogue)],
        catalogue.decisions().to_pylist(),
        graphs,
    )


def _whole(catalogue: Catalogue) -> Any:
    """Every row, but for what has the time in it."""
    return catalogue.rows().drop_columns(["run_id", "source_key"]).to_pylist()


def one_more_night(home: Path) -> Any:
    """Who is who after another picture came."""
    made_up.photograph(home / "up", {"late": made_up.at(26)})
    _identify(home)
    return _whole(open_catalogue(str(home / "c")))


def damage(folder: Path, rng: random.Random) -> str:
    """Do something to one file below a folder, or swap two; what was done."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    file = rng.choice(files)
    what = rng.choice(["delete", "cut", "flip", "flip", "flip", "swap", "empty"])
    data = bytearray(file.read_bytes())
    if what == "delete":
        file.unlink()
    elif what == "cut":
        file.write_bytes(data[: rng.randrange(len(data) + 1)])
    elif what == "empty":
        file.write_bytes(b"")
    elif what == "flip" and data:
        for _ in range(rng.choice([1, 1, 2, 5])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        file.write_bytes(data)
    elif what == "swap":
        kin = [path for path in files if path.suffix == file.suffix]
        other = rng.choice(kin)
        content = other.read_bytes()
        other.write_bytes(data)
        file.write_bytes(content)
        return f"swap {file.relative_to(folder)} and {other.relative_to(folder)}"
    return f"{what} {file.relative_to(folder)}"


def check(whole: Path, part: str, readers: Sequence[Read], tmp_path: Path) -> Counter[str]:
    """Damage it with each seed, and read it; how often it came to what end.

    Args:
        whole: a folder; it is damaged where it lies, as its files name each other by that.
        part: the folder in it that is damaged.
        readers: give what comes out; they take turns, as some take long.
        tmp_path: for a copy.
    """
    shutil.copytree(whole, tmp_path / "copy")

    def afresh() -> None:
        shutil.rmtree(whole)
        shutil.copytree(tmp_path / "copy", whole)

    def told(read: Read) -> Any:
        try:
            return read(whole)
        except ReidError as error:
            return error

    expected = []
    for read in readers:
        expected.append(told(read))
        assert not isinstance(expected[-1], ReidError), expected[-1]
        afresh()
    ends: Counter[str] = Counter()
    for seed in range(TIMES):
        afresh()
        done = damage(whole / part, random.Random(seed))
        turn = seed % len(readers)
        try:
            found = told(readers[turn])
        except Exception as error:
            raise AssertionError((seed, done)) from error
        if isinstance(found, ReidError):
            assert not isinstance(found, InternalError), (seed, done, found)
            assert len(str(found)) > 20, (seed, done, found)
            ends["error"] += 1
        else:
            assert found == expected[turn], (seed, done)
            ends["same"] += 1
    return ends


def test_a_damaged_run_gives_the_same_result_or_an_error(finished: Path, tmp_path: Path) -> None:
    ends = check(finished, ".", [read_run], tmp_path)
    assert ends["error"] > TIMES / 4


def test_a_damaged_catalogue_gives_the_same_result_or_an_error(grown: Path, tmp_path: Path) -> None:
    ends = check(grown, "c", [read_catalogue, read_catalogue, one_more_night], tmp_path)
    assert ends["error"] > TIMES / 4
