"""A matcher that learns: triplets and score by hand, and a network of one layer that gets better."""

import numpy as np
import pytest
import torch

from reid.errors import TrainingDivergedError
from reid.training.matcher_triplets import (
    hard_triplets,
    judged_pairs,
    matcher_optimizer,
    relaxed_score,
    train_matcher,
)


def test_triplets_take_the_stranger_that_is_surest_first() -> None:
    #       0–1 one animal, 2 and 3 strangers to them; 4–5 one animal without a stranger in a list
    pairs = np.array([[0, 1], [0, 2], [0, 3], [1, 3], [4, 5], [1, 6]])
    odds = np.array([2.0, 0.5, 1.5, -1.0, 3.0, 9.0])
    people = np.array([[7, 7], [7, 8], [7, 9], [7, 9], [1, 1], [7, -1]])
    assert hard_triplets(pairs, odds, people) == [(0, 1, 3), (1, 0, 3)]
    tied = hard_triplets(pairs[:3][::-1], np.array([1.0, 1.0, 2.0]), people[:3][::-1])
    assert tied == [(0, 1, 2)], "of equally sure strangers the lower row, in any order"
    assert hard_triplets(pairs[:0], odds[:0], people[:0]) == []


def test_the_relaxed_score_by_hand() -> None:
    confidences = torch.tensor([[[0.9, 0.1, 0.0], [0.2, 0.4, 0.3]]])
    rows, columns = (0.9 + 0.4) / 2, (0.9 + 0.4 + 0.3) / 3
    assert float(relaxed_score(confidences)) == pytest.approx((rows + columns) / 2)


def test_a_layer_learns_which_half_of_a_descriptor_tells_animals_apart() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    coats = rng.normal(size=(6, 10, 8))  # of each animal, ten points
    pictures = [
        torch.tensor(np.concatenate([coats[k // 2], rng.normal(size=(10, 8))], 1), dtype=torch.float32)
        for k in range(12)
    ]  # fmt: skip
    layer = torch.nn.Linear(16, 16, bias=False)

    def confidences(a: int, b: int) -> torch.Tensor:
        first, second = (torch.nn.functional.normalize(layer(pictures[k]), dim=1) for k in (a, b))
        return ((first @ second.T + 1) / 2)[None]

    def margins() -> float:
        with torch.no_grad():
            return float(
                np.mean(
                    [
                        relaxed_score(confidences(a, b)) - relaxed_score(confidences(a, c))
                        for a, b, c in triplets
                    ]
                )
            )

    triplets = [(k, k ^ 1, (k + 2) % 12) for k in range(12)]
    before, averaged = margins(), []
    optimizer = matcher_optimizer(list(layer.parameters()), 0.01)
    for _ in range(20):
        losses = list(
            train_matcher(
                confidences, optimizer, triplets, batch=5,
                share_gradients=lambda parameters: averaged.append(parameters[0].grad is not None),
            )
        )  # fmt: skip
        assert len(losses) == 3
    assert all(averaged)
    assert margins() > before + 0.1


def test_a_loss_that_is_no_number_ends_the_training() -> None:
    weight = torch.nn.Parameter(torch.ones(1))

    def confidences(a: int, b: int) -> torch.Tensor:
        return (weight * float("nan")).reshape(1, 1, 1)

    with pytest.raises(TrainingDivergedError, match=r"finetune\.matcher_rate"):
        list(train_matcher(confidences, matcher_optimizer([weight]), [(0, 1, 2)]))


def test_a_matcher_is_judged_by_strangers_drawn_by_chance() -> None:
    pairs = np.array([(0, 1), (2, 3), *((a, b) for a in range(4) for b in range(4, 40))])
    who = np.array([0, 0, 1, 1, *range(2, 36), -1, -1])
    found, same = judged_pairs(pairs, who[pairs], 100, seed=3)
    assert same.tolist() == [True, True, False, False]
    assert found[:2].tolist() == [[0, 1], [2, 3]]
    drawn = {
        tuple(one)
        for seed in range(200)
        for one in judged_pairs(pairs, who[pairs], 100, seed=seed)[0][2:].tolist()
    }
    assert len(drawn) > 100
    assert max(max(one) for one in drawn) < 38
    again, _ = judged_pairs(pairs, who[pairs], 100, seed=3)
    assert again.tolist() == found.tolist()
    assert len(judged_pairs(pairs, who[pairs], 3)[0]) == 2
