"""The embedding job on a real Ray: everything is accounted for, also what is broken."""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from jobs.common import outputs
from jobs.run import run_embed
from reid import embeddings, schema, store
from reid.config import load_config
from reid.embedder import Embedder, embed_annotations
from reid.errors import InputError
from reid.models import load_model
from tests.jobs.embedding_runs import (
    HERE,
    QUICK,
    Run,
    embed,
    failures_by_file,
    stored_rows,
    wanted_rows,
    written,
)

pytestmark = pytest.mark.usefixtures("local_ray")

DIMENSION = 1280

MakePhotos = Callable[..., list[Path]]
Reid = Callable[..., int]


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
    second = again(HERE)
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
    before = embed(tmp_path / "photos", tmp_path / "out", HERE)
    old = hashes(before.folder)
    paths[0].write_bytes(paths[1].read_bytes())
    after = embed(tmp_path / "photos", tmp_path / "out", HERE)
    assert (after.summary.embedded, after.summary.reused) == (1, 3)
    assert stored_rows(after.folder) == wanted_rows(after.out), "none lost, none twice"
    new = hashes(after.folder)
    assert (old[new.index] != new).sum() == 1
    assert new.duplicated().sum() == 1


def test_a_changed_recipe_is_another_folder(again: Callable[..., Run], first: Run) -> None:
    second = again("embed.tta=identity", HERE)
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
        [*QUICK, HERE, "embed.per_species.ibex.tta=identity"],
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
    assert reid(*command, HERE, "--max-failures", 0.15) == 0
    assert failures_by_file(tmp_path / "out").keys() == {"folder.jpg", "flat.jpg", "outside.jpg"}
    assert len(stored_rows(folder)) == 17
    assert {name: written(folder)[name] for name in before} == before


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
    assert reid(*command, *QUICK, HERE) == 0
    summary = outputs.read_summary(f"{bucket}/out")["embed"]
    assert (summary["reused"], summary["embedded"], summary["failed"]) == (4, 1, 1)
    assert not [path for path in store.list_files(folder, recursive=True) if "work-" in path]
    # Results of a folder on object storage open like any other.
    fs, inner = store.filesystem(f"{bucket}/out/{outputs.ANNOTATIONS}")
    assert pq.read_metadata(inner, filesystem=fs).num_rows == 6
