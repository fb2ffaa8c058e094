"""Estimates against the numbers that other people's programs print, and the rules about doubts."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from reid.errors import InputError
from reid.population import (
    Counted,
    chao,
    chao_corrected,
    chapman,
    count,
    estimate_population,
    joined_to_nearest,
    m0,
    mt,
)


def counts(individuals: int, seen: list[int], times: list[int]) -> Counted:
    """Counts of a published table, whose histories are not at hand."""
    k, n = len(seen), sum(seen)
    padded = np.array(times + [0] * (k - len(times)), np.int64)
    assert padded.sum() == individuals
    assert padded @ np.arange(1, k + 1) == n
    first = np.zeros(k, np.int64)
    return Counted(
        individuals, k, n, np.array(seen, np.int64), first, first, padded, 1 - times[0] / n
    )


# Stoat DNA (secr's printed numbers), snowshoe hare and cottontails (Rcapture's).
STOAT = counts(20, [3, 4, 8, 3, 3, 7, 2], [12, 6, 2])
HARE = counts(68, [16, 28, 20, 26, 23, 32], [25, 22, 13, 5, 1, 2])
# How 142 sightings spread over the 18 occasions is not told, and neither M0 nor Chao asks.
COTTONTAIL = counts(76, [8] * 16 + [7] * 2, [43, 16, 8, 6, 0, 2, 1])
HERD = np.array(
    [[1, 1, 0], [1, 0, 1], [0, 1, 1], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]], np.bool_
)


def test_stoat_m0_as_secr_prints_it() -> None:
    found = m0(STOAT)
    assert found.abundance == pytest.approx(29.4767, abs=5e-5)
    assert found.standard_error == pytest.approx(6.0226, abs=5e-5)
    assert (found.lower, found.upper) == pytest.approx((23.026, 49.678), abs=5e-4)
    assert found.detection == pytest.approx(30 / (7 * 29.4767), abs=1e-5)


def test_stoat_mt_as_secr_prints_it() -> None:
    found = mt(STOAT)
    assert found.abundance == pytest.approx(28.52, abs=5e-5)
    assert found.standard_error == pytest.approx(5.5999, abs=5e-5)
    assert (found.lower, found.upper) == pytest.approx((22.633, 47.574), abs=5e-4)


def test_stoat_chao_of_many_occasions_as_secr_prints_it() -> None:
    # secr's form is without the factor (K − 1)/K: so it is with endlessly many occasions.
    k = 10**9
    endless = Counted(
        20, k, 30, STOAT.seen, STOAT.first_seen, STOAT.known, STOAT.times, STOAT.completeness
    )
    found = chao(endless)
    assert found.abundance == pytest.approx(32, abs=1e-6)
    assert found.standard_error == pytest.approx(9.1652, abs=5e-5)
    assert (found.lower, found.upper) == pytest.approx((23.178, 65.311), abs=5e-4)


def test_hare_as_rcapture_prints_it() -> None:
    assert m0(HARE).abundance == pytest.approx(74.70224, abs=5e-6)
    assert mt(HARE).abundance == pytest.approx(74.33790, abs=5e-6)
    assert (m0(HARE).lower, m0(HARE).upper) == pytest.approx((70.64, 85.01), abs=5e-3)
    assert (mt(HARE).lower, mt(HARE).upper) == pytest.approx((70.44, 84.43), abs=5e-3)
    assert chao(HARE).abundance == pytest.approx(79.837121, abs=5e-7)
    assert chao(HARE).standard_error == pytest.approx(6.373765, abs=5e-7)
    assert chao_corrected(HARE).abundance == pytest.approx(78.869565, abs=5e-7)
    assert chao_corrected(HARE).standard_error == pytest.approx(5.790587, abs=5e-7)


def test_cottontails_as_rcapture_prints_them() -> None:
    assert chao(COTTONTAIL).abundance == pytest.approx(130.571181, abs=5e-7)
    assert chao(COTTONTAIL).standard_error == pytest.approx(22.753496, abs=5e-7)
    assert chao_corrected(COTTONTAIL).abundance == pytest.approx(126.166667, abs=5e-7)
    assert chao_corrected(COTTONTAIL).standard_error == pytest.approx(20.210289, abs=5e-7)
    plain = m0(COTTONTAIL)
    assert (plain.abundance, plain.standard_error) == pytest.approx((96.26, 6.85), abs=5e-3)
    assert (plain.lower, plain.upper) == pytest.approx((86.6, 114.6), abs=5e-2)
    assert plain.upper < 135, "the true number, which M0 misses"


def test_seber_chapman_as_rcapture_prints_it() -> None:
    found = chapman(counts(948 + 421 - 167, [948, 421], [948 + 421 - 2 * 167, 167]))
    assert found.abundance == pytest.approx(2382.7976, abs=5e-5)
    assert found.standard_error == pytest.approx(129.0563, abs=5e-5)


def test_counts_by_hand() -> None:
    counted = count(HERD)
    assert (counted.individuals, counted.occasions, counted.sightings) == (7, 3, 12)
    assert counted.seen.tolist() == [4, 4, 4]
    assert counted.first_seen.tolist() == [4, 2, 1]
    assert counted.known.tolist() == [4, 6, 7]
    assert counted.times.tolist() == [3, 3, 1]
    assert counted.completeness == 1 - 3 / 12
    unseen = np.vstack([HERD, np.zeros((4, 3), np.bool_)])
    assert count(unseen).individuals == 7, "nobody saw the others"


def test_a_history_of_counts_is_refused() -> None:
    assert count(HERD.astype(int)).individuals == 7
    with pytest.raises(InputError, match="other than 0 and 1"):
        count(2 * HERD.astype(int))
    with pytest.raises(InputError, match="1 dimensions"):
        count(HERD[0])
    with pytest.raises(InputError, match="no individual was seen"):
        count(np.zeros((3, 4), np.bool_))


def test_what_is_refused() -> None:
    with pytest.raises(InputError, match=r"1 occasion: .* at least 2; take shorter"):
        estimate_population(HERD[:, :1])
    with pytest.raises(InputError, match=r"4 individuals: too few .* at least 5"):
        estimate_population(HERD[:4])
    with pytest.raises(InputError, match="6 individuals, each seen on one occasion"):
        estimate_population(np.eye(6, dtype=np.bool_))
    with pytest.raises(InputError, match="level: 95"):
        estimate_population(HERD, level=95)
    with pytest.raises(InputError, match="3 occasions; it is for two"):
        chapman(count(HERD))


def test_chapman_comes_with_two_occasions_only() -> None:
    names = [one.name for one in estimate_population(HERD).estimates]
    assert names == ["m0", "mt", "chao", "chao_corrected"]
    two = estimate_population(HERD[:, :2])
    assert two.estimates[0].name == "chapman"
    assert two.named("chapman").abundance == pytest.approx(5 * 5 / 3 - 1)


def _individuals(*times: int, occasions: int = 6) -> np.ndarray:
    """Individuals seen this often, on occasions that go round."""
    history = np.zeros((len(times), occasions), np.bool_)
    start = 0
    for row, number in enumerate(times):
        history[row, (start + np.arange(number)) % occasions] = True
        start += number
    return history


def test_warnings_name_what_is_wrong() -> None:
    said = " | ".join(estimate_population(_individuals(*[1] * 14, *[3] * 6)).warnings)
    assert "14 of 20 individuals (70%) were seen once: ghosts" in said
    assert "reid review" in said
    assert "nobody was seen on exactly two occasions" in said
    history = np.insert(_individuals(*[1] * 6, *[2] * 6, *[3] * 4), 3, False, axis=1)
    (only,) = estimate_population(history).warnings
    assert only.startswith("nobody was seen on 1 of 7 occasions (4)")
    wide = estimate_population(_individuals(*[1] * 11, 2, occasions=4)).warnings
    assert any("wider than threefold" in one for one in wide)


def test_warns_where_m0_misses_the_lower_bound() -> None:
    rng = np.random.default_rng(2)
    often = np.repeat([0.04, 0.5], [110, 25])  # most are shy, a few are everywhere
    history = rng.random((135, 18)) < often[:, None]
    found = estimate_population(history)
    assert any("lies above the whole interval of M0" in one for one in found.warnings)


def test_an_interval_of_nothing_says_nothing_of_heterogeneity() -> None:
    """M0 says that all were seen; that Chao's bound is a little higher is no sign of shy animals."""
    found = estimate_population(_individuals(1, 1, *[2] * 7, 3, occasions=3))
    assert found.named("m0").upper == 10 < found.named("chao_corrected").abundance
    assert not any("lies above" in one for one in found.warnings)
    assert any("says that all were seen" in one for one in found.warnings)


