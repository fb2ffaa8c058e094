"""Clusters that an encounter connects."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reid.cluster import join_encounters


def test_an_encounter_joins_its_clusters_and_its_noise() -> None:
    labels = np.asarray([0, 1, -1, 1, -1, 2])
    encounters = np.asarray([7, 7, 7, -1, -1, 5])
    joined, mixed = join_encounters(labels, encounters, np.arange(6))
    assert joined.tolist() == [0, 0, 0, 0, -1, 1]
    assert mixed == 0


def test_two_boxes_of_one_image_are_two_animals() -> None:
    joined, mixed = join_encounters(
        np.asarray([0, 1, -1, -1]), np.asarray([3, 3, 3, 4]), np.asarray([0, 0, 1, 2])
    )
    assert joined.tolist() == [0, 1, -1, -1]
    assert mixed == 1


def test_two_names_in_an_encounter_are_two_animals() -> None:
    labels, encounters = np.asarray([0, 1, -1, 2, -1]), np.asarray([3, 3, 3, 4, 4])
    named = np.asarray([0, 1, -1, 5, -1])
    joined, mixed = join_encounters(labels, encounters, np.arange(5), named)
    assert joined.tolist() == [0, 1, -1, 2, 2]
    assert mixed == 1


@given(
    rows=st.lists(
        st.tuples(st.integers(-1, 4), st.integers(-1, 4), st.integers(0, 9), st.integers(-1, 2)),
        min_size=1,
        max_size=25,
    )
)
def test_as_joined_one_by_one(rows: list[tuple[int, int, int, int]]) -> None:
    labels, encounters, images, identities = (
        np.asarray(column, np.int64) for column in zip(*rows, strict=True)
    )
    joined, _ = join_encounters(labels, encounters, images, identities)
    groups = [
        {row} for row in range(len(rows))
    ]  # the oracle: sets that grow until nothing joins them

    def join(those: list[int]) -> None:
        touched = [group for group in groups if group & set(those)]
        groups[:] = [group for group in groups if group not in touched] + [set().union(*touched)]

    for label in set(labels.tolist()) - {-1}:
        join(np.flatnonzero(labels == label).tolist())
    for encounter in set(encounters.tolist()) - {-1}:
        those = np.flatnonzero(encounters == encounter)
        names = set(identities[those].tolist()) - {-1}
        if len(set(images[those].tolist())) == len(those) and len(names) < 2:
            join(those.tolist())
    apart = np.where(joined < 0, 100 + np.arange(len(rows)), joined)
    found = {frozenset(np.flatnonzero(apart == name).tolist()) for name in set(apart.tolist())}
    assert found == {frozenset(group) for group in groups}
    assert all(labels[row] == -1 for row in np.flatnonzero(joined < 0))
