"""`reid identify`: what is new in an upload, and whom does it show? One more night of a catalogue."""

import dataclasses
import time
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.catalogue.admin import catalogue_place
from jobs.catalogue.decider import Decider
from jobs.catalogue.night_report import (
    close,
    embedded_in_words,
    species_outcomes,
    stage_seconds,
)
from jobs.catalogue.thresholds import check_can_have_rules
from jobs.catalogue.unchanged_files import with_known_keys
from jobs.common import outputs
from jobs.common.beforehand import check_models
from jobs.common.console import say
from jobs.common.counters import count
from jobs.common.embedded import EmbedStage, EmbedSummary, check_failures, without
from jobs.common.inputs import check_species_settings, read_sources, with_camera_times
from jobs.common.looked import LookStage
from jobs.common.session import ray_session
from jobs.common.verdicts import stored_verdicts, worst_of
from jobs.neighbours.placement import wants_tasks
from reid import schema, store
from reid.catalogue import (
    Catalogue,
    StoredRows,
    embeddings_path,
    new_run_id,
    open_catalogue,
    read_aliases,
    read_decisions,
    read_rules,
    recognise,
    update,
    with_known_ids,
    write_aliases,
)
from reid.config import Config
from reid.errors import InputError
from reid.identify import check_species
from reid.row_order import places_among
from reid.sources import Reading, no_sources, source_key


def identify(config: Config, embed: EmbedStage, look: LookStage) -> None:
    """Upload → catalogue: embed what is new, search it against all, decide, commit in one step.

    The same command goes on where a killed one stopped, and does nothing where all is known.

    Args:
        config: the resolved configuration.
        embed: the embedding stage.
        look: the stage that looks at pairs closely.

    Raises:
        InputError: settings, sources or decisions cannot be used, or contradict each other; the
            catalogue is as it was.
        StorageError: storage or the cluster failed, or other runs were faster in every try.
        TooManyFailuresError: after everything that worked was committed.
    """
    started = time.perf_counter()
    run_id = new_run_id()
    if not config.input and not config.identify.constraints:
        raise InputError(
            "nothing to identify: give --input a folder of images, or --constraints a CSV of decisions"
        )
    config = below_catalogue(config, run_id)
    path = str(config.identify.catalogue)
    check_models(config)
    decisions = _read_constraints(config)
    upload = read_upload(config)
    check_species(pc.unique(upload.annotations["species"]).to_pylist())
    catalogue = open_catalogue(path, create=True)
    outputs.write_config(config)
    aliases = read_aliases(path)
    stored = StoredRows(catalogue)
    held = stored.about(upload.annotations, _ids_named(decisions, aliases))
    annotations, emptied = in_catalogues_words(config, catalogue, upload, held)
    if len(annotations):
        known = {*_species(annotations), *read_rules(catalogue)}
        check_species_settings(
            config, known, ("embed", "images", "identify", "pairs"), more_may_come=True
        )
    decisions = _about_known(catalogue, held, annotations, decisions)
    annotations = with_known_keys(catalogue, annotations, held)
    check_can_have_rules(config, annotations, read_rules(catalogue))
    pending = _pending(stored, held, annotations)
    reading = time.perf_counter() - started
    with ray_session(config.address) if wants_tasks(config) else nullcontext():
        embedded, failures = embed_pending(config, embed, catalogue, pending)
        timed = dataclasses.replace(upload, annotations=annotations)
        annotations, _ = with_camera_times(config, timed, embedded.folders.values())
        decider = Decider(
            config,
            run_id,
            without(annotations, failures),
            decisions=decisions,
            recipes=embedded.recipes,
            emptied=emptied,
            look=look,
            stored=stored,
        )
        del held, stored
        began = time.perf_counter()
        newer = update(catalogue, run_id, decider, attempts=config.identify.attempts)
        decider.keep(newer)
        updating = time.perf_counter() - began
        outcome = decider.outcome
        for decision in ("known", "new", "unsure"):
            images = sum(getattr(one, decision) for one in outcome.species.values())
            count(config, "images", images, stage="identify", outcome=decision)
    failures = pa.concat_tables([upload.failures, failures, outcome.failures])
    summary: dict[str, Any] = {
        "catalogue": path,
        "run_id": run_id if newer.record.run_id == run_id else None,  # None: nothing new
        "version": newer.version,
        "annotations": len(annotations) + len(upload.failures),
        "known_already": outcome.known_already,
        "decisions": outcome.decisions,
        "cleared": outcome.cleared,
        "failed": len(failures),
        "events": len(outcome.events),
        "species": species_outcomes(outcome),
        **({"verdict": worst_of(judged)} if (judged := stored_verdicts(newer)) else {}),
        "stage_seconds": {
            "read": round(reading, 2),
            "embed": embedded.seconds,
            **stage_seconds(outcome, updating),
        },
        "seconds": round(time.perf_counter() - started, 2),
    }
    outputs.write_failures(config, failures)
    outputs.write_summary(config, "embed", embedded)
    outputs.write_summary(config, "identify", summary)
    close(newer, outcome, run_id, failed=len(failures))
    say(f"{time.perf_counter() - started:.0f} s in all. Written down in {config.out}")
    check_failures(failures, len(annotations) + len(upload.failures), config.max_failures)


