"""An open catalogue: rows, settings, decisions and events as of one version."""

import hashlib
import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from reid import schema, store
from reid.catalogue import delta_tables
from reid.catalogue.commit_records import Record, head
from reid.catalogue.seals import Seal, check_latest, check_rows, read_seal, sealed_versions
from reid.errors import DamagedError, InputError
from reid.identify import Calibration, confidence_apart
from reid.identify.remarks import names_by_people
from reid.parquet import damaged
from reid.row_order import by_id
from reid.value_digests import whole_digest

EXPORT_COLUMNS = (
    "annotation_id",
    "image_path",
    "species",
    "identity_id",
    "name",
    "identity",
    "decision",
    "confidence",
)
# What the confidence of an unsure row is made of, when it is read.
MOVING = ("decision", "nearest_distance", "confidence")


@dataclass(frozen=True)
class Catalogue:
    """A catalogue as of one version; later commits do not change what it returns.

    Attributes:
        path: folder or URI.
        version: of C/annotations.
        record: what that version carries.
        settings: recipes, thresholds, calibration, …; empty until a run gives them.
        table: the DeltaTable of C/annotations at this version.
        seal: what was sealed of this version; None: it is read unchecked.
        record_version: the version that brought the record; an earlier one where other tools have
            committed since.
    """

    path: str
    version: int
    record: Record
    settings: Mapping[str, Any]
    table: Any
    seal: Seal | None = None
    record_version: int = -1

    @property
    def counters(self) -> Mapping[str, int]:
        """Species to the highest number that an identity has been given, by undone runs too."""
        return self.record.counters

    def rows(
        self,
        columns: Sequence[str] | None = None,
        species: Sequence[str] | None = None,
        *,
        stored: bool = False,
    ) -> pa.Table:
        """The current state of every annotation: schema.CATALOGUE, sorted by annotation_id.

        Args:
            columns: all by default. Only these are read from storage.
            species: all by default. Only these are read from storage.
            stored: as they were written: the confidence of unsure rows, which moves with each individual
                that the catalogue learns of, is null, and not made of their distance.

        Raises:
            DamagedError: they are not the rows that were committed.
            StorageError: storage cannot be read.
        """
        names = list(columns or schema.CATALOGUE.names)
        moving = MOVING if "confidence" in names and not stored else ()
        needed = dict.fromkeys([*names, "annotation_id", "species", *moving])
        wanted = pa.schema([schema.CATALOGUE.field(name) for name in needed])
        filters = None if species is None else [("species", "in", list(species))]
        if species is not None and not species:
            return wanted.empty_table().select(names)
        rows = delta_tables.read(annotations_path(self.path), self.table, wanted, filters=filters)
        rows, _ = by_id(rows)
        check_rows(self.seal, annotations_path(self.path), rows, species)
        if moving:
            rows = self._with_confidence(rows)
        return rows.select(names)

    def _with_confidence(self, rows: pa.Table) -> pa.Table:
        place = rows.schema.get_field_index("confidence")
        for name, individuals in self.record.individuals.items():
            curve = self.settings.get("species", {}).get(name, {}).get("calibration")
            if curve is None:
                continue
            asked = pc.and_(pc.equal(rows["species"], name), pc.equal(rows["decision"], "unsure"))
            asked = pc.and_(asked, pc.is_valid(rows["nearest_distance"])).combine_chunks()
            far = rows["nearest_distance"].filter(asked).to_numpy()
            sure = pa.array(confidence_apart(Calibration.from_dict(curve), individuals, far))
            column = pc.replace_with_mask(rows["confidence"].combine_chunks(), asked, sure)
            rows = rows.set_column(place, rows.schema.field("confidence"), column)
        return rows

    def decisions(self) -> pa.Table:
        """All that reviewers decided: schema.DECISIONS; superseded ones are included.

        Raises:
            StorageError: storage cannot be read.
        """
        return read_decisions_version(self.path, self.record.decisions, self.record.decision_digest)

    def identities(self) -> pa.Table:
        """What `reid export` writes: EXPORT_COLUMNS, sorted by annotation_id.

        `name` is what people call the individual, by any label of its images (null: by none);
        `identity` is the label of this image.
        """
        rows = self.rows([name for name in EXPORT_COLUMNS if name != "name"])
        names = names_of_individuals(rows, self.decisions())
        called = pa.array([names.get(one) for one in rows["identity_id"].to_pylist()], pa.string())
        return rows.append_column("name", called).select(EXPORT_COLUMNS)


def names_of_individuals(rows: pa.Table, decisions: pa.Table | None = None) -> dict[str, str]:
    """identity_id → what people call this individual; several names, in order, with ` / ` between.

    A name that somebody gave it holds rather than the labels of its images.

    Args:
        rows: columns annotation_id, identity_id and identity (the label of each image).
        decisions: schema.DECISIONS; None: labels alone are asked.
    """
    named = rows.select(["identity_id", "identity"]).filter(pc.is_valid(rows["identity"]))
    found: dict[str, set[str]] = {}
    for one, label in zip(*named.to_pydict().values(), strict=True):
        found.setdefault(one, set()).add(label)
    names = {one: " / ".join(sorted(labels)) for one, labels in found.items()}
    if decisions is None:
        return names
    said = decisions["a_id"].filter(pc.equal(decisions["a_id"], decisions["b_id"]))
    rows = rows.filter(pc.is_in(rows["annotation_id"], value_set=said))
    holders = rows["annotation_id"].to_pylist(), rows["identity_id"].to_pylist()
    return names | names_by_people(dict(zip(*holders, strict=True)), decisions)


