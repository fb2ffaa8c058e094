"""A network by OpenVINO on a CPU, or by torch where that does not serve."""

import sys
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from reid import optional
from reid.errors import InputError, MissingPackageError
from reid.precision import Precision

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

REASON_LENGTH = 300  # characters of another library's error that are repeated


def faster_of(
    plain: Callable[[], T],
    make: Callable[[], T],
    *,
    what: str,
    runtime: str,
    device: str,
    setting: str,
) -> tuple[T, str]:
    """What OpenVINO made where it may and can, otherwise `plain`, which gives the same numbers slower.

    Args:
        plain: makes it by torch.
        make: gives the same by OpenVINO; an InputError says why it cannot.
        what: is run, for errors.
        runtime: `auto`, `torch` or `openvino`.
        device: where it runs.
        setting: that names the runtime, for errors.

    Returns:
        Either, and the name of the runtime; for `auto` with the reason where OpenVINO was not taken.

    Raises:
        InputError: `openvino` is asked for and cannot run it.
        MissingPackageError: `openvino` is asked for and not installed.
    """
    if runtime == "openvino" and device != "cpu":
        raise InputError(f"{setting}: openvino runs on cpu, not on {device}; use torch")
    if runtime == "torch" or device != "cpu":
        return plain(), "torch"
    try:
        return make(), "openvino"
    except MissingPackageError:
        if runtime == "openvino":
            raise
        return plain(), "torch (openvino is not installed)"
    except InputError as error:
        if runtime == "openvino":
            raise InputError(
                f"{setting}: openvino cannot run {what}: {error}; use auto or torch"
            ) from error
        return plain(), f"torch (openvino not used: {error})"


def compile_for_cpu(
    network: "torch.nn.Module",
    example: Any,
    precision: Precision,
    settings: dict[str, Any],
    shapes: list[Any] | None = None,
) -> Any:
    """A torch network compiled by OpenVINO.

    Args:
        network: in eval mode, on the CPU.
        example: what it is traced with.
        precision: that it computes in.
        settings: of OpenVINO's CPU device.
        shapes: of the inputs where they are fixed.

    Raises:
        InputError: OpenVINO cannot; its reason on one line.
        MissingPackageError: it is not installed.
    """
    import torch

    # Without this, importing the converter reports each use over the network, and waits for it.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    openvino = optional.openvino()
    frontend = openvino.frontend
    # Left alone, OpenVINO computes in bf16 wherever the processor can.
    hint = {"INFERENCE_PRECISION_HINT": "f32" if precision == "fp32" else "bf16"}
    try:
        with warnings.catch_warnings(), torch.inference_mode():
            # OpenVINO traces through torch.jit, which announces its retirement on every call.
            warnings.simplefilter("ignore")
            options = {} if shapes is None else {"input": shapes}
            converted = openvino.convert_model(network, example_input=example, **options)
        return openvino.Core().compile_model(converted, "CPU", {**hint, **settings})
    except (
        RuntimeError,
        frontend.GeneralFailure,
        frontend.InitializationFailure,
        frontend.NotImplementedFailure,
        frontend.OpConversionFailure,
        frontend.OpValidationFailure,
    ) as error:
        raise InputError(_on_one_line(error)) from error


def _on_one_line(error: Exception) -> str:
    """Another library's message: its beginning, and its end where it is long."""
    text = " ".join(str(error).split())
    half = REASON_LENGTH // 2
    return text if len(text) <= REASON_LENGTH else f"{text[:half]} … {text[-half:]}"
