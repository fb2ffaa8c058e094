"""`reid calibrate`: how alike is alike enough in a catalogue, learned from labelled images."""

import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rich.table import Table

from jobs.catalogue.decider import Decider
from jobs.catalogue.identification import (
    below_catalogue,
    in_catalogues_words,
    read_upload,
)
from jobs.catalogue.night_report import (
    close,
    embedded_in_words,
    species_outcomes,
    stage_seconds,
    warn_left_out,
)
from jobs.catalogue.thresholds import NoRulesError, make_rules, settle_modes
from jobs.catalogue.unchanged_files import with_known_keys
from jobs.common import outputs
from jobs.common.beforehand import check_models
from jobs.common.console import console, say
from jobs.common.embedded import EmbedStage, check_failures, without
from jobs.common.looked import LookStage
from jobs.common.session import ray_session
from jobs.neighbours.placement import wants_tasks
from reid import embeddings, schema, store
from reid.catalogue import (
    SpeciesRules,
    compare,
    new_run_id,
    open_catalogue,
    read_rules,
    update,
)
from reid.config import Config
from reid.errors import InputError
from reid.identify import check_species


def calibrate(config: Config, embed: EmbedStage, look: LookStage) -> None:
    """Set, or set anew, the rules of the species that the labelled images show.

    The images are embedded, and do not come into the catalogue. All individuals of these species
    follow from the new rules at once, as one run that can be undone. Without `input` the catalogue's
    own labelled images are learned from; with another model all of its images are embedded again.

    Args:
        config: the resolved configuration.
        embed: the embedding stage.
        look: the stage that looks at pairs closely.

    Raises:
        InputError: there are too few labels, or the curve never reaches the wanted probabilities.
        StorageError: storage or the cluster failed.
        TooManyFailuresError: after everything that worked was committed.
    """
    started = time.perf_counter()
    run_id = new_run_id()
    config = below_catalogue(config, run_id)
    path = str(config.identify.catalogue)
    check_models(config)
    upload = read_upload(config)
    check_species(pc.unique(upload.annotations["species"]).to_pylist())
    catalogue = open_catalogue(path, create=bool(config.input))
    outputs.write_config(config)
    held = catalogue.rows(schema.ANNOTATIONS.names)
    # A name that stands for another picture there would lend it that picture's embedding.
    labelled, _ = in_catalogues_words(config, catalogue, upload, held)
    labelled = with_known_keys(catalogue, labelled, held)
    clashes = compare(held, labelled).failures
    warn_left_out(clashes)
    labelled = without(labelled, clashes)
    chosen = sorted(pc.unique((labelled if config.input else held)["species"]).to_pylist())
    if not chosen:
        check_failures(clashes, len(clashes), 0)
        raise InputError(f"{path}: nothing to learn from; give --input a table with identities")
    # The catalogue's own images too: those of a new model, or those whose embeddings got lost.
    mine = held.filter(pc.is_in(held["species"], pa.array(chosen, pa.string())))
    known = pc.is_in(labelled["annotation_id"], mine["annotation_id"].combine_chunks())
    wanted = pa.concat_tables([mine, labelled.filter(pc.invert(known))])
    with ray_session(config.address) if wants_tasks(config) else nullcontext():
        embedded, failures = embed(config, wanted)
        say(embedded_in_words(embedded))
        learned = without(labelled if config.input else mine, failures)
        before = read_rules(catalogue)
        rules: dict[str, SpeciesRules] = {}
        refused: dict[str, NoRulesError] = {}
        for name in chosen:
            try:
                recipe = embedded.recipes[name]
                rules[name] = _learn(config, name, recipe, learned, mine, before.get(name), look)
            except NoRulesError as error:
                refused[name] = error
        if not rules:
            raise next(iter(refused.values()))
        for reason in refused.values():
            say(f"note: left out: {reason}")
        lost = without(mine, failures)
        if len(lost) < len(mine):
            check_failures(failures, len(wanted), 0)
        nothing = schema.ANNOTATIONS.empty_table()
        decider = Decider(config, run_id, nothing, reset=rules, look=look)
        began = time.perf_counter()
        newer = update(catalogue, run_id, decider, attempts=config.identify.attempts)
        decider.keep(newer)
        updating = time.perf_counter() - began
    console.print(rules_table(rules, config))
    failures = pa.concat_tables([upload.failures, failures, clashes])
    outputs.write_failures(config, failures)
    summary = {
        "catalogue": path,
        "run_id": run_id if newer.record.run_id == run_id else None,  # None: nothing new
        "version": newer.version,
        "labelled": len(learned) - learned["identity"].null_count,
        "failed": len(failures),
        "rules": {name: _told(own) for name, own in rules.items()},
        "species": species_outcomes(decider.outcome),
        "stage_seconds": {"embed": embedded.seconds, **stage_seconds(decider.outcome, updating)},
        "seconds": round(time.perf_counter() - started, 2),
    }
    outputs.write_summary(config, "embed", embedded)
    outputs.write_summary(config, "calibrate", summary)
    close(newer, decider.outcome, run_id, failed=len(failures))
    say(f"{time.perf_counter() - started:.0f} s in all. Written down in {config.out}")
    asked = len(wanted) + len(clashes) + len(upload.failures)
    check_failures(failures, asked, config.max_failures)


def rules_table(rules: dict[str, SpeciesRules], config: Config) -> Table:
    """The rules of each species, and how far their probabilities can be trusted."""
    settings = config.identify
    table = Table(
        title="Rules",
        caption="expected calibration error: how far promised probabilities are off, on average, for "
        "individuals that the curve had not seen",
    )
    columns = (
        "species",
        f"known up to (P ≥ {settings.known_probability:g})",
        f"new beyond (P ≤ {settings.new_probability:g})",
        "links",
        "individuals",
        "expected calibration error",
    )
    for name in columns:
        table.add_column(name, justify="left" if name == "species" else "right")
    for species, own in rules.items():
        curve = own.calibration
        learned = ("–", "–", "–")
        if curve is not None:
            learned = (f"{curve.samples:,}", f"{curve.individuals:,}", f"{curve.ece:.3f}")
        table.add_row(species, f"{own.known_distance:.3f}", f"{own.new_distance:.3f}", *learned)
    return table


def _told(rules: SpeciesRules) -> dict[str, Any]:
    """Rules as summary.json has them; the curve itself is the catalogue's."""
    curve = rules.calibration
    return {
        "known_distance": rules.known_distance,
        "new_distance": rules.new_distance,
        "source": rules.source,
        "links": curve and curve.samples,
        "individuals": curve and curve.individuals,
        "expected_calibration_error": curve and curve.ece,
    }


def _learn(
    config: Config,
    species: str,
    recipe: str,
    learned: pa.Table,
    held: pa.Table,
    before: SpeciesRules | None,
    look: LookStage,
) -> SpeciesRules:
    rows = learned.filter(pc.equal(learned["species"], species))
    folder = store.join(str(config.store), recipe)
    found = embeddings.read_embeddings(folder, rows["annotation_id"].combine_chunks())
    embeddings.check_accounted(
        rows["annotation_id"], found.found, pa.array([], pa.string()), folder
    )
    vectors = np.ascontiguousarray(found.vectors)
    nothing = schema.DECISIONS.empty_table()
    own = held.filter(pc.equal(held["species"], species))
    modes = settle_modes(config.identify.rules(species), own, nothing, before)
    for reason in modes.reasons:
        say(f"rules: {species}: {reason}")
    return make_rules(config, species, recipe, rows, vectors, modes, before, look)
