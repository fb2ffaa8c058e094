"""float32 or bfloat16: what was asked for, or what was measured."""

import pytest

from reid import precision
from reid.precision import bfloat16_gain, choose_precision


@pytest.mark.parametrize("gain", [0.05, 0.9, 4.0])
def test_auto_takes_what_is_faster_and_says_what_it_measured(
    gain: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: gain)
    chosen, why = choose_precision("auto", "cpu")
    assert chosen == ("bf16" if gain > 1 else "fp32")
    assert f"precision {chosen}" in why
    assert f"{gain:.1f} times as fast in bf16" in why


def test_what_was_asked_for_is_taken_with_a_warning_where_it_is_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: 0.05)
    assert choose_precision("fp32", "cpu") == ("fp32", "")
    chosen, why = choose_precision("bf16", "cpu")
    assert chosen == "bf16"
    assert "fp32 or auto may be faster" in why
    monkeypatch.setattr(precision, "bfloat16_gain", lambda: 3.0)
    assert choose_precision("bf16", "cpu") == ("bf16", "")


@pytest.mark.parametrize("units", [True, False])
def test_a_gpu_is_asked_whether_it_has_units(units: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda **_: units)
    chosen, why = choose_precision("auto", "cuda:1")
    assert chosen == ("bf16" if units else "fp32")
    assert "this GPU has" in why


def test_the_gain_is_measured_once() -> None:
    assert bfloat16_gain() > 0
    assert bfloat16_gain() == bfloat16_gain()
