"""What a commit on C/annotations carries beside the rows: its record, in the commit's metadata."""

import dataclasses
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from reid.catalogue.seals import log_file, read_log
from reid.errors import InputError
from reid.parquet import damaged
from reid.value_digests import text_digest, value_digest

# What is written as this is read by versions of this software that know this number or a higher one.
# 2: unsure rows are stored without a confidence, and the individuals of each species are counted.
# 3: the verdict on each species is remembered.
# 4: seals hold sums of rows.
FORMAT = 4
KEY = "reid"  # in the commit's metadata
DIGEST = "reid_digest"  # of the record behind KEY
_READERS = 16


@dataclass(frozen=True)
class Record:
    """What holds from a commit on.

    Attributes:
        action: create | run | undo | tidy.
        run_id: who committed.
        parent: the version that it was built on; −1 for the first.
        time: ISO 8601, UTC.
        token: made anew for each attempt to commit, so that an attempt whose answer got lost on the
            way can be found again.
        counters: species to the highest number given to an identity so far. They never fall.
        settings: name of the settings in force; None before any are given.
        decisions: version of C/decisions in force; None before any are given.
        events: name of the staged events; None where there are none.
        counts: what the run wants to be remembered: images seen, failed, ….
        undoes: for an undo, the run that it took back.
        edges: parts of the neighbour graph that the run has found: path below C/edges → rows, and a
            digest of what they hold; None before this was noted.
        event_digest, decision_digest: of the events named here, and of all decisions in force.
        log_before: digest of the log file of the version before.
        individuals: species to the individuals that there are; those that no run has looked at since
            format 1 are not in it.
        verdicts: species to the verdict of the run that looked at it last (`reid.verdict.Verdict`, as
            JSON values).
        format: see FORMAT.
    """

    action: str
    run_id: str
    parent: int
    time: str
    token: str
    counters: Mapping[str, int] = field(default_factory=dict)
    settings: str | None = None
    decisions: int | None = None
    events: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    undoes: str | None = None
    edges: Mapping[str, tuple[int, str]] | None = None
    event_digest: str | None = None
    decision_digest: str | None = None
    log_before: str | None = None
    individuals: Mapping[str, int] = field(default_factory=dict)
    verdicts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    format: int = 1

    def metadata(self) -> dict[str, Any]:
        """As the commit's metadata."""
        plain = json.loads(json.dumps(dataclasses.asdict(self)))
        return {KEY: plain, DIGEST: value_digest(plain)}


@dataclass(frozen=True)
class Entry:
    """A commit on C/annotations that carries a record."""

    version: int
    record: Record
    rows_added: int
    rows_changed: int


def entries(path: str, table: Any, *, after: int = -1) -> list[Entry]:
    """Commits that carry a record, behind version `after` up to the table's, newest first.

    Commits of other tools, which carry none, are left out.

    Raises:
        DamagedError: a file of the log is gone, or is not what was committed.
        StorageError: storage cannot be read.
    """
    versions = range(table.version(), after, -1)
    with ThreadPoolExecutor(_READERS) as pool:  # years of nights on object storage
        logs = list(pool.map(lambda version: read_log(path, version), versions))
    found = [_entry(path, version, log) for version, log in zip(versions, logs, strict=True)]
    # Each commit vouches for the one before it; the latest has a seal.
    for entry, older, log in zip(found, versions[1:], logs[1:], strict=False):
        digest = entry.record.log_before if entry else None
        if digest is not None and digest != text_digest(log):
            raise damaged(log_file(path, older), "not the log that was committed")
    return [entry for entry in found if entry is not None]


def _entry(path: str, version: int, log: bytes) -> Entry | None:
    # deltalake's history() numbers commits from the log's end, wrongly for any but the latest
    # version; one file of the log is one commit.
    for line in log.splitlines():
        if b"commitInfo" not in line:
            continue
        try:
            commit = json.loads(line).get("commitInfo") or {}
            if KEY not in commit:
                continue
            if commit.get(DIGEST) not in (None, value_digest(commit[KEY])):
                raise ValueError("the record is not what was committed")
            made = commit[KEY].get("format", 1)
            if made > FORMAT:
                raise InputError(
                    f"{path}: this catalogue is of format {made}, and this version of reid reads formats up to "
                    f"{FORMAT}; install the version that wrote it, or a later one"
                )
            metrics = commit.get("operationMetrics") or {}
            return Entry(
                version=version,
                record=Record(**commit[KEY]),
                rows_added=int(metrics.get("num_target_rows_inserted") or 0),
                rows_changed=int(metrics.get("num_target_rows_updated") or 0),
            )
        except InputError:
            raise
        except (ValueError, TypeError, AttributeError) as error:
            raise damaged(log_file(path, version), str(error)) from error
    return None


def head(path: str, table: Any) -> Entry:
    """The latest commit up to the table's version that carries a record.

    Raises:
        InputError: none does; this table is not a catalogue's.
        DamagedError: the log was damaged.
    """
    for version in range(table.version(), -1, -1):  # nearly always the first
        entry = _entry(path, version, read_log(path, version))
        if entry is not None:
            return entry
    raise InputError(
        f"{path}: this Delta table was not made by `reid identify`; give another folder"
    )
