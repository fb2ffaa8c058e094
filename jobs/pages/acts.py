"""What people do on the pages, as decisions: about pairs of pictures, or about one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pyarrow as pa

from reid.book import Animal
from reid.catalogue.reviewer_decisions import IMPORT_SCHEMA, KINDS
from reid.errors import InputError
from reid.identify.constraints import latest_decisions
from reid.identify.remarks import OF_INDIVIDUALS, REMARKS, remarks

MOST_ROWS = 20_000  # decisions of one act
MOST_LETTERS = 2_000
SIDES = ("left", "right", "front", "back", "up", "down")


@dataclass(frozen=True, slots=True)
class Scene:
    """What an act is about.

    Attributes:
        animals: identity_id → individual, as they are now.
        owner: annotation_id → identity_id.
        decisions: schema.DECISIONS, all of them.
    """

    animals: Mapping[str, Animal]
    owner: Mapping[str, str]
    decisions: pa.Table


def decisions_of(act: str, form: Mapping[str, Sequence[str]], scene: Scene) -> pa.Table:
    """The decisions (IMPORT_SCHEMA) that an act stands for.

    Args:
        act: judge, apart, move, merge, confirm, describe, or say.
        form: field → values, as a browser sends them: reviewer, and those of the act.
        scene: what it is about.

    Raises:
        InputError: something is missing, not known, or more than one act may decide.
    """
    reviewer = _one(form, "reviewer").strip()
    if not reviewer:
        raise InputError("say who you are first: your name goes with each decision")
    known = {
        "judge": _judge, "apart": _apart, "move": _move, "merge": _merge, "confirm": _confirm,
        "describe": _describe, "say": _say_of_pictures,
    }  # fmt: skip
    if act not in known:
        raise InputError(f"unknown act {act!r}; known: {', '.join(known)}")
    said = known[act](form, scene)
    if not said:
        raise InputError("that is so already")
    if len(said) > MOST_ROWS:
        raise InputError(
            f"that would be {len(said):,} decisions on pairs, and {MOST_ROWS:,} are allowed at once: choose fewer pictures"
        )
    moment = datetime.now(UTC)
    rows = [
        {
            "a_id": min(a, b), "b_id": max(a, b), "decision": what, "reviewer": reviewer[:200],
            "timestamp": moment, "note": note,
        }
        for (a, b, what), note in said.items()
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=IMPORT_SCHEMA)


Said = dict[tuple[str, str, str], str | None]


def _judge(form: Mapping[str, Sequence[str]], scene: Scene) -> Said:
    a, b = sorted(_pictures(form, scene, name)[0] for name in ("a", "b"))
    what = _one(form, "decision")
    if what not in KINDS:
        raise InputError(f"decision {what!r}; known: {', '.join(KINDS)}")
    if a == b:
        raise InputError("a picture cannot be compared with itself")
    return {(a, b, what): _text(form, "note")}


def _apart(form: Mapping[str, Sequence[str]], scene: Scene) -> Said:
    """The chosen pictures are not this individual; `together`: they are another one, all of them."""
    chosen = _pictures(form, scene, "chosen")
    who = {scene.owner[one] for one in chosen}
    if len(who) > 1:
        raise InputError("the chosen pictures belong to several individuals; reload the page")
    # What came to the individual since the page was made has nobody chosen or left.
    seen = [
        one for one in form.get("seen", ()) if scene.owner.get(one) in who and one not in chosen
    ]
    if not seen:
        raise InputError("choose some of its pictures, not all: the others stay")
    together = _one(form, "together", "1") == "1"
    said: Said = {}
    for one in chosen[:1] if together else chosen:
        said |= {(*_pair(one, other), "nomatch"): None for other in seen}
    said |= _overruled(scene, chosen, seen, "match", "nomatch")
    if together:
        said |= {(*_pair(a, b), "match"): None for a, b in pairwise(chosen)}
        said |= _overruled(scene, chosen, chosen, "nomatch", "match")
    return said


def _move(form: Mapping[str, Sequence[str]], scene: Scene) -> Said:
    """The chosen pictures are the individual of picture `to`."""
    target = _pictures(form, scene, "to")[0]
    chosen = _pictures(form, scene, "chosen")
    if scene.owner[target] in {scene.owner[one] for one in chosen}:
        raise InputError("these pictures are of that individual already")
    theirs = [one.annotation_id for one in scene.animals[scene.owner[target]].pictures]
    joins: Said = {(*_pair(chosen[0], target), "match"): None}
    joins |= _overruled(scene, chosen, theirs, "nomatch", "match")
    own = scene.animals[scene.owner[chosen[0]]].pictures
    if all(one.annotation_id in chosen for one in own):
        return joins | {(*_pair(a, b), "match"): None for a, b in pairwise(chosen)}
    return _apart({**form, "together": ["1"]}, scene) | joins


def _merge(form: Mapping[str, Sequence[str]], scene: Scene) -> Said:
    """Two individuals are one: by a picture of each, or by what the other is called."""
    a = _pictures(form, scene, "a")[0]
    called = _one(form, "called", "").strip()
    b = _called(called, scene) if called else _pictures(form, scene, "b")[0]
    one, other = (scene.animals[scene.owner[each]] for each in (a, b))
    if one is other:
        raise InputError(f"that is {one.called} itself")
    if one.species != other.species:
        raise InputError(f"{one.called} and {other.called} are of two species")
    near = next((near for near in one.near if near.identity_id == other.identity_id), None)
    pair = (a, b) if near is None else (near.own, near.other)
    said: Said = {(*_pair(*pair), "match"): None}
    theirs, own = ([each.annotation_id for each in animal.pictures] for animal in (one, other))
    return said | _overruled(scene, theirs, own, "nomatch", "match")


def _confirm(form: Mapping[str, Sequence[str]], scene: Scene) -> Said:
    """The chosen pictures are one animal; one alone: it is that of its individual's profile."""
    chosen = _pictures(form, scene, "chosen")
    if len(chosen) == 1:
        own = scene.animals[scene.owner[chosen[0]]]
        others = [one.annotation_id for one in own.pictures if one.annotation_id != chosen[0]]
        if not others:
            raise InputError(
                "this is the only picture of its individual: there is nothing to confirm"
            )
        profile = own.profile.annotation_id
        chosen = [*chosen, profile if profile in others else others[0]]
    return {(*_pair(a, b), "match"): None for a, b in pairwise(chosen)}


