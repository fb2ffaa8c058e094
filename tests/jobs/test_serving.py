"""`reid serve`: what people do in a browser is a decision of the catalogue, seen at once, and taken back."""

import asyncio
import codecs
import json
import re
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from jobs.common import outputs
from jobs.pages.catalogue_desk import Desk
from jobs.pages.served_pages import ServedPages
from jobs.pages.serving import open_desk
from jobs.pages.web_app import make_app
from reid.catalogue import known_rows, open_catalogue
from reid.config import load_config
from reid.identify.remarks import remarks
from tests.browser import CHROMIUM, Browser
from tests.jobs.made_up import at, photograph, stand_in

Reid = Callable[..., int]

RULES = ("identify.known_distance=0.05", "identify.new_distance=0.2")
ANGLES = {"a1": 0, "a2": 5, "a3": 10, "b1": 35, "b2": 40, "c1": 180}


@dataclass
class Served:
    """A server in this process, as a browser without scripts would speak to it."""

    base: str
    desk: Desk
    ids: dict[str, str]

    def page(self, name: str = "") -> str:
        with urllib.request.urlopen(self.base + name, timeout=30) as answer:
            return str(answer.read().decode())

    def act(self, what: str, token: str | None = None, **fields: Any) -> tuple[int, dict[str, Any]]:
        """The answer to an act: its status, and what it says."""
        if token is None:
            found = re.search(r'data-token="([^"]*)"', self.page())
            assert found is not None
            token = found[1]
        pairs = [(name, one) for name, value in {"reviewer": "Anna", **fields}.items()
                 for one in (value if isinstance(value, list) else [value])]  # fmt: skip
        request = urllib.request.Request(
            f"{self.base}act/{what}",
            urllib.parse.urlencode(pairs).encode(),
            {"X-Reid-Token": token},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return 200, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    @property
    def herd(self) -> set[str]:
        """The pictures of each individual, in letters."""
        names = {one: name for name, one in self.ids.items()}
        return {
            " ".join(sorted(names[one.annotation_id] for one in animal.pictures))
            for animal in self.desk.held().animals.values()
        }


def serve(desk: Desk, ids: dict[str, str]) -> Iterator[Served]:
    pages = ServedPages(desk, load_config(None).images, base="/token", effect="At once.")
    app = make_app(pages, "/token")
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(app)

    async def start() -> int:
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return int(runner.addresses[0][1])

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    port = asyncio.run_coroutine_threadsafe(start(), loop).result(30)
    yield Served(f"http://127.0.0.1:{port}/token/", desk, ids)
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(30)
    asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(30)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def herd(
    tmp_path: Path, reid: Reid, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, dict[str, str]]:
    """A catalogue of two individuals, 25 degrees (a distance of 0.09) apart, and a third far away."""
    stand_in(monkeypatch.setattr)
    ids = photograph(tmp_path / "uploads", {name: at(angle) for name, angle in ANGLES.items()})
    place = tmp_path / "catalogue"
    arguments = ("-i", tmp_path / "uploads", "-C", place, "--species", "lynx", *RULES)
    assert reid("identify", *arguments) == 0
    return place, ids


@pytest.fixture
def served(herd: tuple[Path, dict[str, str]]) -> Iterator[Served]:
    place, ids = herd
    yield from serve(open_desk(load_config(None), str(place), None), ids)


def test_who_has_not_the_address_sees_nothing_and_no_other_site_can_decide(served: Served) -> None:
    for wrong in ("", "other/", "toke/"):
        with pytest.raises(urllib.error.HTTPError, match="404") as caught:
            urllib.request.urlopen(served.base.replace("token/", wrong), timeout=30)
        caught.value.close()
    status, answer = served.act(
        "judge", "guessed", a=served.ids["a1"], b=served.ids["b1"], decision="match"
    )
    assert (status, answer["ok"]) == (403, False)
    assert served.herd == {"a1 a2 a3", "b1 b2", "c1"}
    with urllib.request.urlopen(served.base, timeout=30) as answer_page:
        headers = answer_page.headers
    assert headers["Referrer-Policy"] == "no-referrer", "the address holds the token"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]


