"""A worker of `reid finetune --matcher`: its share of the triplets, epoch by epoch."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from jobs.common.console import progress, say
from reid import store
from reid.keypoints import KeypointStore, StoredKeypoints, descriptors_of
from reid.pairs import area_under_curve, match_pairs
from reid.pairs.lightglue import FEWEST, lightglue_weights, trainable_lightglue
from reid.pairs.matchers import LEAST_CONFIDENCE, Matches, mutual_best
from reid.precision import AskedPrecision
from reid.training.matcher_triplets import (
    MARGIN,
    Triplet,
    matcher_optimizer,
    train_matcher,
)

if TYPE_CHECKING:
    import torch

RECENT = 10  # steps whose loss is shown
KEPT_EVERY = 32  # steps, after which a run that is killed goes on from there


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

    @property
    def fingerprint(self) -> str:
        """Of all that the weights hang on, machines aside."""
        same_anywhere = replace(self, result="", device="", threads=0)
        said = [*vars(same_anywhere).values()]
        return hashlib.sha256(repr([*map(_plain, said)]).encode()).hexdigest()[:16]


def _plain(value: object) -> object:
    return value.tolist() if isinstance(value, np.ndarray) else value


def matcher_worker(given: dict[str, Any]) -> None:
    """Ray Train's entry."""
    import ray.train

    context = ray.train.get_context()
    train_matcher_epochs(given["task"], context.get_world_rank(), context.get_world_size())


def train_matcher_epochs(task: MatcherTask, rank: int = 0, world: int = 1) -> None:
    """One worker's share of the triplets, gradients averaged with the others'.

    The first worker writes the weights, and a record for the start and each epoch; and after some steps what
    the same task goes on from, if it is killed.
    """
    import torch

    from reid.training.ranks import agree_on_precision

    torch.set_num_threads(task.threads)
    torch.manual_seed(task.seed)
    stored = _stored(task)
    points = {
        row: _tensors(task, stored[name]) for row, name in enumerate(task.ids) if name in stored
    }
    train = [one for one in task.train if {*one} <= points.keys()]
    precision, _ = agree_on_precision(task.precision, task.device, rank=rank, world=world)
    module = trainable_lightglue(task.weights, precision=precision).to(task.device)
    parameters = [one for one in module.parameters() if one.requires_grad]
    optimizer = matcher_optimizer(parameters, task.rate)

    def confidences(a: int, b: int) -> torch.Tensor:
        found: torch.Tensor = module(*points[a], *points[b])
        return found

    kept = _read_kept(task, world)
    if kept is not None:
        module.load_state_dict(kept["weights"])
        optimizer.load_state_dict(kept["optimizer"])
        history, losses = kept["history"], kept["losses"]
        if rank == 0:
            say(f"matcher: goes on after {len(losses):,} steps of epoch {len(history)}")
    else:
        history, losses = [], []
        if rank == 0:
            say(f"matcher: judged as it is, by {len(task.judged):,} pairs ({precision})")
            history.append({"epoch": 0, "auc": _auc(task, module, stored), "loss": None})
    first = len(kept["history"]) if kept else 1
    for epoch in range(first, task.epochs + 1):
        order = np.random.default_rng([task.seed, epoch]).permutation(len(train))
        # As many for each worker: unequal shares would wait for each other for ever.
        own = order[: len(order) // world * world][rank::world]
        steps = train_matcher(
            confidences,
            optimizer,
            [train[place] for place in own[len(losses) * task.batch :]],
            batch=task.batch,
            margin=MARGIN,
            share_gradients=partial(_average_gradients, world=world),
        )
        # Of several workers this is seen in the first one's log.
        with progress(f"matcher, epoch {epoch}", len(own), "triplets") as advance:
            advance(len(losses) * task.batch)
            for loss in steps:
                losses.append(loss)
                advance(task.batch, f"loss {np.mean(losses[-RECENT:]):.3f}")
                if rank == 0 and len(losses) % KEPT_EVERY == 0:
                    _keep(task, world, module, optimizer, history, losses)
        if rank == 0:
            auc = _auc(task, module, stored)
            history.append({"epoch": epoch, "auc": auc, "loss": float(np.mean(losses))})
            _write_epoch(task.result, module, history)
            _keep(task, world, module, optimizer, history, [])
        losses = []


def _keep(
    task: MatcherTask,
    world: int,
    module: Any,
    optimizer: Any,
    history: list[dict[str, Any]],
    losses: list[float],
) -> None:
    """Write what a run that is killed goes on from: the steps so far of the epoch after `history`."""
    import torch

    state = {
        "task": task.fingerprint,
        "workers": world,  # whose shares of the triplets the steps are
        "weights": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "history": history,
        "losses": losses,
    }
    data = io.BytesIO()
    torch.save(state, data)
    store.write_bytes(f"{task.result}.pt", data.getvalue())


def _read_kept(task: MatcherTask, world: int) -> dict[str, Any] | None:
    """What `_keep` wrote of this task; None: nothing, or of another one."""
    import torch

    try:
        data = store.read_bytes(f"{task.result}.pt")
    except FileNotFoundError:
        return None
    kept: dict[str, Any] = torch.load(io.BytesIO(data), weights_only=True, map_location="cpu")
    return kept if (kept["task"], kept["workers"]) == (task.fingerprint, world) else None


def _stored(task: MatcherTask) -> dict[str, StoredKeypoints]:
    """Keypoints by id, of pictures of triplets and judged pairs that have enough."""
    named = {task.ids[row] for one in [*task.train, *task.judged.tolist()] for row in one}
    stored = KeypointStore(task.keypoints).read(sorted(named))
    return {name: one for name, one in stored.items() if len(one.keypoints.xy) >= FEWEST}


def _tensors(task: MatcherTask, one: StoredKeypoints) -> tuple["torch.Tensor", ...]:
    """A picture's points, its size, and descriptors."""
    import torch

    descriptors = descriptors_of(task.extractor, one.keypoints.descriptors)
    return tuple(
        torch.from_numpy(np.ascontiguousarray(values))[None].to(task.device)
        for values in (one.keypoints.xy, one.size, descriptors)
    )


def _auc(task: MatcherTask, module: Any, stored: Mapping[str, StoredKeypoints]) -> float:
    """How often a pair of one animal scores above one of two, by the best single number of a pair's evidence.

    Not by the score that is trained: that rises by much where what a pair is judged by does not. What has too few
    points scores 0.
    """
    import torch

    def match(pairs: Sequence[tuple[StoredKeypoints, StoredKeypoints]]) -> list[Matches]:
        found = (module(*_tensors(task, a), *_tensors(task, b))[0] for a, b in pairs)
        return [mutual_best(one.cpu().numpy(), LEAST_CONFIDENCE) for one in found]

    names = [(task.ids[a], task.ids[b]) for a, b in task.judged.tolist()]
    there = np.array([{*pair} <= stored.keys() for pair in names])
    scores = np.zeros(len(names))
    with torch.inference_mode():
        pairs = [pair for pair, is_there in zip(names, there, strict=True) if is_there]
        evidence = match_pairs(match, task.extractor, pairs, stored)
    scores[there] = evidence["clear_sum"].to_numpy()
    return area_under_curve(scores, task.same)


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
