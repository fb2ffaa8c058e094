"""Seals: what a version of a catalogue holds, noted after its commit, and compared whenever it is read.

    C/sealed/<version>.json     the digest of the version's log file, and sums of each species' rows

Rows lie in Parquet files of a Delta table, whose writer makes no checksums, and whose log is plain
JSON: a flipped bit could turn one individual into another, and a log file that is lost would take the
catalogue back by a night, without a word. A seal is written after the commit, so a run that dies in
between leaves a version without one, which is read unchecked, as are versions of earlier releases and
of other tools.

Of each column a seal has the sum over its rows (`reid.row_sums`), so that a commit that knows what it replaces
seals what is meant to be there then, from the seal before and the rows that changed, and reads nothing back;
what became of it shows as soon as somebody reads the rows. Seals of format 3 and before have digests
(`reid.value_digests`), and are understood.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reid import schema, store
from reid.catalogue import delta_tables
from reid.errors import DamagedError
from reid.parquet import damaged
from reid.row_order import by_id
from reid.row_sums import are_sums, other_sums, row_sums, sums_after
from reid.value_digests import differing, text_digest

_RESTORE = "restore it from a copy of the catalogue"


@dataclass(frozen=True)
class Seal:
    """What a version holds.

    Attributes:
        version: of C/annotations.
        log: digest of its log file.
        species: species → number of rows, and a digest of each column.
    """

    version: int
    log: str
    species: Mapping[str, tuple[int, Mapping[str, str]]]


def sealed_versions(path: str) -> list[int]:
    """Versions that have a seal, in rising order. Ask before the table is opened: others may commit."""
    names = (file.rpartition("/")[2] for file in store.list_files(_folder(path)))
    return sorted(int(name[:-5]) for name in names if name[:-5].isdigit() and name[-5:] == ".json")


def read_seal(path: str, annotations: str, table: Any, sealed: list[int]) -> Seal | None:
    """The seal of the version that was opened, once its log is what was sealed; None: it has none.

    Args:
        path: of the catalogue.
        annotations: path of C/annotations.
        table: its DeltaTable.
        sealed: of `sealed_versions`.

    Raises:
        DamagedError: the seal or the log was damaged.
    """
    version = table.version()
    if version not in sealed:
        return None
    file = _file(path, version)
    found = store.read_sealed(file)
    try:
        seal = Seal(
            int(found["version"]),
            str(found["log"]),
            {
                name: (int(one["rows"]), dict(one["columns"]))
                for name, one in found["species"].items()
            },
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(file, f"no seal: {error}") from error
    if seal.version != version or seal.log != log_digest(annotations, version):
        raise DamagedError(
            f"{log_file(annotations, version)}: not the log that was committed (see {file}); {_RESTORE}"
        )
    return seal


def check_latest(path: str, version: int, sealed: list[int]) -> None:
    """Refuse a catalogue whose latest commits are gone.

    Raises:
        DamagedError: a later version was sealed than there is now.
    """
    if sealed and sealed[-1] > version:
        raise DamagedError(
            f"{path}: version {sealed[-1]} was committed (see {_file(path, sealed[-1])}), and the log ends "
            f"at {version}: files of annotations/_delta_log are gone; {_RESTORE}"
        )


def write_seal(
    path: str,
    annotations: str,
    version: int,
    before: Seal | None,
    touched: Iterable[str] | None,
    swapped: tuple[pa.Table, pa.Table] | None = None,
) -> None:
    """Seal a version that was just committed.

    Args:
        path: of the catalogue.
        annotations: path of C/annotations.
        version: that was committed.
        before: of the version that it was built on.
        touched: species whose rows the commit has written; None: it may be any.
        swapped: schema.CATALOGUE, the rows that the commit took away, and those that it has put there;
            None: not known, and read back.
    """
    if before is None or touched is None:
        species, names = {}, None
    else:
        species, names = dict(before.species), sorted(set(touched))
    if names is not None and swapped is not None:
        found = {name: sealed_after(species, name, *swapped) for name in names}
        species |= {name: one for name, one in found.items() if one is not None}
        names = [name for name, one in found.items() if one is None]
    if names is None or names:
        table = delta_tables.open_table(annotations, version)
        filters = None if names is None else [("species", "in", names)]
        rows = delta_tables.read(annotations, table, schema.CATALOGUE, filters=filters)
        for name, own in by_species(rows).items():
            species[name] = (len(own), row_sums(own))
    store.write_sealed(
        _file(path, version),
        {
            "version": version,
            "log": log_digest(annotations, version),
            "species": {
                name: {"rows": rows, "columns": dict(columns)}
                for name, (rows, columns) in species.items()
            },
        },
    )


def sealed_after(
    before: Mapping[str, tuple[int, Mapping[str, str]]],
    species: str,
    less: pa.Table,
    more: pa.Table,
) -> tuple[int, Mapping[str, str]] | None:
    """What a seal says of a species once some rows took the place of others; None: it has to be read.

    Args:
        before: `Seal.species`.
        species: its name.
        less, more: schema.CATALOGUE, of any species.
    """
    count, columns = before.get(species, (0, row_sums(schema.CATALOGUE.empty_table())))
    # Columns may have come since, or the seal be of an earlier format.
    if not are_sums(columns) or {*columns} != {*schema.CATALOGUE.names}:
        return None
    own = [one.filter(pc.equal(one["species"], species)) for one in (less, more)]
    away, there = (row_sums(one.cast(schema.CATALOGUE)) for one in own)
    return count - len(own[0]) + len(own[1]), sums_after(columns, away, there)


def check_rows(
    seal: Seal | None, annotations: str, rows: pa.Table, species: Iterable[str] | None
) -> None:
    """Refuse rows that are not those that were committed.

    Args:
        seal: of the version; None: nothing is known of it.
        annotations: path of C/annotations, for the message.
        rows: columns annotation_id, species and others of schema.CATALOGUE, in any order.
        species: that were asked for; None: all.

    Raises:
        DamagedError: rows are missing, or there are others, or they say something else.
    """
    if seal is None:
        return
    expected = {*seal.species} if species is None else {*species} & {*seal.species}
    found = by_species(rows)
    for name in sorted(expected | {*found}):
        count, columns = seal.species.get(name, (0, {}))
        own = found.get(name, rows[:0])
        wrong = (other_sums if are_sums(columns) else differing)(columns, own) if len(own) else []
        if len(own) != count or wrong:
            what = (
                f"{len(own):,} rows of {name} and {count:,} were committed"
                if len(own) != count
                else f"{', '.join(wrong)} of {name} is not what was committed"
            )
            raise DamagedError(
                f"{annotations}: {what} in version {seal.version}: a file of this folder is gone, or was "
                f"damaged; {_RESTORE}"
            )


def by_species(rows: pa.Table) -> dict[str, pa.Table]:
    """Rows by species, each sorted by annotation_id."""
    rows, _ = by_id(rows)
    names = sorted(pc.unique(rows["species"]).to_pylist())
    return {
        name: rows if len(names) == 1 else rows.filter(pc.equal(rows["species"], name))
        for name in names
    }


def log_file(annotations: str, version: int) -> str:
    """The file of the log that is a version's commit."""
    return store.join(annotations, "_delta_log", f"{version:020}.json")


def log_digest(annotations: str, version: int) -> str:
    """A digest of a version's commit, as the log has it.

    Raises:
        DamagedError: the file is gone.
    """
    return text_digest(read_log(annotations, version))


def read_log(annotations: str, version: int) -> bytes:
    """A version's commit, as the log has it.

    Raises:
        DamagedError: the file is gone.
        StorageError: it cannot be read.
    """
    file = log_file(annotations, version)
    try:
        return store.guarded(file, "read", lambda: store.read_bytes(file))
    except FileNotFoundError as error:
        raise DamagedError(f"{file} is gone; {_RESTORE}") from error


def _folder(path: str) -> str:
    return store.join(path, "sealed")


def _file(path: str, version: int) -> str:
    return store.join(_folder(path), f"{version:020}.json")
