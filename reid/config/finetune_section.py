"""The section of the fine-tuning job."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reid.config.sections import Auto, Count, Device, Section

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
NotNegative = Annotated[float, Field(ge=0, le=1e6)]
Side = Annotated[int, Field(ge=32, le=4096)]  # pixels of a network's input
Range = tuple[NotNegative, NotNegative]


class Finetune(Section):
    """From labelled images to a checkpoint.

    The start is `embed.model`. Defaults are those of `reid.training.TrainSettings`, which says more
    about each choice; a test holds the two together.
    """

    # What is held back, and what decides.
    split: Literal["individuals", "closed", "time", "column"] = Field(
        "individuals",
        description="Held out: individuals, images of known ones, what came later, or the queries of the "
        "column `split`",
    )
    hold_out: float = Field(
        0.2,
        gt=0,
        lt=1,
        description="Share held out as the test set; never used for model selection",
    )
    keep_encounters: bool = Field(
        True,
        description="An encounter is on one side, and its own hits do not count; false: by image, as "
        "most published figures are",
    )
    folds: int = Field(
        0,
        ge=0,
        le=1000,
        description="2 or more: train once for each fold of individuals; an ensemble",
    )
    validation_share: float = Field(
        0.1,
        ge=0,
        lt=0.9,
        description="Share of the rest that chooses the best epoch; 0: the last epoch is taken",
    )
    validate_every: Count = Field(1, description="Epochs from one validation to the next")
    patience: Count | None = Field(
        None, description="Stop after so many validations without a better one"
    )
    promote: Literal["better", "always"] = Field(
        "better", description="OUT/checkpoint is written only if the held-out metric is better"
    )

    # How the job runs; may change from one attempt to the next.
    workers: Count | Auto = Field("auto", description="Training workers; auto: every GPU, else 1")
    cpus_per_worker: Count | Auto = Field("auto", description="CPU cores of one training worker")
    device: Device = Field("auto", description="auto, cpu, cuda")
    max_restarts: int = Field(
        3, ge=0, le=1000, description="Times that workers which died are replaced"
    )
    keep: Count = Field(2, description="Epochs kept on disk: the best ones, and always the last")
    time_limit_minutes: Positive | None = Field(
        None,
        description="Stop training before the epoch that would pass this, each fold by itself; the "
        "learning rate falls over all `epochs` nevertheless",
    )
    cache_gb: NotNegative = Field(
        8.0,
        description="Most disk for a run's decoded images, on each machine; the rest is decoded anew",
    )
    cache: str | None = Field(
        None,
        description="Local folder for them, which stays; default: OUT/training/cache, or a temporary "
        "one, which goes at the end",
    )

    # Network.
    input_size: Side | None = Field(None, description="Pixels; null: the model's own")
    pooling: Literal["auto", "gem", "avg", "model"] = "auto"
    embedding_dim: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        None, description="A linear layer of this width; null: none"
    )

    # Loss.
    loss: Literal["arcface", "subcentre_arcface", "cosface", "cross_entropy", "triplet"] = "arcface"
    margin_rad: float = Field(0.5, ge=0, lt=1.5708, description="ArcFace's angle")
    cosine_margin: float = Field(0.35, ge=0, lt=1, description="CosFace's")
    scale: Positive = 30.0
    subcentres: Count = 3
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    triplet_margin: Positive = 0.2
    supcon_weight: NotNegative = Field(
        0.0, description="Of supervised contrastive, beside the loss"
    )
    supcon_temperature: Positive = 0.1

    # Batches.
    sampling: Literal["identities", "shuffled"] = Field(
        "identities", description="P identities × K images, or plainly shuffled"
    )
    identities: Count = Field(16, description="P of one worker's batch")
    images: Count = Field(2, description="K; the batch is P × K")
    micro_batch: Count | None = Field(None, description="Images at once; null: the whole batch")

    # Schedule.
    epochs: Count = 24
    lr: Positive = 4e-4
    head_lr: Positive = 4e-3
    min_lr_share: Share = 0.01
    weight_decay: NotNegative = 0.01
    layer_decay: float = Field(1.0, gt=0, le=1, description="Of the learning rate, layer by layer")
    warmup_epochs: NotNegative = 2.0
    head_only_epochs: int = Field(0, ge=0, le=1_000_000)
    freeze_stages: int = Field(0, ge=0, le=1000)
    clip_norm: Positive | None = 5.0
    ema_decay: float | None = Field(None, gt=0, lt=1)
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where the machine is measured to be faster with it"
    )
    compile: bool = False

    # Augmentation.
    crop_scale: float = Field(0.5, gt=0, le=1, description="Least share of the area kept")
    crop_ratio: float = Field(1.33, ge=1, le=100)
    rotation_degrees: NotNegative = 15.0
    translation: float = Field(0.0, ge=0, lt=1)
    zoom: float = Field(0.0, ge=0, lt=1)
    shear_degrees: NotNegative = 0.0
    flip_probability: Share = 0.0
    no_flip_species: tuple[str, ...] = Field(
        (), description="Never mirrored, as their flanks differ"
    )
    brightness: Share = 0.4
    contrast: Share = 0.4
    saturation: Share = 0.3
    hue: float = Field(0.0, ge=0, le=0.5)
    erase_probability: Share = 0.5
    erase_area: Range = (0.02, 0.2)
    blur_probability: Share = 0.0
    blur_sigma: Range = (0.1, 2.0)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.folds == 1:
            raise ValueError("finetune.folds: 1 fold holds nothing out; give 2 or more, or 0")
        if self.folds and self.split != "individuals":
            raise ValueError(
                f"finetune.folds={self.folds} are folds of individuals and hold each of them out "
                f"once; they do not go with finetune.split={self.split}"
            )
        if self.patience is not None and not self.validation_share:
            raise ValueError("finetune.patience needs a finetune.validation_share above 0")
        for name, (low, high) in (("erase_area", self.erase_area), ("blur_sigma", self.blur_sigma)):
            if low > high:
                raise ValueError(
                    f"finetune.{name}: the least, {low}, is more than the most, {high}"
                )
        return self
