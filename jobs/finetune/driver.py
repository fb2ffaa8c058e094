"""The fine-tuning job: split, train, compare with the start, promote what is better, report.

    OUT/checkpoint/      the model, if it is better: `reid embed --model OUT/checkpoint`
    OUT/rejected/        the model, if it is not
    OUT/metrics.json     before and after, on held-out rows; a run's last file
    OUT/summary.json     the job's last file: with it, and every run's metrics.json, it is done
    OUT/report.html      curves, figures, examples
    OUT/split.parquet    who was held out
    OUT/history.*        a record of each epoch, as JSON and Parquet
    OUT/tensorboard/     the same for TensorBoard
    OUT/training/        stored epochs, to go on from

With folds, each has these in OUT/fold-<n>/, and OUT the figures over all of them.
"""

import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common import outputs
from jobs.common.console import console, print_result, say
from jobs.common.embedded import EmbedStage, check_failures
from jobs.common.inputs import check_species_settings, read_sources
from jobs.common.session import joins_cluster, ray_session
from jobs.finetune import epochs, outcome, score, training_page
from jobs.finetune.split_plan import (
    HELD_OUT,
    SPLIT,
    TRAIN,
    VALIDATION,
    Plan,
    check_record,
    is_fold,
    labelled_rows,
    make_plans,
    make_record,
)
from jobs.finetune.train import fitting_workers, new_session, train, trains_here
from jobs.finetune.watch import Watch
from jobs.finetune.worker import OUT_OF_TIME, TrainTask
from reid import schema, store
from reid.config import Config
from reid.config.finetune_section import Training
from reid.errors import InputError
from reid.models import find_spec
from reid.training import TrainSettings
from reid.training.network import start_from

HISTORY = "history"


def finetune(config: Config, embed: EmbedStage) -> None:
    """Train, or go on with what was begun in this output folder, or say that it is done.

    Raises:
        InputError: the labels, the model or the settings cannot be used, or the folder is taken.
        TrainingDivergedError: the loss is no number any more; the last good epoch is kept.
        TooManyFailuresError: after everything that worked was written.
    """
    started = time.perf_counter()
    reading = read_sources(config)
    known = reading.annotations["species"].unique().to_pylist()
    check_species_settings(config, known, ["finetune", "images"])
    rows, more = labelled_rows(reading.annotations, keep_encounters=config.finetune.keep_encounters)
    start = _start_model(config)
    # Built here once, so that settings which do not fit the model are refused before anything starts.
    digest = start_from(_settings(config, start)).digest
    plans, still_more = make_plans(config, rows)
    record = make_record(config, rows, digest)
    check_record(config.out, record, begun=_begun(config.out))
    unfinished = [plan for plan in plans if not _finished(config, plan)]
    if not unfinished and "finetune" in outputs.read_summary(config.out):
        say(f"{config.out} is finished: nothing to do. For another training, give another --out")
        _conclude(config, plans, None)
        return
    for note in more + still_more:
        say(f"note: {note}")
    outputs.write_config(config)
    store.remove(store.join(config.out, outputs.SUMMARY))  # until all that follows is done again
    if unfinished:
        here = trains_here(config)
        with nullcontext() if here else ray_session(config.address):
            for plan in unfinished:
                _run(config, embed, plan, start, record, here=here)
    if all(_finished(config, plan, more_time=True) for plan in plans):
        store.remove(store.join(config.out, "training", "cache"))
    failures = _one_each([reading.failures, *(outputs.read_failures(plan.out) for plan in plans)])
    outputs.write_failures(config, failures)
    _conclude(config, plans, time.perf_counter() - started)
    check_failures(failures, len(rows) + len(reading.failures), config.max_failures)


