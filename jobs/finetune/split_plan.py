"""Which rows are for training, validation and test; and what an output folder is for."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import schema, store
from reid.config import Config
from reid.errors import InputError
from reid.splits import (
    GALLERY_WORDS,
    QUERY_WORDS,
    closed_set,
    column_split,
    held_out_individuals,
    identity_folds,
    time_aware,
)

RECORD = "finetune.json"
SPLIT = "split.parquet"
FOLD = "fold-"  # and its number: the folder of a run

TRAIN, VALIDATION, HELD_OUT = "train", "validation", "held_out"

# What says how the job runs, and not what comes out: free to change when a run goes on.
FREE = frozenset(
    f"finetune.{name}"
    for name in (
        "workers", "cpus_per_worker", "device", "max_restarts", "keep", "time_limit_minutes",
        "cache_gb", "cache", "promote",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """One training run.

    Attributes:
        out: its folder.
        rows: labelled annotations (schema.ANNOTATIONS).
        parts: (n,) of str, for each row TRAIN, VALIDATION or HELD_OUT.
        closed: held-out rows look for their individual among the others, and not among themselves.
        fold: number of the fold, or None.
    """

    out: str
    rows: pa.Table
    parts: np.ndarray
    closed: bool
    fold: int | None = None

    def where(self, *parts: str) -> np.ndarray:
        """(m,) int64: the rows of some parts."""
        return np.flatnonzero(np.isin(self.parts, parts))

    def individuals(self, part: str) -> int:
        """How many there are."""
        rows = self.rows.filter(pa.array(self.parts == part))
        return len(rows.group_by(["species", "identity"]).aggregate([]))

    def table(self) -> pa.Table:
        """schema.SPLIT: who was held out."""
        names = ("annotation_id", "image_path", "species", "identity", "encounter_id")
        columns = [self.rows[name].combine_chunks() for name in names]
        return pa.Table.from_arrays(
            [*columns, pa.array(self.parts.tolist(), pa.string())], schema=schema.SPLIT
        )


def labelled_rows(
    annotations: pa.Table, *, keep_encounters: bool = True
) -> tuple[pa.Table, list[str]]:
    """The rows that can teach something, and notes on those left out.

    Args:
        annotations: schema.ANNOTATIONS.
        keep_encounters: False: forget which images were taken together.

    Raises:
        InputError: no identity at all, one only, or none with two images.
    """
    notes = []
    if not keep_encounters:
        column = annotations.schema.get_field_index("encounter_id")
        field = annotations.schema.field(column)
        annotations = annotations.set_column(column, field, pa.nulls(len(annotations), field.type))
        notes.append(
            "encounters are ignored: their images may be on both sides, and find each other"
        )
    known = pc.is_valid(annotations["identity"])
    rows = annotations.filter(known).combine_chunks()
    skipped = len(annotations) - len(rows)
    if skipped:
        notes.append(f"{skipped:,} of {len(annotations):,} images have no identity; left out")
    if not len(rows):
        raise InputError(
            "no image has an identity, so there is nothing to learn: give a table with a column "
            "`identity`, or --identity-from-parent"
        )
    counts = rows.group_by(["species", "identity"]).aggregate([("annotation_id", "count")])
    each = counts["annotation_id_count"].to_numpy()
    if len(each) == 1:
        raise InputError(
            f"all {len(rows):,} labelled images show one individual, "
            f"{counts['identity'][0].as_py()!r}: telling individuals apart takes two at least"
        )
    if each.max() < 2:
        raise InputError(
            f"none of the {len(each):,} individuals has two images, so there is no pair to learn "
            "from: label more images of the same individuals"
        )
    return rows, notes


def make_plans(config: Config, rows: pa.Table) -> tuple[list[Plan], list[str]]:
    """Split the rows for one run, or for one run a fold. Species are split one by one.

    The epoch is chosen on VALIDATION, which is split off the rows that are not HELD_OUT in the same
    way; nothing is ever chosen on HELD_OUT, so its figures are those of animals (or images) that
    are new to the model and to the choice.

    Args:
        config: the resolved configuration.
        rows: see `labelled_rows`.

    Returns:
        The plans, and notes on species that are too small to be split.

    Raises:
        InputError: no species can be split.
    """
    settings = config.finetune
    notes: list[str] = []
    if not settings.folds:
        if settings.split == "column":
            held = _by_column(rows)
        else:
            held, notes = _by_species(config, rows, np.full(len(rows), True), settings.hold_out)
        if not held.any():
            raise InputError("nothing can be held out: " + "; ".join(notes))
        parts, more = _with_validation(config, rows, held)
        return [Plan(config.out, rows, parts, settings.split != "individuals")], notes + more
    fold_of = np.full(len(rows), -1)
    notes = []
    for species, here in _species(rows):
        identity, encounter = _columns(rows, here)
        try:
            fold_of[here] = identity_folds(
                identity, settings.folds, encounters=encounter, seed=config.seed
            )
        except InputError as error:
            notes.append(f"{species} is in no fold, and is trained on in all: {error}")
    if not (fold_of >= 0).any():
        raise InputError("no species can be cut into folds: " + "; ".join(notes))
    plans = []
    for fold in range(settings.folds):
        parts, more = _with_validation(config, rows, fold_of == fold)
        out = store.join(config.out, f"{FOLD}{fold}")
        plans.append(Plan(out, rows, parts, False, fold))
        notes += [f"fold {fold}: {note}" for note in more]
    return plans, notes


def is_fold(folder: str) -> bool:
    """True for the folder of one fold's run."""
    return folder.rpartition("/")[2].startswith(FOLD)