def test_each_act_is_a_run_that_says_who_and_can_be_taken_back(served: Served, reid: Reid) -> None:
    ids = served.ids
    status, answer = served.act("merge", a=ids["a1"], b=ids["b1"])
    assert (status, answer["ok"]) == (200, True), answer
    assert "merged into lynx-" in answer["says"]
    assert served.herd == {"a1 a2 a3 b1 b2", "c1"}
    decisions = open_catalogue(str(served.desk._path)).decisions().to_pylist()  # type: ignore[attr-defined]
    assert [(one["decision"], one["reviewer"]) for one in decisions] == [("match", "Anna")]
    assert {decisions[0]["a_id"], decisions[0]["b_id"]} == {ids["a3"], ids["b1"]}, "the nearest two"
    everyone = [ids[one] for one in ("a1", "a2", "a3", "b1", "b2")]
    chosen = [ids["a2"], ids["a3"]]
    status, answer = served.act("apart", chosen=chosen, seen=everyone)
    assert answer["ok"], answer
    assert served.herd == {"a1", "a2 a3", "b1 b2", "c1"}, "what a3 held goes where it is nearest"
    run = served.desk.held().undoable
    assert run is not None
    assert "by Anna" in run.says
    assert served.act("undo", run=run.run_id)[0] == 200
    assert served.herd == {"a1 a2 a3 b1 b2", "c1"}
    status, answer = served.act("undo", run=run.run_id)
    assert (status, answer["says"]) == (409, answer["says"])
    assert "is undone already" in answer["says"]