def _run(
    config: Config,
    embed: EmbedStage,
    plan: Plan,
    start: str,
    record: dict[str, Any],
    *,
    here: bool,
) -> None:
    """One training run from its split to its report."""
    name = "train" if plan.fold is None else f"fold {plan.fold}"
    counts = ", ".join(
        f"{label} {(plan.parts == part).sum():,} of {plan.individuals(part):,}"
        for label, part in (("train", TRAIN), ("validation", VALIDATION), ("held out", HELD_OUT))
        if (plan.parts == part).any()
    )
    say(f"{name}: images of individuals: {counts}")
    folder = store.absolute(store.join(plan.out, "training"))
    store.write_table(store.join(plan.out, SPLIT), plan.table())
    rows_path = store.join(folder, "rows.parquet")
    parts = pa.array(plan.parts.tolist(), pa.string())
    rows = plan.rows.append_column("part", parts)
    if plan.fold is None:  # folds share one file of decoded images, with the rows of all
        rows = rows.filter(pc.not_equal(rows["part"], HELD_OUT))
    store.write_table(rows_path, rows)

    before, failed_before = score.embed_rows(config, embed, start, plan)
    workers, threads = fitting_workers(config)
    settings = _settings(config, start)
    about = {"data": record["data"], "fold": plan.fold, "versions": outputs.versions()}
    task = TrainTask(
        folder=folder,
        rows=rows_path,
        settings=settings,
        closed=plan.closed,
        images=config.images,
        cache=_cache(config),
        cache_gb=config.finetune.cache_gb,
        threads=threads,
        session=new_session(folder),
        keep=config.finetune.keep,
        patience=config.finetune.patience,
        validate_every=config.finetune.validate_every,
        time_limit_minutes=config.finetune.time_limit_minutes,
        about=about,
    )
    tensorboard = store.join(plan.out, "tensorboard")
    with Watch(name, epochs=settings.epochs, closed=plan.closed, tensorboard=tensorboard) as watch:
        train(config, task, watch, workers=workers, here=here)
    _tell_why_it_stopped(config, watch)

    best = epochs.best(watch.history)
    model = epochs.path(folder, best)
    after, failed_after = score.embed_rows(config, embed, model, plan)
    asked_before, asked_after = (score.held_out_queries(v, plan) for v in (before, after))
    metrics: dict[str, Any] = {
        "split": config.finetune.split,
        "decides": score.primary(plan.closed),
        "before": score.figures(asked_before, config.seed),
        "after": score.figures(asked_after, config.seed),
        "change_interval": score.change_interval(
            asked_before, asked_after, plan.closed, config.seed
        ),
    }
    metrics |= {
        "promoted": outcome.is_promoted(metrics, config.finetune.promote),
        "best_epoch": best + 1,
        "epochs": len(watch.history),
        "stopped": watch.stopped,
        "time_limit_minutes": config.finetune.time_limit_minutes,
        "images": {part: int((plan.parts == part).sum()) for part in np.unique(plan.parts)},
        "individuals": {part: plan.individuals(part) for part in np.unique(plan.parts)},
        "device": watch.device,
        "workers": workers,
        "weights_of_ranks": watch.ranks,
    }
    metrics["model"] = outcome.place_model(plan, model, metrics)
    _write_history(plan, watch.history)
    earlier = outputs.read_failures(plan.out)  # of an attempt before
    failures = _one_each([earlier, watch.failure_table(), failed_before, failed_after])
    store.write_table(store.join(plan.out, outputs.FAILURES), failures)
    training_page.write_page(
        config, plan, metrics, watch.history, (before, after), [asked_before, asked_after], failures
    )
    store.write_json(store.join(plan.out, outcome.METRICS), metrics)


def _start_model(config: Config) -> str:
    """The one model that training starts from; a local folder becomes absolute for the workers.

    Raises:
        InputError: there are several, or one a species.
    """
    if len(config.embed.model) != 1 or config.embed.per_species:
        raise InputError(
            "finetune starts from one model for all species: give one embed.model (--model), and no "
            f"embed.per_species (given: {', '.join(config.embed.model)})"
        )
    (name,) = config.embed.model
    spec = find_spec(name, revision=config.embed.revision)
    if spec.loader != "folder":
        return name
    prefix = "local-dir:" if name.startswith("local-dir:") else ""
    return prefix + store.absolute(spec.source)  # workers have another working directory


def _settings(config: Config, start: str) -> TrainSettings:
    return TrainSettings(
        model=start,
        revision=config.embed.revision,
        trust_remote_code=config.embed.trust_remote_code,
        seed=config.seed,
        **config.finetune.model_dump(include=set(Training.model_fields)),
    )


def _cache(config: Config) -> str | None:
    """Where decoded images are kept: beside the results where these are on this machine's disk."""
    if config.finetune.cache is not None:
        return store.absolute(config.finetune.cache)
    if store.is_remote(config.out) or joins_cluster(config.address):
        return None
    return store.absolute(store.join(config.out, "training", "cache"))


