"""`reid finetune --matcher`: LightGlue learns from the pairs of `reid match` which coats are one.

    OUT/matcher/     lightglue.safetensors and matcher.json, if it tells held-out animals apart better:
                     `reid match pairs.matcher=OUT/matcher`
    OUT/matcher-rejected/   the same, if it does not

Keypoints and descriptors stay as they are; what learns is what matches them.
"""

import hashlib
import time
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.common import outputs
from jobs.common.console import print_result, say
from jobs.common.session import finds_gpu, ray_session
from jobs.finetune.matcher_worker import MatcherTask, matcher_worker, train_matcher_epochs
from jobs.finetune.train import fitting_workers, trains_here
from reid import schema, store
from reid.config import Config
from reid.errors import InputError, ReidError
from reid.pairs import MATCHERS, extractor_of
from reid.pairs.matchers import TUNED, WEIGHTS, pictures_learned_from
from reid.splits import held_out_individuals
from reid.training.matcher_triplets import (
    hard_triplets,
    judged_pairs,
)
from reid.tune import encode_labels

MATCHER, REJECTED = "matcher", "matcher-rejected"
FEWEST = 8  # triplets to learn from, and pairs to judge by
MOST_JUDGED = 400  # pairs of held-out animals


def finetune_matcher(config: Config) -> None:
    """Train the matcher of an output folder that `reid match` has written.

    Raises:
        InputError: nothing was matched here, with LightGlue, or too few animals are labelled.
        MissingPackageError: the extra `local` is not installed.
        TrainingDivergedError: the loss is no number any more.
    """
    started = time.perf_counter()
    start = config.pairs.matcher
    if start in MATCHERS and start != "aliked-lightglue":
        raise InputError(f"pairs.matcher={start} has nothing to learn; aliked-lightglue has")
    recipe = _recipes(config)
    rows, pairs, log_odds = _labelled_pairs(config)
    who = encode_labels(np.asarray(rows["identity"].to_pylist(), dtype=object))
    encounters = np.asarray(rows["encounter_id"].to_pylist(), dtype=object)
    encounter = encode_labels(encounters)
    held_out = held_out_individuals(
        who, config.finetune.hold_out, encounters=encounters, seed=config.seed
    )
    people = who[pairs]
    people[(encounter[pairs[:, 0]] == encounter[pairs[:, 1]]) & (encounter[pairs[:, 0]] >= 0)] = -1
    away = held_out[pairs]
    train = hard_triplets(pairs, log_odds, np.where(away.any(axis=1, keepdims=True), -1, people))
    own = np.where(away.all(axis=1, keepdims=True), people, -1)
    judged, same = judged_pairs(pairs, own, MOST_JUDGED, seed=config.seed)
    if len(train) < FEWEST or len(judged) < FEWEST:
        raise InputError(
            f"finetune --matcher: {len(train)} triplets (two pictures of one animal, one of another, all in one "
            f"shortlist) to train on and {len(judged)} pairs of animals held out to judge by; {FEWEST} of "
            "each are needed: label more images, and run `reid match` again"
        )
    say(
        f"matcher: {len(train):,} triplets to train on, {len(judged):,} pairs of animals that are held out"
    )
    aside = store.join(config.out, f"training-{MATCHER}")
    here = trains_here(config)
    with nullcontext() if here else ray_session(config.address):
        workers, threads = fitting_workers(config)
        task = MatcherTask(
            keypoints=recipe,
            extractor=extractor_of(start),
            weights=None if start in MATCHERS else store.join(start, WEIGHTS),
            ids=rows["annotation_id"].to_pylist(),
            train=train,
            judged=judged,
            same=same,
            result=store.join(store.absolute(aside), WEIGHTS),
            epochs=config.finetune.matcher_epochs,
            rate=config.finetune.matcher_rate,
            batch=config.finetune.matcher_batch,
            seed=config.seed,
            device="cuda" if finds_gpu(config.finetune.device) else "cpu",
            threads=threads,
            precision=config.finetune.precision,
        )
        if here:
            _train_here(task)
        else:
            _train_on_ray(config, task, workers, aside)
    history: list[dict[str, Any]] = store.read_json(f"{task.result}.json")
    before, after = history[0]["auc"], history[-1]["auc"]
    better = after > before
    place = store.join(config.out, MATCHER if better else REJECTED)
    weights = store.read_bytes(task.result)
    digest = hashlib.sha256(weights).hexdigest()[:12]
    store.write_bytes(store.join(place, WEIGHTS), weights)
    about = {
        "extractor": task.extractor,
        "digest": digest,
        "start": start,
        "triplets": len(train),
        # Their pairs say nothing of what it is worth: see jobs.common.learned_from.
        "learned_from": sorted(
            {*pictures_learned_from(start), *(task.ids[row] for one in train for row in one)}
        ),
        "history": history,
        "seconds": round(time.perf_counter() - started, 1),
        "versions": outputs.versions(),
    }
    store.write_json(store.join(place, TUNED), about)
    store.remove(aside)
    say(
        f"matcher: of {len(task.judged):,} pairs of animals held out, half of them of one animal, such a pair scores "
        f"above one of two in {before:.3f} of the cases before and {after:.3f} after ({about['seconds']} s)"
    )
    if better:
        say(f"use it: reid match --out {config.out} pairs.matcher={place}")
    else:
        say(f"it is no better than its start, and lies in {place}")
    print_result(place)


