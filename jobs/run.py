"""Commands that join pipelines; no pipeline imports another.

`reid run` is the whole way: sources → annotations → embeddings → individuals → report. A stage is imported
when it is its turn, so that what is wrong with a command's arguments is said before torch is loaded.
"""

import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.common import outputs
from jobs.common.beforehand import check_models
from jobs.common.closing_table import closing_table
from jobs.common.console import console, print_result, say
from jobs.common.embedded import EmbedSummary, check_failures, say_failures
from jobs.common.inputs import check_species_settings, read_sources, with_camera_times
from jobs.common.look_time import look_beforehand, look_not_taken
from jobs.common.session import ray_session
from jobs.embed.embed_driver import embed
from jobs.neighbours.placement import wants_tasks
from reid import store
from reid.config import Config
from reid.errors import InputError, MissingPackageError
from reid.sources.places import absolute

if TYPE_CHECKING:
    from jobs.cluster.groups import Group


def run_embed(config: Config) -> EmbedSummary:
    """Sources → annotations.parquet, the embedding store, failures.parquet.

    Raises:
        TooManyFailuresError: after everything that worked was written.
    """
    failures, summary = _embed(config)
    if outputs.is_outdated(config.out, "cluster"):
        say(
            f"note: {outputs.CLUSTERS}, {outputs.IDENTITIES} and {outputs.REPORT} in {config.out} show what "
            "there was before; `reid cluster` makes them anew"
        )
    check_failures(failures, summary.annotations, config.max_failures)
    return summary


def run_foreground(config: Config, to: str) -> None:
    """Stored patch tokens → a table of boxes around the animals."""
    from jobs.embed.foreground_boxes import write_boxes

    write_boxes(config, to)


def _embed(
    config: Config, sections: Sequence[str] = ("embed", "images")
) -> tuple[pa.Table, EmbedSummary]:
    """The embedding stage, whatever failed in it; `sections` of the configuration will be used."""
    started = time.perf_counter()
    check_models(config)
    reading = read_sources(config)
    annotations = reading.annotations
    check_species_settings(config, annotations["species"].unique().to_pylist(), sections)
    labelled = len(annotations) - annotations["identity"].null_count
    reading_seconds = round(time.perf_counter() - started, 2)
    outputs.write_config(config)
    store.write_table(store.join(config.out, outputs.ANNOTATIONS), annotations)
    if "pairs" in sections and (beforehand := look_beforehand(config, annotations)):
        say(f"note: {beforehand}")
    summary, failures = embed(config, annotations)
    annotations, notes = with_camera_times(config, reading, summary.folders.values())
    store.write_table(store.join(config.out, outputs.ANNOTATIONS), annotations)
    failures = pa.concat_tables([reading.failures, failures])
    summary.annotations += len(reading.failures)
    summary.failed += len(reading.failures)
    summary.labelled, summary.sources = labelled, reading.sources
    summary.notes, summary.warnings = reading.notes + notes, reading.warnings
    summary.reading_seconds = reading_seconds
    outputs.write_failures(config, failures)
    outputs.write_summary(config, "embed", summary)
    rate = f", {summary.images_per_second:,.0f} images/s" if summary.images_per_second else ""
    say(
        f"embed: {summary.annotations:,} images read, {summary.embedded:,} embedded and written, "
        f"{summary.reused:,} skipped as they were embedded already, {summary.failed:,} failed "
        f"({summary.seconds:.1f} s{rate}; {', '.join(summary.runtimes) or 'nothing to do'})"
    )
    say_failures(failures)
    return failures, summary


def run_classify(config: Config, taxonomy: str | None, threshold: float) -> None:
    """Sources → the probabilities of a classifier's classes → taxa.parquet and taxa.csv.

    Args:
        config: the resolved configuration.
        taxonomy, threshold: as of `jobs.cluster.classifying.classify`.

    Raises:
        TooManyFailuresError: after everything that worked was written.
    """
    from jobs.cluster.classifying import classifier, classify

    embed_settings = config.embed.model_copy(update={"model": [classifier(config)]})
    config = config.model_copy(update={"embed": embed_settings})
    failures, summary = _embed(config)
    classify(config, taxonomy, threshold)
    check_failures(failures, summary.annotations, config.max_failures)


def run_cluster(config: Config, embeddings: str | None = None) -> None:
    """Embeddings → clusters.parquet, identities.csv, tuning.json, and a closing table.

    Args:
        config: the resolved configuration.
        embeddings: a file of anybody's; None: those of the output folder.
    """
    _cluster(config, embeddings)
    _close(config)


