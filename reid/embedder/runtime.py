"""One network on one device, by the fastest route that keeps its features."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

from reid import optional
from reid.errors import InputError
from reid.precision import Precision
from reid.runtimes import compile_for_cpu, faster_of

if TYPE_CHECKING:
    import torch

    from reid.models import LoadedModel

RuntimeName = Literal["auto", "torch", "compile", "openvino"]

# (b, s, s, 3) uint8 on the device → (b, d) float32 features on the device, not normalised.
Runner = Callable[["torch.Tensor"], "torch.Tensor"]

# OpenVINO serves a fixed batch. Larger ones took as long an image in our trial, and pad more.
OPENVINO_BATCH = 8
# Least cosine between a runtime's features and plain torch fp32 on the probe images. OpenVINO's fp32
# came to 0.9999998 on 1,213 photographs; bf16, torch's as OpenVINO's, to 0.988 on the darkest probe.
LEAST_COSINE = {"fp32": 0.999999, "bf16": 0.97}


def make_runner(
    model: "LoadedModel", *, device: str, precision: Precision, runtime: RuntimeName, threads: int
) -> tuple[Runner, str]:
    """Prepare a network for a device.

    Args:
        model: its module is moved to the device.
        device: `cpu`, `cuda` or `cuda:<n>`.
        precision: `bf16` computes in bfloat16; weights and results stay float32.
        runtime: `auto` is OpenVINO on a CPU where it is installed and its features agree with torch's,
            otherwise torch.
        threads: CPU threads that OpenVINO may use.

    Returns:
        The runner, and the name of the runtime it uses; for `auto` with the reason where OpenVINO was
        not taken.

    Raises:
        InputError: the runtime does not exist for the device, cannot run the network, or gives features
            that differ from torch's.
        MissingPackageError: `openvino` is asked for and not installed.
    """
    if runtime == "compile":
        return _compiled_runner(model, device, precision), "compile"

    def by_openvino() -> Runner:
        runner = _openvino_runner(model, precision, threads)
        _check_agreement(model, runner, precision)
        return runner

    return faster_of(
        lambda: _torch_runner(model, device, precision),
        by_openvino,
        what=model.name,
        runtime=runtime,
        device=device,
        setting="embed.runtime",
    )


def _prepared(model: "LoadedModel") -> "torch.nn.Module":
    """The network behind its own preprocessing, so that every runtime takes plain pixels."""
    import torch

    class Prepared(torch.nn.Module):
        mean: torch.Tensor
        std: torch.Tensor

        def __init__(self) -> None:
            super().__init__()
            self.network = model.module
            for name, values in (("mean", model.mean), ("std", model.std)):
                scaled = torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1) * 255
                self.register_buffer(name, scaled, persistent=False)

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            # Permuting (b, s, s, 3) gives channels_last without a copy.
            planes = pixels.permute(0, 3, 1, 2).to(torch.float32)
            features: torch.Tensor = self.network((planes - self.mean) / self.std)
            return features

    return Prepared().eval()


def _torch_runner(
    model: "LoadedModel", device: str, precision: Precision, *, compiled: bool = False
) -> Runner:
    import torch

    network = _prepared(model).to(device).to(memory_format=torch.channels_last)
    forward = torch.compile(network) if compiled else network
    kind = torch.device(device).type

    def run(pixels: torch.Tensor) -> torch.Tensor:
        with (
            torch.inference_mode(),
            torch.autocast(kind, torch.bfloat16, enabled=precision == "bf16"),
        ):
            features: torch.Tensor = forward(pixels)
        return features.float()

    return run


def _compiled_runner(model: "LoadedModel", device: str, precision: Precision) -> Runner:
    """Compiles here, at the start, rather than in the middle of the first batch."""
    runner = _torch_runner(model, device, precision, compiled=True)
    try:
        _check_agreement(model, runner, precision, device)
    # What torch.compile raises, a missing compiler included, is a RuntimeError.
    except (RuntimeError, InputError) as error:
        first_line = str(error).partition("\n")[0]
        raise InputError(
            f"embed.runtime: compile cannot run {model.name}: {first_line}; it needs a C++ compiler "
            "(g++, or the one that CXX names); use embed.runtime=auto or torch"
        ) from error
    return runner


def _openvino_runner(model: "LoadedModel", precision: Precision, threads: int) -> Runner:
    import torch

    size = model.input_size
    compiled = compile_for_cpu(
        _prepared(model).cpu(),
        torch.zeros(2, size, size, 3, dtype=torch.uint8),
        precision,
        {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_NUM_THREADS": threads},
        shapes=[OPENVINO_BATCH, size, size, 3],
    )
    queue = optional.openvino().AsyncInferQueue(compiled, max(2, threads))

    def run(pixels: torch.Tensor) -> torch.Tensor:
        rows: dict[int, Any] = {}

        def keep(request: Any, start: int) -> None:
            rows[start] = torch.from_numpy(request.get_output_tensor(0).data.copy())

        queue.set_callback(keep)
        for start in range(0, len(pixels), OPENVINO_BATCH):
            part = pixels[start : start + OPENVINO_BATCH]
            if len(part) < OPENVINO_BATCH:
                filler = part.new_zeros(OPENVINO_BATCH - len(part), *part.shape[1:])
                part = torch.cat([part, filler])
            queue.start_async(part.contiguous().numpy(), start)
        queue.wait_all()
        return torch.cat([rows[start] for start in sorted(rows)])[: len(pixels)]

    return run


def _check_agreement(
    model: "LoadedModel", runner: Runner, precision: Precision, device: str = "cpu"
) -> None:
    """Compare a runner with plain torch fp32 on noise, and on smooth, dark and bright pictures.

    Raises:
        InputError: a feature row points elsewhere, or has another length.
    """
    import torch

    generator = torch.Generator().manual_seed(0)
    size = model.input_size
    noise = torch.randint(0, 256, (2, size, size, 3), generator=generator)
    coarse = torch.randint(0, 256, (2, 3, 7, 7), generator=generator).float()
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bilinear")
    smooth = smooth.permute(0, 2, 3, 1).to(noise.dtype)
    # A trace keeps the branch that its example took, and brightness is what a network may branch on.
    probe = torch.cat([noise, smooth, smooth // 16, 255 - smooth // 16]).to(torch.uint8).to(device)
    with torch.inference_mode():
        expected = _prepared(model).to(device)(probe).double()
    found = runner(probe).double()
    if found.shape != expected.shape:
        raise InputError(
            f"features have shape {tuple(found.shape)}, torch's have {tuple(expected.shape)}"
        )
    least = float(torch.nn.functional.cosine_similarity(found, expected).min())
    if not least >= LEAST_COSINE[precision]:
        raise InputError(
            f"features differ from torch's: cosine {least:.7f}, "
            f"at least {LEAST_COSINE[precision]} is needed for {precision}"
        )
