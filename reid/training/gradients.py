"""The gradient of a batch: in pieces that fit into memory, averaged over the workers."""

import math
from contextlib import nullcontext

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from reid.models.networks import FeatureNetwork
from reid.training.losses import IdentityLoss
from reid.training.schedule import set_training_mode

LEAST_MICRO_BATCH = 2  # batch normalisation needs two rows


class Objective(nn.Module):
    """Network and loss in one module, so that all that learns is seen where gradients are averaged."""

    def __init__(
        self, network: FeatureNetwork, loss: IdentityLoss, *, bf16: bool, compiled: bool = False
    ) -> None:
        super().__init__()
        self.network, self.loss, self.bf16 = network, loss, bf16
        self._pooled = torch.compile(network.pooled) if compiled else network.pooled

    def forward(self, images: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """(b, 3, s, s) and (b,) classes -> scalar."""
        loss: torch.Tensor = self.loss(self.embed(images), codes)
        return loss

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """(b, 3, s, s) -> (b, d) float32; only the backbone may compute in bfloat16."""
        # What a CPU needs for its fast convolutions; other layers do not mind.
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.bf16):
            pooled = self._pooled(images)
        return self.network.project(pooled.float())


class Gradients:
    """Computes the gradients of an objective, batch after batch.

    Attributes:
        micro_batch: most rows of one pass (3 where it is 2 and the batch is odd); halved where memory
            does not suffice: at any step of a single worker, in the first one of several.
    """

    def __init__(self, objective: Objective, *, micro_batch: int, world: int) -> None:
        self.objective, self.world = objective, world
        self.micro_batch = micro_batch
        self._backbone = [p for p in objective.network.backbone.parameters() if p.requires_grad]
        self._head_only: bool | None = None
        # The objective, wrapped for what learns in the current phase.
        self._distributed: DistributedDataParallel | None = None
        self._tried = False

    def enter_phase(self, *, head_only: bool) -> None:
        """Choose what learns from here on; gradients are averaged over exactly that."""
        if head_only != self._head_only:
            self._head_only, self._tried = head_only, False
            for parameter in self._backbone:
                parameter.requires_grad_(not head_only)
                parameter.grad = None
            if self.world > 1:
                self._distributed = DistributedDataParallel(self.objective)
        set_training_mode(self.objective)

    def compute(self, inputs: torch.Tensor, codes: torch.Tensor) -> tuple[torch.Tensor, str]:
        """Put the gradients of a batch's mean loss into the parameters.

        Args:
            inputs: (b, 3, s, s).
            codes: (b,) int64; rows of -1 do not count.

        Returns:
            The loss of this rank, and what the user should know; mostly nothing.
        """
        before = self.micro_batch
        if self._distributed is None:
            loss = self._fitting(inputs, codes)
        else:
            if not self._tried and inputs.is_cuda:
                # Out of memory in the middle of an exchange with other ranks cannot be mended, so
                # every rank tries its first batch alone, and all take what fits everywhere. That
                # counts the batch twice in the batch statistics; and what comes later and needs more
                # (the optimizer's moments, after the first step) is an error that ends the attempt.
                self._fitting(inputs, codes)
                smallest = torch.tensor(self.micro_batch, device=inputs.device)
                dist.all_reduce(smallest, dist.ReduceOp.MIN)
                self.micro_batch = int(smallest)
            self._tried = True
            loss = self._backward(self._distributed, inputs, codes)
        if self.micro_batch == before:
            return loss, ""
        return loss, (
            f"out of memory: {self.micro_batch} images at a time from here on, where it was {before}; "
            "gradients are added up to the same batch, batch statistics are of fewer images"
        )

    def _fitting(self, inputs: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Without other ranks: `micro_batch` is halved until the memory suffices."""
        while True:
            try:
                return self._backward(self.objective, inputs, codes)
            except torch.cuda.OutOfMemoryError:
                if self.micro_batch <= LEAST_MICRO_BATCH:
                    raise
            half = math.ceil(min(self.micro_batch, len(inputs)) / 2)
            self.micro_batch = max(LEAST_MICRO_BATCH, half)
            torch.cuda.empty_cache()

    def _backward(
        self, module: Objective | DistributedDataParallel, inputs: torch.Tensor, codes: torch.Tensor
    ) -> torch.Tensor:
        for parameter in self.objective.parameters():
            parameter.grad = None
        known = (codes >= 0).sum().clamp(min=1)
        total = inputs.new_zeros(())
        # No piece of a single row, which batch normalisation refuses: rather one of three.
        pieces = min(math.ceil(len(inputs) / self.micro_batch), len(inputs) // LEAST_MICRO_BATCH)
        parts = zip(inputs.tensor_split(pieces), codes.tensor_split(pieces), strict=True)
        for number, (images, targets) in enumerate(parts, 1):
            # Only the last piece waits for the other ranks; it brings the sum of all pieces.
            alone = isinstance(module, DistributedDataParallel) and number < pieces
            with module.no_sync() if alone else nullcontext():  # type: ignore[operator]
                loss = module(images, targets) * ((targets >= 0).sum() / known)
                loss.backward()
            total += loss.detach()
        return total
