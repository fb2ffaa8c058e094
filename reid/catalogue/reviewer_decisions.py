"""What reviewers decided about pairs of annotations, or one: constraints.csv, read, checked and merged."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from reid import optional, schema, store
from reid.catalogue import delta_tables
from reid.catalogue.state import decisions_path
from reid.errors import InputError, StorageError
from reid.identify.remarks import REMARKS
from reid.sources.delimited import read_delimited
from reid.spreadsheet import unguard

COLUMNS = ("a_id", "b_id", "decision", "reviewer", "timestamp", "note")
KINDS = ("match", "nomatch", "unknown")  # of pairs; REMARKS are of one picture
IMPORT_SCHEMA = pa.schema([field for field in schema.DECISIONS if field.name != "run_id"])

_ATTEMPTS = 10
_SHOWN = 10  # examples in a message


def read_decisions(path: str, notes: list[str] | None = None) -> pa.Table:
    """Read a constraints.csv: `a_id, b_id, decision, reviewer, timestamp, note`.

    Args:
        path: file or URI, a strict CSV with a header; columns in any order, `note` may be missing.
            decision is match, nomatch or unknown; timestamp is ISO 8601, in UTC where it names no
            zone. Lines that say the same are read once. What is said of one picture (REMARKS) has b_id
            empty, or a_id again, and its value as note.
        notes: is told what a reader should know of the file.

    Returns:
        schema.DECISIONS without run_id, a_id < b_id.

    Raises:
        InputError: the file is not there, or a line cannot be used; every such line is counted,
            the first are shown.
    """
    try:
        table = read_delimited(store.read_bytes(path), known=COLUMNS)
    except FileNotFoundError as error:
        raise InputError(f"{path}: there is no such file") from error
    except OSError as error:
        raise StorageError(f"{path}: cannot read: {error}") from error
    except InputError as error:
        raise InputError(f"{path}: {error}; no decision of this file was taken in") from error
    if notes is not None:
        notes += [f"{path}: {note}" for note in table.notes]
    places = {name.strip().lower(): place for place, name in enumerate(table.header)}
    missing = [name for name in COLUMNS[:-1] if name not in places]
    if missing:
        raise InputError(
            f"{path}: the header lacks {', '.join(missing)}; it has {', '.join(table.header) or 'nothing'}"
        )
    cells = {
        name: [unguard(cell) for cell in table.columns[places[name]].to_pylist()]
        for name in COLUMNS
        if name in places
    }
    rows: dict[tuple[object, ...], dict[str, object]] = {}
    wrong = [f"line {line}: {why}" for line, why, _ in table.broken]
    for place, number in enumerate(table.lines.tolist()):
        try:
            row = _parsed({name: column[place] for name, column in cells.items()})
        except ValueError as error:
            wrong.append(f"line {number}: {error}")
            continue
        rows.setdefault(tuple(row[name] for name in COLUMNS[:-1]), row)
    if wrong:
        raise InputError(_listed(f"{path}: {len(wrong)} lines cannot be used", wrong))
    return pa.Table.from_pylist(list(rows.values()), schema=IMPORT_SCHEMA)


def _parsed(line: Mapping[str, str]) -> dict[str, object]:
    values = {name: line.get(name, "").strip() for name in COLUMNS}
    of_one = values["decision"] in REMARKS
    first, second = sorted((values["a_id"], values["b_id"] or (of_one and values["a_id"]) or ""))
    if not first:
        raise ValueError("a_id or b_id is empty")
    if of_one and first != second:
        raise ValueError(f"{values['decision']} is said of one picture: leave b_id empty")
    if first == second and not of_one:
        raise ValueError(f"a_id and b_id are both {first}")
    if values["decision"] not in (*KINDS, *REMARKS):
        known = ", ".join((*KINDS, *REMARKS))
        raise ValueError(f"decision is {values['decision']!r}; known: {known}")
    if not values["reviewer"]:
        raise ValueError("reviewer is empty")
    try:
        moment = datetime.fromisoformat(values["timestamp"])
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            f"timestamp is {values['timestamp']!r}; write it like 2026-05-31T14:05:00Z"
        ) from None
    return {
        **values,
        "a_id": first,
        "b_id": second,
        "timestamp": moment,
        "note": values["note"] or None,
    }


def check_known(decisions: pa.Table, annotation_ids: pa.Array | pa.ChunkedArray) -> None:
    """Refuse decisions about annotations that nobody knows.

    Args:
        decisions: columns a_id, b_id.
        annotation_ids: those of the catalogue and of this run.

    Raises:
        InputError: with the ids that are not known.
    """
    named = pa.chunked_array(decisions["a_id"].chunks + decisions["b_id"].chunks, pa.string())
    named = pc.unique(named)
    strangers = named.filter(pc.invert(pc.is_in(named, value_set=annotation_ids)))
    if len(strangers):
        raise InputError(
            _listed(
                f"{len(strangers)} annotation ids in the decisions are not in the catalogue; "
                "nothing was changed. Take these lines out, or add their images first",
                sorted(strangers.to_pylist()),
            )
        )


def check_matches(decisions: pa.Table, annotations: pa.Table) -> None:
    """Refuse matches between species, which are never compared: no run could keep to them.

    Args:
        decisions: columns a_id, b_id, decision.
        annotations: columns annotation_id and species, of all that the decisions name.

    Raises:
        InputError: with the pairs and their species.
    """
    columns = (annotations[name].to_pylist() for name in ("annotation_id", "species"))
    species = dict(zip(*columns, strict=True))
    wrong = [
        f"{a} ({species[a]}) and {b} ({species[b]})"
        for a, b, decision in zip(
            *(decisions[name].to_pylist() for name in ("a_id", "b_id", "decision")), strict=True
        )
        if decision == "match" and species[a] != species[b]
    ]
    if wrong:
        raise InputError(
            _listed(
                f"{len(wrong)} matches join two species; nothing was changed. Take these lines out, "
                "or undo the run that brought an image under the wrong species",
                wrong,
            )
        )


def fresh(stored: pa.Table, incoming: pa.Table, run_id: str) -> pa.Table:
    """The incoming decisions that are not stored yet, each once, as schema.DECISIONS.

    Raises:
        InputError: two decisions on one pair have one timestamp and disagree, so that neither
            supersedes the other.
    """
    keys = set(zip(*(stored[name].to_pylist() for name in COLUMNS[:-1]), strict=True))
    rows = []
    for row in incoming.to_pylist():
        key = tuple(row[name] for name in COLUMNS[:-1])
        if key not in keys:
            keys.add(key)
            rows.append({**row, "run_id": run_id})
    added = pa.Table.from_pylist(rows, schema=schema.DECISIONS)
    _refuse_ties(pa.concat_tables([stored, added]))
    return added


def _refuse_ties(decisions: pa.Table) -> None:
    # Of one picture several things may be said at once, of each kind one.
    of_one = pc.equal(decisions["a_id"], decisions["b_id"])
    kind = pc.if_else(of_one, decisions["decision"], "")
    said = pc.if_else(
        of_one, pc.coalesce(decisions["note"], pa.scalar("nothing")), decisions["decision"]
    )
    groups = (
        decisions.append_column("kind", kind)
        .append_column("said", said)
        .group_by(["a_id", "b_id", "timestamp", "kind"])
        .aggregate([("said", "count_distinct"), ("said", "list"), ("reviewer", "list")])
    )
    ties = groups.filter(pc.greater(groups["said_count_distinct"], 1)).to_pylist()
    if ties:
        lines = [
            f"{tie['a_id']}, {tie['b_id']} at {tie['timestamp'].isoformat()}: "
            + ", ".join(
                f"{who} says {what}"
                for who, what in zip(tie["reviewer_list"], tie["said_list"], strict=True)
            )
            for tie in ties
        ]
        raise InputError(
            _listed(
                f"{len(ties)} pairs have decisions that disagree at the same moment; the later one "
                "holds, so give the right one a later timestamp",
                sorted(lines),
            )
        )


def write_version(path: str, decisions: pa.Table) -> int:
    """Write all decisions as a new version of C/decisions; it holds once a commit points to it.

    Raises:
        StorageError: storage cannot be written, or others are faster again and again.
    """
    delta = optional.deltalake()
    folder = decisions_path(path)
    failure = ""
    for _ in range(_ATTEMPTS):
        table = delta_tables.open_table(folder) or delta_tables.create_table(
            folder, schema.DECISIONS
        )
        try:
            delta.write_deltalake(
                table,
                decisions.cast(schema.DECISIONS),
                mode="overwrite",
                commit_properties=delta_tables.properties(),
            )
        except (delta.exceptions.DeltaError, OSError) as error:
            failure = delta_tables.plain(
                error
            )  # another run's version came first, which nothing here depends on
            continue
        return int(table.version())
    raise StorageError(f"{folder}: {_ATTEMPTS} attempts to write failed: {failure}")


def _listed(message: str, lines: list[str]) -> str:
    more = f"; and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return f"{message}: {'; '.join(lines[:_SHOWN])}{more}"