def _write_history(plan: Plan, history: list[dict[str, Any]]) -> None:
    store.write_json(store.join(plan.out, f"{HISTORY}.json"), history)
    flat = [
        {
            **{key: value for key, value in record.items() if isinstance(value, int | float)},
            **{f"validation_{name}": value for name, value in record["validation"].items()},
        }
        for record in history
    ]
    names = list(dict.fromkeys(name for record in flat for name in record))
    columns = {name: [record.get(name) for record in flat] for name in names}
    store.write_table(store.join(plan.out, f"{HISTORY}.parquet"), pa.table(columns))


def _begun(out: str) -> bool:
    """True if a run has a whole epoch or figures there, in folds or not, as planned now or otherwise."""
    runs = [out, *(folder for folder in store.list_folders(out) if is_fold(folder))]
    return any(
        store.exists(store.join(run, outcome.METRICS)) or epochs.stored(store.join(run, "training"))
        for run in runs
    )


def _finished(config: Config, plan: Plan, *, more_time: bool = False) -> bool:
    """True if a run has nothing left to do.

    One that ran out of time goes on if the limit is higher now; `more_time` asks as if it were.
    """
    try:
        metrics = store.read_json(store.join(plan.out, outcome.METRICS))
    except FileNotFoundError:
        return False
    if metrics["stopped"] != OUT_OF_TIME:
        return True
    limit = config.finetune.time_limit_minutes
    return not (more_time or limit is None or limit > metrics["time_limit_minutes"])


def _tell_why_it_stopped(config: Config, watch: Watch) -> None:
    if watch.stopped == OUT_OF_TIME:
        say(
            f"stopped after epoch {len(watch.history)} of {config.finetune.epochs}: the next one would "
            f"pass finetune.time_limit_minutes={config.finetune.time_limit_minutes:g}"
        )
    elif watch.stopped != "finished":
        say(
            f"stopped after epoch {len(watch.history)} of {config.finetune.epochs}: {watch.stopped} in "
            f"{config.finetune.patience} validations"
        )


def _one_each(failures: list[pa.Table]) -> pa.Table:
    """One row an annotation; training, validation and both comparisons meet the same bad image."""
    frame = pa.concat_tables(failures).to_pandas().drop_duplicates("annotation_id")
    return pa.Table.from_pandas(frame, schema=schema.FAILURES, preserve_index=False)


def _write_conclusion(
    config: Config,
    plans: list[Plan],
    found: list[dict[str, Any]],
    overall: dict[str, Any],
    seconds: float,
) -> None:
    if len(found) > 1:
        store.write_json(store.join(config.out, outcome.METRICS), overall)
        training_page.write_overview(config, plans, found, overall)
    summary = {name: overall[name] for name in ("decides", "before", "after")}
    summary["models"] = [metrics["model"] for metrics in found]
    summary["promoted"] = [metrics["promoted"] for metrics in found]
    outputs.write_summary(config, "finetune", {**summary, "seconds": round(seconds, 2)})


def _conclude(config: Config, plans: list[Plan], seconds: float | None) -> None:
    """Say what came of it; with `seconds`, also write it down: the summary, and what folds share."""
    found = [store.read_json(store.join(plan.out, outcome.METRICS)) for plan in plans]
    overall = found[0] if len(found) == 1 else outcome.over_folds(found)
    if seconds is not None:
        _write_conclusion(config, plans, found, overall, seconds)
    console.print(outcome.closing_table(overall))
    for plan, metrics in zip(plans, found, strict=True):
        which = "" if plan.fold is None else f"fold {plan.fold}: "
        say(f"{which}{outcome.verdict(metrics)}; {outcome.whereabouts(metrics)}")
        if metrics["promoted"] != outcome.is_promoted(metrics, config.finetune.promote):
            say(
                f"note: {which}finetune.promote={config.finetune.promote} moves no model of a run that is "
                "finished; use it from where it is"
            )
    if len(found) > 1 and all(metrics["promoted"] for metrics in found):
        say("as an ensemble: --model " + ",".join(metrics["model"] for metrics in found))
    took = "" if seconds is None else f"{seconds:.0f} s in all. "
    say(f"{took}Results: {config.out}")
    print_result(store.join(config.out, outputs.REPORT))
