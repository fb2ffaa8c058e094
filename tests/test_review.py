"""The page on which people decide: what it asks, what it shows, and the file that comes out of it."""

import io
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from PIL import Image

from reid.catalogue import SpeciesGraph, SpeciesRules, read_decisions
from reid.errors import InputError
from reid.report.pair_evidence import PairEvidence
from reid.review import Question, Written, ask, best_questions, shown_ids, write_review
from reid.review.review_page import KINDS, LARGE_PX, likeness, whose_likeness
from tests.browser import CHROMIUM, Browser
from tests.identified import identified, row_ids

KNOWN, NEW = 0.2, 0.4
NASTY = "<script>alert('x')</script></script><img src=x onerror=alert(1)>\"&amp;'<!--"

# Two triangles on a bridge (2, 3), a single row 6 near to row 5, a pair 7, 8 near to row 0, and 9
# far from all.
LINKS = {
    (0, 1): 0.05, (0, 2): 0.05, (1, 2): 0.06, (3, 4): 0.05, (3, 5): 0.05, (4, 5): 0.05,
    (2, 3): 0.19, (5, 6): 0.3, (7, 8): 0.1, (0, 7): 0.35,
}  # fmt: skip


def graph(
    n: int = 10,
    links: dict[tuple[int, int], float] = LINKS,
    said: Sequence[tuple[int, int, str]] = (),
    paths: Sequence[str] | None = None,
) -> tuple[SpeciesGraph, pa.Table]:
    """A catalogue's species with rows a00, a01, …, and the decisions."""
    images = list(paths) if paths else [f"camera 1/{one}.jpg" for one in row_ids(n)]
    columns = {"image_path": images, "viewpoint": ["left"] * n}
    rows, edges, decisions = identified("lynx", columns, links, said, known=KNOWN, new=NEW)
    rules = SpeciesRules("recipe", KNOWN, NEW, NEW, "off", "compare-all", "by hand")
    return SpeciesGraph("lynx", rows, edges, rules), decisions


def asked(**options: object) -> dict[tuple[str, str], Question]:
    found = ask(*graph(**options)).questions  # type: ignore[arg-type]
    return {(one.a.annotation_id, one.b.annotation_id): one for one in found}


def noise(annotation_id: str) -> Image.Image:
    """A picture of its own for each annotation, which compresses badly."""
    rng = np.random.default_rng(int(annotation_id[1:]))
    return Image.fromarray(rng.integers(0, 255, (300, 400, 3), dtype=np.uint8))


def plain(annotation_id: str) -> Image.Image:
    return Image.new("RGB", (1200, 900), (int(annotation_id[1:]) * 20 % 256, 120, 90))


def write(
    target: Path | io.BytesIO, found: Sequence[Question], species: SpeciesGraph, **options: object
) -> Written:
    given = {
        "picture": plain, "catalogue": "/herd/C", "version": 3, "key": "C@3",
        "command": "reid identify --catalogue /herd/C --constraints constraints.csv",
        **options,
    }  # fmt: skip
    rows = species.rows.to_pandas().set_index("annotation_id")
    return write_review(target, found, rows, **given)  # type: ignore[arg-type]


def page(
    found: Sequence[Question], species: SpeciesGraph, **options: object
) -> tuple[str, Written]:
    stream = io.BytesIO()
    written = write(stream, found, species, **options)
    assert written.bytes == len(stream.getvalue())
    return stream.getvalue().decode(), written


def script(html: str, name: str) -> object:
    found = re.search(f'<script type="application/json" id="{name}">(.*?)</script>', html, re.S)
    assert found is not None
    return json.loads(found[1])


# ── What is asked ─────────────────────────────────────────────────────────────────────────────────


def test_each_kind_says_why_it_is_asked_and_what_an_answer_does() -> None:
    found = asked()
    bridge, single, near = found["a02", "a03"], found["a05", "a06"], found["a00", "a07"]
    assert (bridge.kind, single.kind, near.kind) == ("bridge", "new", "near")
    assert (bridge.a.identity_id, bridge.a.images) == ("lynx-0001", 6)
    assert bridge.if_nomatch == "would part lynx-0001 into two, of 3 and 3 images"
    assert bridge.if_match == "keeps lynx-0001 as it is, 6 images"
    assert single.if_match == "would join 2 identities of 6 and 1 image"
    assert single.why.startswith("lynx-0002 has this one image only")
    assert near.if_match == "would join 2 identities of 6 and 2 images"
    assert near.if_nomatch == "keeps lynx-0001 and lynx-0003 apart in every later run"
    assert single.distance == pytest.approx(0.3)
    assert single.probability == pytest.approx(0.5)
    assert not single.calibrated


