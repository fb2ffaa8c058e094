"""A catalogue between the nights: `reid history`, `undo` and `tidy`."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.catalogue.sentences import images, in_words
from jobs.common.console import print_result, printable, say
from jobs.common.verdicts import sentences_of, stored_verdicts
from reid import store
from reid.catalogue import (
    Catalogue,
    Run,
    called_so,
    history,
    join_edge_parts,
    names_of_individuals,
    new_run_id,
    open_catalogue,
    read_events,
    tidy,
    undo,
)
from reid.errors import InputError

PER_RUN = 5  # changes shown below each run, unless one run is asked for


def show_history(
    path: str | None, *, run: str | None = None, identity: str | None = None, most: int = 20
) -> None:
    """What each run did, newest first; or all that one run did, or the history of one individual.

    Raises:
        InputError: there is no such catalogue, run or individual.
    """
    catalogue = open_catalogue(catalogue_place(path))
    runs, events = history(catalogue), read_events(catalogue)
    if run is not None:
        runs = [one for one in runs if one.run_id == run]
        if not runs:
            raise InputError(f"{catalogue.path}: there is no run {run}; see `reid history`")
    labelled = catalogue.rows(["annotation_id", "identity_id", "identity"])
    names = names_of_individuals(labelled, catalogue.decisions())
    if identity is not None:
        about = _about(events, {identity, *called_so(labelled, names, identity)})
        if not len(about):
            raise InputError(f"{catalogue.path}: {_nobody(identity, events, labelled, names)}")
        events = about
    by_run: dict[str, list[dict[str, Any]]] = {}
    for event in events.to_pylist():
        by_run.setdefault(event["run_id"], []).append(event)
    if identity is not None:
        runs = [one for one in runs if one.run_id in by_run]
    pictures = picture_names(catalogue, events)
    everything = run is not None or identity is not None
    for one in runs[:most]:
        print(printable(_headline(one)))  # noqa: T201  to stdout: this is the result
        for sentence in _told(by_run.get(one.run_id, []), pictures, names, everything):
            print(printable(f"  {sentence}"))  # noqa: T201
    if not everything:
        for sentence in sentences_of(stored_verdicts(catalogue)):
            print(printable(f"verdict: {sentence}"))  # noqa: T201
    if len(runs) > most:
        say(f"and {len(runs) - most} older ones: --last {len(runs)}")


def undo_run(path: str | None, run_id: str) -> None:
    """Take the latest run back.

    Raises:
        InputError: it is not the latest that holds; the message names those that come first.
    """
    catalogue = open_catalogue(catalogue_place(path))
    undo_id = new_run_id()
    newer = undo(catalogue, run_id, undo_id)
    gone = len(catalogue.rows(["annotation_id"])) - len(newer.rows(["annotation_id"]))
    say(
        f"undo: {newer.path} is as it was before run {run_id}, {gone:,} images fewer; names that it gave "
        f"are not given again. Version {newer.version}"
    )
    print_result(undo_id)


def tidy_up(path: str | None, *, keep_days: int) -> None:
    """Join small files and remove those that only former versions need.

    Raises:
        InputError: there is no such catalogue, or keep_days is below 1.
    """
    newer = tidy(open_catalogue(catalogue_place(path)), keep_days=keep_days)
    gone = join_edge_parts(newer, before=datetime.now(UTC) - timedelta(days=keep_days))
    say(
        f"tidy: {newer.path} is in as few files as it needs; {gone:,} parts of its graph were joined or "
        f"belonged to nobody. Runs that are older than {keep_days} days can no longer be undone"
    )


def catalogue_place(path: str | None) -> str:
    """The catalogue's path, absolute where it is local.

    Raises:
        InputError: none was given.
    """
    if path is None:
        raise InputError(
            "no catalogue: give --catalogue a folder, or a place like s3://bucket/lynx"
        )
    # Workers on this machine have another working directory.
    return path if store.is_remote(path) else store.filesystem(path)[1]


def picture_names(catalogue: Catalogue, events: pa.Table) -> dict[str, str]:
    """annotation_id → image_path of the pictures that events name and the catalogue has."""
    return pictures_among(catalogue.rows(["annotation_id", "image_path"]), events)


def pictures_among(rows: pa.Table, events: pa.Table) -> dict[str, str]:
    """As `picture_names`, of rows at hand."""
    ids = pa.chunked_array(events["a_id"].chunks + events["b_id"].chunks, pa.string())
    if ids.null_count == len(ids):
        return {}
    named = pc.is_in(rows["annotation_id"], pc.unique(ids).drop_null())
    rows = rows.select(["annotation_id", "image_path"]).filter(named)
    return dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def remarkable(events: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Events that are more than an image of somebody; those that changed nobody come last."""
    shown = [event for event in events if event["event"] not in ("new", "extend")]
    return sorted(shown, key=lambda event: event["event"] == "confirm")


def _about(events: pa.Table, identities: Collection[str]) -> pa.Table:
    own = pc.is_in(events["identity_id"], pa.array(sorted(identities), pa.string()))
    others = [
        not {*identities}.isdisjoint(names or []) for names in events["other_ids"].to_pylist()
    ]
    return events.filter(pc.or_(pc.fill_null(own, False), pa.array(others, pa.bool_())))


def _nobody(name: str, events: pa.Table, rows: pa.Table, names: Mapping[str, str]) -> str:
    known = {
        *pc.unique(events["identity_id"]).to_pylist(),
        *pc.unique(rows["identity"]).to_pylist(),
        *names.values(),
    }
    near = difflib.get_close_matches(name, sorted(known - {None}), n=3)
    return f"no individual is or was called {name}" + (
        f"; did you mean {', '.join(near)}?" if near else ""
    )


def _headline(run: Run) -> str:
    parts = [f"{images(run.rows_added)} added"] if run.rows_added else []
    counts = [
        f"{run.counts[name]:,} {name}"
        for name in ("known", "new", "unsure")
        if run.counts.get(name)
    ]
    if counts:
        parts.append(f"({', '.join(counts)})")
    if run.undoes is not None:
        parts = [f"undo of {run.undoes}"]
    if run.undone_by is not None:
        parts.append(f"– undone by {run.undone_by}")
    return f"{run.run_id}  {run.time[:16].replace('T', ' ')} UTC  {' '.join(parts)}".rstrip()


def _told(
    events: list[dict[str, Any]],
    pictures: Mapping[str, str],
    names: Mapping[str, str],
    everything: bool,
) -> list[str]:
    if everything:
        return [in_words(event, pictures, names) for event in events]
    new, extended = (sum(event["event"] == kind for event in events) for kind in ("new", "extend"))
    lines = []
    if new or extended:
        lines.append(f"individuals that appeared: {new:,}; that were seen again: {extended:,}")
    rest = remarkable(events)
    lines += [in_words(event, pictures, names) for event in rest[:PER_RUN]]
    if len(rest) > PER_RUN:
        lines.append(f"… and {len(rest) - PER_RUN} more: --run {events[0]['run_id']}")
    return lines
