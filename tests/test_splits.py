import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid.errors import InputError
from reid.splits import closed_set, column_split, held_out_individuals, identity_folds, time_aware


def herd(seed, individuals=12, images=8, share_unlabelled=0.1):
    """Identities and encounters: up to three images of an individual, now and then of two."""
    rng = np.random.default_rng(seed)
    identity = np.repeat(np.arange(individuals), rng.integers(1, images + 1, individuals))
    encounter = identity * 100 + rng.integers(0, 4, len(identity))
    together = rng.random(len(identity)) < 0.05
    encounter[together] = 7 * 100  # a meeting
    identity = identity.astype(object)
    identity[rng.random(len(identity)) < share_unlabelled] = None
    encounter = encounter.astype(object)
    encounter[rng.random(len(identity)) < 0.2] = None
    return identity, encounter


def split_encounters(encounter, one_side, other_side):
    return {e for e in encounter[one_side] if e is not None} & {
        e for e in encounter[other_side] if e is not None
    }


def known(identity):
    return np.array([name is not None for name in identity])


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.1, 0.5), st.integers(0, 5))
def test_individuals_held_out_are_held_out_whole(seed, share, draw):
    identity, encounter = herd(seed)
    held = held_out_individuals(identity, share, encounters=encounter, seed=draw)
    labelled = known(identity)
    inside, outside = set(identity[held]), set(identity[labelled & ~held])
    assert not held[~labelled].any()
    assert not inside & outside
    assert not split_encounters(encounter, held, labelled & ~held)
    assert min(len(inside), len(outside)) >= 2
    again = held_out_individuals(identity, share, encounters=encounter, seed=draw)
    np.testing.assert_array_equal(held, again)


def test_share_of_individuals_is_met_and_the_seed_matters():
    identity = np.repeat(np.arange(50), 3)
    draws = [held_out_individuals(identity, 0.2, seed=seed) for seed in range(4)]
    assert [len(set(identity[held])) for held in draws] == [10] * 4
    assert len({held.tobytes() for held in draws}) == 4


def test_names_and_row_order_change_nothing_but_who_is_drawn():
    identity = np.repeat(np.arange(20), 3)
    renamed = np.array([f"lynx {i}" for i in identity], dtype=object)
    np.testing.assert_array_equal(held_out_individuals(identity), held_out_individuals(renamed))


def test_individuals_seen_together_stay_together():
    # 0, 1 and 2 are one chain of encounters; the others were seen alone.
    identity = np.array([0, 1, 1, 2, 3, 4, 5, 6])
    encounter = np.array([10, 10, 11, 11, 12, 13, 14, 15])
    for seed in range(20):
        held = held_out_individuals(identity, 0.4, encounters=encounter, seed=seed)
        assert len(set(held[:4])) == 1
        fold = identity_folds(identity, 2, encounters=encounter, seed=seed)
        assert len(set(fold[:4])) == 1


def test_one_meeting_of_everybody_cannot_be_split():
    with pytest.raises(InputError, match="tie 6 of 6 individuals together"):
        held_out_individuals(np.arange(6), encounters=np.zeros(6, dtype=int))
    with pytest.raises(InputError, match="tie 6 individuals into 1 groups"):
        identity_folds(np.arange(6), 2, encounters=np.zeros(6, dtype=int))


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 4))
def test_folds_share_no_individual_and_hold_every_labelled_row(seed, folds):
    identity, encounter = herd(seed, individuals=20)
    fold = identity_folds(identity, folds, encounters=encounter, seed=seed)
    labelled = known(identity)
    np.testing.assert_array_equal(fold >= 0, labelled)
    assert set(fold[labelled]) == set(range(folds))
    for k in range(folds):
        here, elsewhere = fold == k, labelled & (fold != k)
        assert not set(identity[here]) & set(identity[elsewhere])
        assert not split_encounters(encounter, here, elsewhere)


def test_folds_are_about_as_large():
    identity = np.repeat(np.arange(60), np.random.default_rng(0).integers(1, 12, 60))
    sizes = np.bincount(identity_folds(identity, 5))
    assert sizes.max() - sizes.min() <= 2


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.05, 0.6))
def test_every_query_of_a_closed_set_has_its_individual_in_the_gallery(seed, share):
    identity, encounter = herd(seed)
    query = closed_set(identity, share, encounters=encounter, seed=seed)
    labelled = known(identity)
    gallery = labelled & ~query
    assert query.any()
    assert not query[~labelled].any()
    assert query.sum() <= max(1, round(share * labelled.sum()))
    assert set(identity[query]) <= set(identity[gallery])
    assert not split_encounters(encounter, query, gallery)


