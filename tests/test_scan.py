"""SCAN: its loss against plain NumPy, what it finds, and what it refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from reid.cluster.joined_clusters import join_clusters
from reid.cluster.scan import NEIGHBOURS, scan, scan_loss
from reid.errors import InputError
from reid.neighbors import knn


def animals(individuals: int, images: int, spread: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    who = np.repeat(np.arange(individuals), images)
    rows = rng.normal(size=(individuals, 32))[who] + spread * rng.normal(size=(len(who), 32))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), who


def test_the_loss_by_plain_numpy() -> None:
    rng = np.random.default_rng(0)
    p, q = (rng.dirichlet(np.ones(4), size=(2, 5)) for _ in range(2))
    expected = [
        -np.mean([np.log(a @ b) for a, b in zip(p[head], q[head], strict=True)])
        - 0.7 * -np.sum(p[head].mean(0) * np.log(p[head].mean(0)))
        for head in range(2)
    ]
    found = scan_loss(torch.from_numpy(p), torch.from_numpy(q), 0.7)
    np.testing.assert_allclose(found.numpy(), expected)


def test_the_loss_is_least_where_neighbours_agree_and_all_clusters_are_used() -> None:
    sure = torch.eye(3)[None]  # three rows, each surely of another cluster
    assert scan_loss(sure, sure, 1.0).item() == pytest.approx(-np.log(3))
    one = torch.tensor([[[1.0, 0, 0]] * 3])
    assert scan_loss(one, one, 1.0).item() == pytest.approx(0, abs=1e-6)
    assert scan_loss(sure, sure.roll(1, 1), 1.0).item() > 10


def test_it_finds_individuals_that_lie_apart() -> None:
    vectors, who = animals(6, 30, 0.5)
    near, _ = knn(vectors, NEIGHBOURS)
    found = scan(vectors, 6, 0, neighbours=near, epochs=60)
    assert adjusted_rand_score(who, found) == 1


def test_by_its_own_labels_it_keeps_what_it_has_found() -> None:
    vectors, who = animals(6, 30, 0.7)
    near, _ = knn(vectors, NEIGHBOURS)
    options = {"neighbours": near, "epochs": 40}
    plain = scan(vectors, 6, 0, **options)
    own = scan(vectors, 6, 0, **options, self_label=True)
    assert adjusted_rand_score(who, own) >= adjusted_rand_score(who, plain) > 0.8
    np.testing.assert_array_equal(own, scan(vectors, 6, 0, **options, self_label=True))


def test_joining_by_hand() -> None:
    # Rows 0-3 are nearest to each other, in two clusters; so are 4 and 5, in one.
    near = np.asarray([[2, 3], [3, 2], [0, 1], [1, 0], [5, -1], [4, -1]])
    found = join_clusters(np.asarray([7, 7, 2, 2, 5, 5]), near)
    np.testing.assert_array_equal(found, [0, 0, 0, 0, 1, 1])
    apart = join_clusters(np.asarray([7, 7, 2, 2, 5, 5]), near[[1, 0, 3, 2, 4, 5]] * 0 - 1)
    np.testing.assert_array_equal(apart, [0, 0, 1, 1, 2, 2])  # nobody is near anybody


@given(st.integers(0, 10**6), st.integers(1, 9))
def test_joining_stops_where_modularity_is_no_longer_raised(seed: int, clusters: int) -> None:
    rng = np.random.default_rng(seed)
    labels, near = rng.integers(clusters, size=30), rng.integers(-1, 30, size=(30, 3))

    def modularity(of: np.ndarray) -> float:
        row, place = np.nonzero(near >= 0)
        a, b = of[row], of[near[row, place]]
        share = np.bincount(np.concatenate([a, b]), minlength=of.max() + 1) / (2 * len(row))
        return float((a == b).mean() - share @ share)

    found = join_clusters(labels, near)
    assert modularity(found) >= modularity(labels) - 1e-12
    for a in range(found.max() + 1):
        for b in range(a):
            assert modularity(np.where(found == a, b, found)) <= modularity(found) + 1e-12
    assert len({*zip(labels, found, strict=True)}) == len({*labels}), "no cluster is torn"


def test_too_many_clusters_become_the_individuals() -> None:
    vectors, who = animals(6, 30, 0.6)
    near, _ = knn(vectors, NEIGHBOURS)
    found = scan(vectors, 12, 0, neighbours=near, epochs=60, over_cluster=True)
    assert found.max() + 1 == 6
    assert adjusted_rand_score(who, found) > 0.95


def test_where_it_is_sure_of_nothing_its_own_labels_change_nothing() -> None:
    vectors, _ = animals(4, 10, 3.0)
    near, _ = knn(vectors, 5)
    options = {"neighbours": near, "epochs": 1, "learning_rate": 1e-6}
    plain = scan(vectors * np.float32(1), 4, 0, **options)
    np.testing.assert_array_equal(plain, scan(vectors, 4, 0, **options, self_label=True))


def test_the_same_seed_is_the_same_answer() -> None:
    vectors, _ = animals(4, 10, 0.8)
    near, _ = knn(vectors, 5)
    first, second = (scan(vectors, 4, 3, neighbours=near, epochs=3) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_rows_without_neighbours_are_their_own() -> None:
    vectors, _ = animals(2, 4, 0.2)
    near = np.full((8, 3), -1, np.int32)
    found = scan(vectors, 2, 0, neighbours=near, epochs=2)
    assert set(found) <= {0, 1}


@pytest.mark.parametrize(
    ("clusters", "options", "expected"),
    [
        (1, {}, "n_clusters = 1: at least 2"),
        (9, {}, "at most the number of rows, 8"),
        (2, {"epochs": 0}, "epochs = 0"),
        (2, {"entropy_weight": -1.0}, "may not be negative"),
        (2, {"neighbours": np.full((8, 3), 8)}, r"\(8, k\) row numbers"),
    ],
)
def test_what_it_refuses(clusters: int, options: dict, expected: str) -> None:
    vectors, _ = animals(2, 4, 0.2)
    options = {"neighbours": np.full((8, 3), -1), **options}
    with pytest.raises(InputError, match=expected):
        scan(vectors, clusters, 0, **options)