def _describe(form: Mapping[str, Sequence[str]], scene: Scene) -> Said:
    """Name, sex, age and note of an individual; an empty field takes back what was said."""
    own = scene.animals[scene.owner[_pictures(form, scene, "picture")[0]]]
    before = remarks(scene.decisions)
    said: Said = {}
    for kind in OF_INDIVIDUALS:
        if kind not in form:
            continue
        value = _text(form, kind)
        holders = [
            one.annotation_id for one in own.pictures if kind in before.get(one.annotation_id, {})
        ]
        now = " / ".join(sorted({str(before[one][kind].value) for one in holders}))
        if (value or "") == now or (kind == "name" and not holders and (value or "") == own.name):
            continue
        anchor = holders[0] if holders else own.profile.annotation_id
        said |= {(one, one, kind): None for one in holders}
        said[anchor, anchor, kind] = value
    return said


def _say_of_pictures(form: Mapping[str, Sequence[str]], scene: Scene) -> Said:
    """Something about each of the chosen pictures; no value takes back what was said."""
    kind = _one(form, "kind")
    if kind not in REMARKS or kind in OF_INDIVIDUALS:
        raise InputError(f"nothing called {kind!r} can be said of a picture")
    value = _text(form, "value")
    if kind == "viewpoint" and value is not None and value not in SIDES:
        raise InputError(f"side {value!r}; known: {', '.join(SIDES)}")
    chosen = _pictures(form, scene, "chosen")
    if kind == "profile" and len(chosen) > 1:
        raise InputError("choose one picture: a profile is one")
    before = remarks(scene.decisions)
    return {
        (one, one, kind): value
        for one in chosen
        if value is not None or kind in before.get(one, {})
    }


def _overruled(scene: Scene, one: Sequence[str], other: Sequence[str], was: str, now: str) -> Said:
    """Earlier decisions between two groups of pictures that this act contradicts: said anew."""
    here, there = set(one), set(other)
    latest = latest_decisions(scene.decisions)
    columns = (latest[name].to_pylist() for name in ("a_id", "b_id", "decision"))
    return {
        (a, b, now): None
        for a, b, what in zip(*columns, strict=True)
        if what == was and ((a in here and b in there) or (b in here and a in there))
    }


def _called(words: str, scene: Scene) -> str:
    wanted = words.casefold()
    found = [
        one
        for one in scene.animals.values()
        if wanted in (one.identity_id.casefold(), one.name.casefold(), one.called.casefold())
    ]
    if len(found) != 1:
        some = ", ".join(one.identity_id for one in found[:5])
        raise InputError(
            f"{len(found)} individuals are called {words} ({some}): give the id"
            if found
            else f"no individual is called {words}"
        )
    return found[0].profile.annotation_id


def _pair(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _one(form: Mapping[str, Sequence[str]], name: str, default: str | None = None) -> str:
    values = form.get(name) or ()
    if not values:
        if default is None:
            raise InputError(f"the field {name} is missing")
        return default
    return values[0]


def _text(form: Mapping[str, Sequence[str]], name: str) -> str | None:
    return _one(form, name, "").strip()[:MOST_LETTERS] or None


def _pictures(form: Mapping[str, Sequence[str]], scene: Scene, name: str) -> list[str]:
    chosen = list(dict.fromkeys(form.get(name, ())))
    if not chosen:
        raise InputError("choose a picture first")
    strangers = [one for one in chosen if one not in scene.owner]
    if strangers:
        raise InputError(f"there is no picture {strangers[0]} here any more; reload the page")
    return chosen


def in_short(act: str, decisions: pa.Table) -> str:
    """What was done, for who comes next: `Anna: 2 nomatch, 1 match`."""
    kinds = decisions["decision"].to_pylist()
    said = ", ".join(f"{kinds.count(kind):,} {kind}" for kind in dict.fromkeys(kinds))
    who: Any = decisions["reviewer"][0].as_py()
    return f"{who}: {act} ({said})"
