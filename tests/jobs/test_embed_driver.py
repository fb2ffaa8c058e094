"""The embedding job on a real Ray: everything is accounted for, whatever dies or is broken."""

import os
import re
import runpy
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

import jobs.embed.embed_driver
import jobs.embed.embed_places
from jobs.common import outputs
from jobs.embed.embed_driver import DEAD_AFTER_SECONDS, EmbedSummary
from jobs.embed.embed_worker import EmbedTask, EmbedWorker
from jobs.run import run_embed
from reid import embeddings, schema, store
from reid.config import Config, load_config
from reid.embedder import Embedder, embed_annotations
from reid.errors import InputError, StorageDownError, StorageError
from reid.manifest import read_annotations
from reid.models import LoadedModel, load_model
from reid.store import retries
from tests.jobs.processes import needs_proc, start_and_kill

if TYPE_CHECKING:
    from tests.conftest import FlakyBucket

pytestmark = pytest.mark.usefixtures("local_ray")

DIMENSION = 1280
# On Ray, one worker on two of the four logical CPUs, and no runtime that compiles first.
QUICK = ("embed.ray=always", "embed.runtime=torch", "embed.cpus_per_worker=2", "embed.workers=1")

MakePhotos = Callable[..., list[Path]]
Reid = Callable[..., int]


@dataclass(frozen=True)
class Run:
    """What a run of the embedding job left behind."""

    out: Path
    summary: EmbedSummary

    @property
    def folder(self) -> Path:
        (folder,) = set(self.summary.folders.values())
        return Path(folder)


def embed(photos: Path, out: Path, *overrides: str) -> Run:
    config = load_config(
        None, [*QUICK, *overrides], {"input": [str(photos)], "out": str(out), "species": "lynx"}
    )
    return Run(out, run_embed(config))


def written(folder: Path) -> dict[str, int]:
    """When each part was written: a part that is written again gets another time."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("part-*.parquet")}


def stored_rows(folder: Path) -> list[str]:
    return sorted(embeddings.stored_ids(str(folder)).to_pylist())


def wanted_rows(out: Path) -> list[str]:
    annotations = store.read_table(str(out / outputs.ANNOTATIONS))
    return sorted(annotations["annotation_id"].to_pylist())


def failures_by_file(out: Path) -> dict[str, tuple[str, str]]:
    rows = store.read_table(str(out / outputs.FAILURES)).to_pylist()
    found = {row["image_path"]: (row["stage"], row["error"]) for row in rows}
    assert len(found) == len(rows)
    return found


@pytest.fixture(scope="module")
def first(
    local_ray: None, make_photos: MakePhotos, tmp_path_factory: pytest.TempPathFactory
) -> Run:
    """24 pictures, embedded once in three shards. Tests that change it take a copy."""
    home = tmp_path_factory.mktemp("first")
    make_photos(home / "photos", range(24))
    return embed(home / "photos", home / "out", "embed.shard_rows=8")


@pytest.fixture
def again(first: Run, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Runs the job again over a copy of the first run and its pictures."""
    shutil.copytree(first.out.parent, tmp_path, dirs_exist_ok=True)
    return lambda *overrides: embed(tmp_path / "photos", tmp_path / "out", *overrides)


# ── What is stored ────────────────────────────────────────────────────────────────────────────────


def test_every_picture_has_one_unit_row(first: Run) -> None:
    assert (first.summary.annotations, first.summary.embedded) == (24, 24)
    assert (first.summary.reused, first.summary.failed) == (0, 0)
    parts = embeddings.parts(str(first.folder))
    assert len(parts) == 3
    table = pa.concat_tables(store.iter_tables(parts))
    assert table.schema.equals(schema.embeddings(DIMENSION))
    assert stored_rows(first.folder) == wanted_rows(first.out)
    vectors = np.stack(table["embedding"].to_numpy())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert set(table["species"].to_pylist()) == {"lynx"}
    assert set(table["width"].to_pylist()) == {96}
    assert len(store.read_table(str(first.out / outputs.FAILURES))) == 0