def test_a_margin_names_the_stranger_who_is_nearly_as_near() -> None:
    found = asked(n=3, links={(0, 1): 0.19, (1, 2): 0.22})
    margin = found["a00", "a01"]
    assert margin.kind == "margin"
    assert margin.why == "Both are taken for lynx-0001, and lynx-0002 is nearly as near (0.220)."


def test_the_parts_that_a_bridge_joins_are_shown_on_their_own_sides() -> None:
    bridge = asked()["a02", "a03"]
    assert bridge.a.others == ("a00", "a01")
    assert set(bridge.b.others) == {"a04", "a05"}


def test_other_images_are_those_most_alike_and_never_the_pair_itself() -> None:
    found = asked()
    assert found["a05", "a06"].b.others == ()
    # By way of the graph: its triangle first, then over the bridge.
    assert set(found["a05", "a06"].a.others[:2]) == {"a03", "a04"}
    assert found["a05", "a06"].a.others[2] == "a02"
    assert found["a00", "a07"].b.others == ("a08",)


def test_images_that_people_joined_belong_to_the_individual_too() -> None:
    found = asked(said=[(0, 9, "match")])
    assert found["a05", "a06"].a.images == 7
    assert "a09" in found["a02", "a03"].a.others


def test_nobody_is_asked_what_is_decided() -> None:
    said = [(2, 3, "match"), (5, 6, "nomatch"), (0, 7, "unknown")]
    assert not {("a02", "a03"), ("a05", "a06"), ("a00", "a07")} & {*asked(said=said)}


def test_of_several_species_the_best_come_first() -> None:
    found = ask(*graph())
    lynx = found.questions
    otter = [
        replace(one, species="otter", expected_corrections=one.expected_corrections + 0.001)
        for one in lynx
    ]
    both = [found, replace(found, questions=otter)]
    best = best_questions(both, 3)
    assert best[0].species == "otter"
    worth = sorted((one.expected_corrections for one in [*lynx, *otter]), reverse=True)
    assert [one.expected_corrections for one in best] == worth[:3]
    assert {one.species for one in best_questions(both, 100)} == {"lynx", "otter"}


# ── The page ──────────────────────────────────────────────────────────────────────────────────────


def test_the_page_holds_pairs_pictures_and_the_next_command() -> None:
    species, decisions = graph()
    found = ask(species, decisions).questions
    html, written = page(found, species)
    content = script(html, "content")
    assert isinstance(content, dict)
    assert written.questions == len(found) == len(content["questions"])
    assert len(script(html, "pictures")) == written.pictures == len(shown_ids(found))  # type: ignore[arg-type]
    assert written.left_out == []
    assert written.large_px == LARGE_PX[0]
    assert "reid identify --catalogue /herd/C --constraints constraints.csv" in html
    for one, shown in zip(found, content["questions"], strict=True):
        assert content["rows"]["id"][shown["a"]["row"]] == one.a.annotation_id
        assert [content["rows"]["id"][row] for row in shown["b"]["others"]] == [*one.b.others]
        assert shown["title"] == KINDS[one.kind]
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", html)


def test_a_probability_is_said_only_where_it_was_learned() -> None:
    guess = asked()["a05", "a06"]
    assert guess.probability == pytest.approx(0.5)
    assert likeness(guess) == "could be either"
    assert likeness(replace(guess, probability=0.9)) == "very much alike"
    assert likeness(replace(guess, probability=0.1)) == "not much alike"
    learned = replace(guess, calibrated=True, probability=0.934)
    assert likeness(learned) == "93 %"
    assert likeness(replace(learned, probability=0.9951)) == "99.5 %"
    species, decisions = graph()
    content = script(page(ask(species, decisions).questions, species)[0], "content")
    assert isinstance(content, dict)
    assert all("%" not in one["likeness"] for one in content["questions"])
    assert {one["whose_likeness"] for one in content["questions"]} == {"To the model"}
    assert whose_likeness(learned) == "Same individual"


def test_a_page_says_that_its_individuals_are_not_usable() -> None:
    species, decisions = graph()
    found = ask(species, decisions).questions
    assert "Not usable: that is the verdict" in page(found, species, doubted=True)[0]
    assert "Not usable" not in page(found, species)[0]


def test_names_and_ids_cannot_become_html() -> None:
    species, decisions = graph(paths=[f"{NASTY}{k}" for k in range(10)])
    found = [
        replace(one, why=NASTY, if_match=NASTY, species=NASTY)
        for one in ask(species, decisions).questions
    ]
    html, _ = page(found, species, catalogue=NASTY, command=NASTY, key=NASTY)
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    content = script(html, "content")
    assert isinstance(content, dict)
    assert content["rows"]["path"][0].startswith(NASTY)