def _with_validation(
    config: Config, rows: pa.Table, held: np.ndarray
) -> tuple[np.ndarray, list[str]]:
    parts = np.where(held, HELD_OUT, TRAIN).astype(object)  # text of any length
    if not config.finetune.validation_share:
        return parts, []
    validation, notes = _by_species(config, rows, ~held, config.finetune.validation_share)
    parts[validation] = VALIDATION
    if not validation.any():
        notes = [f"no validation, the last epoch is taken: {note}" for note in notes]
    return parts, notes


def _by_column(rows: pa.Table) -> np.ndarray:
    """(n,) bool: the queries of the column `split`; all other rows are trained on."""
    found = column_split(rows["split"].to_pylist())
    if found is None:
        raise InputError(
            "finetune.split=column: no labelled image is a query, or none is of a gallery; the column "
            f"`split` has one of {', '.join(QUERY_WORDS)} for images held out, and one of "
            f"{', '.join(GALLERY_WORDS)} for others"
        )
    return found[0]


def _by_species(
    config: Config, rows: pa.Table, among: np.ndarray, share: float
) -> tuple[np.ndarray, list[str]]:
    """(n,) bool: a share of the rows `among`, drawn as `finetune.split` says."""
    drawn = np.zeros(len(rows), bool)
    notes = []
    for species, of_species in _species(rows):
        here = of_species[among[of_species]]
        if not len(here):
            continue
        identity, encounter = _columns(rows, here)
        try:
            if config.finetune.split == "individuals":
                drawn[here] = held_out_individuals(
                    identity, share, encounters=encounter, seed=config.seed
                )
            elif config.finetune.split in ("closed", "column"):  # the latter: for the validation
                drawn[here] = closed_set(identity, share, encounters=encounter, seed=config.seed)
            else:
                times = rows["timestamp"].to_numpy()[here]
                drawn[here] = time_aware(identity, times, share, encounters=encounter)
        except InputError as error:
            notes.append(f"{species} cannot be split, all of it is trained on: {error}")
    return drawn, notes


def _species(rows: pa.Table) -> list[tuple[str, np.ndarray]]:
    names = np.asarray(rows["species"].to_pylist())
    return [(str(name), np.flatnonzero(names == name)) for name in np.unique(names)]


def _columns(rows: pa.Table, here: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    identity, encounter = (
        np.asarray(rows[name].to_pylist(), object)[here] for name in ("identity", "encounter_id")
    )
    return identity, encounter


def make_record(config: Config, rows: pa.Table, model_digest: str) -> dict[str, Any]:
    """What an output folder is for: the choices that decide the weights, and the data."""
    chosen = {
        "seed": config.seed,
        "model": {"names": config.embed.model, "digest": model_digest},
        "images": config.images.model_dump(mode="json"),
        "finetune": config.finetune.model_dump(mode="json"),
    }
    digest = hashlib.sha256()
    columns = ("annotation_id", "species", "identity", "encounter_id", "timestamp", "source_key")
    for row in sorted(zip(*(map(str, rows[name].to_pylist()) for name in columns), strict=True)):
        digest.update("\x1f".join(row).encode() + b"\n")
    individuals = len(rows.group_by(["species", "identity"]).aggregate([]))
    return {
        "settings": {key: value for key, value in sorted(_flat(chosen).items()) if key not in FREE},
        "data": {
            "images": len(rows),
            "individuals": individuals,
            "digest": digest.hexdigest()[:16],
        },
    }


def _flat(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def check_record(out: str, record: Mapping[str, Any], *, begun: bool) -> None:
    """Write what the folder is for, or check that it is for the same.

    Args:
        out: the output folder.
        record: see `make_record`.
        begun: there is an epoch or more; before that, settings that did not work may be mended.

    Raises:
        InputError: the folder holds a fine-tuning of other settings or data (the message says which
            differ), or the results of another job.
    """
    path = store.join(out, RECORD)
    try:
        before = store.read_json(path)
    except FileNotFoundError:
        if store.exists(store.join(out, "config.yaml")):
            raise InputError(
                f"{out} holds the results of another job; give another --out"
            ) from None
        before = None
    if before is None or not begun:
        store.write_json(path, record)
        return
    changes = []
    settings = record["settings"]
    for key in sorted(settings.keys() | before["settings"].keys()):
        was, now = before["settings"].get(key), settings.get(key)
        if was != now:
            changes.append(f"{key}: {was} before, {now} now")
    if before["data"] != record["data"]:
        was, now = (
            f"{one['images']:,} images of {one['individuals']:,} individuals"
            for one in (before["data"], record["data"])
        )
        changes.append(f"data: {was} before, {now} now" + (" (others)" if was == now else ""))
    if changes:
        raise InputError(
            f"{out} holds a fine-tuning of other settings or data; give another --out, or go back "
            "to what it was begun with:\n  " + "\n  ".join(changes)
        )