def test_the_job_gives_what_the_library_gives_in_one_process(first: Run) -> None:
    annotations = store.read_table(str(first.out / outputs.ANNOTATIONS))
    plain = Embedder(
        [load_model("efficientnet-lite0")], views=["identity", "hflip"], runtime="torch"
    )
    table, failures = embed_annotations(plain, annotations)
    assert len(failures) == 0
    wanted = np.stack(table["embedding"].to_numpy())
    stored = embeddings.read_embeddings(str(first.folder), table["annotation_id"].combine_chunks())
    np.testing.assert_array_equal(stored.found, np.arange(24))
    np.testing.assert_allclose(stored.vectors, wanted, atol=2e-5)
    assert stored.content_hashes.tolist() == table["content_hash"].to_pylist()


def test_the_output_says_what_made_it(first: Run) -> None:
    recipe = store.read_json(str(first.folder / "recipe.json"))
    assert recipe["views"] == ["identity", "hflip"]
    assert [model["name"] for model in recipe["models"]] == ["efficientnet-lite0"]
    assert len(recipe["models"][0]["digest"]) >= 16
    assert recipe["fingerprint"] in first.folder.name
    assert recipe["versions"]["torch"]
    config = load_config(str(first.out / outputs.CONFIG))
    assert config.embed.shard_rows == 8
    summary = outputs.read_summary(str(first.out))
    assert summary["embed"]["embedded"] == 24
    assert summary["versions"]["ray"]


def test_nothing_but_results_is_left(first: Run) -> None:
    names = {path.name.partition("-")[0] for path in first.folder.iterdir()}
    assert names == {"part", "recipe.json"}


def test_polars_reads_it(first: Run) -> None:
    frame = pl.read_parquet(first.folder / "part-*.parquet")
    assert frame.schema["embedding"] == pl.Array(pl.Float32, DIMENSION)
    norms = np.linalg.norm(frame["embedding"].to_numpy(), axis=1)
    np.testing.assert_allclose(norms, 1, atol=1e-6)
    annotations = pl.read_parquet(first.out / outputs.ANNOTATIONS)
    assert len(frame.join(annotations, on="annotation_id")) == 24
    assert annotations.schema["timestamp"] == pl.Datetime("us")


def test_duckdb_reads_it(first: Run) -> None:
    parts = f"{first.folder}/part-*.parquet"
    rows = duckdb.sql(
        f"""
        select count(*), count(distinct e.annotation_id), min(len(embedding)), max(len(embedding)),
               min(list_sum(list_transform(embedding, lambda x: x * x)))
        from '{parts}' e join '{first.out / outputs.ANNOTATIONS}' a using (annotation_id)
        """
    ).fetchall()
    assert rows[0][:4] == (24, 24, DIMENSION, DIMENSION)
    assert rows[0][4] == pytest.approx(1, abs=1e-5)


# ── Run again ─────────────────────────────────────────────────────────────────────────────────────


def test_a_second_run_embeds_nothing(again: Callable[..., Run], first: Run) -> None:
    second = again()
    assert (second.summary.embedded, second.summary.reused) == (0, 24)
    assert second.summary.runtimes == [], "no model was asked"
    assert written(second.folder) == written(first.folder)


def test_new_pictures_embed_only_themselves(
    again: Callable[..., Run], first: Run, make_photos: MakePhotos, tmp_path: Path
) -> None:
    make_photos(tmp_path / "photos" / "later", range(100, 103))
    second = again()
    assert (second.summary.embedded, second.summary.reused) == (3, 24)
    times, before = written(second.folder), written(first.folder)
    assert {name: times[name] for name in before} == before
    assert len(times) == len(before) + 1
    assert stored_rows(second.folder) == wanted_rows(second.out)


def hashes(folder: Path) -> pd.Series:
    parts = store.iter_tables(embeddings.parts(str(folder)), ["annotation_id", "content_hash"])
    return pa.concat_tables(parts).to_pandas().set_index("annotation_id")["content_hash"]


