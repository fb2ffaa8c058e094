"""`reid run` from pictures to a report; so few that it does without Ray."""

import csv
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pytest

from jobs.common import outputs
from reid import embeddings, schema, store
from reid.metrics import agreement, retrieval
from reid.synthetic import Herd, make_herd

NYALA = Path(
    os.environ.get("REID_NYALA", Path(__file__).parents[2].parent / "shared" / "data" / "nyala")
)
OUTPUTS = {
    outputs.ANNOTATIONS,
    outputs.FAILURES,
    outputs.FAILURES_TEXT,
    outputs.CLUSTERS,
    outputs.IDENTITIES,
    outputs.TUNING,
    outputs.TRIALS,
    outputs.SUMMARY,
    outputs.CONFIG,
    outputs.REPORT,
}
QUICK = ("embed.cpus_per_worker=1",)

Reid = Callable[..., int]


@dataclass(frozen=True)
class Run:
    """A folder of outputs, and its outputs."""

    out: Path

    @property
    def annotations(self) -> pd.DataFrame:
        return store.read_table(str(self.out / outputs.ANNOTATIONS)).to_pandas()

    @property
    def clusters(self) -> pd.DataFrame:
        return store.read_table(str(self.out / outputs.CLUSTERS)).to_pandas()

    @property
    def identities(self) -> list[dict[str, str]]:
        with (self.out / outputs.IDENTITIES).open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))

    @property
    def summary(self) -> dict[str, Any]:
        return outputs.read_summary(str(self.out))

    @property
    def tuning(self) -> dict[str, Any]:
        return dict(store.read_json(str(self.out / outputs.TUNING)))

    def vectors(self, species: str) -> embeddings.Embeddings:
        """Of the species' annotations that have one, in the order of the annotations table."""
        rows = self.annotations
        ids = rows.loc[rows["species"] == species, "annotation_id"].tolist()
        return embeddings.read_embeddings(self.summary["embed"]["folders"][species], ids)


@pytest.fixture(scope="module")
def herd(tmp_path_factory: pytest.TempPathFactory) -> Herd:
    """Two species, eight individuals each, and one file that is broken."""
    made = make_herd(
        tmp_path_factory.mktemp("herd"), individuals=8, images_per_individual=4, species=2, seed=3
    )
    first = pd.read_csv(made.annotations)["image_path"][0]
    (made.folder / first).write_bytes(b"no picture")
    return made


@pytest.fixture(scope="module")
def ran(herd: Herd, reid: Reid) -> Run:
    out = herd.folder / "out"
    overrides = [*QUICK, f"embed.per_species.{herd.species[0]}.tta=identity"]
    assert reid("run", "-i", herd.annotations, "-o", out, *overrides) == 0
    return Run(out)


@pytest.fixture
def rerun(ran: Run, reid: Reid, tmp_path: Path) -> Callable[..., Run]:
    """Another run over the same embeddings, with another table or other settings."""

    def command(table: Path, *arguments: object) -> Run:
        shared = ran.out / "embeddings"
        options = ("--store", shared, "report.enabled=false", *QUICK)
        config = ("-c", ran.out / outputs.CONFIG)
        assert reid("run", *config, "-i", table, "-o", tmp_path / "out", *options, *arguments) == 0
        return Run(tmp_path / "out")

    return command


def without_labels(herd: Herd, name: str, species: tuple[str, ...]) -> Path:
    """The herd's table without its broken file, and without the identities of some species."""
    frame = pd.read_csv(herd.annotations, dtype=str)[1:]
    frame.loc[frame["species"].isin(species), "identity"] = None
    frame.to_csv(herd.folder / name, index=False)
    return herd.folder / name


# ── The herd ──────────────────────────────────────────────────────────────────────────────────────


def test_every_output_is_there(ran: Run) -> None:
    assert {path.name for path in ran.out.iterdir()} == OUTPUTS | {"embeddings"}
    assert 0 < (ran.out / outputs.REPORT).stat().st_size < 30e6


