"""What is learned from identities: margins between classes, one head a species.

Everything here computes in float32, whatever the backbone computed in: a cosine near 1 has no digits
to spare. Angles are radians; pytorch-metric-learning, which mines the pairs, takes none here.
"""

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from reid.config.finetune_section import Loss

PairLoss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def arcface_logits(
    cosines: torch.Tensor, targets: torch.Tensor, *, margin_rad: float, scale: float
) -> torch.Tensor:
    """Add an angle to the true class, and scale.

    Args:
        cosines: (b, classes), of embeddings and class centres.
        targets: (b,) int64.
        margin_rad: m, radians.
        scale: s.

    Returns:
        (b, classes): s·cos θ, and s·cos(θ + m) at the target.

    Source: Deng, Guo, Xue, Zafeiriou, "ArcFace", CVPR 2019, equation 3.
    Differs: beyond θ = π − m, where cos(θ + m) would rise again, it is cos θ − m·sin m, as in the
        authors' code.
    """
    cosine = cosines.gather(1, targets[:, None])
    # Rounding can push a cosine past 1, and the root's slope at 0 is infinite.
    sine = (1 - cosine.square()).clamp(min=1e-9).sqrt()
    turned = cosine * math.cos(margin_rad) - sine * math.sin(margin_rad)
    behind = cosine - margin_rad * math.sin(margin_rad)
    with_margin = torch.where(cosine > -math.cos(margin_rad), turned, behind)
    return scale * cosines.scatter(1, targets[:, None], with_margin)


def cosface_logits(
    cosines: torch.Tensor, targets: torch.Tensor, *, cosine_margin: float, scale: float
) -> torch.Tensor:
    """Subtract a margin from the cosine of the true class, and scale; shapes as in `arcface_logits`.

    Source: Wang et al., "CosFace", CVPR 2018, equation 4.
    """
    with_margin = cosines.gather(1, targets[:, None]) - cosine_margin
    return scale * cosines.scatter(1, targets[:, None], with_margin)