def test_a_small_budget_makes_pictures_smaller_and_then_drops_the_last_pairs() -> None:
    species, decisions = graph()
    found = ask(species, decisions).questions
    large = {side.annotation_id for one in found for side in (one.a, one.b)}
    html, full = page(found, species, picture=noise)
    texts = script(html, "pictures")
    assert isinstance(texts, list)
    bare = full.bytes - sum(len(text) + 3 for text in texts)
    asked_for = sum(len(text) + 3 for text in texts[: len(large)])
    _, smaller = page(found, species, picture=noise, budget_bytes=bare + asked_for)
    assert smaller.bytes <= bare + asked_for
    assert smaller.questions == len(found)
    assert smaller.large_px == LARGE_PX[-1] < full.large_px
    budget = bare + asked_for // 2
    html, tight = page(found, species, picture=noise, budget_bytes=budget)
    assert tight.bytes <= budget
    assert 0 < tight.questions < len(found)
    content = script(html, "content")
    assert isinstance(content, dict)
    kept = [(one["a"]["identity"], one["why"]) for one in content["questions"]]
    assert kept == [(o.a.identity_id, o.why) for o in found if (o.a.identity_id, o.why) in kept]
    assert f"{len(found) - tight.questions} pairs that are worth less" in tight.left_out[0]
    with pytest.raises(InputError, match="allow more"):
        page(found, species, picture=noise, budget_bytes=bare)


def test_a_picture_that_cannot_be_read_is_said_and_its_pair_stays() -> None:
    def broken(annotation_id: str) -> Image.Image:
        if annotation_id == "a06":
            raise OSError("truncated file")
        return plain(annotation_id)

    species, decisions = graph()
    found = ask(species, decisions).questions
    html, written = page(found, species, picture=broken)
    assert written.questions == len(found)
    assert written.unreadable == {"a06": "truncated file"}
    assert "1 pictures that could not be read; the first: camera 1/a06.jpg" in html


def test_without_a_question_there_is_no_page() -> None:
    species, decisions = graph(n=2, links={})
    assert ask(species, decisions).questions == []
    with pytest.raises(InputError, match="nothing to ask"):
        page([], species)


# ── In a browser ──────────────────────────────────────────────────────────────────────────────────

needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
PRESSED = "document.querySelector('[data-decision][aria-pressed=true]')?.dataset.decision ?? null"


@needs_browser
def test_keys_decide_and_the_file_is_what_the_next_run_reads(tmp_path: Path) -> None:
    species, decisions = graph()
    found = ask(species, decisions).questions
    assert len(found) >= 4
    write(tmp_path / "review.html", found, species)
    with Browser(tmp_path / "browser") as browser:
        browser.open(tmp_path / "review.html")
        assert browser.text("#counter") == f"0 of {len(found)} decided"
        assert browser.text("#why") == found[0].why
        assert browser.run("document.querySelector('#download').disabled") is True
        for key in "mnu":
            browser.key(key)
        assert browser.text("#title").startswith("4 of")
        assert browser.text("#counter") == f"3 of {len(found)} decided"
        browser.key("z")  # the third is open again
        assert browser.text("#counter") == f"2 of {len(found)} decided"
        assert browser.text("#title").startswith("3 of")
        for key, place in (
            ("k", 2),
            ("ArrowLeft", 1),
            ("ArrowLeft", 1),
            ("j", 2),
            ("ArrowRight", 3),
        ):
            browser.key(key)
            assert browser.text("#title").startswith(f"{place} of")
        browser.key("k")
        assert browser.run(PRESSED) == "nomatch"
        browser.click("#note")
        browser.type('Scar, "left" ear; mnuz')  # is text, not commands
        browser.key("Enter")
        browser.key("k")
        assert browser.run(PRESSED) == "match"

        browser.reload()
        assert browser.text("#counter") == f"2 of {len(found)} decided"
        assert browser.text("#title").startswith("3 of"), "goes on where one stopped"
        browser.click("[data-decision=unknown]")
        assert browser.text("#counter") == f"3 of {len(found)} decided"

        browser.click("#download")
        assert "your name first" in browser.text("#warning")
        assert browser.run("document.activeElement.id") == "reviewer"
        browser.type('Zoë "Z" O\'Hara, warden')
        browser.click("#download")
        read = read_decisions(str(browser.downloaded("constraints.csv")))
        assert browser.complaints == []
    pairs = [(one.a.annotation_id, one.b.annotation_id) for one in found]
    rows = read.to_pylist()
    assert [(row["a_id"], row["b_id"]) for row in rows] == pairs[:3]
    assert [row["decision"] for row in rows] == ["match", "nomatch", "unknown"]
    assert {row["reviewer"] for row in rows} == {'Zoë "Z" O\'Hara, warden'}
    assert [row["note"] for row in rows] == [None, 'Scar, "left" ear; mnuz', None]
    today = pd.Timestamp.now("UTC")
    assert all(abs(today - pd.Timestamp(row["timestamp"])).total_seconds() < 600 for row in rows)


