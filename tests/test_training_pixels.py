"""Decoded once: the same pixels however they come, and nothing that stops a run."""

import io
import json
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

from reid import schema
from reid.errors import StorageDownError, StorageError
from reid.images import decode_crop, resize
from reid.training.loader import read_ahead
from reid.training.pixels import GREY, open_pixels

SIZE = 16
ROWS_GB = SIZE * SIZE * 3 / 1e9  # one row's share of the file


def _annotations(folder, n=6, broken=()):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        stream = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)).save(stream, "JPEG")
        data = b"not a picture" if i in broken else stream.getvalue()
        (folder / f"{i}.jpg").write_bytes(data)
        box = [5.0, 5.0, 30.0, 20.0] if i % 2 else None
        rows.append(_row(folder, i, box))
    return pa.Table.from_pylist(rows, schema=schema.ANNOTATIONS)


def _row(folder, i, box, source_key=None):
    return {
        "annotation_id": f"a{i}",
        "image_path": f"{i}.jpg",
        "root": str(folder),
        "bbox": box,
        "species": "lynx",
        "source_key": source_key or f"key{i}",
    }


def _expected(annotations, row):
    record = annotations.slice(row, 1).to_pylist()[0]
    data = (Path(record["root"]) / record["image_path"]).read_bytes()
    return resize(decode_crop(data, record["bbox"], target=SIZE).pixels, SIZE)


def _counting(reads):
    def read(path):
        reads.append(Path(path).name)
        return Path(path).read_bytes()

    return read


@pytest.mark.parametrize("kept", [0, 3, 6])
def test_pixels_are_those_of_a_direct_decode(tmp_path, kept):
    annotations = _annotations(tmp_path)
    pixels = open_pixels(
        annotations, size=SIZE, folder=str(tmp_path / "cache"), cache_gb=(kept + 0.5) * ROWS_GB
    )
    assert pixels.cached.sum() == kept
    assert len(pixels) == 6
    found, good = pixels.take(np.array([5, 0, 3, 3]))
    assert good.all()
    for place, row in enumerate([5, 0, 3, 3]):
        np.testing.assert_array_equal(found[place], _expected(annotations, row))
    assert pixels.failures().num_rows == 0


def test_files_are_read_once_and_the_cache_serves_the_next_run(tmp_path):
    annotations, reads, progress = _annotations(tmp_path), [], []
    options = {"size": SIZE, "folder": str(tmp_path / "cache"), "read": _counting(reads)}
    first = open_pixels(annotations, **options, on_progress=lambda *at: progress.append(at))
    assert sorted(reads) == [f"{i}.jpg" for i in range(6)]
    assert progress == [(6, 6)]
    second = open_pixels(annotations, **options)
    rows = np.arange(6)
    np.testing.assert_array_equal(first.take(rows)[0], second.take(rows)[0])
    assert len(reads) == 6


@pytest.mark.parametrize("change", ["size", "source_key", "bbox_margin", "order"])
def test_another_question_has_another_file(tmp_path, change):
    annotations, reads = _annotations(tmp_path), []
    options = {"size": SIZE, "folder": str(tmp_path / "cache"), "read": _counting(reads)}
    open_pixels(annotations, **options)
    if change == "size":
        options["size"] = SIZE + 1
    elif change == "bbox_margin":
        options["bbox_margin"] = 0.1
    elif change == "source_key":
        rows = annotations.to_pylist()
        rows[2]["source_key"] = "another file"
        annotations = pa.Table.from_pylist(rows, schema=schema.ANNOTATIONS)
    else:
        annotations = annotations.take([1, 0, 2, 3, 4, 5])
    open_pixels(annotations, **options)
    assert len(reads) == 12


@pytest.mark.parametrize("kept", [0, 6])
def test_a_bad_image_is_a_row_of_failures(tmp_path, kept):
    annotations = _annotations(tmp_path, broken=(1,))
    (tmp_path / "4.jpg").unlink()
    pixels = open_pixels(
        annotations, size=SIZE, folder=str(tmp_path / "cache"), cache_gb=(kept + 0.5) * ROWS_GB
    )
    found, good = pixels.take(np.arange(6))
    assert good.tolist() == [True, False, True, True, False, True]
    assert pixels.good.tolist() == good.tolist()
    assert (found[[1, 4]] == GREY).all()
    failures = pixels.failures().to_pylist()
    assert [(row["annotation_id"], row["stage"]) for row in failures] == [
        ("a1", "decode"),
        ("a4", "read"),
    ]
    assert "not an image" in failures[0]["error"]
    assert "4.jpg" in failures[1]["error"]


