"""`reid review`: the pairs most worth a look, as one page on which a person decides."""

import io
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NoReturn

import pyarrow as pa
import pyarrow.compute as pc
from PIL import Image

from jobs.catalogue.admin import catalogue_place
from jobs.common.console import print_result, progress, say
from jobs.common.pictures import crops
from jobs.common.reviewable import Reviewable
from jobs.common.verdicts import is_doubted, stored_verdicts
from reid import schema, store
from reid.catalogue import (
    called_so,
    names_of_individuals,
    open_catalogue,
    read_graph,
    read_rules,
)
from reid.config import Config
from reid.errors import InputError
from reid.report.pair_evidence import PairEvidence
from reid.review import (
    ERROR_SHARE,
    EVERYWHERE,
    Asked,
    Question,
    Within,
    Written,
    answers_an_hour,
    ask,
    best_questions,
    in_words,
    shown_ids,
    workload,
    write_review,
)
from reid.review.review_page import LARGE_PX
from reid.spelling import did_you_mean, list_a_few

COLUMNS = (
    "annotation_id", "image_path", "root", "bbox", "bbox_unit", "identity", "encounter_id", "viewpoint",
    "timestamp", "location_id",
)  # fmt: skip


# Annotations (schema.ANNOTATIONS) and pairs of their ids → what the pages draw and say of them.
Look = Callable[[pa.Table, Sequence[tuple[str, str]]], Mapping[tuple[str, str], PairEvidence]]


def review(
    config: Config,
    out: str,
    about: Reviewable,
    *,
    species: str | None = None,
    limit: int = 200,
    within: Within = EVERYWHERE,
    error: float = ERROR_SHARE,
    look: Look | None = None,
) -> None:
    """Write the page, or say that there is nothing to ask.

    Args:
        config: the resolved configuration.
        out: the page, .html.
        about: what is asked about.
        look: a closer look at the pairs that are asked about; None: there is none.
        species: to ask about; by default all.
        limit: pairs at most.
        within: which pictures are asked about.
        error: share of images with the wrong individual at which people may stop.

    Raises:
        InputError: there is no such species, place or individual, or a page in so few bytes is not possible.
        StorageError: storage failed.
    """
    started = time.perf_counter()
    doubts = _ask(about, species, limit, within)
    asked = best_questions(doubts, limit)
    progressed = in_words(workload(doubts, error), answers_an_hour(about.decisions))
    if not asked:
        whom = f" about {species}" if species else ""
        whom += " within these limits" if within.limits else ""
        say(
            f"nothing to review{whom}: no pair in {about.described} is in doubt that nobody has judged. No "
            "page was written"
        )
        return
    stream = io.BytesIO()
    written = _write(config, about, asked, progressed, stream, look)
    store.write_bytes(out, stream.getvalue())
    kinds = Counter(one.kind for one in asked[: written.questions])
    said = ", ".join(
        f"{kinds[kind]:,} {words[kinds[kind] > 1]}" for kind, words in _KINDS.items() if kinds[kind]
    )
    say(
        f"review: {written.questions:,} pair{'s' if written.questions > 1 else ''} ({said}) with {written.pictures:,} pictures, "
        f"{written.bytes / 1e6:.1f} MB ({time.perf_counter() - started:.1f} s)"
    )
    for sentence in progressed:
        say(f"review: {sentence}")
    for sentence in written.left_out:
        say(f"note: left out: {sentence}")
    say(f"Open the page in a browser, decide, press Download; then: {about.command}")
    print_result(out)


_KINDS = {
    "new": ("individual seen once, near another", "individuals seen once, near another"),
    "near": ("pair of individuals near each other", "pairs of individuals near each other"),
    "bridge": ("weak bridge", "weak bridges"),
    "margin": ("link with a low margin", "links with a low margin"),
}


