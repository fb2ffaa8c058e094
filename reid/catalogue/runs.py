"""The runs of a catalogue, and taking the latest of them back."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from reid import schema
from reid.catalogue import delta_tables, events
from reid.catalogue import reviewer_decisions as reviewed
from reid.catalogue.commit_records import entries, head
from reid.catalogue.commits import commit
from reid.catalogue.state import (
    Catalogue,
    annotations_path,
    now,
    open_catalogue,
    read_decisions_version,
)
from reid.errors import InputError, StorageError


@dataclass(frozen=True)
class Run:
    """A run or an undo.

    Attributes:
        run_id: its id.
        action: run | undo.
        time: of the commit, ISO 8601, UTC.
        version: of C/annotations that it made.
        parent: the version that it was built on.
        rows_added, rows_changed: annotations.
        counts: what the run wanted to be remembered.
        undoes: for an undo, the run that it took back.
        undone_by: the undo that took this run back; None while it holds.
        edges: parts of the neighbour graph that it has found, see Record; None: it was not noted.
    """

    run_id: str
    action: str
    time: str
    version: int
    parent: int
    rows_added: int
    rows_changed: int
    counts: Mapping[str, int]
    undoes: str | None
    undone_by: str | None
    edges: Mapping[str, tuple[int, str]] | None = None


def history(catalogue: Catalogue) -> list[Run]:
    """Every run up to the catalogue's version, newest first. What they did is in read_events().

    Raises:
        StorageError: storage cannot be read.
    """
    runs: list[Run] = []
    undone: dict[str, str] = {}
    for entry in entries(annotations_path(catalogue.path), catalogue.table):
        record = entry.record
        if record.action not in ("run", "undo"):
            continue
        if record.undoes is not None:
            undone[record.undoes] = record.run_id
        runs.append(
            Run(
                run_id=record.run_id,
                action=record.action,
                time=record.time,
                version=entry.version,
                parent=record.parent,
                rows_added=entry.rows_added,
                rows_changed=entry.rows_changed,
                counts=record.counts,
                undoes=record.undoes,
                undone_by=undone.get(record.run_id),
                edges=record.edges,
            )
        )
    return runs


def undo(catalogue: Catalogue, run_id: str, undo_id: str, *, attempts: int = 5) -> Catalogue:
    """The catalogue as before a run, as a new commit and an event; counters stay where they are.

    Rows, identities, settings and the decisions that the run brought in go back. Only the latest
    run that holds can be undone, as later ones were built on it: undo those first.

    Args:
        catalogue: an open catalogue.
        run_id: the run to take back.
        undo_id: id of the undo, from new_run_id.
        attempts: rounds, if others commit meanwhile.

    Raises:
        InputError: there is no such run, it is undone already, later runs hold, or the files of
            the time before it have been removed.
        StorageError: storage failed, or others were faster in every round.
    """
    events.publish(catalogue)
    for _ in range(attempts):
        newer = _undo_once(catalogue, _latest(catalogue, run_id), undo_id)
        if newer is not None:
            return newer
        catalogue = open_catalogue(catalogue.path)
    raise StorageError(
        f"{catalogue.path}: another run committed first, {attempts} times in a row; nothing was "
        "undone. Run it again when the others are done"
    )


def _latest(catalogue: Catalogue, run_id: str) -> Run:
    """The run, if it is the latest that holds."""
    runs = [run for run in history(catalogue) if run.action == "run"]
    holding = [run for run in runs if run.undone_by is None]
    for run in runs:
        if run.run_id != run_id:
            continue
        if run.undone_by is not None:
            raise InputError(f"run {run_id} is undone already, by {run.undone_by}")
        later = [other.run_id for other in holding[: holding.index(run)]]
        if later:
            raise InputError(
                f"run {run_id} cannot be undone while {len(later)} later runs build on it; undo "
                f"these first, in this order: {', '.join(later)}"
            )
        return run
    known = ", ".join(run.run_id for run in holding[:5]) or "none"
    raise InputError(f"{catalogue.path}: there is no run {run_id}; the latest runs are: {known}")


def _undo_once(catalogue: Catalogue, run: Run, undo_id: str) -> Catalogue | None:
    path = catalogue.path
    folder = annotations_path(path)
    before = delta_tables.open_table(folder, run.parent)
    old = head(folder, before).record
    decisions = old.decisions
    if decisions != catalogue.record.decisions:
        # Written anew, so that who reads the table directly sees the decisions that hold.
        held = read_decisions_version(path, old.decisions, old.decision_digest)
        decisions = reviewed.write_version(path, held)
    written = pc.equal(catalogue.rows(["run_id"])["run_id"], run.run_id)
    changes = pa.Table.from_pylist(
        [
            {
                "event": "undo",
                "reason": f"run {run.run_id} was undone",
                "rows": pc.sum(written).as_py() or 0,
            }
        ],
        schema=schema.CHANGES,
    )
    record = replace(
        old,
        action="undo",
        run_id=undo_id,
        time=now(),
        counters=catalogue.counters,  # a name that was given once is never given again
        decisions=decisions,
        events=events.stage(path, undo_id, changes),
        counts={},
        undoes=run.run_id,
        edges=None,
        event_digest=events.digest(changes),
    )
    try:
        return commit(
            catalogue,
            record,
            lambda table, props: table.restore(run.parent, commit_properties=props),
        )
    except StorageError as error:
        if "missing file" not in str(error):
            raise
        raise InputError(
            f"run {run.run_id} cannot be undone: the files of version {run.parent}, before it, "
            f"were removed when the catalogue was tidied up ({error})"
        ) from error
