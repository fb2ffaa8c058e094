"""Fewer and larger files in a catalogue, and the files of former versions removed."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from reid import store
from reid.catalogue import delta_tables, events
from reid.catalogue.commits import commit
from reid.catalogue.state import Catalogue, annotations_path, now
from reid.errors import InputError, StorageError


def tidy(catalogue: Catalogue, *, keep_days: int = 30) -> Catalogue:
    """Join small files, then remove what only versions of more than `keep_days` ago need.

    What the catalogue holds stays as it is. A run whose predecessor ended earlier than that can no
    longer be undone, and versions that ended earlier can no longer be opened.

    Args:
        catalogue: an open catalogue.
        keep_days: at least 1: a run that is on its way has written files that nothing names yet.

    Raises:
        InputError: keep_days is below 1.
        StorageError: storage failed, or a run committed meanwhile.
    """
    if keep_days < 1:
        raise InputError(f"keep_days is {keep_days}; at least 1 is needed")
    events.publish(catalogue)
    record = replace(
        catalogue.record,
        action="tidy",
        run_id="tidy",
        time=now(),
        events=None,
        counts={},
        undoes=None,
        edges=None,
        event_digest=None,
    )
    newer = commit(
        catalogue,
        record,
        lambda table, props: table.optimize.compact(commit_properties=props),
        touched=(),
    )
    if newer is None:
        raise StorageError(
            f"{catalogue.path}: a run committed meanwhile; tidy up when none is on its way"
        )
    folder = annotations_path(catalogue.path)
    delta_tables.guarded(
        folder,
        "remove old files",
        lambda: newer.table.vacuum(
            retention_hours=24 * keep_days, dry_run=False, enforce_retention_duration=False
        ),
    )
    _remove_staged(catalogue.path, datetime.now(UTC) - timedelta(days=keep_days))
    return newer


def _remove_staged(path: str, before: datetime) -> None:
    """Staged events that were published, or whose run died, long ago."""
    folder = events.staged_folder(path)
    for path, (_, changed_ns) in store.list_states(folder).items():
        if changed_ns < before.timestamp() * 1e9:
            store.remove(path)