def test_every_annotation_is_accounted_for_once(ran: Run, herd: Herd) -> None:
    annotations, clusters = ran.annotations, ran.clusters
    failures = store.read_table(str(ran.out / outputs.FAILURES)).to_pandas()
    assert len(annotations) == herd.images == 64
    assert len(failures) == 1
    in_a_spreadsheet = pd.read_csv(ran.out / outputs.FAILURES_TEXT)
    assert in_a_spreadsheet["error"].tolist() == failures["error"].tolist()
    assert sorted([*clusters["annotation_id"], *failures["annotation_id"]]) == sorted(
        annotations["annotation_id"]
    )
    assert [row["annotation_id"] for row in ran.identities] == clusters["annotation_id"].tolist()


def test_the_tables_have_their_schemas(ran: Run) -> None:
    assert store.read_table(str(ran.out / outputs.ANNOTATIONS)).schema.equals(schema.ANNOTATIONS)
    assert store.read_table(str(ran.out / outputs.FAILURES)).schema.equals(schema.FAILURES)
    assert store.read_table(str(ran.out / outputs.CLUSTERS)).schema.equals(schema.CLUSTERS)


def test_polars_and_duckdb_read_the_clusters(ran: Run) -> None:
    path = ran.out / outputs.CLUSTERS
    frame = pl.read_parquet(path)
    assert frame.schema["cluster"] == pl.Int64
    assert frame.schema["nearest_distance"] == pl.Float32
    asked = duckdb.sql(f"select count(*), count(distinct cluster_label) from '{path}'").fetchall()
    assert asked[0] == (63, frame["cluster_label"].n_unique())


def test_labels_name_the_species_and_noise_stands_alone(ran: Run) -> None:
    clusters = ran.clusters
    for row in clusters.itertuples():
        assert re.fullmatch(rf"cluster_{re.escape(row.species)}_\d+", row.cluster_label)
    sizes = clusters["cluster_label"].value_counts()
    noise = clusters["cluster"] == -1
    assert (clusters.loc[noise, "cluster_label"].map(sizes) == 1).all()
    together = clusters[~noise].groupby(["species", "cluster"])["cluster_label"].nunique()
    assert (together == 1).all()
    assert clusters[~noise].groupby("cluster_label")["cluster"].nunique().max() == 1


def test_identities_say_what_the_clusters_say(ran: Run) -> None:
    annotations = ran.annotations.set_index("annotation_id")
    clusters = ran.clusters.set_index("annotation_id")
    for row in ran.identities:
        source, found = annotations.loc[row["annotation_id"]], clusters.loc[row["annotation_id"]]
        assert row["image_path"] == source["image_path"]
        assert row["species"] == source["species"]
        assert row["cluster_label"] == found["cluster_label"]
        assert row["identity"] == ("" if pd.isna(source["identity"]) else source["identity"])
        assert row["nearest_image"] == annotations.loc[found["nearest_id"], "image_path"]
        assert float(row["nearest_distance"]) == pytest.approx(found["nearest_distance"], abs=1e-6)


def test_the_nearest_other_is_the_nearest_other(ran: Run, herd: Herd) -> None:
    clusters = ran.clusters
    for species in herd.species:
        vectors = ran.vectors(species).vectors
        distances = 1 - vectors @ vectors.T
        np.fill_diagonal(distances, np.inf)
        rows = clusters[clusters["species"] == species]
        np.testing.assert_allclose(rows["nearest_distance"], distances.min(1), atol=1e-5)
        at = {name: i for i, name in enumerate(rows["annotation_id"])}
        named = distances[np.arange(len(rows)), [at[name] for name in rows["nearest_id"]]]
        np.testing.assert_allclose(named, distances.min(1), atol=1e-5)


