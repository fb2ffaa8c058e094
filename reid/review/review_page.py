"""The page on which a person answers; it needs no server, no network and no other file."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import IO, Any

import pandas as pd
from markupsafe import Markup

from reid.catalogue import called
from reid.catalogue.reviewer_decisions import COLUMNS
from reid.errors import InputError
from reid.report.data import Thumbnail
from reid.report.html import encoded, json_for_script, render, write_page
from reid.report.pair_evidence import PairEvidence
from reid.report.thumbnails import MIME, Thumbnails, encode_thumbnails
from reid.review.questions import Question

BUDGET_BYTES = 30_000_000
LARGE_PX = (800, 640, 512, 400, 320)
SMALL_PX = (144, 112, 96)
LARGE_SHARE = 0.75  # of the room, for the two images of each pair
SLACK_BYTES = 8_000  # the sentences on what had no room or could not be read
ALIKE = (
    0.7  # of the way from the distance beyond which two are two to that up to which they are one
)
FACTS = ("viewpoint", "timestamp", "location_id", "encounter_id", "identity")

# No user text can look like this: `<` is escaped everywhere in the page.
PICTURES_GO_HERE = "<!--pictures-->"

KINDS = {
    "new": "New, or somebody we know?",
    "near": "Two individuals, or one?",
    "bridge": "One individual, or two?",
    "margin": "The right individual?",
}


def likeness(question: Question) -> str:
    """How likely it is that both are one: a probability where labels taught one, else a word."""
    if question.calibrated:
        share = 100 * question.probability
        return f"{share:.1f} %" if share > 99 or share < 1 else f"{share:.0f} %"
    if question.probability >= ALIKE:
        return "very much alike"
    return "could be either" if question.probability > 1 - ALIKE else "not much alike"


def whose_likeness(question: Question) -> str:
    """What `likeness` is: a probability is of the animals, a word only the model's."""
    return "Same individual" if question.calibrated else "To the model"


@dataclass(frozen=True, slots=True)
class Written:
    """What came out.

    Attributes:
        bytes: size of the page.
        questions: that are on it.
        pictures: that are on it, large and small.
        large_px: longer side of the large ones, at most.
        unreadable: annotation id → why its picture could not be read.
        left_out: sentences on what the page does without.
    """

    bytes: int
    questions: int
    pictures: int
    large_px: int
    unreadable: Mapping[str, str]
    left_out: Sequence[str]


def shown_ids(asked: Sequence[Question]) -> list[str]:
    """Ids of the annotations that the page shows, those of the pairs first."""
    large = [side.annotation_id for one in asked for side in (one.a, one.b)]
    small = [other for one in asked for side in (one.a, one.b) for other in side.others]
    return list(dict.fromkeys([*large, *small]))


def write_review(
    path: str | os.PathLike[str] | IO[bytes],
    asked: Sequence[Question],
    rows: pd.DataFrame,
    picture: Callable[[str], Thumbnail],
    *,
    catalogue: str,
    version: int,
    key: str,
    command: str,
    names: Mapping[str, str] | None = None,
    progressed: Sequence[str] = (),
    doubted: bool = False,
    evidence: Mapping[tuple[str, str], PairEvidence] | None = None,
    guard: bool = True,
    budget_bytes: int = BUDGET_BYTES,
) -> Written:
    """Write the page. All text is untrusted and escaped.

    What does not fit into `budget_bytes` is left out in a fixed order: pictures get smaller, then
    the last pairs go; the page says so.

    Args:
        path: local file, replaced in one step; or a binary file-like object that is written to.
        asked: at least one question, most worth first.
        rows: image_path and FACTS (which may be null) of the annotations that are shown, by
            annotation_id in the index.
        picture: gives the picture of an annotation: a PIL image, the bytes of an image file, or
            None. It is called from several threads, and what it raises for a bad image is counted,
            not passed on.
        catalogue: its name, for the reader.
        version: of the catalogue.
        key: equal for pages whose decisions belong together; the browser keeps them under it.
        command: what to run with the CSV.
        names: identity_id → what people call the individual.
        progressed: sentences on how much is left to do, of `reid.review.in_words`.
        doubted: the verdict on the model is `not usable`, which a reader should know before its words.
        evidence: ids of a question's a and b → the points that the two share, to be drawn, and what
            speaks for and against, where somebody looked.
        guard: no cell of the CSV shall be a formula to a spreadsheet (`reid.spreadsheet`).
        budget_bytes: hard limit on the size of the page.

    Raises:
        InputError: no question, or a budget in which no pair has room.
    """
    if not asked:
        raise InputError("review: there is nothing to ask, so there is no page to write")
    about = {
        "catalogue": catalogue,
        "version": version,
        "key": key,
        "command": command,
        "guard": guard,
        "doubted": doubted,
    }
    evidence = evidence or {}
    bare = len(
        encoded(_render(asked, _content(asked, rows, about, names, evidence), [], progressed))
    )
    bare += SLACK_BYTES
    room = budget_bytes - bare
    large_ids = list(dict.fromkeys(s.annotation_id for one in asked for s in (one.a, one.b)))
    large = _encode(picture, large_ids, max(0, int(room * LARGE_SHARE)), LARGE_PX)
    no_room = _without_room(large, large_ids)
    kept = [one for one in asked if not {one.a.annotation_id, one.b.annotation_id} & no_room]
    if not kept:
        raise InputError(
            f"review: budget of {budget_bytes:,} bytes; the page of {len(asked):,} pairs takes "
            f"{bare:,} without a picture: allow more (report.max_megabytes), or ask for fewer pairs"
        )
    small_ids = [one for one in shown_ids(kept) if one not in set(large_ids)]
    used = sum(len(text) + 3 for text in large.base64_by_row.values())
    small = _encode(picture, small_ids, max(0, room - used), SMALL_PX)
    pictures = {large_ids[k]: text for k, text in large.base64_by_row.items()}
    pictures |= {small_ids[k]: text for k, text in small.base64_by_row.items()}
    unreadable = {large_ids[k]: why for k, why in large.unreadable.items()}
    unreadable |= {small_ids[k]: why for k, why in small.unreadable.items()}
    left_out = _left_out(len(asked) - len(kept), small.no_room, unreadable, rows)
    content = _content(kept, rows, about, names, evidence, pictures)
    head, tail = _render(kept, content, left_out, progressed).split(PICTURES_GO_HERE)
    packed = json.dumps(list(pictures.values()), separators=(",", ":"))
    page = encoded(head + packed + tail)
    write_page(path, page)
    return Written(len(page), len(kept), len(pictures), large.side_px, unreadable, left_out)