def test_another_picture_of_the_same_name_is_embedded_again(
    make_photos: MakePhotos, tmp_path: Path
) -> None:
    paths = make_photos(tmp_path / "photos", range(4))
    before = embed(tmp_path / "photos", tmp_path / "out")
    old = hashes(before.folder)
    paths[0].write_bytes(paths[1].read_bytes())
    after = embed(tmp_path / "photos", tmp_path / "out")
    assert (after.summary.embedded, after.summary.reused) == (1, 3)
    assert stored_rows(after.folder) == wanted_rows(after.out), "none lost, none twice"
    new = hashes(after.folder)
    assert (old[new.index] != new).sum() == 1
    assert new.duplicated().sum() == 1


def test_a_changed_recipe_is_another_folder(again: Callable[..., Run], first: Run) -> None:
    second = again("embed.tta=identity")
    assert second.summary.embedded == 24
    assert second.folder.name != first.folder.name
    old = second.folder.parent / first.folder.name
    assert written(old) == written(first.folder)
    ids = wanted_rows(second.out)
    one = embeddings.read_embeddings(str(second.folder), ids).vectors
    both = embeddings.read_embeddings(str(old), ids).vectors
    cosines = (one * both).sum(1)
    assert 0.5 < cosines.min() < 0.9999, "other views, other numbers"


def test_species_may_have_recipes_of_their_own(
    make_photos: MakePhotos, tmp_path: Path, first: Run
) -> None:
    paths = make_photos(tmp_path, range(6))
    lines = [f"{path.name},{('lynx', 'ibex', 'nyala')[i % 3]}" for i, path in enumerate(paths)]
    (tmp_path / "table.csv").write_text("path,species\n" + "\n".join(lines))
    config = load_config(
        None,
        [*QUICK, "embed.per_species.ibex.tta=identity"],
        {"input": [str(tmp_path / "table.csv")], "out": str(tmp_path / "out")},
    )
    summary = run_embed(config)
    assert summary.embedded == 6
    folders = summary.folders
    assert folders["lynx"] == folders["nyala"] != folders["ibex"]
    assert Path(folders["lynx"]).name == first.folder.name
    assert len(stored_rows(Path(folders["lynx"]))) == 4
    assert len(stored_rows(Path(folders["ibex"]))) == 2


# ── Bad images ────────────────────────────────────────────────────────────────────────────────────


