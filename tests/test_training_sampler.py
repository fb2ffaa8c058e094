"""Which rows make a batch: properties over random identities, ranks and sizes, and small cases."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.errors import InputError
from reid.training import ClassTable
from reid.training.sampler import identity_batches, shuffled_batches


@st.composite
def _cases(draw):
    world = draw(st.integers(1, 3))
    counts = draw(st.lists(st.integers(1, 30), min_size=world, max_size=12))
    codes = np.repeat(
        np.arange(len(counts)) * 3 + 1, counts
    )  # classes need not be numbered 0, 1, …
    codes = np.random.default_rng(draw(st.integers(0, 9))).permutation(codes)
    return codes, world, draw(st.integers(1, 5)), draw(st.integers(1, 4)), draw(st.integers(0, 3))


@settings(max_examples=150)
@given(_cases())
def test_every_rank_has_its_own_identities_and_an_epoch_has_every_row(case):
    codes, world, identities, images, epoch = case
    plans = [
        identity_batches(
            codes,
            identities=identities,
            images=images,
            seed=1,
            epoch=epoch,
            rank=rank,
            world=world,
        )
        for rank in range(world)
    ]
    assert {plan.shape for plan in plans} == {(len(plans[0]), identities * images)}
    assert set(np.concatenate(plans).ravel().tolist()) == set(range(len(codes)))
    for batches in zip(*plans, strict=True):
        seen = [set(codes[batch].tolist()) for batch in batches]
        assert sum(map(len, seen)) == len(set().union(*seen))
    groups = codes[np.concatenate(plans)].reshape(-1, images)
    assert (groups == groups[:, :1]).all()  # the rows of a group are of one identity


def test_an_epoch_is_no_longer_than_its_rows_where_identities_are_alike():
    codes = np.repeat(np.arange(24), 8)
    plan = identity_batches(codes, identities=8, images=4, seed=0, epoch=0)
    assert plan.shape == (24 * 8 // 32, 32)
    assert sorted(plan.ravel()) == list(range(24 * 8))
    assert all(len(set(codes[batch])) == 8 for batch in plan)


def test_an_identity_with_most_of_the_rows_does_not_stretch_the_epoch():
    codes = np.repeat([0, 1, 2, 3], [400, 10, 10, 10])
    plan = identity_batches(codes, identities=8, images=2, seed=0, epoch=0)
    # 215 groups of two in batches of eight; were an identity only once in a batch, it took 200.
    assert len(plan) == 27


def test_a_group_repeats_an_image_only_where_there_are_too_few():
    codes = np.array([0, 0, 0, 1, 1, 1, 1, 2])
    plan = identity_batches(codes, identities=3, images=3, seed=0, epoch=0)
    groups = plan.reshape(-1, 3)
    alone = groups[codes[groups[:, 0]] == 2]
    assert (alone == 7).all()
    others = groups[codes[groups[:, 0]] != 2]
    assert all(len(set(group)) == 3 for group in others.tolist())


def test_the_plan_depends_on_seed_and_epoch_alone():
    codes = np.random.default_rng(0).integers(0, 20, 200)

    def plan(**changed):
        options = {"identities": 4, "images": 2, "seed": 0, "epoch": 0} | changed
        return identity_batches(codes, **options)

    np.testing.assert_array_equal(plan(), plan())
    assert (plan() != plan(epoch=1)).any()
    assert (plan() != plan(seed=1)).any()


def test_fewer_identities_than_workers():
    with pytest.raises(InputError, match="1 identities for 2 workers"):
        identity_batches(np.zeros(9, int), identities=2, images=2, seed=0, epoch=0, world=2)


@settings(max_examples=80)
@given(st.integers(1, 50), st.integers(1, 7), st.integers(1, 4), st.integers(0, 3))
def test_shuffled_ranks_together_have_every_row(n, batch, world, epoch):
    plans = [
        shuffled_batches(n, batch=batch, seed=0, epoch=epoch, rank=rank, world=world)
        for rank in range(world)
    ]
    rows = np.stack(plans, 1).ravel()
    assert rows.size == -(-n // (batch * world)) * batch * world
    counts = np.bincount(rows, minlength=n)
    assert len(counts) == n
    assert counts.min() >= 1
    assert counts.max() - counts.min() <= 1


def test_shuffled_needs_rows():
    with pytest.raises(InputError, match="no rows"):
        shuffled_batches(0, batch=4, seed=0, epoch=0)


def test_classes_are_numbered_species_by_species():
    table = ClassTable.of(["lynx", "turtle", "lynx", "lynx", "fox"], ["b", "b", None, "a", None])
    assert table.species == ("lynx", "turtle")
    assert table.identities == (("a", "b"), ("b",))
    assert table.sizes == (2, 1)
    codes = table.encode(["turtle", "lynx", "lynx", "fox", "turtle"], ["b", "b", "a", "b", None])
    assert codes.tolist() == [2, 1, 0, -1, -1]


@pytest.mark.parametrize(
    ("species", "identities", "message"),
    [
        (["lynx", "fox", "fox"], ["a", "b", "b"], "there are: fox 1, lynx 1"),
        (["lynx"], [None], "there are: none"),
        ([], [], "there are: none"),
    ],
)
def test_one_identity_is_nothing_to_learn_from(species, identities, message):
    with pytest.raises(InputError, match=message):
        ClassTable.of(species, identities)