def test_everybody_was_seen_each_time() -> None:
    found = estimate_population(np.ones((6, 4), np.bool_))
    assert [one.abundance for one in found.estimates] == [6, 6, 6]
    assert [one.standard_error for one in found.estimates] == [0, 0, 0]
    assert any("says that all were seen" in one for one in found.warnings)


@given(
    st.integers(5, 25).flatmap(
        lambda n: st.lists(st.integers(1, 2**5 - 1), min_size=n, max_size=n)
    ),
    st.randoms(use_true_random=False),
)
def test_order_of_individuals_and_occasions_changes_nothing(rows: list[int], order: object) -> None:
    history = np.array([[row >> place & 1 for place in range(5)] for row in rows], np.bool_)
    assume((history.sum(axis=1) > 1).any())  # else it is refused
    found = estimate_population(history)
    rng = np.random.default_rng(order.randrange(2**32))  # type: ignore[attr-defined]
    other = estimate_population(rng.permutation(rng.permutation(history), axis=1))
    for one, two in zip(found.estimates, other.estimates, strict=True):
        assert one.abundance == pytest.approx(two.abundance, rel=1e-9)
        assert one.upper == pytest.approx(two.upper, rel=1e-6)
        assert len(rows) <= one.lower <= one.abundance + 1e-9 <= one.upper + 2e-9


