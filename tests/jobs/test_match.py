"""`reid match` on a real Ray, with keypoints that need no weights."""

import os
import re
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
from PIL import Image

from jobs.cluster import groups
from jobs.cluster.clustering import cluster
from jobs.common import outputs
from jobs.common.learned_from import learned_from
from jobs.common.pair_precision import pair_precision
from jobs.pairs import stored_pairs
from jobs.pairs.fit_window import fit_window
from jobs.pairs.look import look_at
from jobs.pairs.match import match
from jobs.pairs.shards import Workers, open_workers
from jobs.pairs.shown import shown_evidence
from jobs.pairs.stored_pairs import pair_workers, plan
from reid import schema, store
from reid.config import load_config
from reid.errors import InputError, StorageError
from reid.manifest import read_annotations
from reid.metrics import agreement
from reid.synthetic import make_herd

NYALA = Path(
    os.environ.get("REID_NYALA", Path(__file__).parents[2].parent / "shared" / "data" / "nyala")
)
pytestmark = pytest.mark.usefixtures("local_ray")
SETTINGS = (
    "pairs.matcher=patches",
    "pairs.wide=12",
    "pairs.k=4",
    "pairs.nearest=2",
    "pairs.enlarge=false",
)


@dataclass(frozen=True)
class Group:
    species: str
    rows: pa.Table
    vectors: np.ndarray


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Group:
    """A small herd with embeddings that know a little of who is who."""
    folder = tmp_path_factory.mktemp("herd")
    herd = make_herd(folder, individuals=5, images_per_individual=5, species=1, seed=1)
    rows, _ = read_annotations([str(herd.annotations)])
    rng = np.random.default_rng(0)
    names = rows["image_path"].to_pylist()
    vectors = rng.normal(size=(len(names), 16)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Group(rows["species"][0].as_py(), rows, vectors)


def run(group: Group, out: Path, *more: str) -> tuple[pa.Table, dict[str, Any]]:
    config = load_config(None, [*SETTINGS, f"out={out}", *more])
    summary = match(config, [group])
    return store.read_table(str(out / outputs.PAIRS)), summary.species[group.species]


def same(a: pa.Table, b: pa.Table) -> bool:
    """Equal to the bit; Arrow's own comparison takes no NaN for another."""
    return a.to_pandas().equals(b.to_pandas())


@pytest.fixture(scope="module")
def whole(group: Group, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    out = tmp_path_factory.mktemp("whole")
    table, told = run(group, out, "pairs.workers=1")
    assert told["keypoints"]["new"] == len(group.rows)
    assert told["matched"]["new"] == len(table)
    return out, table


def test_every_pair_is_written_once_with_evidence_and_a_probability(
    group: Group, whole: tuple[Path, pa.Table]
) -> None:
    table = whole[1]
    assert table.schema == schema.PAIRS
    pairs = list(zip(table["a_id"].to_pylist(), table["b_id"].to_pylist(), strict=True))
    assert all(a < b for a, b in pairs)
    assert len(set(pairs)) == len(pairs) > len(group.rows)
    p = table["probability"].to_numpy()
    assert ((p > 0) & (p < 1)).all()
    assert np.allclose(table["distance"].to_numpy(), 1 - p, atol=1e-6)
    assert table["matches_10"].to_numpy().max() > 3


@pytest.mark.parametrize("workers", [3])
def test_workers_and_the_order_of_rows_change_no_byte(
    group: Group, whole: tuple[Path, pa.Table], tmp_path: Path, workers: int
) -> None:
    order = np.random.default_rng(workers).permutation(len(group.rows))
    shuffled = Group(group.species, group.rows.take(pa.array(order)), group.vectors[order])
    table, _ = run(shuffled, tmp_path, f"pairs.workers={workers}")
    assert same(table, whole[1])


@pytest.mark.nyala
@pytest.mark.skipif(
    not (NYALA / "annotations.csv").exists(),
    reason=f"no nyala photographs at {NYALA} (REID_NYALA)",
)
def test_photographs_give_the_same_bytes_with_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, _ = read_annotations([str(NYALA / "annotations.csv")])
    vectors = np.random.default_rng(1).normal(size=(100, 8)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    photographs = Group("nyala", rows.slice(0, 100), vectors)
    settings = [*SETTINGS, "pairs.matcher=rootsift", "images.window=[.15,.12,.85,.68]"]
    seen = []
    with pair_workers(load_config(None, [*settings, f"out={tmp_path}"])) as workers:
        for most in (1, 2, 4):  # those who are there stay, as each costs seconds to start
            monkeypatch.setattr(workers, "_most", most)
            config = load_config(None, [*settings, f"out={tmp_path / str(most)}"])
            seen.append(look_at(config, workers, plan(config, "nyala"), photographs))
            assert seen[-1].reported["matched"]["new"] == len(seen[-1].evidence) > 200
    first = seen[0]
    assert first.evidence["matches_10"].to_numpy().max() > 3
    for other in seen[1:]:
        assert same(other.evidence, first.evidence)
        np.testing.assert_array_equal(other.votes, first.votes)
        np.testing.assert_array_equal(other.looked.features, first.looked.features)


def test_a_run_that_ended_in_the_middle_goes_on_and_changes_no_byte(
    group: Group, whole: tuple[Path, pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(stored_pairs.SHARD_PAIRS, "evidence", 16)
    run_all = Workers.run

    def run_half(self: Workers, method: str, shards: Any, *more: Any) -> None:
        last = method == "evidence"
        run_all(self, method, shards[: len(shards) // 2] if last else shards, *more)
        if last:
            raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(Workers, "run", run_half)
        with pytest.raises(KeyboardInterrupt):
            run(group, tmp_path, "pairs.workers=1")
    table, said = run(group, tmp_path, "pairs.workers=1")
    assert said["matched"]["new"] > 0 < said["matched"]["reused"]
    assert same(table, whole[1])


def test_what_is_there_is_kept_and_new_pictures_add_to_it(
    group: Group, whole: tuple[Path, pa.Table], tmp_path: Path
) -> None:
    night = Group(group.species, group.rows[:15], group.vectors[:15])
    run(night, tmp_path)
    table, told = run(group, tmp_path)
    assert told["keypoints"]["reused"] == 15
    assert same(table, whole[1])
    _, told = run(group, tmp_path)
    assert told["keypoints"]["new"] == told["voted"]["new"] == told["matched"]["new"] == 0


def test_a_replaced_picture_is_compared_anew(
    group: Group, whole: tuple[Path, pa.Table], tmp_path: Path
) -> None:
    run(group, tmp_path)
    keys = group.rows["source_key"].to_pylist()
    place = schema.ANNOTATIONS.get_field_index("source_key")
    changed = pa.array(["another file", *keys[1:]], pa.string())
    other = Group(
        group.species,
        group.rows.set_column(place, schema.ANNOTATIONS.field("source_key"), changed),
        group.vectors,
    )
    table, told = run(other, tmp_path)
    first = group.rows["annotation_id"][0].as_py()
    touched = [
        first in pair
        for pair in zip(*table.select(["a_id", "b_id"]).to_pydict().values(), strict=True)
    ]
    assert told["keypoints"]["new"] == 1
    assert told["matched"]["new"] == sum(touched)


def test_pairs_of_two_places_in_one_minute_are_cut_and_no_other_row_changes(
    group: Group, whole: tuple[Path, pa.Table], tmp_path: Path
) -> None:
    rows = group.rows.to_pylist()
    for number, row in enumerate(rows):
        row |= {"location_id": "AB"[number % 2], "timestamp": datetime(2024, 5, 1)}
    there = Group(
        group.species, pa.Table.from_pylist(rows, schema=schema.ANNOTATIONS), group.vectors
    )
    shutil.copytree(whole[0] / "embeddings", tmp_path / "embeddings")
    table, told = run(there, tmp_path, f"pairs.max_speed_kmh.{group.species}=30")
    assert told["matched"]["new"] == 0
    place = {row["annotation_id"]: row["location_id"] for row in rows}
    before = {(row["a_id"], row["b_id"]): row for row in whole[1].to_pylist()}
    for row in table.to_pylist():
        two = place[row["a_id"]] != place[row["b_id"]]
        assert (row["cut"] is not None) == two
        was = before[row["a_id"], row["b_id"]]
        assert row["log_odds"] == (pytest.approx(-6.9) if two else was["log_odds"])
    assert told["cut"] == sum(row["cut"] is not None for row in table.to_pylist()) > 0


def test_a_picture_that_is_gone_is_a_failure_and_in_no_pair(group: Group, tmp_path: Path) -> None:
    rows = group.rows.to_pylist()
    rows[3]["image_path"] = "gone.jpg"
    table, told = run(
        Group(group.species, pa.Table.from_pylist(rows, schema=schema.ANNOTATIONS), group.vectors),
        tmp_path,
    )
    assert told["without_pixels"] == 1
    failed = store.read_table(str(tmp_path / outputs.KEYPOINT_FAILURES))
    assert failed["annotation_id"].to_pylist() == [rows[3]["annotation_id"]]
    assert rows[3]["annotation_id"] not in set(
        table["a_id"].to_pylist() + table["b_id"].to_pylist()
    )


def test_points_of_shown_pairs_are_those_that_their_evidence_counts(
    group: Group, whole: tuple[Path, pa.Table]
) -> None:
    out, table = whole
    config = load_config(None, [*SETTINGS, f"out={out}"])
    best = table.sort_by([("matches_10", "descending")]).to_pylist()[:5]
    pairs = [(row["a_id"], row["b_id"]) for row in best]
    found = shown_evidence(config, group.rows, pairs, table)
    assert list(found) == pairs
    for row, seen in zip(best, found.values(), strict=True):
        assert len(seen.confidence) + seen.more == row["matches_10"]
        assert int((seen.confidence > 0.5).sum()) == row["matches_50"]
        assert ((seen.points >= 0) & (seen.points <= 1)).all()
        assert seen.speaks_for
    other = shown_evidence(
        config.model_copy(update={"store": f"{out}/none"}), group.rows, pairs, table
    )
    assert other == {}


@pytest.mark.parametrize(
    ("matcher", "asked", "taken"),
    [
        ("aliked-lightglue", "bf16", "bf16"),
        ("aliked-lightglue", "fp32", "fp32"),
        ("patches", "bf16", "fp32"),  # nothing that would be faster
    ],
)
def test_the_precision_is_that_of_a_network(matcher: str, asked: str, taken: str) -> None:
    config = load_config(None, [f"pairs.matcher={matcher}", f"pairs.precision={asked}"])
    assert pair_precision(config.pairs)[0] == taken


def test_an_unknown_matcher_is_refused_before_anything_is_done(
    group: Group, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"pairs\.matcher: unknown 'glue'"):
        run(group, tmp_path, "pairs.matcher=glue")
    assert not list(tmp_path.iterdir())


def test_clusters_are_those_of_the_pairs_where_these_are_wanted(
    group: Group, whole: tuple[Path, pa.Table]
) -> None:
    out, table = whole
    embedded = groups.Group(group.species, group.rows, group.vectors, None, "")
    config = load_config(None, [*SETTINGS, f"out={out}", "pairs=on", "cluster.eps=0.3"])
    cluster(config, [embedded])
    tuning = store.read_json(str(out / outputs.TUNING))[group.species]
    assert tuning["method"] in ("mutex", "mean-linkage", "components")
    assert f"probabilities of {len(table):,} pairs" in tuning["note"]
    labels = store.read_table(str(out / outputs.CLUSTERS))["cluster"].to_numpy()
    place = {name: i for i, name in enumerate(group.rows["annotation_id"].to_pylist())}
    surest = table.sort_by([("log_odds", "descending")]).to_pylist()[0]
    if surest["log_odds"] > 0:
        assert labels[place[surest["a_id"]]] == labels[place[surest["b_id"]]]
    few = groups.Group(group.species, group.rows[:5], group.vectors[:5], None, "")
    with pytest.raises(InputError, match=r"pairs\.parquet has images that are not embedded here"):
        cluster(config, [few])


def test_pictures_that_a_matcher_has_learned_from_teach_and_judge_nothing(
    group: Group, whole: tuple[Path, pa.Table], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    shutil.copytree(whole[0], out)
    ids = group.rows["annotation_id"].to_pylist()
    named = {one: f"animal {i % 5}" for i, one in enumerate(ids)}  # made up, for all of them
    rows = group.rows
    for name, values in (("identity", [*named.values()]), ("encounter_id", [None] * len(ids))):
        rows = rows.set_column(rows.column_names.index(name), name, pa.array(values, pa.string()))
    group = Group(group.species, rows, group.vectors)
    ends = [*zip(whole[1]["a_id"].to_pylist(), whole[1]["b_id"].to_pylist(), strict=True)]
    mates = [pair for pair in ends if named[pair[0]] == named[pair[1]]]
    for known in (set(ids[:10]), set(ids)):
        for module in ("look", "match"):
            monkeypatch.setattr(
                f"jobs.pairs.{module}.pictures_learned_from", lambda _, known=known: sorted(known)
            )
        _, told = run(group, out)
        left = [pair for pair in mates if not known.issuperset(pair)]
        assert told["model"]["positives"] == len(left) < len(mates)
        embedded = groups.Group(group.species, group.rows, group.vectors, None, "")
        cluster(load_config(None, [*SETTINGS, f"out={out}", "pairs=on"]), [embedded])
        tuning = store.read_json(str(out / outputs.TUNING))[group.species]
        assert ("individuals held out" in tuning["note"]) == (len(known) < len(ids))
    # Without a tuned matcher all of them do again.
    monkeypatch.undo()
    _, told = run(group, out)
    assert told["model"]["positives"] == len(mates)
    assert not learned_from(str(out), group.rows["annotation_id"].combine_chunks()).any()


def test_auto_is_no_worse_than_distances_for_animals_without_a_label(tmp_path: Path) -> None:
    """With vectors that know little, where pairs may help, and with such as know all, where they cannot."""
    herd = make_herd(tmp_path / "herd", individuals=12, images_per_individual=5, species=1, seed=4)
    rows, _ = read_annotations([str(herd.annotations)])
    names = np.asarray(rows["identity"].to_pylist(), dtype=object)
    _, who = np.unique(names.astype(str), return_inverse=True)
    hidden = who >= 7
    labels = pa.array(np.where(hidden, None, names).tolist(), pa.string())
    rows = rows.set_column(rows.schema.get_field_index("identity"), "identity", labels)
    species = rows["species"][0].as_py()
    rng = np.random.default_rng(2)
    for known in (0.3, 3.0):
        vectors = rng.normal(size=(len(who), 24)) + known * rng.normal(size=(12, 24))[who]
        vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        ari = {}
        for mode in ("off", "auto"):
            out = tmp_path / f"{mode}-{known}"
            places = [f"out={out}", f"store={tmp_path / 'store'}"]
            config = load_config(None, [*SETTINGS, *places, f"pairs={mode}"])
            if mode == "auto":
                summary = match(config, [Group(species, rows, vectors)])
                outputs.write_summary(config, "match", summary)
            cluster(config, [groups.Group(species, rows, vectors, None, "")])
            found = store.read_table(str(out / outputs.CLUSTERS))["cluster"].to_numpy()
            ari[mode] = agreement(found[hidden], names[hidden]).ari
        assert ari["auto"] >= ari["off"] - 0.02, (known, ari)


def test_a_window_is_chosen_on_labels_and_drawn(tmp_path: Path, capsys: Any) -> None:
    """The middle of a picture is the animal's own, its rim the place's, which others come to as well."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 256, (3, 40, 40, 3), dtype=np.uint8)
    rows = []
    for animal in range(12):
        coat = rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)
        for visit in range(2):
            place = places[(animal + visit) % 3].copy()
            place[14:26, 14:26] = coat
            big = Image.fromarray(place).resize((320, 320), Image.Resampling.BICUBIC)
            name = f"{animal}-{visit}.png"
            big.save(tmp_path / name)
            rows.append(
                {
                    "annotation_id": name,
                    "image_path": name,
                    "root": str(tmp_path),
                    "species": "eland",
                    "identity": f"e{animal}",
                }
            )
    table = pa.Table.from_pylist(rows, schema=schema.ANNOTATIONS)
    eland = Group("eland", table, np.eye(24, dtype=np.float32))
    fit_window(load_config(None, [*SETTINGS, f"out={tmp_path}"]), [eland])
    said = capsys.readouterr().err
    assert "AUC" in said
    tried = {what: float(area) for area, what in re.findall(r"AUC ([\d.]+) for (.+)", said)}
    assert tried["whole picture"] < 0.7
    chosen = re.search(r"per_species_window\.eland=(\[.+\])'", said)
    assert chosen is not None
    assert tried[chosen[1]] == max(tried.values()) > 0.9
    assert (tmp_path / "window-eland.png").is_file()
    few = Group("eland", table[:6], eland.vectors[:6])
    with pytest.raises(InputError, match="--fit-window: no species has 8 labelled individuals"):
        fit_window(load_config(None, [*SETTINGS, f"out={tmp_path}"]), [few])


class Mortal:
    """Dies over the pieces that have no mark yet, and leaves one."""

    def __init__(self, folder: str, deadly: tuple[int, ...]) -> None:
        self.folder, self.deadly = Path(folder), deadly

    def work(self, shard: int) -> int:
        mark = self.folder / f"{shard}"
        if shard in self.deadly or (shard % 3 == 0 and not mark.exists()):
            mark.touch()
            os._exit(1)
        if shard == 100:
            raise InputError("piece 100 is bad")
        return shard


def pieces(folder: Path, shards: list[int], deadly: tuple[int, ...] = ()) -> list[int]:
    done: list[int] = []
    actor = ray.remote(Mortal).options(num_cpus=0)
    with open_workers(lambda: actor.remote(str(folder), deadly), 2) as workers:
        workers.run("work", shards, done.append)
    return sorted(done)


def test_pieces_whose_worker_died_are_done_by_another_once(tmp_path: Path) -> None:
    assert pieces(tmp_path, list(range(7))) == list(range(7))


def test_a_piece_that_kills_every_worker_ends_the_job_with_a_word(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="died 3 times"):
        pieces(tmp_path, [1, 2], deadly=(2,))


def test_what_a_worker_refuses_is_what_the_job_refuses(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="piece 100 is bad"):
        pieces(tmp_path, [100, 1])
