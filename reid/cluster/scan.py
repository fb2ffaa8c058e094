"""SCAN: a learned clustering for few individuals with many images each."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from reid.cluster.joined_clusters import join_clusters
from reid.errors import InputError
from reid.neighbors import check_unit_rows

if TYPE_CHECKING:
    import torch

NEIGHBOURS = 10
EPOCHS, LEAST_STEPS = (
    100,
    1500,
)  # a hundred passes over fifty rows would teach a head hardly anything
LEAST_PROBABILITY = 1e-8  # under a logarithm
SURE = 0.99  # probability of a row that is learned from, in self-labelling
HIDDEN_SHARE = 0.5  # of the coordinates of a row, each time it is learned from


def scan(
    embeddings: NDArray[np.float32],
    n_clusters: int,
    seed: int,
    *,
    neighbours: NDArray[np.signedinteger],
    entropy_weight: float = 1.0,
    epochs: int | None = None,
    batch: int = 64,
    learning_rate: float = 1e-3,
    heads: int = 5,
    self_label: bool = False,
    over_cluster: bool = False,
) -> NDArray[np.int64]:
    """A linear head on stored embeddings, trained so that an image and its neighbours fall into one cluster.

    With p(i) the softmax over clusters of row i, the loss of a batch is

        −mean over i of log⟨p(i), p(n(i))⟩ − entropy_weight · H(mean of p(i)),

    n(i) one of the nearest rows of i, drawn anew each time, and H the entropy, which keeps all clusters in
    use. Several heads start from draws of their own and are trained side by side; that of the lowest loss
    over all rows is taken. What it needs is that most of the nearest images show the same animal.

    Args:
        embeddings: (n, d) float32, unit rows.
        n_clusters: number of individuals, 2 <= n_clusters <= n.
        seed: of starts, batches and neighbours.
        neighbours: (n, k) int, the nearest rows of each row, −1 where there are none; as of
            `reid.neighbors.knn(embeddings, NEIGHBOURS)`.
        entropy_weight: higher for clusters that are nearer to equal in size.
        epochs: passes over all rows; None: EPOCHS, or as many as LEAST_STEPS batches are.
        batch: rows of a step.
        learning_rate: of Adam.
        heads: starts that are tried.
        self_label: learn on from the rows that the head is sure of, see `_labelled_by_itself`.
        over_cluster: `n_clusters` is more than there are individuals; clusters that share nearest rows are
            joined at the end, see `join_clusters`.

    Returns:
        (n,) int64, numbers below `n_clusters` (a cluster may stay without rows); no noise.

    Raises:
        InputError: `n_clusters` or another argument out of range.

    Source:
        Van Gansbeke et al. 2020, "SCAN: Learning to Classify Images without Labels", eq. 2; its section
        2.3 of self-labelling.
    Differs:
        The backbone is not trained: that needs augmented images, and only embeddings are read, scaled by
        √d. The entropy's weight is 1, not 5. Neighbours are those of the engine's exact search. All heads
        share each batch. Too many clusters are joined by the graph of nearest rows, where the paper leaves
        them.
    """
    import torch

    check_unit_rows(embeddings)
    n, dimension = embeddings.shape
    if not 2 <= n_clusters <= n:
        raise InputError(
            f"n_clusters = {n_clusters}: at least 2 and at most the number of rows, {n}, is needed"
        )
    if epochs is None:
        epochs = max(EPOCHS, -(-LEAST_STEPS // -(-n // max(batch, 1))))
    if min(epochs, batch, heads) < 1 or not entropy_weight >= 0:
        raise InputError(
            f"scan: epochs = {epochs}, batch = {batch}, heads = {heads}: at least 1 each is needed, and "
            f"entropy_weight = {entropy_weight} may not be negative"
        )
    draw = torch.Generator().manual_seed(seed)
    # Coordinates of about 1: a unit row's are so small that Adam's steps would hardly move its logits.
    rows = torch.from_numpy(np.ascontiguousarray(embeddings)) * dimension**0.5
    near, number = _neighbours(neighbours, n)
    weight = torch.randn(heads, dimension, n_clusters, generator=draw).mul_(dimension**-0.5)
    bias = torch.zeros(heads, 1, n_clusters)
    parameters = [weight.requires_grad_(), bias.requires_grad_()]
    optimiser = torch.optim.Adam(parameters, lr=learning_rate)
    for _ in range(epochs):
        order = torch.randperm(n, generator=draw)
        for start in range(0, n, batch):
            own = order[start : start + batch]
            pick = (torch.rand(len(own), generator=draw) * number[own]).long()
            logits = torch.matmul(rows[torch.cat([own, near[own, pick]])], weight) + bias
            p = logits.softmax(-1)
            loss = scan_loss(p[:, : len(own)], p[:, len(own) :], entropy_weight).sum()
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward([loss])
            optimiser.step()
    with torch.inference_mode():
        p = (torch.matmul(rows, weight) + bias).softmax(-1)
        mean_p = _mean_of_neighbours(p, near, number)
        best = int(scan_loss(p, mean_p, entropy_weight).argmin())
    if self_label:
        head = (weight[best].detach().clone(), bias[best, 0].detach().clone())
        labels = _labelled_by_itself(rows, head, draw, min(epochs, EPOCHS), batch, learning_rate)
    else:
        labels = p[best].argmax(-1).numpy().astype(np.int64)
    return join_clusters(labels, neighbours) if over_cluster else labels


def scan_loss(
    p: "torch.Tensor", of_neighbours: "torch.Tensor", entropy_weight: float
) -> "torch.Tensor":
    """The loss of each head, (heads,).

    Args:
        p: (heads, n, clusters) probabilities of rows.
        of_neighbours: the same of a neighbour of each.
        entropy_weight: of the entropy of the mean.
    """
    agreement = (p * of_neighbours).sum(-1).clamp_min(LEAST_PROBABILITY).log().mean(-1)
    mean = p.mean(1)
    entropy = -(mean * mean.clamp_min(LEAST_PROBABILITY).log()).sum(-1)
    return -agreement - entropy_weight * entropy


def _labelled_by_itself(
    rows: "torch.Tensor",
    head: tuple["torch.Tensor", "torch.Tensor"],
    draw: "torch.Generator",
    epochs: int,
    batch: int,
    learning_rate: float,
) -> NDArray[np.int64]:
    """The head trained on by cross-entropy on its own answers, of rows that it is sure of.

    Each epoch asks which further rows these are (probability over SURE); clusters weigh the same, however
    many sure rows they have.

    Differs: where the paper augments images strongly, half of a row's coordinates are hidden. The surest
    quarter of each cluster is learned from in any case, and a row that was learned from keeps its answer: a
    cluster of which no row is sure would die otherwise.
    """
    import torch
    from torch.nn.functional import cross_entropy, dropout

    weight, bias = (one.requires_grad_() for one in head)
    optimiser = torch.optim.Adam([weight, bias], lr=learning_rate)
    answer = torch.full((len(rows),), -1)
    with torch.no_grad():
        p, now = (rows @ weight + bias).softmax(-1).max(-1)
    for cluster in sorted({*now.tolist()}):
        own = torch.nonzero(now == cluster)[:, 0]
        answer[own[p[own].topk(-(-len(own) // 4)).indices]] = cluster
    for _ in range(epochs):
        with torch.no_grad():
            p, now = (rows @ weight + bias).softmax(-1).max(-1)
        new = (p > SURE) & (answer < 0)
        answer[new] = now[new]
        sure = torch.nonzero(answer >= 0)[:, 0]
        number = torch.bincount(answer[sure], minlength=len(bias)).clamp_min(1)
        shares = len(sure) / (len(bias) * number)
        order = sure[torch.randperm(len(sure), generator=draw)]
        with torch.random.fork_rng(devices=[]):  # dropout draws from torch's own numbers
            torch.manual_seed(int(torch.randint(2**62, (1,), generator=draw)))
            for start in range(0, len(order), batch):
                own = order[start : start + batch]
                logits = dropout(rows[own], HIDDEN_SHARE) @ weight + bias
                loss = cross_entropy(logits, answer[own], weight=shares)
                optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward([loss])
                optimiser.step()
    with torch.inference_mode():
        return (rows @ weight + bias).argmax(-1).numpy().astype(np.int64)


def _neighbours(
    neighbours: NDArray[np.signedinteger], n: int
) -> tuple["torch.Tensor", "torch.Tensor"]:
    """(n, k) rows and how many there are of each; a row without any is its own neighbour."""
    import torch

    found = np.array(neighbours, np.int64)
    if found.ndim != 2 or len(found) != n or found.max(initial=-1) >= n:
        raise InputError(
            f"scan: neighbours of shape {found.shape}, ({n}, k) row numbers are needed"
        )
    number = (found >= 0).sum(axis=1)
    alone = number == 0
    found[alone, 0] = np.flatnonzero(alone)
    return torch.from_numpy(found), torch.from_numpy(np.maximum(number, 1))


def _mean_of_neighbours(
    p: "torch.Tensor", near: "torch.Tensor", number: "torch.Tensor"
) -> "torch.Tensor":
    """(heads, n, clusters): what a drawn neighbour is expected to say."""
    total = p.new_zeros(p.shape)
    for place in range(near.shape[1]):
        there = (place < number).to(p.dtype)[None, :, None]
        total += there * p[:, near[:, place].clamp_min(0)]
    return total / number.to(p.dtype)[None, :, None]
