"""A run on the catalogue: decide, commit in one step, and again on top of whoever was faster."""

import secrets
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reid import optional, schema, store
from reid.catalogue import delta_tables, events
from reid.catalogue import reviewer_decisions as reviewed
from reid.catalogue.commit_records import FORMAT, Record, entries
from reid.catalogue.seals import log_digest, log_file, read_log, write_seal
from reid.catalogue.state import (
    Catalogue,
    annotations_path,
    decisions_digest,
    now,
    open_catalogue,
    write_settings,
)
from reid.errors import StorageError

ROW_SCHEMA = pa.schema([each for each in schema.CATALOGUE if each.name != "run_id"])
ROW_DECISIONS = ("known", "new", "unsure")


@dataclass(frozen=True)
class Change:
    """What a run wants to commit, all of it or nothing.

    Attributes:
        rows: schema.CATALOGUE without run_id; rows that are new or differ from the catalogue's
            (changed_rows picks them), all others stay as they are. An annotation keeps its species.
        events: schema.CHANGES, in the order that they are to be numbered.
        counters: species to the highest number given so far; species left out keep theirs.
        decisions: what read_decisions returns; those that the catalogue has are not added again.
        settings: JSON values that replace the catalogue's; None keeps them.
        counts: numbers to be remembered with the run.
        edges: parts of the neighbour graph that the run has found, as `write_edge_part` gives them.
        individuals: species to the individuals that there are then; species left out keep theirs.
        verdicts: species to its verdict, as JSON values; species left out keep theirs.
        was: schema.CATALOGUE, as stored, the rows of the catalogue that `rows` replace; None: not known, so
            that the rows of these species are read once more.
    """

    rows: pa.Table = field(default_factory=ROW_SCHEMA.empty_table)
    events: pa.Table = field(default_factory=schema.CHANGES.empty_table)
    counters: Mapping[str, int] = field(default_factory=dict)
    decisions: pa.Table | None = None
    settings: Mapping[str, Any] | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    edges: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    individuals: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    was: pa.Table | None = None