def _recipes(config: Config) -> str:
    """Folder of the keypoints that the pairs were matched by."""
    reported = outputs.read_summary(config.out).get("match", {}).get("species", {})
    folders = {one["recipe"] for one in reported.values()}
    if len(folders) != 1:
        raise InputError(
            f"finetune --matcher: {config.out} has pairs by {len(folders)} recipes of keypoints, and one is "
            "needed: run `reid match` first, with one window for all species"
        )
    return store.absolute(store.join(config.store_path, "keypoints", folders.pop()))


def _labelled_pairs(config: Config) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Annotations, pairs of their rows, and log-odds, of pairs with both ends labelled."""
    annotations = schema.conform(
        outputs.read_stage(config.out, outputs.ANNOTATIONS, "embed"), schema.ANNOTATIONS
    )
    table = outputs.read_stage(config.out, outputs.PAIRS, "match")
    ids = annotations["annotation_id"].combine_chunks()
    ends = [pc.index_in(table[name].combine_chunks(), value_set=ids) for name in ("a_id", "b_id")]
    if any(end.null_count for end in ends):
        raise InputError(f"{outputs.PAIRS} is of other images: run `reid match` again")
    pairs = np.stack([end.to_numpy() for end in ends], axis=1).astype(np.int64)
    return annotations, pairs, table["log_odds"].to_numpy().astype(np.float64)


def _train_here(task: MatcherTask) -> None:
    """Train in this process."""
    import torch

    threads_before = torch.get_num_threads()
    try:
        train_matcher_epochs(task)
    finally:
        torch.set_num_threads(threads_before)


def _train_on_ray(config: Config, task: MatcherTask, workers: int, aside: str) -> None:
    """Train by Ray Train."""
    import ray.train
    from ray.train.torch import TorchTrainer

    from jobs.finetune.ray_training import max_restarts

    filesystem, inner = store.filesystem(store.join(store.absolute(aside), "ray"))
    gpu = task.device == "cuda"
    trainer = TorchTrainer(
        matcher_worker,
        train_loop_config={"task": task},
        scaling_config=ray.train.ScalingConfig(
            num_workers=workers,
            use_gpu=gpu,
            resources_per_worker={"CPU": task.threads, **({"GPU": 1} if gpu else {})},
        ),
        run_config=ray.train.RunConfig(
            name=f"{MATCHER}-{time.time_ns()}",
            storage_path=inner,
            storage_filesystem=filesystem,
            failure_config=ray.train.FailureConfig(max_failures=max_restarts(config)),
            logging_config=ray.train.LoggingConfig(log_level="ERROR"),
        ),
    )
    try:
        trainer.fit()
    except ray.train.TrainingFailedError as error:
        for cause in error.worker_failures.values() if hasattr(error, "worker_failures") else ():
            if isinstance(cause, ReidError):
                raise cause from error
        raise