def test_closed_set_meets_its_share_by_image():
    identity = np.repeat(np.arange(30), 10)
    assert closed_set(identity, 0.2).sum() == 60


def test_closed_set_by_hand():
    # Only individual 1 has a second encounter, and only one image may leave.
    identity = np.array([0, 0, 1, 1, 2])
    encounter = np.array(["a", "a", "b", "c", "d"])
    for seed in range(8):
        query = closed_set(identity, 0.2, encounters=encounter, seed=seed)
        assert np.flatnonzero(query).tolist() in ([2], [3])


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.floats(0.1, 0.6))
def test_every_query_is_later_than_every_row_of_the_gallery(seed, share):
    rng = np.random.default_rng(seed)
    identity = rng.integers(0, 5, 60).astype(object)
    identity[:3] = None
    day = rng.integers(0, 30, 60)
    encounter = day * 10 + rng.integers(0, 3, 60)  # within one day
    times = np.datetime64("2024-05-01") + day.astype("timedelta64[D]")
    query = time_aware(identity, times, share, encounters=encounter)
    gallery = known(identity) & ~query
    assert times[query].min() > times[gallery].max()
    assert abs(query.sum() - share * 57) <= 7  # as near as whole days allow


def test_an_encounter_is_where_it_began():
    identity = np.array([0, 1, 0, 1, 0])
    encounter = np.array(["a", "b", "c", "c", "d"])
    times = np.array([1.0, 2.0, 3.0, 9.0, 5.0])
    # From 5 on: one row. The row at 9 belongs to an encounter that began at 3.
    assert np.flatnonzero(time_aware(identity, times, 0.2, encounters=encounter)).tolist() == [4]
    without = time_aware(identity, times, 0.2)
    assert np.flatnonzero(without).tolist() == [3]


def test_a_row_takes_the_time_of_its_encounter():
    identity, encounter = np.array([0, 1, 0]), np.array(["a", "b", "b"])
    times = np.array(["2024-01-01", "2024-01-05", "NaT"], dtype="datetime64[s]")
    query = time_aware(identity, times, 0.5, encounters=encounter)
    assert query.tolist() == [False, True, True]


@pytest.mark.parametrize("share", [0.0, 1.0, -0.2, 20])
def test_shares_out_of_range_are_refused(share):
    identity = np.repeat(np.arange(5), 2)
    for split in (held_out_individuals, closed_set):
        with pytest.raises(InputError, match="above 0 and below 1"):
            split(identity, share)
    with pytest.raises(InputError, match="above 0 and below 1"):
        time_aware(identity, np.arange(10.0), share)


def test_labels_that_cannot_be_split_are_refused():
    with pytest.raises(InputError, match="3 labelled individuals, and this split needs 4"):
        held_out_individuals(np.array([0, 0, 1, 2, -1]))
    with pytest.raises(InputError, match="5 labelled individuals, and this split needs 6"):
        identity_folds(np.arange(5), 3)
    with pytest.raises(InputError, match="folds: 1"):
        identity_folds(np.arange(5), 1)
    with pytest.raises(InputError, match="1 labelled individuals, and this split needs 2"):
        closed_set(np.zeros(9, dtype=int))
    with pytest.raises(InputError, match="none of the individuals has two encounters"):
        closed_set(np.array([0, 0, 1, 1]), encounters=np.array([1, 1, 2, 2]))
    with pytest.raises(InputError, match="0 labelled individuals"):
        closed_set(np.array([None, None], dtype=object))
    with pytest.raises(InputError, match="1 of 3 labelled rows have no timestamp"):
        time_aware(np.array([0, 1, 0]), np.array([1.0, np.nan, 2.0]))
    with pytest.raises(InputError, match="all labelled rows are of one moment"):
        time_aware(np.array([0, 1, 0]), np.ones(3))
    with pytest.raises(InputError, match="no individual was seen both before and after"):
        time_aware(np.array([0, 0, 1, 1]), np.arange(4.0), 0.5)
    with pytest.raises(InputError, match="encounters: 2 values for 4 rows"):
        closed_set(np.array([0, 0, 1, 1]), encounters=np.zeros(2))
    with pytest.raises(InputError, match="timestamps: 2 values for 4 rows"):
        time_aware(np.array([0, 0, 1, 1]), np.zeros(2))


def test_a_column_of_the_table_says_who_asks_and_who_is_searched():
    words = ["Query", "gallery", None, "database ", "train", "probe", "val", "TEST"]
    query, gallery = column_split(words)
    assert query.tolist() == [True, False, False, False, False, True, False, True]
    assert gallery.tolist() == [False, True, False, True, True, False, False, False]
    assert column_split(["train", "train"]) is None
    assert column_split([None, "query"]) is None
    assert column_split([]) is None
