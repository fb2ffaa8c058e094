"""The pages that `reid serve` shows, made anew of what a desk holds; and the pictures on them."""

import secrets
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from jobs.common.console import say
from jobs.common.days import parse_day
from jobs.pages.acts import SIDES, decisions_of, in_short
from jobs.pages.catalogue_desk import QUESTIONS, Desk, Held, Undoable
from jobs.pages.known import picture_of
from reid.book import Links, all_pictures, render_animal, render_index
from reid.book.pictures import webp
from reid.catalogue.state import called
from reid.config import Images
from reid.errors import InputError
from reid.report.html import encoded, json_for_script, render
from reid.review import Question, Within, answers_an_hour, best_questions, in_words, workload
from reid.review.review_page import KINDS, likeness, whose_likeness

SMALL_PX, LARGE_PX = 320, 1600
CACHE_BYTES = 128_000_000
TOLD = 4  # sentences on what an act did


@dataclass(frozen=True, slots=True)
class Acts:
    """What a page needs to know of what can be done on it.

    Attributes:
        base: address of the server's pages, without a last slash.
        csrf: goes with each act.
        version: of what the page shows.
        undoable: the latest act.
        effect: when a decision takes effect, in words.
    """

    base: str
    csrf: str
    version: str
    undoable: Undoable | None
    effect: str
    sides: Sequence[str] = SIDES