def _encode(
    picture: Callable[[str], Thumbnail], ids: Sequence[str], room: int, sides_px: Sequence[int]
) -> Thumbnails:
    return encode_thumbnails(
        lambda row: picture(ids[row]), range(len(ids)), room, sides_px=sides_px
    )


def _without_room(done: Thumbnails, ids: Sequence[str]) -> set[str]:
    return {
        one
        for row, one in enumerate(ids)
        if row not in done.base64_by_row and row not in done.unreadable
    }


def _content(
    asked: Sequence[Question],
    rows: pd.DataFrame,
    about: Mapping[str, Any],
    names: Mapping[str, str] | None,
    evidence: Mapping[tuple[str, str], PairEvidence],
    pictures: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the script reads. Without `pictures`, with the widest numbers that they could have."""
    ids = shown_ids(asked)
    places = {one: place for place, one in enumerate(ids)}
    numbers = (
        dict.fromkeys(ids, 10 * len(ids))
        if pictures is None
        else {one: number for number, one in enumerate(pictures)}
    )
    shown = rows.loc[ids]
    facts = [
        {name: str(value) for name, value in row.items() if not pd.isna(value)}
        for row in shown[list(FACTS)].to_dict("records")
    ]
    return {
        **about,
        "columns": list(COLUMNS),
        "mime": MIME,
        "rows": {
            "id": ids,
            "path": [str(path) for path in shown["image_path"]],
            "picture": [numbers.get(one, -1) for one in ids],
            "facts": facts,
        },
        "questions": [
            {
                **asdict(one),
                "title": KINDS[one.kind],
                "likeness": likeness(one),
                "whose_likeness": whose_likeness(one),
                "evidence": seen.as_dict() if (seen := evidence.get(_ends(one))) else None,
                **{
                    name: {
                        "row": places[side.annotation_id],
                        "identity": called(side.identity_id, names),
                        "images": side.images,
                        "others": [places[other] for other in side.others],
                    }
                    for name, side in (("a", one.a), ("b", one.b))
                },
            }
            for one in asked
        ],
    }


def _ends(question: Question) -> tuple[str, str]:
    return question.a.annotation_id, question.b.annotation_id


def _render(
    asked: Sequence[Question],
    content: dict[str, Any],
    left_out: Sequence[str],
    progressed: Sequence[str],
) -> str:
    return render(
        "review.html",
        asked=asked,
        species=sorted({one.species for one in asked}),
        about=content,
        left_out=left_out,
        progressed=progressed,
        matched=any(one["evidence"] for one in content["questions"]),
        content=json_for_script(content),
        pictures_go_here=Markup(PICTURES_GO_HERE),  # noqa: S704 our own words
    )


def _left_out(
    pairs: int, small: int, unreadable: Mapping[str, str], rows: pd.DataFrame
) -> list[str]:
    left_out = []
    if pairs:
        left_out.append(
            f"{pairs:,} pairs that are worth less than these, to keep this page small. They come "
            "next time, when these are decided."
        )
    if small:
        left_out.append(f"{small:,} of the small pictures, to keep this page small.")
    if unreadable:
        one, why = next(iter(unreadable.items()))
        left_out.append(
            f"{len(unreadable):,} pictures that could not be read; the first: "
            f"{rows['image_path'][one]}: {why[:400]}"
        )
    return left_out
