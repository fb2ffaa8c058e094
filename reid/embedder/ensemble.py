"""Views × models → one unit vector an image, and the recipe that names what it depends on."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from reid.embedder.runtime import RuntimeName, make_runner
from reid.embedder.views import check_views, make_views
from reid.errors import InputError
from reid.images import resize
from reid.layout import Window
from reid.precision import Precision
from reid.transfers import begin_to_host, stack_to_device

if TYPE_CHECKING:
    import torch

    from reid.models import LoadedModel

CPU_BATCH = 32
LARGEST_GPU_BATCH = 512
MODEL_POOL, TOKENS = "model", "tokens"
GPU_MEMORY_SHARE = 0.6  # of what is free; the rest is for fragmentation and the decoder


@dataclass(frozen=True)
class Recipe:
    """Everything that changes the numbers of an embedding. Another recipe is another folder.

    The runtime and the device are not in it: they are checked to agree to the last digits.

    Attributes:
        models: (name, digest of weights and preprocessing) of each model.
        model_weights: one a model.
        views: names, as in `views.py`.
        precision: `fp32` or `bf16`.
        decode: how JPEGs are decoded, see `reid.images`.
        bbox_margin: share of the box's sides.
        window: part of the crop, see `reid.images.Window`; None: all of it.
        pool: how a picture becomes one row: `model` (as the network does it), `tokens` (not at all: its
            patch tokens are kept), or `foreground …` with all that decides it (`reid.pooled_tokens`).
    """

    models: tuple[tuple[str, str], ...]
    model_weights: tuple[float, ...]
    views: tuple[str, ...]
    precision: str
    decode: str
    bbox_margin: float
    window: Window | None = None
    pool: str = MODEL_POOL

    @property
    def fingerprint(self) -> str:
        """12 hex digits; the names of the models do not count, their weights do."""
        numbers = {**asdict(self), "models": [digest for _, digest in self.models], "version": 1}
        # The average does not depend on the order of the views.
        numbers["views"] = sorted(self.views)
        if self.window is None:  # recipes from before there were windows keep their names
            del numbers["window"]
        if self.pool == MODEL_POOL:  # and so do those from before there were other ways
            del numbers["pool"]
        text = json.dumps(numbers, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def folder(self) -> str:
        """Name of the folder in the embedding store: readable, and unique to the recipe."""
        names = "+".join(name for name, _ in self.models)
        kind = "" if self.pool == MODEL_POOL else f"{self.pool.partition(' ')[0]}-"
        word = re.sub(r"[^A-Za-z0-9.+-]+", "-", names).strip("-")[:60]
        return f"{word}-{kind}{self.fingerprint}"


class Embedder:
    """Loaded networks that turn resized crops into unit vectors.

    `prepare` runs in decoding threads, `embed` in the thread that owns the model.
    """

    def __init__(
        self,
        models: "Sequence[LoadedModel]",
        *,
        model_weights: Sequence[float] | None = None,
        views: Sequence[str] = ("identity",),
        precision: Precision = "fp32",
        device: str = "cpu",
        runtime: RuntimeName = "auto",
        threads: int = 1,
        batch_size: int | None = None,
        tokens: bool = False,
    ) -> None:
        """Put the models on the device.

        Args:
            models: one, or several whose unit vectors are concatenated.
            model_weights: share of each model in the cosine; equal if not given.
            views: test-time augmentation, see `views.py`.
            precision, runtime, threads: see `make_runner`.
            device: `cpu`, `cuda` or `cuda:<n>`.
            batch_size: images a forward pass; from the device's memory if not given.
            tokens: rows are the patch tokens of one model, of pictures as they are, in float16.

        Raises:
            InputError: weights or views do not fit, or the model has no patch tokens.
        """
        check_views(views)
        if tokens and (len(models) != 1 or tuple(views) != ("identity",)):
            raise InputError("patch tokens are of one model, and of the view identity alone")
        if tokens:
            from reid.models.patch_tokens import with_patch_tokens

            models = [with_patch_tokens(models[0])[0]]
        self.tokens = tokens
        weights = (
            [1.0] * len(models) if model_weights is None else [float(w) for w in model_weights]
        )
        if len(weights) != len(models) or min(weights, default=0) <= 0:
            raise InputError(
                f"embed.model_weights: {weights} for {len(models)} models; give one above 0 for each"
            )
        self.models = list(models)
        self.views = tuple(views)
        self.device = device
        # Rows are joined by their cosines: a weight multiplies the cosine, so its root the vector.
        total = sum(weights)
        self._factors = [(weight / total) ** 0.5 for weight in weights]
        made = [
            make_runner(m, device=device, precision=precision, runtime=runtime, threads=threads)
            for m in models
        ]
        self._copies: torch.cuda.Stream | None = None  # made with the first batch
        self._runners = [runner for runner, _ in made]
        self.runtime = ", ".join(dict.fromkeys(name for _, name in made))
        self.inputs = list(dict.fromkeys((m.input_size, m.interpolation) for m in models))
        self.batch_size = batch_size or self._fitting_batch()

    @property
    def dimension(self) -> int:
        """Length of an embedding."""
        return sum(model.dimension for model in self.models)

    @property
    def largest_input(self) -> int:
        """Side in pixels of the largest input among the models."""
        return max(size for size, _ in self.inputs)

    def prepare(self, pixels: np.ndarray) -> list[np.ndarray]:
        """Resize one crop, (h, w, 3) uint8, for every distinct input of the models."""
        return [resize(pixels, size, interpolation) for size, interpolation in self.inputs]

    def embed(self, prepared: "Sequence[Sequence[np.ndarray | torch.Tensor]]") -> np.ndarray:
        """Embed a batch.

        Args:
            prepared: for each image what `prepare` returned, or the same as tensors on any device.

        Returns:
            (b, dimension) float32, unit rows; a row of NaN where a network gave no usable features. Of
            patch tokens (b, side² · width) float16, as the network gives them.
        """
        return self.begin(prepared)()

    def begin(
        self, prepared: "Sequence[Sequence[np.ndarray | torch.Tensor]]"
    ) -> Callable[[], np.ndarray]:
        """`embed` that does not wait for a GPU; the function gives the rows when they are there.

        While a batch is computed the next one can be begun: its pixels are copied beside that.
        """
        import torch

        stacks = [self._stack([image[i] for image in prepared]) for i in range(len(self.inputs))]
        if self.tokens:
            copied = begin_to_host(self._run(self._runners[0], stacks[0]).half())
            return lambda: copied()[0]
        parts = []
        for model, runner, factor in zip(self.models, self._runners, self._factors, strict=True):
            batch = stacks[self.inputs.index((model.input_size, model.interpolation))]
            views = make_views(batch, self.views)
            features = self._run(runner, torch.cat(views)).view(len(views), len(batch), -1)
            # Each view gets one vote, however long its features are.
            average = torch.nn.functional.normalize(features, dim=2).mean(0)
            parts.append(_unit(average) * factor)
        copied = begin_to_host(_unit(torch.cat(parts, dim=1)))
        return lambda: copied()[0]

    def _stack(self, images: "Sequence[np.ndarray | torch.Tensor]") -> "torch.Tensor":
        """(b, s, s, 3) on the device; arrays travel there in one piece."""
        import torch

        if self._copies is None and self.device.startswith("cuda"):
            # Pixels are copied beside what is computed.
            self._copies = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]
        arrays = [image for image in images if isinstance(image, np.ndarray)]
        if len(arrays) == len(images):
            return stack_to_device(arrays, self.device, self._copies)
        return torch.stack([torch.as_tensor(image, device=self.device) for image in images])

    def _run(self, runner: "object", batch: "torch.Tensor") -> "torch.Tensor":
        """Forward in pieces that fit; a GPU that runs out of memory gets half as much, again."""
        import torch

        assert callable(runner)
        step = self.batch_size * len(self.views)
        fixed = "compile" in self.runtime  # another size of batch is compiled anew
        while True:
            try:
                pieces = [batch[i : i + step] for i in range(0, len(batch), step)]
                if fixed and len(pieces[-1]) < step:
                    missing = step - len(pieces[-1])
                    filler = batch.new_zeros(missing, *batch.shape[1:])
                    pieces[-1] = torch.cat([pieces[-1], filler])
                return torch.cat([runner(piece) for piece in pieces])[: len(batch)]
            except torch.cuda.OutOfMemoryError:
                if step == 1:
                    raise
                torch.cuda.empty_cache()
                step = max(1, step // 2)
                self.batch_size = max(1, self.batch_size // 2)

    def _fitting_batch(self) -> int:
        """Images a forward pass that fit into the device's memory, measured with a small one."""
        import torch

        if not self.device.startswith("cuda"):
            return CPU_BATCH
        self.batch_size = trial = 8
        image = [np.zeros((size, size, 3), np.uint8) for size, _ in self.inputs]
        self.embed([image])
        torch.cuda.reset_peak_memory_stats(self.device)
        before = torch.cuda.memory_allocated(self.device)
        self.embed([image] * trial)
        used = torch.cuda.max_memory_allocated(self.device) - before
        free, _ = torch.cuda.mem_get_info(self.device)
        fitting = int(free * GPU_MEMORY_SHARE / max(1, used / trial))
        return max(1, min(LARGEST_GPU_BATCH, 1 << max(0, fitting.bit_length() - 1)))


def _unit(rows: "torch.Tensor") -> "torch.Tensor":
    """Rows of length one; NaN where a row has no direction."""
    import torch

    length = rows.norm(dim=1, keepdim=True)
    usable = torch.isfinite(length) & (length > 1e-12)
    return torch.where(usable, rows / length, torch.full_like(rows, float("nan")))