def write_bad_images(folder: Path, good: Path) -> dict[str, tuple[str, str]]:
    """Rows of a table (file, box), and what shall be said about each: stage and error."""
    jpeg = good.read_bytes()
    (folder / "truncated.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "text.png").write_text("This is no picture.")
    Image.new("1", (12_500, 8_000)).save(folder / "bomb.png")
    (folder / "folder.jpg").mkdir()
    shutil.copy(good, folder / "flat.jpg")
    shutil.copy(good, folder / "outside.jpg")
    return {
        "truncated.jpg": ("decode", "cannot be decoded: (?i:.*truncated)"),
        "empty.jpg": ("decode", r"empty file \(0 bytes\)"),
        "text.png": ("decode", "not an image"),
        "bomb.png": ("decode", "12500 × 8000 is 100 megapixels, over the limit of 80"),
        "folder.jpg": ("read", "cannot be read: .*[Dd]irectory"),
        "gone.jpg": ("read", "missing: .*gone.jpg"),
        "flat.jpg": ("decode", "zero-area box: x=3 y=3 w=0 h=5"),
        "outside.jpg": ("decode", "box outside the image"),
    }


def test_bad_images_are_rows_with_a_reason_and_are_tried_again(
    make_photos: MakePhotos, tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    good = make_photos(tmp_path, range(12))
    bad = write_bad_images(tmp_path, good[0])
    boxes = {"flat.jpg": "[3, 3, 0, 5]", "outside.jpg": "[500, 3, 9, 9]"}
    names = [path.name for path in good[:6]] + list(bad) + [path.name for path in good[6:]]
    lines = [f'{name},"{boxes.get(name, "")}"' for name in names]
    (tmp_path / "table.csv").write_text("path,bbox\n" + "\n".join(lines))
    command = ("embed", "-i", tmp_path / "table.csv", "-o", tmp_path / "out", *QUICK)

    assert reid(*command, "embed.shard_rows=5") == 2, "8 of 20 are more than a tenth"
    said = capsys.readouterr().err
    assert "8 of 20 images failed" in said
    assert "--max-failures" in said
    found = failures_by_file(tmp_path / "out")
    assert found.keys() == bad.keys()
    for name, (stage, error) in bad.items():
        assert found[name][0] == stage
        assert re.search(error, found[name][1]), found[name]
    summary = outputs.read_summary(str(tmp_path / "out"))["embed"]
    assert (summary["embedded"], summary["failed"]) == (12, 8)
    folder = Path(summary["folders"]["unknown"])
    assert len(stored_rows(folder)) == 12, "everything else is stored"

    # Mended files are embedded by the next run; under the limit all is well.
    before = written(folder)
    for name in ("truncated.jpg", "empty.jpg", "text.png", "gone.jpg", "bomb.png"):
        shutil.copy(good[1], tmp_path / name)
    assert reid(*command, "--max-failures", 0.15) == 0
    assert failures_by_file(tmp_path / "out").keys() == {"folder.jpg", "flat.jpg", "outside.jpg"}
    assert len(stored_rows(folder)) == 17
    assert {name: written(folder)[name] for name in before} == before


# ── Death ─────────────────────────────────────────────────────────────────────────────────────────


def test_a_worker_that_is_killed_costs_nothing(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_photos(tmp_path / "photos", range(24))

    class KilledInTheMiddle(EmbedWorker):
        done = 0

        def _shard(self, shard: int) -> tuple[int, int]:
            counts = super()._shard(shard)
            self.done += 1
            if self.done == 2 and not (tmp_path / "killed").exists():
                # The part is written and nobody has been told: the shard comes a second time.
                (tmp_path / "killed").write_text(str(shard))
                os.kill(os.getpid(), signal.SIGKILL)
            return counts

    monkeypatch.setattr(jobs.embed.embed_places, "EmbedWorker", KilledInTheMiddle)
    run = embed(tmp_path / "photos", tmp_path / "out", "embed.shard_rows=4", "embed.workers=2")
    assert (tmp_path / "killed").exists(), "it did die"
    assert (run.summary.embedded, run.summary.failed) == (24, 0)
    assert stored_rows(run.folder) == wanted_rows(run.out), "none lost, none twice"


DEADLY_DECODER = '''
"""Stands for a decoder with a bug: on bytes that hold the word `deadly` the process dies."""
import os, signal
import PIL.Image

real = PIL.Image.open


def decode(stream, *arguments, **options):
    if b"deadly" in stream.getvalue():
        os.kill(os.getpid(), signal.SIGKILL)
    return real(stream, *arguments, **options)


PIL.Image.open = decode
'''


def test_an_image_on_which_the_decoder_crashes_is_a_failure(
    make_photos: MakePhotos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_photos(tmp_path / "photos", range(5))
    deadly = paths[2:4]
    for path in deadly:
        path.write_bytes(path.read_bytes() + b"deadly")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(DEADLY_DECODER)

    class WithThatDecoder(EmbedWorker):
        def __init__(self, task: EmbedTask) -> None:
            super().__init__(task)
            runpy.run_path(str(tmp_path / "site" / "sitecustomize.py"))
            os.environ["PYTHONPATH"] = str(tmp_path / "site")  # for the processes it starts

    monkeypatch.setattr(jobs.embed.embed_places, "EmbedWorker", WithThatDecoder)
    run = embed(tmp_path / "photos", tmp_path / "out", "embed.shard_rows=1", "max_failures=0.5")
    crash = ("embed", "the decoder crashes on this image")
    assert failures_by_file(run.out) == {path.name: crash for path in deadly}
    assert (run.summary.embedded, run.summary.failed) == (3, 2)
    assert len(stored_rows(run.folder)) == 3


@needs_proc
def test_a_run_whose_driver_is_killed_goes_on_where_it_was(
    make_photos: MakePhotos, tmp_path: Path, reid: Reid
) -> None:
    make_photos(tmp_path / "photos", range(60))
    out = tmp_path / "out"
    arguments = ["-i", str(tmp_path / "photos"), "-o", str(out), *QUICK, "embed.shard_rows=4"]
    start_and_kill(
        ["embed", *arguments],
        tmp_path / "log",
        lambda: len(list(out.glob("embeddings/*/part-*.parquet"))) >= 2,
    )
    (folder,) = (out / "embeddings").iterdir()
    before = written(folder)
    assert 2 <= len(before) < 15, "killed in the middle"
    assert list(folder.glob("work-*")), "and in no state to tidy up"

    assert reid("embed", *arguments) == 0
    summary = outputs.read_summary(str(out))["embed"]
    assert (summary["reused"], summary["embedded"]) == (4 * len(before), 60 - 4 * len(before))
    assert stored_rows(folder) == wanted_rows(out), "none lost, none twice"
    assert {name: written(folder)[name] for name in before} == before

    # What it was at is kept while it might still live, and forgotten when it is surely dead.
    (left,) = folder.glob("work-*")
    for path in left.iterdir():
        os.utime(path, (0, time.time() - DEAD_AFTER_SECONDS - 60))
    assert reid("embed", *arguments) == 0
    assert not left.exists()


def test_storage_that_fails_a_worker_is_told_as_such(
    make_photos: MakePhotos, tmp_path: Path, first: Run
) -> None:
    make_photos(tmp_path / "photos", range(24))
    folder = tmp_path / "out" / "embeddings" / first.folder.name
    taken = next(iter(written(first.folder)))
    (folder / taken / "in the way").mkdir(parents=True)
    with pytest.raises(StorageError, match=f"{taken}: cannot write"):
        embed(tmp_path / "photos", tmp_path / "out", "embed.shard_rows=8")
    shutil.rmtree(folder / taken)
    run = embed(tmp_path / "photos", tmp_path / "out", "embed.shard_rows=8")
    assert run.summary.embedded + run.summary.reused == 24
    assert stored_rows(run.folder) == wanted_rows(run.out)


# ── Company ───────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("when", "fewer", "doubles"),
    [("before", False, 0), ("before", True, 7), ("after", True, 0)],
    ids=["same work", "other shards", "work that is done"],
)
def test_two_runs_over_one_store_do_not_disturb_each_other(
    make_photos: MakePhotos,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    when: str,
    fewer: bool,
    doubles: int,
) -> None:
    """All of the second run happens inside the first: before or after the first one's workers."""
    make_photos(tmp_path / "photos", range(8))[3].write_bytes(b"")
    new = tmp_path / "photos" / "0-new"  # which comes before the others, and shifts their shards
    make_photos(new, range(8, 10))
    shared = ("embed.shard_rows=4", "max_failures=0.5", f"store={tmp_path / 'store'}")
    others: list[Run] = []
    work = jobs.embed.embed_driver._run

    def in_company(
        config: Config, task: EmbedTask, models: list[LoadedModel], pending: pa.Table
    ) -> list[str]:
        monkeypatch.setattr(jobs.embed.embed_driver, "_run", work)
        runtimes = work(config, task, models, pending) if when == "after" else []
        if fewer:
            shutil.rmtree(new)
        others.append(embed(tmp_path / "photos", tmp_path / "other", *shared))
        make_photos(new, range(8, 10))
        assert store.exists(task.work) == (when == "after")
        return runtimes or work(config, task, models, pending)

    monkeypatch.setattr(jobs.embed.embed_driver, "_run", in_company)
    run = embed(tmp_path / "photos", tmp_path / "out", *shared)
    (other,) = others
    assert run.folder == other.folder
    assert (run.summary.annotations, run.summary.failed) == (10, 1)
    assert (other.summary.annotations, other.summary.failed) == (8 if fewer else 10, 1)
    assert failures_by_file(run.out).keys() == failures_by_file(other.out).keys() == {"003.png"}
    assert {path.name.partition("-")[0] for path in run.folder.iterdir()} == {"part", "recipe.json"}
    for each in (run, other):
        ids = wanted_rows(each.out)
        assert len(embeddings.read_embeddings(str(run.folder), ids).found) == len(ids) - 1
    assert len(stored_rows(run.folder)) == 9 + doubles


# ── Resources, storage ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("embed.cpus_per_worker=64", r"embed\.cpus_per_worker: 64 .* 4"),
        ("embed.device=cuda", r"embed\.device: cuda.* no GPU here"),
    ],
)
def test_a_worker_that_fits_nowhere_is_an_error_and_no_endless_wait(
    make_photos: MakePhotos, tmp_path: Path, override: str, message: str
) -> None:
    make_photos(tmp_path / "photos", range(2))
    with pytest.raises(InputError, match=message):
        embed(tmp_path / "photos", tmp_path / "out", override)


def test_pictures_and_results_on_object_storage(
    bucket: str, make_photos: MakePhotos, tmp_path: Path, reid: Reid
) -> None:
    for path in make_photos(tmp_path, range(5)):
        store.write_bytes(f"{bucket}/my photos/{path.name}", path.read_bytes())
    store.write_bytes(f"{bucket}/my photos/broken.jpg", b"")
    command = ("embed", "-i", f"{bucket}/my photos", "-o", f"{bucket}/out", "--max-failures", 0.5)
    assert reid(*command, *QUICK) == 0
    summary = outputs.read_summary(f"{bucket}/out")["embed"]
    assert (summary["embedded"], summary["failed"]) == (5, 1)
    folder = summary["folders"]["unknown"]
    names = {path.rpartition("/")[2].partition("-")[0] for path in store.list_files(folder)}
    assert names == {"part", "recipe.json"}
    read = embeddings.read_embeddings(folder, embeddings.stored_ids(folder).combine_chunks())
    np.testing.assert_allclose(np.linalg.norm(read.vectors, axis=1), 1, atol=1e-6)

    (other,) = make_photos(tmp_path / "other", [9])
    store.write_bytes(f"{bucket}/my photos/{path.name}", other.read_bytes())
    assert reid(*command, *QUICK) == 0
    summary = outputs.read_summary(f"{bucket}/out")["embed"]
    assert (summary["reused"], summary["embedded"], summary["failed"]) == (4, 1, 1)
    assert not [path for path in store.list_files(folder, recursive=True) if "work-" in path]
    # Results of a folder on object storage open like any other.
    fs, inner = store.filesystem(f"{bucket}/out/{outputs.ANNOTATIONS}")
    assert pq.read_metadata(inner, filesystem=fs).num_rows == 6


def test_storage_that_fails_half_of_its_requests_for_a_while(
    flaky_bucket: "FlakyBucket", make_photos: MakePhotos, tmp_path: Path
) -> None:
    for path in make_photos(tmp_path, range(6)):
        store.write_bytes(f"{flaky_bucket.uri}/photos/{path.name}", path.read_bytes())
    endpoint = flaky_bucket.endpoint

    class OnThatStorage(EmbedWorker):
        def __init__(self, task: EmbedTask) -> None:
            os.environ["AWS_ENDPOINT_URL"] = endpoint
            super().__init__(task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs.embed.embed_places, "EmbedWorker", OnThatStorage)
        flaky_bucket.fail(requests=150)
        config = load_config(
            None,
            [*QUICK, "embed.shard_rows=2"],
            {"input": [f"{flaky_bucket.uri}/photos"], "out": f"{flaky_bucket.uri}/out"},
        )
        summary = run_embed(config)
    assert flaky_bucket.failed > 50
    assert (summary.embedded, summary.failed) == (6, 0)
    (folder,) = summary.folders.values()
    assert len(embeddings.parts(folder)) == 3
    assert len(embeddings.stored_ids(folder)) == 6


def test_an_outage_is_no_fault_of_the_images(
    flaky_bucket: "FlakyBucket", make_photos: MakePhotos, tmp_path: Path
) -> None:
    """Images that fail are rows, and the run goes on; storage that is gone stops it, to go on later."""
    make_photos(tmp_path, range(3))
    for path in tmp_path.iterdir():
        store.write_bytes(f"{flaky_bucket.uri}/photos/{path.name}", path.read_bytes())
    annotations, _ = read_annotations([f"{flaky_bucket.uri}/photos"])
    embedder = Embedder([load_model("efficientnet-lite0")], runtime="torch")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retries, "RETRY_SECONDS", 0)
        flaky_bucket.fail(requests=10_000, share=1)
        with pytest.raises(StorageDownError, match=r"photos/00\d.*the same command again"):
            embed_annotations(embedder, annotations)
    flaky_bucket.fail(requests=0)
    table, failures = embed_annotations(embedder, annotations)
    assert (len(table), len(failures)) == (3, 0)