class PictureCache:
    """Pictures as they were sent, the latest used ones, up to CACHE_BYTES."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int, str], bytes] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, int, str], make: Callable[[], bytes]) -> bytes:
        """The picture of this key; made where it is not kept. May be called from several threads."""
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        made = make()
        if self._kept.setdefault(key, made) is made:
            self._bytes += len(made)
        while self._bytes > CACHE_BYTES and len(self._kept) > 1:
            self._bytes -= len(self._kept.popitem(last=False)[1])
        return made


class ServedPages:
    """Pages and acts of one server. A page that does not exist is None."""

    def __init__(self, desk: Desk, images: Images, *, base: str, effect: str) -> None:
        """Take what people decide on.

        Args:
            desk: a catalogue, or the results of a run.
            images: how pictures are read.
            base: address of the pages, without a last slash.
            effect: when a decision takes effect, in words.
        """
        self.desk = desk
        self.csrf = secrets.token_urlsafe(24)
        self._images, self._base, self._effect = images, base, effect
        self._cache = PictureCache()
        self._asked: tuple[str, list[Question], Sequence[str]] = ("", [], [])

    def index(self) -> bytes:
        """All individuals."""
        held = self.desk.held()
        links = self._links(held)
        return encoded(render_index(held.animals, links, held.origin, acts=self._acts(held)))

    def animal(self, picture: str) -> bytes | None:
        """The individual that holds a picture."""
        held = self.desk.held()
        if picture not in held.scene.owner:
            return None
        page = render_animal(
            held.animals[held.scene.owner[picture]],
            held.animals,
            all_pictures(held.animals),
            self._links(held),
            held.origin,
            acts=self._acts(held),
        )
        return encoded(page)

    def review(self, skipped: Sequence[str], limits: Mapping[str, str]) -> bytes:
        """The pair that is most worth a look, of those that were not left for later.

        Args:
            skipped: those that were.
            limits: `place`, `from`, `to` and `individual`, as people filled them in.

        Raises:
            InputError: a day is none.
        """
        held = self.desk.held()
        limits = {name: value.strip() for name, value in limits.items()}
        asked, progressed = self._in_doubt(held, limits)
        later = {*skipped}
        waiting = [one for one in asked if _key(one) not in later]
        question = next(iter(waiting), None)
        links = self._links(held)
        places = sorted({one for one in held.frame["location_id"] if isinstance(one, str)})
        page = render(
            "serve_review.html",
            acts=self._acts(held),
            links=links,
            origin=held.origin,
            question=question and _as_shown(question, held),
            waiting=len(waiting),
            skipped=list(skipped),
            limits=limits,
            limited=_query(limits),
            places=places,
            called=sorted({one.called for one in held.animals.values()}),
            progressed=progressed,
            key=question and _key(question),
            content=json_for_script(_about_pair(question, held, links)),
        )
        return encoded(page)

    def _in_doubt(
        self, held: Held, limits: Mapping[str, str]
    ) -> tuple[list[Question], Sequence[str]]:
        """The questions within limits, most worth first, and how much is left to do, in words."""
        key = f"{held.version} {_query(limits)}"
        if self._asked[0] != key:
            place, name = limits["place"], limits["individual"]
            ids = [
                one.identity_id for one in held.animals.values() if name in (one.called, one.name)
            ]
            within = Within(
                places=(place,) if place else (),
                start=parse_day(limits["from"] or None, "from"),
                end=parse_day(limits["to"] or None, "to"),
                individuals=(name, *ids) if name else (),
            )
            doubts = self.desk.asked(within)
            rate = answers_an_hour(held.scene.decisions)
            self._asked = (
                key,
                best_questions(doubts, QUESTIONS),
                in_words(workload(doubts), rate),
            )
        return self._asked[1:]

    def act(self, name: str, form: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """Do what somebody asked for; what to say, and where to go on.

        Raises:
            InputError: it cannot be done, with the reason; nothing was changed.
            StorageError: storage failed.
        """
        if name == "undo":
            runs = form.get("run") or ()
            if not runs:
                raise InputError("the field run is missing")
            self.desk.undo(runs[0])
            return {"ok": True, "says": "Taken back."}
        decisions = decisions_of(name, form, self.desk.held().scene)
        told = self.desk.decide(decisions, name)
        say(f"act: {in_short(name, decisions)}")
        held = self.desk.held()
        about = [one for field in ("picture", "chosen", "a") for one in form.get(field, ())]
        owner = next((held.scene.owner[one] for one in about if one in held.scene.owner), None)
        return {
            "ok": True,
            "says": "; ".join(told[:TOLD]) or "Kept.",
            "to": None if owner is None else self._address(held, owner),
        }

    def picture(self, annotation_id: str, px: int) -> bytes | None:
        """A picture as WebP, in one of the two sizes.

        Raises:
            OSError: or another of `reid.report.thumbnails.UNREADABLE`: it cannot be read.
        """
        held = self.desk.kept()
        if annotation_id not in held.scene.owner or px not in (SMALL_PX, LARGE_PX):
            return None
        row = held.frame[held.frame["annotation_id"] == annotation_id]
        key = (annotation_id, px, str(row["source_key"].iloc[0]))
        read = picture_of(self._images, row, px)
        return self._cache.get(key, lambda: webp(read(annotation_id), px))

    def _acts(self, held: Held) -> Acts:
        return Acts(self._base, self.csrf, held.version, held.undoable, self._effect)

    def _address(self, held: Held, identity_id: str) -> str:
        # By a picture: what an individual is called may change while somebody looks at it.
        profile = held.animals[identity_id].profile.annotation_id
        return f"{self._base}/animal?{urlencode({'picture': profile})}"

    def _links(self, held: Held) -> Links:
        def picture(px: int) -> Callable[[str], str]:
            return lambda one: f"{self._base}/picture?px={px}&id={quote(one, safe='')}"

        return Links(
            home=f"{self._base}/",
            animal=lambda one: self._address(held, one),
            small=picture(SMALL_PX),
            large=picture(LARGE_PX),
            pictures_from="'self'",
            served=True,
        )


def _query(limits: Mapping[str, str]) -> str:
    """Those that were filled in, as they stand in an address."""
    return urlencode({name: value for name, value in limits.items() if value})


def _key(question: Question) -> str:
    return f"{question.a.annotation_id} {question.b.annotation_id}"


def _as_shown(question: Question, held: Held) -> dict[str, Any]:
    names = {one.identity_id: one.name for one in held.animals.values() if one.name}
    return {
        "title": KINDS[question.kind],
        "why": question.why,
        "likeness": likeness(question),
        "whose_likeness": whose_likeness(question),
        "distance": question.distance,
        "if_match": question.if_match,
        "if_nomatch": question.if_nomatch,
        "sides": [
            {
                "id": side.annotation_id,
                "called": called(side.identity_id, names),
                "images": side.images,
                "others": side.others,
            }
            for side in (question.a, question.b)
        ],
    }


def _about_pair(question: Question | None, held: Held, links: Links) -> dict[str, dict[str, str]]:
    if question is None:
        return {}
    pictures = all_pictures(held.animals)
    ids = [name for side in (question.a, question.b) for name in (side.annotation_id, *side.others)]
    return {
        name: {
            "src": links.large(name),
            "path": picture.path,
            "words": picture.told_of(owner.called),
        }
        for name in ids
        for picture, owner in [pictures[name]]
    }
