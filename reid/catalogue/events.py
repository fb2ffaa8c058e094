"""Events: what each run did to the identities.

They are staged as a file before the commit, which names it, and appended to C/events after it. If
the run dies in between, whoever writes next appends them, and readers see them meanwhile. Each
append says in the same atomic step up to which version of C/annotations it has gone, so that
nothing is appended twice.
"""

import uuid
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import optional, schema, store
from reid.catalogue import delta_tables
from reid.catalogue.commit_records import Entry, entries
from reid.catalogue.state import Catalogue, annotations_path
from reid.errors import DamagedError, StorageError
from reid.value_digests import whole_digest

_PUBLISHER = "reid-annotations"  # the number behind it: a version of C/annotations
_ATTEMPTS = 10


def stage(path: str, run_id: str, changes: pa.Table) -> str | None:
    """Write a run's events to where only its commit will point; their name, None for no events.

    Args:
        path: of the catalogue.
        run_id: of the run.
        changes: schema.CHANGES, in the order they are to be numbered.
    """
    if not len(changes):
        return None
    name = f"{run_id}-{uuid.uuid4().hex[:8]}.parquet"
    rows = changes.select(schema.CHANGES.names).cast(schema.CHANGES)
    store.write_table(store.join(staged_folder(path), name), rows)
    return name


def digest(changes: pa.Table) -> str | None:
    """A digest of a run's events (schema.CHANGES), in their order; None for no events."""
    if not len(changes):
        return None
    return whole_digest(changes.select(schema.CHANGES.names).cast(schema.CHANGES))


def staged_folder(path: str) -> str:
    """C/staged."""
    return store.join(path, "staged")


def read_events(catalogue: Catalogue) -> pa.Table:
    """Every event up to the catalogue's version: schema.EVENTS, in the order they happened.

    Raises:
        DamagedError: events that were committed are gone, or say something else.
        StorageError: storage cannot be read.
    """
    folder = events_path(catalogue.path)
    table = delta_tables.open_table(folder)
    found = [schema.EVENTS.empty_table()]
    published = _published_up_to(folder, table)
    if table is not None:
        found.append(delta_tables.read(folder, table, schema.EVENTS))
        _check_published(catalogue, folder, found[-1], published)
    waiting = _unpublished(catalogue, published)
    whole = pa.concat_tables([*found, *(_staged(catalogue.path, entry) for entry in waiting)])
    whole = whole.filter(pc.less_equal(whole["version"], catalogue.version))
    return whole.sort_by([("version", "ascending"), ("number", "ascending")])


def publish(catalogue: Catalogue) -> int:
    """Append to C/events what is staged up to the catalogue's version and was not appended yet.

    Returns:
        Events appended.

    Raises:
        StorageError: storage cannot be written, or others are faster again and again.
    """
    delta = optional.deltalake()
    folder = events_path(catalogue.path)
    appended = 0
    failure = ""
    for _ in range(_ATTEMPTS):
        table = delta_tables.open_table(folder) or delta_tables.create_table(folder, schema.EVENTS)
        # The append fails if anybody appended behind the version that this list was made from.
        waiting = list(_unpublished(catalogue, _published_up_to(folder, table)))
        if not waiting:
            return appended
        rows = pa.concat_tables([_staged(catalogue.path, entry) for entry in waiting])
        try:
            delta.write_deltalake(
                table,
                rows,
                mode="append",
                commit_properties=delta_tables.properties(
                    transaction=(_PUBLISHER, waiting[-1].version)
                ),
            )
        except (delta.exceptions.DeltaError, OSError) as error:
            # Somebody else's append, or one of ours whose answer got lost: look again.
            failure = delta_tables.plain(error)
            continue
        appended += len(rows)
    raise StorageError(f"{folder}: {_ATTEMPTS} attempts to append events failed: {failure}")


def events_path(path: str) -> str:
    """C/events."""
    return store.join(path, "events")


def _check_published(catalogue: Catalogue, folder: str, rows: pa.Table, published: int) -> None:
    """Is what lies in C/events what the commits say that they brought?"""
    rows = rows.sort_by([("version", "ascending"), ("number", "ascending")])
    versions = rows["version"].to_numpy()
    checked = 0
    for entry in entries(annotations_path(catalogue.path), catalogue.table):
        record = entry.record
        start, end = np.searchsorted(versions, [entry.version, entry.version + 1])
        own = rows[start:end]
        checked += len(own)
        expected = record.event_digest if entry.version <= published else None
        if record.events is not None and entry.version <= published and expected is None:
            continue  # of before digests were noted
        changes = own.select(schema.CHANGES.names)
        if digest(changes) != expected or not own.equals(_stamped(entry, changes)):
            raise DamagedError(
                f"{folder}: the events of run {record.run_id} are not those that were committed: a file is "
                "gone or damaged; restore the folder from a copy"
            )
    # Later commits may be there by now; what belongs to none is damage.
    if checked != int((versions <= catalogue.version).sum()):
        raise DamagedError(
            f"{folder}: holds events that no run has brought; restore the folder from a copy"
        )


def _published_up_to(folder: str, table: object | None) -> int:
    if table is None:
        return -1
    version = delta_tables.guarded(folder, "read", lambda: table.transaction_version(_PUBLISHER))  # type: ignore[attr-defined]
    return -1 if version is None else int(version)


def _unpublished(catalogue: Catalogue, published: int) -> list[Entry]:
    """Commits behind version `published` that have staged events, oldest first."""
    if catalogue.version <= published:
        return []
    found = entries(annotations_path(catalogue.path), catalogue.table, after=published)
    return [entry for entry in reversed(found) if entry.record.events is not None]


def _staged(path: str, entry: Entry) -> pa.Table:
    """The events that a commit names, stamped with it."""
    file = store.join(staged_folder(path), str(entry.record.events))
    try:
        changes = store.read_table(file)
    except FileNotFoundError as error:
        raise DamagedError(
            f"{file}: the events of run {entry.record.run_id} are gone; restore this file"
        ) from error
    if entry.record.event_digest not in (None, digest(changes)):
        raise DamagedError(
            f"{file}: not the events of run {entry.record.run_id}; restore this file"
        )
    return _stamped(entry, changes)


def _stamped(entry: Entry, changes: pa.Table) -> pa.Table:
    """Events (schema.EVENTS) of a commit."""
    count = len(changes)
    moment = pa.scalar(datetime.fromisoformat(entry.record.time), pa.timestamp("us", "UTC"))
    return pa.table(
        [
            pa.repeat(pa.scalar(entry.version, pa.int64()), count),
            pa.array(np.arange(count, dtype=np.int32)),
            pa.repeat(pa.scalar(entry.record.run_id), count),
            pa.repeat(moment, count),
            *changes.columns,
        ],
        schema=schema.EVENTS,
    )
