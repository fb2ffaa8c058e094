"""What a closer look is expected to take."""

import pytest
import torch

from reid.pairs import costs
from reid.pairs.costs import expected_pairs, expected_seconds, in_words, product_seconds


def test_lists_name_each_pair_once_and_no_more_than_there_are() -> None:
    assert expected_pairs(300, 15) == 2745, "2,750 were seen"
    assert expected_pairs(4, 15) == 6
    assert expected_pairs(1, 15) == 0


def test_three_hundred_nyala_took_a_core_twenty_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costs, "product_seconds", {"fp32": 0.0027, "bf16": 0.0012}.__getitem__)
    plain = {"wide": 250, "matched": 15, "points": 512}
    one = expected_seconds(300, precision="fp32", cores=1, **plain)
    assert 14 * 60 < one < 24 * 60
    assert expected_seconds(300, precision="fp32", cores=4, **plain) == pytest.approx(one / 4)
    assert expected_seconds(300, precision="bf16", cores=1, **plain) < 0.7 * one
    # Lists of one length: twice as many images are twice the work.
    assert expected_seconds(2000, precision="fp32", cores=1, **plain) == pytest.approx(
        2 * expected_seconds(1000, precision="fp32", cores=1, **plain), rel=1e-3
    )


def test_measuring_leaves_threads_as_they_were() -> None:
    before = torch.get_num_threads()
    product_seconds.cache_clear()
    assert 1e-5 < product_seconds("fp32") < 1
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.1, "10 s"), (84, "80 s"), (130, "2 min"), (1130, "20 min"), (5300, "90 min"), (20000, "6 hours")],
)  # fmt: skip
def test_a_guess_is_said_roughly(seconds: float, words: str) -> None:
    assert in_words(seconds) == words