def below_catalogue(config: Config, run_id: str) -> Config:
    """The configuration of a run: embeddings and, unless --out says otherwise, its log go into C.

    Raises:
        InputError: no catalogue was named.
    """
    path = catalogue_place(config.identify.catalogue)
    out = config.out if "out" in config.model_fields_set else store.join(path, "runs", run_id)
    return config.model_copy(
        update={
            "identify": config.identify.model_copy(update={"catalogue": path}),
            "out": out,
            "store": embeddings_path(path),
        }
    )


def read_upload(config: Config) -> Reading:
    """The configured sources, read; nothing without sources."""
    if not config.input:
        return no_sources()
    return read_sources(config)


def in_catalogues_words(
    config: Config, catalogue: Catalogue, upload: Reading, held: pa.Table
) -> tuple[pa.Table, dict[str, pa.Array]]:
    """An upload's annotations under the ids and boxes that the catalogue has for them.

    Args:
        config: the resolved configuration.
        catalogue: where aliases are remembered.
        upload: what was read.
        held: schema.ANNOTATIONS of the catalogue, at least those of the upload's ids and images.

    Returns:
        schema.ANNOTATIONS, in the upload's order; and for each label column the ids of annotations
        whose source says that there is none.
    """
    found = recognise(
        held,
        upload.annotations,
        _source_key,
        same_box_iou=config.identify.same_box_iou,
    )
    for note in found.notes:
        say(f"note: {note}")
    write_aliases(catalogue.path, found.aliases)
    emptied = {}
    for name, given in upload.given.items():
        none = given & found.annotations[name].is_null().to_numpy()
        emptied[name] = found.annotations["annotation_id"].filter(pa.array(none)).combine_chunks()
    return found.annotations, emptied


def _source_key(row: Mapping[str, Any]) -> str:
    return source_key(row["root"], row["image_path"], row["bbox"], row["bbox_unit"])


def _ids_named(decisions: pa.Table | None, aliases: Mapping[str, str]) -> pa.ChunkedArray:
    """The ids that decisions name, and those that the catalogue has for them."""
    if decisions is None:
        return pa.chunked_array([], pa.string())
    named = {*decisions["a_id"].to_pylist(), *decisions["b_id"].to_pylist()}
    own = {aliases[one] for one in named if one in aliases}
    return pa.chunked_array([sorted(named | own)], pa.string())


def _about_known(
    catalogue: Catalogue, held: pa.Table, annotations: pa.Table, decisions: pa.Table | None
) -> pa.Table | None:
    """Decisions that name annotations as uploads did, by the ids that the catalogue has for them."""
    if decisions is None or not len(decisions):
        return decisions
    known = pa.chunked_array(
        [*held["annotation_id"].chunks, *annotations["annotation_id"].chunks], pa.string()
    )
    said, changed = with_known_ids(decisions, known, read_aliases(catalogue.path))
    if changed:
        say(f"note: {changed:,} decisions name annotations by an id that they had in an upload")
    return said


def embed_pending(
    config: Config, embed: EmbedStage, catalogue: Catalogue, pending: pa.Table
) -> tuple[EmbedSummary, pa.Table]:
    """Embed what is new, as the catalogue's species are embedded; the summary, and failures."""
    if not len(pending):
        return EmbedSummary(), schema.FAILURES.empty_table()
    expected = {name: own.recipe for name, own in read_rules(catalogue).items()}
    summary, failures = embed(config, pending, expected)
    say(embedded_in_words(summary))
    return summary, failures


def _read_constraints(config: Config) -> pa.Table | None:
    files = config.identify.constraints
    if not files:
        return None
    notes: list[str] = []
    decisions = pa.concat_tables([read_decisions(file, notes) for file in files])
    for note in notes:
        say(f"note: {note}")
    say(f"decisions: {len(decisions):,} read from {', '.join(files)}")
    return decisions


def _pending(stored: StoredRows, held: pa.Table, annotations: pa.Table) -> pa.Table:
    """The annotations that the catalogue does not know."""
    known = places_among(annotations["annotation_id"], held["annotation_id"])
    pending = annotations.filter(pc.is_null(known))
    say(
        f"catalogue: version {stored.catalogue.version}, {len(stored):,} images; {len(pending):,} of the "
        f"{len(annotations):,} are new"
    )
    return pending


def _species(annotations: pa.Table) -> list[str]:
    return sorted(pc.unique(annotations["species"]).to_pylist())
