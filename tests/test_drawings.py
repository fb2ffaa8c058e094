"""Figures: what is drawn is what was given, and the same figure is the same file."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from reid import drawings
from reid.drawings.picture_sheets import Pair
from reid.errors import InputError
from reid.metrics.neighbour_shares import neighbour_correctness


def animals(individuals: int = 6, images: int = 5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    who = np.repeat(np.arange(individuals), images)
    rows = rng.normal(size=(individuals, 16))[who] + 0.3 * rng.normal(size=(len(who), 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows.astype(np.float32), who


def texts(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_the_distribution_says_how_many_pairs_and_where_the_threshold_is() -> None:
    figure = drawings.score_distribution(np.asarray([0.9, 0.8]), np.asarray([0.1, 0.2, 0.3]), 0.55)
    assert sorted(texts(figure)) == [
        "one individual (n = 2 pairs)",
        "threshold, 0.550",
        "two individuals (n = 3 pairs)",
    ]


@pytest.mark.parametrize("distance", [False, True])
def test_a_cell_of_the_heatmap_is_the_mean_of_its_pairs(distance: bool) -> None:
    vectors, who = animals(2, 3)
    figure = drawings.similarity_heatmap(vectors, who, distance=distance)
    drawn = np.asarray(figure.axes[0].images[0].get_array())
    cosine = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(cosine, 1)  # a bin of one row has no pair
    assert texts(figure) == ["framed: the 2 largest of 2 clusters"]
    np.testing.assert_allclose(drawn, 1 - cosine if distance else cosine, atol=1e-6)


def test_large_heatmaps_are_means_over_bins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid.drawings.pair_scores.CELLS", 2)
    vectors, who = animals(2, 4)
    drawn = np.asarray(drawings.similarity_heatmap(vectors, who).axes[0].images[0].get_array())
    cosine = vectors @ vectors.T
    inside = cosine[:4, :4][np.triu_indices(4, 1)].mean()
    np.testing.assert_allclose(drawn[0], [inside, cosine[:4, 4:].mean()], atol=1e-6)


def test_rows_of_the_heatmap_go_by_size_of_cluster_and_lonely_ones_come_last() -> None:
    vectors, _ = animals(2, 3)
    groups = np.asarray([-1, 5, 7, 7, 5, 7])
    drawn = np.asarray(drawings.similarity_heatmap(vectors, groups).axes[0].images[0].get_array())
    order = [2, 3, 5, 1, 4, 0]
    expected = (vectors @ vectors.T)[np.ix_(order, order)].astype(np.float64)
    np.fill_diagonal(expected, 1)
    np.testing.assert_allclose(drawn, expected, atol=1e-6)


def test_right_ones_among_the_nearest_by_hand() -> None:
    # On a circle: a at 0, 10, 50 degrees, b at 30, 33; one image is not labelled.
    angle = np.radians([0, 10, 50, 30, 33, 20])
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    names = np.asarray(["a", "a", "a", "b", "b", None], dtype=object)
    shares, images, individuals = neighbour_correctness(vectors, names, most=3)
    assert individuals == ["a", "b"]
    assert images.tolist() == [3, 2]
    # a at 0: a b b → 1, 1/2, 1/2; at 10: a b b → the same; at 50: b b a → 0, 0, 1/2.
    np.testing.assert_allclose(shares[0], [2 / 3, 1 / 3, 1 / 2])
    np.testing.assert_allclose(shares[1], [1, 1, 1])
    drawn = drawings.neighbour_correctness(shares, images)
    np.testing.assert_allclose(drawn.axes[0].lines[-1].get_ydata()[0], (3 * 2 / 3 + 2 * 1) / 5)
    assert any("5 images of 2 individuals" in text for text in texts(drawn))


def test_without_labels_nobody_has_right_ones() -> None:
    vectors, _ = animals(2, 2)
    shares, images, names = neighbour_correctness(vectors, np.asarray([None] * 4, dtype=object))
    assert (len(shares), len(images), names) == (0, 0, [])


def test_planes_say_how_many_are_right() -> None:
    points = np.asarray([[0, 0], [1, 0], [0, 1], [1, 1]], np.float32)
    figure = drawings.plane_by_cluster(
        points, np.asarray([0, 0, 1, -1]), [True, False, None, None], axes_are="PCA"
    )
    assert texts(figure) == [
        "not labelled (n = 2)",
        "right (n = 1)",
        "wrong (n = 1)",
        "centroids of the 2 largest of 2 clusters; others grey",
    ]
    by_name = drawings.plane_by_name(
        points, ["x", "x", "y", None], what="individuals", axes_are="PCA"
    )
    assert texts(by_name) == ["not known (n = 1)", "x (n = 2)", "y (n = 1)"]


def test_sheets_show_what_can_be_read() -> None:
    def picture(row: int) -> Image.Image | None:
        return None if row == 1 else Image.new("RGB", (40, 20), (row * 20, 0, 0))

    sheet = drawings.contact_sheet([("cluster_lynx_0", [0, 1, 2])], picture, columns=4)
    assert [len(axes.images) for axes in sheet.axes] == [1, 0, 1, 0]
    assert [text.get_text() for text in sheet.axes[1].texts] == ["not readable"]
    pairs = [Pair(0, 2, "similarity 0.9", True), Pair(0, 3, "similarity 0.8", False)]
    drawn = drawings.pair_sheet(pairs, picture)
    frames = [axes.spines["left"].get_edgecolor()[:3] for axes in drawn.axes]
    assert texts(drawn) == ["one individual (n = 1 pair)", "two individuals (n = 1 pair)"]
    assert frames[0] == frames[1] != frames[2] == frames[3]


def test_sizes_and_tuning_are_drawn() -> None:
    sizes = drawings.cluster_sizes(np.asarray([2, 2, 5]), alone=3)
    assert sizes.axes[0].collections[0].get_offsets().tolist() == [[2, 2], [5, 1]]
    assert "3 images alone" in texts(sizes)
    tuning = drawings.tuning_curve([0.1, 0.2], [0.3, 0.6], 0.2, "ari", 9)
    assert tuning.axes[0].lines[0].get_ydata().tolist() == [0.3, 0.6]
    assert texts(tuning) == ["ARI (n = 9 images)", "taken: 0.200"]


def test_training_is_drawn_epoch_by_epoch() -> None:
    history = [
        {"epoch": 0, "loss": 2.0, "validation": {"mAP": 0.1}},
        {"epoch": 1, "loss": 1.0, "validation": {"mAP": None}},
        {"epoch": 2, "loss": 0.5, "validation": {"mAP": 0.4}},
    ]
    loss, validation = drawings.training_curves(history).axes
    assert loss.lines[0].get_xdata().tolist() == [1, 2, 3]
    assert validation.lines[0].get_ydata().tolist() == [0.1, 0.4]
    alone = drawings.training_curves([{**record, "validation": {}} for record in history])
    assert [axes.get_xlabel() for axes in alone.axes] == ["epoch"], "no empty panel"


@pytest.mark.parametrize(
    ("kind", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")]
)
def test_the_same_figure_is_the_same_file(kind: str, begins: bytes) -> None:
    made = [drawings.encode(drawings.cluster_sizes(np.asarray([2, 3]), 1), kind) for _ in range(2)]
    assert made[0].startswith(begins)
    assert made[0] == made[1]


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(InputError, match="known: png, pdf, svg"):
        drawings.encode(drawings.cluster_sizes(np.asarray([2]), 0), "gif")


def test_patch_tokens_lie_over_their_picture_and_hide_what_is_no_foreground() -> None:
    colours = np.zeros((2, 2, 3), np.uint8)
    colours[0, 1] = [200, 0, 0]
    weights = np.asarray([[0, 1], [0.5, 0]], np.float32)
    shown = [drawings.TokenPicture(row, colours, weights) for row in (3, 4, 5)]
    pictures = {3: Image.new("RGB", (40, 20), (0, 100, 0)), 5: Image.new("L", (40, 20), 50)}
    figure = drawings.token_sheet(shown, pictures.get, "what it is")
    assert figure.get_suptitle() == "what it is"
    drawn = [[np.asarray(one.get_array()) for one in place.images] for place in figure.axes]
    assert [len(one) for one in drawn] == [1, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0]
    (picture,), (over,), (alone,) = drawn[:3]
    assert picture[10, 30].tolist() == [0, 100, 0]
    assert over[5, 30].tolist() == [130, 35, 0]  # 65 parts of a hundred of the colour
    assert over[15, 5].tolist() == [0, 35, 0]
    assert alone[5, 30].tolist() == [0, 100, 0]
    assert alone[5, 5].tolist() == [255, 255, 255]
    assert abs(int(alone[15, 5][0]) - 128) <= 1
    assert [text.get_text() for text in figure.axes[3].texts] == ["not readable"]
    assert not figure.axes[9].texts