@pytest.mark.parametrize("model", ["m0", "mt"])
def test_highest_point_is_higher_than_its_neighbours(model: str) -> None:
    from scipy.special import gammaln, xlogy

    def likelihood(size: float, counted: Counted) -> float:
        k, n, m = counted.occasions, counted.sightings, counted.individuals
        whole = gammaln(size + 1) - gammaln(size - m + 1)
        if model == "m0":
            return whole + xlogy(k * size - n, k * size - n) - xlogy(k * size, k * size)
        missed = size - counted.seen
        return whole + float(xlogy(missed, missed).sum()) - k * xlogy(size, size)

    for counted in (STOAT, HARE, count(HERD)):
        size = {"m0": m0, "mt": mt}[model](counted).abundance
        here = likelihood(size, counted)
        assert here >= likelihood(size + 0.01, counted)
        assert size == counted.individuals or here >= likelihood(size - 0.01, counted)


# ── Doubts ────────────────────────────────────────────────────────────────────────────────────────


def test_an_unsure_single_takes_the_name_of_its_nearest() -> None:
    names = ["a", "a", "b", "c", "d"]
    unsure = np.array([False, False, False, True, False])
    assert joined_to_nearest(names, unsure, np.array([1, 0, -1, 2, -1])) == [
        "a",
        "a",
        "b",
        "b",
        "d",
    ]


def test_unsure_ones_that_are_each_others_nearest_are_one() -> None:
    unsure = np.array([True, True, True, False])
    found = joined_to_nearest(["c", "b", "x", "a"], unsure, np.array([1, 0, -1, -1]))
    assert found == ["b", "b", "x", "a"], "and who has no nearest stays alone"


def test_two_settled_individuals_stay_two() -> None:
    # Two doubts lead from one settled individual to another.
    names = ["a", "b", "u", "v"]
    unsure = np.array([False, False, True, True])
    assert joined_to_nearest(names, unsure, np.array([-1, -1, 0, 2])) == ["a", "b", "a", "a"]
    assert joined_to_nearest(names, unsure, np.array([2, -1, 3, 1])) == ["a", "b", "b", "b"]


def test_a_nearest_row_that_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="rows go from 0 to 1"):
        joined_to_nearest(["a", "b"], np.zeros(2, np.bool_), np.array([2, 0]))
    with pytest.raises(InputError, match="2 identities, 1 unsure"):
        joined_to_nearest(["a", "b"], np.zeros(1, np.bool_), np.array([-1, 0]))


def test_joining_doubts_never_raises_the_number_of_individuals() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        names = [f"i{k}" for k in rng.integers(0, 12, 30)]
        unsure = rng.random(30) < 0.5
        joined = joined_to_nearest(names, unsure, rng.integers(-1, 30, 30))
        assert len(set(joined)) <= len(set(names))
        for row in np.flatnonzero(~unsure):
            assert joined[row] == names[row]
