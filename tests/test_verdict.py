"""The verdict: what labels say, what can be seen without, and what must never be called usable."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid import signs
from reid.signs import read_signs
from reid.tune import Clustering, find_individuals
from reid.verdict import Learned, Signs, judge

FINE = Signs(200, halves_ari=0.8, largest=0.05)


def rows(spread: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """60 individuals with five images each, as clouds around their own direction."""
    random = np.random.default_rng(seed)
    identity = np.repeat(np.arange(60), 5)
    found = random.normal(size=(60, 128))[identity]
    found += spread * random.normal(size=found.shape)
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float32), identity


def clusters(vectors: np.ndarray) -> np.ndarray:
    nobody = np.full(len(vectors), None, dtype=object)
    return find_individuals(vectors, nobody, Clustering(method="dbscan")).labels


@pytest.mark.parametrize(
    ("held_out", "level"),
    [
        ((0.70, 0.05), "usable"),
        ((0.70, 0.15), "review everything"),
        ((0.30, 0.05), "review everything"),
        ((0.22, 0.05), "not usable"),
        ((0.01, 0.01), "not usable"),
    ],
)
def test_labels_decide(held_out: tuple[float, float], level: str) -> None:
    found = judge(FINE, Learned(held_out, 30, top_1=0.8))
    assert (found.level, found.basis) == (level, "labels")
    assert f"ARI of {held_out[0]:.2f} ± {held_out[1]:.2f}" in found.sentence
    assert "80%" in found.sentence


def test_a_handful_of_individuals_proves_nothing() -> None:
    found = judge(FINE, Learned((0.9, 0.02), 9))
    assert found.level == "review everything"
    assert "from only 9 individuals" in found.sentence
    assert judge(FINE, Learned((0.9, 0.02), 10)).level == "usable"


@given(
    st.floats(-1, 0.2, exclude_max=True), st.floats(0, 0.5), st.integers(4, 500), st.floats(0, 1)
)
def test_nothing_below_chance_is_called_more(
    mean: float, spread: float, individuals: int, halves: float
) -> None:
    signs = Signs(200, halves_ari=halves, largest=0.05)
    assert judge(signs, Learned((mean, spread), individuals)).level == "not usable"


def test_without_labels_nothing_is_usable_as_it_is() -> None:
    found = judge(Signs(200, 1.0, 0.01, 1.0, 1.0))
    assert (found.level, found.basis) == ("review everything", "no labels")
    assert "nobody knows how right" in found.sentence


@pytest.mark.parametrize(
    ("signs", "said"),
    [
        (Signs(200, halves_ari=0.1), "two halves of what the model says"),
        (Signs(200, largest=0.6), "one cluster holds 60%"),
        (Signs(200, encounters_near=0.1), "find each other in 10%"),
        (Signs(200, images_split=0.4), "60% of the pairs of animals in one picture"),
        (Signs(29), "29 images are too few"),
    ],
)
def test_what_speaks_against_clusters_without_labels(signs: Signs, said: str) -> None:
    found = judge(signs)
    assert found.level == "not usable"
    assert said in found.sentence


def test_two_animals_in_one_picture_that_are_called_one_outweigh_labels() -> None:
    signs = Signs(200, halves_ari=0.9, largest=0.05, images_split=0.2)
    assert judge(signs, Learned((0.9, 0.01), 50)).level == "not usable"


def test_a_general_model_is_named_where_it_matters() -> None:
    poor = judge(FINE, Learned((0.1, 0.0), 50), general="lite has general-purpose weights")
    assert poor.sentence.endswith("lite has general-purpose weights.")
    good = judge(FINE, Learned((0.9, 0.0), 50), general="lite has general-purpose weights")
    assert "general-purpose" not in good.sentence


def test_halves_agree_where_there_are_individuals_and_not_where_there_are_none() -> None:
    clear, noise = rows(0.5)[0], rows(50)[0]
    assert read_signs(clear, clusters(clear)).halves_ari > 0.9
    assert read_signs(noise, clusters(noise)).halves_ari < 0.1


def test_signs_by_hand() -> None:
    vectors, _ = rows(0.5)
    labels = np.full(len(vectors), -1)
    labels[:90] = 0
    labels[90:92] = 1
    nearest = np.arange(len(vectors), dtype=np.int32) ^ 1
    encounters = np.full(len(vectors), -1)
    encounters[:40] = np.repeat(np.arange(10), 4)
    sides = np.arange(len(vectors)) // 2 % 2  # two of each encounter on each side, and mates
    sides[:4] = [0, 1, 0, 1]  # of the first encounter, whose nearest shows the other side
    images = np.arange(len(vectors))
    images[[0, 90, 91]] = 1000  # 0 with 1, and the two of cluster 1 with each other
    found = read_signs(
        vectors, labels, nearest=nearest, encounters=encounters, sides=sides, images=images
    )
    assert found.largest == pytest.approx(90 / 300)
    assert found.encounters_near == pytest.approx(36 / 40)
    assert found.images_split == pytest.approx(2 / 3)
    assert read_signs(vectors[:1], labels[:1]).halves_ari is None


def test_of_many_rows_whole_clusters_are_looked_at() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(300), 10)
    labels[::7] = -1
    rows = signs._some_clusters(labels, random)
    assert len(rows) == len(set(rows.tolist())) == signs.SAMPLE
    sizes, taken = np.bincount(labels[labels >= 0]), np.bincount(labels[rows][labels[rows] >= 0])
    partly = [k for k, size in enumerate(taken) if 0 < size < sizes[k]]
    assert len(partly) <= 1, "the last one may be cut"


def test_rows_that_lie_elsewhere_are_read_only_where_they_are_asked() -> None:
    vectors, identity = rows(0.5)
    asked: list[int] = []

    def read(some: np.ndarray) -> np.ndarray:
        asked.extend(some.tolist())
        return vectors[some]

    assert read_signs(read, identity, halves=False).halves_ari is None
    assert not asked
    assert read_signs(read, identity).halves_ari == read_signs(vectors, identity).halves_ari
    assert sorted(asked) == list(range(len(vectors)))


def test_boxes_that_may_be_one_animal_say_nothing() -> None:
    vectors, _ = rows(0.5)
    labels = np.zeros(len(vectors), np.int64)
    images = np.full(len(vectors), -1)
    assert read_signs(vectors, labels, images=images, halves=False).images_split is None
    images[:2] = 7
    assert read_signs(vectors, labels, images=images, halves=False).images_split == 0
