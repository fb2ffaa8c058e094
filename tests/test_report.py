import io
import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from reid.errors import InputError
from reid.metrics import Evaluation, Figure, Part
from reid.report import ReportData, ShownPair, TuningCurve, project, write_report
from reid.report.contents import CURVE_POINTS, by_importance, groups, page_data
from reid.report.pair_evidence import PairEvidence
from reid.report.thumbnails import encode_thumbnails
from tests.browser import Browser

NASTY = "<script>alert('x')</script></script><img src=x onerror=alert(1)>\"&amp;'<!--"
CHROMIUM = shutil.which("chromium")


class Page(HTMLParser):
    """Tags with their attributes, the text of scripts by id, and the text that a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: dict[str | None, str] = {}
        self.words = ""
        self._inside: str | None = None
        self.feed(html)
        self.text = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in ("script", "style") else None

    def handle_endtag(self, tag: str) -> None:
        self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            identity = self.tags[-1][1].get("id")
            self.scripts[identity] = self.scripts.get(identity, "") + data
        elif self._inside is None:
            self.words += " " + data

    def content(self) -> dict:
        return json.loads(self.scripts["content"])

    def thumbnails(self) -> list[str]:
        return json.loads(self.scripts["thumbnails"])


def herd(n: int, clusters: int = 3, species: str = "lynx", **columns: object) -> pd.DataFrame:
    """n annotations dealt to clusters in turn; the last three stand alone."""
    cluster = np.arange(n) % clusters
    cluster[max(n - 3, 0) :] = -1
    table = pd.DataFrame(
        {
            "annotation_id": [f"{species}-{i}" for i in range(n)],
            "image_path": [f"camera {i % 2}/{species}_{i}.jpg" for i in range(n)],
            "species": species,
            "identity": [f"L{c}" if c >= 0 else None for c in cluster],
            "cluster": cluster,
            "cluster_label": [
                f"cluster_{species}_{c if c >= 0 else 100 + i}" for i, c in enumerate(cluster)
            ],
            "nearest_id": [f"{species}-{(i + 1) % n}" for i in range(n)],
            "nearest_distance": np.linspace(0.1, 0.3, n, dtype=np.float32),
        }
    )
    return table.assign(**columns)


def vectors(n: int, dimensions: int = 8, seed: int = 0) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(n, dimensions)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def noise_picture(row: int) -> Image.Image:
    """A picture of its own for each row, which compresses badly."""
    pixels = np.random.default_rng(row).integers(0, 255, (200, 260, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def small_picture(row: int) -> Image.Image:
    return Image.new("RGB", (40, 30), (row * 7 % 256, row * 13 % 256, 90))


def written(data: ReportData, **limits: int) -> tuple[dict, Page, str]:
    stream = io.BytesIO()
    summary = write_report(stream, data, **limits)
    html = stream.getvalue().decode()
    assert summary["bytes"] == len(stream.getvalue())
    return summary, Page(html), html


def evaluation(words: str) -> Evaluation:
    figures = {
        "top_1": Figure("top-1", "the nearest image is right", 0.75, 0.5, 1.0),
        "ari": Figure(words, words, -0.25, None, None),
    }
    return Evaluation(1200, 30, 9, {"retrieval": Part(words, words, figures)}, [words])


def full_data(n: int = 30) -> ReportData:
    """A report with something in every part."""
    return ReportData(
        title="River survey",
        annotations=herd(
            n, viewpoint=["left", "right", None] * (n // 3), timestamp=pd.Timestamp("2024-05-01")
        ),
        embeddings=vectors(n),
        thumbnail=small_picture,
        counts={"images": n + 1, "share": 0.12345, "camera": "north"},
        stage_seconds={"embed": 12.3, "cluster": 0.0},
        tuning=[
            TuningCurve(
                "lynx", 0.2, "ari", np.array([0.1, 0.2, 0.3]), np.array([0.4, 0.9, 0.5]), "Steady."
            ),
            TuningCurve("otter", 0.3, note="No label; the threshold of lynx is used."),
        ],
        scores={"lynx": {"ARI": 1.0, "AMI": 0.5}, "otter": {"ARI": 0.25}},
        evaluation={"lynx": evaluation("every image asks")},
        failures=pd.DataFrame([{"image_path": "bad.jpg", "stage": "decode", "error": "truncated"}]),
        warnings=["The best threshold lies at the edge."],
        config_yaml="cluster:\n  eps: 0.2\n",
        versions={"torch": "2.15.0"},
        seed=3,
    )


# ---- what the page says ------------------------------------------------------------------------


def test_page_holds_every_part() -> None:
    summary, page, _ = written(full_data())
    assert summary["images"] == summary["thumbnails"] == 30
    assert summary["left_out"] == []
    for words in (
        "River survey",
        "30 images of 1 species: 27 were grouped into 3 clusters",
        "3 stand alone",
        "1 could not be used",
        "The best threshold lies at the edge.",
        "3 thresholds were tried where identities are known, and ε = 0.200 was chosen: ARI 0.900 there.",
        "ε = 0.300 , not tuned on this species. No label; the threshold of lynx is used.",
        "lynx 1.000 0.500",
        "otter 0.250 –",
        "lynx: 1,200 images, 30 of them labelled, 9 individuals",
        "top-1 the nearest image is right 0.750 0.500 – 1.000",
        "every image asks every image asks -0.250",
        "Every image asks.",
        "0.123",
        "12.3 s",
        "bad.jpg decode truncated",
        "cluster: eps: 0.2",
        "torch 2.15.0",
        "What this page leaves out Nothing.",
        "Random seed 3",
    ):
        assert words in page.text
    content = page.content()
    assert [len(cluster["rows"]) for cluster in content["clusters"]] == [9, 9, 9]
    assert content["singletons"] == [27, 28, 29]
    assert content["rows"]["nearest"][:3] == [1, 2, 3]
    assert content["rows"]["viewpoint"][:3] == [0, 1, -1]
    assert content["maps"][0]["species"] == "lynx"
    assert len(content["maps"][0]["tsne"][0]) == 30


def test_page_asks_nothing_of_the_network() -> None:
    _, page, _ = written(full_data())
    policies = [
        a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert policies[0].startswith("default-src 'none'")
    assert "unsafe-eval" not in policies[0]
    addresses = [a[name] for _, a in page.tags for name in ("src", "href", "action") if name in a]
    assert addresses
    assert all(address.startswith(("#", "data:")) for address in addresses)


def test_only_a_map_that_webgl_draws_may_evaluate_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid.report.report_page.WEBGL_ABOVE", 29)
    _, page, html = written(full_data())
    policies = [a["content"] for _, a in page.tags if "http-equiv" in a]
    assert policies[0].endswith("'unsafe-inline' 'unsafe-eval'")
    assert '"webglAbove":29' in html.replace(" ", "")


def test_each_thumbnail_is_embedded_once() -> None:
    _, page, html = written(full_data())
    thumbnails = page.thumbnails()
    assert len(thumbnails) == 30
    assert len(set(thumbnails)) == 30
    assert all(html.count(text) == 1 for text in thumbnails)
    assert sorted(page.content()["rows"]["thumbnail"]) == list(range(30))


def test_thumbnail_belongs_to_its_row() -> None:
    _, page, _ = written(full_data())
    numbers, texts = page.content()["rows"]["thumbnail"], page.thumbnails()
    for row in (0, 5, 29):
        alone = encode_thumbnails(small_picture, [row], 10**6).base64_by_row[row]
        assert texts[numbers[row]] == alone


def test_text_of_users_is_never_html() -> None:
    plain = full_data(6)
    _, clean, _ = written(plain)
    nasty = ReportData(
        title=NASTY,
        annotations=herd(6, species=NASTY, viewpoint=NASTY, timestamp=NASTY).assign(
            identity=NASTY, image_path=NASTY, cluster_label=NASTY
        ),
        embeddings=vectors(6),
        thumbnail=small_picture,
        counts={NASTY: NASTY, "share": 0.1, "camera": "north"},
        stage_seconds={NASTY: 1.0, "cluster": 0.0},
        tuning=[
            TuningCurve(NASTY, 0.2, NASTY, [0.1, 0.2], [0.3, 0.4], NASTY),
            TuningCurve(NASTY, 0.2, note=NASTY),
        ],
        scores={NASTY: {NASTY: 1.0, "AMI": 0.5}, "otter": {}},
        evaluation={NASTY: evaluation(NASTY)},
        failures=pd.DataFrame([{"image_path": NASTY, "stage": NASTY, "error": NASTY}]),
        warnings=[NASTY],
        config_yaml=NASTY,
        versions={NASTY: NASTY},
    )
    _, page, html = written(nasty)
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in clean.tags]
    assert not any("onerror" in attributes for _, attributes in page.tags)
    assert "<img" not in page.scripts["content"]
    # Nothing is lost by escaping.
    assert page.content()["rows"]["path"] == [NASTY] * 6
    assert page.text.count("alert('x')") >= 12
    assert html.count(NASTY) == 0


def test_file_names_that_are_not_unicode_are_written() -> None:
    broken = b"caf\xe9.jpg".decode("utf-8", "surrogateescape")
    data = ReportData(
        title="t",
        annotations=herd(4, image_path=pd.Series([broken] * 4, dtype=object)),
        failures=pd.DataFrame({"image_path": [broken], "stage": "x", "error": "x"}, dtype=object),
    )
    _, page, _ = written(data)
    assert page.content()["rows"]["path"] == [broken] * 4
    assert "caf\\udce9.jpg" in page.text


# ---- little or nothing to show -----------------------------------------------------------------


def nothing() -> pd.DataFrame:
    return herd(4).iloc[:0]


@pytest.mark.parametrize("embeddings", [None, np.zeros((0, 8), np.float32), {}])
def test_no_image(embeddings: object) -> None:
    data = ReportData("t", nothing(), embeddings, thumbnail=small_picture)
    summary, page, _ = written(data)
    assert summary["images"] == summary["thumbnails"] == 0
    assert "No image could be used" in page.text
    assert "No two images were linked" in page.text
    assert "None: every image could be used." in page.text


def test_all_images_failed() -> None:
    failures = pd.DataFrame(
        [{"image_path": f"{i}.jpg", "stage": "decode", "error": "empty file"} for i in range(3)]
    )
    _, page, _ = written(ReportData("t", nothing(), failures=failures))
    assert "No image could be used" in page.text
    assert page.text.count("empty file") == 3


def test_one_image() -> None:
    one = herd(1, nearest_id=None, nearest_distance=None, identity=None)
    summary, page, _ = written(ReportData("t", one, vectors(1), small_picture))
    content = page.content()
    assert summary["thumbnails"] == 1
    assert "1 image of 1 species" in page.text
    assert "1 stands alone" in page.text
    assert content["rows"]["distance"] == [None]
    assert content["rows"]["nearest"] == [-1]
    assert content["maps"][0]["pca"] == [[0.0], [0.0]]
    assert content["maps"][0]["tsne"] is None


def test_no_labels_and_no_viewpoints() -> None:
    _, page, _ = written(ReportData("t", herd(9, identity=None), vectors(9), small_picture))
    content = page.content()
    assert content["identities"] == []
    assert set(content["rows"]["identity"]) == {-1}
    assert "viewpoint" not in content["rows"]


# ---- species -----------------------------------------------------------------------------------


def two_species() -> pd.DataFrame:
    """Rows of two species in turn."""
    both = pd.concat([herd(8, species="lynx"), herd(8, species="otter")])
    return both.iloc[np.argsort(np.tile(np.arange(8), 2), kind="stable")].reset_index(drop=True)


def test_species_with_models_of_their_own_have_maps_of_their_own() -> None:
    table = two_species()
    own = {"otter": vectors(8, 16, seed=1), "lynx": vectors(8, 4, seed=2)}
    content = page_data(ReportData("t", table, own), groups(table), np.arange(16))
    assert [m["species"] for m in content["maps"]] == ["lynx", "otter"]
    for one in content["maps"]:
        assert list(table["species"].iloc[one["rows"]].unique()) == [one["species"]]
        expected = project(own[one["species"]], "pca")
        np.testing.assert_allclose(np.transpose(one["pca"]), expected, atol=1e-4)


def test_species_of_one_model_also_share_a_map() -> None:
    table = two_species()
    content = page_data(ReportData("t", table, vectors(16)), groups(table), np.arange(16))
    assert [m["species"] for m in content["maps"]] == [None, "lynx", "otter"]
    assert content["maps"][0]["rows"] == list(range(16))


def test_a_part_of_the_rows_takes_its_own_embeddings() -> None:
    table = two_species()
    own = {"otter": vectors(8, 16, seed=1), "lynx": vectors(8, 4, seed=2)}
    kept = np.array([0, 3, 5, 7, 8, 11])  # lynx 0, 4 and otter 1, 2, 3, 5
    content = page_data(ReportData("t", table, own), groups(table), kept)
    expected = project(own["otter"][[1, 2, 3, 5]], "pca")
    np.testing.assert_allclose(np.transpose(content["maps"][1]["pca"]), expected, atol=1e-4)


def test_similarities_are_of_the_images_in_the_order_of_their_clusters() -> None:
    table, rows = herd(30), vectors(30)
    content = page_data(ReportData("t", table, rows), groups(table), np.arange(30))
    shown = content["maps"][0]["similarities"]
    assert sorted(shown["order"]) == list(range(30))
    assert shown["ends"] == list(range(1, 31)), "a bin an image where there is room"
    ordered = rows[shown["order"]]
    expected = np.round(100 * ordered @ ordered.T)
    np.fill_diagonal(expected, 100)
    drawn = [[shown["percent"][max(i, j)][min(i, j)] for j in range(30)] for i in range(30)]
    np.testing.assert_allclose(drawn, expected, atol=1)
    sizes = table[table["cluster"] >= 0]["cluster"].value_counts()
    first = table["cluster"].to_numpy()[shown["order"][: sizes.iloc[0]]]
    assert len(set(first)) == 1, "the largest cluster is first"


def test_only_the_largest_species_have_similarities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reid.report.contents.MOST_HEATMAPS", 1)
    both = pd.concat([herd(8, species="lynx"), herd(9, species="otter")], ignore_index=True)
    content = page_data(ReportData("t", both, vectors(17)), groups(both), np.arange(17))
    shown = {one["species"]: one["similarities"] is not None for one in content["maps"]}
    assert shown == {None: False, "lynx": False, "otter": True}


def test_clusters_of_one_number_in_two_species_stay_apart() -> None:
    grouped = groups(two_species())
    assert grouped["group"][~grouped["single"]].nunique() == 4  # two of two images in each


# ---- the budget --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bare_bytes() -> int:
    """The page with a map of 80 images and no thumbnail."""
    return write_report(io.BytesIO(), ReportData("t", herd(80), vectors(80)))["bytes"]


def test_thumbnails_shrink_before_they_go(bare_bytes: int) -> None:
    data = ReportData("t", herd(80), vectors(80), noise_picture)
    wide, _, _ = written(data)
    room = wide["bytes"] - bare_bytes
    budget = bare_bytes + room // 2 + 10_000
    small, page, _ = written(data, budget_bytes=budget)
    assert wide["thumbnail_px"] == 192
    assert small["thumbnail_px"] < 192
    assert small["thumbnails"] == 80
    assert small["bytes"] <= budget
    assert small["left_out"] == []
    assert f"80 thumbnails of at most {small['thumbnail_px']} px a side" in page.text


def test_thumbnails_that_do_not_fit_are_told(bare_bytes: int) -> None:
    budget = bare_bytes + 60_000
    summary, page, _ = written(
        ReportData("t", herd(80), vectors(80), noise_picture), budget_bytes=budget
    )
    assert 0 < summary["thumbnails"] < 80
    assert summary["bytes"] <= budget
    (sentence,) = summary["left_out"]
    assert f"thumbnails of {80 - summary['thumbnails']} of 80 images" in sentence
    assert sentence in page.text
    assert "This page leaves some things out" in page.text
    assert page.content()["rows"]["thumbnail"].count(-1) == 80 - summary["thumbnails"]


def test_images_that_do_not_fit_are_told(bare_bytes: int) -> None:
    table = herd(400, clusters=50, image_path="folder/" * 400)
    budget = bare_bytes + 500_000
    summary, page, _ = written(ReportData("t", table, vectors(400)), budget_bytes=budget)
    assert summary["bytes"] <= budget
    assert 100 <= summary["images"] < 400
    assert any(f"{400 - summary['images']} of 400 images" in s for s in summary["left_out"])
    assert "400 images of 1 species" in page.text
    shown = {len(cluster["rows"]) < cluster["size"] for cluster in page.content()["clusters"]}
    assert True in shown


def test_a_budget_below_the_bare_page_is_refused() -> None:
    with pytest.raises(InputError, match=r"budget of 1,000 bytes.*allow at least"):
        write_report(io.BytesIO(), full_data(), budget_bytes=1_000)


def test_limits_on_numbers_are_told() -> None:
    failures = pd.DataFrame({"image_path": ["x"] * 501, "stage": "decode", "error": "e" * 1_000})
    data = ReportData("t", herd(40), thumbnail=small_picture, failures=failures)
    summary, page, _ = written(data, max_images=30, max_thumbnails=20)
    assert (summary["images"], summary["thumbnails"]) == (30, 20)
    told = " ".join(summary["left_out"])
    for words in (
        "10 of 40 images",
        "thumbnails of 10 of 30 images",
        "no embeddings",
        "1 of 501 failures",
    ):
        assert words in told
    assert "The first 500 of 501 are listed" in page.text
    assert "e" * 401 not in page.text


def test_thumbnails_that_cannot_be_read_are_counted() -> None:
    def loader(row: int) -> Image.Image | bytes | None:
        if row == 0:
            raise OSError("truncated <file>")
        if row == 1:
            return None
        if row == 2:
            return b"not an image"
        buffer = io.BytesIO()
        small_picture(row).save(buffer, "PNG")
        return buffer.getvalue()

    summary, page, _ = written(ReportData("t", herd(10), vectors(10), loader))
    assert summary["unreadable_thumbnails"] == 3
    assert summary["thumbnails"] == 7
    assert page.content()["rows"]["thumbnail"][:3] == [-1, -1, -1]
    assert "The thumbnails of 3 images that could not be read again" in page.text


def test_an_error_in_the_loader_itself_is_not_hidden() -> None:
    def loader(row: int) -> None:
        raise TypeError("a bug")

    with pytest.raises(TypeError, match="a bug"):
        write_report(io.BytesIO(), ReportData("t", herd(4), thumbnail=loader))


@settings(max_examples=25)
@given(st.integers(0, 90), st.integers(0, 60_000), st.integers(1, 7))
def test_thumbnails_keep_to_their_room_and_lose_none(n: int, room: int, broken: int) -> None:
    def loader(row: int) -> Image.Image | None:
        return None if row % broken == 1 else small_picture(row)

    result = encode_thumbnails(loader, range(n), room)
    assert sum(len(text) + 3 for text in result.base64_by_row.values()) <= room
    assert len(result.base64_by_row) + len(result.unreadable) + result.no_room == n


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "I;16", "1"])
def test_thumbnails_of_every_kind_of_picture(mode: str) -> None:
    result = encode_thumbnails(lambda row: Image.new(mode, (300, 20)), [0], 10**5)
    assert list(result.base64_by_row) == [0]


def test_importance_by_hand() -> None:
    # a: 6 images, b: 2 images, alone: two, the second nearer to another image
    label = ["a"] * 6 + ["b"] * 2 + ["x", "y"]
    table = herd(10).assign(
        cluster=[0] * 6 + [1] * 2 + [-1, -1],
        cluster_label=label,
        nearest_distance=[0.1] * 8 + [0.4, 0.3],
    )
    assert by_importance(groups(table)).tolist() == [0, 1, 2, 3, 6, 7, 9, 8, 4, 5]


# ---- input -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: ReportData("t", t.drop(columns="cluster")), "lacks the columns cluster"),
        (lambda t: ReportData("t", t, vectors(3)), r"shape \(3, 8\), annotations have 6 rows"),
        (lambda t: ReportData("t", t, {"otter": vectors(6)}), "of 'lynx' have shape None"),
        (lambda t: ReportData("t", t, failures=pd.DataFrame({"stage": []})), "failures lacks"),
        (
            lambda t: ReportData("t", t, tuning=[TuningCurve("lynx", 0.1, "ari", [0.1], [])]),
            "1 thresholds and 0 scores",
        ),
    ],
)
def test_input_that_does_not_fit_is_refused(
    change: Callable[[pd.DataFrame], ReportData], words: str
) -> None:
    with pytest.raises(InputError, match=words):
        write_report(io.BytesIO(), change(herd(6)))


def test_file_is_replaced_in_one_step(tmp_path: Path) -> None:
    target = tmp_path / "report.html"
    target.write_text("old")
    summary = write_report(target, full_data())
    assert target.stat().st_size == summary["bytes"]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_same_seed_same_page() -> None:
    assert written(full_data())[2] == written(full_data())[2]


def test_a_threshold_that_is_not_the_best_of_its_curve_is_not_called_the_best() -> None:
    curve = TuningCurve("lynx", 0.29, "ami", [0.1, 0.2, 0.3], [0.4, 0.9, 0.5], note="held out")
    _, page, _ = written(ReportData("t", herd(4), tuning=[curve]))
    assert "ε = 0.290 was chosen: AMI 0.500 there, the highest of all being 0.900." in page.text
    assert "Held out" in page.text


def test_pairs_show_their_pictures_points_and_words() -> None:
    points = np.array([[0.5, 0.25, 0.75, 1.0]], np.float32)
    said = PairEvidence(points, np.array([0.5], np.float32), 0, [NASTY], ["far"], [])
    pairs = [ShownPair("lynx-3", "lynx-9", 0.625, said), ShownPair("lynx-1", "gone", 0.5, said)]
    summary, page, html = written(replace(full_data(), pairs=pairs))
    (shown,) = page.content()["pairs"]
    assert (shown["a"], shown["b"], shown["probability"]) == (3, 9, 0.625)
    assert shown["evidence"]["points"] == [[500, 250, 750, 1000, 50]]
    assert shown["evidence"]["for"] == [NASTY]
    assert "<script>alert" not in html
    pictures = page.thumbnails()
    assert len(pictures) == summary["thumbnails"] + 2
    assert set(shown["pictures"]) == {30, 31}
    assert any("1 of 2 pairs" in sentence for sentence in summary["left_out"])
    assert "pairs-title" not in written(full_data())[2]


def test_long_curve_keeps_its_best_point_and_its_ends() -> None:
    thresholds = np.linspace(0, 0.6, 9_001)
    scores = np.sin(thresholds)
    scores[4_321] = 2.0
    curve = TuningCurve("lynx", thresholds[4_321], "ari", thresholds, scores)
    table = herd(4)
    points = page_data(ReportData("t", table, tuning=[curve]), groups(table), np.arange(4))[
        "tuning"
    ][0]
    assert len(points["scores"]) <= CURVE_POINTS
    assert max(points["scores"]) == 2.0
    assert points["thresholds"][0] == 0
    assert points["thresholds"][-1] == 0.6
    assert points["thresholds"] == sorted(points["thresholds"])


# ---- the plane ---------------------------------------------------------------------------------


def test_pca_is_the_singular_vectors() -> None:
    rows = vectors(40, 6)
    centred = rows - rows.mean(axis=0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    expected = u[:, :2] * s[:2]
    expected = expected / np.abs(expected).max()
    found = project(rows, "pca")
    for axis in (0, 1):
        sign = np.sign(found[:, axis] @ expected[:, axis])
        np.testing.assert_allclose(sign * found[:, axis], expected[:, axis], atol=1e-4)


def test_tsne_keeps_groups_together() -> None:
    centres = np.repeat(np.eye(3, 16, dtype=np.float32), 20, axis=0)
    rows = centres + 0.05 * np.random.default_rng(0).normal(size=(60, 16)).astype(np.float32)
    plane = project(rows, "tsne", seed=1)
    distance = np.linalg.norm(plane[:, None] - plane[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (distance.argmin(axis=1) // 20 == np.arange(60) // 20).all()
    np.testing.assert_array_equal(plane, project(rows, "tsne", seed=1))


@settings(max_examples=20)
@given(st.integers(0, 12), st.integers(1, 5), st.booleans(), st.sampled_from(["pca", "tsne"]))
def test_plane_is_finite_and_bounded(n: int, dimensions: int, equal: bool, method: str) -> None:
    rows = np.ones((n, dimensions), np.float32) if equal else vectors(n, dimensions)
    if method == "tsne" and n < 5:
        with pytest.raises(InputError, match="it takes 5 to 10000"):
            project(rows, "tsne")
        return
    plane = project(rows, method)  # type: ignore[arg-type]
    assert plane.shape == (n, 2)
    assert plane.dtype == np.float32
    assert np.isfinite(plane).all()
    assert np.abs(plane).max(initial=0) <= 1.0
    if equal:
        assert not plane.any()


def test_tsne_of_too_many_rows_and_unknown_methods_are_refused() -> None:
    with pytest.raises(InputError, match="t-SNE of 10001 rows"):
        project(np.zeros((10_001, 2), np.float32), "tsne")
    with pytest.raises(InputError, match="known methods: pca, tsne"):
        project(np.zeros((6, 2), np.float32), "umap")  # type: ignore[arg-type]


def test_a_species_too_large_for_tsne_has_its_pca_map_and_the_page_says_so() -> None:
    table = herd(5_001, clusters=900)
    summary, page, _ = written(ReportData("t", table, vectors(5_001, 4)))
    assert page.content()["maps"][0]["tsne"] is None
    assert any("The t-SNE map of lynx: it has 5,001 images" in s for s in summary["left_out"])


# ---- in a browser ------------------------------------------------------------------------------


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_a_browser_draws_the_page_without_an_error(tmp_path: Path) -> None:
    data = full_data()
    named = data.annotations.assign(image_path=NASTY, cluster_label=NASTY, viewpoint=NASTY)
    report = tmp_path / "report.html"
    write_report(report, ReportData(**{**vars(data), "annotations": named}))
    quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update"]
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-sync", *quiet]
    show = ["--enable-logging=stderr", "--virtual-time-budget=5000", "--window-size=1440,6000"]
    shown = subprocess.run(
        [
            *(str(CHROMIUM), *flags, *show, f"--user-data-dir={tmp_path / 'profile'}"),
            *("--dump-dom", report.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in shown.stderr, shown.stderr
    drawn = Page(re.sub(r"<(script|style)\b.*?</\1>", "", shown.stdout, flags=re.DOTALL))
    classes = [attributes.get("class") or "" for _, attributes in drawn.tags]
    pictures = [attributes for tag, attributes in drawn.tags if tag == "img"]
    assert classes.count("cluster") == 3
    assert classes.count("tile") == len(pictures) == 30
    assert drawn.text.count("2024-05-01 00:00") == 30, "file names alone are those of every camera"
    assert all(p["src"].startswith("data:image/webp;base64,") and p["alt"] for p in pictures)
    assert classes.count("point") == 30 + 1  # the map's, and the chosen threshold
    assert classes.count("hm") == 1  # the similarities
    assert not any("onerror" in attributes for _, attributes in drawn.tags)


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_a_lasso_gives_the_names_of_the_files_inside(tmp_path: Path) -> None:
    table = herd(30)
    points = vectors(30, 2)
    write_report(tmp_path / "report.html", ReportData("t", table, points, small_picture))
    with Browser(tmp_path) as browser:
        browser.resize(1000, 900)
        browser.open(tmp_path / "report.html")
        browser.run("document.querySelector('input[value=pca]').click()")
        browser.run(
            "Plotly.relayout('map-plot', {dragmode: 'lasso'}).then(() => { window.asked = true; })"
        )
        browser.wait("window.asked")
        browser.run("document.getElementById('map-plot').scrollIntoView({behavior: 'instant'})")
        left, top, width, height = browser.run(
            "(({left, top, width, height}) => [left, top, width, height])"
            "(document.querySelector('#map-plot .nsewdrag').getBoundingClientRect())"
        )
        corners = [(0.001, 0.01), (0.5, 0.01), (0.5, 0.99), (0.001, 0.99), (0.001, 0.02)]
        path = [(left + width * x, top + height * y) for x, y in corners]

        def mouse(kind: str, x: float, y: float) -> None:
            browser.ask(
                "Input.dispatchMouseEvent",
                type=kind,
                x=x,
                y=y,
                button="left",
                buttons=1,
                clickCount=1,
            )

        mouse("mousePressed", *path[0])
        for (x, y), (to_x, to_y) in itertools.pairwise(path):
            for share in (0.25, 0.5, 0.75, 1):
                mouse("mouseMoved", x + (to_x - x) * share, y + (to_y - y) * share)
        mouse("mouseReleased", *path[-1])
        browser.wait("!document.getElementById('map-chosen').hidden")
        names = browser.run("document.getElementById('map-chosen-names').value").split("\n")
        middle = browser.run(
            "(({_fullLayout: {xaxis}}) => (xaxis.range[0] + xaxis.range[1]) / 2)(document.getElementById('map-plot'))"
        )
        chosen = table["image_path"][project(points, "pca")[:, 0] < middle]
        assert names == sorted(chosen)
        assert browser.text("#map-chosen-title") == f"{len(names)} images chosen"
        browser.click("#map-chosen-save")
        assert browser.downloaded("chosen.txt").read_text().split() == " ".join(names).split()
        browser.click("#map-chosen-none")
        browser.wait("document.getElementById('map-chosen').hidden")
