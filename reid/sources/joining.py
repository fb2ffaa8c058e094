"""Several sources to one table: each animal once, however often and in whatever spelling it is named."""

from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reid import schema, store
from reid.errors import InputError
from reid.sources import ids, words
from reid.sources.camera_times import fill_encounters
from reid.sources.listings import parent_names
from reid.sources.named_files import (
    fill_times_for_the_vote,
    look_at_files,
    never_opened,
    remote_places,
)
from reid.sources.named_times import fill_times_from_names
from reid.sources.reading import LABELS, Reading
from reid.sources.repeats import each_once, given_ids
from reid.sources.source_rows import TEXTS, TIMES, Failed, How, Rows
from reid.sources.stacked import Stacked
from reid.sources.stations import bursts, places_from_folders, vote

_SHOWN = 3
UNKNOWN_SPECIES = "unknown"
EVERY_SPECIES = "all"


def join(sources: Sequence[Rows], how: How) -> Reading:
    """One table of all sources.

    Raises:
        InputError: rows contradict each other, or none can be used.
    """
    notes = [note for rows in sources for note in rows.notes]
    failed = [(rows.source, one) for rows in sources for one in rows.failed]
    given = {name: np.asarray([name in rows.given for rows in sources], bool) for name in LABELS}
    stacked = _stack(sources)
    if how.identity_from_parent:
        _identities_from_folders(stacked)
        given["identity"][:] = True
    _places_and_species(stacked, how, notes)
    _finish_labels(stacked, how, notes)
    files = look_at_files(stacked)
    failed += never_opened(stacked, files, how.max_file_megabytes)
    usable = np.flatnonzero(~files.special)
    if len(usable) < len(stacked):
        stacked, files = stacked.take(usable), files.take(usable)
    reported = {name: flags[stacked.source] for name, flags in given.items()}
    names = given_ids(stacked, notes)
    missing = np.flatnonzero(names.is_null().to_numpy(zero_copy_only=False))
    made = ids.annotation_ids(
        stacked.column("image_path").take(pa.array(missing)),
        stacked.boxes[missing],
        stacked.relative[missing],
    )
    names = made if len(made) == len(names) else pc.replace_with_mask(names, names.is_null(), made)
    names, kept = each_once(stacked, names, files.number, reported, notes)
    if len(kept) < len(stacked):
        stacked, files = stacked.take(kept), files.take(kept)
        names, reported = (
            names.take(pa.array(kept)),
            {name: flags[kept] for name, flags in reported.items()},
        )
    if not len(stacked):
        raise InputError(_nothing_left(sources, failed))
    annotations, more = fill_encounters(
        _finished(stacked, names, files),
        ~reported["encounter_id"],
        gap_seconds=how.encounter_gap_seconds,
    )
    notes += more
    return Reading(
        annotations,
        _failures(failed),
        notes,
        reported,
        [{"source": rows.source, **rows.counts} for rows in sources],
        _flank_warnings(annotations, how.flank_sensitive),
    )


def _stack(sources: Sequence[Rows]) -> Stacked:
    """Rows of all sources under each other."""
    fields = [schema.ANNOTATIONS.field(name) for name in ("root", "image_path", *TEXTS, *TIMES)]
    plain = pa.schema([pa.field(field.name, field.type) for field in fields])
    parts, whole = [], []
    for rows in sources:
        n = len(rows)
        columns = {
            "image_path": rows.image_path,
            "root": pa.repeat(pa.scalar(rows.root, pa.string()), n),
            **rows.columns,
        }
        parts.append(
            pa.table([columns.get(field.name, pa.nulls(n, field.type)) for field in plain], plain)
        )
        whole.append(_whole_paths(rows))
    none = [
        np.full((len(rows), 4), np.nan) if rows.boxes is None else rows.boxes for rows in sources
    ]
    units = [
        np.zeros(len(rows), bool) if rows.relative is None else rows.relative for rows in sources
    ]
    lines = [
        np.zeros(len(rows), np.int64) if rows.lines is None else rows.lines for rows in sources
    ]
    number = np.repeat(np.arange(len(sources)), [len(rows) for rows in sources])
    return Stacked(
        sources=sources,
        table=pa.concat_tables(parts).combine_chunks(),
        boxes=np.concatenate(none),
        relative=np.concatenate(units),
        source=number,
        lines=np.concatenate(lines),
        weights=np.concatenate(
            [np.full(len(r), np.nan) if r.weights is None else r.weights for r in sources]
        ),
        whole=pa.chunked_array(whole, pa.string()).combine_chunks(),
    )


def _whole_paths(rows: Rows) -> pa.Array:
    """Local paths from the root of the disk; null on object storage."""
    paths = rows.image_path
    whole = pc.starts_with(paths, pattern="/")
    remote = pc.match_substring(paths, pattern="://")
    if store.is_remote(rows.root):
        below = pa.nulls(len(paths), pa.string())
    else:
        below = pc.binary_join_element_wise(rows.root.rstrip("/"), paths, "/")
    return pc.if_else(remote, None, pc.if_else(whole, paths, below))


def _identities_from_folders(stacked: Stacked) -> None:
    names = parent_names(stacked.column("image_path"))
    if names.null_count == len(names):
        raise InputError(
            "--identity-from-parent: no image lies in a folder of its own below the root; "
            "give the folder above the individuals' folders as --input or --root"
        )
    stacked.set("identity", words.clean_labels("folder", names, words.Words()))