def _cluster(config: Config, embeddings: str | None = None) -> None:
    from jobs.cluster.clustering import cluster
    from jobs.cluster.decided import keep, take_in
    from jobs.cluster.groups import read_embedding_file, read_groups
    from jobs.cluster.trials import record_trial

    groups = (
        read_groups(config.out)
        if embeddings is None
        else read_embedding_file(embeddings, config.species)
    )
    known = {group.species for group in groups}
    if embeddings is None:  # of some species all images may have failed
        known |= outputs.read_summary(config.out).get("embed", {}).get("folders", {}).keys()
    check_species_settings(config, known, ["cluster", "pairs"])
    outputs.write_config(config)
    by_pairs = config.pairs.mode != "off"
    if by_pairs and embeddings is not None:
        raise InputError(
            "pairs.mode: a closer look at pairs needs images, and --embeddings has none; leave it out"
        )
    replaced = store.exists(store.join(config.out, outputs.CLUSTERS))
    with ray_session(config.address) if wants_tasks(config) or by_pairs else nullcontext():
        if looked := _groups_to_match(config, groups):
            _match(config, looked)
        decisions = take_in(config, groups)
        summary = cluster(config, groups, decisions)
    keep(config, decisions)
    before = outputs.stage_files(config.out, "cluster").get(outputs.CLUSTERS)
    outputs.write_summary(config, "cluster", {**asdict(summary), "embeddings": embeddings})
    now = outputs.stage_files(config.out, "cluster")[outputs.CLUSTERS]
    record_trial(config, groups, summary, now, before or "" if replaced else None)
    for page in (outputs.REPORT, outputs.EVALUATION):
        if before != now and outputs.set_aside(config.out, page):
            say(f"note: {page} shows the clusters of before, and is now {outputs.OUTDATED}{page}")
    several = summary.individuals - summary.seen_once
    say(
        f"cluster: {summary.images:,} embeddings of {len(summary.species)} species read; {several:,} individuals "
        f"seen twice or more, {summary.seen_once:,} seen once, written ({summary.seconds:.1f} s)"
    )
    for warning in summary.warnings:
        say(f"warning: {warning}")


def _groups_to_match(config: Config, groups: "Sequence[Group]") -> "Sequence[Group]":
    """The species whose pairs are looked at: on auto those with labels that can say whether it helps."""
    from reid.tune import can_tune

    if config.pairs.mode == "auto":
        return [group for group in groups if can_tune(group.identities)]
    return groups if config.pairs.mode == "on" else []


def run_match(config: Config) -> None:
    """Embeddings and images → keypoints, the evidence of pairs, pairs.parquet.

    Raises:
        InputError: nothing was embedded here, or settings that do not fit.
        MissingPackageError: the matcher needs the extra `local`.
    """
    from jobs.cluster.groups import read_groups

    groups = read_groups(config.out)
    check_species_settings(config, {group.species for group in groups}, ["images", "pairs"])
    outputs.write_config(config)
    with ray_session(config.address):
        _match(config, groups)


def run_fit_window(config: Config) -> None:
    """Labelled images → the window in which votes tell animals apart best, and a picture of it."""
    from jobs.cluster.groups import read_groups
    from jobs.pairs.fit_window import fit_window

    fit_window(config, read_groups(config.out))


def _match(config: Config, groups: "Sequence[Group]") -> None:
    """The pairs stage; needs a Ray session."""
    from jobs.pairs.match import match

    summary = match(config, groups)
    outputs.write_summary(config, "match", summary)
    say(
        f"match: {summary.pairs:,} pairs of {len(summary.species)} species written "
        f"({summary.seconds:.1f} s); {store.join(config.out, outputs.PAIRS)}"
    )


def run_report(config: Config) -> None:
    """The tables of an output folder → report.html."""
    from jobs.cluster.reporting import report

    started = time.perf_counter()
    written = report(config, partial(_shown_pairs, config))
    seconds = round(time.perf_counter() - started, 2)
    outputs.write_summary(config, "report", {**written, "seconds": seconds})
    say(f"report: {written['bytes'] / 1e6:.1f} MB written ({seconds:.1f} s)")
    for sentence in written["left_out"]:
        say(f"report leaves out: {sentence}")


def _shown_pairs(
    config: Config, rows: pa.Table, pairs: Sequence[tuple[str, str]], known: pa.Table
) -> Mapping[tuple[str, str], Any]:
    from jobs.pairs.shown import shown_evidence

    try:
        return shown_evidence(config, rows, pairs, known)
    except MissingPackageError as error:
        say(f"note: the report shows no pairs: {error}")
        return {}