def called(identity_id: str | None, names: Mapping[str, str] | None) -> str:
    """`lynx-0042 (Luna)`, or the id alone where nobody gave a name; empty for nobody."""
    name = (names or {}).get(identity_id or "")
    return identity_id or "" if name is None else f"{identity_id} ({name})"


def called_so(rows: pa.Table, names: Mapping[str, str], name: str) -> list[str]:
    """identity_ids of the individuals that people call so; capitals and blanks around do not matter.

    Args:
        rows: columns identity_id and identity.
        names: of `names_of_individuals`.
        name: what they are called.
    """
    wanted = name.strip().casefold()
    labels = zip(rows["identity_id"].to_pylist(), rows["identity"].to_pylist(), strict=True)
    given = ((one, part) for one, several in names.items() for part in several.split(" / "))
    found = {
        one
        for one, label in (*labels, *given)
        if label is not None and label.strip().casefold() == wanted
    }
    return sorted(found)


def annotations_path(path: str) -> str:
    """C/annotations."""
    return store.join(path, "annotations")


def embeddings_path(path: str, recipe: str = "") -> str:
    """C/embeddings, or the folder of a recipe there."""
    folder = store.join(path, "embeddings")
    return store.join(folder, recipe) if recipe else folder


def decisions_path(path: str) -> str:
    """C/decisions."""
    return store.join(path, "decisions")


def open_catalogue(path: str, *, create: bool = False, version: int | None = None) -> Catalogue:
    """The catalogue in a folder, as it is now or was at a version.

    Args:
        path: folder or URI.
        create: make an empty one where there is none; who comes second gets the first's.
        version: of C/annotations (history() has them); the latest by default.

    Raises:
        InputError: there is none, or the path cannot be one.
        DamagedError: files of it are gone or damaged.
        StorageError: storage cannot be read, or written where one is made.
    """
    folder = annotations_path(path)
    delta_tables.check_place(path)
    sealed = sealed_versions(path)  # first: what is committed meanwhile is sealed later
    table = delta_tables.open_table(folder, version)
    if table is None:
        check_latest(path, -1, sealed)
    if table is None and create:
        first = Record("create", "create", -1, now(), uuid.uuid4().hex)
        table = delta_tables.create_table(
            folder, schema.CATALOGUE, partition_by=["species"], metadata=first.metadata()
        )
    if table is None and store.exists(store.join(path, "annotations.parquet")):
        raise InputError(
            f"{path}: there is no catalogue here, it is the output folder of a run; give it as --results, where "
            "the command has that"
        )
    if table is None:
        raise InputError(
            f"{path}: there is no catalogue here; `reid identify --input … --catalogue {path}` "
            "makes one"
        )
    if version is None:
        check_latest(path, table.version(), sealed)
    entry = head(folder, table)
    record = entry.record
    settings = {} if record.settings is None else read_settings(path, record.settings)
    seal = read_seal(path, folder, table, sealed)
    return Catalogue(path, table.version(), record, settings, table, seal, entry.version)


def now() -> str:
    """The time in UTC, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def read_settings(path: str, name: str) -> Mapping[str, Any]:
    """Settings by their name.

    Raises:
        DamagedError: the file is gone, or does not say what its name stands for.
    """
    file = _settings_file(path, name)
    try:
        settings = delta_tables.guarded(file, "read", lambda: store.read_json(file))
    except FileNotFoundError as error:
        raise DamagedError(
            f"{file} is gone, by whose rules this catalogue tells individuals apart; restore it from a "
            "copy of the catalogue"
        ) from error
    if not isinstance(settings, dict) or _settings_name(settings) != name:
        raise damaged(file, "not the settings that its name stands for")
    return settings


def write_settings(path: str, settings: Mapping[str, Any]) -> str:
    """Write settings; their name, 16 hex digits of what they say. Nothing points to them yet."""
    name = _settings_name(settings)
    store.write_json(_settings_file(path, name), json.loads(json.dumps(settings)))
    return name


def _settings_name(settings: Mapping[str, Any]) -> str:
    text = json.dumps(settings, sort_keys=True, allow_nan=False)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def _settings_file(path: str, name: str) -> str:
    return store.join(path, "settings", f"{name}.json")


def read_decisions_version(path: str, version: int | None, digest: str | None = None) -> pa.Table:
    """The decisions at a version of C/decisions, oldest first; none at None.

    Args:
        path: of the catalogue.
        version: of C/decisions.
        digest: of `decisions_digest`, where the catalogue's record has it.

    Raises:
        DamagedError: they are gone, or are not those that were committed.
    """
    if version is None:
        return schema.DECISIONS.empty_table()
    folder = decisions_path(path)
    table = delta_tables.open_table(folder, version)
    if table is None:
        raise DamagedError(
            f"{folder}: the decisions of this catalogue are gone; restore the folder"
        )
    rows = _in_order(delta_tables.read(folder, table, schema.DECISIONS))
    if digest is not None and whole_digest(rows) != digest:
        raise DamagedError(
            f"{folder}: version {version} is not what was committed; restore the folder from a copy"
        )
    return rows


def decisions_digest(decisions: pa.Table) -> str:
    """A digest of decisions (schema.DECISIONS), whatever their order."""
    return whole_digest(_in_order(decisions.cast(schema.DECISIONS)))


def _in_order(decisions: pa.Table) -> pa.Table:
    keys = ["timestamp", "a_id", "b_id", "reviewer", "decision", "note", "run_id"]
    return decisions.take(
        pc.sort_indices(decisions, sort_keys=[(key, "ascending") for key in keys])
    )