@needs_browser
def test_the_page_can_be_worked_without_a_mouse_and_on_a_phone(tmp_path: Path) -> None:
    species, decisions = graph(paths=[f"{NASTY}{k}" for k in range(10)])
    found = ask(species, decisions).questions
    write(tmp_path / "review.html", found, species)
    nameless = (
        "[...document.querySelectorAll('button, input, img, [role=img], progress')].filter((e) => "
        "!(e.textContent.trim() || e.getAttribute('aria-label') || e.alt || e.labels?.length)).length"
    )
    with Browser(tmp_path / "browser", width=390, height=844) as browser:
        browser.open(tmp_path / "review.html")
        assert browser.run("document.querySelector('#matches')") is None, "nobody looked closely"
        assert browser.run(nameless) == 0
        width = "document.documentElement.scrollWidth"
        assert browser.run(width) <= 390, "nothing is wider than the phone"
        browser.resize(1280, 900)
        assert browser.run(width) <= 1280
        images = browser.run("document.querySelectorAll('.large img').length")
        assert images == 2
        tops = browser.run(
            "[...document.querySelectorAll('.large img')].map((i) => i.getBoundingClientRect().top)"
        )
        assert tops[0] == tops[1], "side by side"
        browser.run("document.querySelector('#side-a .large').focus()")
        browser.key("Enter")
        assert browser.run("document.querySelector('#zoom').open") is True
        first = browser.text("#zoom-title")
        browser.key("m")  # decides nothing while a picture is enlarged
        browser.key("ArrowRight")
        assert browser.text("#zoom-title") != first
        browser.key("Escape")
        assert browser.run("document.querySelector('#zoom').open") is False
        assert browser.run("document.activeElement.className") == "large"
        assert browser.text("#counter").startswith("0 of")
        assert browser.run("document.querySelectorAll('[onerror]').length") == 0
        before = browser.run("getComputedStyle(document.body).backgroundColor")
        browser.click("#theme")
        assert browser.run("getComputedStyle(document.body).backgroundColor") != before
        assert browser.complaints == []


@needs_browser
def test_matched_points_join_the_two_pictures_and_can_be_put_away(tmp_path: Path) -> None:
    """Lines end where the points are in the pictures, which lie beside each other or one above the other."""
    species, decisions = graph()
    found = ask(species, decisions).questions
    ends = found[0].a.annotation_id, found[0].b.annotation_id
    points = np.array([[0.5, 0.5, 0.25, 0.5], [0.0, 0.0, 1.0, 1.0]], np.float32)
    said = PairEvidence(points, np.array([0.9, 0.2], np.float32), 7, [NASTY], ["too far"], [])
    write(tmp_path / "review.html", found, species, evidence={ends: said})
    lines = "document.querySelectorAll('#sides > .matched line:not(.halo)')"
    corner = (
        "(([a, b], [line]) => [['x1', a.left + a.width / 2], ['y1', a.top + a.height / 2], ['y2', b.top + b.height / 2]].map("
        "([name, at]) => at - Number(line.getAttribute(name)) - line.ownerSVGElement.getBoundingClientRect()["
        f"name[0] === 'x' ? 'left' : 'top']))([...document.querySelectorAll('.large img')].map((i) => i.getBoundingClientRect()), [...{lines}].reverse())"
    )
    with Browser(tmp_path / "browser", width=390, height=844) as browser:
        for width in (390, 1280):
            browser.resize(width, 900)
            browser.open(tmp_path / "review.html")
            browser.wait(f"{lines}.length === 2")
            assert np.abs(browser.run(corner)).max() < 1.5
            assert browser.run("document.documentElement.scrollWidth") <= width
        told = browser.text("#evidence")
        assert NASTY in told
        assert "too far" in told
        assert "9 points matched, the 2 surest are drawn" in told
        browser.key("p")
        assert browser.run(f"{lines}.length") == 0
        browser.click("#points")
        browser.wait(f"{lines}.length === 2")
        browser.key("j")
        assert browser.run(f"{lines}.length") == 0
        assert browser.run("document.querySelector('#matches').hidden") is True
        assert browser.complaints == []
