"""Random changes against torchvision's one at a time, and against hand-made geometry."""

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as TF

from reid.training import TrainSettings
from reid.training.augment import Changes, apply_changes, draw_changes, prepare

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
NOTHING = TrainSettings(
    crop_scale=1.0,
    crop_ratio=1.0,
    rotation_degrees=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    erase_probability=0.0,
)


def _pixels(n=3, side=32, low=90, high=160):
    """Colours in the middle, so that nothing is clipped on the way."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(low, high, (n, side, side, 3), generator=generator, dtype=torch.uint8)


def _planes(pixels):
    return pixels.permute(0, 3, 1, 2).float() / 255


def _changes(n=3, **given):
    one, zero = np.ones(n), np.zeros(n)
    values = {
        "warp": np.tile(np.eye(2, 3), (n, 1, 1)),
        "brightness": one,
        "contrast": one,
        "saturation": one,
        "hue_rad": zero,
        "blur_sigma": zero,
        "erase": np.zeros((n, 4)),
    }
    return Changes(**(values | given))


def _draw(settings, n=64, seed=0, mirror=True):
    return draw_changes(settings, np.full(n, mirror), np.random.default_rng(seed))


def test_no_change_is_the_image():
    pixels = _pixels()
    drawn = _draw(NOTHING, n=3)
    torch.testing.assert_close(apply_changes(pixels, drawn, size=32, **PLAIN), _planes(pixels))


@pytest.mark.parametrize(
    ("name", "adjust"),
    [
        ("brightness", TF.adjust_brightness),
        ("contrast", TF.adjust_contrast),
        ("saturation", TF.adjust_saturation),
    ],
)
def test_colours_are_changed_as_torchvision_does(name, adjust):
    pixels, factors = _pixels(), np.array([0.8, 1.0, 1.3])
    found = apply_changes(pixels, _changes(**{name: factors}), size=32, **PLAIN)
    expected = [adjust(p, float(f)) for p, f in zip(_planes(pixels), factors, strict=True)]
    torch.testing.assert_close(found, torch.stack(expected), atol=1e-4, rtol=0)


def test_colour_changes_come_one_after_the_other():
    pixels = _pixels()
    same = {name: np.full(3, f) for name, f in (("brightness", 0.9), ("contrast", 1.2))}
    found = apply_changes(pixels, _changes(**same, saturation=np.full(3, 0.7)), size=32, **PLAIN)
    steps = TF.adjust_contrast(TF.adjust_brightness(_planes(pixels), 0.9), 1.2)
    torch.testing.assert_close(found, TF.adjust_saturation(steps, 0.7), atol=1e-4, rtol=0)


def test_hue_leaves_greys_and_turns_red_to_green_to_blue():
    pixels = torch.tensor([[[[100, 100, 100], [150, 90, 90]]]], dtype=torch.uint8)
    pixels = pixels.expand(1, 2, 2, 3).contiguous()
    third = _changes(1, hue_rad=np.array([2 * np.pi / 3]))
    found = apply_changes(pixels, third, size=2, **PLAIN)[0, :, 0] * 255
    expected = torch.tensor([[100.0, 90.0], [100.0, 150.0], [100.0, 90.0]])
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


def test_a_turn_goes_where_torchvisions_goes():
    pixels = _pixels(1, side=33)
    angle = np.radians(20)
    warp = np.array([[[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]]])
    found = apply_changes(pixels, _changes(1, warp=warp), size=33, **PLAIN)
    # torchvision turns counter-clockwise for positive angles, as this turns the places it reads from.
    expected = TF.rotate(_planes(pixels), 20.0, InterpolationMode.BILINEAR)
    middle = (..., slice(8, 25), slice(8, 25))  # the corners are reflected here, black there
    torch.testing.assert_close(found[middle], expected[middle], atol=0.01, rtol=0)


def test_the_mirror_image():
    pixels = _pixels()
    always = _with(flip_probability=1.0)
    found = apply_changes(pixels, _draw(always, n=3), size=32, **PLAIN)
    torch.testing.assert_close(found, _planes(pixels).flip(3))
    kept = apply_changes(pixels, _draw(always, n=3, mirror=False), size=32, **PLAIN)
    torch.testing.assert_close(kept, _planes(pixels))


def _with(**changed):
    return TrainSettings(**(NOTHING.model_dump() | changed))


def test_a_crop_lies_inside_and_keeps_its_share():
    warp = _draw(_with(crop_scale=0.3, crop_ratio=1.5), n=500).warp
    width, height = warp[:, 0, 0], warp[:, 1, 1]
    assert (np.abs(warp[:, 0, 2]) + width <= 1 + 1e-9).all()
    assert (np.abs(warp[:, 1, 2]) + height <= 1 + 1e-9).all()
    assert width.min() > 0.3
    share = width * height
    assert 0.25 < share.min() < 0.35
    assert share.max() > 0.9
    ratio = width / height
    assert 1 / 1.51 < ratio.min() < 0.75
    assert 1.35 < ratio.max() < 1.51


def test_zoom_shift_and_shear():
    zoomed = _draw(_with(zoom=0.25), n=400).warp
    sides = zoomed[:, 0, 0]
    np.testing.assert_allclose(sides, zoomed[:, 1, 1])
    assert 1 / 1.25 <= sides.min() < 0.83
    assert 1.28 < sides.max() <= 1 / 0.75
    shifted = _draw(_with(translation=0.1), n=400).warp
    assert 0.18 < np.abs(shifted[:, :, 2]).max() <= 0.2  # a tenth of a side that is two long
    sheared = _draw(_with(shear_degrees=30.0), n=400).warp
    np.testing.assert_allclose(sheared[:, 0, 0], 1)
    assert 0.5 < np.abs(sheared[:, 0, 1]).max() <= np.tan(np.radians(30))


def test_an_erased_rectangle_has_the_mean_colour_and_its_share():
    settings = _with(erase_probability=1.0, erase_area=(0.1, 0.2))
    pixels = _pixels(200, side=16)
    found = apply_changes(
        pixels, _draw(settings, n=200), size=64, mean=(0.2, 0.3, 0.4), std=(0.5, 0.6, 0.7)
    )
    erased = (found == 0).all(1).float().mean((1, 2))
    assert 0.07 < erased.min() < 0.12
    assert 0.18 < erased.max() < 0.23
    never = _draw(_with(erase_probability=0.0), n=200).erase
    assert not never.any()
    some = _draw(_with(erase_probability=0.3), n=1000).erase.any(1).mean()
    assert 0.25 < some < 0.35


def test_blur_is_torchvisions():
    pixels = _pixels(2)
    found = apply_changes(pixels, _changes(2, blur_sigma=np.array([0.0, 1.5])), size=32, **PLAIN)
    planes = _planes(pixels)
    torch.testing.assert_close(found[0], planes[0])
    torch.testing.assert_close(found[1], TF.gaussian_blur(planes[1], [11, 11], [1.5, 1.5]))
    drawn = _draw(_with(blur_probability=0.5, blur_sigma=(0.5, 2.0)), n=400).blur_sigma
    assert 0.4 < (drawn > 0).mean() < 0.6
    assert 0.5 <= drawn[drawn > 0].min() < drawn.max() <= 2.0


def test_a_draw_depends_on_its_generator_alone():
    settings = TrainSettings(blur_probability=0.5, flip_probability=0.5, hue=0.1)
    first, second, other = (_draw(settings, seed=seed) for seed in (1, 1, 2))
    for name in Changes.__slots__:
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))
        assert (getattr(first, name) != getattr(other, name)).any()


def test_each_image_has_its_own_changes_whatever_is_beside_it():
    settings = TrainSettings(blur_probability=0.5)
    pixels, drawn = _pixels(6), _draw(settings, n=6)
    together = apply_changes(pixels, drawn, size=24, mean=(0.5,) * 3, std=(0.2,) * 3)
    for row in range(6):
        own = Changes(*(getattr(drawn, name)[row : row + 1] for name in Changes.__slots__))
        alone = apply_changes(pixels[row : row + 1], own, size=24, mean=(0.5,) * 3, std=(0.2,) * 3)
        torch.testing.assert_close(alone[0], together[row])


def test_the_whole_image_for_embedding():
    pixels = _pixels(2, side=40)
    found = prepare(pixels, size=20, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    resized = TF.resize(pixels.permute(0, 3, 1, 2), [20, 20], antialias=True).float() / 255
    expected = TF.normalize(resized, [0.1, 0.2, 0.3], [0.5, 0.6, 0.7])
    torch.testing.assert_close(found, expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_a_gpu_changes_images_as_a_cpu():
    settings = TrainSettings(blur_probability=0.5, hue=0.1, flip_probability=0.5)
    pixels, drawn = _pixels(16, side=64), _draw(settings, n=16)
    options = {"size": 56, "mean": (0.5,) * 3, "std": (0.2,) * 3}
    found = apply_changes(pixels.cuda(), drawn, **options)
    torch.testing.assert_close(
        found.cpu(), apply_changes(pixels, drawn, **options), atol=1e-3, rtol=0
    )
