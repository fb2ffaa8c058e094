"""The section of the fine-tuning job, and what of it decides the weights."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from reid.config.sections import Auto, Count, Device, Section

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, le=1e6)]
NotNegative = Annotated[float, Field(ge=0, le=1e6)]
Side = Annotated[int, Field(ge=32, le=4096)]  # pixels of a network's input
Range = tuple[NotNegative, NotNegative]
Loss = Literal["arcface", "subcentre_arcface", "cosface", "cross_entropy", "triplet"]


class Training(Section):
    """What decides the weights that training gives, apart from start, data and seed."""

    # Network.
    input_size: Side | None = Field(None, description="Pixels; null: the model's own")
    pooling: Literal["auto", "gem", "avg", "model"] = Field(
        "auto",
        description="gem (power learned), avg, model (the backbone's own); auto: a checkpoint's own where "
        "training starts from one of ours, gem for networks of planes, model for networks of tokens",
    )
    embedding_dim: Annotated[int, Field(ge=1, le=65_536)] | None = Field(
        None, description="A linear layer of this width behind the pooling; null: none"
    )

    # Loss.
    loss: Loss = Field("arcface", description="What is learned from the identities")
    margin_rad: float = Field(0.5, ge=0, lt=1.5708, description="Angle that ArcFace adds, radians")
    cosine_margin: float = Field(
        0.35, ge=0, lt=1, description="CosFace subtracts it from the cosine"
    )
    scale: Positive = Field(
        30.0, description="Of cosines, before the softmax of ArcFace and CosFace"
    )
    subcentres: Count = Field(3, description="Directions a class of sub-centre ArcFace")
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Fraction of the target spread over all classes, in every softmax",
    )
    triplet_margin: Positive = Field(0.2, description="Of cosine distances, semi-hard")
    supcon_weight: NotNegative = Field(
        0.0, description="Of the supervised contrastive term, beside the loss; 0 leaves it out"
    )
    supcon_temperature: Positive = Field(0.1, description="Divides its cosines")

    # Batches.
    sampling: Literal["identities", "shuffled"] = Field(
        "identities", description="P identities × K images, or plainly shuffled batches of P × K"
    )
    identities: Count = Field(16, description="P of one worker's batch")
    images: Count = Field(2, description="K; the batch is P × K")
    hard_share: Share = Field(
        0.0,
        description="From the second epoch on, so many further steps, as a share of an epoch's, of the pairs "
        "that are hardest as the epoch begins; 0: none. Costs a look at all training images each epoch",
    )
    micro_batch: Count | None = Field(
        None,
        description="Most images of one forward pass; the gradients of a batch's passes are added up. "
        "null: the whole batch at once",
    )

    # Schedule.
    epochs: Count = Field(24, description="Passes over the rows")
    lr: Positive = Field(4e-4, description="Largest learning rate of the backbone")
    head_lr: Positive = Field(
        4e-3, description="Of all that starts at random: pooling, linear layer, neck and loss"
    )
    min_lr_share: Share = Field(
        0.01, description="Where the cosine ends, as a fraction of the largest"
    )
    weight_decay: NotNegative = Field(
        0.01, description="Of AdamW; not for norms, biases and class centres"
    )
    layer_decay: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Of the learning rate, from each layer to the one before; 1: none",
    )
    warmup_epochs: NotNegative = Field(2.0, description="The learning rate rises over these")
    head_only_epochs: int = Field(
        0, ge=0, le=1_000_000, description="The backbone stays as it is during the first of these"
    )
    freeze_stages: int = Field(
        0,
        ge=0,
        le=1000,
        description="The stem and so many stages keep weights and batch statistics; 0: none",
    )
    clip_norm: Positive | None = Field(5.0, description="Longest gradient; null: any")
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Of the averaged weights, validated and saved; null: no average",
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto",
        description="bf16 computes the backbone in bfloat16; weights, loss and results stay float32. auto: "
        "bf16 where the machine is measured to be faster with it",
    )
    compile: bool = Field(False, description="Through torch.compile")

    # Augmentation.
    crop_scale: float = Field(
        0.5,
        gt=0,
        le=1,
        description="Least fraction of the area that the random crop keeps; 1: all of it",
    )
    crop_ratio: float = Field(
        1.33, ge=1, le=100, description="Most that the crop's sides may differ, as a factor"
    )
    rotation_degrees: NotNegative = Field(15.0, description="Largest turn, either way")
    translation: float = Field(0.0, ge=0, lt=1, description="Largest shift, fraction of the side")
    zoom: float = Field(
        0.0, ge=0, lt=1, description="Largest enlargement or reduction, as a fraction"
    )
    shear_degrees: NotNegative = Field(0.0, description="Largest, either way")
    flip_probability: Share = Field(0.0, description="Of the mirror image")
    no_flip_species: tuple[str, ...] = Field(
        (), description="Never mirrored: their flanks differ, and must not match"
    )
    brightness: Share = Field(0.4, description="Factor from 1 − x to 1 + x")
    contrast: Share = Field(0.4, description="Factor from 1 − x to 1 + x")
    saturation: Share = Field(0.3, description="Factor from 1 − x to 1 + x")
    hue: float = Field(
        0.0, ge=0, le=0.5, description="Largest turn of the colour circle, as a fraction of it"
    )
    erase_probability: Share = Field(
        0.5, description="Of a rectangle painted over with the mean colour"
    )
    erase_area: Range = Field((0.02, 0.2), description="Least and largest fraction of the area")
    blur_probability: Share = Field(0.0, description="Of a Gaussian blur")
    blur_sigma: Range = Field((0.1, 2.0), description="Least and largest, in pixels")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.identities * self.images < 2 or self.micro_batch == 1:
            raise ValueError(
                f"identities {self.identities} × images {self.images}, micro_batch {self.micro_batch}: "
                "batch normalisation needs two images or more at a time"
            )
        for name, (low, high) in (("erase_area", self.erase_area), ("blur_sigma", self.blur_sigma)):
            if low > high:
                raise ValueError(f"{name}: the least, {low}, is more than the most, {high}")
        return self


class Finetune(Training):
    """From labelled images to a checkpoint. The start is `embed.model`."""

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

    # `reid finetune --matcher`.
    matcher_epochs: Count = Field(1, description="Passes over the triplets, with --matcher")
    matcher_rate: float = Field(1e-5, gt=0, le=1, description="Of AdamW, with --matcher")
    matcher_batch: Count = Field(8, description="Triplets a step of one worker, with --matcher")

    # How the job runs; may change from one attempt to the next.
    workers: Count | Auto = Field("auto", description="Training workers; auto: every GPU, else 1")
    cpus_per_worker: Count | Auto = Field("auto", description="CPU cores of one training worker")
    device: Device = Field("auto", description="auto, cpu, cuda")
    max_restarts: Annotated[int, Field(ge=0, le=1000)] | Auto = Field(
        "auto",
        description="Times that workers which died are replaced; auto: 3, but a single worker on one machine "
        "trains in the job's own process, without Ray, and dies with it: the same command goes on",
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

    @model_validator(mode="after")
    def _holds_back(self) -> Self:
        if self.folds == 1:
            raise ValueError("finetune.folds: 1 fold holds nothing out; give 2 or more, or 0")
        if self.folds and self.split != "individuals":
            raise ValueError(
                f"finetune.folds={self.folds} are folds of individuals and hold each of them out "
                f"once; they do not go with finetune.split={self.split}"
            )
        if self.patience is not None and not self.validation_share:
            raise ValueError("finetune.patience needs a finetune.validation_share above 0")
        return self