def test_the_summary_counts_what_the_tables_hold(ran: Run, herd: Herd) -> None:
    summary, clusters = ran.summary, ran.clusters
    assert summary["embed"]["annotations"] == 64
    assert (summary["embed"]["embedded"], summary["embed"]["failed"]) == (63, 1)
    found = summary["cluster"]
    assert found["images"] == 63
    assert found["individuals"] == clusters["cluster_label"].nunique()
    assert set(found["species"]) == set(herd.species)
    for species, one in found["species"].items():
        sizes = clusters.loc[clusters["species"] == species, "cluster_label"].value_counts()
        assert one["images"] == sizes.sum()
        assert one["individuals"] == len(sizes)
        assert one["singletons"] == (sizes == 1).sum()
        assert one["largest"] == sizes.max()
        assert one["eps"] == ran.tuning[species]["eps"]


def test_thresholds_are_tuned_on_the_labels(ran: Run, herd: Herd) -> None:
    annotations, clusters = ran.annotations, ran.clusters
    rows = annotations.merge(clusters.drop(columns="species"), on="annotation_id")
    for species in herd.species:
        tuned = ran.tuning[species]
        assert tuned["source"] == "tuned"
        assert 0 < tuned["eps"] < 2
        curve = tuned["curve"]
        assert len(curve["thresholds"]) == len(curve["scores"]) > 1
        # What the summary says about the labels is so.
        part = rows[rows["species"] == species]
        scored = agreement(
            part["cluster_label"].factorize()[0], part["identity"].to_numpy(dtype=object)
        )
        said = ran.summary["cluster"]["species"][species]["scores"]
        assert said["ari"] == pytest.approx(scored.ari)


def test_a_folder_of_results_can_be_moved(ran: Run, reid: Reid, tmp_path: Path) -> None:
    moved = tmp_path / "moved here"
    shutil.copytree(ran.out, moved)
    assert str(ran.out) not in (moved / outputs.SUMMARY).read_text()
    folders = outputs.read_summary(str(moved))["embed"]["folders"]
    assert folders
    assert all(folder.startswith(f"{moved}/embeddings/") for folder in folders.values())
    labels = store.read_table(str(moved / outputs.CLUSTERS))
    assert reid("cluster", "-o", moved) == 0
    assert store.read_table(str(moved / outputs.CLUSTERS)).equals(labels)
    assert str(ran.out) not in (moved / outputs.SUMMARY).read_text()


def test_species_with_their_own_views_have_their_own_folder(ran: Run, herd: Herd) -> None:
    folders = ran.summary["embed"]["folders"]
    views = {name: store.read_json(f"{folders[name]}/recipe.json")["views"] for name in folders}
    assert views == {herd.species[0]: ["identity"], herd.species[1]: ["identity", "hflip"]}
    assert len(list((ran.out / "embeddings").iterdir())) == 2