def run_evaluate(config: Config, embeddings: str | None = None, labels: str | None = None) -> None:
    """Embeddings and labels → evaluation.json, and the report of the output folder again.

    Args:
        config: the resolved configuration.
        embeddings: a file of anybody's; None: those of the output folder.
        labels: a table of identities; None: those that came with the images.
    """
    from jobs.cluster.evaluate import evaluate

    wants_ray = embeddings is not None and wants_tasks(config)
    with ray_session(config.address) if wants_ray else nullcontext():
        evaluate(config, embeddings, labels)
    clustered = store.exists(store.join(config.out, outputs.CLUSTERS))
    if embeddings is None and clustered and config.report.enabled:
        run_report(config)


def run_identify(config: Config) -> None:
    """Upload → catalogue: see `jobs.catalogue.identification.identify`."""
    from jobs.catalogue.identification import identify
    from jobs.pairs.look import look

    identify(config, embed, look)


def run_calibrate(config: Config) -> None:
    """Labelled images → a catalogue's thresholds: see `jobs.catalogue.calibrate.calibrate`."""
    from jobs.catalogue.calibrate import calibrate
    from jobs.pairs.look import look

    calibrate(config, embed, look)


def run_review(config: Config, out: str, *, results: str | None, **wanted: Any) -> None:
    """Catalogue, or the output folder of a run → a page of pairs to judge.

    What is wanted beside is `jobs.catalogue.reviewing.review`'s. A closer look is taken at the pairs of species that the catalogue compares so, or of all with `pairs=on`.
    """
    from jobs.catalogue.reviewing import review, reviewable_catalogue

    if results is not None:
        from jobs.cluster.decided import reviewable_run

        if config.identify.catalogue is not None:
            raise InputError("give either --catalogue or --results, of which folder is asked about")
        review(config, out, reviewable_run(absolute(results)), **wanted)
        return
    if config.identify.catalogue is None:
        meant = store.exists(store.join(out, outputs.ANNOTATIONS))
        raise InputError(
            f"--out is the page; did you mean --results {shlex.quote(out)}?"
            if meant
            else "give --catalogue (of `reid identify`) or --results (output folder of `reid run`)"
        )
    from jobs.catalogue.admin import catalogue_place
    from jobs.catalogue.closer_look import settings_for_pages

    place = catalogue_place(config.identify.catalogue)
    about = reviewable_catalogue(place)
    inside = config.model_copy(update={"store": store.join(place, "embeddings")})
    settings = settings_for_pages(inside, place)

    def look(rows: pa.Table, pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Any]:
        from jobs.pairs.shown import find_keypoints, shown_evidence

        found: dict[tuple[str, str], Any] = {}
        with ray_session(config.address):
            for name, own in settings.items():
                here = rows.filter(pc.equal(rows["species"], name))
                ids = {*here["annotation_id"].to_pylist()}
                if ids:
                    find_keypoints(own, here)
                    found |= shown_evidence(own, here, [pair for pair in pairs if pair[0] in ids])
        return found

    review(config, out, about, look=look if settings else None, **wanted)


def run_finetune(config: Config) -> None:
    """Labelled images → a better model: see `jobs.finetune.driver.finetune`."""
    from jobs.finetune.driver import finetune

    finetune(config, embed)


def run_finetune_matcher(config: Config) -> None:
    """Matched pairs with labels → a better matcher: see `jobs.finetune.tune_matcher`."""
    from jobs.finetune.tune_matcher import finetune_matcher

    finetune_matcher(config)


def run(config: Config, score: Callable[[Config], dict[str, Any]] | None = None) -> None:
    """Every stage, and a closing table.

    Args:
        config: the resolved configuration.
        score: compares the result with a truth that the stages do not see; for `reid demo`.

    Raises:
        TooManyFailuresError: at the end, after every stage has worked on the images that are fine.
    """
    started = time.perf_counter()
    failures, embedded = _embed(config, ("embed", "images", "cluster", "pairs"))
    if len(failures) == embedded.annotations:
        check_failures(failures, embedded.annotations, 0)  # nothing is left to cluster
    _cluster(config)
    if score is not None:
        outputs.write_summary(config, "truth", score(config))
    if config.report.enabled:
        run_report(config)
        store.remove(store.join(config.out, outputs.OUTDATED + outputs.REPORT))  # has a successor
    _close(config)
    say(f"{time.perf_counter() - started:.0f} s in all. Results: {config.out}")
    if config.report.enabled:
        print_result(store.join(config.out, outputs.REPORT))
    check_failures(failures, embedded.annotations, config.max_failures)


def _close(config: Config) -> None:
    """The closing table, and the verdict in words."""
    summary = outputs.read_summary(config.out)
    console.print(closing_table(summary))
    for sentence in summary["cluster"]["verdict"]["sentences"]:
        say(f"verdict: {sentence}")
    if next_step := look_not_taken(config, summary):
        say(f"next: {next_step}")