def new_run_id() -> str:
    """An id for a run: the time in UTC to the millisecond, and six random hex digits; sorts by time."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%dT%H%M%S}{now.microsecond // 1000:03}-{secrets.token_hex(3)}"


def update(
    catalogue: Catalogue,
    run_id: str,
    decide: Callable[[Catalogue], Change | None],
    *,
    attempts: int = 5,
) -> Catalogue:
    """Commit what `decide` makes of the catalogue; if it has moved on meanwhile, decide again.

    Args:
        catalogue: an open catalogue; `decide` gets the latest version of it.
        run_id: from new_run_id; the same for all rounds.
        decide: from a catalogue to the change; None if there is nothing to do. It is called once a
            round, each time with the catalogue as it then is, and must not change anything itself.
        attempts: rounds, at least 1.

    Returns:
        The catalogue with the change in it, or as it is where there was nothing to do.

    Raises:
        StorageError: storage failed, or another writer was faster in every round. Nothing of the
            run is in the catalogue then, or all of it: running again finds out.
        ValueError: the change breaks a rule of Change.
    """
    catalogue = open_catalogue(catalogue.path)
    events.publish(catalogue)  # those of a run that died before it could
    for _ in range(attempts):
        change = decide(catalogue)
        if change is None:
            return catalogue
        newer = _commit_change(catalogue, run_id, change)
        if newer is not None:
            return newer
        catalogue = open_catalogue(catalogue.path)
    raise StorageError(
        f"{catalogue.path}: another run committed first, {attempts} times in a row; nothing of run "
        f"{run_id} was written. Run it again when the others are done"
    )


def _commit_change(catalogue: Catalogue, run_id: str, change: Change) -> Catalogue | None:
    _check(catalogue, change)
    path, record = catalogue.path, catalogue.record
    settings, decisions = record.settings, record.decisions
    decision_digest = record.decision_digest
    if change.settings is not None:
        settings = write_settings(path, change.settings)
    if change.decisions is not None:
        stored = catalogue.decisions()
        fresh = reviewed.fresh(stored, change.decisions, run_id)
        if len(fresh):
            everything = pa.concat_tables([stored, fresh])
            decisions = reviewed.write_version(path, everything)
            decision_digest = decisions_digest(everything)
    following = replace(
        record,
        action="run",
        run_id=run_id,
        time=now(),
        counters={**record.counters, **change.counters},
        settings=settings,
        decisions=decisions,
        events=events.stage(path, run_id, change.events),
        counts=dict(change.counts),
        undoes=None,
        edges=dict(change.edges),
        event_digest=events.digest(change.events),
        decision_digest=decision_digest,
        individuals={**record.individuals, **change.individuals},
        verdicts={**record.verdicts, **change.verdicts},
    )
    stamped = rows_of_run(change.rows, run_id)
    touched = pc.unique(change.rows["species"]).to_pylist()
    return commit(
        catalogue,
        following,
        lambda table, props: _write(table, stamped, props),
        touched=touched,
        swapped=None if change.was is None else (change.was, stamped),
    )


def rows_of_run(rows: pa.Table, run_id: str) -> pa.Table:
    """schema.CATALOGUE, the rows of a `Change` as its run commits them."""
    stamp = pa.repeat(pa.scalar(run_id), len(rows))
    return rows.select(ROW_SCHEMA.names).append_column(schema.CATALOGUE.field("run_id"), stamp)


def commit(
    catalogue: Catalogue,
    record: Record,
    write: Callable[[Any, Any], object],
    *,
    touched: Iterable[str] | None = None,
    swapped: tuple[pa.Table, pa.Table] | None = None,
) -> Catalogue | None:
    """One commit on C/annotations on top of this version of the catalogue; then its events.

    Args:
        catalogue: what the commit is built on.
        record: to be carried; parent, token, log_before and format are filled in here.
        write: makes the commit, given a DeltaTable and the commit's properties.
        touched: species whose rows it writes; None: it may be any.
        swapped: rows that it takes away, and those that it puts there; None: not known. `write` then returns
            how many it has updated and inserted.

    Returns:
        The catalogue after the commit; None if another one got in between.

    Raises:
        StorageError: storage failed.
    """
    delta = optional.deltalake()
    folder = annotations_path(catalogue.path)
    record = replace(
        record,
        parent=catalogue.version,
        token=uuid.uuid4().hex,
        log_before=log_digest(folder, catalogue.version),
        format=FORMAT,
    )
    table = delta_tables.open_table(folder, catalogue.version)
    if table is None:
        raise StorageError(f"{folder}: the Delta table is gone")

    counts: list[object] = []

    def attempt() -> bool:
        """Commit; False: another commit came before."""
        try:
            counts[:] = [write(table, delta_tables.properties(record.metadata()))]
        except (delta.exceptions.DeltaError, OSError, pa.ArrowException):
            # A conflict, or storage that failed before or after the commit: the log knows which.
            latest = delta_tables.open_table(folder)
            if latest is None or latest.version() == catalogue.version:
                raise
            since = entries(folder, latest, after=catalogue.version)
            return any(entry.record.token == record.token for entry in since)
        return True

    try:
        landed = store.ask_again(folder, "commit", attempt, delta_tables.passes)
    except (delta.exceptions.DeltaError, OSError, pa.ArrowException) as error:
        raise StorageError(f"{folder}: cannot commit: {delta_tables.plain(error)}") from error
    if not landed:
        return None
    # It can be at no other place: a commit that others came before fails. To tidy up what is tidy
    # makes none, and somebody else's may be there meanwhile, which is not ours to seal.
    place = log_file(folder, catalogue.version + 1)
    if store.exists(place) and record.token.encode() in read_log(folder, catalogue.version + 1):
        if swapped is not None:
            less, more = (len(one) for one in swapped)
            if counts != [(less, more - less)]:  # the answer was lost, or these are not all rows
                swapped = None
        write_seal(catalogue.path, folder, catalogue.version + 1, catalogue.seal, touched, swapped)
    newer = open_catalogue(catalogue.path)
    events.publish(newer)
    return newer


def _write(table: Any, rows: pa.Table, properties: Any) -> tuple[int, int]:
    """Commit rows; how many were there already, and how many were not."""
    if not len(rows):  # a merge of nothing makes no commit
        table.create_write_transaction(
            [], "append", schema.CATALOGUE, ["species"], commit_properties=properties
        )
        return 0, 0
    # Only the files that hold a changed row are rewritten, and only those of its species are read: which these are
    # has to stand there, deltalake does not ask the rows for it.
    species = ", ".join(
        "'{}'".format(name.replace("'", "''")) for name in pc.unique(rows["species"]).to_pylist()
    )
    counts = (
        table.merge(
            rows.cast(schema.CATALOGUE),
            predicate=f"old.species IN ({species}) AND old.species = new.species "
            "AND old.annotation_id = new.annotation_id",
            source_alias="new",
            target_alias="old",
            # A catalogue may have been made before a column was.
            merge_schema=not delta_tables.column_names(table).issuperset(schema.CATALOGUE.names),
            commit_properties=properties,
        )
        .when_matched_update_all()
        .when_not_matched_insert_all()
        .execute()
    )
    return int(counts["num_target_rows_updated"]), int(counts["num_target_rows_inserted"])


def _check(catalogue: Catalogue, change: Change) -> None:
    missing = [name for name in ROW_SCHEMA.names if name not in change.rows.column_names]
    if missing:
        raise ValueError(f"rows lack the columns {missing}")
    repeated = len(change.rows) - len(pc.unique(change.rows["annotation_id"]))
    if repeated:
        raise ValueError(f"{repeated} rows repeat an annotation_id")
    for each in ROW_SCHEMA:
        if not each.nullable and change.rows[each.name].null_count:
            raise ValueError(f"{change.rows[each.name].null_count} rows have no {each.name}")
    wrong = set(pc.unique(change.rows["decision"]).to_pylist()) - set(ROW_DECISIONS)
    if wrong:
        raise ValueError(f"unknown decisions {sorted(map(str, wrong))}; known: {ROW_DECISIONS}")
    for species, highest in change.counters.items():
        if highest < catalogue.counters.get(species, 0):
            raise ValueError(
                f"the counter of {species} is {catalogue.counters[species]} and would fall to "
                f"{highest}; names would be given twice"
            )