def _places_and_species(stacked: Stacked, how: How, notes: list[str]) -> None:
    """Places from folders, where no column gives them, and one species a burst."""
    by_folder = np.asarray([rows.folders for rows in stacked.sources], bool)[stacked.source]
    if how.location_level is not None or how.location_pattern is not None:
        by_folder[:] = True
    if by_folder.any() and not how.identity_from_parent:
        found = places_from_folders(
            stacked.column("image_path"), level=how.location_level, pattern=how.location_pattern
        )
        before = stacked.column("location_id")
        stacked.set(
            "location_id", pc.if_else(pa.array(by_folder), pc.coalesce(before, found), before)
        )
    if how.time_format is not None:
        fill_times_from_names(stacked, how.time_format, notes)
    fill_times_for_the_vote(stacked)
    places, moments = stacked.column("location_id"), stacked.column("timestamp")
    if places.null_count == len(places) or moments.null_count == len(moments):
        return
    clock = (places, moments, stacked.column("utc_offset_minutes"))
    if not np.isnan(stacked.weights).all():
        weights = np.where(np.isnan(stacked.weights), 0.0, stacked.weights)
        first = bursts(*clock, gap_seconds=how.encounter_gap_seconds)
        first[np.isnan(stacked.weights)] = -1
        species, changed = vote(stacked.column("species"), weights, first)
        stacked.set("species", species)
        if changed:
            notes.append(
                f"{changed:,} boxes take the species that most of their burst have; a burst shows one species"
            )


def _finish_labels(stacked: Stacked, how: How, notes: list[str]) -> None:
    """Species where none is said; names that differ in capitals are one individual."""
    species = pc.fill_null(stacked.column("species"), how.species or UNKNOWN_SPECIES)
    stacked.set("species", species)
    alike = words.alike(species)
    if alike:
        notes.append(
            f"species that differ in capitals, blanks or `_` alone are kept apart: "
            f"{'; '.join(' and '.join(one) for one in alike[:_SHOWN])}; write them alike if they are one"
        )
    identity, joined = words.join_spellings(stacked.column("identity"))
    if joined:
        shown = "; ".join(f"{', '.join(one[1:])} as {one[0]}" for one in joined[:_SHOWN])
        more = f" and {len(joined) - _SHOWN} more" if len(joined) > _SHOWN else ""
        notes.append(
            f"{len(joined)} individuals are written with different capitals and are one each: {shown}{more}"
        )
        stacked.set("identity", identity)


def _finished(stacked: Stacked, names: pa.Array, files: ids.Files) -> pa.Table:
    boxes, absent = stacked.boxes, np.isnan(stacked.boxes[:, 0])
    remote = remote_places(stacked)
    units = np.where(absent, 0, np.where(stacked.relative, 2, 1))
    unit_names = pa.array([None, ids.PIXELS, ids.RELATIVE], pa.string())
    flat = pa.array(boxes.astype(np.float32).ravel(), pa.float32())
    made: dict[str, pa.Array] = {
        "annotation_id": names,
        "bbox": pa.FixedSizeListArray.from_arrays(flat, 4, mask=pa.array(absent)),
        "bbox_unit": unit_names.take(pa.array(units)),
        "source_key": ids.source_keys(files, remote, boxes, stacked.relative),
    }
    columns = [
        made[field.name] if field.name in made else stacked.column(field.name)
        for field in schema.ANNOTATIONS
    ]
    return pa.Table.from_arrays(columns, schema=schema.ANNOTATIONS)


def _failures(failed: Sequence[tuple[str, Failed]]) -> pa.Table:
    rows = [
        {
            "annotation_id": ids.failed_id(source, one.line, one.image_path),
            "image_path": one.image_path.encode("utf-8", "backslashreplace").decode(),
            "stage": one.stage,
            "error": one.error.encode("utf-8", "backslashreplace").decode(),
        }
        for source, one in failed
    ]
    return pa.Table.from_pylist(rows, schema=schema.FAILURES)


def _nothing_left(sources: Sequence[Rows], failed: Sequence[tuple[str, Failed]]) -> str:
    given = ", ".join(rows.source for rows in sources[:_SHOWN])
    if not failed:
        said = "; ".join(note for rows in sources[:_SHOWN] for note in rows.notes)
        return f"--input {given}: no image is named here{': ' * bool(said)}{said}"
    source, first = failed[0]
    return (
        f"--input {source}: none of {len(failed):,} rows can be read; the first: "
        f"{first.image_path}: {first.error}"
    )


def _flank_warnings(annotations: pa.Table, sensitive: Collection[str]) -> list[str]:
    """What it costs that images of these species do not say which side they show.

    Args:
        annotations: schema.ANNOTATIONS.
        sensitive: species whose left and right differ; `all` for every one.
    """
    found = []
    for species in sorted(pc.unique(annotations["species"]).to_pylist()):
        if species not in sensitive and EVERY_SPECIES not in sensitive:
            continue
        views = annotations.filter(pc.equal(annotations["species"], species))["viewpoint"]
        if views.null_count:
            found.append(
                f"{species}: {views.null_count:,} of {len(views):,} images do not say which side they show, and left "
                "and right differ. Left sides are compared with right ones, and an animal that was photographed from "
                "one side at a time counts twice: that doubled the estimate on real cameras (35 to 70 bobcats). "
                "reid export and reid population leave such images out where --flank is given. Give the side: a column "
                "viewpoint (left, right), or viewpoint:left among the tags of Camtrap DP"
            )
    return found