def test_clustering_again_gives_the_same_files(ran: Run, reid: Reid, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(ran.out, out)
    assert reid("cluster", "-o", out) == 0
    for name in (outputs.CLUSTERS, outputs.IDENTITIES):
        assert (out / name).read_bytes() == (ran.out / name).read_bytes()
    before = (out / outputs.REPORT).stat().st_mtime_ns
    assert reid("report", "-o", out) == 0
    assert (out / outputs.REPORT).stat().st_mtime_ns > before
    assert reid("cluster", "-o", out, "cluster.eps=0.01") == 0
    assert not (out / outputs.REPORT).exists(), "it shows other clusters"
    assert (out / f"{outputs.OUTDATED}{outputs.REPORT}").exists()


def test_a_species_without_labels_borrows_a_threshold(
    rerun: Callable[..., Run], herd: Herd
) -> None:
    labelled, other = herd.species
    table = without_labels(herd, "one-species.csv", (other,))
    run = rerun(table, f"cluster.fallback_species={labelled}")
    assert (run.summary["embed"]["embedded"], run.summary["embed"]["reused"]) == (0, 63)
    tuning = run.tuning
    assert tuning[labelled]["source"] == "tuned"
    assert tuning[other]["source"] == "fallback"
    assert tuning[other]["eps"] == tuning[labelled]["eps"]
    assert labelled in tuning[other]["note"]
    assert run.summary["cluster"]["species"][other]["scores"] == {}
    assert not (run.out / outputs.REPORT).exists(), "report.enabled=false"


def test_given_thresholds_are_used_as_they_are(rerun: Callable[..., Run], herd: Herd) -> None:
    one, other = herd.species
    table = without_labels(herd, "no-labels.csv", herd.species)
    given = ("cluster.eps=0.2", f"cluster.per_species_eps.{one}=1e-6")
    run = rerun(table, *given, "cluster.encounters=off")
    assert {name: found["eps"] for name, found in run.tuning.items()} == {one: 1e-6, other: 0.2}
    assert {found["source"] for found in run.tuning.values()} == {"given"}
    counts = run.summary["cluster"]["species"]
    assert counts[one]["individuals"] == counts[one]["images"], "nothing is that near"
    vectors = run.vectors(other).vectors
    near = (1 - vectors @ vectors.T <= 0.2).sum(1) > 1
    rows = run.clusters[run.clusters["species"] == other]
    np.testing.assert_array_equal(rows["cluster"].to_numpy() >= 0, near)


def test_a_fallback_that_has_no_threshold_is_an_error(
    ran: Run, herd: Herd, reid: Reid, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = without_labels(herd, "none-labelled.csv", herd.species)
    known = ("-c", ran.out / outputs.CONFIG, "--store", ran.out / "embeddings", *QUICK)
    lends = "cluster.fallback_species=okapi"
    assert reid("run", *known, "-i", table, "-o", tmp_path / "out", lends) == 1
    assert "cluster.fallback_species: no image is of the species 'okapi'" in capsys.readouterr().err


def test_without_labels_a_closer_look_is_priced_and_not_taken(
    rerun: Callable[..., Run],
    herd: Herd,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("jobs.common.look_time.NEEDED", ("json",))  # the extra, or none
    monkeypatch.setattr("reid.pairs.costs.product_seconds", lambda _: 0.003)
    monkeypatch.setattr("jobs.common.look_time.machines", lambda: [{"CPU": 2.0}])
    table = without_labels(herd, "nobody-labelled.csv", herd.species)
    run = rerun(table)
    said = " ".join(capsys.readouterr().err.split())
    assert (
        f"next: a closer look at pairs was not taken: `reid cluster --out {run.out} pairs=on`"
        in said
    )
    assert ", which takes some 2 min here, and" in said, said
    before = run.clusters
    run = rerun(table, "pairs=auto")
    said = " ".join(capsys.readouterr().err.split())
    assert "pairs=auto: no image is labelled" in said
    assert not (run.out / outputs.PAIRS).exists(), "what cannot be judged is not matched"
    assert any(
        "pairs are left aside" in note for one in run.tuning.values() for note in one["notes"]
    )
    pd.testing.assert_frame_equal(run.clusters, before)


# ── Real photographs ──────────────────────────────────────────────────────────────────────────────


@pytest.mark.nyala
@pytest.mark.skipif(
    not (NYALA / "annotations.csv").exists(), reason=f"no nyala photographs at {NYALA} (REID_NYALA)"
)
def test_nyala_from_photographs_to_report(reid: Reid, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert reid("run", "-i", NYALA / "annotations.csv", "-o", out) == 0
    run = Run(out)
    assert {path.name for path in out.iterdir()} == OUTPUTS | {"embeddings"}
    assert (out / outputs.REPORT).stat().st_size < 30e6
    embed = run.summary["embed"]
    assert embed["annotations"] == embed["embedded"] + embed["failed"] == 1213
    assert len(run.identities) == len(run.clusters) == embed["embedded"]

    rows = run.annotations
    stored = run.vectors("nyala")
    scores = retrieval(stored.vectors, rows["identity"].to_numpy(dtype=object)[stored.found])
    # The same weights and views in plain code: mAP 0.066, top-1 0.10.
    assert 0.062 < scores.mean_average_precision < 0.070
    assert 0.09 < scores.top_1 < 0.11
