"""`Trainer`: the loaded state of a training run, an epoch of steps, saving."""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from reid.errors import InputError, TrainingDivergedError
from reid.models.checkpoint import save_checkpoint
from reid.training.augment import apply_changes, draw_changes
from reid.training.classes import ClassTable
from reid.training.embed_rows import embed_rows
from reid.training.gradients import Gradients, Objective
from reid.training.hard_batches import find_hard_pairs, hard_batches
from reid.training.loader import read_ahead
from reid.training.losses import IdentityLoss
from reid.training.network import start_from
from reid.training.pixels import Pixels
from reid.training.progress import EpochStats, StepInfo
from reid.training.ranks import (
    agree_on_precision,
    diverged_message,
    first_diverged,
    share_statistics,
)
from reid.training.resume import origin_of, refuse_other_origin
from reid.training.sampler import identity_batches, shuffled_batches
from reid.training.schedule import AveragedWeights, lr_share, parameter_groups
from reid.training.settings import TrainSettings

__all__ = ["EpochStats", "StepInfo", "Trainer"]

STORED_FACTOR = 256 / 224  # side that is kept of an image, to crop from, for one of the input


class Trainer:
    """A network in training. Where there are several workers, ranks average their gradients."""

    def __init__(
        self,
        settings: TrainSettings,
        classes: ClassTable,
        *,
        device: str = "cpu",
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """Load the model that training starts from.

        Args:
            settings: see there.
            classes: the identities of the training rows; equal on all ranks.
            device: `cpu`, `cuda` or `cuda:<n>`.
            rank, world: this worker, and the number of workers; with more than one,
                torch.distributed must be initialised.

        Raises:
            InputError: the model cannot be trained, or the settings do not fit it.
        """
        self.settings, self.classes, self.device = settings, classes, device
        self.rank, self.world = rank, world
        self.start = start_from(settings)
        self.network = self.start.network
        loss = IdentityLoss(
            classes.sizes,
            self.dimension,
            kind=settings.loss,
            margin_rad=settings.margin_rad,
            cosine_margin=settings.cosine_margin,
            scale=settings.scale,
            subcentres=settings.subcentres,
            label_smoothing=settings.label_smoothing,
            triplet_margin=settings.triplet_margin,
            supcon_weight=settings.supcon_weight,
            supcon_temperature=settings.supcon_temperature,
            seed=settings.seed,
        )
        # Convolutions want their channels last; other layers do not mind.
        self.network.to(device).to(memory_format=torch.channels_last)
        self.precision, self.precision_note = agree_on_precision(
            settings.precision, device, rank=rank, world=world
        )
        self.objective = Objective(
            self.network,
            loss.to(device),
            bf16=self.precision == "bf16",
            compiled=settings.compile,
        )
        head = [
            (name, parameter)
            for name, parameter in self.objective.named_parameters()
            if not name.startswith("network.backbone.")
        ]
        self.optimizer = torch.optim.AdamW(
            parameter_groups(self.network.backbone, head, settings), fused=True
        )
        self.average = (
            None
            if settings.ema_decay is None
            else AveragedWeights(self.network, settings.ema_decay)
        )
        self.gradients = Gradients(
            self.objective,
            micro_batch=settings.micro_batch or settings.identities * settings.images,
            world=world,
        )
        # A row of a species whose flanks differ must not be turned into the other flank.
        self._mirror = np.repeat(
            [kind not in settings.no_flip_species for kind in classes.species], classes.sizes
        )

    @property
    def input_size(self) -> int:
        """Side in pixels of the network's input."""
        return self.start.input_size

    @property
    def stored_size(self) -> int:
        """Side in pixels that `open_pixels` should keep: the input and a margin to crop from."""
        return round(self.input_size * STORED_FACTOR)

    @property
    def interpolation(self) -> str:
        """How the model's images are resized, for `open_pixels`."""
        return self.start.interpolation

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return self.network.dimension

    def train_epoch(
        self,
        epoch: int,
        pixels: Pixels,
        rows: NDArray[np.int64],
        codes: NDArray[np.int64],
        *,
        on_step: Callable[[StepInfo], None] | None = None,
    ) -> EpochStats:
        """Train on every row once (some twice, so that batches are full).

        The result depends on the state, the settings and `epoch` only: an epoch that was interrupted
        and is done again from the state before it gives the same weights on the same machine. torch's
        global random numbers are seeded for it.

        Args:
            epoch: from 0.
            pixels: of all annotations.
            rows: (m,) rows of `pixels` to train on, the same on all ranks.
            codes: (m,) their classes, as `ClassTable.encode` gives them, none of them -1.
            on_step: called after each step.

        Raises:
            TrainingDivergedError: loss or gradient is not finite; names epoch, step and annotations.
            InputError: there are fewer identities than workers, no row, or a row without a class.
        """
        started = time.perf_counter()
        plan = self._with_hard_batches(epoch, self._plan(epoch, codes), pixels, rows, codes)
        settings = self.settings
        self.gradients.enter_phase(head_only=epoch < settings.head_only_epochs)
        torch.manual_seed(
            int(np.random.default_rng([settings.seed, epoch, self.rank]).integers(2**63))
        )
        losses, norms, notes, images, share = [], [], [], 0, 0.0
        taken = read_ahead(pixels, [rows[batch] for batch in plan], self.device)
        for step, ((batch, good), chosen) in enumerate(zip(taken, plan, strict=True)):
            share = lr_share(epoch + step / len(plan), settings)
            for group in self.optimizer.param_groups:
                group["lr"] = group["peak_lr"] * share
            targets = np.where(good, codes[chosen], -1)
            rng = np.random.default_rng([settings.seed, epoch, step, self.rank])
            changes = draw_changes(settings, self._mirror[codes[chosen]], rng)
            inputs = apply_changes(
                batch, changes, size=self.input_size, mean=self.start.mean, std=self.start.std
            )
            mean_loss, note = self.gradients.compute(
                inputs, torch.from_numpy(targets).to(self.device)
            )
            limit = settings.clip_norm or math.inf
            length = nn.utils.clip_grad_norm_(self.objective.parameters(), limit)
            # Where either is no number, the step changes nothing, and that is seen on the device: here it
            # is seen only once the step is under way, so that a GPU has work while this waits for it.
            reached = torch.stack([mean_loss, length])
            self.optimizer.found_inf = (~torch.isfinite(reached)).any().float()  # type: ignore[attr-defined]
            self.optimizer.step()
            if self.average:
                self.average.update()
            loss, norm = reached.tolist()
            if not (math.isfinite(loss) and math.isfinite(norm)):
                ids = [pixels.annotation_ids[row] for row in rows[chosen]]
                loss, ids = first_diverged(loss, norm, ids, world=self.world)
                raise TrainingDivergedError(diverged_message(epoch, step, loss, norm, ids))
            losses.append(loss)
            norms.append(norm)
            notes += [note] if note else []
            images += len(chosen)
            if on_step:
                lr = settings.head_lr * share
                on_step(StepInfo(epoch, step, len(plan), loss, lr, norm, len(chosen), note))
        averaged = [self.average.network] if self.average else []
        share_statistics([self.network, *averaged], world=self.world)
        return EpochStats(
            epoch=epoch,
            steps=len(plan),
            loss=float(np.mean(losses)),
            images=images,
            seconds=time.perf_counter() - started,
            lr=settings.head_lr * share,
            grad_norm=float(np.mean(norms)),
            notes=tuple(notes),
        )

    def embed(
        self, pixels: Pixels, rows: NDArray[np.int64], *, hflip: bool = False
    ) -> NDArray[np.float32]:
        """Embed rows with the averaged weights where they are kept, else the current ones.

        Args:
            pixels: of all annotations.
            rows: (n,) int64.
            hflip: average with the mirror image.

        Returns:
            (n, dimension) float32, unit rows; NaN where a row has no usable image.
        """
        network = self.average.network if self.average else self.network
        network.eval()
        objective = Objective(network, self.objective.loss, bf16=self.objective.bf16)
        return embed_rows(objective, self.start, pixels, rows, hflip=hflip, device=self.device)

    def state_dict(self) -> dict[str, Any]:
        """All that an exact resume needs: tensors and plain values, so that `torch.load` reads it
        with `weights_only=True`. The same on all ranks."""
        return {
            "what": self._origin(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.network.state_dict() if self.average else None,
            "updates": self.average.updates if self.average else 0,
            "micro_batch": self.gradients.micro_batch,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from `state_dict`.

        Raises:
            InputError: it is the state of another network, other classes or another loss.
        """
        refuse_other_origin(state["what"], self._origin())
        self.objective.load_state_dict(state["objective"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.average:
            self.average.network.load_state_dict(state["average"])
            self.average.updates = state["updates"]
        # The run so far may have halved it.
        self.gradients.micro_batch = min(state["micro_batch"], self.gradients.micro_batch)

    def save(self, folder: str, *, training: dict[str, Any] | None = None) -> None:
        """Write a checkpoint of ours, with the averaged weights where they are kept.

        Args:
            folder: local path or URI, without a checkpoint so far.
            training: how it came about, kept in `model.json`: JSON values only. The start and the
                settings are added.

        Raises:
            InputError: the folder holds a checkpoint already.
            StorageError: it cannot be written.
        """
        start = {"start": self.settings.model, "start_digest": self.start.digest}
        save_checkpoint(
            folder,
            self.average.network if self.average else self.network,
            input_size=self.input_size,
            mean=self.start.mean,
            std=self.start.std,
            interpolation=self.interpolation,
            licence=self.start.licence,
            training={**start, "settings": self.settings.model_dump(), **(training or {})},
        )

    def _plan(self, epoch: int, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """(steps, b): places in `codes`."""
        if len(codes) == 0 or codes.min() < 0:
            raise InputError("training rows need an identity each; leave unlabelled rows out")
        settings = self.settings
        own = {"seed": settings.seed, "epoch": epoch, "rank": self.rank, "world": self.world}
        if settings.sampling == "shuffled":
            return shuffled_batches(len(codes), batch=settings.identities * settings.images, **own)
        return identity_batches(
            codes, identities=settings.identities, images=settings.images, **own
        )

    def _with_hard_batches(
        self,
        epoch: int,
        plan: NDArray[np.int64],
        pixels: Pixels,
        rows: NDArray[np.int64],
        codes: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """The plan, with further steps of hard pairs among its own, where these are wanted."""
        settings = self.settings
        steps = math.ceil(len(plan) * settings.hard_share)
        if not epoch or not steps:
            return plan
        hard = hard_batches(
            find_hard_pairs(self.embed(pixels, rows), codes),
            codes,
            steps=steps,
            identities=settings.identities,
            images=settings.images,
            seed=settings.seed,
            epoch=epoch,
            rank=self.rank,
            world=self.world,
        )
        order = np.random.default_rng([settings.seed, epoch, 2]).permutation(len(plan) + len(hard))
        return np.concatenate([plan, hard])[order]

    def _origin(self) -> dict[str, Any]:
        return origin_of(self.settings, self.classes, self.network, input_size=self.input_size)