class IdentityLoss(nn.Module):
    """The loss of a batch, with the class centres that it learns.

    A row competes with the identities of its own species only. The centres of all species are one
    parameter, so that a batch without some species still gives every parameter a gradient.

    Args:
        sizes: identities of each species, as `ClassTable.sizes`.
        dimension: length of an embedding.
        kind, margin_rad, …: see `reid.config.finetune_section.Training`.
        seed: of the centres: equal on every rank.
    """

    species_of_class: torch.Tensor
    class_counts: torch.Tensor

    def __init__(
        self,
        sizes: Sequence[int],
        dimension: int,
        *,
        kind: Loss = "arcface",
        margin_rad: float = 0.5,
        cosine_margin: float = 0.35,
        scale: float = 30.0,
        subcentres: int = 3,
        label_smoothing: float = 0.0,
        triplet_margin: float = 0.2,
        supcon_weight: float = 0.0,
        supcon_temperature: float = 0.1,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.kind, self.margin_rad, self.cosine_margin = kind, margin_rad, cosine_margin
        self.scale, self.label_smoothing = scale, label_smoothing
        self.triplet_margin, self.supcon_weight = triplet_margin, supcon_weight
        self.supcon_temperature = supcon_temperature
        species = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
        self.register_buffer("species_of_class", species, persistent=False)
        self.register_buffer("class_counts", torch.tensor(sizes), persistent=False)
        total = sum(sizes)
        if kind != "triplet":
            per_class = subcentres if kind == "subcentre_arcface" else 1
            generator = torch.Generator().manual_seed(seed)
            centres = torch.randn(total, per_class, dimension, generator=generator)
            # Unit length; for cross-entropy this keeps the first logits near one.
            self.centres = nn.Parameter(F.normalize(centres, dim=2))
        if kind == "cross_entropy":
            self.bias = nn.Parameter(torch.zeros(total))

    def forward(self, embeddings: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """The mean loss of the rows.

        Args:
            embeddings: (b, dimension), of any length and float type.
            codes: (b,) int64, as `ClassTable.encode`; rows of -1 do not count.

        Returns:
            Scalar float32.
        """
        with torch.autocast(embeddings.device.type, enabled=False):
            embeddings = embeddings.float()
            known = codes >= 0
            # Zero, but every input keeps a gradient: also in a batch that has nothing to learn from.
            loss = embeddings.sum() * 0
            if self.kind == "triplet":
                loss = loss + self._pair_loss(embeddings, codes, self._triplet)
            else:
                losses = self._softmax_losses(embeddings, codes.clamp(min=0))
                loss = loss + torch.where(known, losses, 0).sum() / known.sum().clamp(min=1)
            if self.supcon_weight:
                term = self._pair_loss(embeddings, codes, self._supcon)
                loss = loss + self.supcon_weight * term
            return loss

    def logits(self, embeddings: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """(b, dimension) float32 and (b,) -> (b, classes); minus infinity for other species' classes."""
        if self.kind == "cross_entropy":
            logits = F.linear(embeddings, self.centres[:, 0], self.bias)
        else:
            unit, centres = F.normalize(embeddings), F.normalize(self.centres, dim=2)
            classes, per_class, dimension = centres.shape
            every = unit @ centres.view(-1, dimension).T
            # Sub-centres: a class is as near as its nearest direction (Deng et al., ECCV 2020).
            cosines = every.view(-1, classes, per_class).amax(dim=2)
            if self.kind == "cosface":
                logits = cosface_logits(
                    cosines, codes, cosine_margin=self.cosine_margin, scale=self.scale
                )
            else:
                logits = arcface_logits(
                    cosines, codes, margin_rad=self.margin_rad, scale=self.scale
                )
        return logits.masked_fill(~self._rivals(codes), -torch.inf)

    def _rivals(self, codes: torch.Tensor) -> torch.Tensor:
        """(b, classes) bool: the classes of the row's own species."""
        return self.species_of_class[codes][:, None] == self.species_of_class

    def _softmax_losses(self, embeddings: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """(b,): cross-entropy, its target smoothed over the classes of the row's species."""
        log_shares = self.logits(embeddings, codes).log_softmax(dim=1)
        losses = -log_shares.gather(1, codes[:, None])[:, 0]
        if not self.label_smoothing:
            return losses
        even = -torch.where(self._rivals(codes), log_shares, 0).sum(dim=1)
        even = even / self.class_counts[self.species_of_class[codes]]
        return (1 - self.label_smoothing) * losses + self.label_smoothing * even

    def _pair_loss(
        self,
        embeddings: torch.Tensor,
        codes: torch.Tensor,
        loss_of: PairLoss,
    ) -> torch.Tensor:
        """Mean over species, each with the weight of its rows."""
        total = embeddings.new_zeros(())
        species = torch.where(codes >= 0, self.species_of_class[codes.clamp(min=0)], -1)
        for number in range(len(self.class_counts)):
            rows = species == number
            if rows.any():
                total = total + loss_of(embeddings[rows], codes[rows]) * rows.sum()
        return total / (codes >= 0).sum().clamp(min=1)

    def _triplet(self, embeddings: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Schroff et al., "FaceNet", 2015: negatives farther than the positive, but within the margin."""
        from pytorch_metric_learning import distances, losses, miners

        cosine = distances.CosineSimilarity()
        miner = miners.TripletMarginMiner(
            margin=self.triplet_margin, type_of_triplets="semihard", distance=cosine
        )
        loss = losses.TripletMarginLoss(margin=self.triplet_margin, distance=cosine)
        result: torch.Tensor = loss(embeddings, codes, miner(embeddings, codes))
        return result

    def _supcon(self, embeddings: torch.Tensor, codes: torch.Tensor) -> torch.Tensor:
        """Khosla et al., "Supervised contrastive learning", 2020, equation 2."""
        from pytorch_metric_learning import losses

        result: torch.Tensor = losses.SupConLoss(self.supcon_temperature)(embeddings, codes)
        return result
