"""`reid finetune --matcher`: LightGlue learns from the pairs of `reid match` which coats are one.

    OUT/matcher/     lightglue.safetensors and matcher.json, if it tells held-out animals apart better:
                     `reid match pairs.matcher=OUT/matcher`
    OUT/matcher-rejected/   the same, if it does not

Keypoints and descriptors stay as they are; what learns is what matches them.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from jobs.common import outputs
from jobs.common.console import print_result, progress, say
from jobs.common.session import finds_gpu, ray_session
from jobs.finetune.train import fitting_workers, trains_here
from reid import schema, store
from reid.config import Config
from reid.errors import InputError, ReidError
from reid.keypoints import KeypointStore, descriptors_of
from reid.pairs import MATCHERS, area_under_curve, extractor_of
from reid.pairs.lightglue import FEWEST as FEWEST_POINTS
from reid.pairs.lightglue import lightglue_weights, trainable_lightglue
from reid.pairs.matchers import TUNED, WEIGHTS
from reid.precision import AskedPrecision
from reid.splits import held_out_individuals
from reid.training.matcher_triplets import (
    MARGIN,
    Confidences,
    Triplet,
    hard_triplets,
    judged_pairs,
    relaxed_score,
    train_matcher,
)
from reid.tune import encode_labels

if TYPE_CHECKING:
    import torch

MATCHER, REJECTED = "matcher", "matcher-rejected"
FEWEST = 8  # triplets to learn from, and pairs to judge by
RECENT = 10  # steps whose loss is shown
MOST_JUDGED = 400  # pairs of held-out animals


@dataclass(frozen=True)
class MatcherTask:
    """What a worker needs to know.

    Attributes:
        keypoints: folder of the recipe.
        extractor: whose descriptors they are.
        weights: to begin with; None: those of the package.
        ids: of the rows that triplets name.
        train: triplets.
        judged: (k, 2) pairs of rows.
        same: (k,) bool, those that are of one animal.
        result: file that the first worker writes.
    """

    keypoints: str
    extractor: str
    weights: str | None
    ids: list[str]
    train: list[Triplet]
    judged: NDArray[np.int64]
    same: NDArray[np.bool_]
    result: str
    epochs: int
    rate: float
    batch: int
    seed: int
    device: str
    threads: int
    precision: AskedPrecision = "auto"


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
        train_epochs(task)
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


def matcher_worker(given: dict[str, Any]) -> None:
    """Ray Train's entry."""
    import ray.train

    context = ray.train.get_context()
    train_epochs(given["task"], context.get_world_rank(), context.get_world_size())


def train_epochs(task: MatcherTask, rank: int = 0, world: int = 1) -> None:
    """One worker's share of the triplets, gradients averaged with the others'.

    The first worker writes the weights, and a record for the start and each epoch.
    """
    import torch

    from reid.training.ranks import agree_on_precision

    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    points = _points(task)
    train = [one for one in task.train if {*one} <= points.keys()]
    precision, _ = agree_on_precision(task.precision, task.device, rank=rank, world=world)
    module = trainable_lightglue(task.weights, precision=precision).to(task.device)

    def confidences(a: int, b: int) -> torch.Tensor:
        found: torch.Tensor = module(*points[a], *points[b])
        return found

    history: list[dict[str, Any]] = []
    if rank == 0:
        say(f"matcher: judged as it is, by {len(task.judged):,} pairs ({precision})")
        history.append({"epoch": 0, "auc": _auc(task, points, confidences), "loss": None})
    for epoch in range(1, task.epochs + 1):
        order = np.random.default_rng([task.seed, epoch]).permutation(len(train))
        # As many for each worker: unequal shares would wait for each other for ever.
        own = order[: len(order) // world * world][rank::world]
        steps = train_matcher(
            confidences,
            [one for one in module.parameters() if one.requires_grad],
            [train[place] for place in own],
            batch=task.batch,
            margin=MARGIN,
            rate=task.rate,
            share_gradients=partial(_average_gradients, world=world),
        )
        losses = []
        # Of several workers this is seen in the first one's log.
        with progress(f"matcher, epoch {epoch}", len(own), "triplets") as advance:
            for loss in steps:
                losses.append(loss)
                advance(task.batch, f"loss {np.mean(losses[-RECENT:]):.3f}")
        if rank == 0:
            auc = _auc(task, points, confidences)
            history.append({"epoch": epoch, "auc": auc, "loss": float(np.mean(losses))})
            _write_epoch(task.result, module, history)


def _points(task: MatcherTask) -> dict[int, tuple["torch.Tensor", ...]]:
    """Row → its points, the picture's size and descriptors, of rows of triplets and judged pairs that have enough."""
    import torch

    named = {task.ids[row] for one in [*task.train, *task.judged.tolist()] for row in one}
    stored = KeypointStore(task.keypoints).read(sorted(named))
    points = {}
    for row, name in enumerate(task.ids):
        one = stored.get(name) if name in named else None
        if one is None or len(one.keypoints.xy) < FEWEST_POINTS:
            continue
        descriptors = descriptors_of(task.extractor, one.keypoints.descriptors)
        points[row] = tuple(
            torch.from_numpy(np.ascontiguousarray(values))[None].to(task.device)
            for values in (one.keypoints.xy, one.size, descriptors)
        )
    return points


def _auc(task: MatcherTask, points: Mapping[int, Any], confidences: Confidences) -> float:
    """How often a pair of one animal scores above one of two; what has too few points scores 0."""
    import torch

    with torch.inference_mode():
        scores = [
            float(relaxed_score(confidences(a, b))) if {a, b} <= points.keys() else 0.0
            for a, b in task.judged.tolist()
        ]
    return area_under_curve(np.array(scores), task.same)


def _average_gradients(parameters: Sequence["torch.nn.Parameter"], *, world: int) -> None:
    import torch

    for one in parameters if world > 1 else ():
        if one.grad is not None:
            torch.distributed.all_reduce(one.grad)
            one.grad /= world


def _write_epoch(result: str, module: Any, history: Sequence[dict[str, Any]]) -> None:
    from safetensors.torch import save

    store.write_bytes(result, save(lightglue_weights(module)))
    store.write_json(f"{result}.json", history)
