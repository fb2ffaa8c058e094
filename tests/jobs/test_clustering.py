"""The clustering job: its tables, thresholds that are lent, and the same answer from Ray tasks."""

import csv
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.cluster.clustering import cluster, cluster_labels
from jobs.cluster.groups import Group, read_embedding_file
from jobs.common import outputs
from reid import schema, store
from reid.config import load_config
from reid.errors import InputError


def write_population(path: Path, *, label: str = "lynx") -> None:
    """Two species of ten individuals; only one species has labels, and only for half of its images."""
    random = np.random.default_rng(0)
    who = np.repeat(np.arange(10), 6)
    vectors = np.concatenate(
        [random.normal(size=(10, 16))[who] + 0.25 * random.normal(size=(60, 16)) for _ in range(2)]
    )
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    species = np.repeat(["lynx", "tiger"], 60)
    identity = [
        f"{kind} {k}" if kind == label and i % 2 == 0 else None
        for i, (kind, k) in enumerate(zip(species, np.tile(who, 2), strict=True))
    ]
    pq.write_table(
        pa.table(
            {
                "embedding": vectors.astype(np.float32).tolist(),
                "species": species,
                "identity": identity,
            }
        ),
        path,
    )


@pytest.fixture
def groups(tmp_path: Path) -> list[Group]:
    write_population(tmp_path / "e.parquet")
    return read_embedding_file(str(tmp_path / "e.parquet"))


def run(out: Path, groups: list[Group], *overrides: str) -> dict[str, object]:
    config = load_config(None, [f"out={out}", *overrides])
    summary = cluster(config, groups)
    outputs.write_summary(config, "cluster", summary)
    found: dict[str, object] = store.read_json(str(out / outputs.TUNING))
    return found


def test_tables_hold_every_image_once(groups: list[Group], tmp_path: Path) -> None:
    tuning = run(tmp_path, groups)
    table = pq.read_table(tmp_path / outputs.CLUSTERS)
    assert table.schema.remove_metadata() == schema.CLUSTERS
    assert table["annotation_id"].to_pylist() == [str(i) for i in range(120)]
    rows = list(csv.DictReader((tmp_path / outputs.IDENTITIES).read_text().splitlines()))
    assert [row["cluster_label"] for row in rows] == table["cluster_label"].to_pylist()
    assert {row["cluster_label"].rsplit("_", 1)[0] for row in rows} == {
        "cluster_lynx",
        "cluster_tiger",
    }
    assert tuning["lynx"]["source"] == "tuned"  # type: ignore[index]
    assert tuning["tiger"]["source"] == "estimated"  # type: ignore[index]
    summary = outputs.read_summary(str(tmp_path))["cluster"]
    assert summary["images"] == 120
    assert summary["individuals"] == len(set(table["cluster_label"].to_pylist()))
    assert summary["species"]["lynx"]["scores"]["ari"] > 0.95
    assert summary["species"]["tiger"]["scores"] == {}
    nearest = dict(
        zip(table["annotation_id"].to_pylist(), table["nearest_id"].to_pylist(), strict=True)
    )
    assert all(one != other for one, other in nearest.items())


def test_a_threshold_is_given_or_lent_by_species(groups: list[Group], tmp_path: Path) -> None:
    lent = run(tmp_path, groups, "cluster.fallback_species=lynx")
    assert lent["tiger"]["source"] == "fallback"  # type: ignore[index]
    assert lent["tiger"]["eps"] == lent["lynx"]["eps"]  # type: ignore[index]
    assert "tuned on lynx" in lent["tiger"]["note"]  # type: ignore[index]
    given = run(tmp_path, groups, "cluster.per_species_eps.tiger=0.11")
    assert (given["tiger"]["eps"], given["tiger"]["source"]) == (0.11, "given")  # type: ignore[index]
    with pytest.raises(
        InputError, match=r"cluster\.fallback_species: wolf has no threshold to lend"
    ):
        run(tmp_path, groups, "cluster.fallback_species=wolf")


def test_every_method_leaves_its_trace(groups: list[Group], tmp_path: Path) -> None:
    auto = run(tmp_path, groups, "cluster.method=auto", "rerank=auto")
    tried = auto["lynx"]["tried"]  # type: ignore[index]
    assert {row["method"] for row in tried} == {"dbscan", "average"}
    assert sum(row["chosen"] for row in tried) == 1
    known = run(tmp_path, groups, "cluster.method=kmeans", "cluster.n_clusters=10")
    assert known["lynx"]["eps"] is None  # type: ignore[index]
    assert outputs.read_summary(str(tmp_path))["cluster"]["individuals"] == 20