def test_a_file_that_came_back_is_used(tmp_path):
    annotations = _annotations(tmp_path)
    data = (tmp_path / "2.jpg").read_bytes()
    (tmp_path / "2.jpg").unlink()
    folder = str(tmp_path / "cache")
    assert not open_pixels(annotations, size=SIZE, folder=folder).good[2]
    (tmp_path / "2.jpg").write_bytes(data)
    pixels = open_pixels(annotations, size=SIZE, folder=folder)
    assert pixels.good.all()
    np.testing.assert_array_equal(pixels.take(np.array([2]))[0][0], _expected(annotations, 2))


def test_runs_that_start_together_decode_once(tmp_path):
    annotations, reads = _annotations(tmp_path, n=40), []
    options = {"size": SIZE, "folder": str(tmp_path / "cache"), "read": _counting(reads)}
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda _: open_pixels(annotations, **options), range(4)))
    assert len(reads) == 40
    for run in runs[1:]:
        np.testing.assert_array_equal(run.take(np.arange(40))[0], runs[0].take(np.arange(40))[0])


def test_what_a_killed_run_left_is_written_over(tmp_path):
    annotations = _annotations(tmp_path)
    folder = tmp_path / "cache"
    open_pixels(annotations, size=SIZE, folder=str(folder))
    (array,), (done,) = folder.glob("*.npy"), folder.glob("*.json")
    assert json.loads(done.read_text()) == []
    done.unlink()
    array.rename(array.with_suffix(".part"))
    array.with_suffix(".part").write_bytes(b"half")
    pixels = open_pixels(annotations, size=SIZE, folder=str(folder))
    np.testing.assert_array_equal(pixels.take(np.array([3]))[0][0], _expected(annotations, 3))
    assert not list(folder.glob("*.part"))


def test_a_disk_without_room_is_an_error_and_is_not_kept_full(tmp_path):
    annotations = _annotations(tmp_path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * SIZE * SIZE * 3, before[1]))
    try:
        with pytest.raises(StorageError, match="cannot be kept there"):
            open_pixels(annotations, size=SIZE, folder=str(tmp_path / "cache"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    left = [path.stat().st_size for path in (tmp_path / "cache").iterdir()]
    assert left == [0], "the lock"
    assert open_pixels(annotations, size=SIZE, folder=str(tmp_path / "cache")).good.all()


def test_a_folder_that_cannot_be_written(tmp_path):
    annotations = _annotations(tmp_path)
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="cannot be kept there"):
        open_pixels(annotations, size=SIZE, folder=str(tmp_path / "file"))


def test_batches_come_in_order_and_a_reader_may_stop(tmp_path):
    annotations = _annotations(tmp_path)
    pixels = open_pixels(annotations, size=SIZE, folder=str(tmp_path / "cache"))
    batches = [np.array(rows) for rows in ([0, 1], [2, 3], [4, 5], [1, 0], [3])]
    for (found, good), rows in zip(read_ahead(pixels, batches, "cpu"), batches, strict=True):
        assert found.dtype == torch.uint8
        assert good.all()
        np.testing.assert_array_equal(found.numpy(), pixels.take(rows)[0])
    early = read_ahead(pixels, batches * 10, "cpu")
    next(early)
    early.close()


@pytest.mark.parametrize("kept", [0, 6])
def test_an_outage_of_storage_is_told_apart_from_bad_images(tmp_path, kept):
    annotations = _annotations(tmp_path)

    def out_of_reach(path):
        if path.endswith("3.jpg"):
            raise StorageDownError(f"{path}: cannot read, for 120 s now")
        return Path(path).read_bytes()

    options = {"size": SIZE, "folder": str(tmp_path / "cache"), "cache_gb": (kept + 0.5) * ROWS_GB}
    with pytest.raises(StorageDownError, match="for 120 s now"):
        open_pixels(annotations, read=out_of_reach, **options).take(np.arange(6))
    assert not list((tmp_path / "cache").glob("*.part"))
    assert open_pixels(annotations, **options).take(np.arange(6))[1].all()


def test_whatever_an_image_does_to_a_decoder_is_its_own_failure(tmp_path, monkeypatch):
    def broken(pixels, size, interpolation):
        raise RecursionError("deep")

    monkeypatch.setattr("reid.training.pixels.resize", broken)
    pixels = open_pixels(_annotations(tmp_path), size=SIZE, folder=str(tmp_path / "cache"))
    assert not pixels.good.any()
    assert "cannot be decoded: deep" in pixels.failures()["error"][0].as_py()