def reviewable_catalogue(path: str | None) -> Reviewable:
    """A catalogue, to be asked about.

    Raises:
        InputError: there is none.
    """
    catalogue = open_catalogue(catalogue_place(path))
    place, decisions = catalogue.path, catalogue.decisions()
    return Reviewable(
        place=place,
        described=f"version {catalogue.version} of {place}",
        version=catalogue.version,
        key=f"{place}@{catalogue.version}-{catalogue.record.token}",
        command=f"reid identify --catalogue {shlex.quote(place)} --constraints constraints.csv",
        species=sorted(read_rules(catalogue)),
        graph=lambda name: read_graph(catalogue, name),
        decisions=decisions,
        table=lambda names: catalogue.rows([*schema.ANNOTATIONS.names, "identity_id"], names),
        names=lambda rows: names_of_individuals(rows, decisions),
        doubted=is_doubted(stored_verdicts(catalogue)),
    )


def _ask(about: Reviewable, species: str | None, limit: int, within: Within) -> list[Asked]:
    known = about.species
    if species is not None and species not in known:
        raise InputError(
            f"--species {species}: {about.place} has no such species; known: "
            f"{', '.join(known) or 'none yet'}"
        )
    names = known if species is None else [species]
    if within.limits:
        _check_there(within, about, names)
    asked: list[Asked] = []
    with progress("pairs worth a look", len(names), "species") as advance:
        for name in names:
            asked.append(ask(about.graph(name), about.decisions, limit=limit, within=within))
            advance(1, name)
    return asked


def _check_there(within: Within, about: Reviewable, species: Sequence[str]) -> None:
    """Refuse places and individuals that no picture has."""
    rows = about.table(species)
    names = about.names(rows)
    places = {one for one in pc.unique(rows["location_id"]).to_pylist() if one is not None}
    there = {*pc.unique(rows["identity_id"]).to_pylist()}
    for place in within.places:
        if place not in places:
            _refuse("--place", place, places)
    for one in within.individuals:
        if one not in there and not called_so(rows, names, one):
            _refuse("--individual", one, {*there, *names.values()})


def _refuse(option: str, name: str, known: Collection[str]) -> NoReturn:
    near = did_you_mean(name, known)
    meant = f"; did you mean {near}?" if near else f"; known: {list_a_few(sorted(known))}"
    raise InputError(f"{option} {name}: no picture is of that{meant}")


def _write(
    config: Config,
    about: Reviewable,
    asked: Sequence[Question],
    progressed: Sequence[str],
    stream: io.BytesIO,
    look: Look | None,
) -> Written:
    ids = shown_ids(asked)
    table = about.table(sorted({one.species for one in asked}))
    pairs = [(one.a.annotation_id, one.b.annotation_id) for one in asked]
    evidence: Mapping[tuple[str, str], PairEvidence] = {}
    if look is not None:
        ends = pa.array(sorted({name for pair in pairs for name in pair}), pa.string())
        asked_about = table.filter(pc.is_in(table["annotation_id"], ends))
        evidence = look(asked_about.select(schema.ANNOTATIONS.names), pairs)
    rows = table.select(COLUMNS).to_pandas()
    rows = rows.set_index("annotation_id").loc[ids]
    read = crops(config.images, rows, LARGE_PX[0] // 2)
    places = {one: place for place, one in enumerate(ids)}
    lock, seen = threading.Lock(), set[str]()
    with progress("pictures", len(ids), "pictures") as advance:

        def picture(annotation_id: str) -> Image.Image:
            with lock:
                if annotation_id not in seen:  # the first few are read twice
                    seen.add(annotation_id)
                    advance(1)
            return read(places[annotation_id])

        return write_review(
            stream,
            asked,
            rows,
            picture,
            catalogue=about.place,
            version=about.version,
            key=about.key,
            command=about.command,
            names=about.names(table),
            progressed=progressed,
            doubted=about.doubted,
            evidence=evidence,
            guard=config.guard_formulas,
            budget_bytes=int(config.report.max_megabytes * 1e6),
        )