@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize("min_samples", [2, 4])
@pytest.mark.parametrize("method", ["dbscan", "average"])
def test_ray_tasks_give_the_same_tables(
    groups: list[Group], tmp_path: Path, method: str, min_samples: int
) -> None:
    settings = (f"cluster.method={method}", f"cluster.min_samples={min_samples}")
    for name, distributed in (("alone", "false"), ("tasks", "true")):
        (tmp_path / name).mkdir()
        run(tmp_path / name, groups, *settings, f"cluster.distributed={distributed}")
    for name in (outputs.CLUSTERS, outputs.IDENTITIES):
        alone, tasks = ((tmp_path / kind / name).read_bytes() for kind in ("alone", "tasks"))
        assert alone == tasks


def test_labels_are_numbered_clusters_first() -> None:
    assert cluster_labels("snow_leopard", np.array([1, -1, 0, -1])).to_pylist() == [
        "cluster_snow_leopard_1", "cluster_snow_leopard_2", "cluster_snow_leopard_0", "cluster_snow_leopard_3",
    ]  # fmt: skip


def test_a_search_within_cells_says_what_it_found(
    groups: list[Group], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = run(tmp_path / "plain", groups)
    monkeypatch.setattr("reid.neighbors.cells.LEAST_ROWS", 10)
    found = run(tmp_path / "cells", groups, "cluster.search=cells", "cluster.recall=0.9")
    for species in ("lynx", "tiger"):
        said = found[species]["warnings"]  # type: ignore[index]
        assert sum("were found" in text or "none to check" in text for text in said) == 1
        assert not any("cells" in text for text in plain[species]["warnings"])  # type: ignore[index]
    warnings = outputs.read_summary(str(tmp_path / "cells"))["cluster"]["warnings"]
    assert any("cluster.search=exact finds all" in text for text in warnings)
    with pytest.raises(InputError, match="compares in one process"):
        run(tmp_path / "tasks", groups, "cluster.search=cells", "cluster.distributed=true")


CAMERAS = """detector,start,end,lat,lon
north,2024-01-01,2024-12-31,1.0,10.0
near,2024-01-01,2024-12-31,0.1,10.0
south,2024-01-01,2024-12-31,0.0,10.0
"""


def test_places_farther_apart_than_an_animal_goes_are_not_compared(tmp_path: Path) -> None:
    """111 km between south and north; each of ten lynx was seen at both, which cannot be."""
    write_population(tmp_path / "e.parquet")
    (tmp_path / "cameras.csv").write_text(CAMERAS)
    table = pq.read_table(tmp_path / "e.parquet")
    places = np.array(["north", "south", "near"])[np.arange(120) % 3]
    places[-1] = "elsewhere"
    pq.write_table(table.append_column("location_id", pa.array(places)), tmp_path / "p.parquet")
    groups = read_embedding_file(str(tmp_path / "p.parquet"))
    asked = (f"pairs.deployments={tmp_path}/cameras.csv", "cluster.per_species_eps.lynx=0.2")
    plain = run(tmp_path / "plain", groups, *asked)
    apart = run(tmp_path / "apart", groups, *asked, "cluster.range_km.lynx=30")
    label = {
        name: pq.read_table(tmp_path / name / outputs.CLUSTERS)["cluster_label"].to_pylist()
        for name in ("plain", "apart")
    }

    def joined(name: str, species: slice) -> bool:
        both = [
            {one for one, place in zip(label[name][species], places[species], strict=True) if (place == "north") is is_north}
            for is_north in (True, False)
        ]  # fmt: skip
        return bool(both[0] & both[1])

    lynx, tiger = slice(0, 60), slice(60, 120)
    assert joined("plain", lynx)
    assert not joined("apart", lynx)
    assert label["apart"][tiger] == label["plain"][tiger]
    notes = " ".join(apart["lynx"]["notes"])  # type: ignore[index]
    assert "30 km: 2 regions, " in notes
    assert "10 named individuals were seen in several regions" in notes
    assert "regions" not in " ".join(plain["lynx"]["notes"])  # type: ignore[index]
    for wrong, said in (
        (("cluster.range_km.lynx=30",), "pairs.deployments=cameras.csv"),
        ((*asked, "cluster.range_km.lynx=30", "rerank=auto"), "together with rerank.mode"),
        ((*asked, "cluster.range_km.lynx=0"), "range_km"),
    ):
        with pytest.raises(InputError, match=said):
            run(tmp_path / "wrong", groups, *wrong)