def test_an_act_on_a_large_catalogue_looks_at_what_is_near(
    herd: tuple[Path, dict[str, str]], reid: Reid, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, ids = herd
    monkeypatch.setattr(known_rows, "FEWEST_ROWS", 1)
    assert reid("calibrate", "-C", place, *RULES) == 0  # looks at everything, and keeps it
    monkeypatch.setattr("jobs.catalogue.decider.whole_night", None)
    for served in serve(open_desk(load_config(None), str(place), None), ids):
        assert served.act("merge", a=ids["a1"], b=ids["b1"])[1]["ok"]
        assert served.herd == {"a1 a2 a3 b1 b2", "c1"}
        everyone = [ids[one] for one in ("a1", "a2", "a3", "b1", "b2")]
        assert served.act("apart", chosen=[ids["a2"], ids["a3"]], seen=everyone)[1]["ok"]
        assert served.herd == {"a1", "a2 a3", "b1 b2", "c1"}


def test_names_notes_sides_and_what_is_unusable(served: Served) -> None:
    ids = served.ids
    fields = {"picture": ids["a1"], "name": "Luna <b>", "sex": "female", "age": "adult", "note": ""}
    assert served.act("describe", **fields)[1]["ok"]
    status, answer = served.act("describe", **fields)
    assert (status, answer["says"]) == (409, "that is so already")
    held = served.desk.held()
    luna = held.animals[held.scene.owner[ids["a1"]]]
    assert (luna.name, luna.said["sex"].value, luna.said["sex"].reviewer) == (
        "Luna <b>",
        "female",
        "Anna",
    )
    page = served.page(f"animal?picture={ids['a1']}")
    assert "Luna &lt;b&gt;" in page
    assert "Luna <b>" not in page
    assert served.act("say", chosen=ids["c1"], kind="viewpoint", value="left")[1]["ok"]
    assert served.act("say", chosen=ids["c1"], kind="viewpoint", value="inside")[0] == 409
    assert served.act("say", chosen=ids["a2"], kind="unusable", value="yes")[1]["ok"]
    assert served.herd == {"a1 a3", "a2", "b1 b2", "c1"}, "it links nobody"
    assert "Unusable pictures" in served.page()
    assert served.act("say", chosen=ids["a2"], kind="unusable", value="")[1]["ok"]
    assert served.herd == {"a1 a2 a3", "b1 b2", "c1"}
    # By its new name another one is merged into it, and the name stays with its pictures.
    assert served.act("merge", a=ids["c1"], called="luna <B>")[1]["ok"]
    assert served.act("apart", chosen=ids["c1"], seen=list(ids.values()))[1]["ok"]
    held = served.desk.held()
    assert [one.name for one in held.animals.values() if one.name] == ["Luna <b>"]
    assert held.animals[held.scene.owner[ids["a1"]]].name == "Luna <b>"


def test_a_person_overrules_an_earlier_one_and_not_a_fact(served: Served) -> None:
    ids = served.ids
    assert served.act("judge", a=ids["a1"], b=ids["b2"], decision="nomatch", reviewer="Ben")[1][
        "ok"
    ]
    assert served.act("merge", a=ids["a1"], b=ids["b1"])[1]["ok"], "with Ben's pair said anew"
    assert served.herd == {"a1 a2 a3 b1 b2", "c1"}
    assert served.act("judge", a=ids["a1"], b=ids["b2"], decision="nomatch")[1]["ok"]
    status, answer = served.act("judge", a=ids["a1"], b=ids["a1"], decision="match")
    assert (status, answer["says"]) == (409, "a picture cannot be compared with itself")
    status, answer = served.act("judge", a=ids["a1"], b=ids["b1"], decision="match", reviewer=" ")
    assert answer["says"].startswith("say who you are first")
    status, answer = served.act("apart", chosen=[ids["c1"]], seen=[ids["c1"]])
    assert "not all: the others stay" in answer["says"]


def test_two_people_at_once_lose_nothing(served: Served) -> None:
    ids = served.ids
    pairs = [("a1", "a2"), ("a2", "a3"), ("b1", "b2"), ("a1", "c1")]
    answers: list[tuple[int, dict[str, Any]]] = []

    def judge(pair: tuple[str, str], who: str) -> None:
        a, b = (ids[one] for one in pair)
        answers.append(served.act("judge", a=a, b=b, decision="match", reviewer=who))

    threads = [
        threading.Thread(target=judge, args=(pair, f"person {k}")) for k, pair in enumerate(pairs)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert [status for status, _ in answers] == [200] * 4, answers
    assert len(served.desk.held().scene.decisions) == 4
    assert served.herd == {"a1 a2 a3 c1", "b1 b2"}


def test_pairs_leave_the_pile_when_they_are_judged(served: Served) -> None:
    page = served.page("review")
    found = re.search(r'data-a="([^"]*)" data-b="([^"]*)"', page)
    assert found is not None
    assert "could be either" in page or "very much alike" in page.lower(), (
        "no probability was learned"
    )
    assert served.act("judge", a=found[1], b=found[2], decision="unknown")[1]["ok"]
    assert f'data-a="{found[1]}" data-b="{found[2]}"' not in served.page("review")
    with pytest.raises(urllib.error.HTTPError, match="404") as caught:
        served.page("animal?picture=nobody")
    caught.value.close()


def test_what_another_process_decides_is_seen(
    served: Served, herd: tuple[Path, dict[str, str]], tmp_path: Path, reid: Reid
) -> None:
    before = served.desk.held().version
    file = tmp_path / "said.csv"
    file.write_text(
        "a_id,b_id,decision,reviewer,timestamp,note\n"
        f"{served.ids['a1']},{served.ids['c1']},match,eva,2026-01-01T10:00:00,\n"
    )
    assert reid("identify", "-C", herd[0], "--constraints", file) == 0
    assert json.loads(served.page("version"))["version"] != before
    assert served.herd == {"a1 a2 a3 c1", "b1 b2"}
    assert {*remarks(served.desk.held().scene.decisions)} == set()


def test_what_cannot_be_served_is_said(
    tmp_path: Path, reid: Reid, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reid("serve") == 1
    assert "give either --catalogue" in capsys.readouterr().err
    assert reid("serve", "-C", tmp_path, "--port", "70000") == 1
    assert "--port 70000: a port is a number" in capsys.readouterr().err
    assert reid("serve", "-C", tmp_path / "nowhere") == 1
    assert "there is no catalogue here" in " ".join(capsys.readouterr().err.split())


def test_only_some_pictures_are_asked_about(served: Served) -> None:
    page = served.page("review")
    assert "How many questions remain is not known" in page
    assert 'data-a="' in page
    who = served.desk.held().scene.owner
    first, far = who[served.ids["a1"]], who[served.ids["c1"]]
    assert 'data-a="' in served.page(f"review?individual={first}")
    nothing = served.page(f"review?individual={far}&from=")
    assert "No pair of these pictures is in doubt" in nothing
    assert f'value="{far}"' in nothing
    assert "No pair of these pictures" in served.page("review?from=2026-01-01")
    assert f"individual={first}&amp;skip=" in served.page(f"review?individual={first}")
    with pytest.raises(urllib.error.HTTPError, match="400") as caught:
        served.page("review?to=May")
    with caught.value as answer:
        assert "write a day like" in answer.read().decode()


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH")
def test_a_person_splits_renames_merges_and_takes_back(served: Served, tmp_path: Path) -> None:
    ids = served.ids
    with Browser(tmp_path / "browser") as browser:

        def reloaded(then: Callable[[], None]) -> None:
            browser.run("window.before = true")
            then()
            browser.wait("!window.before && document.readyState === 'complete'")

        browser.ask("Page.navigate", url=f"{served.base}animal?picture={ids['a1']}")
        browser.wait("document.readyState === 'complete' && location.protocol === 'http:'")
        browser.click(f".shot[data-picture='{ids['a3']}'] input")
        browser.click("[data-do=apart]")
        browser.wait("document.activeElement.id === 'reviewer'")
        assert "Say who you are" in browser.text("#flash")
        browser.type("Anna")
        reloaded(lambda: browser.click("[data-do=apart]"))
        assert "split from" in browser.text("#flash")
        assert served.herd == {"a1 a2", "a3", "b1 b2", "c1"} | set()
        assert browser.run("document.querySelectorAll('.shot').length") == 2

        browser.key("e")
        browser.type("Luna")
        reloaded(lambda: browser.click("#describe .main-button"))
        assert browser.text("h1") == "Luna"

        name = "[data-near] [data-judge=match]"
        reloaded(lambda: browser.click(name))
        assert "merged into" in browser.text("#flash")
        assert "a1 a2 a3" in served.herd
        assert "Anna" in browser.text("#undo small")
        reloaded(lambda: browser.key("z"))
        assert served.herd == {"a1 a2", "a3", "b1 b2", "c1"}
        browser.resize(390, 800)
        assert browser.run("document.documentElement.scrollWidth") == 390
        assert not [one for one in browser.complaints if "404" not in one], browser.complaints


def test_a_run_is_decided_on_in_place(
    tmp_path: Path, reid: Reid, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in(monkeypatch.setattr)
    ids = photograph(tmp_path / "uploads", {name: at(angle) for name, angle in ANGLES.items()})
    out = tmp_path / "results"
    run = (
        "run",
        "-i",
        tmp_path / "uploads",
        "-o",
        out,
        "--species",
        "lynx",
        "--store",
        tmp_path / "store",
    )
    settings = ("cluster.eps=0.05", "cluster.method=dbscan", "report.enabled=false")
    assert reid(*run, *settings, "--excel") == 0
    sheet = (out / outputs.IDENTITIES).read_bytes()
    serving = serve(open_desk(load_config(None), None, str(out)), ids)
    served = next(serving)
    assert served.herd == {"a1 a2 a3", "b1 b2", "c1"}
    assert served.act("merge", a=ids["a1"], b=ids["b1"])[1]["ok"]
    assert served.herd == {"a1 a2 a3 b1 b2", "c1"}
    summary = outputs.read_summary(str(out))["cluster"]
    assert (summary["individuals"], summary["singletons"]) == (2, 1), "a free number is nobody"
    decided = (out / outputs.IDENTITIES).read_bytes()
    assert decided != sheet
    assert {one[:3] for one in (sheet, decided)} == {codecs.BOM_UTF8}, "as the run was asked to"
    everyone = [*ids.values()]
    assert served.act("apart", chosen=ids["a2"], seen=everyone)[1]["ok"]
    assert served.act("describe", picture=ids["b1"], name="Luna")[1]["ok"]
    assert "Luna" in served.page()
    assert served.herd == {"a1 a3 b1 b2", "a2", "c1"}
    again = served.act("merge", a=ids["a2"], b=ids["a1"])
    assert again[1]["ok"], again
    assert served.herd == {"a1 a2 a3 b1 b2", "c1"}
    undoable = served.desk.held().undoable
    assert undoable is not None
    assert served.act("undo", run=undoable.run_id)[1]["ok"]
    assert served.herd == {"a1 a3 b1 b2", "a2", "c1"}
    assert 'data-a="' in served.page("review") or "Nothing more to judge" in served.page("review")
    # The next run of the folder keeps to it.
    assert reid("cluster", "-o", out, *settings[:2]) == 0
    assert outputs.read_summary(str(out))["cluster"]["individuals"] == 3
    assert served.herd == {"a1 a3 b1 b2", "a2", "c1"}
    next(serving, None)
