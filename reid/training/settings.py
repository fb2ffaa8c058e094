"""Every choice of a training run, as plain values."""

from dataclasses import dataclass
from typing import Literal

from reid.errors import InputError
from reid.precision import AskedPrecision

Pooling = Literal["auto", "gem", "avg", "model"]
Loss = Literal["arcface", "subcentre_arcface", "cosface", "cross_entropy", "triplet"]
Sampling = Literal["identities", "shuffled"]


@dataclass(frozen=True)
class TrainSettings:
    """What decides the weights that come out, apart from the data.

    Attributes:
        model: where training starts, any name that `reid.models.load_model` knows and whose network
            timm can build; also a checkpoint of ours.
        revision, trust_remote_code: see `load_model`.
        input_size: side in pixels; None: the model's own.
        pooling: `gem` (power learned), `avg`, `model` (the backbone's own); `auto` is the
            checkpoint's where training starts from one of ours, `gem` for networks of planes, and
            `model` for networks of tokens.
        embedding_dim: width of a linear layer behind the pooling; None: no such layer.
        loss: what is learned from the identities.
        margin_rad: angle added by ArcFace, radians.
        cosine_margin: subtracted from the cosine by CosFace.
        scale: of cosines, before the softmax of ArcFace and CosFace.
        subcentres: directions a class of sub-centre ArcFace.
        label_smoothing: share of the target spread over all classes; for every softmax loss.
        triplet_margin: of cosine distances, semi-hard.
        supcon_weight: weight of the supervised contrastive term beside the loss; 0 leaves it out.
        supcon_temperature: divides its cosines.
        sampling: `identities` (P × K) or `shuffled`.
        identities, images: P and K of one worker's batch; in `shuffled`, their product is the batch.
        micro_batch: most images of one forward pass; a batch is cut into as many passes as it takes,
            and their gradients are added up. None: the whole batch at once.
        epochs: passes over the rows.
        lr: largest learning rate of the backbone.
        head_lr: of everything that starts at random: pooling, linear layer, neck and loss.
        min_lr_share: where the cosine ends, as a share of the largest.
        weight_decay: of AdamW; not for norms, biases and class centres.
        layer_decay: factor on the learning rate from each layer to the one before; 1 is none.
        warmup_epochs: the learning rate rises linearly over these.
        head_only_epochs: the backbone stays as it is during the first of these.
        freeze_stages: the stem and so many stages keep their weights and batch statistics; 0 is none.
        clip_norm: longest gradient; None: any.
        ema_decay: of the averaged weights that are validated and saved; None: no average.
        precision: `bf16` computes the backbone in bfloat16; weights, loss and results stay float32.
            `auto`: where the device is faster with it.
        compile: through `torch.compile`.
        crop_scale: least share of the area kept by the random crop; 1 keeps all of it.
        crop_ratio: most that the crop's sides may differ, as a factor.
        rotation_degrees: largest turn either way.
        translation: largest shift, share of the side.
        zoom: largest enlargement or reduction, as a share.
        shear_degrees: largest, either way.
        flip_probability: of the mirror image.
        no_flip_species: never mirrored: their left and right flanks differ, and must not match.
        brightness, contrast, saturation: factors from 1 − x to 1 + x.
        hue: largest turn of the colour circle, as a share of it.
        erase_probability: of a rectangle painted over with the mean colour.
        erase_area: least and largest share of the area.
        blur_probability: of a Gaussian blur.
        blur_sigma: least and largest, in pixels.
        seed: of everything random.
    """

    model: str = "efficientnet-lite0"
    revision: str | None = None
    trust_remote_code: bool = False
    input_size: int | None = None
    pooling: Pooling = "auto"
    embedding_dim: int | None = None
    loss: Loss = "arcface"
    margin_rad: float = 0.5
    cosine_margin: float = 0.35
    scale: float = 30.0
    subcentres: int = 3
    label_smoothing: float = 0.0
    triplet_margin: float = 0.2
    supcon_weight: float = 0.0
    supcon_temperature: float = 0.1
    sampling: Sampling = "identities"
    identities: int = 16
    images: int = 2
    micro_batch: int | None = None
    epochs: int = 24
    lr: float = 4e-4
    head_lr: float = 4e-3
    min_lr_share: float = 0.01
    weight_decay: float = 0.01
    layer_decay: float = 1.0
    warmup_epochs: float = 2.0
    head_only_epochs: int = 0
    freeze_stages: int = 0
    clip_norm: float | None = 5.0
    ema_decay: float | None = None
    precision: AskedPrecision = "auto"
    compile: bool = False
    crop_scale: float = 0.5
    crop_ratio: float = 1.33
    rotation_degrees: float = 15.0
    translation: float = 0.0
    zoom: float = 0.0
    shear_degrees: float = 0.0
    flip_probability: float = 0.0
    no_flip_species: tuple[str, ...] = ()
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.3
    hue: float = 0.0
    erase_probability: float = 0.5
    erase_area: tuple[float, float] = (0.02, 0.2)
    blur_probability: float = 0.0
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    seed: int = 0

    def __post_init__(self) -> None:
        batch = self.identities * self.images
        if batch < 2 or (self.micro_batch is not None and self.micro_batch < 2):
            raise InputError(
                f"identities {self.identities} × images {self.images}, micro_batch {self.micro_batch}: "
                "batch normalisation needs two images or more at a time"
            )
        if not 0 < self.crop_scale <= 1 or self.crop_ratio < 1:
            raise InputError(
                f"crop_scale {self.crop_scale}, crop_ratio {self.crop_ratio}: the first must be above 0 "
                "and at most 1, the second at least 1"
            )
        if not (0 < self.layer_decay <= 1 and 0 <= self.label_smoothing < 1):
            raise InputError(
                f"layer_decay {self.layer_decay}, label_smoothing {self.label_smoothing}: the first must "
                "be above 0 and at most 1, the second from 0 to below 1"
            )
