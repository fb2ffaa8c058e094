"""Distance → probability: promised and kept, on individuals that were not seen."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import InputError
from reid.identify import Calibration, calibrate, thresholds
from reid.identify.calibration import expected_calibration_error


def herd(individuals: int, images: int, spread: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    who = np.repeat(np.arange(individuals), images)
    rows = random.normal(size=(individuals, 24))[who] + spread * random.normal(size=(len(who), 24))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), who


@pytest.mark.parametrize("method", ["isotonic", "logistic", "auto"])
def test_what_is_promised_comes_true(method: str) -> None:
    vectors, who = herd(120, 4, 0.9, seed=0)
    found = calibrate(vectors, who, method=method)
    assert found.ece < 0.07
    assert found.individuals == 120
    assert found.samples == 2 * 480
    assert (np.diff(found.probabilities) <= 0).all()
    assert (np.diff(found.distances) > 0).all()
    assert (found.probabilities > 0).all()
    assert (found.probabilities < 1).all()
    known, new = thresholds(found, 0.8, 0.2)
    assert known <= new
    assert found(known) == pytest.approx(0.8, abs=1e-9)
    assert found(new) == pytest.approx(0.2, abs=1e-9)


def test_a_larger_catalogue_has_nearer_strangers() -> None:
    found = calibrate(*herd(120, 4, 0.9, seed=0), method="logistic")
    fresh, who = herd(600, 4, 0.9, seed=1)
    likeness = fresh @ fresh.T
    np.fill_diagonal(likeness, -1)
    # Half of the images are of animals that the catalogue does not know.
    stranger = who % 2 == 0
    likeness[stranger[:, None] & (who[:, None] == who)] = -1
    distance, right = 1 - likeness.max(axis=1), who[likeness.argmax(axis=1)] == who
    weight = np.ones(len(who))
    assert expected_calibration_error(found(distance), right, weight) > 0.2
    grown = found.for_gallery(600)
    assert expected_calibration_error(grown(distance), right, weight) < 0.07
    assert grown.for_gallery(120)(0.3) == pytest.approx(float(found(0.3)), abs=1e-3)


def test_it_survives_json_to_the_bit() -> None:
    found = calibrate(*herd(20, 3, 0.5, seed=2))
    back = Calibration.from_dict(json.loads(json.dumps(found.as_dict())))
    np.testing.assert_array_equal(back.probabilities, found.probabilities)
    np.testing.assert_array_equal(back.distances, found.distances)
    assert (back.method, back.ece, back.samples) == (found.method, found.ece, found.samples)


def test_a_burst_an_image_and_the_other_side_prove_nothing() -> None:
    vectors, who = herd(20, 4, 0.5, seed=3)
    burst = np.repeat(np.arange(40), 2)  # rows 0 and 1, 2 and 3, … are duplicates
    vectors[1::2] = vectors[::2]
    alone = calibrate(vectors, who)
    honest = calibrate(vectors, who, encounters=burst)
    assert honest(0.1) != alone(0.1)
    np.testing.assert_array_equal(
        calibrate(vectors, who, images=burst).probabilities, honest.probabilities
    )
    views = np.tile(np.array([-1, -1, 1, 1], np.int8), 20)
    with pytest.raises(InputError, match="0 labelled individuals have two images"):
        calibrate(vectors, who, encounters=burst, sides=views)


def test_unlabelled_rows_are_left_out_and_the_seed_is_enough() -> None:
    vectors, who = herd(30, 4, 0.6, seed=4)
    strangers, _ = herd(10, 4, 0.6, seed=5)
    both = np.concatenate([strangers, vectors])
    labels = np.concatenate([np.full(40, -1), who])
    expected = calibrate(vectors, who)
    found = calibrate(both, labels)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    fewer = calibrate(vectors, who, most_rows=60, seed=1)
    assert fewer.samples == 120
    np.testing.assert_array_equal(
        fewer.probabilities, calibrate(vectors, who, most_rows=60, seed=1).probabilities
    )


def test_what_cannot_be_calibrated() -> None:
    vectors, who = herd(3, 4, 0.5, seed=6)
    with pytest.raises(InputError, match=r"3 labelled individuals .* at least 5 are needed"):
        calibrate(vectors, who)
    with pytest.raises(InputError, match="known methods: auto, isotonic, logistic"):
        calibrate(vectors, who, method="platt")
    with pytest.raises(InputError, match="new_share: 1"):
        calibrate(vectors, who, new_share=1)


def curve(*points: tuple[float, float]) -> Calibration:
    distances, probabilities = np.asarray(points).T
    return Calibration(distances, probabilities, "isotonic", 0, 0, 1, 1)


def test_thresholds_on_paper() -> None:
    steps = curve((0, 0.95), (0.2, 0.95), (0.3, 0.5), (0.4, 0.5), (0.6, 0.05))
    assert thresholds(steps, 0.95, 0.05) == (0.2, 0.6)
    assert thresholds(steps, 0.5, 0.05) == pytest.approx((0.4, 0.6))
    known, new = thresholds(steps, 0.9, 0.5)
    assert known == pytest.approx(0.2 + 0.1 * 0.05 / 0.45)
    assert new == pytest.approx(0.3)
    with pytest.raises(InputError, match=r"never reaches identify\.known_probability=0\.99: set"):
        thresholds(steps, 0.99, 0.1)
    with pytest.raises(InputError, match=r"new_probability=0\.01"):
        thresholds(steps, 0.9, 0.01)
    with pytest.raises(InputError, match="needs 0 < new < known < 1"):
        thresholds(steps, 0.1, 0.9)


def test_the_calibration_error_on_paper() -> None:
    told, weight = np.array([0.5] * 4), np.ones(4)
    assert (
        expected_calibration_error(np.array([0.0, 1.0]), np.array([False, True]), np.ones(2)) == 0
    )
    assert (
        expected_calibration_error(np.array([1.0, 0.0]), np.array([False, True]), np.ones(2)) == 1
    )
    # One sample a bin: each is off by a half.
    assert expected_calibration_error(told, np.array([1, 0, 1, 0]) > 0, weight) == 0.5


@given(st.integers(16, 300), st.integers(0, 99))
def test_the_calibration_error_is_a_mean_of_gaps(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    told, true = random.random(n), random.random(n) < 0.5
    bins = np.array_split(np.argsort(told, kind="stable"), 15)
    gaps = [len(part) / n * abs(told[part].mean() - true[part].mean()) for part in bins]
    assert expected_calibration_error(told, true, np.ones(n)) == pytest.approx(sum(gaps))
